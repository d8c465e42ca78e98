//! From every state that admitted moves reach, admitted moves lead to the next line, and back.

use proptest::prelude::*;

use crate::driver::{Cure, Way, all_settled, drive, let_go_on, unstick};
use crate::platform::{LINES, platforms};
use crate::steps::{apply, starts, steps};

proptest! {
    #![proptest_config(crate::config(800))]

    #[test]
    fn every_reachable_state_leads_on(
        platform in platforms(),
        start in starts(),
        steps in steps(false),
        cure in prop_oneof![Just(Cure::Patch), Just(Cure::Undo)],
        way in prop_oneof![Just(Way::Up), Just(Way::Back)],
    ) {
        let mut cluster = start.cluster(&platform);
        for step in &steps {
            apply(&mut cluster, step);
        }
        let_go_on(&mut cluster);
        let left = unstick(&mut cluster, cure);
        prop_assert!(left.is_empty() && all_settled(&cluster), "stuck for ever: {left:?}\n{}", cluster.show_all());
        let lines = cluster.spans();
        let target = match way {
            Way::Up => lines.iter().map(|line| line.1 + 1).max().unwrap().min(i64::from(LINES) - 1),
            Way::Back => lines.iter().map(|line| line.0 - 1).min().unwrap().max(0),
        };
        let most = cluster.existing().len() * usize::from(LINES);
        match drive(&mut cluster, way, target) {
            Ok(moves) => prop_assert!(moves <= most, "{moves} moves, {most} are enough"),
            Err(why) => prop_assert!(false, "{way:?} to {target}: {why}\n{}", cluster.show_all()),
        }
        prop_assert!(cluster.breaches().is_empty(), "{:?}", cluster.breaches());
    }
}
