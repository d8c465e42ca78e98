//! The parts of Kubernetes objects that the rules need, and nothing else.
//!
//! One shape reads Deployments, StatefulSets, DaemonSets, Argo Rollouts and ReplicaSets: what a kind does not have
//! stays empty. Fields that are not listed here are never kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{ApiResource, GroupVersionKind, Object};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::domain::matching::ContainerLike;

/// A workload, or the ReplicaSet of one.
pub type WorkloadObject = Object<WorkloadSpec, WorkloadStatus>;

/// The workload kinds that the guard looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment
    Deployment,
    /// `apps/v1` StatefulSet
    StatefulSet,
    /// `apps/v1` DaemonSet
    DaemonSet,
    /// `argoproj.io/v1alpha1` Rollout
    Rollout,
}

impl WorkloadKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Rollout];

    /// The kind as Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Rollout => "Rollout",
        }
    }

    /// The plural that API paths and admission rules use.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::Rollout => "rollouts",
        }
    }

    /// The API group and version.
    #[must_use]
    pub fn api_version(self) -> (&'static str, &'static str) {
        match self {
            Self::Rollout => ("argoproj.io", "v1alpha1"),
            _ => ("apps", "v1"),
        }
    }

    /// The kind of this group and name, in any version.
    #[must_use]
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind && known.api_version().0 == group)
    }

    /// What kube needs to talk about this kind.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        let (group, version) = self.api_version();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.as_str()), self.plural())
    }
}

/// The spec of a workload or ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// Pods asked for; 1 where it is left out, except for a DaemonSet.
    pub replicas: Option<i32>,
    /// Whether rollouts are paused.
    pub paused: bool,
    /// The pods that are the workload's.
    pub selector: Option<LabelSelector>,
    /// The pod template; an Argo Rollout may have none and refer to a Deployment instead.
    pub template: PodTemplate,
    /// How pods are replaced (Deployment, Rollout).
    pub strategy: Strategy,
    /// How pods are replaced (StatefulSet, DaemonSet).
    pub update_strategy: Strategy,
}

/// A pod template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Labels and annotations.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: TemplateMeta,
    /// The containers.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: PodSpec,
}

/// A pod template's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TemplateMeta {
    /// Labels of the pods.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// A pod's containers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The containers.
    #[serde(deserialize_with = "null_as_default")]
    pub containers: Vec<Container>,
    /// The init containers.
    #[serde(deserialize_with = "null_as_default")]
    pub init_containers: Vec<Container>,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image; absent only in objects that Kubernetes would refuse.
    #[serde(deserialize_with = "null_as_default")]
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: Option<String>,
    /// Whether it says when it can serve.
    #[serde(deserialize_with = "is_there")]
    pub readiness_probe: bool,
}

impl ContainerLike for Container {
    fn name(&self) -> &str {
        &self.name
    }
    fn image(&self) -> &str {
        &self.image
    }
}

/// How pods are replaced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// `Recreate`, `RollingUpdate` or `OnDelete`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How fast a rolling update goes.
    pub rolling_update: Option<RollingUpdate>,
}

/// How fast a rolling update goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// Pods that may be unavailable, a number or a percentage.
    pub max_unavailable: Option<IntOrString>,
    /// Pods that the update leaves as they are (StatefulSet).
    pub partition: Option<i32>,
}

/// The status of a workload or ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// The generation that its controller has seen; Argo Rollouts write it as text.
    #[serde(deserialize_with = "number_or_text")]
    pub observed_generation: Option<i64>,
    /// Pods of any revision.
    pub replicas: i32,
    /// Pods of the new revision.
    pub updated_replicas: i32,
    /// Pods that serve.
    pub available_replicas: i32,
    /// Pods of the current revision (StatefulSet).
    pub current_replicas: i32,
    /// The revision that is being replaced (StatefulSet).
    pub current_revision: Option<String>,
    /// The revision that replaces it (StatefulSet).
    pub update_revision: Option<String>,
    /// Nodes that should run a pod (DaemonSet).
    pub desired_number_scheduled: i32,
    /// Nodes that run a pod (DaemonSet).
    pub current_number_scheduled: i32,
    /// Nodes that run a pod of the new revision (DaemonSet).
    pub updated_number_scheduled: i32,
    /// Nodes whose pod serves (DaemonSet).
    pub number_available: i32,
    /// What the workload says of itself.
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
}

/// A condition of a status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why it is as it is.
    pub reason: Option<String>,
}

/// The scale subresource of a workload, as a review carries it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scale {
    /// What is asked for.
    pub spec: ScaleSpec,
}

/// What a scale asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ScaleSpec {
    /// Pods asked for.
    pub replicas: i32,
}

/// An explicit `null` reads as the default, as the API server reads it.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }
    Ok(match Option::<Either>::deserialize(deserializer)? {
        Some(Either::Number(number)) => Some(number),
        Some(Either::Text(text)) => text.parse().ok(),
        None => None,
    })
}
