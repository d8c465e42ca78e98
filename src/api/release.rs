//! `PlatformRelease`: one tested set of versions.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One tested set of versions. The releases of a policy, in the order of their versions, make its release lines.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "guard.gostoa.dev",
    version = "v1alpha1",
    kind = "PlatformRelease",
    plural = "platformreleases",
    shortname = "prel",
    doc = "One tested set of versions. The releases of a policy, in the order of their versions, make its release lines.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Required-Stop", type_ = "boolean", json_path = ".spec.requiredStop"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PlatformReleaseSpec {
    /// The name of the `UpgradePolicy` whose platform this is a release of.
    #[schemars(length(min = 1, max = 253))]
    pub policy: String,

    /// The release's version: numbers with dots, for example `2026.07` or `2.3.0`. Releases are ordered by it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[0-9]+(\.[0-9]+)*$"))]
    pub version: String,

    /// Whether every upgrade has to stop here.
    #[serde(default)]
    pub required_stop: bool,

    /// What each component is in this release. One that is left out is what it was in the release before.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub components: Vec<ReleaseComponentSpec>,

    /// What someone has to have read before going to this release or past it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub breaking_changes: Vec<BreakingChangeSpec>,

    /// The CRDs of this release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub crds: Vec<ReleaseCrdSpec>,

    /// The database revision of this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub schema_revision: Option<String>,
}

/// A change that may break what people built on the platform.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BreakingChangeSpec {
    /// Its name, by which it is acknowledged, for example `2026.07-gateway-auth-header`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What changes, and what to do about it.
    #[schemars(length(min = 1, max = 1024))]
    pub message: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub url: Option<String>,
    /// The components whose moves need it acknowledged; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub components: Vec<String>,
}

/// A CRD of a release.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseCrdSpec {
    /// Its name, for example `tools.gostoa.dev`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The digest of its content, as `upgrade-guard crds digest` prints it; any content where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub content: Option<String>,
}

/// What one component is in a release.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseComponentSpec {
    /// The component's name in the policy.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Its version.
    #[schemars(length(min = 1, max = 128))]
    pub version: String,

    /// Image tags that carry no version but are this one, for example `dev-1f3a9c2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub tags: Vec<String>,

    /// Image digests that are this version: `sha256:` and 64 hex digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256), regex(pattern = r"^[a-z0-9+._-]+:[0-9a-f]{32,}$")))]
    pub digests: Vec<String>,

    /// The least versions it needs of components upstream, where they are older than those of this release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["component".to_owned()]))]
    pub needs: Vec<NeedSpec>,
}

/// The least version that a component needs of another.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NeedSpec {
    /// The other component's name.
    #[schemars(length(min = 1, max = 63))]
    pub component: String,

    /// The least version it must have; a release must list it.
    #[schemars(length(min = 1, max = 128))]
    pub version: String,
}
