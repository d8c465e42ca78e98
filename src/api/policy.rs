//! `UpgradePolicy`: the rules of one platform.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::DatabaseSpec;
use super::preconditions::{CrdSeverity, FreezeWindowSpec, PreconditionSpec, VerifySpec};
use crate::domain::policy::{Mode, OnNotYet, OnUnavailable, VersionSource};

/// The rules of one platform: its components, the order of their upgrades and how far apart they may be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "guard.gostoa.dev",
    version = "v1alpha1",
    kind = "UpgradePolicy",
    plural = "upgradepolicies",
    shortname = "upol",
    doc = "The rules of one platform: its components, the order of their upgrades and how far apart they may be.",
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".spec.namespaces"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "On-Not-Yet", type_ = "string", json_path = ".spec.onNotYet"),
    printcolumn(name = "Max-Hop", type_ = "integer", json_path = ".spec.maxHop"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.components.all(c, !has(c.after) || c.after.all(a, self.components.exists(o, o.name == a)))")
        .message("every entry of 'after' must name a component of this policy").field_path(".components"),
    validation = Rule::new("self.components.all(c, !has(c.skew) || c.skew.all(s, self.components.exists(o, o.name == s.component)))")
        .message("every 'skew[].component' must name a component of this policy").field_path(".components")
)]
pub struct UpgradePolicySpec {
    /// The namespaces that the policy governs. Each is an install of its own: versions are compared inside one
    /// namespace only.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("!('kube-system' in self)").message("kube-system is never governed"))]
    pub namespaces: Vec<String>,

    /// The components of the platform.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub components: Vec<ComponentSpec>,

    /// How many release lines one move of a component may cross.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub max_hop: i32,

    /// What happens to a change that only has to wait: it is refused (`Deny`), or stored with its rollout held back
    /// until it may go on (`Hold`).
    #[serde(default)]
    pub on_not_yet: OnNotYet,

    /// What happens to a change that would be allowed, when the API server does not let the guard make sure of that in
    /// time.
    #[serde(default)]
    pub on_unavailable: OnUnavailable,

    /// The strictest that any rule may be: with `Audit` nothing is refused and nobody is warned, whatever `modes` says.
    #[serde(default = "enforce")]
    pub mode: Mode,

    /// What a violation leads to, by rule code. Where nothing is said every rule is enforced, except
    /// `UG-ZERODOWNTIME`, which warns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(code, code in ['UG-ORDER', 'UG-SKEW', 'UG-HOP', 'UG-SCHEMA', 'UG-CRD', 'UG-SUPPORTED', 'UG-ZERODOWNTIME', 'UG-PRECONDITION', 'UG-VERSION'])").message("every key must be a rule code, see 'upgrade-guard rules'"))]
    pub modes: BTreeMap<String, Mode>,

    /// What `UG-ZERODOWNTIME` asks for.
    #[serde(default)]
    pub zero_downtime: ZeroDowntimeSpec,

    /// What has to hold before an upgrade may begin. The hook looks at it; `UG-PRECONDITION` asks for what it recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub preconditions: Vec<PreconditionSpec>,

    /// How long what the hook recorded counts, for example `24h`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub prepared_for: Option<String>,

    /// Times at which no upgrade begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub freeze_windows: Vec<FreezeWindowSpec>,

    /// The breaking changes of releases that were read and accepted, by name. A `Platform` has such a list too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub acknowledged: Vec<String>,

    /// How differences between installed and wanted CRDs are taken, by the name of the check; see
    /// `upgrade-guard crds checks`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub crd_checks: BTreeMap<String, CrdSeverity>,

    /// The database, where the platform has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Box<DatabaseSpec>>,

    /// What `upgrade-guard verify` looks at after an upgrade.
    #[serde(default)]
    pub verify: VerifySpec,
}

fn enforce() -> Mode {
    Mode::Enforce
}

fn one() -> i32 {
    1
}

/// One versioned part of the platform.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.after) || !(self.name in self.after)").message("a component cannot be after itself").field_path(".after"),
    validation = Rule::new("!has(self.skew) || self.skew.all(s, s.component != self.name)").message("a component has no skew to itself").field_path(".skew")
)]
pub struct ComponentSpec {
    /// The component's name, as it is shown and as other components refer to it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,

    /// How its workloads and containers are found.
    #[serde(rename = "match")]
    pub matcher: MatchSpec,

    /// The components that must be upgraded, and settled, before this one. On the way back the order is reversed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub after: Vec<String>,

    /// How many release lines it may be from other components. Old and new pods of a rollout both count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["component".to_owned()]))]
    pub skew: Vec<SkewSpec>,

    /// The versions it may have; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub supported: Vec<SupportedSpec>,

    /// How its version is told.
    #[serde(default)]
    pub version: VersionSpec,

    /// The CRDs that it needs, by name, for example `tools.gostoa.dev`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub crds: Vec<String>,
}

/// How the workloads and containers of a component are found: by image first, then by label, then by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.images) && size(self.images) > 0) || (has(self.labels) && size(self.labels) > 0) || (has(self.names) && size(self.names) > 0)").message("must name at least one image, label or workload name: an empty match finds nothing"))]
pub struct MatchSpec {
    /// Image repositories without tag, for example `ghcr.io/stoa-platform/portal`; `*/portal` stands for any
    /// registry and path before it. Every container and init container with such an image counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 255)))]
    pub images: Vec<String>,

    /// Labels that a workload must all have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,

    /// Workload names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
}

/// How many release lines a component may be from a peer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.behind + self.ahead >= 1").message("behind or ahead must be at least 1: with neither, no component could ever move first"))]
pub struct SkewSpec {
    /// The peer's name.
    #[schemars(length(min = 1, max = 63))]
    pub component: String,

    /// Lines it may be behind the peer. "N and N-1" is 1.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub behind: i32,

    /// Lines it may be ahead of the peer.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub ahead: i32,
}

/// A range of versions that a component may have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SupportedSpec {
    /// The range, for example `>=24.0.0, <25.0.0`. A pre-release counts as the version it leads to.
    #[schemars(length(min = 1, max = 253))]
    pub range: String,

    /// A text to warn with when a version in this range is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub warn: Option<String>,
}

/// How a component's version is told.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VersionSpec {
    /// Where to read it. All sources that know a version must agree; the first names it. The default is all four:
    /// the pod-template annotation `guard.gostoa.dev/version`, the pod-template label `app.kubernetes.io/version`
    /// (for the first container), the image tag, and a `PlatformRelease` that lists the tag or digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub sources: Vec<VersionSource>,

    /// Prefixes that tags carry before the version, for example `control-plane-api-`. The component's name and a
    /// dash is always tried, and so is a leading `v`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub tag_prefixes: Vec<String>,

    /// A regular expression with a group named `version`, for tags that prefixes cannot describe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tag_pattern: Option<String>,
}

/// What `UG-ZERODOWNTIME` asks for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ZeroDowntimeSpec {
    /// The least number of replicas, also of an autoscaler's minimum.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
}

impl Default for ZeroDowntimeSpec {
    fn default() -> Self {
        Self { min_replicas: two() }
    }
}

fn two() -> i32 {
    2
}
