//! What a policy says of the platform's database, and what a `Platform` remembers of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::preconditions::CrdSeverity;
use super::release::NeedSpec;

/// How many revisions a `Platform` remembers the nature of.
pub const MOST_REVISIONS: usize = 128;
/// How many versions a `Platform` remembers the revision of.
pub const MOST_NEEDS: usize = 64;
/// How many runs of migrations a `Platform` remembers.
pub const MOST_MIGRATIONS: usize = 10;

/// The database of the platform: whose versions need its schema at which revision, and how it gets there.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.revisionTable) && has(self.revisionQuery))").message("revisionTable and revisionQuery exclude each other"))]
pub struct DatabaseSpec {
    /// The components whose versions need the schema at a revision.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 63)))]
    pub components: Vec<String>,

    /// The table in which the revision is noted, also as `schema.table`; `alembic_version` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127))]
    pub revision_table: Option<String>,

    /// A query whose rows are the revisions, in the first column, for tools that note them otherwise than Alembic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub revision_query: Option<String>,

    /// How the hook migrates it; where nothing is said, something else does, and the hook only looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<MigrationsSpec>,
}

/// How the hook migrates the database. It runs where the migrations are: in the new image of the component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.alembic) && has(self.command))").message("alembic and command exclude each other"))]
pub struct MigrationsSpec {
    /// How Alembic is called, for example `[alembic, -c, db/alembic.ini]`; `[alembic]` where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub alembic: Vec<String>,

    /// Another migrator than Alembic, with all its arguments: what brings any database to where this version needs it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub command: Vec<String>,

    /// The folder to run it in; that of the image where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub directory: Option<String>,

    /// The folder of Alembic's revision files, relative to `directory`: the graph is read from them, where Alembic itself
    /// cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub revision_files: Option<String>,

    /// The environment variable by which the migrator is told the database; `DATABASE_URL` where nothing is said. It is
    /// also where the hook reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub url_variable: Option<String>,

    /// How long one statement may wait for a lock, for example `5s`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub lock_timeout: Option<String>,

    /// How long one statement may take, for example `15m`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub statement_timeout: Option<String>,

    /// How long to wait for another run that migrates this database, for example `5m`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub lock_wait: Option<String>,

    /// What is known of single revisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["revision".to_owned()]))]
    pub revisions: Vec<RevisionSpec>,

    /// Whether migrations are tried on a copy of the schema first.
    #[serde(default)]
    pub shadow: ShadowSpec,

    /// How what the checks find is taken, by the name of the check; see `upgrade-guard lint --checks`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub checks: BTreeMap<String, CrdSeverity>,

    /// From which size of a table on a lock that stops its readers or writers is refused, and not warned about.
    #[serde(default)]
    pub large_table: LargeTableSpec,

    /// What was found, looked at by a person and accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub waivers: Vec<WaiverSpec>,

    /// Whether `upgrade-guard presync --rollback` may run downgrades.
    #[serde(default)]
    pub downgrade: Downgrade,
}

/// What is known of one revision.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSpec {
    /// The id of the revision, as the migrations have it.
    #[schemars(length(min = 1, max = 255))]
    pub revision: String,

    /// Why migrations stop before it. Taking this away lets them go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub hold: Option<String>,

    /// What every running pod of these components has to have before it: migrations stop before it until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub needs: Vec<NeedSpec>,

    /// Whether it only adds (`Expand`), or takes away what versions before the new one use (`Contract`). Migrations stop
    /// before one that contracts until no pod of such a version runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

/// What a revision does to the versions before it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It only adds.
    Expand,
    /// It takes away.
    Contract,
}

/// How migrations are tried before they run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ShadowSpec {
    /// What the copy begins with.
    #[serde(default)]
    pub from: ShadowFrom,
    /// The environment variable with the URL of a server on which databases may be made. Where it is empty or nothing is
    /// said, the copy is made beside the database itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub url_variable: Option<String>,
}

/// What the copy of the schema begins with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShadowFrom {
    /// The database's own schema where `pg_dump` is at hand, and nothing where it is not.
    #[default]
    Auto,
    /// The database's own schema, without its data. Needs `pg_dump`.
    Schema,
    /// Nothing: every migration runs.
    Empty,
    /// There is none: what migrations do is only read from their SQL, where that can be had.
    Off,
}

