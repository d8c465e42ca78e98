//! `Platform`: where the upgrade of one install stands.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PlatformDatabase;
use super::preparation::PlatformPreparation;

/// One install of a platform: what runs in its namespace, what is on its way and what was completed before.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "guard.gostoa.dev",
    version = "v1alpha1",
    kind = "Platform",
    plural = "platforms",
    shortname = "plat",
    namespaced,
    status = "PlatformStatus",
    doc = "One install of a platform: what runs in its namespace, what is on its way and what was completed before.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.release"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PlatformSpec {
    /// The name of the `UpgradePolicy` that governs it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("an install belongs to one policy; delete the Platform to change that"))]
    pub policy: String,

    /// The breaking changes of releases that were read and accepted for this install, by name; those of its policy count
    /// too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub acknowledged: Vec<String>,
}

/// What is known of an install.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,

    /// Where the upgrade stands, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,

    /// The `PlatformRelease` whose versions all components run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,

    /// What is known of each component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub components: Vec<PlatformComponentStatus>,

    /// Which way each component may move by one line now, and what stands in its way where it may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub gates: Vec<PlatformGate>,

    /// The legal next steps, as people read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub next: Vec<String>,

    /// Changes that were refused or are held, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub blocked: Vec<PlatformBlock>,

    /// What is against the rules in what runs now, however it came in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub violations: Vec<PlatformViolation>,

    /// Changes that were admitted and count until their workload has settled on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub intents: Vec<PlatformIntent>,

    /// What the hook did, newest first: one entry for each target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub preparations: Vec<PlatformPreparation>,

    /// What is known of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Box<PlatformDatabase>>,

    /// What moved, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<PlatformHistoryEntry>,
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

    /// The lowest line of what runs or is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest: Option<String>,

    /// The highest line of what runs or is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<String>,

    /// The versions asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub desired: Vec<String>,

    /// The versions that run, with their pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub running: Vec<RunningVersion>,

    /// Whether all of its rollouts are complete.
    #[serde(default)]
    pub settled: bool,

    /// Whether the guard holds one of its rollouts.
    #[serde(default)]
    pub held: bool,

    /// What its rollout waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,

    /// Its workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub workloads: Vec<PlatformWorkload>,
}

/// Pods of one version.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RunningVersion {
    /// The version.
    pub version: String,
    /// How many pods have it.
    pub pods: i32,
    /// The image digests that these pods run, where they are known. More than one means that a tag moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub images: Vec<String>,
}

/// A workload of the install's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct PlatformWorkload {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Which way a component may move.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To a higher line.
    Up,
    /// To a lower line.
    Down,
}

/// Whether a component may move by one line now.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformGate {
    /// The component's name in the policy.
    pub component: String,
    /// Which way.
    pub direction: Direction,
    /// The line it would go to, for example `2.4` or a release's name.
    pub to: String,
    /// Whether it may.
    pub open: bool,
    /// The rule that stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A change that was refused, or is held.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformBlock {
    /// The component's name in the policy.
    pub component: String,
    /// The workload.
    pub workload: PlatformWorkload,
    /// What it asked for before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The rule that stands in the way.
    pub rule: String,
    /// `NotYet` or `Never`.
    pub verdict: String,
    /// What it waits for, and what to do.
    pub message: String,
    /// Whether the guard holds it, and lets it go on by itself when it may.
    #[serde(default)]
    pub held: bool,
    /// When it was refused or held first.
    pub since: Time,
    /// When it was refused last, within about a minute.
    pub last_seen: Time,
}

/// Something against the rules in what runs now.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformViolation {
    /// The component's name in the policy.
    pub component: String,
    /// The rule.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// When it was found.
    pub since: Time,
}

/// A change that was admitted and counts until its workload has settled on it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformIntent {
    /// The component's name in the policy.
    pub component: String,
    /// The workload that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<PlatformWorkload>,
    /// What the workload asked for before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version it goes to.
    pub to: String,
    /// The resource version of the workload that the request found; none for a new workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The uid of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// When it stops to count, if the workload does not show it by then.
    pub expires: Time,
    /// The override that let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<PlatformOverride>,
    /// What the rules said of it that was no reason to refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub findings: Vec<String>,
}

/// Rules that were overridden for one change.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformOverride {
    /// The codes of the rules.
    #[schemars(length(max = 16))]
    pub rules: Vec<String>,
    /// Why.
    pub reason: String,
    /// Until when the override may be used.
    pub until: String,
}

/// How a move ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not complete yet.
    Rolling,
    /// All pods have the version.
    Completed,
    /// Another move began before it was complete.
    Partial,
}

/// A move of a component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformHistoryEntry {
    /// The component's name in the policy.
    pub component: String,
    /// The last version that was complete before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version it went to.
    pub to: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Who asked; empty when the guard did not see the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The override that let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<PlatformOverride>,
    /// What the rules said of it that was no reason to refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub findings: Vec<String>,
    /// When `upgrade-guard verify` found the install well with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Time>,
}
