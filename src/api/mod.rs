//! The three custom resources of `guard.gostoa.dev/v1alpha1`, and their one way into the domain.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod crd_checks;
#[allow(clippy::duplicated_attributes, reason = "a rule of a custom resource has a text and a field")]
mod database;
mod demands;
pub mod expression;
mod migration_checks;
mod migrations;
mod misfit;
mod parse;
#[allow(clippy::duplicated_attributes, reason = "each printer column has a type and a path")]
mod platform;
#[allow(clippy::duplicated_attributes, reason = "each printer column has a type and a path")]
mod policy;
#[allow(clippy::duplicated_attributes, reason = "a rule of a custom resource has a text and a field")]
mod preconditions;
mod preparation;
#[allow(clippy::duplicated_attributes, reason = "each printer column has a type and a path")]
mod release;

pub use crd_checks::CRD_CHECKS;
pub use database::{
    DatabaseSpec, Downgrade, LargeTableSpec, MOST_MIGRATIONS, MOST_NEEDS, MOST_REVISIONS, MigrationOutcome,
    MigrationsSpec, Phase, PlatformDatabase, PlatformMigration, PlatformRevision, PlatformSchemaNeed, RevisionNature,
    RevisionSource, RevisionSpec, ShadowFrom, ShadowSpec, WaiverSpec,
};
pub use demands::duration;
pub use migration_checks::MIGRATION_CHECKS;
pub use migrations::{LOCK_TIMEOUT, LOCK_WAIT, STATEMENT_TIMEOUT};
pub use misfit::misfits;
pub use parse::{PolicyProblems, with_releases};
pub use platform::{
    Direction, Outcome, Platform, PlatformBlock, PlatformComponentStatus, PlatformGate, PlatformHistoryEntry,
    PlatformIntent, PlatformOverride, PlatformSpec, PlatformStatus, PlatformViolation, PlatformWorkload,
    RunningVersion,
};
pub use policy::{
    ComponentSpec, MatchSpec, SkewSpec, SupportedSpec, UpgradePolicy, UpgradePolicySpec, VersionSpec, ZeroDowntimeSpec,
};
pub use preconditions::{
    CnpgBackupSpec, CnpgClusterSpec, CrdSeverity, CronJobSpec, FreezeWindowSpec, HealthSpec, HttpCheckSpec, JobSpec,
    ObjectSpec, PreconditionSpec, VeleroBackupSpec, VerifySpec, VolumeSnapshotSpec,
};
pub use preparation::{
    FoundComponent, MOST_PREPARATIONS, PlatformCrd, PlatformPrecondition, PlatformPreparation, PlatformStep,
    PlatformVerified, PlatformVersion, PreparationOutcome,
};
pub use release::{
    BreakingChangeSpec, NeedSpec, PlatformRelease, PlatformReleaseSpec, ReleaseComponentSpec, ReleaseCrdSpec,
};

/// The API group of the custom resources.
pub const GROUP: &str = "guard.gostoa.dev";

/// The label of a workload whose rollout the guard holds; its value is `true`.
pub const HELD_LABEL: &str = "guard.gostoa.dev/held";
/// The annotation that names the rule for which a rollout is held.
pub const HELD_RULE: &str = "guard.gostoa.dev/held-rule";
/// The annotation that says what a held rollout waits for.
pub const HELD_WAITS_FOR: &str = "guard.gostoa.dev/held-waits-for";
/// The annotation that says since when a rollout is held.
pub const HELD_SINCE: &str = "guard.gostoa.dev/held-since";
/// The annotation that keeps the partition that a held StatefulSet had before.
pub const HELD_FROM_PARTITION: &str = "guard.gostoa.dev/held-from-partition";
/// The annotation by which a user overrides rules: `<code>[,<code>]; reason; until=<RFC 3339>`.
pub const OVERRIDE: &str = "guard.gostoa.dev/override";

/// The annotation of a pod template that says at which revision its image needs the database's schema.
pub use crate::domain::schema::REVISION_ANNOTATION as SCHEMA_REVISION;

/// The version of the custom resources.
pub const VERSION: &str = "v1alpha1";

/// The custom resource definitions, in the order in which they are printed.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [UpgradePolicy::crd(), PlatformRelease::crd(), Platform::crd()]
}
