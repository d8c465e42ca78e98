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

const INI: &str = "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\n";

/// Reads its database as the first user's project does: the driver goes, `ssl` becomes `sslmode`.
const ENV: &str = r#"import os

from alembic import context
from sqlalchemy import create_engine, pool

url = os.environ.get("DATABASE_URL", "postgresql://nowhere/none")
url = url.replace("+asyncpg", "+psycopg").replace("postgresql://", "postgresql+psycopg://").replace("ssl=", "sslmode=")


def offline():
    context.configure(url=url, literal_binds=True, transaction_per_migration=os.environ.get("PER_MIGRATION") == "1")
    with context.begin_transaction():
        context.run_migrations()


def online():
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=os.environ.get("PER_MIGRATION") == "1")
        with context.begin_transaction():
            context.run_migrations()


offline() if context.is_offline_mode() else online()
"#;
