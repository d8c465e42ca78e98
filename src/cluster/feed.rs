//! The kinds of objects that the index is made of: how each is read, which are wanted, and where they are kept.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::core::ApiResource;
use serde::de::DeserializeOwned;

use super::inventory::{Inventory, RevisionKind};
use super::object::{WorkloadKind, WorkloadObject};
use super::record::{AutoscalerRecord, BudgetRecord, RevisionRecord, WorkloadRecord};
use crate::api::{GROUP, Platform};
use crate::domain::image::ImageRef;
use crate::domain::matching::governed;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

/// A kind of objects that the index is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `UpgradePolicy`
    Policies,
    /// `PlatformRelease`
    Releases,
    /// Deployments, StatefulSets, DaemonSets or Argo Rollouts
    Workloads(WorkloadKind),
    /// ReplicaSets
    ReplicaSets,
    /// ControllerRevisions
    ControllerRevisions,
    /// PodDisruptionBudgets
    Budgets,
    /// HorizontalPodAutoscalers
    Autoscalers,
    /// `Platform`
    Platforms,
    /// CRDs
    Crds,
}

impl Source {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Policies,
        Self::Releases,
        Self::Workloads(WorkloadKind::Deployment),
        Self::Workloads(WorkloadKind::StatefulSet),
        Self::Workloads(WorkloadKind::DaemonSet),
        Self::Workloads(WorkloadKind::Rollout),
        Self::ReplicaSets,
        Self::ControllerRevisions,
        Self::Budgets,
        Self::Autoscalers,
        Self::Platforms,
        Self::Crds,
    ];

    /// The plural of the kind, as RBAC rules, readiness gates and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "upgradepolicies",
            Self::Releases => "platformreleases",
            Self::Workloads(kind) => kind.plural(),
            Self::ReplicaSets => "replicasets",
            Self::ControllerRevisions => "controllerrevisions",
            Self::Budgets => "poddisruptionbudgets",
            Self::Autoscalers => "horizontalpodautoscalers",
            Self::Platforms => "platforms",
            Self::Crds => "customresourcedefinitions",
        }
    }

    /// The API group.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::Policies | Self::Releases | Self::Platforms => GROUP,
            Self::Workloads(kind) => kind.api_version().0,
            Self::ReplicaSets | Self::ControllerRevisions => "apps",
            Self::Budgets => "policy",
            Self::Autoscalers => "autoscaling",
            Self::Crds => "apiextensions.k8s.io",
        }
    }

    /// Whether the policies say which of these objects are kept, so that others are needed when they change.
    #[must_use]
    pub fn is_selected(self) -> bool {
        !matches!(self, Self::Policies | Self::Releases)
    }
}

/// A kind of namespaced objects that is kept in inventories.
pub trait Feed: Copy + Send + Sync + 'static {
    /// What the API server sends.
    type Object: DeserializeOwned;
    /// What is kept of it.
    type Record: Clone + Send + 'static;

    /// The kind.
    fn source(self) -> Source;
    /// What kube needs to talk about the kind.
    fn resource(self) -> ApiResource;
    /// What is kept of `object`; `None` for one that can never matter.
    fn read(self, object: Self::Object) -> Option<Self::Record>;
    /// The name of the object that was read.
    fn name(self, record: &Self::Record) -> &str;
    /// Whether the policies of the namespace need it.
    fn is_wanted(self, _record: &Self::Record, _policies: &[Arc<Policy>]) -> bool {
        true
    }
    /// What is kept under this name.
    fn stored<'a>(self, inventory: &'a Inventory, name: &str) -> Option<&'a Self::Record>;
    /// Keeps `record`.
    fn put(self, inventory: &mut Inventory, record: Self::Record);
    /// Forgets the object with this name.
    fn remove(self, inventory: &mut Inventory, name: &str);
    /// Makes `records` all that is kept of the kind.
    fn reset(self, inventory: &mut Inventory, records: Vec<Self::Record>);
}

