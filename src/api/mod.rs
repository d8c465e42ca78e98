//! The three custom resources of `guard.gostoa.dev/v1alpha1`, and their one way into the domain.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod misfit;
mod parse;
mod platform;
#[allow(clippy::duplicated_attributes, reason = "each printer column has a type and a path")]
mod policy;
#[allow(clippy::duplicated_attributes, reason = "each printer column has a type and a path")]
mod release;

pub use misfit::misfits;
pub use parse::{PolicyProblems, with_releases};
pub use platform::{Platform, PlatformComponentStatus, PlatformIntent, PlatformSpec, PlatformStatus, RunningVersion};
pub use policy::{
    ComponentSpec, MatchSpec, SkewSpec, SupportedSpec, UpgradePolicy, UpgradePolicySpec, VersionSpec, ZeroDowntimeSpec,
};
pub use release::{NeedSpec, PlatformRelease, PlatformReleaseSpec, ReleaseComponentSpec};

/// The API group of the custom resources.
pub const GROUP: &str = "guard.gostoa.dev";

/// The version of the custom resources.
pub const VERSION: &str = "v1alpha1";

/// The custom resource definitions, in the order in which they are printed.
#[must_use]
pub fn crds() -> [CustomResourceDefinition; 3] {
    [UpgradePolicy::crd(), PlatformRelease::crd(), Platform::crd()]
}
