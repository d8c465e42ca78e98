//! Holding a rollout that only has to wait, instead of refusing it: `POST /mutate`, and what `/validate` makes of it.
//!
//! `/mutate` judges a workload as if the guard did not hold it, and then places the hold, leaves it or takes it out. It
//! refuses nothing: what it does not hold, `/validate` judges as it is.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::judge::{Asked, Found};
use super::workload::{Objects, objects, snapshot};
use super::{Admission, Answer, Outcome, Request, render};
use crate::api::HELD_LABEL;
use crate::cluster::hold::{Hold, KINDS, lift};
use crate::cluster::object::WorkloadKind;
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::decision::{Decision, Verdict};
use crate::domain::policy::OnNotYet;
use crate::domain::view::Rollout;

/// The path of these answers, for whoever counts.
const PATH: &str = "mutate";

/// Answers `/mutate` for a workload's creation or update.
pub(super) async fn mutate(admission: &Admission, request: &Request<'_>, kind: WorkloadKind, until: Instant) -> Answer {
    let Ok(Some(snapshot)) = snapshot(admission, request).await else { return as_it_is(request) };
    let Ok(Objects { old, new, wish }) = objects(request, kind) else { return as_it_is(request) };
    let stays = old.as_ref().is_some_and(|old| old.held);
    let same_template = stays && has_same_template(request);
    if !KINDS.contains(&kind) || (same_template && new.held) {
        // Applied again, or scaled: the controller lets it go when it may.
        return as_it_is(request);
    }
    let theirs = is_someones_pause(old.as_ref(), &new);
    let subject = if theirs { new } else { new.unheld() };
    let asked = Asked { admission, request, old: old.as_ref(), wish: wish.as_deref(), until };
    let case = asked.about(&subject);
    let mut found = case.judge(&snapshot, Timestamp::now()).await;
    // What the watches show may be late, and `/validate` can only refuse what should have been held.
    let fresh = match &found {
        Some(found) if may_be_held(&snapshot, old.as_ref(), &subject) => case.fresh(found).await,
        _ => None,
    };
    if let Some(fresh) = &fresh {
        found = case.judge(fresh, Timestamp::now()).await;
    }
    match found.as_ref().map_or(Verdict::Allow, |found| found.decision.verdict) {
        Verdict::Allow if theirs || !is_marked(request) => as_it_is(request),
        Verdict::Allow => with_patch(as_it_is(request), request, |object| lift(kind, object)),
        Verdict::NotYet => match found.filter(|found| holds_all(found) && obstacle(old.as_ref(), &subject).is_none()) {
            Some(found) => {
                tracing::info!(
                    moves = found.moves(),
                    dry_run = request.is_dry_run(),
                    reason = found.decision.denial(),
                    "held"
                );
                case.tell(&found, Outcome::Held);
                let answer = Answer { response: render::held(request, &found, stays), path: PATH };
                let hold = hold_for(request, &found.decision, same_template);
                with_patch(answer, request, |object| {
                    lift(kind, object);
                    hold.place(kind, object);
                })
            }
            None => as_it_is(request),
        },
        Verdict::Never => as_it_is(request),
    }
}

/// Whether a change to `new` would be held if it had to wait.
fn may_be_held(snapshot: &Snapshot, old: Option<&WorkloadRecord>, new: &WorkloadRecord) -> bool {
    snapshot.policies.iter().any(|policy| policy.on_not_yet == OnNotYet::Hold) && obstacle(old, new).is_none()
}

/// The answer that changes nothing.
pub(super) fn as_it_is(request: &Request<'_>) -> Answer {
    Answer { path: PATH, ..render::allowed(request) }
}

/// `answer` with the patch that makes what `edit` makes of the request's object. Without its patch an answer admits what
/// `/validate` will look at as it is.
fn with_patch(answer: Answer, request: &Request<'_>, edit: impl FnOnce(&mut Value)) -> Answer {
    let Some(object) = json(request.object) else { return answer };
    let mut edited = object.clone();
    edit(&mut edited);
    let patch = json_patch::diff(&object, &edited);
    if patch.0.is_empty() {
        return answer;
    }
    let response = answer.response.clone().with_patch(patch);
    Answer { response: response.unwrap_or(answer.response), ..answer }
}

/// What the hold says. A workload that goes on waiting for the same says the same, so that nothing changes.
fn hold_for(request: &Request<'_>, decision: &Decision, same_template: bool) -> Hold {
    let [old, new] = [request.old_object, request.object].map(|object| Hold::of(&json(object)?));
    let since = |hold: Hold| Some(hold.since).filter(|since| since.parse::<Timestamp>().is_ok());
    match old {
        Some(old) if same_template => old,
        old => {
            // Another webhook may have this one called again on its own patch.
            let since = old.and_then(since).or_else(|| new.and_then(since));
            let now = || Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let worst = decision.reasons.first();
            Hold {
                rule: worst.map(|reason| reason.rule.to_string()).unwrap_or_default(),
                waits_for: worst.map(|reason| reason.what.clone()).unwrap_or_default(),
                since: since.unwrap_or_else(now),
            }
        }
    }
}

