//! Nothing but admitted moves, in any order, with rollouts that stop half-way, never breaks the law.

use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::platform::{Ver, platforms};
use crate::steps::{apply, starts, steps};

/// Whether everything upstream was settled for each new move that asks for more than before. No pair of versions shows
/// it: new pods that are not ready yet have their version already.
fn waited(before: &Cluster<'_>, after: &Cluster<'_>) -> bool {
    let platform = before.platform;
    after.parts.iter().enumerate().all(|(part, state)| {
        let asks = |version: Ver| platform.span(part, version).map(|span| span.0);
        let known = before.parts[part].admitted.len();
        let more = state.admitted.iter().skip(known).any(|new| new.from.is_some_and(|from| asks(new.to) > asks(from)));
        !more || platform.upstream(part).iter().all(|peer| before.is_settled(*peer))
    })
}

proptest! {
    #![proptest_config(crate::config(1000))]

    #[test]
    fn admitted_moves_never_break_order_or_skew(platform in platforms(), start in starts(), steps in steps(true)) {
        let mut cluster = start.cluster(&platform);
        prop_assert!(cluster.breaches().is_empty(), "the start is legal");
        for (index, step) in steps.iter().enumerate() {
            let before = cluster.clone();
            if apply(&mut cluster, step) {
                prop_assert!(waited(&before, &cluster), "step {index}, {step:?}, in\n{}", before.show_all());
            }
            let breaches = cluster.breaches();
            prop_assert!(breaches.is_empty(), "after step {index}, {step:?}: {breaches:?}\n{}", cluster.show_all());
        }
    }
}
