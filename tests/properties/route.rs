//! From every legal settled state to every other the planner finds a way, and the guard admits each of its steps once
//! the one before is complete; the way back is found too. Where only some targets are named it never claims that there
//! is no way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use upgrade_guard::domain::decision::{Verdict, decide};
use upgrade_guard::domain::policy::ComponentId;
use upgrade_guard::domain::route::{Question, Route, route};
use upgrade_guard::domain::version::Version;
use upgrade_guard::domain::view::View;

use crate::cluster::Cluster;
use crate::driver::{all_settled, let_go_on};
use crate::platform::{LINES, Platform, Ver, platforms};
use crate::steps::{Start, apply, starts, steps};

/// Moves of whole parts; those that break the law are left out.
pub fn walks() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..8_usize, any::<bool>()), 0..40)
}

/// A legal settled state, with all workloads of a part at one version.
pub fn legal<'a>(platform: &'a Platform, start: &Start, walk: &[(usize, bool)]) -> Cluster<'a> {
    let cluster = Start { shared: false, ..start.clone() }.cluster(platform);
    let mut versions: Vec<Ver> = cluster.parts.iter().map(|part| part.completed.unwrap()).collect();
    for (part, up) in walk {
        let part = part % versions.len();
        let number = versions[part].number().unwrap();
        let to = if *up { number.saturating_add(1) } else { number.saturating_sub(1) };
        let before = std::mem::replace(&mut versions[part], Ver::first_patch(to.min(platform.newest(part))));
        if !Cluster::settled(platform, &versions).breaches().is_empty() {
            versions[part] = before;
        }
    }
    Cluster::settled(platform, &versions)
}

pub fn targets(cluster: &Cluster<'_>) -> BTreeMap<ComponentId, Version> {
    let platform = cluster.platform;
    let all = cluster.parts.iter().enumerate();
    all.map(|(part, state)| (ComponentId(part), platform.version(part, state.completed.unwrap()))).collect()
}

fn asked(platform: &Platform, view: &View, targets: &BTreeMap<ComponentId, Version>) -> Route {
    let capacities = &BTreeMap::new();
    route(&Question { policy: &platform.policy, view, targets, capacities, now: Cluster::NOW })
}

/// Follows the steps as far as the guard admits them; what it refuses, else the view at the end.
fn followed(platform: &Platform, view: &View, route: &Route) -> Result<View, String> {
    let mut view = view.clone();
    let mut previous: Option<&upgrade_guard::domain::route::Step> = None;
    for step in &route.steps {
        for (change, said) in &step.changes {
            let decision = decide(&platform.policy, &view, change, Cluster::NOW);
            if decision.verdict != Verdict::Allow || decision != *said {
                return Err(format!("{change:?} after {previous:?}: {}", decision.denial()));
            }
            view = view.after(change);
        }
        previous = Some(step);
    }
    Ok(view)
}

pub fn is_at(view: &View, targets: &BTreeMap<ComponentId, Version>) -> bool {
    let at = |(id, target): (&ComponentId, &Version)| {
        view.component(*id).workloads.iter().all(|workload| workload.desired.iter().all(|version| version == target))
    };
    targets.iter().all(at)
}

proptest! {
    #![proptest_config(crate::config(300))]

    #[test]
    fn between_legal_states_there_is_a_way_and_back(
        platform in platforms(), start in starts(), there in (starts(), walks()), here in walks(),
    ) {
        let (from, to) = (legal(&platform, &start, &here), legal(&platform, &there.0, &there.1));
        for (from, to) in [(&from, &to), (&to, &from)] {
            let (view, targets) = (from.view(), targets(to));
            let route = asked(&platform, &view, &targets);
            prop_assert!(route.found, "{:?}\nfrom\n{}\nto\n{}", route.blocked, from.show_all(), to.show_all());
            prop_assert!(route.first.is_empty() && route.waits.is_empty() && route.blocked.is_empty());
            prop_assert!(route.steps.len() <= from.parts.len() * usize::from(LINES) * 2);
            let reached = followed(&platform, &view, &route);
            prop_assert!(reached.as_ref().is_ok_and(|view| is_at(view, &targets)), "{reached:?}");
            prop_assert_eq!(&route, &asked(&platform, &view, &targets), "the answer is always the same");
        }
    }

    #[test]
    fn what_is_not_named_moves_along_where_it_has_to(
        platform in platforms(), start in starts(), there in (starts(), walks()), named in 0..8_usize,
    ) {
        let (from, to) = (legal(&platform, &start, &[]), legal(&platform, &there.0, &there.1));
        let view = from.view();
        let all = targets(&to);
        let named = ComponentId(named % all.len());
        let targets = BTreeMap::from([(named, all[&named].clone())]);
        let route = asked(&platform, &view, &targets);
        prop_assert!(route.found || !route.exhaustive, "{:?}\nfrom\n{}\nto\n{}", route.blocked, from.show_all(), to.show_all());
        let reached = followed(&platform, &view, &route);
        prop_assert!(reached.as_ref().is_ok_and(|view| !route.found || is_at(view, &targets)), "{reached:?}");
        for step in &route.steps {
            prop_assert_eq!(step.named, step.component == named);
        }
    }

    /// Whatever the state, what the guard would refuse is no step.
    #[test]
    fn steps_from_any_reachable_state_are_admitted(
        platform in platforms(), start in starts(), steps in steps(false), there in (starts(), walks()),
    ) {
        let mut cluster = start.cluster(&platform);
        for step in &steps {
            apply(&mut cluster, step);
        }
        let targets = targets(&legal(&platform, &there.0, &there.1));
        let mut view = cluster.view();
        let route = asked(&platform, &view, &targets);
        for (change, _) in route.first.iter().flat_map(|step| &step.changes) {
            let decision = decide(&platform.policy, &view, change, Cluster::NOW);
            prop_assert_eq!(decision.verdict, Verdict::Allow);
            view = view.after(change);
        }
        // Which of several workloads an admitted change is for, a view does not tell.
        let shown = cluster.parts.iter().all(|part| part.admitted.is_empty());
        let_go_on(&mut cluster);
        if shown && all_settled(&cluster) && route.first.is_empty() {
            let reached = followed(&platform, &cluster.view(), &route);
            prop_assert!(reached.as_ref().is_ok_and(|view| !route.found || is_at(view, &targets)), "{reached:?}");
        }
        prop_assert!(route.found || !route.blocked.is_empty());
    }
}
