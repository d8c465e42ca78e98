//! The parts of Kubernetes objects that the rules need, and nothing else.
//!
//! One shape reads Deployments, StatefulSets, DaemonSets, Argo Rollouts and ReplicaSets: what a kind does not have
//! stays empty. Fields that are not listed here are never kept.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{ApiResource, GroupVersionKind, Object, ObjectMeta};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

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

    /// The kind with this name.
    #[must_use]
    pub fn named(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// What kube needs to talk about ReplicaSets.
    #[must_use]
    pub fn replica_sets() -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", "ReplicaSet"), "replicasets")
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
    #[serde(deserialize_with = "object")]
    pub template: PodTemplate,
    /// How pods are replaced (Deployment, Rollout).
    #[serde(deserialize_with = "object")]
    pub strategy: Strategy,
    /// How pods are replaced (StatefulSet, DaemonSet).
    #[serde(deserialize_with = "object")]
    pub update_strategy: Strategy,
}

/// A pod template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Labels and annotations.
    #[serde(deserialize_with = "object")]
    pub metadata: TemplateMeta,
    /// The containers.
    #[serde(deserialize_with = "object")]
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
    #[serde(deserialize_with = "objects")]
    pub containers: Vec<Container>,
    /// The init containers.
    #[serde(deserialize_with = "objects")]
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
    #[serde(deserialize_with = "object")]
    pub rolling_update: RollingUpdate,
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
    #[serde(deserialize_with = "object")]
    pub spec: ScaleSpec,
}

/// What a scale asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ScaleSpec {
    /// Pods asked for.
    pub replicas: i32,
}

/// Reads a workload from the JSON of a review.
///
/// # Errors
/// When a part that the rules need is not what it should be, with the path to it.
pub fn read_workload(json: &RawValue) -> Result<WorkloadObject, UnreadableObject> {
    #[derive(Deserialize)]
    struct Parts {
        metadata: ObjectMeta,
        #[serde(default, deserialize_with = "object")]
        spec: WorkloadSpec,
        #[serde(default)]
        status: Option<Strict<WorkloadStatus>>,
    }
    let Parts { metadata, spec, status } = read(json)?;
    Ok(Object { types: None, metadata, spec, status: status.map(|Strict(status)| status) })
}

/// An object of a review that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct UnreadableObject {
    path: String,
    message: String,
}

/// Reads an object of a review.
///
/// # Errors
/// When it is not what it should be, with the path to the wrong part.
pub fn read<T: DeserializeOwned>(json: &RawValue) -> Result<T, UnreadableObject> {
    serde_json::from_str(json.get()).map_err(|error| {
        // Following the path costs time, so it is only done for the error's text.
        let object: Value = serde_json::from_str(json.get()).unwrap_or_default();
        let again = serde_path_to_error::deserialize::<_, T>(&object);
        let path = again.err().map_or_else(|| ".".to_owned(), |error| error.path().to_string());
        let message = error.to_string();
        // A position in the review's text says nothing to whoever reads the refusal.
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        UnreadableObject { path, message }
    })
}

/// What is written as an object and never as a list: derived code would read a list field by field, and what it leaves
/// out as absent.
struct Strict<T>(T);

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads an object; `null` reads as the default, as the API server reads it.
fn object<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OfObject<T>(PhantomData<T>);
    impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for OfObject<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
        fn visit_unit<E>(self) -> Result<T, E> {
            Ok(T::default())
        }
    }
    deserializer.deserialize_any(OfObject(PhantomData))
}

/// Reads a list of objects.
fn objects<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list: Vec<Strict<T>> = null_as_default(deserializer)?;
    Ok(list.into_iter().map(|Strict(item)| item).collect())
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
