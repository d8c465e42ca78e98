//! Finds the ordered legal steps from the state of an install to target versions, with the hops between.
//!
//! [`super::planner`] orders changes that are given; here the changes are found too. Nothing is decided here: every
//! step is a question to [`decide`] in the state that the steps before it lead to.
//!
//! Three attempts, each only where the one before found nothing. First the named components move alone, one line after
//! the other: upwards the lowest and of these the most upstream first, back the mirror of it. Legal states are closed
//! under the component-wise higher and lower, and a policy whose windows leave no first move is refused, so from a
//! legal state to a legal target this never ends half-way. Then the components around them move along to the same
//! line, and every move that turns out not to be needed is taken out again. Last, a search over all states between.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::change::{Capacity, Change};
use super::decision::{Decision, Verdict, decide};
use super::policy::{ComponentId, Policy};
use super::rules::Rule;
use super::version::Version;
use super::view::{Missing, Rollout, View, WorkloadId};

mod around;
mod hops;
mod search;
mod walk;

use walk::Walk;

/// What is asked: how to get from a state to these versions.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// Where it starts.
    pub view: &'a View,
    /// The version that each named component is to have. One without a workload in the view is passed over.
    pub targets: &'a BTreeMap<ComponentId, Version>,
    /// How many pods of each component keep serving in each workload, where that is known.
    pub capacities: &'a BTreeMap<(ComponentId, WorkloadId), Capacity>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Steps that take back or patch a rollout which is not complete: they come before everything else.
    pub first: Vec<Step>,
    /// What has to complete before [`Route::steps`] begin.
    pub waits: Vec<Wait>,
    /// The steps, each admitted once the one before is complete; where no way was found, those of the furthest attempt.
    pub steps: Vec<Step>,
    /// Whether the steps lead to the targets.
    pub found: bool,
    /// Where no way was found: what stands in the way after the steps, the worst first.
    pub blocked: Vec<Blocked>,
    /// Where no way was found: whether everything was tried, so that there is none.
    pub exhaustive: bool,
    /// States that the search looked at.
    pub states: usize,
}

/// A component's move to another version, in one or several workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The component.
    pub component: ComponentId,
    /// What its workloads ask for before.
    pub from: Version,
    /// What they ask for then.
    pub to: Version,
    /// Whether the component was named as a target; else it moves so that the others can.
    pub named: bool,
    /// The change of each workload with the decision when its turn comes, never a refusal.
    pub changes: Vec<(Change, Decision)>,
}

/// A rollout that has to complete first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The component.
    pub component: ComponentId,
    /// The workload; `None` for a change that was admitted and that no workload shows yet.
    pub workload: Option<WorkloadId>,
    /// What it asks for.
    pub to: Vec<Version>,
    /// What is missing.
    pub missing: Missing,
}

impl Wait {
    /// Whether waiting alone does not help: someone has to patch, undo or resume it.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        matches!(self.missing, Missing::DeadlineExceeded | Missing::Paused)
    }
}

/// A move that is not admitted after the steps of a [`Route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The component.
    pub component: ComponentId,
    /// The workload.
    pub workload: WorkloadId,
    /// What it asks for.
    pub from: Version,
    /// The next version on its way.
    pub to: Version,
    /// Whether the component was named as a target.
    pub named: bool,
    /// Why not.
    pub decision: Decision,
}

/// Looks for the way.
#[must_use]
pub fn route(question: &Question<'_>) -> Route {
    let goals = &installed(question);
    let hopeless = cannot_start(question, goals);
    if !hopeless.is_empty() {
        return Route {
            first: vec![],
            waits: vec![],
            steps: vec![],
            found: false,
            blocked: hopeless,
            exhaustive: true,
            states: 0,
        };
    }
    let (first, view) = taken_back(question, goals);
    let (waits, settled) = settle(&view);
    let alone = Walk::to(question, &settled, goals);
    let done = |steps: Vec<Step>, states: usize| Route {
        first: first.clone(),
        waits: waits.clone(),
        steps,
        found: true,
        blocked: vec![],
        exhaustive: true,
        states,
    };
    if alone.arrived {
        return done(alone.steps, 0);
    }
    let together = around::lockstep(question, &settled, goals).map(|goals| {
        let walk = Walk::to(question, &settled, &goals);
        (around::pruned(question, &settled, walk.steps), walk.arrived, goals)
    });
    if let Some((steps, true, _)) = together {
        return done(steps, 0);
    }
    let searched = search::search(question, &settled, goals);
    if let Some(steps) = searched.steps {
        return done(steps, searched.states);
    }
    let (steps, goals) = match together {
        Some((steps, _, goals)) => (steps, goals),
        None => (alone.steps, goals.clone()),
    };
    let changes = steps.iter().flat_map(|step| &step.changes);
    let reached = changes.fold(settled, |view, (change, _)| view.after(change));
    Route {
        first,
        waits,
        blocked: blocked(question, &reached, &goals),
        steps,
        found: false,
        exhaustive: searched.exhausted,
        states: searched.states,
    }
}

