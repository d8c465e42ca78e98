//! From any state, broken and unreadable ones included, admitted moves lead to a legal one.
//!
//! One thing is taken for granted: a component that asks for something unreadable has completed something readable
//! once. Without that its neighbours may be too far apart for any version of it, and may not move beside it either.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::cluster::{Cluster, State, Workload};
use crate::driver::{Cure, Way, all_settled, drive, let_go_on, unstick};
use crate::platform::{LINES, Platform, Ver, platforms};

/// A workload in any state: what it asks for, its pods, and how far it came.
#[derive(Clone, Debug)]
pub struct AnyWorkload {
    desired: Ver,
    pods: Vec<(Ver, u32)>,
    settled: bool,
    stuck: bool,
}

/// Numbers are taken modulo how many the part has.
fn any_version() -> impl Strategy<Value = Ver> {
    prop_oneof![
        6 => (0..LINES, 0..2_u8).prop_map(|(number, patch)| Ver::Known { number, patch }),
        1 => Just(Ver::Unknown),
    ]
}

fn any_workload() -> impl Strategy<Value = AnyWorkload> {
    let pods = prop::collection::vec((any_version(), 1..3_u32), 0..3);
    (any_version(), pods, prop::bool::weighted(0.6), any::<bool>())
        .prop_map(|(desired, pods, settled, stuck)| AnyWorkload { desired, pods, settled, stuck })
}

pub type AnyState = Vec<(Vec<AnyWorkload>, Option<Ver>)>;

pub fn any_state() -> impl Strategy<Value = AnyState> {
    let part = (prop::collection::vec(any_workload(), 2), prop::option::weighted(0.8, any_version()));
    prop::collection::vec(part, 8)
}

pub fn cluster<'a>(platform: &'a Platform, any: &AnyState) -> Cluster<'a> {
    let mut cluster = Cluster::settled(platform, &vec![Ver::Unknown; platform.parts.len()]);
    for (part, (state, (workloads, completed))) in cluster.parts.iter_mut().zip(any).enumerate() {
        let fit = |version: Ver| match version {
            Ver::Known { number, patch } => Ver::Known { number: number % (platform.newest(part) + 1), patch },
            Ver::Unknown => Ver::Unknown,
        };
        let workloads: Vec<AnyWorkload> = workloads.iter().take(platform.parts[part].workloads).cloned().collect();
        let unread = workloads.iter().any(|any| any.desired == Ver::Unknown);
        let completed = completed.filter(|completed| !unread || *completed != Ver::Unknown);
        *state = State {
            workloads: workloads.iter().map(|any| Some(workload(any, fit))).collect(),
            admitted: vec![],
            completed: completed.or_else(|| unread.then_some(Ver::first_patch(0))).map(fit),
        };
    }
    cluster
}

fn workload(any: &AnyWorkload, fit: impl Fn(Ver) -> Ver) -> Workload {
    let desired = fit(any.desired);
    if any.settled {
        return Workload::settled_at(desired);
    }
    let mut pods: BTreeMap<Ver, u32> = BTreeMap::new();
    for (version, count) in &any.pods {
        *pods.entry(fit(*version)).or_default() += count;
    }
    Workload { desired, pods, ready: false, stuck: any.stuck }
}

/// Names one workload that cannot be read; whether the guard let any version through.
fn name_one(cluster: &mut Cluster<'_>) -> bool {
    let unread =
        cluster.existing().into_iter().filter(|at| cluster.workload(at.0, at.1).unwrap().desired == Ver::Unknown);
    unread.collect::<Vec<_>>().into_iter().any(|(part, workload)| {
        let newest = cluster.platform.newest(part);
        (0..=newest).rev().any(|number| cluster.roll(part, workload, Ver::first_patch(number)))
    })
}

/// Any single move of a readable workload that the guard admits and that leads to fewer broken lines.
fn mend_one(cluster: &mut Cluster<'_>) -> bool {
    let before = crate::oracle::broken_by(cluster.platform, &cluster.live());
    for (part, workload) in cluster.existing() {
        for number in 0..=cluster.platform.newest(part) {
            let mut tried = cluster.clone();
            if tried.roll(part, workload, Ver::first_patch(number))
                && crate::oracle::broken_by(tried.platform, &tried.live()) < before
            {
                *cluster = tried;
                return true;
            }
        }
    }
    false
}

fn unread(cluster: &Cluster<'_>) -> bool {
    cluster.live().iter().any(|live| live.contains(&Ver::Unknown))
}

proptest! {
    #![proptest_config(crate::config(800))]

    #[test]
    fn every_state_can_be_cured(platform in platforms(), any in any_state()) {
        let mut cluster = cluster(&platform, &any);
        let_go_on(&mut cluster);
        let mut rounds = 0;
        while unread(&cluster) || !all_settled(&cluster) || !cluster.breaches().is_empty() {
            rounds += 1;
            let before = format!("{:?}", cluster.parts);
            unstick(&mut cluster, Cure::Patch);
            if !name_one(&mut cluster) && !mend_one(&mut cluster) {
                let top = cluster.spans().iter().map(|line| line.1).max().unwrap_or(0);
                let _ = drive(&mut cluster, Way::Up, top);
            }
            let moved = before != format!("{:?}", cluster.parts);
            prop_assert!(moved && rounds < 200, "no way on in round {rounds}: {:?}\n{}", cluster.breaches(), cluster.show_all());
        }
    }
}
