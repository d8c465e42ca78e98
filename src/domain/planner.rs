//! Finds an order for a set of changes, and foretells what becomes of the set when an engine applies it all at once.
//!
//! It decides nothing: every step is a question to [`decide`] in the state that the steps before it lead to.

use std::cmp::Reverse;
use std::collections::HashSet;

use jiff::Timestamp;

use super::change::Change;
use super::decision::{Decision, Verdict, decide};
use super::policy::Policy;
use super::view::{Missing, Rollout, View, WorkloadId, WorkloadView};

/// Up to this many changes a dead end is remembered by the set of changes that led to it; above, the first legal
/// change is taken at every step and nothing is tried again.
const MOST_SEARCHED: usize = 20;
/// States looked at before the search gives up: all of them for 14 changes, a moment's work for any number.
const MOST_STATES: usize = 1 << 14;

/// What became of a set of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The steps of an order in which each change is legal once the one before has settled: all changes, or those
    /// that the furthest attempt came to.
    pub steps: Vec<Step>,
    /// The changes that no order makes legal; empty when [`Plan::steps`] holds all of them.
    pub stuck: Vec<Stuck>,
    /// Whether every order was tried. `false` only together with changes that are stuck.
    pub exhaustive: bool,
}

impl Plan {
    /// Whether all changes have their place in the order.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stuck.is_empty()
    }
}

/// One change at its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its position among the changes given.
    pub change: usize,
    /// The decision when its turn comes; never a refusal.
    pub decision: Decision,
}

/// A change that found no place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Its position among the changes given.
    pub change: usize,
    /// The decision in the state before all changes.
    pub before: Decision,
    /// The decision after [`Plan::steps`].
    pub at_best: Decision,
}

/// Looks for an order of `changes`, from the state that `view` shows, in which each is legal once the one before has
/// settled.
#[must_use]
pub fn plan(policy: &Policy, view: &View, changes: &[Change], now: Timestamp) -> Plan {
    let mut search = Search {
        policy,
        changes,
        now,
        preferred: preferred(policy, changes),
        dead: HashSet::new(),
        states: 0,
        path: vec![],
        best: (vec![], view.clone()),
    };
    let complete = search.from(view, 0);
    let Search { path, best: (best, reached), states, .. } = search;
    if complete {
        return Plan { steps: path, stuck: vec![], exhaustive: true };
    }
    let stuck = (0..changes.len()).filter(|index| best.iter().all(|step| step.change != *index));
    let stuck = stuck.map(|index| Stuck {
        change: index,
        before: decide(policy, view, &changes[index], now),
        at_best: decide(policy, &reached, &changes[index], now),
    });
    let exhaustive = changes.len() <= MOST_SEARCHED && states < MOST_STATES;
    Plan { stuck: stuck.collect(), steps: best, exhaustive }
}

/// The changes in the order in which they are tried: what others come after first, so that a way up is found at once.
fn preferred(policy: &Policy, changes: &[Change]) -> Vec<usize> {
    let depth = |change: &Change| change.moves.iter().map(|step| policy.upstream(step.component).len()).max();
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|index| (depth(&changes[*index]), *index));
    order
}

struct Search<'a> {
    policy: &'a Policy,
    changes: &'a [Change],
    now: Timestamp,
    preferred: Vec<usize>,
    /// Sets of applied changes, as bits, from which no order completes.
    dead: HashSet<u32>,
    states: usize,
    path: Vec<Step>,
    /// The furthest path, with the state it leads to.
    best: (Vec<Step>, View),
}

