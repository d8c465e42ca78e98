//! Reviews of workloads and of their scale subresource.

use jiff::Timestamp;
use kube::core::admission::Operation;
use kube::core::{DynamicObject, Object};
use serde::Deserialize;
use serde_json::Value;

use super::{Admission, Answer, Request, render};
use crate::cluster::change::change;
use crate::cluster::inventory::Inventory;
use crate::cluster::object::{Scale, WorkloadKind, WorkloadObject, WorkloadSpec, WorkloadStatus};
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::Change;
use crate::domain::decision::{Decision, decide};
use crate::domain::policy::Policy;
use crate::domain::text::tame;
use crate::domain::view::WorkloadId;

/// Reviews a workload's creation or update.
pub(super) async fn review(admission: &Admission, request: &Request, kind: WorkloadKind) -> Answer {
    let snapshot = match snapshot(admission, request).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return render::allowed(request),
        Err(answer) => return *answer,
    };
    let new = match record(kind, request, request.object.as_ref()) {
        Ok(Some(new)) => new,
        Ok(None) => return refuse(request, "the request carries no object"),
        Err(error) => return refuse(request, &error),
    };
    let old = match record(kind, request, request.old_object.as_ref()) {
        // What is created had no state before, and what is updated had one: a request that says otherwise could make
        // a move look like none.
        Ok(Some(_)) if request.operation == Operation::Create => {
            return refuse(request, "it is new and has an old object");
        }
        Ok(None) if request.operation == Operation::Update => {
            return refuse(request, "the request carries no old object");
        }
        Ok(old) => old,
        Err(error) => return refuse(request, &error),
    };
    let changes = changes(&snapshot, |policy| change(policy, &snapshot.inventory, old.as_ref(), &new));
    if changes.is_empty() {
        return Answer { path: "fast", ..render::allowed(request) };
    }
    // The request itself tells the workload's state better than any cache.
    let mut inventory = (*snapshot.inventory).clone();
    match old {
        Some(old) => inventory.put_workload(old),
        None => inventory.remove_workload(&new.id()),
    }
    conclude(admission, request, &inventory, &changes)
}

/// Reviews a change of the number of pods alone.
pub(super) async fn review_scale(admission: &Admission, request: &Request, kind: WorkloadKind) -> Answer {
    let snapshot = match snapshot(admission, request).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return render::allowed(request),
        Err(answer) => return *answer,
    };
    let id = WorkloadId { kind: kind.as_str().to_owned(), name: request.name.clone() };
    let Some(old) = snapshot.inventory.workload(&id) else { return render::allowed(request) };
    let scale = match request.object.as_ref().map(|object| Scale::deserialize(&object.data)) {
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
async fn snapshot(admission: &Admission, request: &Request) -> Result<Option<Snapshot>, Box<Answer>> {
    let Some(namespace) = request.namespace.as_deref() else { return Ok(None) };
    admission.cluster.snapshot(namespace).await.map_err(|why| Box::new(render::unavailable(request, &why)))
}

/// The changes that the namespace's policies see, with their policies.
fn changes(snapshot: &Snapshot, change: impl Fn(&Policy) -> Option<Change>) -> Vec<(&Policy, Change)> {
    snapshot.policies.iter().filter_map(|policy| Some((policy.as_ref(), change(policy)?))).collect()
}

fn conclude(admission: &Admission, request: &Request, inventory: &Inventory, changes: &[(&Policy, Change)]) -> Answer {
    let now = Timestamp::now();
    let decisions = changes.iter().map(|(policy, change)| decide(policy, &inventory.view(policy), change, now));
    let decision = Decision::of_all(decisions);
    let moves = changes.iter().flat_map(|(policy, change)| {
        change.moves.iter().map(|step| {
            let from = step.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
            format!("{} {from}{}", policy.component(step.component).name, step.to)
        })
    });
    let moves = tame(&moves.collect::<Vec<_>>().join(", "));
    tracing::info!(verdict = %decision.verdict, moves, dry_run = request.dry_run, reason = decision.denial(), "decided");
    let subject = changes.first().and_then(|(policy, change)| {
        let component = change.moves.first().map(|step| step.component);
        let component = component.or_else(|| change.capacity.as_ref().map(|capacity| capacity.component))?;
        Some((policy.name.as_str(), policy.component(component).name.as_str()))
    });
    admission.observer.decided(&decision, subject, request.dry_run);
    Answer { response: render::decision(request, &decision), path: "governed" }
}

fn refuse(request: &Request, error: &str) -> Answer {
    let text = format!("{} '{}' cannot be judged: {error}", request.kind.kind, request.name);
    Answer { response: render::refused(request, &text), path: "bad" }
}

/// Reads a workload out of a review; the name falls back to the request's, which is empty for a generated one.
fn record(
    kind: WorkloadKind,
    request: &Request,
    object: Option<&DynamicObject>,
) -> Result<Option<WorkloadRecord>, String> {
    let Some(object) = object else { return Ok(None) };
    let part = |name: &str| object.data.get(name).filter(|value| !value.is_null());
    if let Some(wrong) = not_an_object(&object.data) {
        return Err(format!("{wrong} is no object"));
    }
    let spec = part("spec").map(WorkloadSpec::deserialize).transpose();
    let status = part("status").map(WorkloadStatus::deserialize).transpose();
    let mut metadata = object.metadata.clone();
    metadata.name.get_or_insert_with(|| request.name.clone());
    let object: WorkloadObject = Object {
        types: None,
        metadata,
        spec: spec.map_err(|error| format!("its spec cannot be read: {error}"))?.unwrap_or_default(),
        status: status.map_err(|error| format!("its status cannot be read: {error}"))?,
    };
    Ok(WorkloadRecord::read(kind, &object))
}

/// The first part of a workload that should be an object and is a list. A list would be read as one, field by field,
/// and what is left out of it as absent.
fn not_an_object(data: &Value) -> Option<String> {
    const PARTS: [&str; 7] = [
        "/spec",
        "/status",
        "/spec/strategy",
        "/spec/updateStrategy",
        "/spec/template",
        "/spec/template/metadata",
        "/spec/template/spec",
    ];
    let is_list = |pointer: &str| data.pointer(pointer).is_some_and(Value::is_array);
    let part = PARTS.into_iter().find(|pointer| is_list(pointer)).map(str::to_owned);
    part.or_else(|| {
        ["/spec/template/spec/containers", "/spec/template/spec/initContainers"].into_iter().find_map(|pointer| {
            let at = data.pointer(pointer)?.as_array()?.iter().position(Value::is_array)?;
            Some(format!("{pointer}/{at}"))
        })
    })
}
