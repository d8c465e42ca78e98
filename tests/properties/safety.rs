//! Nothing but admitted moves, in any order, with rollouts that stop half-way, never breaks the law.

use proptest::prelude::*;

use crate::platform::platforms;
use crate::steps::{apply, starts, steps};

proptest! {
    #![proptest_config(crate::config(1500))]

    #[test]
    fn admitted_moves_never_break_order_or_skew(platform in platforms(), start in starts(), steps in steps(true)) {
        let mut cluster = start.cluster(&platform);
        prop_assert!(cluster.breaches().is_empty(), "the start is legal");
        for (index, step) in steps.iter().enumerate() {
            apply(&mut cluster, step);
            let breaches = cluster.breaches();
            prop_assert!(breaches.is_empty(), "after step {index}, {step:?}: {breaches:?}\n{}", cluster.show_all());
        }
    }
}
