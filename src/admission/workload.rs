//! Reviews of workloads and of their scale subresource.

use kube::core::admission::Operation;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::hold;
use super::judge::Asked;
use super::{Admission, Answer, Request, render};
use crate::api::OVERRIDE;
use crate::cluster::object::{self, Scale, UnreadableObject, WorkloadKind, read_workload};
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::Change;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

/// The workload before and after a request.
pub(super) struct Objects {
    /// As it is; `None` when it is to be created.
    pub(super) old: Option<WorkloadRecord>,
    /// As it is to be.
    pub(super) new: WorkloadRecord,
    /// The override that it asks for, as it is written.
    pub(super) wish: Option<String>,
}

/// Reviews a workload's creation or update.
pub(super) async fn review(admission: &Admission, request: &Request<'_>, kind: WorkloadKind, until: Instant) -> Answer {
    let snapshot = match snapshot(admission, request).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return render::allowed(request),
        Err(answer) => return *answer,
    };
    let Objects { old, new, wish } = match objects(request, kind) {
        Ok(objects) => objects,
        Err(error) => return refuse(request, &error),
    };
    let asked = Asked { admission, request, old: old.as_ref(), wish: wish.as_deref(), until };
    let Some(subject) = hold::subject(asked, &snapshot, &new).await else {
        return Answer { path: "fast", ..render::allowed(request) };
    };
    let mut answer = asked.about(&subject).answer(&snapshot).await;
    hold::explain(&mut answer, &snapshot, old.as_ref(), &subject);
    answer
}

/// Reads both objects of a request.
pub(super) fn objects(request: &Request<'_>, kind: WorkloadKind) -> Result<Objects, String> {
    let read = |object| record(kind, request, object).map_err(|error| error.to_string());
    let (new, wish) = read(request.object)?.ok_or("the request carries no object")?;
    match read(request.old_object)? {
        // What is created had no state before, and what is updated had one: a request that says otherwise could make
        // a move look like none.
        Some(_) if request.operation == Operation::Create => Err("it is new and has an old object".to_owned()),
        None if request.operation == Operation::Update => Err("the request carries no old object".to_owned()),
        old => Ok(Objects { old: old.map(|(old, _)| old), new, wish }),
    }
}

/// Reviews a change of the number of pods alone.
pub(super) async fn review_scale(
    admission: &Admission,
    request: &Request<'_>,
    kind: WorkloadKind,
    until: Instant,
) -> Answer {
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
    Asked { admission, request, old: Some(old), wish: None, until }.about(&new).answer(&snapshot).await
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

fn refuse(request: &Request<'_>, error: &str) -> Answer {
    let text = format!("{} '{}' cannot be judged: {error}", request.kind.kind, request.name);
    Answer { response: render::refused(request, &text), path: "bad" }
}

/// Reads a workload out of a review, with the override that it asks for; the name falls back to the request's, which is
/// empty for a generated one.
fn record(
    kind: WorkloadKind,
    request: &Request<'_>,
    object: Option<&RawValue>,
) -> Result<Option<(WorkloadRecord, Option<String>)>, UnreadableObject> {
    let Some(object) = object else { return Ok(None) };
    let mut object = read_workload(object)?;
    object.metadata.name.get_or_insert_with(|| request.name.clone());
    let wish = object.metadata.annotations.as_mut().and_then(|annotations| annotations.remove(OVERRIDE));
    Ok(WorkloadRecord::read(kind, &object).map(|record| (record, wish)))
}
