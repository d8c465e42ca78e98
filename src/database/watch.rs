//! Timeouts of the migrator's statements, held from outside: not every driver takes `lock_timeout` and
//! `statement_timeout` from the environment (libpq's do by `PGOPTIONS`; asyncpg does not).
//!
//! The migrator's connections are those called [`APPLICATION`], and those that came after it was started, of the same user,
//! to the same database, from the same address. A pool in session mode may lend it an older connection: that one is
//! only known when the driver tells its name.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use super::connection::{Connection, DatabaseError, literal};
use super::migrator::{APPLICATION, Migrator, MigratorError, OWN, Timeouts};
use super::revision::{Noted, qualified};
use super::url::DatabaseUrl;

/// The time between two looks, where nothing else is asked for.
pub const PACE: Duration = Duration::from_millis(200);
/// What a driver that holds the timeouts by itself has over us: its message says more than that it was cancelled.
const GRACE: Duration = Duration::from_millis(500);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the server may take to end what the migrator left.
const SETTLED: Duration = Duration::from_secs(20);

/// Looks at the connections of the migrator.
#[derive(Debug)]
pub struct Watch {
    url: DatabaseUrl,
    connection: Connection,
    /// Which rows of `pg_stat_activity a` are the migrator's.
    theirs: String,
    timeouts: Timeouts,
    pace: Duration,
    /// What each waits for, and since when.
    waiting: BTreeMap<String, (String, Instant)>,
}

/// A statement that took too long, and was cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Whether it waited for a lock.
    pub lock: bool,
    /// What it was, in one line.
    pub message: String,
}

/// A statement of the migrator that is under way.
struct Statement {
    process: String,
    /// Which lock of which statement it waits for; empty when for none.
    wait: String,
    /// The lock, as people know it.
    lock: String,
    runs: Duration,
    /// Who has the lock.
    blockers: String,
}

