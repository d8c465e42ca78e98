//! What is kept of each object: enough to build a view, little enough to keep many.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;

use super::object::{Container, PodTemplate, Strategy, WorkloadKind, WorkloadObject, WorkloadStatus};
use crate::api::{HELD_LABEL, SCHEMA_REVISION};
use crate::domain::change::KeptPods;
use crate::domain::resolver::VERSION_ANNOTATION;
use crate::domain::view::{Missing, Rollout, WorkloadId};

/// The containers of a pod template with what tells their versions.
#[derive(Clone, Debug, Default)]
pub struct TemplateRecord {
    /// Containers, then init containers.
    pub containers: Vec<Container>,
    /// The pods' labels.
    pub labels: BTreeMap<String, String>,
    /// The annotations that state versions, and what they need of the database.
    pub annotations: BTreeMap<String, String>,
    /// What `kubectl rollout restart` wrote.
    pub restarted_at: Option<String>,
}

/// The annotation by which `kubectl rollout restart` changes a pod template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

impl From<&PodTemplate> for TemplateRecord {
    fn from(template: &PodTemplate) -> Self {
        let is_kept = |key: &str| key.starts_with(VERSION_ANNOTATION) || key.starts_with(SCHEMA_REVISION);
        let annotations = template.metadata.annotations.iter().filter(|(key, _)| is_kept(key));
        Self {
            containers: template.spec.containers.iter().chain(&template.spec.init_containers).cloned().collect(),
            labels: template.metadata.labels.clone(),
            annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
            restarted_at: template.metadata.annotations.get(RESTARTED_AT).cloned(),
        }
    }
}

/// What is kept of a workload.
#[derive(Clone, Debug)]
pub struct WorkloadRecord {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Its uid, empty in a manifest.
    pub uid: String,
    /// Its resource version, empty in a manifest.
    pub resource_version: String,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// What its pods are made of.
    pub template: TemplateRecord,
    /// Pods asked for.
    pub replicas: u32,
    /// Whether rollouts are paused.
    pub paused: bool,
    /// How many pods an update leaves as they are: a StatefulSet's partition, or all of them under `OnDelete`.
    pub kept_back: u32,
    /// Whether the guard holds its rollout: it says so, and is paused or keeps back every pod.
    pub held: bool,
    /// What the update strategy keeps serving.
    pub kept: KeptPods,
    /// Where the rollout stands.
    pub rollout: Rollout,
    /// Pods of each revision as far as the status alone tells; `None` for a manifest without a status.
    pub pods: Option<PodCounts>,
}

/// Pods by revision, from a workload's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodCounts {
    /// Pods of any revision.
    pub total: u32,
    /// Pods of the new revision.
    pub updated: u32,
    /// The name of the revision that is the new one in the status, where it names it.
    pub new_revision: Option<String>,
    /// The name of the revision that the other pods are of, where the status names it.
    pub old_revision: Option<String>,
}

impl WorkloadRecord {
    /// Reads a workload; `None` when it has no name.
    #[must_use]
    pub fn read(kind: WorkloadKind, object: &WorkloadObject) -> Option<Self> {
        let spec = &object.spec;
        let replicas = match kind {
            WorkloadKind::DaemonSet => object.status.as_ref().map_or(1, |status| status.desired_number_scheduled),
            _ => spec.replicas.unwrap_or(1),
        };
        let replicas = count(replicas);
        let strategy = match kind {
            WorkloadKind::Deployment | WorkloadKind::Rollout => &spec.strategy,
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => &spec.update_strategy,
        };
        let held = is_held(kind, object);
        Some(Self {
            kind,
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone().unwrap_or_default(),
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            labels: object.metadata.labels.clone().unwrap_or_default(),
            template: TemplateRecord::from(&spec.template),
            replicas,
            paused: spec.paused,
            kept_back: kept_back(strategy),
            held,
            kept: kept(kind, strategy, replicas),
            rollout: match &object.status {
                None => Rollout::Settled,
                Some(status) => rollout(kind, object, status, replicas, held),
            },
            pods: object.status.as_ref().map(|status| pod_counts(kind, status)),
        })
    }

    /// The workload's kind and name.
    #[must_use]
    pub fn id(&self) -> WorkloadId {
        WorkloadId { kind: self.kind.as_str().to_owned(), name: self.name.clone() }
    }

    /// The workload as it is when the guard no longer holds it; a pause of someone else stays.
    #[must_use]
    pub fn unheld(&self) -> Self {
        let mut free = self.clone();
        if self.held {
            (free.held, free.paused, free.kept_back) = (false, false, 0);
        }
        free
    }
}

