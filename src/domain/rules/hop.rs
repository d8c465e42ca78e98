//! `UG-HOP`: one hop at a time, from what was completed.

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::line::{Line, Lines, Span};
use crate::domain::version::Version;
use crate::domain::view::WorkloadView;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    find(case).into_iter().collect()
}

fn find(case: &Case<'_>) -> Option<Finding> {
    let to = case.to.ok()?;
    // A patch retarget is always allowed, in the middle of a rollout too.
    if case.stays_on_line() {
        return None;
    }
    too_far(case, to).or_else(|| third_line(case, to))
}

/// The version that the hop is measured from: what this workload completed, else what the component did.
fn base<'a>(case: &Case<'a>) -> Option<&'a Version> {
    let own = case.own().workloads.iter().find(|workload| workload.id == case.change.workload);
    let settled = own.filter(|workload| workload.is_settled() && !workload.running.is_empty());
    let completed = settled.and(case.step.from.as_ref()).filter(|version| version.known().is_some());
    completed.or_else(|| started_from(case, own?)).or_else(|| case.completed())
}

/// Where the rollout of one of several workloads started: at its old pods. What the component completed is the lowest of
/// all workloads, and may be further away.
fn started_from<'a>(case: &Case<'a>, own: &'a WorkloadView) -> Option<&'a Version> {
    let span = |version: &Version| case.policy.lines.span(case.step.component, version).ok();
    let target = case.from?.ok()?;
    let old = own.running.keys().filter(|version| span(version).is_some_and(|span| span != target));
    old.min().filter(|_| case.own().workloads.len() > 1)
}

fn too_far(case: &Case<'_>, to: Span) -> Option<Finding> {
    let id = case.step.component;
    let lines = &case.policy.lines;
    let completed = base(case)?;
    let from = lines.span(id, completed).ok()?;
    let distance = from.distance_to(to)?.unsigned_abs();
    let max_hop = case.policy.max_hop;
    let next = |line: Option<Line>| match (line, case.from, &case.step.from) {
        (Some(line), Some(Ok(asked)), Some(version)) if asked.asks() == line => {
            format!("Let the rollout to {version} complete first.")
        }
        (Some(line), ..) => format!("Go to {} first.", lines.name(id, line)),
        (None, ..) => "Go to the next line first.".to_owned(),
    };
    if let Some(stop) = lines.required_stop_between(from, to) {
        let version = stop.components.get(&id).map_or_else(|| stop.name.clone(), |listed| listed.version.to_string());
        return Some(Finding::new(
            Verdict::Never,
            format!("skips the required stop {}", stop.name),
            format!("the last completed version is {completed}"),
            format!("Go to {version} first."),
        ));
    }
    (distance > u64::from(max_hop)).then(|| {
        let unit = if max_hop == 1 { "line" } else { "lines" };
        Finding::new(
            Verdict::Never,
            format!("is {distance} lines at once"),
            format!("the last completed version is {completed}, a move may cross {max_hop} {unit}"),
            next(Lines::step(from, to, max_hop)),
        )
    })
}

/// A third line on top of a rollout between two would destroy the rollout that it has to wait for.
fn third_line(case: &Case<'_>, to: Span) -> Option<Finding> {
    let id = case.step.component;
    let own = case.own().workloads.iter().find(|workload| workload.id == case.change.workload)?;
    let live: Vec<Span> = own.live().filter_map(|version| case.policy.lines.span(id, version).ok()).collect();
    let rolling = !own.is_settled() && live.iter().any(|span| Some(span) != live.first());
    let known =
        live.contains(&to) || case.completed().is_some_and(|completed| case.policy.lines.span(id, completed) == Ok(to));
    (rolling && !known).then(|| {
        let target = case.step.from.as_ref().map_or_else(|| "its target".to_owned(), ToString::to_string);
        Finding::new(
            Verdict::Never,
            "starts a third line in the middle of a rollout",
            case.own().describe(),
            format!("Let the rollout to {target} complete, or undo it, before the next line."),
        )
    })
}
