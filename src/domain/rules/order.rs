//! `UG-ORDER`: upstream first on the way up, downstream first on the way back.
//!
//! Up: `lo(u) >= line needed by v` and settled(u) for every upstream u. Down: `hi(x) <= line(v) + ahead(x)` for every
//! downstream x (design section 3). A move that asks no more of upstream and serves downstream no less than before is
//! nothing to this rule, whatever was broken before.

use std::cmp::Reverse;

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::line::Line;
use crate::domain::policy::ComponentId;
use crate::domain::version::Version;
use crate::domain::view::{ComponentView, Missing};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let own = case.step.component;
    let depth = |id: &ComponentId| case.policy.upstream(*id).len();
    // What can be done first is said first: on the way up what is furthest upstream, on the way back the mirror.
    let (mut up, mut down) = (case.policy.upstream(own).to_vec(), case.policy.downstream(own).to_vec());
    up.sort_by_key(depth);
    down.sort_by_key(|id| Reverse(depth(id)));
    let up = up.into_iter().filter_map(|peer| against_upstream(case, peer));
    let down = down.into_iter().filter_map(|peer| against_downstream(case, peer));
    up.chain(down).collect()
}

/// The line that `version` of the moving component needs `upstream` to serve.
fn need_of(case: &Case<'_>, version: &Version, upstream: ComponentId) -> Option<Line> {
    case.policy.needed(case.step.component, version, upstream).ok()
}

/// Whether `need` is more than what `before` needed of `upstream`; more than nothing, or than what cannot be told.
fn is_more(case: &Case<'_>, need: Line, before: Option<&Version>, upstream: ComponentId) -> bool {
    let before = before.and_then(|version| need_of(case, version, upstream));
    before.and_then(|before| need.above(before)).is_none_or(|lines| lines > 0)
}

fn against_upstream(case: &Case<'_>, upstream: ComponentId) -> Option<Finding> {
    let peer = case.view.component(upstream);
    if peer.is_absent() || (case.is_first_install() && !peer.has_pods()) {
        return None;
    }
    let need = need_of(case, &case.step.to, upstream)?;
    if !is_more(case, need, case.before(), upstream) {
        return None;
    }
    let name = case.name(upstream);
    let waits = |facts: String, remedy: String| {
        let what = format!("must wait for {name} {}", case.policy.lines.name(upstream, need));
        Some(Finding::new(Verdict::NotYet, what, facts, remedy))
    };
    if !peer.has_pods() {
        return waits("no pod of it runs".into(), format!("Start {name} first, then retry."));
    }
    // What cannot be compared is UG-VERSION's to report.
    let short_of = |served: Line| need.above(served).is_some_and(|lines| lines > 0);
    let lags = |version: &Version| case.policy.lines.span(upstream, version).is_ok_and(|span| short_of(span.serves()));
    if case.live(upstream).iter().any(|(version, _)| lags(version)) {
        return waits(stuck_or_running(peer), remedy_of_lag(peer, name, lags));
    }
    // Recreating what was completed before asks for no more than was granted then: the peer may be rolling.
    if case.step.from.is_none() && !is_more(case, need, case.completed(), upstream) {
        return None;
    }
    // When everything is installed at once, a peer that never completed anything has nothing to complete first.
    if case.is_first_install() && peer.recorded.is_none() {
        return None;
    }
    let (workload, missing) = peer.unsettled()?;
    waits(format!("{}, {workload}: {missing}", peer.describe()), remedy_of(missing).into())
}

/// What runs of a component that lags, and why waiting will not change it where that is so.
fn stuck_or_running(peer: &ComponentView) -> String {
    match peer.unsettled().filter(|(_, missing)| !missing.goes_on()) {
        Some((workload, missing)) => format!("{}, {workload}: {missing}", peer.describe()),
        None => peer.describe(),
    }
}

/// What to do about a component of which some version `lags`.
fn remedy_of_lag(peer: &ComponentView, name: &str, lags: impl Fn(&Version) -> bool) -> String {
    let forgotten = peer.workloads.iter().find(|workload| workload.desired.iter().any(&lags));
    match (forgotten, peer.unsettled()) {
        // One of several workloads may be the one that was forgotten.
        (Some(workload), _) if peer.workloads.len() > 1 => {
            format!("Upgrade {} of {name} first, then retry.", workload.id)
        }
        (None, Some((_, missing))) => remedy_of(missing).to_owned(),
        _ => format!("Upgrade {name} first, then retry."),
    }
}

/// What to do about a rollout that something has to wait for.
fn remedy_of(missing: &Missing) -> &'static str {
    match missing {
        Missing::Paused => "Resume that rollout first, then retry.",
        Missing::DeadlineExceeded => "Mend or undo that rollout first: waiting does not complete it.",
        _ => "Retry when its rollout is complete.",
    }
}

fn against_downstream(case: &Case<'_>, downstream: ComponentId) -> Option<Finding> {
    let served = case.to.ok()?.serves();
    let before = case.before_span().and_then(|before| served.above(before.serves()));
    if before.is_some_and(|lines| lines >= 0) {
        return None;
    }
    let own = case.step.component;
    let needs_more = |version: &Version| {
        let need = case.policy.needed(downstream, version, own).ok();
        need.and_then(|need| need.above(served)).is_some_and(|lines| lines > 0)
    };
    if !case.live(downstream).iter().any(|(version, _)| needs_more(version)) {
        return None;
    }
    let name = case.name(downstream);
    let peer = case.view.component(downstream);
    let mut wanted = peer.workloads.iter().flat_map(|workload| &workload.desired);
    let remedy =
        if wanted.any(needs_more) { "Roll it back first, then retry." } else { "Retry when its rollout is complete." };
    let what = format!("must wait for {name} to go back to {}", case.policy.lines.name(downstream, served));
    Some(Finding::new(Verdict::NotYet, what, peer.describe(), remedy))
}