/// Counts in a status are never negative; a broken one counts as nothing.
fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// Where a rollout stands, as `kubectl rollout status` and Argo CD's health check see it.
fn rollout(kind: WorkloadKind, object: &WorkloadObject, status: &WorkloadStatus, replicas: u32, held: bool) -> Rollout {
    let generation = object.metadata.generation.unwrap_or(0);
    if status.observed_generation.unwrap_or(0) < generation {
        return Rollout::Progressing(Missing::NotObserved);
    }
    let exceeded = |condition: &super::object::Condition| {
        condition.kind == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    };
    let counts = pod_counts(kind, status);
    let available = match kind {
        WorkloadKind::DaemonSet => status.number_available,
        _ => status.available_replicas,
    };
    let available = count(available);
    let missing = if status.conditions.iter().any(exceeded) {
        Missing::DeadlineExceeded
    } else if held && available < replicas {
        // Of what is held no pod will be new; whether the old ones serve is what others wait for.
        Missing::Available { available, of: replicas }
    } else if counts.updated < replicas {
        if object.spec.paused { Missing::Paused } else { Missing::Updated { updated: counts.updated, of: replicas } }
    } else if counts.total > counts.updated {
        Missing::OldPods(counts.total - counts.updated)
    } else if available < replicas {
        Missing::Available { available, of: replicas }
    } else {
        return Rollout::Settled;
    };
    Rollout::Progressing(missing)
}

fn pod_counts(kind: WorkloadKind, status: &WorkloadStatus) -> PodCounts {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout => {
            let (total, updated) = (count(status.replicas), count(status.updated_replicas));
            PodCounts { total, updated, ..PodCounts::default() }
        }
        WorkloadKind::StatefulSet => {
            let complete = status.current_revision == status.update_revision;
            PodCounts {
                total: count(status.replicas),
                updated: if complete { count(status.replicas) } else { count(status.updated_replicas) },
                new_revision: status.update_revision.clone(),
                old_revision: status.current_revision.clone(),
            }
        }
        WorkloadKind::DaemonSet => PodCounts {
            total: count(status.current_number_scheduled),
            updated: count(status.updated_number_scheduled),
            ..PodCounts::default()
        },
    }
}

/// How many pods an update leaves as they are.
fn kept_back(strategy: &Strategy) -> u32 {
    match strategy.kind.as_deref() {
        Some("OnDelete") => u32::MAX,
        _ => count(strategy.rolling_update.partition.unwrap_or(0)),
    }
}

/// The partition of a StatefulSet whose rollout the guard holds: above any number of pods, so that scaling up does not
/// let the new revision in.
pub const HELD_PARTITION: i32 = i32::MAX;

/// Whether the guard holds the rollout. Without its label a pause or partition is someone else's.
fn is_held(kind: WorkloadKind, object: &WorkloadObject) -> bool {
    let labelled = object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(HELD_LABEL));
    labelled
        && match kind {
            WorkloadKind::Deployment => object.spec.paused,
            // A set without pods takes on the new revision whatever its partition says.
            WorkloadKind::StatefulSet => {
                object.spec.update_strategy.rolling_update.partition == Some(HELD_PARTITION)
                    && object.status.as_ref().is_none_or(|status| status.replicas > 0)
            }
            WorkloadKind::DaemonSet | WorkloadKind::Rollout => false,
        }
}

/// What an update strategy keeps; the defaults are those of the API.
fn kept(kind: WorkloadKind, strategy: &Strategy, replicas: u32) -> KeptPods {
    match (kind, strategy.kind.as_deref()) {
        (_, Some("Recreate")) => KeptPods::Recreate,
        (WorkloadKind::Deployment, _) => {
            let limit = strategy.rolling_update.max_unavailable.as_ref();
            KeptPods::AtLeast(replicas.saturating_sub(unavailable(limit, replicas)))
        }
        _ => KeptPods::OneByOne,
    }
}

/// How many of `replicas` may be unavailable: a number, or a percentage rounded down; 25% by default.
fn unavailable(limit: Option<&IntOrString>, replicas: u32) -> u32 {
    match limit {
        Some(IntOrString::Int(number)) => count(*number),
        Some(IntOrString::String(text)) => {
            let percent: u64 = text.trim_end_matches('%').parse().unwrap_or(100);
            u32::try_from(u64::from(replicas) * percent / 100).unwrap_or(u32::MAX)
        }
        None => replicas / 4,
    }
}