/// Deployments, StatefulSets, DaemonSets or Rollouts.
#[derive(Clone, Copy, Debug)]
pub struct Workloads(pub WorkloadKind);

impl Workloads {
    fn id(self, name: &str) -> WorkloadId {
        WorkloadId { kind: self.0.as_str().to_owned(), name: name.to_owned() }
    }
}

impl Feed for Workloads {
    type Object = WorkloadObject;
    type Record = WorkloadRecord;

    fn source(self) -> Source {
        Source::Workloads(self.0)
    }
    fn resource(self) -> ApiResource {
        self.0.api_resource()
    }
    fn read(self, object: WorkloadObject) -> Option<WorkloadRecord> {
        WorkloadRecord::read(self.0, &object)
    }
    fn name(self, record: &WorkloadRecord) -> &str {
        &record.name
    }
    fn is_wanted(self, record: &WorkloadRecord, policies: &[Arc<Policy>]) -> bool {
        let containers = &record.template.containers;
        policies.iter().any(|policy| !governed(policy, &record.name, &record.labels, containers).is_empty())
    }
    fn stored<'a>(self, inventory: &'a Inventory, name: &str) -> Option<&'a WorkloadRecord> {
        inventory.workload(&self.id(name))
    }
    fn put(self, inventory: &mut Inventory, record: WorkloadRecord) {
        inventory.put_workload(record);
    }
    fn remove(self, inventory: &mut Inventory, name: &str) {
        inventory.remove_workload(&self.id(name));
    }
    fn reset(self, inventory: &mut Inventory, records: Vec<WorkloadRecord>) {
        inventory.reset_workloads(self.0, records);
    }
}

/// Whether a revision may be of a governed workload.
///
/// Its workload may not be known yet, or be read later, so this asks the revision alone and rather keeps too many: the
/// labels that a policy matches by are those of the workload, which a revision does not tell.
pub(crate) fn is_revision_wanted(record: &RevisionRecord, policies: &[Arc<Policy>]) -> bool {
    let images: Vec<&str> = record.template.containers.iter().map(|container| container.image.as_str()).collect();
    may_be_governed(&record.owner, &images, policies)
}

/// Whether what `owner` made, with containers of these images, may be of a governed workload.
pub(crate) fn may_be_governed(owner: &WorkloadId, images: &[&str], policies: &[Arc<Policy>]) -> bool {
    let mut matchers = policies.iter().flat_map(|policy| &policy.components).map(|component| &component.matcher);
    matchers.any(|matcher| {
        !matcher.labels.is_empty()
            || matcher.names.contains(&owner.name)
            || images.iter().any(|image| matcher.has_image(ImageRef::parse(image)))
    })
}

/// ReplicaSets, which count the pods of a revision.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaSets;

impl Feed for ReplicaSets {
    type Object = WorkloadObject;
    type Record = RevisionRecord;

    fn source(self) -> Source {
        Source::ReplicaSets
    }
    fn resource(self) -> ApiResource {
        WorkloadKind::replica_sets()
    }
    fn read(self, object: WorkloadObject) -> Option<RevisionRecord> {
        RevisionRecord::of_replica_set(&object)
    }
    fn name(self, record: &RevisionRecord) -> &str {
        &record.name
    }
    fn is_wanted(self, record: &RevisionRecord, policies: &[Arc<Policy>]) -> bool {
        record.pods > 0 && is_revision_wanted(record, policies)
    }
    fn stored<'a>(self, inventory: &'a Inventory, name: &str) -> Option<&'a RevisionRecord> {
        inventory.revision(&(RevisionKind::ReplicaSet, name.to_owned()))
    }
    fn put(self, inventory: &mut Inventory, record: RevisionRecord) {
        inventory.put_revision(RevisionKind::ReplicaSet, record);
    }
    fn remove(self, inventory: &mut Inventory, name: &str) {
        inventory.remove_revision(&(RevisionKind::ReplicaSet, name.to_owned()));
    }
    fn reset(self, inventory: &mut Inventory, records: Vec<RevisionRecord>) {
        inventory.reset_revisions(RevisionKind::ReplicaSet, records);
    }
}

