//! `upgrade-guard serve`: the webhook and the controller.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

use super::{Outcome, Output};
use crate::admission::{Admission, Cluster, Judged, Observer};
use crate::cluster::files::Source;
use crate::cluster::fresh::{Calls, Fresh};
use crate::cluster::index::SharedIndex;
use crate::cluster::watch::{self, WatchObserver};
use crate::controller::lease::LEASE_DURATION;
use crate::controller::recorder::Recorder;
use crate::controller::revision::Databases;
use crate::crds::content;
use crate::domain::decision::Reason;
use crate::server::metrics::{Metrics, Review};
use crate::server::readiness::{Gate, Readiness};
use crate::server::shutdown::{Ended, Phases, signals};
use crate::server::{Server, ServerOptions};

mod certificates;
mod cluster;
mod controller;
mod panics;

use cluster::{ManifestCluster, WatchedCluster};

/// The client has no read timeout of its own; a quiet watch ends after 290 seconds by itself.
const API_READ_TIMEOUT: Duration = Duration::from_mins(5);

/// Answer the API server's reviews, and keep the Platform of each install.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to answer reviews over HTTPS.
    #[arg(long, default_value = "[::]:9443", env = "UPGRADE_GUARD_LISTEN")]
    listen: SocketAddr,

    /// Where to answer /livez, /readyz and /metrics over plain HTTP.
    #[arg(long, default_value = "[::]:9080", env = "UPGRADE_GUARD_OPS_LISTEN")]
    ops_listen: SocketAddr,

    #[command(flatten)]
    certificates: certificates::Flags,

    /// Read the cluster from manifests instead of from Kubernetes. They are read again for each review.
    #[arg(long, value_name = "PATH")]
    cluster_from: Option<PathBuf>,

    /// A folder with the URLs of databases whose revision is read again and again, such as a mounted Secret: files named
    /// NAMESPACE or NAMESPACE.POLICY. A role that may read the table of revisions is enough.
    #[arg(long, value_name = "DIR", env = "UPGRADE_GUARD_DATABASES", conflicts_with = "cluster_from")]
    databases: Option<PathBuf>,

    /// How often each database is read.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, hide = true,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    databases_every: u64,

    /// How many seconds to go on accepting connections after the first signal to end, until nobody is sent here.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    leave_after: u64,

    /// How long other replicas wait for one that leads and says nothing.
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE_DURATION.as_secs(), hide = true,
        value_parser = clap::value_parser!(u64).range(2..=3600))]
    lease_seconds: u64,

    /// How the log on standard error is written; what is in it is set by `RUST_LOG`.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    start_log(args.log_format);
    panics::end_the_process();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    match runtime.block_on(serve(args, out))? {
        Ended::Drained => Ok(Outcome::Done),
        Ended::DeadlinePassed => bail!("the end took too long: connections were cut"),
        Ended::Aborted => bail!("aborted by a second signal"),
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

async fn serve(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Ended> {
    let (readiness, metrics) = (Readiness::new(), Metrics::new());
    let mut options = ServerOptions::new(args.listen, args.ops_listen, args.certificates.source());
    options.shutdown.propagation_delay = Duration::from_secs(args.leave_after);
    let server = Server::bind(options, readiness.clone(), metrics.clone()).await?;
    let signals = signals().context("cannot listen for signals")?;
    // One line for whoever started this with port 0.
    writeln!(out, "listening https={} ops={}", server.https_address(), server.ops_address())?;
    out.flush()?;

    let phases = server.phases();
    let parts = match &args.cluster_from {
        Some(path) => from_manifests(path, metrics)?,
        None => from_kubernetes(args, &server, metrics, &readiness, &phases).await?,
    };
    let router = Admission::new(parts.cluster, parts.observer).router();
    let ended = tokio::select! {
        ended = server.serve(router, signals) => ended,
        error = parts.feed => return Err(error.context("the cluster view has ended")),
    };
    // It began to end with the first signal, so this rarely waits, and never for long.
    parts.background.await;
    Ok(ended)
}

/// What keeps the cluster view fresh; it only ends when it fails.
type Feed = BoxFuture<'static, anyhow::Error>;

/// What the webhook needs, and what runs beside it.
struct Parts {
    cluster: Arc<dyn Cluster>,
    feed: Feed,
    observer: Arc<Told>,
    /// Ends a while after the first signal to end.
    background: BoxFuture<'static, ()>,
}

fn from_manifests(path: &Path, metrics: Metrics) -> anyhow::Result<Parts> {
    let files = ManifestCluster { source: Source::Path(path.to_owned()) };
    files.load().map_err(anyhow::Error::msg)?;
    let observer = Arc::new(Told { metrics, gates: Mutex::default(), recorder: None });
    let (feed, background) = (futures::future::pending().boxed(), futures::future::ready(()).boxed());
    Ok(Parts { cluster: Arc::new(files), feed, observer, background })
}

/// `url` with the port that was bound in place of port 0.
fn with_port(url: &str, bound: u16) -> String {
    let plain = url.trim_end_matches('/');
    plain.strip_suffix(":0").map_or_else(|| url.to_owned(), |host| format!("{host}:{bound}"))
}

async fn from_kubernetes(
    args: &Args,
    server: &Server,
    metrics: Metrics,
    readiness: &Readiness,
    phases: &Phases,
) -> anyhow::Result<Parts> {
    let mut config = kube::Config::infer().await.context(
        "cannot tell how to reach Kubernetes; set KUBECONFIG, run in a pod, or read manifests with --cluster-from",
    )?;
    config.read_timeout = Some(API_READ_TIMEOUT);
    let client = kube::Client::try_from(config).context("cannot set up the client for Kubernetes")?;
    let own = (&client, controller::namespace(), server.https_address().port());
    args.certificates.start(own, server.certificate(), (readiness, &metrics), phases);
    let gates = watch::kinds().map(|kind| (kind, WatchGate { gate: readiness.gate(kind), listed: false }));
    let index = SharedIndex::new();
    let lease = Duration::from_secs(args.lease_seconds);
    let every = Duration::from_secs(args.databases_every);
    let databases = args.databases.clone().map(|folder| Databases { folder, every });
    let (recorder, background) = controller::start((&client, &index), &metrics, (lease, databases), &phases.leaving);
    let observer = Arc::new(Told { metrics, gates: Mutex::new(gates.collect()), recorder: Some(recorder) });
    let watch_observer = Arc::clone(&observer) as Arc<dyn WatchObserver>;
    let watches = watch::run(client.clone(), index.clone(), watch_observer, phases.closing.clone(), content::digest);
    let fresh = Fresh::new(client, Arc::clone(&observer) as Arc<dyn Calls>);
    let feed = watches.then(|result| async move {
        match result {
            // The watches end with the process; what is left to do is the drain's.
            Ok(()) => futures::future::pending().await,
            Err(error) => anyhow::Error::new(error),
        }
    });
    Ok(Parts { cluster: Arc::new(WatchedCluster { index, fresh }), feed: feed.boxed(), observer, background })
}

/// Tells the metrics and the readiness what happens.
struct Told {
    metrics: Metrics,
    gates: Mutex<HashMap<&'static str, WatchGate>>,
    /// `None` where there is nowhere to write.
    recorder: Option<Recorder>,
}

/// The readiness of one watch: its first list opens the gate for good, because what was known stays in use.
struct WatchGate {
    gate: Gate,
    listed: bool,
}

impl Observer for Told {
    fn judged(&self, judged: &Judged<'_>) {
        let Judged { decision, dry_run, .. } = *judged;
        let count = |component: &str, rule: &'static str, verdict: &'static str, mode: &'static str| {
            self.metrics.review(&Review { component, rule, verdict, mode, dry_run });
        };
        let of_reason = |reason: &Reason, verdict: &'static str| {
            count(&reason.component, reason.rule.row().code, verdict, reason.mode.as_str());
        };
        for reason in &decision.reasons {
            of_reason(reason, reason.verdict.as_str());
        }
        for reason in decision.warnings.iter().chain(&decision.audits) {
            of_reason(reason, "Allow");
        }
        let subject = judged.changes.first().and_then(|(policy, change)| {
            let component = change.moves.first().map(|step| step.component);
            let component = component.or_else(|| change.capacity.as_ref().map(|capacity| capacity.component))?;
            Some(policy.component(component).name.as_str())
        });
        if let Some(component) = subject.filter(|_| decision.reasons.is_empty()) {
            count(component, "none", decision.verdict.as_str(), "none");
        }
        if let Some(recorder) = &self.recorder {
            controller::notices(judged).for_each(|notice| recorder.hear(notice));
        }
    }

    fn lost_race(&self) {
        self.metrics.lost_races(1);
    }

    fn answered(&self, path: &'static str, elapsed: Duration) {
        self.metrics.review_duration(path, elapsed);
    }
}