/// What is kept of a ReplicaSet or ControllerRevision: one revision of a workload.
#[derive(Clone, Debug)]
pub struct RevisionRecord {
    /// Its own name.
    pub name: String,
    /// The uid of the workload it belongs to; empty in a manifest that names none.
    pub owner_uid: String,
    /// The kind and name of the workload it belongs to.
    pub owner: WorkloadId,
    /// Its number in the workload's history (ControllerRevision).
    pub number: i64,
    /// What its pods are made of.
    pub template: TemplateRecord,
    /// How many pods it has (ReplicaSet).
    pub pods: u32,
}

impl RevisionRecord {
    /// Reads a ReplicaSet; `None` when it belongs to no workload.
    #[must_use]
    pub fn of_replica_set(object: &WorkloadObject) -> Option<Self> {
        let owner = controller(object.metadata.owner_references.as_deref()?)?;
        let pods = match &object.status {
            Some(status) => status.replicas,
            None => object.spec.replicas.unwrap_or(1),
        };
        Some(Self {
            name: object.metadata.name.clone()?,
            owner_uid: owner.uid.clone(),
            owner: WorkloadId { kind: owner.kind.clone(), name: owner.name.clone() },
            number: 0,
            template: TemplateRecord::from(&object.spec.template),
            pods: count(pods),
        })
    }

    /// Reads a ControllerRevision; `None` when it belongs to no workload or holds no pod template.
    #[must_use]
    pub fn of_controller_revision(object: &ControllerRevision) -> Option<Self> {
        let owner = controller(object.metadata.owner_references.as_deref()?)?;
        let template = PodTemplate::deserialize(object.data.as_ref()?.0.pointer("/spec/template")?).ok()?;
        Some(Self {
            name: object.metadata.name.clone()?,
            owner_uid: owner.uid.clone(),
            owner: WorkloadId { kind: owner.kind.clone(), name: owner.name.clone() },
            number: object.revision,
            template: TemplateRecord::from(&template),
            pods: 0,
        })
    }
}

fn controller(owners: &[OwnerReference]) -> Option<&OwnerReference> {
    owners.iter().find(|owner| owner.controller == Some(true)).or_else(|| owners.first())
}

/// What is kept of a PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct BudgetRecord {
    /// Its name.
    pub name: String,
    /// Which pods it selects; `None` selects nothing.
    pub selector: Option<Selector>,
    limit: Limit,
}

#[derive(Clone, Debug)]
enum Limit {
    MinAvailable(IntOrString),
    MaxUnavailable(IntOrString),
}

impl From<&PodDisruptionBudget> for BudgetRecord {
    fn from(budget: &PodDisruptionBudget) -> Self {
        let spec = budget.spec.clone().unwrap_or_default();
        Self {
            name: budget.name_any(),
            selector: spec.selector.and_then(|selector: LabelSelector| selector.try_into().ok()),
            limit: match (spec.min_available, spec.max_unavailable) {
                (_, Some(most)) => Limit::MaxUnavailable(most),
                (Some(least), None) => Limit::MinAvailable(least),
                (None, None) => Limit::MinAvailable(IntOrString::Int(1)),
            },
        }
    }
}

impl BudgetRecord {
    /// Whether it selects pods with these labels.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }

    /// Whether it lets one of `replicas` healthy pods go; percentages are rounded up, as the disruption controller does.
    #[must_use]
    pub fn allows_one_of(&self, replicas: u32) -> bool {
        let scaled = |limit: &IntOrString| match limit {
            IntOrString::Int(number) => count(*number),
            IntOrString::String(text) => {
                let percent: u64 = text.trim_end_matches('%').parse().unwrap_or(100);
                u32::try_from((u64::from(replicas) * percent).div_ceil(100)).unwrap_or(u32::MAX)
            }
        };
        match &self.limit {
            Limit::MinAvailable(least) => scaled(least) < replicas,
            Limit::MaxUnavailable(most) => scaled(most) > 0,
        }
    }
}

/// What is kept of a HorizontalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct AutoscalerRecord {
    /// Its name.
    pub name: String,
    /// The workload it scales.
    pub target: WorkloadId,
    /// The least number of pods it may choose.
    pub least: u32,
}

impl From<&HorizontalPodAutoscaler> for AutoscalerRecord {
    fn from(autoscaler: &HorizontalPodAutoscaler) -> Self {
        let spec = autoscaler.spec.clone().unwrap_or_default();
        Self {
            name: autoscaler.name_any(),
            target: WorkloadId { kind: spec.scale_target_ref.kind, name: spec.scale_target_ref.name },
            least: count(spec.min_replicas.unwrap_or(1)),
        }
    }
}
