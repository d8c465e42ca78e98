//! What the scan says of a state is what the law says of it, and a gate opens on no state that the law forbids.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use upgrade_guard::domain::gates::gates;
use upgrade_guard::domain::policy::ComponentId;
use upgrade_guard::domain::rules::Rule;
use upgrade_guard::domain::state::violations;

use crate::cluster::{Admitted, Cluster, Workload};
use crate::platform::{Platform, Ver, platforms};
use crate::steps::{apply, starts, steps};

/// One workload's versions as numbers, taken modulo what its part has: asked for, of pods, admitted a moment ago.
type Numbers = (u8, Vec<u8>, Option<u8>);

fn numbers() -> impl Strategy<Value = Numbers> {
    let any = || 0..12_u8;
    (any(), prop::collection::vec(any(), 0..3), prop::option::weighted(0.2, any()))
}

/// Anything at all that runs, most of it against the law. Patches and versions that cannot be told are among it.
fn cluster<'a>(platform: &'a Platform, raw: &[Numbers]) -> Cluster<'a> {
    let mut cluster = Cluster::settled(platform, &vec![Ver::Unknown; platform.parts.len()]);
    for (part, (asked, pods, admitted)) in raw.iter().enumerate().take(platform.parts.len()) {
        let version = |number: u8| match number {
            11 => Ver::Unknown,
            number => Ver::Known { number: number % (platform.newest(part) + 1), patch: number % 2 },
        };
        let pods: BTreeMap<Ver, u32> = pods.iter().map(|number| (version(*number), 1)).collect();
        let workload = Workload { desired: version(*asked), pods, ready: false, stuck: false };
        let state = &mut cluster.parts[part];
        state.workloads = vec![Some(workload)];
        state.admitted = admitted.iter().map(|to| Admitted { workload: 0, from: None, to: version(*to) }).collect();
    }
    cluster
}

/// A pair that breaks a rule: the rule, both sides as they are written, and by how many lines.
type Pair = (&'static str, (usize, String), (usize, String), i64);

fn by_the_law(cluster: &Cluster<'_>) -> BTreeSet<Pair> {
    let side = |(part, version)| (part, cluster.platform.version(part, version).to_string());
    let breaches = cluster.breaches().into_iter();
    breaches.map(|breach| (breach.rule, side(breach.downstream), side(breach.upstream), breach.lines)).collect()
}

fn by_the_scan(cluster: &Cluster<'_>) -> BTreeSet<Pair> {
    let found = violations(&cluster.platform.policy, &cluster.view(), Cluster::NOW).into_iter();
    let pairs = found.filter_map(|violation| {
        let peer = violation.peer?;
        let rule = if violation.rule == Rule::Order { "ORDER" } else { "SKEW" };
        let own = (violation.component.0, violation.version.to_string());
        Some((rule, own, (peer.component.0, peer.version.to_string()), peer.lines))
    });
    pairs.collect()
}

proptest! {
    #![proptest_config(crate::config(2000))]

    #[test]
    fn the_scan_finds_what_the_law_forbids(platform in platforms(), raw in prop::collection::vec(numbers(), 8)) {
        let cluster = cluster(&platform, &raw);
        prop_assert_eq!(by_the_scan(&cluster), by_the_law(&cluster), "{}", cluster.show_all());
        let unknown: BTreeSet<(usize, String)> = (cluster.live().iter().enumerate())
            .filter(|(_, live)| live.contains(&Ver::Unknown))
            .map(|(part, _)| (part, "latest".to_owned()))
            .collect();
        let found = violations(&platform.policy, &cluster.view(), Cluster::NOW).into_iter();
        let untold: BTreeSet<(usize, String)> = found
            .filter(|violation| violation.rule == Rule::Version)
            .map(|violation| (violation.component.0, violation.version.to_string()))
            .collect();
        prop_assert_eq!(untold, unknown);
    }

    #[test]
    fn an_open_gate_leads_to_a_legal_state(platform in platforms(), start in starts(), steps in steps(true)) {
        let mut cluster = start.cluster(&platform);
        for step in &steps {
            apply(&mut cluster, step);
        }
        let view = cluster.view();
        for gate in gates(&platform.policy, &view, Cluster::NOW).iter().filter(|gate| gate.is_open()) {
            let ComponentId(part) = gate.component;
            // Everything of the component asks for the new version, and all old pods are still there.
            let mut live = cluster.live();
            let version = (0..=platform.newest(part))
                .map(Ver::first_patch)
                .find(|version| platform.version(part, *version).to_string() == gate.version.to_string());
            prop_assert!(version.is_some() || !platform.listed, "{gate:?} is no version of part {part}");
            live[part].extend(version);
            let breaches = crate::oracle::breaches(&platform, &live);
            prop_assert!(breaches.is_empty(), "{gate:?}: {breaches:?}\n{}", cluster.show_all());
        }
    }
}