impl Calls for Told {
    fn called(&self, verb: &'static str, resource: &'static str, ok: bool, elapsed: Duration) {
        let outcome = if ok { "ok" } else { "error" };
        self.metrics.api_call(verb, resource, outcome, elapsed);
    }
}

impl WatchObserver for Told {
    fn synced(&self, kind: &'static str, synced: bool) {
        self.metrics.watch_synced(kind, synced);
        self.metrics.watch_failing(kind, false);
        if let Some(watch) = self.gates.lock().get_mut(kind).filter(|_| synced) {
            watch.gate.open();
            watch.listed = true;
        }
    }

    fn event(&self, kind: &'static str) {
        self.metrics.watch_event(kind);
        self.metrics.watch_failing(kind, false);
    }

    fn invalid(&self, kind: &'static str, object: &str, message: &str) {
        tracing::warn!(kind, object, message, "an object cannot be used; what it said before stays in force");
        self.metrics.watch_error(kind);
    }

    fn error(&self, kind: &'static str, message: &str) {
        self.metrics.watch_error(kind);
        self.metrics.watch_failing(kind, true);
        if let Some(watch) = self.gates.lock().get(kind).filter(|watch| !watch.listed) {
            watch.gate.close(message.to_owned());
        }
    }

    fn recovered(&self, kind: &'static str) {
        self.metrics.watch_failing(kind, false);
    }
}
