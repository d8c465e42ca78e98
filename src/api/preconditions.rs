//! What a policy asks for before an upgrade, and what it looks at afterwards.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that has to hold before an upgrade may begin. The hook looks at it and records what it found; moves upwards
/// of the components wait for that record.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.object), has(self.cronJob), has(self.job), has(self.volumeSnapshot), has(self.cnpgBackup), has(self.cnpgCluster), has(self.veleroBackup), has(self.health)].filter(x, x).size() == 1").message("must have exactly one of object, cronJob, job, volumeSnapshot, cnpgBackup, cnpgCluster, veleroBackup and health"))]
pub struct PreconditionSpec {
    /// Its name, as it is shown.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,

    /// The components whose moves need it; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub components: Vec<String>,

    /// Any object, judged by CEL expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectSpec>,
    /// A `CronJob` that last succeeded a short time ago, such as a nightly backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron_job: Option<CronJobSpec>,
    /// A `Job` that is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// A `VolumeSnapshot` that is ready to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_snapshot: Option<VolumeSnapshotSpec>,
    /// A completed `Backup` of `CloudNativePG`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnpg_backup: Option<CnpgBackupSpec>,
    /// A `Cluster` of `CloudNativePG` that archives and whose last backup succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnpg_cluster: Option<CnpgClusterSpec>,
    /// A completed `Backup` of Velero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub velero_backup: Option<VeleroBackupSpec>,
    /// Workloads that are well before anything moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
}

/// Any object, judged by CEL expressions in which `object` is the object and `now` the time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) != (has(self.selector) && size(self.selector) > 0)").message("must have either a name or a selector"),
    validation = Rule::new("has(self.maxAge) == has(self.timestamp)").message("maxAge and timestamp belong together")
)]
pub struct ObjectSpec {
    /// The API version, for example `batch/v1`.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// The kind, for example `Job`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The namespace; that of the install where it is left out. Without effect for kinds that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Labels instead of a name: one of the objects that have them all must pass; the newest that does is told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub selector: BTreeMap<String, String>,
    /// A CEL expression that is true when the object is what it should be, for example
    /// `object.status.phase == "Completed"`. Zones of time in it are UTC or offsets such as `+02:00`.
    #[schemars(length(min = 1, max = 1024))]
    pub ready: String,
    /// How old `timestamp` may be, for example `24h` or `1h30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub max_age: Option<String>,
    /// A CEL expression for when the object became what it is, for example `object.status.completionTimestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub timestamp: Option<String>,
}

/// A `CronJob` that last succeeded a short time ago. It must not be suspended, and its last Job must not have failed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CronJobSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 52))]
    pub name: String,
    /// Its namespace; that of the install where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// How long ago it may have succeeded, for example `26h`: a daily backup is up to a day old, and its own run comes on
    /// top of that.
    #[schemars(length(min = 1, max = 32))]
    pub max_age: String,
    /// Whether the hook starts a Job from it when it is stale or its last Job failed, and waits for that; for one that runs
    /// already it only waits.
    #[serde(default)]
    pub run_if_stale: bool,
    /// How long that Job may take, for example `30m`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub timeout: Option<String>,
}

/// A `Job` that is complete, for example the export of a Keycloak realm.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) != (has(self.selector) && size(self.selector) > 0)").message("must have either a name or a selector"))]
pub struct JobSpec {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// Labels instead of a name: the newest that passes counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub selector: BTreeMap<String, String>,
    /// Its namespace; that of the install where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// How long ago it may have completed, for example `24h`; any time where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub max_age: Option<String>,
}

/// A `VolumeSnapshot` of a claim that is ready to use and bound both ways.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotSpec {
    /// The `PersistentVolumeClaim` that it is of; the newest snapshot that passes counts.
    #[schemars(length(min = 1, max = 253))]
    pub claim: String,
    /// Its namespace; that of the install where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// How old it may be, for example `24h`.
    #[schemars(length(min = 1, max = 32))]
    pub max_age: String,
}

/// A completed `Backup` (`postgresql.cnpg.io/v1`) of a cluster; the newest that passes counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CnpgBackupSpec {
    /// The name of the `Cluster` that it is of.
    #[schemars(length(min = 1, max = 253))]
    pub cluster: String,
    /// Its namespace; that of the install where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// How long ago it may have ended, for example `24h`.
    #[schemars(length(min = 1, max = 32))]
    pub max_age: String,
}

/// A `Cluster` (`postgresql.cnpg.io/v1`) whose conditions `ContinuousArchiving` and `LastBackupSucceeded` are true.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CnpgClusterSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; that of the install where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// A `Backup` (`velero.io/v1`) that completed without errors, has not expired, is of the namespace and holds volume
/// snapshots; the newest that passes counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VeleroBackupSpec {
    /// The namespace of Velero; `velero` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Only backups of this schedule; any where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub schedule: Option<String>,
    /// The namespace that must be in the backup; that of the install where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub includes: Option<String>,
    /// How long ago it may have completed, for example `24h`.
    #[schemars(length(min = 1, max = 32))]
    pub max_age: String,
}

/// Workloads that are well: all pods ready, none in a crash loop, few restarts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HealthSpec {
    /// The components that are looked at; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub components: Vec<String>,
    /// The most restarts that a container may have had.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_restarts: i32,
}

fn five() -> i32 {
    5
}

/// A time at which no upgrade begins. Going back stays possible.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FreezeWindowSpec {
    /// Its name, as it is shown.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// When it begins, as a cron expression of five fields, for example `0 18 * * FRI`.
    #[schemars(length(min = 1, max = 128))]
    pub cron: String,
    /// How long it lasts, for example `62h`.
    #[schemars(length(min = 1, max = 32))]
    pub duration: String,
    /// The time zone of `cron`, for example `Europe/Paris`; `UTC` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// How strictly a difference between an installed and a wanted CRD is taken.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrdSeverity {
    /// The CRDs are not applied.
    Error,
    /// It is told, and the CRDs are applied.
    Warn,
    /// It is not looked at.
    Off,
}

/// What `verify` looks at after an upgrade, beside versions, rollouts and pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VerifySpec {
    /// HTTP requests that must be answered as they should.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub http: Vec<HttpCheckSpec>,
}

/// One HTTP request and the answer it should get.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheckSpec {
    /// Its name, as it is shown.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What to get, `http` or `https`. `{namespace}` stands for the namespace of the install:
    /// `http://stoa-gateway.{namespace}.svc:8080/health`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^https?://"))]
    pub url: String,
    /// The status code that the answer should have.
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599))]
    pub status: i32,
    /// A CEL expression over the answer, in which `body` is its JSON and `status` its code, for example
    /// `body.status == "ok"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
    /// How long one request may take, for example `5s`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub timeout: Option<String>,
    /// How often a request that failed is made again.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 100))]
    pub retries: i32,
    /// A PEM file, as the hook sees it, with the certificate authority to trust besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub ca_file: Option<String>,
}

fn ok() -> i32 {
    200
}

fn three() -> i32 {
    3
}
