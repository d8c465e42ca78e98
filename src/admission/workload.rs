//! Reviews of workloads and of their scale subresource.

use jiff::Timestamp;
use kube::core::admission::Operation;
use serde_json::value::RawValue;

use super::{Admission, Answer, Judged, Outcome, Request, hold, render};
use crate::cluster::change::change;
use crate::cluster::inventory::Inventory;
use crate::cluster::object::{self, Scale, UnreadableObject, WorkloadKind, read_workload};
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::Change;
use crate::domain::decision::{Decision, decide};
use crate::domain::policy::Policy;
use crate::domain::text::tame;
use crate::domain::view::WorkloadId;

/// Reviews a workload's creation or update.
pub(super) async fn review(admission: &Admission, request: &Request<'_>, kind: WorkloadKind) -> Answer {
    let snapshot = match snapshot(admission, request).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return render::allowed(request),
        Err(answer) => return *answer,
    };
    let (old, new) = match objects(request, kind) {
        Ok(objects) => objects,
        Err(error) => return refuse(request, &error),
    };
    let inventory = || inventory_before(&snapshot, old.as_ref(), &new);
    let Some(subject) = hold::subject(request, &snapshot, old.as_ref(), &new, &inventory) else {
        return Answer { path: "fast", ..render::allowed(request) };
    };
    let changes = changes(&snapshot, |policy| change(policy, &snapshot.inventory, old.as_ref(), &subject));
    if changes.is_empty() {
        return Answer { path: "fast", ..render::allowed(request) };
    }
    let mut answer = conclude(admission, request, &inventory(), &changes);
    hold::explain(&mut answer, &changes, old.as_ref(), &subject);
    answer
}

/// The workload before and after the request.
pub(super) fn objects(
    request: &Request<'_>,
    kind: WorkloadKind,
) -> Result<(Option<WorkloadRecord>, WorkloadRecord), String> {
    let read = |object| record(kind, request, object).map_err(|error| error.to_string());
    let new = read(request.object)?.ok_or("the request carries no object")?;
    match read(request.old_object)? {
        // What is created had no state before, and what is updated had one: a request that says otherwise could make
        // a move look like none.
        Some(_) if request.operation == Operation::Create => Err("it is new and has an old object".to_owned()),
        None if request.operation == Operation::Update => Err("the request carries no old object".to_owned()),
        old => Ok((old, new)),
    }
}

/// What is known from before the request, which itself tells the workload's state better than any cache.
pub(super) fn inventory_before(snapshot: &Snapshot, old: Option<&WorkloadRecord>, new: &WorkloadRecord) -> Inventory {
    let mut inventory = (*snapshot.inventory).clone();
    match old {
        Some(old) => inventory.put_workload(old.clone()),
        None => inventory.remove_workload(&new.id()),
    }
    inventory
}

/// Reviews a change of the number of pods alone.
pub(super) async fn review_scale(admission: &Admission, request: &Request<'_>, kind: WorkloadKind) -> Answer {
    let snapshot = match snapshot(admission, request).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return render::allowed(request),
        Err(answer) => return *answer,
    };
    let id = WorkloadId { kind: kind.as_str().to_owned(), name: request.name.clone() };
    let Some(old) = snapshot.inventory.workload(&id) else { return render::allowed(request) };
    let scale = match request.object.map(object::read::<Scale>) {
        Some(Ok(scale)) => scale,
        Some(Err(error)) => return refuse(request, &error.to_string()),
        None => return refuse(request, "the request carries no object"),
    };
    let mut new = old.clone();
    new.replicas = u32::try_from(scale.spec.replicas).unwrap_or(0);
    let changes = changes(&snapshot, |policy| change(policy, &snapshot.inventory, Some(old), &new));
    if changes.is_empty() {
        return Answer { path: "fast", ..render::allowed(request) };
    }
    conclude(admission, request, &snapshot.inventory, &changes)
}

/// What is known of the request's namespace; `Ok(None)` when it is not governed.
pub(super) async fn snapshot(admission: &Admission, request: &Request<'_>) -> Result<Option<Snapshot>, Box<Answer>> {
    let Some(namespace) = request.namespace.as_deref() else { return Ok(None) };
    admission.cluster.snapshot(namespace).await.map_err(|why| Box::new(render::unavailable(request, &why)))
}

/// The changes that the namespace's policies see, with their policies.
pub(super) fn changes(snapshot: &Snapshot, change: impl Fn(&Policy) -> Option<Change>) -> Vec<(&Policy, Change)> {
    snapshot.policies.iter().filter_map(|policy| Some((policy.as_ref(), change(policy)?))).collect()
}

fn conclude(
    admission: &Admission,
    request: &Request<'_>,
    inventory: &Inventory,
    changes: &[(&Policy, Change)],
) -> Answer {
    let now = Timestamp::now();
    let decisions = changes.iter().map(|(policy, change)| decide(policy, &inventory.view(policy, now), change, now));
    let decision = Decision::of_all(decisions);
    let moves = moves_of(changes);
    tracing::info!(verdict = %decision.verdict, moves = moves, dry_run = request.is_dry_run(), reason = decision.denial(), "decided");
    let response = render::decision(request, &decision, &moves);
    if let Some((_, change)) = changes.first() {
        admission.observer.judged(&Judged {
            namespace: request.namespace.as_deref().unwrap_or_default(),
            workload: &change.workload,
            changes,
            decision: &decision,
            outcome: if response.allowed { Outcome::Allowed } else { Outcome::Refused },
            dry_run: request.is_dry_run(),
            user: &request.user_info.username,
        });
    }
    Answer { response, path: "governed" }
}

/// The moves of `changes`, as the log and the audit log have them.
pub(super) fn moves_of(changes: &[(&Policy, Change)]) -> String {
    let moves = changes.iter().flat_map(|(policy, change)| {
        change.moves.iter().map(|step| {
            let from = step.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
            format!("{} {from}{}", policy.component(step.component).name, step.to)
        })
    });
    tame(&moves.collect::<Vec<_>>().join(", "))
}

fn refuse(request: &Request<'_>, error: &str) -> Answer {
    let text = format!("{} '{}' cannot be judged: {error}", request.kind.kind, request.name);
    Answer { response: render::refused(request, &text), path: "bad" }
}

/// Reads a workload out of a review; the name falls back to the request's, which is empty for a generated one.
fn record(
    kind: WorkloadKind,
    request: &Request<'_>,
    object: Option<&RawValue>,
) -> Result<Option<WorkloadRecord>, UnreadableObject> {
    let Some(object) = object else { return Ok(None) };
    let mut object = read_workload(object)?;
    object.metadata.name.get_or_insert_with(|| request.name.clone());
    Ok(WorkloadRecord::read(kind, &object))
}
