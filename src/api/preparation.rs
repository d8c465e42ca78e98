//! What the hook records on a `Platform`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::platform::RunningVersion;

/// How many targets a `Platform` remembers the hook's work for.
pub const MOST_PREPARATIONS: usize = 10;

/// What the hook did for one target, the last time that it ran for it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformPreparation {
    /// What it prepared for: a release, or versions of components.
    #[schemars(length(max = 1024))]
    pub target: String,
    /// The versions of the components in it.
    #[schemars(length(max = 32))]
    pub components: Vec<PlatformVersion>,
    /// What ran before anything moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub found: Vec<FoundComponent>,
    /// Who ran it: the user that the API server knows, and the host or pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it began.
    pub started: Time,
    /// When it ended; empty while it runs, or when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// What it came to.
    pub outcome: PreparationOutcome,
    /// What it did, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub steps: Vec<PlatformStep>,
    /// What it found of each precondition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub preconditions: Vec<PlatformPrecondition>,
    /// The CRDs that it made sure of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub crds: Vec<PlatformCrd>,
    /// What `upgrade-guard verify` found after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<PlatformVerified>,
}

/// A version of a component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct PlatformVersion {
    /// The component's name in the policy.
    pub name: String,
    /// The version.
    pub version: String,
}

/// What ran of a component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FoundComponent {
    /// The component's name in the policy.
    pub name: String,
    /// The versions with their pods.
    #[schemars(length(max = 16))]
    pub running: Vec<RunningVersion>,
}

/// What the hook's work came to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreparationOutcome {
    /// It is under way, or was killed.
    Running,
    /// Everything is there.
    Prepared,
    /// Something is missing or against the rules; nothing that depends on it was done.
    Refused,
    /// It could not go on.
    Failed,
}

/// The end of one step of the hook.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformStep {
    /// Its name: `target`, `preconditions`, `crds`, ...
    pub name: String,
    /// What it came to, in one line.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// Whether it was done, as opposed to refused or failed.
    pub done: bool,
    /// When.
    pub at: Time,
}

/// What the hook found of a precondition.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformPrecondition {
    /// Its name in the policy.
    pub name: String,
    /// Whether it held.
    pub held: bool,
    /// What was found, in one line.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When what was found became so, for example when the backup ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Time>,
}

/// A CRD that the hook made sure of.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformCrd {
    /// Its name.
    pub name: String,
    /// The digest of its content, as `upgrade-guard crds digest` prints it.
    pub content: String,
}

/// What `upgrade-guard verify` found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformVerified {
    /// When.
    pub at: Time,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// In one line.
    #[schemars(length(max = 1024))]
    pub message: String,
}