/// The version that each component which may move is to have.
type Goals = BTreeMap<ComponentId, Version>;

/// The targets of components that are installed.
fn installed(question: &Question<'_>) -> Goals {
    let installed = |id: &ComponentId| !question.view.component(*id).workloads.is_empty();
    question.targets.iter().filter(|(id, _)| installed(id)).map(|(id, version)| (*id, version.clone())).collect()
}

/// What cannot start on the database as it is, whatever moves before it: then nothing should move at all. On the way
/// back it is the furthest upstream, which goes last, that needs the database.
fn cannot_start(question: &Question<'_>, goals: &Goals) -> Vec<Blocked> {
    let mut found = Vec::new();
    for (id, goal) in goals {
        for workload in &question.view.component(*id).workloads {
            for from in walk::versions(question.view, *id).iter().filter(|from| *from != goal) {
                if !workload.desired.contains(from) {
                    continue;
                }
                let change = walk::change(question, *id, workload, from, goal);
                let mut decision = decide(question.policy, question.view, &change, question.now);
                decision.reasons.retain(|reason| reason.rule == Rule::Schema && reason.verdict == Verdict::Never);
                if !decision.reasons.is_empty() {
                    decision.verdict = Verdict::Never;
                    found.push(Blocked {
                        component: *id,
                        workload: workload.id.clone(),
                        from: from.clone(),
                        to: goal.clone(),
                        named: true,
                        decision,
                    });
                }
            }
        }
    }
    found
}

/// Moves unfinished rollouts straight to their targets where that is admitted as it is: an undo or a patch. Letting
/// them complete first would be a detour, and for a stuck one no way at all.
fn taken_back(question: &Question<'_>, goals: &Goals) -> (Vec<Step>, View) {
    let (mut steps, mut view) = (Vec::new(), question.view.clone());
    for (id, goal) in goals {
        let unfinished = view.component(*id).workloads.iter().filter(|workload| !workload.is_settled());
        let mut versions: Vec<Version> =
            unfinished.flat_map(|workload| &workload.desired).filter(|version| *version != goal).cloned().collect();
        versions.sort_unstable();
        versions.dedup();
        for from in versions {
            let moved = walk::step(question, &view, *id, &from, goal, |workload| !workload.is_settled());
            if let Some((step, after)) = moved {
                steps.push(step);
                view = after;
            }
        }
    }
    (steps, view)
}

/// What has to complete, and the view when it has.
fn settle(view: &View) -> (Vec<Wait>, View) {
    let (mut waits, mut settled) = (Vec::new(), view.clone());
    for (index, component) in settled.components.iter_mut().enumerate() {
        let before = waits.len();
        for workload in &mut component.workloads {
            let Rollout::Progressing(missing) = &workload.rollout else { continue };
            waits.push(Wait {
                component: ComponentId(index),
                workload: Some(workload.id.clone()),
                to: workload.desired.clone(),
                missing: missing.clone(),
            });
            let pods = workload.running.values().copied().fold(0, u32::saturating_add).max(1);
            workload.running = workload.desired.iter().map(|version| (version.clone(), pods)).collect();
            workload.rollout = Rollout::Settled;
        }
        for intent in component.intents.drain(..) {
            // Which of several workloads it is for is not known.
            if let [only] = component.workloads.as_mut_slice()
                && let [desired] = only.desired.as_mut_slice()
            {
                *desired = intent.version.clone();
                let pods = only.running.values().copied().fold(0, u32::saturating_add);
                only.running = [(intent.version.clone(), pods)].into_iter().filter(|(_, pods)| *pods > 0).collect();
            }
            waits.push(Wait {
                component: ComponentId(index),
                workload: None,
                to: vec![intent.version],
                missing: Missing::NotObserved,
            });
        }
        let lowest = component.workloads.iter().flat_map(|workload| &workload.desired).min();
        if let Some(lowest) = lowest.filter(|lowest| waits.len() > before && lowest.known().is_some()) {
            component.recorded = Some(lowest.clone());
        }
    }
    (waits, settled)
}

