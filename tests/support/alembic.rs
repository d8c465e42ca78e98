//! Real Alembic for the tests: a virtual environment with it, and projects with revisions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Where the programs of the virtual environment are: `alembic`, `python`. Made where it is not there yet.
pub(crate) fn programs() -> Result<&'static Path> {
    static PROGRAMS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = PROGRAMS.get_or_init(|| installed("tests/postgres/alembic").map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow::anyhow!(error.clone()))
}

/// What a script of the tests installs and prints.
pub(crate) fn installed(script: &str) -> Result<PathBuf> {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{script} failed");
    let stdout = String::from_utf8(output.stdout)?;
    stdout.lines().last().map(PathBuf::from).with_context(|| format!("{script} named nothing"))
}

fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/project")
}

/// A folder with an Alembic project. Dropped, it goes.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// A project without revisions, whose `env.py` reads `DATABASE_URL` as programs on asyncpg write it, and runs all
    /// pending revisions in one transaction on psycopg, as the first user's does.
    pub(crate) fn new() -> Result<Self> {
        let project = Self { folder: tempfile::Builder::new().prefix("alembic-").tempdir()? };
        project.write("alembic.ini", INI)?;
        project.write("migrations/env.py", ENV)?;
        std::fs::create_dir_all(project.folder().join("migrations/versions"))?;
        Ok(project)
    }

    /// The project of `tests/postgres/project`, with all its revisions: see [`known`].
    pub(crate) fn fixture() -> Result<Self> {
        let project = Self::new()?;
        let versions = "migrations/versions";
        for entry in std::fs::read_dir(fixture_folder().join(versions))? {
            let path = entry?.path();
            // Python leaves a folder of its own here, if anyone ran it in the repository.
            if path.extension().is_some_and(|extension| extension == "py") {
                let name = path.file_name().and_then(|name| name.to_str()).context("a file has a name")?;
                project.write(&format!("{versions}/{name}"), &std::fs::read_to_string(&path)?)?;
            }
        }
        Ok(project)
    }

    /// A few rows, for the tables as they are at [`known::SEEDED`].
    pub(crate) fn seed() -> Result<String> {
        Ok(std::fs::read_to_string(fixture_folder().join("seed.sql"))?)
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        Ok(std::fs::write(path, text)?)
    }

    /// Adds a revision after `down`, which is Python: `None`, `'a'` or `('a', 'b')`. `upgrade` and `downgrade` are
    /// the bodies of its functions, without indentation.
    pub(crate) fn revision(&self, id: &str, down: &str, upgrade: &str, downgrade: &str) -> Result<()> {
        let body = |text: &str| {
            let lines: Vec<String> = text.trim().lines().map(|line| format!("    {line}\n")).collect();
            if lines.is_empty() { "    pass\n".to_owned() } else { lines.concat() }
        };
        let text = format!(
            "\"\"\"{id}\"\"\"\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = '{id}'\n\
             down_revision = {down}\nbranch_labels = None\ndepends_on = None\n\n\ndef upgrade():\n{}\n\ndef downgrade():\n{}",
            body(upgrade),
            body(downgrade)
        );
        self.write(&format!("migrations/versions/{id}.py"), &text)
    }
}

const INI: &str = include_str!("../postgres/project/alembic.ini");
/// Reads its database as the first user's project does: the driver goes, `ssl` becomes `sslmode`.
const ENV: &str = include_str!("../postgres/project/migrations/env.py");

/// What is noteworthy in the project of `tests/postgres/project`; its README says more.
#[allow(dead_code, reason = "not every test file needs all")]
pub(crate) mod known {
    /// How many revisions it has.
    pub(crate) const REVISIONS: usize = 46;
    /// After it there is room for ids of more than 32 characters; the one before the first that is longer.
    pub(crate) const WIDENS: &str = "003_wider_version_numbers";
    /// The first id of more than 32 characters.
    pub(crate) const LONG: &str = "005_subscriptions_of_apps_to_gateways";
    /// After it the rows of `seed.sql` can be written.
    pub(crate) const SEEDED: &str = "007_audit_events_and_call_logs";
    /// The last before the one that inspects the connection: up to it SQL can be rendered.
    pub(crate) const RENDERED: &str = "013_view_of_active_subscriptions";
    /// Inspects the connection: `--sql` fails.
    pub(crate) const INSPECTS: &str = "014_gateway_regions_where_there_are_none";
    /// The last before the first two branches.
    pub(crate) const FORK: &str = "015_regions_by_name";
    /// The first of the branch with the label `billing`.
    pub(crate) const BILLING: &str = "016_billing_plans";
    /// Merges the first two branches.
    pub(crate) const MERGE: &str = "020_merge_billing_and_keys";
    /// `CREATE INDEX CONCURRENTLY` in an `autocommit_block`.
    pub(crate) const CONCURRENT: &str = "022_index_of_subscriptions_without_a_lock";
    /// `ALTER TYPE ADD VALUE` in an `autocommit_block`.
    pub(crate) const ENUM: &str = "023_gateway_status_failed";
    /// The last before the second two branches.
    pub(crate) const SECOND_FORK: &str = "027_contacts";
    /// Depends on `028_webhooks`, which is in the other branch.
    pub(crate) const DEPENDS: &str = "032_warnings_of_certificates_by_webhook";
    /// What version 1 of the platform needs; merges the second two branches.
    pub(crate) const OLD: &str = "033_merge_webhooks_and_certificates";
    /// The last before the draft.
    pub(crate) const BEFORE_DRAFT: &str = "038_gateway_heartbeats";
    /// A draft that policies hold.
    pub(crate) const DRAFT: &str = "039_subscription_state_until_sign_off";
    /// Breaks: drops a column in a `DO` block.
    pub(crate) const HIDDEN_DROP: &str = "042_no_more_legacy_tokens";
    /// Breaks: renames a column.
    pub(crate) const RENAME: &str = "043_endpoint_instead_of_address_of_gateways";
    /// Breaks: drops a table, in the contract phase.
    pub(crate) const CONTRACT: &str = "044_drop_call_logs";
    /// Breaks: a column has to be written.
    pub(crate) const REQUIRED: &str = "045_every_app_has_an_owner";
    /// The last: what version 2 of the platform needs.
    pub(crate) const HEAD: &str = "046_notes_on_tenants";
}
