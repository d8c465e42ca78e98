//! The components around the named ones, which move along where they have to.

use std::collections::BTreeSet;

use crate::domain::line::{Line, Span};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::Version;
use crate::domain::view::View;

use super::walk::{step, versions};
use super::{Goals, Question, Step};

/// The components that an order or a window connects with one that is not at its goal, directly or not.
pub(super) fn connected(policy: &Policy, view: &View, goals: &Goals) -> BTreeSet<ComponentId> {
    let away = goals.iter().filter(|(id, goal)| versions(view, **id).iter().any(|version| version != *goal));
    let mut todo: Vec<ComponentId> = away.map(|(id, _)| *id).collect();
    let mut found: BTreeSet<ComponentId> = BTreeSet::new();
    let related = |a: ComponentId, b: ComponentId| {
        let component = policy.component(a);
        component.after.contains(&b) || component.skew.iter().any(|skew| skew.peer == b)
    };
    while let Some(id) = todo.pop() {
        if found.insert(id) {
            todo.extend(policy.ids().filter(|other| related(id, *other) || related(*other, id)));
        }
    }
    found
}

/// `goals` with all connected components on the furthest of their lines; `None` where some of the named go up and
/// others back, or nothing would be added.
pub(super) fn lockstep(question: &Question<'_>, view: &View, goals: &Goals) -> Option<Goals> {
    let lines = &question.policy.lines;
    let span = |id: ComponentId, version: &Version| lines.span(id, version).ok();
    let mut up = false;
    let mut back = false;
    let mut reached: Vec<Line> = Vec::new();
    for (id, goal) in goals {
        let to = span(*id, goal)?;
        for from in versions(view, *id).iter().filter_map(|version| span(*id, version)) {
            let distance = from.distance_to(to).unwrap_or(0);
            up |= distance > 0;
            back |= distance < 0;
        }
        reached.extend([to.asks(), to.serves()]);
    }
    if up == back {
        return None;
    }
    let mut all = goals.clone();
    for id in connected(question.policy, view, goals) {
        let all_own = versions(view, id);
        let Some(own) = all_own.iter().find_map(|version| span(id, version)) else { continue };
        let comparable = reached.iter().filter(|line| line.above(own.asks()).is_some());
        let furthest = if up {
            comparable.max_by_key(|line| line.position())
        } else {
            comparable.min_by_key(|line| line.position())
        };
        let Some(furthest) = furthest else { continue };
        let distance = own.distance_to(Span::at(*furthest)).unwrap_or(0);
        if all.contains_key(&id) || (up && distance <= 0) || (back && distance >= 0) {
            continue;
        }
        all.extend(lines.version_on(id, *furthest).map(|version| (id, Version::Known(version))));
    }
    (all.len() > goals.len()).then_some(all)
}

/// `steps` without the moves of components that are not named, as far as the others are admitted without them: from
/// the last one back, because the later moves of a component stand on its earlier ones.
pub(super) fn pruned(question: &Question<'_>, start: &View, mut steps: Vec<Step>) -> Vec<Step> {
    for index in (0..steps.len()).rev() {
        if !steps[index].named {
            let mut fewer = steps.clone();
            fewer.remove(index);
            if let Some(fewer) = replayed(question, start, &fewer) {
                steps = fewer;
            }
        }
    }
    steps
}

/// `steps` with the decisions of this very way; `None` when one of them is not admitted.
fn replayed(question: &Question<'_>, start: &View, steps: &[Step]) -> Option<Vec<Step>> {
    let mut view = start.clone();
    let mut all = Vec::with_capacity(steps.len());
    for old in steps {
        let wanted = |id| old.changes.iter().any(|(change, _)| change.workload == id);
        let (new, after) =
            step(question, &view, old.component, &old.from, &old.to, |workload| wanted(workload.id.clone()))?;
        if new.changes.len() != old.changes.len() {
            return None;
        }
        all.push(new);
        view = after;
    }
    Some(all)
}
