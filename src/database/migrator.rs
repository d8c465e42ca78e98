//! The program that migrates: Alembic, or any other, in a process of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

use super::address::Address;

/// What the migrator's connections are called, where its driver asks the environment.
pub const APPLICATION: &str = "upgrade-guard-migration";
/// What our own connections are called.
pub const OWN: &str = "upgrade-guard";
/// How long a program that was asked to end may take for it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The most that is kept of what the program says, in bytes of each stream.
const MOST_OUTPUT: usize = 8 << 20;

/// How to call the program that migrates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrator {
    /// The program with its first arguments: `alembic -c db/alembic.ini`.
    pub command: Vec<String>,
    /// The folder to run it in.
    pub directory: Option<PathBuf>,
    /// The environment variable by which it is told the database.
    pub url_variable: String,
    /// The program `upgrade-guard`, which is put in front so that the migrator goes when this process is killed.
    pub keeper: Option<PathBuf>,
}

/// How long statements may take and wait for locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// How long one statement may wait for a lock.
    pub lock: Duration,
    /// How long one statement may take.
    pub statement: Duration,
}

impl Timeouts {
    /// As libpq takes them in `PGOPTIONS`. With the third a server notices within a second that its client was killed
    /// (`PostgreSQL` 14 and later).
    #[must_use]
    pub fn options(self) -> String {
        let (lock, statement) = (self.lock.as_millis(), self.statement.as_millis());
        format!("-c lock_timeout={lock} -c statement_timeout={statement} -c client_connection_check_interval=1000")
    }
}

/// What a program said, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Whether it ended well.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The last words: what Python programs say after a traceback.
    #[must_use]
    pub fn last_words(&self) -> String {
        let lines = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        let words = lines(&self.err).or_else(|| lines(&self.out)).unwrap_or_else(|| "it said nothing".to_owned());
        match self.code {
            Some(code) => format!("{words} (exit code {code})"),
            None => format!("{words} (ended by a signal)"),
        }
    }
}

/// Why the program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum MigratorError {
    /// There is no such program, or it may not be run.
    #[error(
        "cannot run '{command}': {source}. It has to be in this container: run this in the image that has the migrations"
    )]
    Start {
        /// The program with its arguments.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long, and was stopped.
    #[error("'{command}' was not done within {} s, and was stopped", .after.as_secs())]
    Late {
        /// The program with its arguments.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It was asked to end, did not, and was killed.
    #[error("'{command}' was stopped")]
    Stopped {
        /// The program with its arguments.
        command: String,
    },
    /// It could not be listened to.
    #[error("cannot read what '{command}' says: {source}")]
    Read {
        /// The program with its arguments.
        command: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error: where Alembic tells its progress.
    Err,
}

impl Migrator {
    /// Runs the program with these further arguments, on `database` where one is given, and waits for its end, for at most
    /// `limit`. Each line that it says is given to `heard` at once. Dropped before, it is killed.
    ///
    /// # Errors
    /// When it cannot be run, or not in time. How it ended is for the caller to judge.
    pub async fn run(
        &self,
        arguments: &[&str],
        database: Option<(&Address, Timeouts)>,
        limit: Duration,
        heard: &mut (dyn FnMut(Stream, &str) + Send),
    ) -> Result<Said, MigratorError> {
        self.run_until(arguments, database, limit, heard, std::future::pending()).await
    }

    /// The same, and when `stop` is done the program, and what it started, is asked to end (SIGTERM), and killed when it
    /// does not within [`LAST_WORDS`].
    ///
    /// # Errors
    /// As for [`Migrator::run`], and when it had to be killed.
    pub async fn run_until(
        &self,
        arguments: &[&str],
        database: Option<(&Address, Timeouts)>,
        limit: Duration,
        heard: &mut (dyn FnMut(Stream, &str) + Send),
        stop: impl Future<Output = ()>,
    ) -> Result<Said, MigratorError> {
        let called = self.called(arguments);
        let mut words = self.command.iter().map(String::as_str).chain(arguments.iter().copied());
        let mut command = match &self.keeper {
            Some(keeper) => {
                let mut command = Command::new(keeper);
                command.args(["exec", "--parent", &std::process::id().to_string(), "--"]);
                command
            }
            None => Command::new(words.next().unwrap_or_default()),
        };
        command.args(words).envs(self.environment(database));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let start = |source| MigratorError::Start { command: called.clone(), source };
        // What it starts goes with it: a shell that is killed leaves its programs behind.
        command.process_group(0);
        let mut child = command.spawn().map_err(start)?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(start(std::io::Error::other("its output is not there")));
        };
        let listened = async {
            let (mut out, mut err) = (Lines::new(out), Lines::new(err));
            loop {
                tokio::select! {
                    line = out.next(), if !out.ended => if let Some(line) = line? { heard(Stream::Out, &line) },
                    line = err.next(), if !err.ended => if let Some(line) = line? { heard(Stream::Err, &line) },
                    else => break,
                }
            }
            let code = child.wait().await?.code();
            Ok(Said { code, out: out.text, err: err.text })
        };
        let mut listened = pin!(tokio::time::timeout(limit, listened));
        let ended = tokio::select! {
            ended = &mut listened => ended,
            () = stop => {
                group.signal(Signal::TERM);
                match tokio::time::timeout(LAST_WORDS, listened).await {
                    Ok(ended) => ended,
                    Err(_) => return Err(MigratorError::Stopped { command: called }),
                }
            }
        };
        match ended {
            Ok(said) => {
                group.0 = None;
                said.map_err(|source| MigratorError::Read { command: called, source })
            }
            Err(_) => Err(MigratorError::Late { command: called, after: limit }),
        }
    }

    /// The command as it is told.
    #[must_use]
    pub fn called(&self, arguments: &[&str]) -> String {
        let words = self.command.iter().map(String::as_str).chain(arguments.iter().copied());
        words.collect::<Vec<_>>().join(" ")
    }

    fn environment(&self, database: Option<(&Address, Timeouts)>) -> BTreeMap<String, String> {
        // Python would keep back what it says until its buffer is full.
        let mut environment = BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]);
        if let Some((address, timeouts)) = database {
            environment.extend(address.environment(&self.url_variable));
            environment.insert("PGAPPNAME".to_owned(), APPLICATION.to_owned());
            // What someone set stays; of an option given twice, the last counts.
            let options = environment.get("PGOPTIONS").map(|own| format!("{own} ")).unwrap_or_default();
            environment.insert("PGOPTIONS".to_owned(), options + &timeouts.options());
        }
        environment
    }
}

/// A program and what it started. Dropped before its end is known, all of it is killed.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // One that is gone already needs no signal.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The lines of a stream, as they come. What is no UTF-8 is shown as such.
struct Lines<R> {
    reader: BufReader<R>,
    /// A line that is not whole yet: reading it may be cancelled.
    begun: Vec<u8>,
    text: String,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(stream: R) -> Self {
        Self { reader: BufReader::new(stream), begun: vec![], text: String::new(), ended: false }
    }

    /// The next line; `None` at the end. Cancelled, nothing is lost.
    async fn next(&mut self) -> std::io::Result<Option<String>> {
        self.reader.read_until(b'\n', &mut self.begun).await?;
        let bytes = std::mem::take(&mut self.begun);
        if bytes.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        if self.text.len() + line.len() < MOST_OUTPUT {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        Ok(Some(line))
    }
}
