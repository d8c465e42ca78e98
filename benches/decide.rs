//! What one decision costs: by the size of the platform, and whether anything rolls out.
#![allow(missing_docs, reason = "criterion's macros make a main without any")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use upgrade_guard::domain::change::{Change, Move};
use upgrade_guard::domain::decision::{Verdict, decide};
use upgrade_guard::domain::policy::{Component, ComponentId, Policy, PolicyParts, Skew};
use upgrade_guard::domain::version::Version;
use upgrade_guard::domain::view::{Missing, Rollout, View, WorkloadId, WorkloadView};

/// A chain of components: each is after the one before it, and at most one line behind the first.
fn platform(size: usize) -> Policy {
    let component = |index: usize| Component {
        after: index.checked_sub(1).map(ComponentId).into_iter().collect(),
        skew: (index > 0).then_some(Skew { peer: ComponentId(0), behind: 1, ahead: 0 }).into_iter().collect(),
        ..Component::named(&format!("component-{index}"))
    };
    let parts = PolicyParts::new("platform", (0..size).map(component).collect());
    Policy::new(parts).expect("a chain has no cycle")
}

fn workload(index: usize) -> WorkloadId {
    WorkloadId { kind: "Deployment".to_owned(), name: format!("component-{index}") }
}

/// Everything at 2.2.0; the first `done` components at 2.3.0, and the one after them half way when `rolling`.
fn install(size: usize, done: usize, rolling: bool) -> View {
    let [old, new] = ["2.2.0", "2.3.0"].map(Version::read);
    let mut view = View::default();
    for index in 0..size {
        let half = rolling && index == done;
        let target = if index < done || half { &new } else { &old };
        let (running, rollout) = if half {
            let missing = Missing::Updated { updated: 1, of: 2 };
            (BTreeMap::from([(old.clone(), 1), (new.clone(), 1)]), Rollout::Progressing(missing))
        } else {
            (BTreeMap::from([(target.clone(), 2)]), Rollout::Settled)
        };
        let desired = vec![target.clone()];
        let component = upgrade_guard::domain::view::ComponentView {
            workloads: vec![WorkloadView { id: workload(index), desired, running, rollout }],
            intents: vec![],
            recorded: Some(if half { old.clone() } else { target.clone() }),
        };
        view.components.push(component);
    }
    view
}

fn step_up(index: usize) -> Change {
    let step = Move::new(ComponentId(index), Some(Version::read("2.2.0")), Version::read("2.3.0"));
    Change { workload: workload(index), moves: vec![step], restarts: vec![], capacity: None }
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(50);
    for size in [5, 50] {
        let policy = platform(size);
        let half = size / 2;
        for (name, view, change, expected) in [
            ("settled, allowed", install(size, half, false), step_up(half), Verdict::Allow),
            ("settled, refused", install(size, half, false), step_up(size - 1), Verdict::NotYet),
            ("rolling, allowed", install(size, size - 2, true), patch(size - 2), Verdict::Allow),
            ("rolling, refused", install(size, half, true), step_up(size - 1), Verdict::NotYet),
        ] {
            let decision = decide(&policy, &view, &change, Timestamp::UNIX_EPOCH);
            assert_eq!(decision.verdict, expected, "{name} of {size}: {:?}", decision.reasons);
            group.bench_with_input(BenchmarkId::new(name, size), &change, |bencher, change| {
                bencher.iter(|| decide(black_box(&policy), black_box(&view), black_box(change), Timestamp::UNIX_EPOCH));
            });
        }
    }
    group.finish();
}

/// A patch of the line that `index` is rolling out to.
fn patch(index: usize) -> Change {
    let mut change = step_up(index);
    change.moves[0].from = Some(Version::read("2.3.0"));
    change.moves[0].to = Version::read("2.3.1");
    change
}

criterion_group!(benches, decisions);
criterion_main!(benches);
