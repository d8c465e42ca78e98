//! A run of migrations: one at a time, with timeouts that hold, told revision by revision, and judged by what the database
//! says afterwards, not by what the migrator says.

mod judge;
mod progress;
mod secrets;

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::connection::{Connection, DatabaseError};
use super::direct::{self, DirectError, random};
use super::lock::{Lock, LockError};
use super::migrator::{Migrator, MigratorError, OWN, Said, Timeouts};
use super::revision::{self, Noted, RevisionError};
use super::watch::{self, Cancelled, Watch};
use crate::report::{Report, Stage};
use judge::{Left, State};
use progress::Progress;
use secrets::Secrets;

/// How the step is called in what is told.
pub const STEP: &str = "migrations";
/// How often a run that waited too long for a lock, and left nothing behind, is begun again.
const RETRIES: u32 = 3;
/// How long an answer of the database may take.
const ANSWER: Duration = Duration::from_secs(15);
/// How often the database is asked what became of a run: it may be starting again itself.
const ASKED: u32 = 5;

/// Sums up the schema of a database: equal texts, equal schemas. It leaves out where the revision is noted.
pub type Fingerprint = for<'a> fn(&'a Connection, &'a Noted) -> BoxFuture<'a, Result<String, DatabaseError>>;

/// What is to be run, and how.
#[derive(Debug)]
pub struct Errand<'a> {
    /// The program.
    pub migrator: &'a Migrator,
    /// The database.
    pub address: &'a Address,
    /// Where it notes its revision.
    pub noted: &'a Noted,
    /// The arguments of each call of the program, one after the other: `[[upgrade, 4f1c]]` for Alembic, `[[]]` for one
    /// that takes none.
    pub calls: Vec<Vec<String>>,
    /// The revisions that this applies, in their order; empty where that is not known.
    pub steps: Vec<String>,
    /// What the database noted when this was planned: where it notes something else by now, nothing is run.
    pub planned_from: Option<Vec<String>>,
    /// What it has to note afterwards.
    pub expected: Option<Vec<String>>,
    /// What the schema comes to at each revision, as far as that was tried on a copy.
    pub digests: BTreeMap<String, String>,
    /// How schemas are summed up.
    pub fingerprint: Fingerprint,
    /// How long statements may take and wait for locks.
    pub timeouts: Timeouts,
    /// How long to wait for another run.
    pub lock_wait: Duration,
    /// How long one call of the program may take.
    pub limit: Duration,
    /// Cancelled, the program is stopped; see [`on_signals`].
    pub stop: CancellationToken,
    /// How often to look, and how long to wait before it is tried again.
    pub pace: Pace,
}

/// How often to look, and how long to wait before it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time between two looks at the statements of the migrator.
    pub watch: Duration,
    /// The time before a run is begun again; it grows with each, and is spread by half.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { watch: watch::PACE, retry: Duration::from_secs(5) }
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it came to.
    pub outcome: Outcome,
    /// What the database noted before.
    pub before: Vec<String>,
    /// What it notes now.
    pub after: Vec<String>,
    /// The revisions in between, in their order, as far as they are known.
    pub applied: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// The indexes that are invalid now and were not before, or were not there.
    pub invalid_indexes: Vec<String>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The database is where it should be.
    Migrated,
    /// It was there already; the program was not started, or changed nothing.
    NothingToDo,
    /// Another run is at work: try again later.
    Busy {
        /// Who has the lock.
        message: String,
    },
    /// It failed, and what is there is whole: as it was before, or as at a revision on the way, which the message names.
    Undone {
        /// Why, and where the database is.
        message: String,
    },
    /// It failed, and something is there that belongs to no revision, or that cannot be told.
    HalfWay {
        /// Why, and what is known of it.
        message: String,
        /// What to do now.
        remedy: String,
    },
}

