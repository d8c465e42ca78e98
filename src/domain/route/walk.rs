//! One way, taken without ever going back: always the first admitted move in the order of preference.

use crate::domain::change::{Change, Move};
use crate::domain::decision::{Verdict, decide};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::Version;
use crate::domain::view::{View, WorkloadView};

use super::hops::hops;
use super::{Goals, Question, Step};

/// Steps after which a walk gives up: no platform has so many lines between two states.
const MOST_STEPS: usize = 1000;

/// How far the first admitted move, again and again, leads.
pub(super) struct Walk {
    pub(super) steps: Vec<Step>,
    pub(super) view: View,
    pub(super) arrived: bool,
}

impl Walk {
    pub(super) fn to(question: &Question<'_>, start: &View, goals: &Goals) -> Self {
        let mut walk = Self { steps: vec![], view: start.clone(), arrived: false };
        while walk.steps.len() < MOST_STEPS {
            let pending = pending(question.policy, &walk.view, goals);
            if pending.is_empty() {
                walk.arrived = true;
                break;
            }
            let next = pending.iter().find_map(|pending| {
                let Pending { component, from, goal, .. } = pending;
                let to = hops(question.policy, &walk.view, *component, from, goal);
                to.iter().find_map(|to| step(question, &walk.view, *component, from, to, |_| true))
            });
            let Some((step, view)) = next else { break };
            walk.steps.push(step);
            walk.view = view;
        }
        walk
    }
}

/// Workloads of one component that ask for one version which is not their goal.
pub(super) struct Pending<'a> {
    pub(super) component: ComponentId,
    pub(super) from: Version,
    pub(super) goal: &'a Version,
    preference: (u8, i64, usize),
}

/// What is not at its goal, in the order in which it is tried.
pub(super) fn pending<'a>(policy: &Policy, view: &View, goals: &'a Goals) -> Vec<Pending<'a>> {
    let mut all = Vec::new();
    for (component, goal) in goals {
        for from in versions(view, *component).into_iter().filter(|from| from != goal) {
            let preference = preference(policy, *component, &from, goal);
            all.push(Pending { component: *component, from, goal, preference });
        }
    }
    all.sort_by(|a, b| (a.preference, a.component, &a.from).cmp(&(b.preference, b.component, &b.from)));
    all
}

/// The versions that `component` asks for, each once.
pub(super) fn versions(view: &View, component: ComponentId) -> Vec<Version> {
    let mut all: Vec<Version> =
        view.component(component).workloads.iter().flat_map(|workload| workload.desired.iter().cloned()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What cannot be placed first, because others cannot be compared with it; then the lowest line upwards, upstream
/// first; then the highest line back, downstream first.
fn preference(policy: &Policy, component: ComponentId, from: &Version, goal: &Version) -> (u8, i64, usize) {
    let span = |version: &Version| policy.lines.span(component, version);
    let Ok(start) = span(from) else { return (0, 0, policy.upstream(component).len()) };
    let back = span(goal).ok().and_then(|to| start.distance_to(to)).is_some_and(|lines| lines < 0);
    if back {
        (2, start.asks().position().saturating_neg(), policy.downstream(component).len())
    } else {
        (1, start.serves().position(), policy.upstream(component).len())
    }
}

/// The change that moves `component` in one workload.
pub(super) fn change(
    question: &Question<'_>,
    component: ComponentId,
    workload: &WorkloadView,
    from: &Version,
    to: &Version,
) -> Change {
    // One move for each container, so that none stays behind.
    let containers = workload.desired.iter().filter(|version| *version == from);
    let moves = containers.map(|_| Move::new(component, Some(from.clone()), to.clone()));
    Change {
        workload: workload.id.clone(),
        moves: moves.collect(),
        restarts: vec![],
        capacity: question.capacities.get(&(component, workload.id.clone())).cloned(),
    }
}

/// Moves the workloads of `component` that ask for `from`, are `wanted` and are admitted, one after the other; `None`
/// when none is.
pub(super) fn step(
    question: &Question<'_>,
    view: &View,
    component: ComponentId,
    from: &Version,
    to: &Version,
    wanted: impl Fn(&WorkloadView) -> bool,
) -> Option<(Step, View)> {
    let workloads = &view.component(component).workloads;
    let mut concerned: Vec<&WorkloadView> =
        workloads.iter().filter(|workload| workload.desired.contains(from) && wanted(workload)).collect();
    concerned.sort_by_key(|workload| &workload.id);
    let mut reached: Option<View> = None;
    let mut changes = Vec::new();
    for workload in concerned {
        let change = change(question, component, workload, from, to);
        let before = reached.as_ref().unwrap_or(view);
        let decision = decide(question.policy, before, &change, question.now);
        if decision.verdict == Verdict::Allow {
            reached = Some(before.after(&change));
            changes.push((change, decision));
        }
    }
    let named = question.targets.contains_key(&component);
    reached.map(|view| (Step { component, from: from.clone(), to: to.clone(), named, changes }, view))
}