impl Search<'_> {
    /// Whether the remaining changes have an order from `view`, where those in `applied` are done.
    fn from(&mut self, view: &View, applied: u32) -> bool {
        if self.path.len() > self.best.0.len() {
            self.best = (self.path.clone(), view.clone());
        }
        if self.path.len() == self.changes.len() {
            return true;
        }
        let searched = self.changes.len() <= MOST_SEARCHED;
        for position in 0..self.preferred.len() {
            let index = self.preferred[position];
            if self.path.iter().any(|step| step.change == index) {
                continue;
            }
            // Above the limit no set of bits is kept: nothing is tried twice there.
            let with = if searched { applied | 1 << index } else { 0 };
            if self.dead.contains(&with) {
                continue;
            }
            let decision = decide(self.policy, view, &self.changes[index], self.now);
            if decision.verdict != Verdict::Allow {
                continue;
            }
            self.states += 1;
            self.path.push(Step { change: index, decision });
            if self.from(&view.after(&self.changes[index]), with) {
                return true;
            }
            self.path.pop();
            if !searched || self.states >= MOST_STATES {
                return false;
            }
            self.dead.insert(with);
        }
        false
    }
}

/// How an engine applies a set of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// It tries every object, and all of them again in the next round: Argo CD's retries, Helm when it is run again.
    TriesAll,
    /// It goes through the objects by kind and name and stops at the first refusal; when its dry run is refused it
    /// does not even start: a Flux Kustomization.
    StopsAtFirst,
    /// It tries every object once; what only has to wait is held, and goes on by itself: any engine under
    /// `onNotYet: Hold`.
    Holds,
}

/// What becomes of a set of changes that an engine applies all at once, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prognosis {
    /// The changes admitted in each round; every rollout completes between two rounds.
    pub rounds: Vec<Vec<usize>>,
    /// The change that is refused first in a round that admits nothing, after which no round ever will.
    pub stuck_at: Option<usize>,
    /// The changes that are refused in the only round there is, and not held: what never may, and what cannot be held.
    pub refused: Vec<usize>,
}

/// Foretells what becomes of `changes` when an engine applies them all at once and every refusal is final for its
/// round.
#[must_use]
pub fn all_at_once(policy: &Policy, view: &View, changes: &[Change], now: Timestamp, engine: Engine) -> Prognosis {
    let mut remaining: Vec<usize> = (0..changes.len()).collect();
    remaining.sort_by_key(|index| &changes[*index].workload);
    let mut refused_once = Vec::new();
    if engine == Engine::Holds {
        let is_refused = |index: &usize| {
            let change = &changes[*index];
            let verdict = decide(policy, view, change, now).verdict;
            verdict == Verdict::Never || (verdict == Verdict::NotYet && !can_be_held(&change.workload))
        };
        (refused_once, remaining) = remaining.into_iter().partition(is_refused);
    }
    let mut settled = view.clone();
    let mut rounds = Vec::new();
    while !remaining.is_empty() {
        let (admitted, refused) = round(policy, &settled, changes, &remaining, now, engine);
        if admitted.is_empty() {
            return Prognosis { rounds, stuck_at: refused, refused: refused_once };
        }
        remaining.retain(|index| !admitted.contains(index));
        settled = admitted.iter().fold(settled, |view, index| view.after(&changes[*index]));
        rounds.push(admitted);
    }
    Prognosis { rounds, stuck_at: None, refused: refused_once }
}

/// Whether the guard can hold the rollouts of a workload of this kind.
fn can_be_held(workload: &WorkloadId) -> bool {
    ["Deployment", "StatefulSet"].contains(&workload.kind.as_str())
}

/// The changes that one round admits, and the first it does not.
fn round(
    policy: &Policy,
    settled: &View,
    changes: &[Change],
    remaining: &[usize],
    now: Timestamp,
    engine: Engine,
) -> (Vec<usize>, Option<usize>) {
    if engine == Engine::StopsAtFirst {
        // A dry run of a change that only has to wait passes with a warning.
        let never = |index: &&usize| decide(policy, settled, &changes[**index], now).verdict == Verdict::Never;
        if let Some(index) = remaining.iter().find(never) {
            return (vec![], Some(*index));
        }
    }
    let mut view = settled.clone();
    let (mut admitted, mut refused) = (Vec::new(), None);
    for index in remaining {
        if decide(policy, &view, &changes[*index], now).verdict == Verdict::Allow {
            view = begun(&view, &changes[*index]);
            admitted.push(*index);
        } else {
            refused = refused.or(Some(*index));
            if engine == Engine::StopsAtFirst {
                break;
            }
        }
    }
    (admitted, refused)
}