impl Watch {
    /// Begins to watch the database at `url`: what connects from now on is the migrator's. `own` are the processes of the
    /// server with our other connections; `pace` is the time between two looks.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn open(
        url: &DatabaseUrl,
        timeouts: Timeouts,
        pace: Duration,
        own: &[&str],
    ) -> Result<Self, DatabaseError> {
        let connection = Connection::open(url, OWN, ANSWER).await?;
        let asked = connection.value("tell the time", "SELECT pg_catalog.clock_timestamp()").await?;
        let since = literal(&asked.unwrap_or_default());
        let own: Vec<String> = own.iter().map(|process| format!(" AND a.pid <> {process}")).collect();
        let own = own.concat();
        let theirs = format!(
            "a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid(){own} \
             AND (a.application_name = {} OR (a.backend_start >= {since}::timestamptz AND a.usename = session_user \
             AND a.client_addr IS NOT DISTINCT FROM pg_catalog.inet_client_addr() AND a.application_name <> {}))",
            literal(APPLICATION),
            literal(OWN)
        );
        Ok(Self { url: url.clone(), connection, theirs, timeouts, pace, waiting: BTreeMap::new() })
    }

    async fn statements(&self) -> Result<Vec<Statement>, DatabaseError> {
        let question = format!(
            "SELECT a.pid, coalesce(a.query_start::text || ' ' || w.key, ''), w.name, \
             floor(extract(epoch FROM pg_catalog.clock_timestamp() - a.query_start) * 1000), w.blockers \
             FROM pg_catalog.pg_stat_activity a LEFT JOIN LATERAL (SELECT concat_ws('/', l.locktype, l.relation, l.page, \
             l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid, l.mode) AS key, \
             coalesce(l.relation::pg_catalog.regclass::text, 'a ' || l.locktype) AS name, \
             (SELECT string_agg(b.pid || coalesce(' (' || nullif(b.application_name, '') || ')', ''), ', ') \
             FROM pg_catalog.pg_stat_activity b WHERE b.pid = ANY (pg_catalog.pg_blocking_pids(a.pid))) AS blockers \
             FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND NOT l.granted LIMIT 1) w ON true \
             WHERE a.state = 'active' AND {}",
            self.theirs
        );
        let rows = self.ask("show what the migrator does", &question).await?;
        let text = |row: &Vec<String>, at: usize| row.get(at).cloned().unwrap_or_default();
        let statement = |row: &Vec<String>| Statement {
            process: text(row, 0),
            wait: text(row, 1),
            lock: text(row, 2),
            runs: Duration::from_millis(text(row, 3).parse().unwrap_or_default()),
            blockers: text(row, 4),
        };
        Ok(rows.iter().map(statement).collect())
    }

    async fn ask(&self, what: &str, question: &str) -> Result<Vec<Vec<String>>, DatabaseError> {
        let late = |_| DatabaseError::Query {
            url: self.url.to_string(),
            what: what.to_owned(),
            message: format!("no answer within {} s", ANSWER.as_secs()),
        };
        let rows = tokio::time::timeout(ANSWER, self.connection.rows(what, question)).await.map_err(late)??;
        let texts = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|at| row.try_get(at).ok().flatten().unwrap_or_default().to_owned()).collect()
        };
        Ok(rows.iter().map(texts).collect())
    }

    /// Looks once, and cancels what took too long.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn look(&mut self) -> Result<Vec<Cancelled>, DatabaseError> {
        let statements = self.statements().await?;
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.waiting);
        let mut cancelled = vec![];
        for statement in statements {
            let waits = (!statement.wait.is_empty()).then(|| match before.remove(&statement.process) {
                Some((wait, since)) if wait == statement.wait => since,
                _ => now,
            });
            let waited = waits.map(|since| now - since).unwrap_or_default();
            let late = |took: Duration, limit: Duration| took >= limit + GRACE;
            let blockers = if statement.blockers.is_empty() { "another session" } else { &statement.blockers };
            let message = if late(waited, self.timeouts.lock) {
                let limit = self.timeouts.lock.as_secs_f32();
                Some(format!("waited longer than {limit} s for a lock on {} that {blockers} holds", statement.lock))
            } else if late(statement.runs, self.timeouts.statement) {
                Some(format!("a statement took longer than {} s", self.timeouts.statement.as_secs_f32()))
            } else {
                None
            };
            if let Some(message) = message {
                let cancel = format!("SELECT pg_catalog.pg_cancel_backend({})", statement.process);
                self.ask("cancel a statement of the migrator", &cancel).await?;
                cancelled.push(Cancelled { lock: late(waited, self.timeouts.lock), message });
            } else if let Some(since) = waits {
                self.waiting.insert(statement.process, (statement.wait, since));
            }
        }
        Ok(cancelled)
    }

    /// Looks again and again, and tells what it cancelled. Ends when there is no answer any more, also from a new connection.
    pub async fn guard(&mut self, told: impl Fn(Cancelled)) -> DatabaseError {
        loop {
            match self.look().await {
                Ok(cancelled) => cancelled.into_iter().for_each(&told),
                // Somebody ended this session; timeouts that nobody holds are none.
                Err(_) => match Connection::open(&self.url, OWN, ANSWER).await {
                    Ok(connection) => self.connection = connection,
                    Err(gone) => return gone,
                },
            }
            tokio::time::sleep(self.pace).await;
        }
    }

    /// Waits until the server is done with the migrator, whose process is gone. When it was `stopped`, what it left is
    /// ended: a statement goes on without its client.
    ///
    /// # Errors
    /// When there is no answer, or something goes on.
    pub async fn settle(&mut self, stopped: bool) -> Result<(), DatabaseError> {
        let deadline = Instant::now() + SETTLED;
        if self.ask("answer", "SELECT 1").await.is_err() {
            self.connection = Connection::open(&self.url, OWN, ANSWER).await?;
        }
        // What has its name ends; what may be another program's is only cancelled.
        let ended = format!(
            "SELECT a.pid, CASE WHEN a.application_name = {0} THEN pg_catalog.pg_terminate_backend(a.pid) \
             ELSE pg_catalog.pg_cancel_backend(a.pid) END FROM pg_catalog.pg_stat_activity a \
             WHERE {1} AND (a.application_name = {0} OR a.state = 'active')",
            literal(APPLICATION),
            self.theirs
        );
        let there = format!(
            "SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE {} AND a.application_name = {}",
            self.theirs,
            literal(APPLICATION)
        );
        loop {
            let left = self.ask("end what the migrator left", if stopped { &ended } else { &there }).await?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let processes: Vec<&str> = left.iter().filter_map(|row| row.first().map(String::as_str)).collect();
                return Err(DatabaseError::Query {
                    url: self.url.to_string(),
                    what: "end what the migrator left".to_owned(),
                    message: format!("still there after {} s: process {}", SETTLED.as_secs(), processes.join(", ")),
                });
            }
            tokio::time::sleep(self.pace).await;
        }
    }
}

