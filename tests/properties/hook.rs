//! What the hook does is never what makes a way impossible: a way is planned as if it had run, without it exactly its own
//! rules stand in the way of the steps, and once it has run every step is admitted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use upgrade_guard::domain::ahead::{ahead, is_ahead};
use upgrade_guard::domain::decision::{Reason, Verdict, decide};
use upgrade_guard::domain::policy::{ComponentId, Policy};
use upgrade_guard::domain::preparation::{CrdState, Precondition, Preparation};
use upgrade_guard::domain::route::{Question, Step, route};
use upgrade_guard::domain::view::View;

use crate::cluster::Cluster;
use crate::platform::{Platform, platforms};
use crate::route::{is_at, legal, targets, walks};
use crate::steps::starts;

const CRD: &str = "things.example.com";

/// The platform's policy, with a CRD that every other component needs and a precondition of all, or of the first.
fn demanding(platform: &Platform, of_all: bool) -> Policy {
    let mut policy = platform.policy.clone();
    let components = if of_all { [].into() } else { [ComponentId(0)].into() };
    policy.demands.preconditions = vec![Precondition { name: "backup".into(), components }];
    for component in policy.components.iter_mut().step_by(2) {
        component.crds = vec![CRD.to_owned()];
    }
    policy
}

/// The view when the hook has run for each of `steps`, one after the other.
fn prepared(view: &View, steps: &[Step]) -> View {
    let run = |step: &Step| Preparation {
        target: step.to.to_string(),
        versions: BTreeMap::from([(step.component, step.to.clone())]),
        ended: Some(Cluster::NOW),
        prepared: true,
        preconditions: BTreeMap::from([("backup".to_owned(), None)]),
        crds: BTreeMap::from([(CRD.to_owned(), "new".to_owned())]),
    };
    let crds = BTreeMap::from([(CRD.to_owned(), CrdState { established: true, content: "new".to_owned() })]);
    View { crds: Some(crds), preparations: Some(steps.iter().rev().map(run).collect()), ..view.clone() }
}

/// What stands in the way of each step, in the view that those before it lead to.
fn in_the_way(policy: &Policy, view: &View, steps: &[Step]) -> (Vec<Reason>, View) {
    let (mut found, mut view) = (Vec::new(), view.clone());
    for (change, _) in steps.iter().flat_map(|step| &step.changes) {
        let decision = decide(policy, &view, change, Cluster::NOW);
        found.extend(decision.reasons);
        view = view.after(change);
    }
    (found, view)
}

proptest! {
    #![proptest_config(crate::config(200))]

    #[test]
    fn what_the_hook_does_comes_first_and_then_every_step_is_admitted(
        platform in platforms(), start in starts(), there in (starts(), walks()), here in walks(), of_all in any::<bool>(),
    ) {
        let policy = demanding(&platform, of_all);
        let (from, to) = (legal(&platform, &start, &here), legal(&platform, &there.0, &there.1));
        let (bare, targets) = (from.view(), targets(&to));
        let view = View { crds: Some(BTreeMap::new()), preparations: Some(vec![]), ..bare.clone() };
        let (free, assumed, capacities) = (policy.without_demands(), view.prepared(), BTreeMap::new());
        let question = Question { policy: &free, view: &assumed, targets: &targets, capacities: &capacities, now: Cluster::NOW };
        let route = route(&question);
        prop_assert!(route.found, "{:?}", route.blocked);

        // Nothing of it has run: only its own rules stand in the way, and waiting is all it takes.
        let (found, _) = in_the_way(&policy, &view, &route.steps);
        prop_assert!(found.iter().all(|one| is_ahead(one) && one.verdict == Verdict::NotYet), "{found:?}");
        let needs = |step: &Step| {
            let up = step.to > step.from;
            let id = step.component;
            !policy.component(id).crds.is_empty() || (up && policy.demands.preconditions[0].concerns(id))
        };
        prop_assert_eq!(found.is_empty(), !route.steps.iter().any(needs), "{:?}", found);
        let groups = ahead(&policy, &view, &route.steps, Cluster::NOW);
        prop_assert_eq!(groups.is_empty(), found.is_empty());
        prop_assert!(found.iter().all(|one| groups.iter().any(|group| {
            group.missing.iter().any(|told| (told.rule, &told.what, &told.facts) == (one.rule, &one.what, &one.facts))
        })), "{found:?} in {groups:?}");

        let ready = prepared(&view, &route.steps);
        let (found, reached) = in_the_way(&policy, &ready, &route.steps);
        prop_assert!(found.is_empty(), "{found:?}");
        prop_assert!(is_at(&reached, &targets));
        prop_assert!(ahead(&policy, &ready, &route.steps, Cluster::NOW).is_empty());
    }
}
