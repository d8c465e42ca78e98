//! `UG-PRECONDITION`: what a policy asks for before an upgrade is there.
//!
//! Only moves to a higher line are asked: who goes back, or mends a line by a patch, must not wait for a backup. A skipped hook is caught here, because engines
//! skip hooks on self-heal and on selective syncs.
//!
//! The hook judges how old a backup or an export may be, at the moment at which it looks. What it recorded then counts as
//! long as the policy says (`preparedFor`), even when the backup has grown older than its own limit by that time: the
//! backup that is worth something is the one from before the migration, and to ask for a fresher one in the middle of the
//! upgrade would be to ask for one of the new schema.

use std::cmp::Ordering;

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::line::Span;
use crate::domain::preparation::{BreakingChange, Preparation, open_freeze, unacknowledged};
use crate::domain::version::Version;

/// Breaking changes whose messages are told; the others are named.
const MOST_MESSAGES: usize = 3;
const HOOK: &str = "must wait for the hook";
const RUN: &str = "Run upgrade-guard presync (the hook Job), which reports every precondition, then retry.";

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let is_up = !matches!(case.direction(), Some(Ordering::Less | Ordering::Equal));
    // Of a version that cannot be read UG-VERSION tells. A patch is how a rollout that is stuck is mended: pods that are
    // not well, or a freeze, must not stand in its way.
    if !is_up || case.is_first_install() || case.stays_on_line() || case.step.to.known().is_none() {
        return vec![];
    }
    frozen(case).into_iter().chain(unread(case)).chain(unprepared(case)).collect()
}

fn not_yet(what: impl Into<String>, facts: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::new(Verdict::NotYet, what, facts, remedy)
}

fn frozen(case: &Case<'_>) -> Option<Finding> {
    let (window, ends) = open_freeze(&case.policy.demands, case.now)?;
    Some(not_yet(
        format!("must wait for the end of freeze window {}", window.name),
        format!("it is open until {ends}"),
        "Retry after that. Going back is possible at any time.",
    ))
}

fn unread(case: &Case<'_>) -> Option<Finding> {
    let (own, to) = (case.step.component, case.to.ok()?);
    let span = |version: &Version| case.policy.lines.span(own, version).ok();
    let from = case.completed().and_then(span).or_else(|| case.before_span());
    // From nowhere that can be placed, all up to there.
    let from = from.unwrap_or_else(|| before_the_first(to));
    let changes = unacknowledged(case.policy, &case.view.acknowledged, own, from, to);
    if changes.is_empty() {
        return None;
    }
    let (noun, them) =
        if changes.len() == 1 { ("a breaking change is", "it") } else { ("breaking changes are", "them") };
    let message = |change: &&BreakingChange| {
        let url = change.url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default();
        format!("{}: {}{url}", change.name, change.message.trim_end_matches('.'))
    };
    let mut facts: Vec<String> = changes.iter().take(MOST_MESSAGES).map(message).collect();
    facts.extend(
        changes.get(MOST_MESSAGES..).filter(|more| !more.is_empty()).map(|more| format!("{} more", more.len())),
    );
    let names: Vec<String> = changes.iter().map(|change| format!("\"{}\"", change.name)).collect();
    let (names, policy) = (names.join(" and "), &case.policy.name);
    Some(not_yet(
        format!("must wait until {noun} acknowledged"),
        facts.join("; "),
        format!("Read {them}, then add {names} to spec.acknowledged of UpgradePolicy {policy} or Platform {policy}."),
    ))
}

/// A line below all releases, seen from `to`.
fn before_the_first(to: Span) -> Span {
    let first = to.asks();
    Span::at(first.lowered(u32::try_from(first.position().saturating_add(1)).unwrap_or(u32::MAX)))
}

fn unprepared(case: &Case<'_>) -> Vec<Finding> {
    let (own, to) = (case.step.component, &case.step.to);
    let declared = case.policy.demands.preconditions.iter().filter(|declared| declared.concerns(own));
    let declared: Vec<&str> = declared.map(|declared| declared.name.as_str()).collect();
    // What nobody looked at is not judged.
    let Some(runs) = case.view.preparations.as_ref().filter(|_| !declared.is_empty()) else { return vec![] };
    let Some(run) = runs.iter().find(|run| run.covers(own, to)) else {
        return vec![not_yet(HOOK, format!("no presync run is recorded for {to}"), RUN)];
    };
    let target = &run.target;
    let Some(ended) = run.ended else {
        let facts = format!("its run for {target} is not complete");
        return vec![not_yet(HOOK, facts, "Retry when it is; if it was killed, run upgrade-guard presync again.")];
    };
    let failed: Vec<Finding> = declared.iter().filter_map(|name| did_not_hold(run, name)).collect();
    if !failed.is_empty() {
        return failed;
    }
    if !run.prepared {
        let facts = format!("something was refused or failed when it ran for {target}");
        return vec![not_yet(HOOK, facts, "See upgrade-guard status, mend it, and run upgrade-guard presync again.")];
    }
    let valid_for = case.policy.demands.valid_for;
    if case.now.duration_since(ended) > valid_for {
        return vec![not_yet(HOOK, format!("what it found for {target} is more than {valid_for:#} old"), RUN)];
    }
    vec![]
}

/// What is missing of the precondition called `name` in what the hook found.
fn did_not_hold(run: &Preparation, name: &str) -> Option<Finding> {
    let facts = match run.preconditions.get(name) {
        Some(None) => return None,
        Some(Some(why)) => why.trim_end_matches('.').to_owned(),
        None => format!("the hook did not look at it when it ran for {}", run.target),
    };
    Some(not_yet(
        format!("must wait for precondition {name}"),
        facts,
        "Mend that, and run upgrade-guard presync (the hook Job) again.",
    ))
}