/// The view a moment after `change` was admitted: asked for, and not observed by its controller.
fn begun(view: &View, change: &Change) -> View {
    let mut begun = view.clone();
    for step in &change.moves {
        let component = &mut begun.components[step.component.0];
        let own = component.workloads.iter_mut().find(|workload| workload.id == change.workload);
        let rollout = Rollout::Progressing(Missing::NotObserved);
        match own {
            Some(workload) => {
                workload.rollout = rollout;
                match workload.desired.iter_mut().find(|version| Some(&**version) == step.from.as_ref()) {
                    Some(version) => *version = step.to.clone(),
                    None => workload.desired.push(step.to.clone()),
                }
            }
            None => component.workloads.push(WorkloadView {
                id: change.workload.clone(),
                desired: vec![step.to.clone()],
                running: std::collections::BTreeMap::new(),
                rollout,
            }),
        }
    }
    begun
}

/// The worst refusal first: what a person wants to read of changes that are stuck.
pub fn worst_first(stuck: &mut [Stuck]) {
    stuck.sort_by_key(|one| (Reverse(one.at_best.verdict), one.change));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::change::Move;
    use crate::domain::policy::{Component, ComponentId, Mode, PolicyParts, Skew};
    use crate::domain::rules::Rule;
    use crate::domain::version::Version;
    use crate::domain::view::WorkloadId;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// api, then gateway, then ui and portal; everything behind the api by one line at most.
    fn policy() -> Policy {
        let behind = |peer: usize| Skew { peer: ComponentId(peer), behind: 1, ahead: 0 };
        let component = |name: &str, after: &[usize], skew: Vec<Skew>| Component {
            after: after.iter().map(|peer| ComponentId(*peer)).collect(),
            skew,
            ..Component::named(name)
        };
        Policy::new(PolicyParts {
            modes: BTreeMap::from([(Rule::ZeroDowntime, Mode::Audit)]),
            ..PolicyParts::new(
                "p",
                vec![
                    component("api", &[], vec![]),
                    component("gateway", &[0], vec![behind(0)]),
                    component("ui", &[1], vec![behind(0)]),
                    component("portal", &[1], vec![behind(0)]),
                ],
            )
        })
        .unwrap()
    }

    fn workload(policy: &Policy, component: usize) -> WorkloadId {
        WorkloadId { kind: "Deployment".into(), name: policy.components[component].name.clone() }
    }

    fn minor(minor: u64) -> Version {
        Version::Known(semver::Version::new(2, minor, 0))
    }

    fn view(policy: &Policy, minors: &[u64]) -> View {
        let mut view = View::empty(policy);
        for (index, line) in minors.iter().enumerate() {
            view.components[index].workloads.push(WorkloadView {
                id: workload(policy, index),
                desired: vec![minor(*line)],
                running: BTreeMap::from([(minor(*line), 2)]),
                rollout: Rollout::Settled,
            });
            view.components[index].recorded = Some(minor(*line));
        }
        view
    }

    fn changes(policy: &Policy, from: &[u64], to: &[u64]) -> Vec<Change> {
        let moved = (0..from.len()).filter(|index| from[*index] != to[*index]);
        moved
            .map(|index| Change {
                workload: workload(policy, index),
                moves: vec![Move::new(ComponentId(index), Some(minor(from[index])), minor(to[index]))],
                restarts: vec![],
                capacity: None,
            })
            .collect()
    }

    fn names(changes: &[Change], order: impl IntoIterator<Item = usize>) -> Vec<&str> {
        order.into_iter().map(|index| changes[index].workload.name.as_str()).collect()
    }

    fn planned(from: &[u64], to: &[u64]) -> (Vec<Change>, Plan) {
        let policy = policy();
        let changes = changes(&policy, from, to);
        let plan = plan(&policy, &view(&policy, from), &changes, NOW);
        (changes, plan)
    }

    #[test]
    fn up_goes_upstream_first_and_down_goes_downstream_first() {
        let (changes, up) = planned(&[2, 2, 2, 2], &[3, 3, 3, 3]);
        assert_eq!(names(&changes, up.steps.iter().map(|step| step.change)), ["api", "gateway", "ui", "portal"]);
        let (changes, down) = planned(&[3, 3, 3, 3], &[2, 2, 2, 2]);
        assert_eq!(names(&changes, down.steps.iter().map(|step| step.change)), ["ui", "portal", "gateway", "api"]);
    }

    #[test]
    fn nothing_to_do_is_a_complete_plan() {
        let (_, plan) = planned(&[2, 2, 2, 2], &[2, 2, 2, 2]);
        assert!(plan.is_complete() && plan.steps.is_empty());
    }

    #[test]
    fn what_is_stuck_is_judged_before_and_at_best() {
        let (changes, plan) = planned(&[2, 2, 2, 2], &[3, 4, 3, 2]);
        assert_eq!(names(&changes, plan.steps.iter().map(|step| step.change)), ["api"]);
        assert!(plan.exhaustive);
        let (gateway, ui) = (&plan.stuck[0], &plan.stuck[1]);
        assert_eq!(names(&changes, [gateway.change, ui.change]), ["gateway", "ui"]);
        assert_eq!((gateway.before.verdict, gateway.at_best.verdict), (Verdict::Never, Verdict::Never));
        assert_eq!((ui.before.reasons.len(), ui.at_best.reasons.len()), (3, 1), "the api is no reason any more");
    }

    #[test]
    fn above_the_limit_the_order_is_still_found() {
        let policy = policy();
        let mut many = view(&policy, &[2, 2, 2, 2]);
        let mut all = changes(&policy, &[2, 2, 2, 2], &[3, 3, 3, 3]);
        for index in 0..30 {
            let id = WorkloadId { kind: "Deployment".into(), name: format!("gateway-{index}") };
            let mut twin = many.components[1].workloads[0].clone();
            twin.id = id.clone();
            many.components[1].workloads.push(twin);
            all.push(Change { workload: id, ..all[1].clone() });
        }
        let plan = plan(&policy, &many, &all, NOW);
        assert!(plan.is_complete());
        assert_eq!(plan.steps.len(), 34);
    }

    #[test]
    fn many_changes_beside_an_impossible_one_take_no_time() {
        let policy = policy();
        let mut many = view(&policy, &[2, 2, 2, 2]);
        let mut all = changes(&policy, &[2, 2, 2, 2], &[3, 5, 2, 2]);
        for index in 0..17 {
            let id = WorkloadId { kind: "Deployment".into(), name: format!("api-{index}") };
            let mut twin = many.components[0].workloads[0].clone();
            twin.id = id.clone();
            many.components[0].workloads.push(twin);
            all.push(Change { workload: id, ..all[0].clone() });
        }
        let plan = plan(&policy, &many, &all, NOW);
        assert_eq!((plan.steps.len(), plan.stuck.len(), plan.exhaustive), (18, 1, false));
    }

    #[test]
    fn engines_that_try_all_converge_and_one_that_stops_may_not() {
        let policy = policy();
        let (from, to) = ([2, 2, 2, 2], [3, 3, 3, 3]);
        let all = changes(&policy, &from, &to);
        let foretell = |engine| all_at_once(&policy, &view(&policy, &from), &all, NOW, engine);
        let tries_all = foretell(Engine::TriesAll);
        let rounds: Vec<_> = tries_all.rounds.iter().map(|round| names(&all, round.iter().copied())).collect();
        assert_eq!(rounds, [vec!["api"], vec!["gateway"], vec!["portal", "ui"]]);
        assert_eq!(foretell(Engine::StopsAtFirst).rounds.len(), 3, "by name the api is first, the gateway second");

        let down = changes(&policy, &to, &from);
        let stopped = all_at_once(&policy, &view(&policy, &to), &down, NOW, Engine::StopsAtFirst);
        assert_eq!(stopped.rounds, Vec::<Vec<usize>>::new());
        assert_eq!(names(&down, stopped.stuck_at), ["api"], "nothing after the first refusal is ever tried");
    }

    #[test]
    fn two_legal_changes_that_exclude_each_other_are_not_both_admitted() {
        let policy = policy();
        let (from, to) = ([3, 2, 2, 2], [2, 3, 2, 2]);
        let both = changes(&policy, &from, &to);
        for change in &both {
            assert_eq!(decide(&policy, &view(&policy, &from), change, NOW).verdict, Verdict::Allow);
        }
        let foretold = all_at_once(&policy, &view(&policy, &from), &both, NOW, Engine::TriesAll);
        assert_eq!((foretold.rounds, foretold.stuck_at), (vec![vec![0]], Some(1)));
        assert!(!plan(&policy, &view(&policy, &from), &both, NOW).is_complete());
    }

    fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
        if items.is_empty() {
            return vec![vec![]];
        }
        let first = |at: usize| {
            let rest: Vec<usize> = items.iter().copied().filter(|item| *item != items[at]).collect();
            permutations(&rest).into_iter().map(move |tail| [vec![items[at]], tail].concat())
        };
        (0..items.len()).flat_map(first).collect()
    }

    /// How many changes of `order` are admitted, one after the other, before the first refusal.
    fn admitted(policy: &Policy, view: &View, changes: &[Change], order: &[usize]) -> usize {
        let mut view = view.clone();
        for (count, index) in order.iter().enumerate() {
            if decide(policy, &view, &changes[*index], NOW).verdict != Verdict::Allow {
                return count;
            }
            view = view.after(&changes[*index]);
        }
        order.len()
    }

    proptest! {
        /// A returned order is admitted step by step, and where none is returned no permutation would have been; the
        /// furthest attempt is as far as any permutation gets.
        #[test]
        fn an_order_is_admitted_and_none_means_none(
            from in proptest::collection::vec(1_u64..5, 4), to in proptest::collection::vec(1_u64..5, 4),
        ) {
            let policy = policy();
            let all = changes(&policy, &from, &to);
            let start = view(&policy, &from);
            let plan = plan(&policy, &start, &all, NOW);
            let order: Vec<usize> = plan.steps.iter().map(|step| step.change).collect();
            prop_assert_eq!(admitted(&policy, &start, &all, &order), order.len());
            prop_assert_eq!(order.len() + plan.stuck.len(), all.len());
            prop_assert!(plan.exhaustive);
            let indices: Vec<usize> = (0..all.len()).collect();
            let furthest = permutations(&indices).iter().map(|order| admitted(&policy, &start, &all, order)).max();
            prop_assert_eq!(furthest.unwrap_or(0), order.len());
        }

        /// Whatever an engine ends up with was admitted in an order that the planner would have found legal too.
        #[test]
        fn what_converges_has_an_order(
            from in proptest::collection::vec(1_u64..4, 4), to in proptest::collection::vec(1_u64..4, 4),
        ) {
            let policy = policy();
            let all = changes(&policy, &from, &to);
            let start = view(&policy, &from);
            for engine in [Engine::TriesAll, Engine::StopsAtFirst] {
                let foretold = all_at_once(&policy, &start, &all, NOW, engine);
                if foretold.stuck_at.is_none() {
                    prop_assert_eq!(foretold.rounds.iter().flatten().count(), all.len());
                    prop_assert!(plan(&policy, &start, &all, NOW).is_complete());
                }
            }
        }
    }
}
