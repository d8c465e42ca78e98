//! Runs what was looked at.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::look::{Outlook, counted};
use super::settings::Settings;
use crate::api::MigrationOutcome;
use crate::database::catalog;
use crate::database::plan::Plan;
use crate::database::run::{self, Outcome, RunError};
use crate::hook::Exit;
use crate::report::{Report, Stage};

use super::record::Ended;

/// What the step is called.
pub const STEP: &str = "migrations";

/// What a run came to, and what the `Platform` is told of it. `None` of that when it is not known what became of the
/// database: the next run finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code.
    pub exit: Exit,
    /// For the ledger.
    pub ended: Option<Ended>,
    /// In one line.
    pub message: String,
}

/// Runs `plan`, which `outlook` was made for, for at most `limit`, or until `stop` is cancelled. Progress is told.
pub async fn run(
    settings: &Settings,
    outlook: &Outlook,
    plan: &Plan,
    limit: Duration,
    stop: CancellationToken,
    report: &mut dyn Report,
) -> Ran {
    let calls = if settings.alembic {
        plan.to.iter().map(|to| vec!["upgrade".to_owned(), to.clone()]).collect()
    } else {
        vec![vec![]]
    };
    Run { settings, outlook, plan, calls, done: "applied" }.run(limit, stop, report).await
}

/// Undoes revisions until the database is at the revision that `plan` goes to.
pub async fn downgrade(
    settings: &Settings,
    plan: &Plan,
    limit: Duration,
    stop: CancellationToken,
    report: &mut dyn Report,
) -> Ran {
    let to = plan.to.first().map_or("base", String::as_str);
    let calls = vec![vec!["downgrade".to_owned(), to.to_owned()]];
    Run { settings, outlook: &Outlook::default(), plan, calls, done: "undone" }.run(limit, stop, report).await
}

/// What is run, and what the revisions are then.
struct Run<'a> {
    settings: &'a Settings,
    outlook: &'a Outlook,
    plan: &'a Plan,
    calls: Vec<Vec<String>>,
    done: &'static str,
}

impl Run<'_> {
    async fn run(self, limit: Duration, stop: CancellationToken, report: &mut dyn Report) -> Ran {
        let Self { settings, outlook, plan, calls, done } = self;
        let errand = run::Errand {
            migrator: &settings.migrator,
            address: &settings.address,
            noted: &settings.noted,
            calls,
            steps: plan.steps.clone(),
            planned_from: Some(plan.from.clone()),
            expected: (settings.alembic || !plan.to.is_empty()).then(|| plan.to.clone()),
            digests: outlook.tried.digests.clone(),
            fingerprint: |connection, noted| Box::pin(async { Ok(catalog::read(connection, noted).await?.digest()) }),
            timeouts: settings.timeouts,
            lock_wait: settings.lock_wait,
            limit,
            stop,
            pace: run::Pace::default(),
        };
        match run::run(&errand, report).await {
            Ok(ended) => judged(ended, !plan.stops.is_empty(), done, report),
            Err(error) => {
                let exit = if matches!(error, RunError::Moved { .. }) { Exit::Busy } else { Exit::CouldNot };
                report.say(STEP, Stage::Failed, error.to_string());
                Ran { exit, ended: None, message: error.to_string() }
            }
        }
    }
}

fn judged(ended: run::Ended, stopped: bool, verb: &str, report: &mut dyn Report) -> Ran {
    let at = if ended.after.is_empty() { "no revision".to_owned() } else { ended.after.join(", ") };
    let seconds = ended.took.as_secs_f32();
    let idle = ended.outcome == Outcome::NothingToDo;
    let done = if stopped { MigrationOutcome::Stopped } else { MigrationOutcome::Migrated };
    let (exit, stage, outcome, message) = match ended.outcome {
        Outcome::Migrated => {
            let count = counted(ended.applied.len());
            let message = format!("the database is at {at}: {count} {verb} in {seconds:.1} s");
            (Exit::Done, Stage::Done, done, message)
        }
        Outcome::NothingToDo => (Exit::Done, Stage::Done, done, format!("the database is at {at} already")),
        Outcome::Busy { message } => {
            report.say(STEP, Stage::Failed, message.clone());
            return Ran { exit: Exit::Busy, ended: None, message };
        }
        Outcome::Undone { message } => (Exit::MigrationUndone, Stage::Failed, MigrationOutcome::Undone, message),
        Outcome::HalfWay { message, remedy } => {
            let message = format!("{message}. Now {remedy}");
            (Exit::MigrationHalfWay, Stage::Failed, MigrationOutcome::HalfWay, message)
        }
    };
    for index in &ended.invalid_indexes {
        let message = format!("index {index} is invalid: build it again by REINDEX INDEX CONCURRENTLY {index}");
        report.say(STEP, Stage::Warning, message);
    }
    report.say(STEP, stage, message.clone());
    Ran { exit, ended: Some(Ended { outcome, message: message.clone(), after: ended.after, idle }), message }
}
