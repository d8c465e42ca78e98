//! `Platform`: where the upgrade of one install stands.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One install of a platform: what runs in its namespace and what was completed before.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "guard.gostoa.dev",
    version = "v1alpha1",
    kind = "Platform",
    plural = "platforms",
    shortname = "plat",
    namespaced,
    status = "PlatformStatus",
    doc = "One install of a platform: what runs in its namespace and what was completed before.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PlatformSpec {
    /// The name of the `UpgradePolicy` that governs it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("an install belongs to one policy; delete the Platform to change that"))]
    pub policy: String,
}

/// What is known of an install.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformStatus {
    /// What is known of each component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub components: Vec<PlatformComponentStatus>,

    /// Changes that were admitted and that no workload shows yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub intents: Vec<PlatformIntent>,
}

/// What is known of a component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformComponentStatus {
    /// The component's name in the policy.
    pub name: String,

    /// The last version that was rolled out completely. It outlives the workload, so that deleting and recreating
    /// it is no way around the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,

    /// The versions that run, with their pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub running: Vec<RunningVersion>,
}

/// Pods of one version.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RunningVersion {
    /// The version.
    pub version: String,
    /// How many pods have it.
    pub pods: i32,
}

/// A change that was admitted and that no workload shows yet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformIntent {
    /// The component's name in the policy.
    pub component: String,
    /// The version it goes to.
    pub to: String,
    /// When it stops to count.
    pub expires: Time,
}
