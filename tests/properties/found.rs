//! What the properties found, as plain tests.

use std::collections::BTreeMap;

use upgrade_guard::domain::change::{Change, Move};
use upgrade_guard::domain::decision::{Verdict, decide};
use upgrade_guard::domain::policy::ComponentId;
use upgrade_guard::domain::version::Version;

use crate::cluster::Cluster;
use crate::platform::{LINES, Numbering, Part, Platform, Ver, Window};

fn part(after: &[usize], skew: &[Window]) -> Part {
    Part {
        after: after.to_vec(),
        skew: skew.to_vec(),
        numbers: (0..LINES).collect(),
        numbering: Numbering::Minors,
        workloads: 1,
        lowered: BTreeMap::new(),
    }
}

fn on(number: u8) -> Ver {
    Ver::first_patch(number)
}

#[test]
fn two_moves_of_one_change_see_each_other() {
    let window = Window { peer: 0, behind: 1, ahead: 1 };
    let platform = Platform::new(vec![part(&[], &[]), part(&[0], &[window])], 1, false).unwrap();
    let cluster = Cluster { shared: true, ..Cluster::settled(&platform, &[on(2), on(2)]) };
    for (upstream, downstream, expected) in [(1, 2, Verdict::Allow), (2, 3, Verdict::Allow), (1, 3, Verdict::NotYet)] {
        let decision = cluster.ask(0, &[(0, on(upstream)), (1, on(downstream))]);
        assert_eq!(decision.verdict, expected, "{upstream} and {downstream}: {:#?}", decision.reasons);
    }
}

#[test]
fn a_denial_is_one_tame_line_whatever_the_tag_says() {
    let platform = Platform::new(vec![part(&[], &[])], 1, false).unwrap();
    let cluster = Cluster::settled(&platform, &[on(2)]);
    let mut reason = cluster.ask(0, &[(0, Ver::Unknown)]).reasons.remove(0);
    reason.to = Some(Version::Unknown("field is immutable,\nretry".into()));
    for text in [reason.to_string(), reason.short()] {
        assert!(text.starts_with("[UG-VERSION] c0 2.2.0 -> field is immu-table, retry names no version"), "{text}");
    }
}

#[test]
fn the_largest_numbers_are_counted_with() {
    let window = Window { peer: 0, behind: 2, ahead: 0 };
    let platform = Platform::new(vec![part(&[], &[]), part(&[0], &[window])], 1, false).unwrap();
    let cluster = Cluster::settled(&platform, &[on(0), on(0)]);
    let mut view = cluster.view();
    let largest = Version::read("2.9223372036854775807.0");
    let running = &mut view.components[0].workloads[0].running;
    running.insert(largest.clone(), u32::MAX);
    let from = Some(cluster.platform.version(1, on(0)));
    let step = Move::new(ComponentId(1), from, largest);
    let change = Change { workload: cluster.id(1, 0), moves: vec![step], restarts: vec![], capacity: None };
    assert_eq!(decide(&platform.policy, &view, &change, Cluster::NOW).verdict, Verdict::Never);
}

#[test]
fn a_patch_needs_no_more_than_the_release_it_belongs_to() {
    let lowered = Part { lowered: BTreeMap::from([(0, 1)]), ..part(&[0], &[]) };
    let platform = Platform::new(vec![part(&[], &[]), lowered], 1, true).unwrap();
    let cluster = Cluster::settled(&platform, &[on(1), on(2)]);
    assert!(cluster.breaches().is_empty());
    let decision = cluster.ask(0, &[(1, Ver::Known { number: 2, patch: 1 })]);
    assert_eq!(decision.verdict, Verdict::Allow, "{:#?}", decision.reasons);
}

#[test]
fn a_workload_in_front_of_its_others_can_be_undone() {
    let platform = Platform::new(vec![Part { workloads: 2, ..part(&[], &[]) }], 1, false).unwrap();
    let mut cluster = Cluster::settled(&platform, &[on(1)]);
    assert!(cluster.roll(0, 0, on(2)) && cluster.roll(0, 0, on(3)) && cluster.admit(0, &[(0, on(4))]));
    cluster.show(0);
    cluster.workload_mut(0, 0).unwrap().advance();
    for (number, expected) in [(3, Verdict::Allow), (4, Verdict::Allow), (2, Verdict::Never), (5, Verdict::Never)] {
        let decision = cluster.ask(0, &[(0, on(number))]);
        assert_eq!(decision.verdict, expected, "{number}: {:#?}", decision.reasons);
    }
}