fn json(object: Option<&RawValue>) -> Option<Value> {
    serde_json::from_str(object?.get()).ok()
}

/// Whether the object says anything of a hold. All its keys begin like the label's.
fn is_marked(request: &Request<'_>) -> bool {
    request.object.is_some_and(|object| object.get().contains(HELD_LABEL))
}

/// Whether the pods are to be made of the same as before.
fn has_same_template(request: &Request<'_>) -> bool {
    let [old, new] = [request.old_object, request.object].map(|object| {
        let mut object = json(object)?;
        object.pointer_mut("/spec/template").map(Value::take)
    });
    old.is_some() && old == new
}

/// Whether every policy that lets the change wait wants it held.
fn holds_all(found: &Found<'_>) -> bool {
    let mut waiting = found.changes.iter().zip(&found.decisions).filter(|(_, one)| one.verdict != Verdict::Allow);
    waiting.all(|((policy, _), _)| policy.on_not_yet == OnNotYet::Hold)
}

/// Whether the workload is paused, and not by the guard.
fn is_someones_pause(old: Option<&WorkloadRecord>, new: &WorkloadRecord) -> bool {
    new.paused && (!new.held || old.is_some_and(|old| old.paused && !old.held))
}

/// Why a change to `new`, which the guard does not hold, cannot be held; `None` when it can.
fn obstacle(old: Option<&WorkloadRecord>, new: &WorkloadRecord) -> Option<String> {
    let is_set = new.kind == WorkloadKind::StatefulSet;
    let has_pods = |old: &WorkloadRecord| old.pods.as_ref().is_some_and(|pods| pods.total > 0);
    if !KINDS.contains(&new.kind) {
        Some(format!("A {} cannot be held.", new.kind.as_str()))
    } else if new.paused {
        Some("A workload that someone else has paused is not held.".to_owned())
    } else if is_set && new.kept_back == u32::MAX {
        Some("A StatefulSet that is updated OnDelete cannot be held.".to_owned())
    } else if old.is_some_and(|old| old.rollout != Rollout::Settled && !old.held) {
        // The template that it rolls to would be gone.
        Some("A workload in the middle of its own rollout is not held.".to_owned())
    } else if is_set && !(new.replicas > 0 && old.is_some_and(has_pods)) {
        // Its first pods are of the new revision, whatever its partition says.
        Some("A StatefulSet without pods cannot be held.".to_owned())
    } else {
        None
    }
}

// --- what `/validate` asks

/// The workload as it takes effect, for `/validate` to judge; `None` when it is held, as it should be. What is held has
/// no effect now, and is only looked at for what it may never do; a hold that the guard would not have placed counts for
/// nothing.
pub(super) async fn subject(asked: Asked<'_>, snapshot: &Snapshot, new: &WorkloadRecord) -> Option<WorkloadRecord> {
    if !new.held {
        return Some(new.clone());
    }
    let Asked { request, old, .. } = asked;
    let stays = old.is_some_and(|old| old.held);
    let free = new.unheld();
    let wanted = snapshot.policies.iter().any(|policy| policy.on_not_yet == OnNotYet::Hold);
    if !stays && (!wanted || is_someones_pause(old, new) || obstacle(old, &free).is_some()) {
        return Some(WorkloadRecord { held: false, ..new.clone() });
    }
    if stays && has_same_template(request) {
        return None;
    }
    let found = asked.about(&free).judge(snapshot, Timestamp::now()).await;
    let never = found.is_some_and(|found| found.decision.verdict == Verdict::Never);
    never.then_some(free)
}

/// Says in a refusal why the change could not be held, where its policies would have it held.
pub(super) fn explain(answer: &mut Answer, snapshot: &Snapshot, old: Option<&WorkloadRecord>, new: &WorkloadRecord) {
    let response = &mut answer.response;
    let waits = response.audit_annotations.get("verdict").is_some_and(|verdict| verdict == Verdict::NotYet.as_str());
    if response.allowed || !waits || !snapshot.policies.iter().all(|policy| policy.on_not_yet == OnNotYet::Hold) {
        return;
    }
    if let Some(why) = obstacle(old, new) {
        // The command that shows the way stands last, without a full stop that would be copied with it.
        let message = std::mem::take(&mut response.result.message);
        let (reasons, way) = message.find(render::WAY).map_or((message.as_str(), ""), |at| message.split_at(at));
        response.result.message = format!("{reasons} {why}{way}");
    }
}
