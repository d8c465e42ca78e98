//! What has to hold before an upgrade: every precondition of a policy is looked at, and all of them are told.
//!
//! A precondition that could not be looked at does not hold: an API server that refuses or a kind that does not exist is
//! no evidence. What counts as evidence for each kind, and what only looks like it, is from the status fields of the
//! operators' own types; each file says which.

mod age;
mod cnpg;
mod cron_job;
mod fields;
mod health;
mod job;
mod object;
mod proof;
mod read;
mod velero;
mod volume_snapshot;

use std::cell::RefCell;

use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;

use self::cron_job::Start;
use self::proof::Proof;
use self::read::Reader;
use crate::api::PreconditionSpec;
use crate::domain::policy::Policy;
use crate::domain::text::tame;
use crate::report::{Report, Stage};

/// The step that is reported.
const STEP: &str = "preconditions";
/// The longest message, in characters: what the status of a Platform takes.
const LONGEST: usize = 1000;

/// What was found of one precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name in the policy.
    pub name: String,
    /// Whether it held.
    pub held: bool,
    /// What was found, in one line: why it holds or not, and what to do.
    pub message: String,
    /// When what was found became so, for example when the backup ended.
    pub observed: Option<Timestamp>,
    /// It does not hold, and a run that is no dry run would start what it lacks.
    pub would_run: bool,
}

/// The install that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Where<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its policy.
    pub policy: &'a Policy,
    /// The preconditions of the policy.
    pub spec: &'a [PreconditionSpec],
}

/// Whether a `CronJob` that is stale is run, where the policy says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStale {
    /// It is.
    Yes,
    /// It is only told: a dry run.
    No,
}

/// What looking at a precondition came to.
enum Looked {
    /// It holds or not.
    At(Result<Proof, String>),
    /// It does not hold, for this reason, and starting this may help.
    Stale(String, Box<Start>),
}

/// Looks at every precondition of `install`, and tells each to `report` in the order of the policy, in which they are
/// also given back. `now` is asked when it begins and when what was started has ended.
///
/// Nothing is an error: what could not be looked at does not hold, and says why.
pub async fn evaluate(
    client: &Client,
    install: &Where<'_>,
    now: impl Fn() -> Timestamp,
    run: RunStale,
    report: &mut dyn Report,
) -> Vec<Found> {
    let reader = Reader::new(client, install.namespace);
    let report = RefCell::new(report);
    let say = |stage, message: String| report.borrow_mut().say(STEP, stage, message);
    let at = now();
    let looked = join_all(install.spec.iter().map(|spec| look(&reader, install, spec, at, &say))).await;
    // What can be told is told before anything is waited for.
    let mut found = Vec::new();
    let mut starts = Vec::new();
    for (index, (spec, looked)) in install.spec.iter().zip(looked).enumerate() {
        found.push(match looked {
            Looked::At(proof) => told(spec, proof, false, &say),
            Looked::Stale(reason, start) if run == RunStale::No => {
                let reason = format!("{reason}; {}", start.would());
                told(spec, Err(reason), true, &say)
            }
            Looked::Stale(reason, start) => {
                say(Stage::Progress, format!("{}: {reason}", spec.name));
                starts.push((index, start));
                Found { name: spec.name.clone(), held: false, message: reason, observed: None, would_run: false }
            }
        });
    }
    let (reader, now, say) = (&reader, &now, &say);
    let runs = starts.iter().map(|(index, start)| {
        let name = &install.spec[*index].name;
        async move { start.run(reader, now, &|message| say(Stage::Progress, format!("{name}: {message}"))).await }
    });
    let ran = join_all(runs).await;
    for ((index, _), proof) in starts.iter().zip(ran) {
        found[*index] = told(&install.spec[*index], proof, false, say);
    }
    found
}

/// Tells what was found of a precondition, and gives it back.
fn told(spec: &PreconditionSpec, proof: Result<Proof, String>, would_run: bool, say: &impl Fn(Stage, String)) -> Found {
    let held = proof.is_ok();
    let (message, observed) = match proof {
        Ok(proof) => (proof.message, proof.at),
        Err(reason) => (reason, None),
    };
    let message: String = tame(&message).chars().take(LONGEST).collect();
    let stage = match (held, would_run) {
        (true, _) => Stage::Done,
        (false, true) => Stage::WouldDo,
        (false, false) => Stage::Refused,
    };
    say(stage, format!("{}: {message}", spec.name));
    Found { name: spec.name.clone(), held, message, observed, would_run }
}

async fn look(
    reader: &Reader<'_>,
    install: &Where<'_>,
    spec: &PreconditionSpec,
    now: Timestamp,
    say: &impl Fn(Stage, String),
) -> Looked {
    if let Some(cron_job) = &spec.cron_job {
        return cron_job::look(reader, cron_job, now).await;
    }
    Looked::At(if let Some(object) = &spec.object {
        object::look(reader, object, now).await
    } else if let Some(job) = &spec.job {
        job::look(reader, job, now).await
    } else if let Some(snapshot) = &spec.volume_snapshot {
        volume_snapshot::look(reader, snapshot, now).await
    } else if let Some(backup) = &spec.cnpg_backup {
        cnpg::look_at_backup(reader, backup, now).await
    } else if let Some(cluster) = &spec.cnpg_cluster {
        cnpg::look_at_cluster(reader, cluster).await
    } else if let Some(backup) = &spec.velero_backup {
        velero::look(reader, backup, now).await
    } else if let Some(health) = &spec.health {
        health::look(reader, install.policy, health, &|message| {
            say(Stage::Warning, format!("{}: {message}", spec.name));
        })
        .await
    } else {
        // The schema and the reading of the policy refuse one without a kind.
        Err("says nothing that could be looked at".to_owned())
    })
}

#[cfg(test)]
mod tests;
