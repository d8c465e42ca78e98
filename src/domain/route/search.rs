//! The fewest steps, by a bounded search over the states between (A*).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use crate::domain::line::{Line, Lines, Span};
use crate::domain::policy::ComponentId;
use crate::domain::version::Version;
use crate::domain::view::{View, WorkloadId};

use super::around::connected;
use super::hops::hops;
use super::walk::{step, versions};
use super::{Goals, Question, Step};

/// States looked at before the search gives up: a second's work.
const MOST_STATES: usize = 1 << 11;

pub(super) struct Found {
    /// The steps, where there is a way.
    pub(super) steps: Option<Vec<Step>>,
    pub(super) states: usize,
    /// Whether every state was looked at.
    pub(super) exhausted: bool,
}

struct Node {
    view: View,
    /// The node before and the step from there.
    parent: Option<(usize, Step)>,
    depth: u64,
}

/// What a state is: the versions that every workload asks for.
type Key = Vec<(ComponentId, WorkloadId, Vec<Version>)>;

pub(super) fn search(question: &Question<'_>, start: &View, goals: &Goals) -> Found {
    let movable = connected(question.policy, start, goals);
    let around = Around::of(question, start, goals, &movable);
    let mut nodes = vec![Node { view: start.clone(), parent: None, depth: 0 }];
    let mut best: HashMap<Key, u64> = HashMap::from([(key(start, &movable), 0)]);
    // Equal estimates: the deeper one, then the older one, so that the answer is always the same.
    let mut open = BinaryHeap::from([Reverse((left(question, start, goals), Reverse(0), 0))]);
    let mut states = 0;
    while let Some(Reverse((_, Reverse(depth), index))) = open.pop() {
        if left(question, &nodes[index].view, goals) == 0 {
            return Found { steps: Some(path(&nodes, index)), states, exhausted: false };
        }
        if best.get(&key(&nodes[index].view, &movable)).is_some_and(|known| *known < depth) {
            continue;
        }
        if states == MOST_STATES {
            return Found { steps: None, states, exhausted: false };
        }
        states += 1;
        for (step, view) in next(question, &nodes[index].view, goals, &movable, &around) {
            let depth = nodes[index].depth + 1;
            let key = key(&view, &movable);
            if best.get(&key).is_some_and(|known| *known <= depth) {
                continue;
            }
            best.insert(key, depth);
            let estimate = left(question, &view, goals).saturating_add(depth);
            open.push(Reverse((estimate, Reverse(depth), nodes.len())));
            nodes.push(Node { view, parent: Some((index, step)), depth });
        }
    }
    Found { steps: None, states, exhausted: true }
}

fn key(view: &View, movable: &BTreeSet<ComponentId>) -> Key {
    let mut key: Key = Vec::new();
    for id in movable {
        let workloads = &view.component(*id).workloads;
        key.extend(workloads.iter().map(|workload| (*id, workload.id.clone(), workload.desired.clone())));
    }
    key.sort_unstable();
    key
}

/// The least number of steps that are left.
fn left(question: &Question<'_>, view: &View, goals: &Goals) -> u64 {
    let hop = u64::from(question.policy.max_hop).max(1);
    let of = |(id, goal): (&ComponentId, &Version)| {
        let span = |version: &Version| question.policy.lines.span(*id, version).ok();
        let away = versions(view, *id).into_iter().filter(|version| version != goal);
        let steps = away.map(|version| {
            let distance = span(&version).zip(span(goal)).and_then(|(from, to)| from.distance_to(to));
            distance.unwrap_or(1).unsigned_abs().div_ceil(hop).max(1)
        });
        steps.max().unwrap_or(0)
    };
    goals.iter().map(of).fold(0, u64::saturating_add)
}

fn path(nodes: &[Node], mut index: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some((parent, step)) = &nodes[index].parent {
        steps.push(step.clone());
        index = *parent;
    }
    steps.reverse();
    steps
}

