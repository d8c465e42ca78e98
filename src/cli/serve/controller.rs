//! The controller inside of `serve`: who this replica is, where its Lease is, and what is told to the metrics.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::admission::{Judged, Outcome};
use crate::api::{MigrationOutcome, PlatformIntent, PlatformMigration, PlatformStatus};
use crate::cluster::index::SharedIndex;
use crate::controller::events::Events;
use crate::controller::lease::{Candidate, LeaseOptions, RELEASE_TIMEOUT};
use crate::controller::recorder::{Heard, Notice, Recorder, recorder};
use crate::controller::revision::Databases;
use crate::controller::run::Controller;
use crate::controller::skew::SkewLines;
use crate::controller::{Install, Observer};
use crate::domain::decision::Reason;
use crate::server::metrics::{self, Metrics};

/// The namespace of the Lease when nothing tells the guard's own.
const DEFAULT_NAMESPACE: &str = "upgrade-guard";
/// Where a pod reads its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The longest names of hosts that are kept: an Event takes 128 characters for who reports it.
const LONGEST_HOST: usize = 63;

/// Starts the controller and the recorder; gives what reviews leave their notices with, and what ends a while after
/// `leaving` does, when the Lease is released.
pub(super) fn start(
    (client, index): (&kube::Client, &SharedIndex),
    metrics: &Metrics,
    (lease, databases): (Duration, Option<Databases>),
    leaving: &CancellationToken,
) -> (Recorder, BoxFuture<'static, ()>) {
    let observer: Arc<dyn Observer> = Arc::new(Told(metrics.clone()));
    let options = LeaseOptions::new(namespace(), identity(), lease);
    let events = Events::new(client.clone(), &options.identity);
    let (recorder, writer) = recorder(client.clone(), index.clone(), events.clone(), Arc::clone(&observer));
    // It ends with the process: what was answered during the end is recorded too.
    tokio::spawn(writer.run());

    let controller = Controller::new(client.clone(), index.clone(), events, Arc::clone(&observer)).reading(databases);
    let (client, leaving) = (client.clone(), leaving.clone());
    let running = tokio::spawn(async move {
        let work = || {
            let controller = controller.clone();
            async move { controller.run().await }
        };
        Candidate::new(client, options).lead(&leaving, |leads| observer.leads(leads), work).await;
    });
    let ended = async move {
        let limit = RELEASE_TIMEOUT + Duration::from_secs(1);
        if tokio::time::timeout(limit, running).await.is_err() {
            tracing::warn!("the controller did not end in time");
        }
    };
    (recorder, ended.boxed())
}

/// Who this replica is: the name of its host, which is its pod's, and something that no other process has.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    let host: String = host.as_deref().unwrap_or("upgrade-guard").chars().take(LONGEST_HOST).collect();
    // The keys of each `RandomState` are random.
    format!("{host}-{:08x}", RandomState::new().build_hasher().finish() & 0xffff_ffff)
}

/// The namespace that the guard runs in.
pub(super) fn namespace() -> String {
    let stated = std::env::var("POD_NAMESPACE").ok();
    let stated = stated.or_else(|| std::fs::read_to_string(NAMESPACE_FILE).ok());
    let stated = stated.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    stated.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

/// What is to be recorded of an answer: nothing of a dry run.
pub(super) fn notices(judged: &Judged<'_>) -> impl Iterator<Item = Notice> {
    let decision = judged.decision;
    let (refused, warned, audited) = match (judged.dry_run, judged.outcome) {
        (true, _) => (&[][..], &[][..], &[][..]),
        (false, Outcome::Refused) => (&decision.reasons[..], &[][..], &decision.audits[..]),
        (false, Outcome::Allowed | Outcome::Held) => (&[][..], &decision.warnings[..], &decision.audits[..]),
    };
    let heard = [(Heard::Refused, refused), (Heard::Warned, warned), (Heard::Audited, audited)];
    heard.into_iter().flat_map(move |(heard, reasons)| {
        judged.changes.iter().filter_map(move |(policy, change)| {
            // A decision does not tell which policy a reason is of; its component does.
            let of_policy = |reason: &&Reason| policy.component_named(&reason.component).is_some();
            let reasons: Vec<Reason> = reasons.iter().filter(of_policy).cloned().collect();
            (!reasons.is_empty()).then(|| Notice {
                install: Install { namespace: judged.namespace.to_owned(), policy: policy.name.clone() },
                workload: change.workload.clone(),
                heard,
                denial: if heard == Heard::Refused { decision.denial() } else { String::new() },
                reasons,
            })
        })
    })
}

/// Tells the metrics what the controller does.
struct Told(Metrics);

impl Observer for Told {
    fn leads(&self, leads: bool) {
        self.0.leader(leads);
    }

    fn reconciled(&self, elapsed: Duration, failed: bool) {
        self.0.reconciled(elapsed, failed);
    }

    fn wrote(&self) {
        self.0.platform_write();
    }

    fn lost_races(&self, times: usize) {
        self.0.lost_races(u64::try_from(times).unwrap_or(u64::MAX));
    }

    fn install(&self, install: &Install, status: &PlatformStatus, skew: &[SkewLines]) {
        let running = status.components.iter().flat_map(|component| {
            component
                .running
                .iter()
                .map(|running| (component.name.as_str(), running.version.as_str(), i64::from(running.pods)))
        });
        let overridden = |intent: &&PlatformIntent| intent.overridden.is_some();
        let count = |found: usize| i64::try_from(found).unwrap_or(i64::MAX);
        self.0.installs().set(&metrics::Install {
            namespace: &install.namespace,
            policy: &install.policy,
            pods: running.collect(),
            skew: skew.iter().map(skew_of).collect(),
            blocked: earliest(status),
            held: status.components.iter().map(|component| (component.name.as_str(), component.held)).collect(),
            overrides: count(status.intents.iter().filter(overridden).count()),
            intents: count(status.intents.len()),
            schema_observed: (status.database.as_ref())
                .and_then(|database| Some(database.observed.as_ref()?.0.as_second())),
            conditions: status.conditions.iter().map(|one| (one.type_.as_str(), one.status == "True")).collect(),
            // Newest first.
            migration: status.database.as_ref().and_then(|database| database.migrations.first()).map(migration),
        });
    }

    fn gone(&self, install: &Install) {
        self.0.installs().forget(&install.namespace, &install.policy);
    }

    fn dropped(&self) {
        self.0.recorder_dropped();
    }
}

fn skew_of(pair: &SkewLines) -> metrics::SkewOf<'_> {
    let SkewLines { component, peer, behind, left } = pair;
    metrics::SkewOf { component, peer, behind: *behind, left: *left }
}

fn migration(run: &PlatformMigration) -> metrics::Migration {
    let state = match run.outcome {
        MigrationOutcome::Running => "Running",
        MigrationOutcome::Migrated => "Migrated",
        MigrationOutcome::Stopped => "Stopped",
        MigrationOutcome::Undone => "Undone",
        MigrationOutcome::HalfWay => "HalfWay",
    };
    metrics::Migration { state, started: run.started.0.as_second() }
}

/// Since when each rule stands in the way of each component: several changes may be blocked by one.
fn earliest(status: &PlatformStatus) -> Vec<(&str, &str, i64)> {
    let mut found = std::collections::BTreeMap::new();
    for block in &status.blocked {
        let since = block.since.0.as_second();
        let known = found.entry((block.component.as_str(), block.rule.as_str())).or_insert(since);
        *known = since.min(*known);
    }
    found.into_iter().map(|((component, rule), since)| (component, rule, since)).collect()
}
