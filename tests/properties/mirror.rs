//! The way back is the mirror of the way up.
//!
//! The mirror of a platform has its lines in reverse (line `l` becomes `LINES - 1 - l`), every `after` turned round
//! (d after u becomes u after d) and every window held by the other side with the same numbers, because
//! `-ahead <= line(u) - line(d) <= behind` says the same of the reversed lines with d and u exchanged. Spans are
//! mirrored with them: the line where a version is needed (lowest) and the one where it serves (highest) change roles.
//!
//! Then a move up is to the platform exactly what the mirrored move down is to its mirror: ORDER, SKEW and HOP say the
//! same of both, whether the state is legal or broken. Only settled states are mirrored: `settled(u)` is demanded on
//! the way up alone, and so are pods. Not mirrored either: what a release says it needs (there is no "serves"), texts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use upgrade_guard::domain::decision::Verdict;
use upgrade_guard::domain::rules::Rule;

use crate::cluster::{Cluster, State, Workload};
use crate::platform::{Part, Platform, Ver, Window, platforms};

fn mirrored(platform: &Platform) -> Platform {
    let parts = platform.parts.iter().enumerate().map(|(index, part)| {
        let after = |other: &Part| other.after.contains(&index);
        let windows = platform.parts.iter().enumerate().flat_map(|(other, part)| {
            let to_here = part.skew.iter().filter(|window| window.peer == index);
            to_here.map(move |window| Window { peer: other, ..*window })
        });
        let newest = platform.newest(index);
        Part {
            after: (0..platform.parts.len()).filter(|other| after(&platform.parts[*other])).collect(),
            skew: windows.collect(),
            numbers: part.numbers.iter().rev().map(|number| newest - number).collect(),
            lowered: BTreeMap::new(),
            ..part.clone()
        }
    });
    Platform::new(parts.collect(), platform.max_hop, platform.listed).unwrap()
}

fn without_stated_needs(platform: &Platform) -> Platform {
    let parts = platform.parts.iter().map(|part| Part { lowered: BTreeMap::new(), ..part.clone() });
    Platform::new(parts.collect(), platform.max_hop, platform.listed).unwrap()
}

fn mirrored_version(platform: &Platform, part: usize, version: Ver) -> Ver {
    match version {
        Ver::Known { number, patch } => Ver::Known { number: platform.newest(part) - number, patch },
        Ver::Unknown => Ver::Unknown,
    }
}

/// Every workload settled at any version; broken states too.
fn settled<'a>(platform: &'a Platform, versions: &[(u8, u8)]) -> Cluster<'a> {
    let parts = platform.parts.iter().zip(versions).enumerate().map(|(index, (part, (first, second)))| {
        let at = |number: u8| Ver::first_patch(number % (platform.newest(index) + 1));
        let all = [at(*first), at(*second)].into_iter().take(part.workloads);
        let completed = all.clone().next();
        State { workloads: all.map(Workload::settled_at).map(Some).collect(), admitted: vec![], completed }
    });
    Cluster { platform, parts: parts.collect(), shared: false }
}

fn mirrored_cluster<'a>(cluster: &Cluster<'_>, mirror: &'a Platform) -> Cluster<'a> {
    let parts = cluster.parts.iter().enumerate().map(|(part, state)| {
        let turn = |version: Ver| mirrored_version(mirror, part, version);
        let workloads = state.workloads.iter().flatten().map(|shown| Some(Workload::settled_at(turn(shown.desired))));
        State { workloads: workloads.collect(), admitted: vec![], completed: state.completed.map(turn) }
    });
    Cluster { platform: mirror, parts: parts.collect(), shared: false }
}

/// What the rules that have a mirror say of a move; a count for each rule and verdict, warnings included.
fn said(cluster: &Cluster<'_>, part: usize, workload: usize, to: Ver) -> Vec<(Rule, Verdict)> {
    let decision = cluster.ask(workload, &[(part, to)]);
    let all = decision.reasons.iter().chain(&decision.warnings).map(|reason| (reason.rule, reason.verdict));
    let mut said: Vec<(Rule, Verdict)> =
        all.filter(|(rule, _)| matches!(rule, Rule::Order | Rule::Skew | Rule::Hop)).collect();
    said.sort_unstable();
    said
}

proptest! {
    #![proptest_config(crate::config(400))]

    #[test]
    fn the_way_back_mirrors_the_way_up(
        platform in platforms(),
        versions in prop::collection::vec((0..6_u8, 0..6_u8), 8),
    ) {
        let platform = without_stated_needs(&platform);
        let cluster = settled(&platform, &versions);
        let mirror = mirrored(&platform);
        let image = mirrored_cluster(&cluster, &mirror);
        prop_assert_eq!(cluster.breaches().len(), image.breaches().len(), "the oracle itself has a mirror");
        for (part, workload) in cluster.existing() {
            for number in 0..=platform.newest(part) {
                let to = Ver::first_patch(number);
                let here = said(&cluster, part, workload, to);
                let there = said(&image, part, workload, mirrored_version(&platform, part, to));
                prop_assert_eq!(here, there, "part {} to {:?} in\n{}", part, to, cluster.show_all());
            }
        }
    }
}