/// Why nothing was run, or why it is not known what came of it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The URL leads to a pooler.
    #[error(transparent)]
    Direct(#[from] DirectError),
    /// The database does not answer, or refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The revision could not be read.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// The program cannot be started.
    #[error(transparent)]
    Migrator(MigratorError),
    /// The database notes something else than when this was planned.
    #[error(
        "the database was at {} when this was planned and checked, and is at {} now: someone else migrates it. Run this again",
        named(planned),
        named(found)
    )]
    Moved {
        /// What it noted.
        planned: Vec<String>,
        /// What it notes.
        found: Vec<String>,
    },
    /// The program was run, and the database does not say what it did.
    #[error(
        "{why}; what became of the database cannot be told: {source}. Run this again when it answers: it looks at the \
         revision first"
    )]
    Unknown {
        /// How the program ended.
        why: String,
        /// Why the database does not say.
        source: Box<Self>,
    },
}

/// Runs it. The steps: nothing to do, no lock; the URL leads to the server itself; the lock; the revision once more; the
/// program, watched and told; what the database says then.
///
/// # Errors
/// When nothing was run, or it is not known what came of it. A run that failed is no error, but an [`Outcome`].
pub async fn run(errand: &Errand<'_>, report: &mut dyn Report) -> Result<Ended, RunError> {
    let began = Instant::now();
    let url = errand.address.url();
    let noted = revision::revision(url, errand.noted, ANSWER).await?.heads();
    if errand.reached(&noted) {
        return Ok(Ended::nothing(noted, began));
    }
    direct::check(url, &errand.migrator.url_variable, ANSWER).await?;
    let mut told = |text| report.say(STEP, Stage::Progress, text);
    let lock = match Lock::take(url, errand.noted, errand.lock_wait, &mut told).await {
        Ok(lock) => lock,
        Err(LockError::Database(error)) => return Err(error.into()),
        Err(busy) => {
            let outcome = Outcome::Busy { message: busy.to_string() };
            return Ok(Ended { outcome, ..Ended::nothing(noted, began) });
        }
    };
    let before = errand.state().await?;
    if errand.reached(&before.heads) {
        report.say(STEP, Stage::Progress, format!("another run migrated it meanwhile: {}", named(&before.heads)));
        return Ok(Ended::nothing(before.heads, began));
    }
    if let Some(planned) = errand.planned_from.as_ref().filter(|planned| !same(planned, &before.heads)) {
        return Err(RunError::Moved { planned: planned.clone(), found: before.heads });
    }
    if let Some(problem) = before.drift(&errand.digests) {
        report.say(STEP, Stage::Warning, problem);
    }
    for index in &before.invalid {
        report.say(STEP, Stage::Warning, format!("index {index} is invalid already: a concurrent build failed once"));
    }
    let mut at_work =
        Work { errand, secrets: Secrets::of(errand.address, &errand.migrator.url_variable), lock, report };
    at_work.tried(&before, began).await
}

/// The token that SIGTERM and SIGINT cancel, from now on.
///
/// # Errors
/// When the operating system refuses.
pub fn on_signals() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        cancelled.cancel();
    });
    Ok(token)
}

impl Errand<'_> {
    /// Whether the database is where it should be.
    fn reached(&self, heads: &[String]) -> bool {
        self.expected.as_ref().is_some_and(|expected| same(expected, heads))
    }

    /// What the database says of itself.
    async fn state(&self) -> Result<State, RunError> {
        let connection = Connection::open(self.address.url(), OWN, ANSWER).await?;
        let heads = revision::read(&connection, self.noted).await?.heads();
        let digest = (self.fingerprint)(&connection, self.noted).await?;
        let invalid = judge::invalid_indexes(&connection).await?;
        Ok(State { heads, digest, invalid })
    }

    /// The same after a run, also when the database has to come back first.
    async fn state_after(&self) -> Result<State, RunError> {
        let mut asked = 1;
        loop {
            match self.state().await {
                Err(_) if asked < ASKED => tokio::time::sleep(Duration::from_secs(1)).await,
                answer => return answer,
            }
            asked += 1;
        }
    }
}

impl Ended {
    fn nothing(heads: Vec<String>, began: Instant) -> Self {
        Self {
            outcome: Outcome::NothingToDo,
            before: heads.clone(),
            after: heads,
            applied: vec![],
            took: began.elapsed(),
            invalid_indexes: vec![],
        }
    }
}

