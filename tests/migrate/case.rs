//! A database, a project with revisions, and how it is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use upgrade_guard::database::address::Address;
use upgrade_guard::database::connection::{Connection, DatabaseError};
use upgrade_guard::database::migrator::{Migrator, Timeouts};
use upgrade_guard::database::revision::Noted;
use upgrade_guard::database::run::{self, Ended, Errand, Outcome, Pace, RunError};
use upgrade_guard::report::News;

use super::alembic::{Project, programs};
use super::postgres::{PASSWORD, PASSWORD_IN_URL, Postgres};
use super::wait::eventually;

/// Long enough on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How Alembic tells its progress, as projects that Alembic made let it.
const LOGGING: &str =
    "import logging\n\nlogging.basicConfig(level=logging.INFO, format='%(levelname)-5.5s [%(name)s] %(message)s')\n";

/// The server that all tests of this process share.
pub(crate) async fn shared() -> Result<Option<&'static Postgres>> {
    static SHARED: OnceCell<Result<Option<Postgres>, String>> = OnceCell::const_new();
    let start = async { Postgres::start(None).await.map_err(|error| format!("{error:#}")) };
    Ok(SHARED.get_or_init(|| start).await.as_ref().map_err(|error| anyhow!(error.clone()))?.as_ref())
}

/// How a project's `env.py` works.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// One transaction for all revisions.
    Whole,
    /// One for each.
    Each,
    /// One for all, on asyncpg.
    Asyncpg,
}

const ASYNCPG: &str = r#"import asyncio
import os

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine


def work(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(work)
    await engine.dispose()


asyncio.run(main())
"#;

/// A project with the revisions `(id, what it does)`, one after the other.
pub(crate) fn project(style: Style, revisions: &[(&str, &str)]) -> Result<Project> {
    let project = Project::new()?;
    let plain = std::fs::read_to_string(project.folder().join("migrations/env.py"))?;
    let env = match style {
        Style::Whole => plain,
        Style::Each => plain.replace("os.environ.get(\"PER_MIGRATION\") == \"1\"", "True"),
        Style::Asyncpg => ASYNCPG.to_owned(),
    };
    project.write("migrations/env.py", &format!("{LOGGING}{env}"))?;
    let mut down = "None".to_owned();
    for (id, upgrade) in revisions {
        project.revision(id, &down, upgrade, "")?;
        down = format!("'{id}'");
    }
    Ok(project)
}

/// Everything that a run needs.
pub(crate) struct Case {
    pub(crate) url: String,
    pub(crate) migrator: Migrator,
    pub(crate) address: Address,
    pub(crate) noted: Noted,
    pub(crate) revisions: Vec<String>,
    pub(crate) calls: Vec<Vec<String>>,
    pub(crate) expected: Option<Vec<String>>,
    pub(crate) digests: BTreeMap<String, String>,
    pub(crate) timeouts: Timeouts,
    pub(crate) lock_wait: Duration,
    pub(crate) stop: CancellationToken,
}

impl Case {
    /// For the project's revisions up to `revisions`' last, on a fresh database of the shared server.
    pub(crate) async fn new(server: &Postgres, name: &str, project: &Path, revisions: &[&str]) -> Result<Self> {
        server.database(name, "").await?;
        Self::at(&server.url(name, ""), project, revisions)
    }

    /// The same, on the database at this URL.
    pub(crate) fn at(url: &str, project: &Path, revisions: &[&str]) -> Result<Self> {
        let revisions: Vec<String> = revisions.iter().map(|revision| (*revision).to_owned()).collect();
        let last = revisions.last().cloned();
        Ok(Self {
            url: url.to_owned(),
            migrator: Migrator {
                command: vec![programs()?.join("alembic").display().to_string()],
                directory: Some(project.to_owned()),
                url_variable: "DATABASE_URL".to_owned(),
                keeper: Some(PathBuf::from(env!("CARGO_BIN_EXE_upgrade-guard"))),
            },
            address: address(url)?,
            noted: Noted::default(),
            calls: vec![vec!["upgrade".to_owned(), last.clone().unwrap_or_default()]],
            expected: last.map(|last| vec![last]),
            revisions,
            digests: BTreeMap::new(),
            timeouts: Timeouts { lock: Duration::from_secs(20), statement: PATIENCE },
            lock_wait: PATIENCE,
            stop: CancellationToken::new(),
        })
    }

    pub(crate) fn errand(&self) -> Errand<'_> {
        Errand {
            migrator: &self.migrator,
            address: &self.address,
            noted: &self.noted,
            calls: self.calls.clone(),
            steps: self.revisions.clone(),
            planned_from: None,
            expected: self.expected.clone(),
            digests: self.digests.clone(),
            fingerprint,
            timeouts: self.timeouts,
            lock_wait: self.lock_wait,
            limit: PATIENCE * 2,
            stop: self.stop.clone(),
            pace: Pace { watch: Duration::from_millis(50), retry: Duration::from_millis(20) },
        }
    }

    /// Runs it, and gives what it told.
    pub(crate) async fn run(&self) -> (Result<Ended, RunError>, Vec<News>) {
        let mut news = vec![];
        let ended = run::run(&self.errand(), &mut news).await;
        let told = format!("{ended:?} {news:?}");
        assert!(!told.contains(PASSWORD) && !told.contains(PASSWORD_IN_URL), "{told}");
        (ended, news)
    }

    pub(crate) async fn open(&self) -> Result<Connection> {
        Ok(Connection::open(self.address.url(), "test", PATIENCE).await?)
    }

    /// The first value of a question.
    pub(crate) async fn value(&self, sql: &str) -> Result<String> {
        Ok(self.open().await?.value("answer", sql).await?.unwrap_or_default())
    }

    /// What the schema comes to.
    pub(crate) async fn digest(&self) -> Result<String> {
        Ok(fingerprint(&self.open().await?, &self.noted).await?)
    }

    /// Waits until a question is answered with `t`.
    pub(crate) async fn until(&self, what: &str, sql: &str) -> Result<()> {
        let connection = self.open().await?;
        let is = async || {
            let answer = connection.value("answer", sql).await?;
            Ok(if answer.as_deref() == Some("t") { Ok(()) } else { Err(answer) })
        };
        eventually(what, is).await
    }

    /// Waits until the migrator's connection sleeps inside of a revision.
    pub(crate) async fn until_asleep(&self) -> Result<()> {
        self.until("a revision to sleep", ASLEEP).await
    }
}

pub(crate) const ASLEEP: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
    AND state = 'active' AND wait_event = 'PgSleep')";

pub(crate) fn address(url: &str) -> Result<Address> {
    let environment = |name: &str| (name == "DATABASE_URL").then(|| url.to_owned());
    Address::of_environment("DATABASE_URL", environment)?.context("a URL")
}

/// Columns and indexes, but those of the table with the revision.
pub(crate) fn fingerprint<'a>(
    connection: &'a Connection,
    _: &'a Noted,
) -> BoxFuture<'a, Result<String, DatabaseError>> {
    const QUESTION: &str = "SELECT coalesce(string_agg(x, ', ' ORDER BY x), '') FROM (\
        SELECT format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)) AS x \
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped \
        AND c.relname <> 'alembic_version' \
        UNION ALL SELECT format('%s valid: %s', c.relname, i.indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version_pkc') s";
    Box::pin(async { Ok(connection.value("sum up its schema", QUESTION).await?.unwrap_or_default()) })
}

/// What was told, a line for each.
pub(crate) fn lines(news: &[News]) -> String {
    news.iter().map(|news| format!("{:?} {}\n", news.stage, news.message)).collect::<Vec<_>>().concat()
}

/// The message of a run that failed cleanly.
pub(crate) fn undone(ended: &Ended) -> &str {
    match &ended.outcome {
        Outcome::Undone { message } => message,
        other => panic!("{other:?}"),
    }
}