/// Every admitted step from `view`.
fn next(
    question: &Question<'_>,
    view: &View,
    goals: &Goals,
    movable: &BTreeSet<ComponentId>,
    around: &Around,
) -> Vec<(Step, View)> {
    let mut found = Vec::new();
    for id in movable {
        for from in versions(view, *id) {
            let goal = goals.get(id).filter(|goal| **goal != from);
            let mut to = goal.map_or_else(Vec::new, |goal| hops(question.policy, view, *id, &from, goal));
            to.extend(around.neighbours(question, *id, &from));
            let mut seen = BTreeSet::new();
            to.retain(|version| *version != from && seen.insert(version.clone()));
            found.extend(to.iter().filter_map(|to| step(question, view, *id, &from, to, |_| true)));
        }
    }
    found
}

/// How far the components may go out of the way: to the lines between the states, no further.
struct Around {
    /// The lines of the named ones, now and at the end.
    lines: Vec<Line>,
    /// What the components ask for now and at the end: the version of choice on its line.
    known: Vec<(ComponentId, Span, Version)>,
}

impl Around {
    fn of(question: &Question<'_>, start: &View, goals: &Goals, movable: &BTreeSet<ComponentId>) -> Self {
        let place = |id: ComponentId, version: Version| {
            let span = question.policy.lines.span(id, &version).ok()?;
            Some((id, span, version))
        };
        let ends = goals.iter().map(|(id, version)| (*id, version.clone()));
        let starts = movable.iter().flat_map(|id| versions(start, *id).into_iter().map(|version| (*id, version)));
        let known: Vec<_> = ends.chain(starts).filter_map(|(id, version)| place(id, version)).collect();
        let named = known.iter().filter(|(id, ..)| goals.contains_key(id));
        Self { lines: named.flat_map(|(_, span, _)| [span.asks(), span.serves()]).collect(), known }
    }

    /// The versions within reach of `from`, up and back.
    fn neighbours(&self, question: &Question<'_>, id: ComponentId, from: &Version) -> Vec<Version> {
        let lines = &question.policy.lines;
        let Ok(own) = lines.span(id, from) else { return self.names_for(question, id) };
        let starts =
            self.known.iter().filter(|(other, ..)| *other == id).flat_map(|(_, span, _)| [span.asks(), span.serves()]);
        let reach: Vec<Line> =
            self.lines.iter().copied().chain(starts).filter(|line| line.above(own.asks()).is_some()).collect();
        let ends = [reach.iter().max_by_key(|line| line.position()), reach.iter().min_by_key(|line| line.position())];
        let mut found = Vec::new();
        for end in ends.into_iter().flatten() {
            let end = Span::at(*end);
            let distance = own.distance_to(end).unwrap_or(0).unsigned_abs();
            let longest = u32::try_from(distance).unwrap_or(u32::MAX).min(question.policy.max_hop);
            let stepped = (1..=longest).rev().take(4).filter_map(|hop| Lines::step(own, end, hop));
            found.extend(stepped.filter_map(|line| self.version(question, id, line)));
        }
        found
    }

    /// What an unreadable version of a named component can be called on its way: a line of the others, because its own
    /// target may be out of their reach.
    fn names_for(&self, question: &Question<'_>, id: ComponentId) -> Vec<Version> {
        let goal = question.targets.get(&id).and_then(|goal| question.policy.lines.span(id, goal).ok());
        let Some(goal) = goal else { return vec![] };
        let comparable = self.lines.iter().filter(|line| line.above(goal.asks()).is_some());
        comparable.filter_map(|line| self.version(question, id, *line)).collect()
    }

    fn version(&self, question: &Question<'_>, id: ComponentId, line: Line) -> Option<Version> {
        let known = self.known.iter().find(|(other, span, _)| *other == id && span.contains(line));
        match known {
            Some((_, _, version)) => Some(version.clone()),
            None => question.policy.lines.version_on(id, line).map(Version::Known),
        }
    }
}