/// ControllerRevisions, which keep the templates of StatefulSets and DaemonSets.
#[derive(Clone, Copy, Debug)]
pub struct ControllerRevisions;

impl Feed for ControllerRevisions {
    type Object = ControllerRevision;
    type Record = RevisionRecord;

    fn source(self) -> Source {
        Source::ControllerRevisions
    }
    fn resource(self) -> ApiResource {
        ApiResource::erase::<ControllerRevision>(&())
    }
    fn read(self, object: ControllerRevision) -> Option<RevisionRecord> {
        RevisionRecord::of_controller_revision(&object)
    }
    fn name(self, record: &RevisionRecord) -> &str {
        &record.name
    }
    fn is_wanted(self, record: &RevisionRecord, policies: &[Arc<Policy>]) -> bool {
        is_revision_wanted(record, policies)
    }
    fn stored<'a>(self, inventory: &'a Inventory, name: &str) -> Option<&'a RevisionRecord> {
        inventory.revision(&(RevisionKind::ControllerRevision, name.to_owned()))
    }
    fn put(self, inventory: &mut Inventory, record: RevisionRecord) {
        inventory.put_revision(RevisionKind::ControllerRevision, record);
    }
    fn remove(self, inventory: &mut Inventory, name: &str) {
        inventory.remove_revision(&(RevisionKind::ControllerRevision, name.to_owned()));
    }
    fn reset(self, inventory: &mut Inventory, records: Vec<RevisionRecord>) {
        inventory.reset_revisions(RevisionKind::ControllerRevision, records);
    }
}

/// Declares a kind that is kept by name in a map of its own.
macro_rules! by_name {
    ($(#[$doc:meta])* $feed:ident: $object:ty => $record:ty, $read:expr, $name:expr, $map:ident, $map_mut:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $feed;

        impl Feed for $feed {
            type Object = $object;
            type Record = $record;

            fn source(self) -> Source {
                Source::$feed
            }
            fn resource(self) -> ApiResource {
                ApiResource::erase::<$object>(&())
            }
            fn read(self, object: $object) -> Option<$record> {
                let read: fn($object) -> $record = $read;
                Some(read(object))
            }
            fn name(self, record: &$record) -> &str {
                let name: fn(&$record) -> &str = $name;
                name(record)
            }
            fn stored<'a>(self, inventory: &'a Inventory, name: &str) -> Option<&'a $record> {
                inventory.$map().get(name)
            }
            fn put(self, inventory: &mut Inventory, record: $record) {
                let name = self.name(&record).to_owned();
                inventory.$map_mut().insert(name, record);
            }
            fn remove(self, inventory: &mut Inventory, name: &str) {
                inventory.$map_mut().remove(name);
            }
            fn reset(self, inventory: &mut Inventory, records: Vec<$record>) {
                inventory.$map_mut().clear();
                for record in records {
                    self.put(inventory, record);
                }
            }
        }
    };
}

by_name!(
    /// PodDisruptionBudgets.
    Budgets: PodDisruptionBudget => BudgetRecord,
    |object| BudgetRecord::from(&object), |record| &record.name, budgets, budgets_mut
);
by_name!(
    /// HorizontalPodAutoscalers.
    Autoscalers: HorizontalPodAutoscaler => AutoscalerRecord,
    |object| AutoscalerRecord::from(&object), |record| &record.name, autoscalers, autoscalers_mut
);
by_name!(
    /// `Platform` objects.
    Platforms: Platform => Platform,
    stripped, |platform| platform.metadata.name.as_deref().unwrap_or_default(), platforms, platforms_mut
);

/// The object without the metadata that nobody here reads and that is often larger than the rest.
pub(crate) fn stripped<K: Resource>(mut object: K) -> K {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    object
}
