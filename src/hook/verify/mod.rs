//! After an upgrade: whether everything is as it should be.
//!
//! [`judge`] says so of what was seen at one moment and asks nothing itself; [`until_verified`] looks again until it
//! holds, and until restarts were watched for long enough; [`record`] leaves it on the `Platform`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use self::judge::Restarts;
use super::http::Checked;
use crate::cluster::pod::PodState;
use crate::database::revision::{Revision, RevisionError};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::Version;
use crate::domain::view::View;
use crate::report::{Report, Stage};

pub mod judge;
pub mod record;
mod table;

pub use judge::{Wanted, judge};
pub use table::{Check, Row, Standing, Table};

/// The time between two looks.
const BETWEEN: Duration = Duration::from_secs(2);

/// What was seen of an install at one moment.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The rules.
    pub policy: Policy,
    /// Its workloads.
    pub view: View,
    /// Its pods.
    pub pods: Vec<PodState>,
    /// What it should be.
    pub wanted: Wanted,
    /// What came of the HTTP checks.
    pub http: Vec<Checked>,
    /// What the database said.
    pub schema: Schema,
}

/// What is known of the database's revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Nobody asked for one.
    NotWanted,
    /// It was not looked at, because someone said so.
    Skipped,
    /// It could not be looked at, for this.
    NotLooked(String),
    /// What the database said.
    Read(Result<Revision, RevisionError>),
}

/// How often and how long to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long restarts are watched; with zero one look is all.
    pub settle: Duration,
    /// How long to go on until all holds; `None` says what is found at once.
    pub patience: Option<Duration>,
}

/// What looking came to.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Each check.
    pub table: Table,
    /// What it was judged by.
    pub sight: Sight,
}

/// Looks by `look` until all holds or `pace` says that it is enough, and judges what was seen last.
///
/// # Errors
/// Why the last look saw nothing.
pub async fn until_verified(
    look: impl AsyncFn() -> Result<Sight, String>,
    pace: Pace,
    report: &mut dyn Report,
) -> Result<Verified, String> {
    let began = Instant::now();
    let deadline = pace.patience.map(|patience| began + patience);
    let mut baseline: Option<Baseline> = None;
    let mut told = String::new();
    let mut last = Err("the deadline passed before anything was seen".to_owned());
    loop {
        let seen = match deadline {
            // A look that the deadline ends says nothing new.
            Some(deadline) => match timeout_at(deadline, look()).await {
                Ok(seen) => seen,
                Err(_) => return last,
            },
            None => look().await,
        };
        let (waits_for, pause) = match judged(seen, &mut baseline, pace) {
            Step::End(end) => return end,
            Step::Again { found, waits_for, pause } => {
                last = found;
                (waits_for, pause)
            }
        };
        if waits_for != told {
            report.say("verify", Stage::Progress, format!("waiting: {waits_for}"));
            told = waits_for;
        }
        if deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
            return last;
        }
        sleep(pause).await;
    }
}

/// What comes after a look.
enum Step {
    /// Nothing.
    End(Result<Verified, String>),
    /// Another one.
    Again {
        /// What counts when no other look comes to an end: what was seen before may no longer be so.
        found: Result<Verified, String>,
        waits_for: String,
        pause: Duration,
    },
}

fn judged(seen: Result<Sight, String>, baseline: &mut Option<Baseline>, pace: Pace) -> Step {
    let waiting = pace.patience.is_some();
    let sight = match seen {
        Ok(sight) => sight,
        Err(error) if waiting => {
            *baseline = None;
            return Step::Again { waits_for: error.clone(), found: Err(error), pause: BETWEEN };
        }
        Err(error) => return Step::End(Err(error)),
    };
    let restarts = restarts(baseline, &sight, pace);
    let table = judge(&sight, &restarts);
    let pause = match restarts {
        // One look decides, and then one more.
        Restarts::Watching(left) if !waiting => left,
        Restarts::Watching(left) if table.holds_but_restarts() => left.min(BETWEEN),
        _ if table.holds() || !waiting => return Step::End(Ok(Verified { table, sight })),
        _ => BETWEEN,
    };
    Step::Again { waits_for: table.waits_for(), found: Ok(Verified { table, sight }), pause }
}

/// The look that later ones are compared with.
struct Baseline {
    at: Instant,
    /// Restarts of each pod, by its uid.
    restarts: BTreeMap<String, i64>,
}

impl Baseline {
    fn of(sight: &Sight) -> Self {
        let restarts = sight.pods.iter().map(|pod| (pod.uid.clone(), pod.restarts())).collect();
        Self { at: Instant::now(), restarts }
    }

    fn has_the_pods_of(&self, sight: &Sight) -> bool {
        let now: BTreeSet<&String> = sight.pods.iter().map(|pod| &pod.uid).collect();
        self.restarts.keys().collect::<BTreeSet<_>>() == now
    }
}

/// What can be said of restarts. While one waits, pods are watched from when everything else holds and none is new: a
/// pod that has just started had no time to fall.
fn restarts(baseline: &mut Option<Baseline>, sight: &Sight, pace: Pace) -> Restarts {
    if pace.settle.is_zero() {
        return Restarts::OneLook;
    }
    let waiting = pace.patience.is_some();
    if waiting && !judge(sight, &Restarts::OneLook).holds() {
        *baseline = None;
        return Restarts::Watching(pace.settle);
    }
    let Some(known) = baseline.as_ref().filter(|known| !waiting || known.has_the_pods_of(sight)) else {
        *baseline = Some(Baseline::of(sight));
        return Restarts::Watching(pace.settle);
    };
    let elapsed = known.at.elapsed();
    if elapsed < pace.settle {
        return Restarts::Watching(pace.settle.saturating_sub(elapsed));
    }
    let compared = Restarts::Since { before: known.restarts.clone(), watched: pace.settle };
    let rose = compared.rose(&sight.pods);
    if rose {
        // They have to stay as they are for the whole time.
        *baseline = Some(Baseline::of(sight));
    }
    compared
}

/// The versions that a component's workloads ask for, also where the guard holds them back.
#[must_use]
pub fn asked(view: &View, id: ComponentId) -> BTreeSet<&Version> {
    let workloads = view.component(id).workloads.iter();
    workloads.flat_map(|workload| workload.held_from().unwrap_or(&workload.desired)).collect()
}

#[cfg(test)]
mod tests;
