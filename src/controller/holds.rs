//! Letting go what the guard holds, in order and one workload after the other.
//!
//! The patch that lets a workload go is a request like any other: the webhook judges it, so that nothing goes too early
//! even where what is known here is late. What it refuses or holds again is tried again with the next call.

use std::fmt;

use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::api::HELD_LABEL;
use crate::cluster::change::change;
use crate::cluster::error::said;
use crate::cluster::hold::{Hold, KINDS, lifting};
use crate::cluster::ledger::FIELD_MANAGER;
use crate::cluster::object::WorkloadKind;
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::decision::{Verdict, decide};
use crate::domain::view::WorkloadId;

/// A held workload, as it was read.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it says of its hold.
    pub hold: Hold,
    object: Value,
}

impl Held {
    /// The workload's kind and name.
    #[must_use]
    pub fn id(&self) -> WorkloadId {
        WorkloadId { kind: self.kind.as_str().to_owned(), name: self.name.clone() }
    }

    fn of(kind: WorkloadKind, object: &DynamicObject) -> Option<Self> {
        let namespace = object.namespace()?;
        let name = object.name_any();
        let object = serde_json::to_value(object).ok()?;
        Some(Self { kind, namespace, name, hold: Hold::of(&object)?, object })
    }
}

/// A workload that was let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetGo {
    /// Its namespace.
    pub namespace: String,
    /// Which workload.
    pub workload: WorkloadId,
    /// What its hold said.
    pub hold: Hold,
}

impl fmt::Display for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.namespace, self.workload)
    }
}

/// What became of a try to let a workload go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Its rollout goes on.
    LetGo,
    /// The webhook holds it again, for this.
    HeldAgain(Hold),
    /// The webhook refuses it, in these words.
    Refused(String),
    /// It was changed at the same time, or is gone.
    Changed,
}

/// Why held workloads could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {what}: {}", said(.source))]
pub struct HoldsError {
    verb: &'static str,
    what: String,
    #[source]
    source: Box<kube::Error>,
}

impl HoldsError {
    fn new(verb: &'static str, what: impl Into<String>, source: kube::Error) -> Self {
        Self { verb, what: what.into(), source: Box::new(source) }
    }
}

/// Lets go at most one held workload of `namespace` that every policy of `snapshot` allows to go on at `now`: the next
/// call judges a cluster that has it as moving. Returns what went.
///
/// # Errors
/// When the API server does not give a workload or does not take the patch, for other reasons than the rules'.
pub async fn let_go(
    client: &Client,
    snapshot: &Snapshot,
    namespace: &str,
    now: Timestamp,
) -> Result<Vec<LetGo>, HoldsError> {
    for record in snapshot.inventory.workloads().filter(|record| record.held && may_go(snapshot, record, now)) {
        let Some(held) = read(client, namespace, record).await? else { continue };
        let tried = release(client, &held).await?;
        tracing::debug!(namespace, workload = %held.id(), ?tried, "tried to let go");
        if tried == Tried::LetGo {
            return Ok(vec![gone(held)]);
        }
    }
    Ok(vec![])
}

/// Whether the rules allow the rollout of `held` to go on.
fn may_go(snapshot: &Snapshot, held: &WorkloadRecord, now: Timestamp) -> bool {
    let free = held.unheld();
    snapshot.policies.iter().all(|policy| {
        let change = change(policy, &snapshot.inventory, Some(held), &free);
        let view = || snapshot.inventory.view(policy, now);
        change.is_none_or(|change| decide(policy, &view(), &change, now).verdict == Verdict::Allow)
    })
}

/// Lets go every held workload that no policy governs any more, as `governed` tells of a namespace and a workload.
/// Returns what went.
///
/// # Errors
/// When the API server does not list the workloads or does not take a patch, for other reasons than the rules'.
pub async fn let_go_ungoverned(
    client: &Client,
    governed: impl Fn(&str, &WorkloadId) -> bool,
) -> Result<Vec<LetGo>, HoldsError> {
    let mut went = Vec::new();
    for held in list(client, None).await?.into_iter().filter(|held| !governed(&held.namespace, &held.id())) {
        if release(client, &held).await? == Tried::LetGo {
            went.push(gone(held));
        }
    }
    Ok(went)
}

/// All workloads that the guard marked as held, of `namespace` or of all, by namespace, kind and name.
///
/// # Errors
/// When the API server does not list them.
pub async fn list(client: &Client, namespace: Option<&str>) -> Result<Vec<Held>, HoldsError> {
    let params = ListParams::default().labels(HELD_LABEL);
    let mut found = Vec::new();
    for kind in KINDS {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => api(client, namespace, kind),
            None => Api::all_with(client.clone(), &kind.api_resource()),
        };
        let objects = api.list(&params).await.map_err(|source| HoldsError::new("list", kind.plural(), source))?;
        found.extend(objects.iter().filter_map(|object| Held::of(kind, object)));
    }
    let key = |held: &Held| (held.namespace.clone(), held.id());
    found.sort_by_key(key);
    Ok(found)
}

/// The workload of `record` as the API server has it now; `None` when it is gone or no longer held.
async fn read(client: &Client, namespace: &str, record: &WorkloadRecord) -> Result<Option<Held>, HoldsError> {
    let found = api(client, namespace, record.kind).get_opt(&record.name).await;
    let found = found.map_err(|source| HoldsError::new("get", format!("{namespace} {}", record.id()), source))?;
    Ok(found.and_then(|object| Held::of(record.kind, &object)))
}

/// Takes the hold out of a workload, unless it was changed since it was read. A guard's webhook judges that.
///
/// # Errors
/// When the API server does not take it for other reasons than a webhook's.
pub async fn release(client: &Client, held: &Held) -> Result<Tried, HoldsError> {
    let patch = lifting(held.kind, &held.object);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api = api(client, &held.namespace, held.kind);
    match api.patch(&held.name, &params, &Patch::Merge(&patch)).await {
        Ok(written) => Ok(Held::of(held.kind, &written).map_or(Tried::LetGo, |held| Tried::HeldAgain(held.hold))),
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(Tried::Changed),
        Err(kube::Error::Api(status)) if status.message.starts_with("admission webhook ") => {
            let text = status.message.split_once(" denied the request: ").map_or("", |(_, text)| text);
            Ok(Tried::Refused(text.to_owned()))
        }
        Err(source) => Err(HoldsError::new("patch", format!("{} {}", held.namespace, held.id()), source)),
    }
}

fn api(client: &Client, namespace: &str, kind: WorkloadKind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.api_resource())
}

fn gone(held: Held) -> LetGo {
    tracing::info!(namespace = held.namespace, workload = %held.id(), waited_for = held.hold.waits_for, "let go");
    LetGo { namespace: held.namespace.clone(), workload: held.id(), hold: held.hold }
}