/// Who holds the timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The migrator's own driver: it takes them from `PGOPTIONS`.
    ByDriver,
    /// It does not, and its statement was cancelled from outside.
    ByWatchdog,
}

/// Why it is not known that anyone does.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There is no answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The migrator cannot be run.
    #[error(transparent)]
    Migrator(#[from] MigratorError),
    /// There was nothing to wait for, or nobody ended the wait.
    #[error("that timeouts are in force could not be shown: {0}")]
    Unproven(String),
}

/// The timeout of the proof.
const SHORT: Duration = Duration::from_millis(300);
/// How long the driver may take to hold it by itself.
const BY_ITSELF: Duration = Duration::from_secs(2);

/// Shows who holds the timeouts of this migrator, which is Alembic: locks the table of revisions, and lets `alembic current`
/// read it with a `lock_timeout` of 0.3 s. Only for a scratch database, which has that table and nobody uses: it is
/// locked until Alembic, which may take seconds to start, was refused. `limit` is for all of it.
///
/// # Errors
/// When it cannot be shown.
pub async fn prove(
    migrator: &Migrator,
    address: &Address,
    noted: &Noted,
    limit: Duration,
) -> Result<Proof, ProveError> {
    let table = if let Noted::Table(table) = noted { qualified(table) } else { None };
    let table = table.ok_or_else(|| ProveError::Unproven("the revision is not noted in a table".to_owned()))?;
    let holder = Connection::open(address.url(), OWN, ANSWER).await?;
    let own = holder.value("tell its process", "SELECT pg_catalog.pg_backend_pid()").await?.unwrap_or_default();
    let lock = format!("BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    holder.rows("lock the table of revisions", &lock).await?;
    let timeouts = Timeouts { lock: SHORT, statement: limit };
    let patient = Timeouts { lock: BY_ITSELF, statement: limit };
    let mut watch = Watch::open(address.url(), patient, Duration::from_millis(50), &[&own]).await?;
    let (mut heard, cancelled) = (|_, _: &str| {}, parking_lot::Mutex::new(false));
    let mut seen = false;
    let said = {
        let watched = async {
            loop {
                let found = watch.look().await;
                seen |= !watch.waiting.is_empty();
                match found {
                    Ok(found) => *cancelled.lock() |= found.iter().any(|found| found.lock),
                    Err(error) => return error,
                }
                tokio::time::sleep(watch.pace).await;
            }
        };
        tokio::select! {
            said = migrator.run(&["current"], Some((address, timeouts)), limit, &mut heard) => said?,
            error = watched => return Err(error.into()),
        }
    };
    match (said.ok(), seen, *cancelled.lock()) {
        (false, _, true) => Ok(Proof::ByWatchdog),
        (false, true, false) => Ok(Proof::ByDriver),
        (true, _, _) => Err(ProveError::Unproven("the migrator read a table that was locked".to_owned())),
        (false, false, false) => Err(ProveError::Unproven(format!("it never waited: {}", said.last_words()))),
    }
}
