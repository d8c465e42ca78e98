//! Nothing but admitted moves, in any order, with rollouts that stop half-way, never breaks the law: no state breaks
//! ORDER or SKEW, and no single move passed by what only shows in the move itself.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::cluster::{Admitted, Cluster};
use crate::oracle;
use crate::platform::{Ver, platforms};
use crate::steps::{apply, starts, steps};

/// The moves that the last step got admitted, as part and move.
fn new<'a>(before: &Cluster<'_>, after: &'a Cluster<'_>) -> Vec<(usize, &'a Admitted)> {
    let parts = before.parts.iter().zip(&after.parts).enumerate();
    let new = parts.flat_map(|(part, (old, new))| {
        new.admitted.iter().skip(old.admitted.len()).map(move |admitted| (part, admitted))
    });
    new.collect()
}

/// Whether each upstream was settled if the move needs more of it than before. No pair of versions shows it: new
/// pods that are not ready yet have their version already.
fn waited(before: &Cluster<'_>, part: usize, new: &Admitted) -> bool {
    before.platform.upstream(part).into_iter().all(|peer| {
        let needed = |version: Ver| before.platform.needed(part, version, peer);
        let more = new.from.is_some_and(|from| needed(new.to) > needed(from));
        !more || before.is_settled(peer)
    })
}

/// Whether the move stays on the line, or is one hop from what was completed that starts no third line in the middle of
/// a rollout between two.
fn one_hop(before: &Cluster<'_>, part: usize, new: &Admitted) -> bool {
    let span = |version: Ver| before.platform.span(part, version).unwrap();
    let shown = before.workload(part, new.workload);
    if shown.is_some_and(|shown| span(shown.desired) == span(new.to)) {
        return true;
    }
    let completed = before.parts[part].completed.unwrap();
    let base = match shown {
        Some(shown) if shown.is_settled() => shown.desired,
        // One workload of several started where its old pods are.
        Some(shown) if before.platform.parts[part].workloads > 1 => {
            let mut old = shown.pods.keys().filter(|version| span(**version) != span(shown.desired));
            old.next().copied().unwrap_or(completed)
        }
        _ => completed,
    };
    let near = oracle::nearest(span(base), span(new.to)).abs() <= i64::from(before.platform.max_hop);
    let live: BTreeSet<(i64, i64)> = shown
        .iter()
        .flat_map(|shown| shown.pods.keys().chain([&shown.desired]))
        .map(|version| span(*version))
        .collect();
    near && (live.len() < 2 || live.contains(&span(new.to)) || span(completed) == span(new.to))
}

proptest! {
    #![proptest_config(crate::config(1000))]

    #[test]
    fn admitted_moves_never_break_order_or_skew(platform in platforms(), start in starts(), steps in steps(true)) {
        let mut cluster = start.cluster(&platform);
        prop_assert!(cluster.breaches().is_empty(), "the start is legal");
        for (index, step) in steps.iter().enumerate() {
            let before = cluster.clone();
            apply(&mut cluster, step);
            for (part, new) in new(&before, &cluster) {
                let fits = waited(&before, part, new) && one_hop(&before, part, new);
                prop_assert!(fits, "step {index}, {step:?}: {new:?} in\n{}", before.show_all());
            }
            let breaches = cluster.breaches();
            prop_assert!(breaches.is_empty(), "after step {index}, {step:?}: {breaches:?}\n{}", cluster.show_all());
        }
    }
}
