//! The versions that one move can go to.

use crate::domain::line::{Line, Lines, Span};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::Version;
use crate::domain::view::View;

/// Shorter hops than the longest one that are tried: a longer list finds nothing more that people would do.
const MOST_SHORTER: u32 = 16;

/// Where `component` can go from `from` on its way to `goal`, the longest hop first; `goal` itself where how far it is
/// cannot be told, so that the guard says why.
pub(super) fn hops(
    policy: &Policy,
    view: &View,
    component: ComponentId,
    from: &Version,
    goal: &Version,
) -> Vec<Version> {
    let lines = &policy.lines;
    let span = |version: &Version| lines.span(component, version).ok();
    let Some(to) = span(goal) else { return vec![goal.clone()] };
    if let Some(start) = span(from) {
        let mut found = between(policy, component, start, to, goal);
        found.retain(|version| version != from);
        return found;
    }
    // What cannot be read is named first: as the target, as what was completed, or on the way between them.
    let completed = view.component(component).completed(component, lines);
    let mut found = vec![goal.clone()];
    if let Some((completed, start)) = completed.and_then(|version| Some((version, span(version)?))) {
        found.extend(between(policy, component, start, to, goal));
        found.push(completed.clone());
    }
    found.retain(|version| version != from);
    found.dedup();
    found
}

fn between(policy: &Policy, component: ComponentId, from: Span, to: Span, goal: &Version) -> Vec<Version> {
    let lines = &policy.lines;
    let Some(distance) = from.distance_to(to) else { return vec![goal.clone()] };
    let longest = u32::try_from(distance.unsigned_abs()).unwrap_or(u32::MAX).min(policy.max_hop);
    let mut found = Vec::new();
    if distance.unsigned_abs() <= u64::from(policy.max_hop) {
        found.push(goal.clone());
    } else {
        found.extend(on_line(lines, component, Lines::step(from, to, longest)));
    }
    let stop = lines.required_stop_between(from, to).and_then(|stop| stop.components.get(&component));
    found.extend(stop.map(|listed| Version::Known(listed.version.clone())));
    let shorter = (1..longest).rev().take(MOST_SHORTER as usize);
    found.extend(shorter.filter_map(|hop| on_line(lines, component, Lines::step(from, to, hop))));
    found
}

fn on_line(lines: &Lines, component: ComponentId, line: Option<Line>) -> Option<Version> {
    lines.version_on(component, line?).map(Version::Known)
}
