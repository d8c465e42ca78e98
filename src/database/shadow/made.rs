//! Making a temporary database, and removing it whatever happens.
//!
//! Each has a number, which is in its name. Whoever makes one first takes a session advisory lock on the number, and keeps
//! its connection until the database is gone. A database whose number nobody has locked is left over, and anyone removes
//! it. Locks are looked up in `pg_locks`, which shows those of all databases of a server: it does not matter from which
//! database they were taken.

use std::sync::mpsc;
use std::time::Duration;

use ring::rand::SecureRandom as _;
use tokio_postgres::error::SqlState;

use super::super::address::Address;
use super::super::connection::{Connection, DatabaseError, literal, quoted};
use super::super::migrator::APPLICATION;
use super::super::url::DatabaseUrl;
use super::{PREFIX, ShadowError};

/// The first key of the advisory locks: `UGSD`. The second is the number.
const LOCKS: i32 = 0x5547_5344;
/// How long a removal may take when nobody waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A temporary database, from before it is there until it is gone. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Made {
    keeper: Connection,
    number: i32,
    name: String,
    /// Where the keeper is connected, and its process on the server.
    place: DatabaseUrl,
    process: String,
    gone: bool,
}

impl Made {
    /// Takes a number at `place`, and removes there what others left over.
    pub(super) async fn begin(place: &Address, timeout: Duration) -> Result<Self, ShadowError> {
        let keeper = Connection::open(place.url(), APPLICATION, timeout).await?;
        // An idle connection must not be closed: its lock would go with it.
        let stay = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
                    WHERE name IN ('idle_session_timeout', 'statement_timeout')";
        keeper.rows("keep a connection open", stay).await?;
        let number = number();
        let lock = format!("SELECT pg_catalog.pg_backend_pid() FROM pg_catalog.pg_advisory_lock({LOCKS}, {number})");
        let process = keeper.value("lock the name of a temporary database", &lock).await?.unwrap_or_default();
        let name = format!("{PREFIX}{number:08x}");
        remove_left_over(&keeper).await?;
        Ok(Self { keeper, number, name, place: place.url().clone(), process, gone: false })
    }

    /// Makes it by this statement.
    pub(super) async fn create(&self, statement: &str) -> Result<(), ShadowError> {
        self.keeper.client().batch_execute(statement).await.map_err(|error| {
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
                return ShadowError::NotAllowed { url: self.place.to_string() };
            }
            self.keeper.refused("make a temporary database", &error).into()
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The connection that holds the lock; it is in another database.
    pub(super) fn keeper(&self) -> &Connection {
        &self.keeper
    }

    pub(super) async fn remove(mut self) -> Result<(), DatabaseError> {
        remove(&self.keeper, &self.name).await?;
        self.gone = true;
        Ok(())
    }
}

impl Drop for Made {
    /// In a thread with a runtime of its own, because that of the caller may be at its end, and waiting for it, because the
    /// process may be.
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        let (place, name, number, process) =
            (self.place.clone(), self.name.clone(), self.number, std::mem::take(&mut self.process));
        let (done, ended) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("remove-shadow".to_owned()).spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                // What is not removed now is removed by the next run.
                let removal =
                    async { tokio::time::timeout(PATIENCE, take_over(&place, &name, number, &process)).await };
                let _ = runtime.block_on(removal);
            }
            drop(done);
        });
        if thread.is_ok() {
            let _ = ended.recv_timeout(PATIENCE);
        }
    }
}

/// Removes a database whose keeper may still be busy, also with making it: the keeper is ended first.
async fn take_over(place: &DatabaseUrl, name: &str, number: i32, process: &str) -> Result<(), DatabaseError> {
    let connection = Connection::open(place, APPLICATION, PATIENCE).await?;
    let end = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = {} \
         AND application_name = {}; SELECT pg_catalog.pg_advisory_lock({LOCKS}, {number})",
        process.parse::<i32>().unwrap_or_default(),
        literal(APPLICATION)
    );
    connection.rows("end who made a temporary database", &end).await?;
    remove(&connection, name).await
}

/// Removes what nobody holds. What is not ours stays.
async fn remove_left_over(keeper: &Connection) -> Result<(), DatabaseError> {
    let held = format!(
        "SELECT objid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND classid::bigint = {LOCKS} AND objsubid = 2"
    );
    // The names first: whoever makes a database has locked its number before.
    let question = format!("SELECT datname FROM pg_catalog.pg_database WHERE datname ~ '^{PREFIX}[0-9a-f]{{8}}$'");
    let names = keeper.rows("look for temporary databases", &question).await?;
    let held = keeper.rows("look who uses temporary databases", &held).await?;
    let held: Vec<u32> = held.iter().filter_map(|row| row.get(0)?.parse().ok()).collect();
    for row in &names {
        let Some(name) = row.get(0) else { continue };
        let number = name.strip_prefix(PREFIX).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if number.is_some_and(|number| !held.contains(&number)) {
            // Another run may be doing the same, or another role may have made it.
            let _ = remove(keeper, name).await;
        }
    }
    Ok(())
}

async fn remove(connection: &Connection, name: &str) -> Result<(), DatabaseError> {
    let what = format!("remove the temporary database {name}");
    let version = connection.value(&what, "SHOW server_version_num").await?;
    let forced = version.and_then(|version| version.parse::<u32>().ok()).is_some_and(|version| version >= 130_000);
    let drop = format!("DROP DATABASE IF EXISTS {}", quoted(name));
    if forced {
        connection.rows(&what, &format!("{drop} WITH (FORCE)")).await?;
    } else {
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = {}",
            literal(name)
        );
        connection.rows(&what, &end).await?;
        connection.rows(&what, &drop).await?;
    }
    Ok(())
}

/// A number that nobody else has, from 0 to 2^31 - 1.
fn number() -> i32 {
    let mut bytes = [0; 4];
    // Without randomness the process has to do: two of one machine have two.
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        bytes = std::process::id().to_be_bytes();
    }
    i32::from_be_bytes(bytes) & i32::MAX
}