/// What is refused in `view` of the next moves to `goals`, the worst first.
fn blocked(question: &Question<'_>, view: &View, goals: &Goals) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    for pending in walk::pending(question.policy, view, goals) {
        let (id, from) = (pending.component, &pending.from);
        let Some(to) = hops::hops(question.policy, view, id, from, pending.goal).into_iter().next() else { continue };
        let concerned = view.component(id).workloads.iter().filter(|workload| workload.desired.contains(from));
        let change = concerned.min_by_key(|workload| &workload.id);
        let Some(change) = change.map(|workload| walk::change(question, id, workload, from, &to)) else { continue };
        let decision = decide(question.policy, view, &change, question.now);
        blocked.push(Blocked {
            component: id,
            workload: change.workload,
            from: from.clone(),
            to,
            named: question.targets.contains_key(&id),
            decision,
        });
    }
    blocked.retain(|one| one.named || one.decision.verdict != Verdict::Allow);
    blocked.sort_by_key(|one| (Reverse(one.decision.verdict), !one.named, one.component));
    blocked
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::line::{Lines, Listed, Release};
    use crate::domain::policy::{Component, Mode, PolicyParts, Skew, SupportedRange};
    use crate::domain::rules::Rule;
    use crate::domain::view::WorkloadView;

    fn minor(minor: u64) -> Version {
        Version::Known(semver::Version::new(2, minor, 0))
    }

    /// One component that `downstream` others come after, one line behind at most.
    fn policy(downstream: usize, max_hop: u32) -> Policy {
        let mut components = vec![Component::named("first")];
        let behind = Skew { peer: ComponentId(0), behind: 1, ahead: 0 };
        components.extend((0..downstream).map(|index| Component {
            after: vec![ComponentId(0)],
            skew: vec![behind],
            ..Component::named(&format!("other-{index}"))
        }));
        Policy::new(PolicyParts {
            max_hop,
            modes: BTreeMap::from([(Rule::ZeroDowntime, Mode::Audit)]),
            ..PolicyParts::new("p", components)
        })
        .unwrap()
    }

    fn view(policy: &Policy) -> View {
        let mut view = View::empty(policy);
        for (component, own) in view.components.iter_mut().zip(&policy.components) {
            component.workloads.push(WorkloadView {
                id: WorkloadId { kind: "Deployment".into(), name: own.name.clone() },
                desired: vec![minor(2)],
                running: BTreeMap::from([(minor(2), 2)]),
                rollout: Rollout::Settled,
            });
        }
        view
    }

    fn to(policy: &Policy, target: u64) -> Route {
        let targets = &BTreeMap::from([(ComponentId(0), minor(target))]);
        let (view, capacities, now) = (&view(policy), &BTreeMap::new(), Timestamp::UNIX_EPOCH);
        route(&Question { policy, view, targets, capacities, now })
    }

    fn reached(route: &Route) -> Vec<String> {
        route.steps.iter().map(|step| step.to.to_string()).collect()
    }

    #[test]
    fn many_components_move_along_without_a_search() {
        let route = to(&policy(40, 1), 4);
        assert_eq!((route.found, route.states, route.steps.len()), (true, 0, 42), "each of the others moves once");
    }

    #[test]
    fn a_search_that_is_too_large_does_not_claim_that_there_is_no_way() {
        let mut policy = policy(12, 1);
        policy.components[0].supported.push(SupportedRange { range: "<2.4.0".parse().unwrap(), warn: None });
        let route = to(&policy, 4);
        assert_eq!((route.found, route.exhaustive), (false, false));
        assert_eq!(route.blocked[0].decision.verdict, Verdict::Never);
    }

    #[test]
    fn a_version_without_end_ends() {
        let route = to(&policy(0, 1), u64::from(u32::MAX));
        assert!(!route.found && route.steps.len() <= 1000);
    }

    #[test]
    fn hops_are_as_long_as_allowed_and_stop_where_required() {
        assert_eq!(reached(&to(&policy(0, 3), 9)), ["2.5.0", "2.8.0", "2.9.0"]);
        let mut stops = policy(0, 3);
        let listed = |minor: u64| Listed {
            version: semver::Version::new(2, minor, 0),
            tags: vec![],
            digests: vec![],
            needs: BTreeMap::new(),
        };
        let release = |minor: u64| Release {
            name: format!("r{minor}"),
            required_stop: minor == 4,
            components: BTreeMap::from([(ComponentId(0), listed(minor))]),
            ..Release::default()
        };
        stops.lines = Lines::new((2..=7).map(release).collect());
        assert_eq!(reached(&to(&stops, 7)), ["2.4.0", "2.7.0"]);
    }
}