/// From which size on a table is large.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LargeTableSpec {
    /// Rows, as the database estimates them.
    #[serde(default = "many_rows")]
    #[schemars(range(min = 0))]
    pub rows: i64,
    /// Size with indexes, in megabytes.
    #[serde(default = "many_megabytes")]
    #[schemars(range(min = 0))]
    pub megabytes: i64,
}

impl Default for LargeTableSpec {
    fn default() -> Self {
        Self { rows: many_rows(), megabytes: many_megabytes() }
    }
}

fn many_rows() -> i64 {
    1_000_000
}

fn many_megabytes() -> i64 {
    1024
}

/// A finding that was looked at and accepted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WaiverSpec {
    /// The revision.
    #[schemars(length(min = 1, max = 255))]
    pub revision: String,
    /// The check.
    #[schemars(length(min = 1, max = 63))]
    pub check: String,
    /// The finding's hash, as `upgrade-guard lint` prints it: when the revision is changed, it counts no more.
    #[schemars(length(min = 8, max = 128))]
    pub hash: String,
    /// Why it is accepted.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// Until when, for example `2026-12-31T00:00:00Z`; for ever where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// Whether migrations may be undone.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Downgrade {
    /// Never: the way back is old code on the new schema.
    #[default]
    Forbid,
    /// By `upgrade-guard presync --rollback`, from the image that has the revisions, after a fresh backup.
    Allow,
}

/// What is known of the database.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformDatabase {
    /// The revisions that it notes: one of a sound schema, none of an empty one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 255)))]
    pub heads: Vec<String>,
    /// Why that is not known, or what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub problem: Option<String>,
    /// Who looked.
    #[serde(default)]
    pub source: RevisionSource,
    /// When someone looked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Time>,
    /// Which revision versions need, as the hook learnt it from their image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub needs: Vec<PlatformSchemaNeed>,
    /// The revisions that the hook knows of, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub revisions: Vec<PlatformRevision>,
    /// The runs of migrations, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub migrations: Vec<PlatformMigration>,
}

/// Who looked at the database.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevisionSource {
    /// The hook, when it ran.
    #[default]
    Hook,
    /// The controller, which looks again and again.
    Controller,
}

/// Which revision a version needs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformSchemaNeed {
    /// The component's name in the policy.
    pub component: String,
    /// The version.
    pub version: String,
    /// The digest of the image in which the hook found it, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The revision.
    #[schemars(length(max = 255))]
    pub revision: String,
}

/// A revision that the hook knows of.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformRevision {
    /// The id of the revision, as the migrations have it.
    #[schemars(length(max = 255))]
    pub revision: String,
    /// The revisions before it: several for a merge, none for the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 255)))]
    pub down: Vec<String>,
    /// What it does to versions that do not know it.
    pub nature: RevisionNature,
}

/// What a revision does to versions that do not know it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevisionNature {
    /// They go on as before, as far as the checks can tell, or a waiver says.
    Additive,
    /// Nobody looked: it was there before the hook was.
    Unknown,
    /// They break.
    Breaking,
}

/// A run of migrations.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlatformMigration {
    /// What it was for: a release, or versions of components.
    #[schemars(length(max = 1024))]
    pub target: String,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it began.
    pub started: Time,
    /// How long it took, in seconds; empty while it runs, or when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// What it came to.
    pub outcome: MigrationOutcome,
    /// In one line.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The revisions that the database noted before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 255)))]
    pub before: Vec<String>,
    /// The revisions that it noted after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 255)))]
    pub after: Vec<String>,
    /// The digest of the plan: of the revisions and what their files hold, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub plan: Option<String>,
    /// What the checks found, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub findings: Vec<String>,
    /// The waivers that counted: their hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    pub waivers: Vec<String>,
    /// The digest of the image that the migrations came from, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
}

/// What a run of migrations came to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationOutcome {
    /// It is under way, or was killed.
    Running,
    /// The database is where it should be.
    Migrated,
    /// It stopped before a revision that has to wait.
    Stopped,
    /// It failed, and left nothing behind.
    Undone,
    /// It failed half-way.
    HalfWay,
}