/// How all calls of the program ended.
struct Attempt {
    /// Why it failed; `None` when it did not.
    failed: Option<String>,
    /// Whether it waited too long for a lock.
    locked: bool,
    /// Whether it was stopped, and will not be begun again.
    stopped: bool,
    /// The revisions that it told of, in their order.
    told: Vec<String>,
    /// The database's part could not be ended.
    unsettled: Option<DatabaseError>,
}

/// What comes from a run while it goes on.
enum Heard {
    Line(String),
    Cancelled(Cancelled),
}

struct Work<'a, 'r> {
    errand: &'a Errand<'a>,
    secrets: Secrets,
    lock: Lock,
    report: &'r mut dyn Report,
}

impl Work<'_, '_> {
    /// Tries it, again where a lock was waited for in vain and nothing was left behind, and judges what came of it.
    async fn tried(&mut self, before: &State, began: Instant) -> Result<Ended, RunError> {
        let mut retries = 0;
        loop {
            let attempt = self.attempt().await?;
            let why = attempt.failed.clone().unwrap_or_else(|| "the migrator ended well".to_owned());
            if let Some(source) = attempt.unsettled {
                return Err(RunError::Unknown { why, source: Box::new(source.into()) });
            }
            let after = self.errand.state_after().await;
            let after = after.map_err(|source| RunError::Unknown { why: why.clone(), source: Box::new(source) })?;
            let left = judge::left(before, &after, &self.errand.digests);
            if attempt.locked && !attempt.stopped && left == Left::Nothing && retries < RETRIES {
                retries += 1;
                if self.pause(&why, retries).await {
                    continue;
                }
            }
            let outcome = self.outcome(&attempt, before, &after, &left);
            let invalid = after.invalid.iter().filter(|index| !before.invalid.contains(index));
            let invalid_indexes: Vec<String> = invalid.cloned().collect();
            for index in &invalid_indexes {
                let text =
                    format!("index {index} is invalid: its concurrent build failed, and IF NOT EXISTS would skip it");
                self.report.say(STEP, Stage::Warning, text);
            }
            return Ok(Ended {
                outcome,
                applied: judge::applied(&self.errand.steps, &attempt.told, &before.heads, &after.heads),
                before: before.heads.clone(),
                after: after.heads,
                took: began.elapsed(),
                invalid_indexes,
            });
        }
    }

