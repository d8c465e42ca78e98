//! Reviews of workloads and of their scale subresource.

use jiff::Timestamp;
use kube::core::admission::Operation;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::judge::{Case, conclude, decide_all};
use super::{Admission, Answer, Request, render};
use crate::cluster::change::change;
use crate::cluster::object::{self, Scale, UnreadableObject, WorkloadKind, read_workload};
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::Change;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

/// Reviews a workload's creation or update.
pub(super) async fn review(admission: &Admission, request: &Request<'_>, kind: WorkloadKind, until: Instant) -> Answer {
    let snapshot = match snapshot(admission, request).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return render::allowed(request),
        Err(answer) => return *answer,
    };
    let new = match record(kind, request, request.object) {
        Ok(Some(new)) => new,
        Ok(None) => return refuse(request, "the request carries no object"),
        Err(error) => return refuse(request, &error.to_string()),
    };
    let old = match record(kind, request, request.old_object) {
        // What is created had no state before, and what is updated had one: a request that says otherwise could make
        // a move look like none.
        Ok(Some(_)) if request.operation == Operation::Create => {
            return refuse(request, "it is new and has an old object");
        }
        Ok(None) if request.operation == Operation::Update => {
            return refuse(request, "the request carries no old object");
        }
        Ok(old) => old,
        Err(error) => return refuse(request, &error.to_string()),
    };
    let changes = changes(&snapshot, |policy| change(policy, &snapshot.inventory, old.as_ref(), &new));
    if changes.is_empty() {
        return Answer { path: "fast", ..render::allowed(request) };
    }
    let case = Case { admission, request, old: old.as_ref(), new: &new, until };
    case.answer(&snapshot).await
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
    conclude(admission, request, &changes, &decide_all(&snapshot.inventory, &changes, Timestamp::now()), vec![])
}

/// What is known of the request's namespace; `Ok(None)` when it is not governed.
async fn snapshot(admission: &Admission, request: &Request<'_>) -> Result<Option<Snapshot>, Box<Answer>> {
    let Some(namespace) = request.namespace.as_deref() else { return Ok(None) };
    admission.cluster.snapshot(namespace).await.map_err(|why| Box::new(render::unavailable(request, &why)))
}

/// The changes that the namespace's policies see, with their policies.
pub(super) fn changes(snapshot: &Snapshot, change: impl Fn(&Policy) -> Option<Change>) -> Vec<(&Policy, Change)> {
    snapshot.policies.iter().filter_map(|policy| Some((policy.as_ref(), change(policy)?))).collect()
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