    /// Waits before the next attempt; false when it is told to stop, or the lock is lost.
    async fn pause(&mut self, why: &str, retry: u32) -> bool {
        let base = self.errand.pace.retry * retry;
        // Two that wait for each other must not meet again at the same time.
        let spread =
            base.mul_f64(f64::from(u32::try_from(random() >> 32).unwrap_or_default()) / f64::from(u32::MAX) / 2.0);
        let text = format!("{why}: nothing is left behind, it is tried again ({retry} of {RETRIES})");
        self.report.say(STEP, Stage::Warning, text);
        tokio::select! {
            () = tokio::time::sleep(base + spread) => self.lock.still_held().await.is_ok(),
            () = self.errand.stop.cancelled() => false,
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, RunError> {
        let errand = self.errand;
        let own = [self.lock.process()];
        let mut watch = Watch::open(errand.address.url(), errand.timeouts, errand.pace.watch, &own).await?;
        let mut progress = Progress::new(&errand.steps);
        let mut attempt = Attempt { failed: None, locked: false, stopped: false, told: vec![], unsettled: None };
        for call in &errand.calls {
            self.call(call, &mut watch, &mut progress, &mut attempt).await?;
            if attempt.failed.is_some() {
                break;
            }
        }
        attempt.unsettled = watch.settle(attempt.stopped).await.err();
        attempt.told = progress.revisions;
        Ok(attempt)
    }

    /// One call of the program, watched and told.
    async fn call(
        &mut self,
        call: &[String],
        watch: &mut Watch,
        progress: &mut Progress<'_>,
        attempt: &mut Attempt,
    ) -> Result<(), RunError> {
        let errand = self.errand;
        let arguments: Vec<&str> = call.iter().map(String::as_str).collect();
        let called = self.secrets.masked(&errand.migrator.called(&arguments));
        let (heard, mut news) = unbounded_channel();
        let mut cancelled: Option<Cancelled> = None;
        let mut stopped = None;
        let said = {
            let stop = async { stopped = Some(stop(errand, &self.lock, watch, &heard).await) };
            let mut line = |_, line: &str| drop(heard.send(Heard::Line(line.to_owned())));
            let database = Some((errand.address, errand.timeouts));
            let mut running = pin!(errand.migrator.run_until(&arguments, database, errand.limit, &mut line, stop));
            let mut tell = |heard| match heard {
                Heard::Line(line) => progress.line(&line, &self.secrets, self.report),
                Heard::Cancelled(what) => {
                    self.report.say(STEP, Stage::Warning, format!("cancelled: it {}", what.message));
                    cancelled = Some(what);
                }
            };
            let said = loop {
                tokio::select! {
                    biased;
                    Some(heard) = news.recv() => tell(heard),
                    said = &mut running => break said,
                }
            };
            while let Ok(heard) = news.try_recv() {
                tell(heard);
            }
            said
        };
        attempt.stopped =
            stopped.is_some() || matches!(said, Err(MigratorError::Late { .. } | MigratorError::Read { .. }));
        let why = match (stopped, said) {
            (_, Err(error @ MigratorError::Start { .. })) => return Err(RunError::Migrator(error)),
            (Some(why), _) => Some(format!("'{called}' was stopped: {why}")),
            (None, Ok(said)) if said.ok() => None,
            (None, Ok(said)) => {
                attempt.locked =
                    cancelled.as_ref().is_some_and(|cancelled| cancelled.lock) || progress::lock_timeout(&said);
                progress::tail(&said, &self.secrets, self.report);
                Some(format!("'{called}' failed: {}", self.why(&said, cancelled.as_ref())))
            }
            (None, Err(error)) => Some(self.secrets.masked(&error.to_string())),
        };
        attempt.failed = why;
        Ok(())
    }

    fn why(&self, said: &Said, cancelled: Option<&Cancelled>) -> String {
        let why = match cancelled {
            Some(cancelled) => format!("it {}", cancelled.message),
            None => progress::why(said),
        };
        let place = progress::place(&said.err).map(|place| format!(" (at {place})")).unwrap_or_default();
        self.secrets.masked(&format!("{why}{place}"))
    }

    fn outcome(&self, attempt: &Attempt, before: &State, after: &State, left: &Left) -> Outcome {
        let errand = self.errand;
        let changed = !same(&before.heads, &after.heads) || before.digest != after.digest;
        let why = match &attempt.failed {
            Some(why) => why.clone(),
            None if errand.expected.is_none() && changed => return Outcome::Migrated,
            None if errand.expected.is_none() => return Outcome::NothingToDo,
            None if errand.reached(&after.heads) => return Outcome::Migrated,
            None => format!(
                "'{}' ended well, but {} was expected. Does it read the database from {}, and is this the image of the new version?",
                errand.migrator.called(&[]),
                named(errand.expected.as_deref().unwrap_or_default()),
                errand.migrator.url_variable
            ),
        };
        let mut outcome = judge::outcome(&why, before, after, left, attempt.told.last().map(String::as_str));
        if let (Outcome::Undone { message }, Some(problem)) = (&mut outcome, before.drift(&errand.digests)) {
            message.push_str("; ");
            message.push_str(&problem);
        }
        outcome
    }
}

/// Ends when the program has to be stopped, and says why.
async fn stop(errand: &Errand<'_>, lock: &Lock, watch: &mut Watch, heard: &UnboundedSender<Heard>) -> String {
    tokio::select! {
        lost = lock.lost() => lost.to_string(),
        gone = watch.guard(|cancelled| drop(heard.send(Heard::Cancelled(cancelled)))) => {
            format!("its timeouts can be held no more: {gone}")
        }
        () = errand.stop.cancelled() => "this run was told to stop".to_owned(),
    }
}

/// Whether these are the same revisions, in any order.
fn same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|revision| other.contains(revision))
}

fn named(heads: &[String]) -> String {
    if heads.is_empty() { "no revision".to_owned() } else { heads.join(", ") }
}
