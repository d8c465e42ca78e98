//! `upgrade-guard serve`: the webhook.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{Outcome, Output};
use crate::admission::{Admission, Cluster, Judged, Observer, register};
use crate::api::{PlatformIntent, PolicyProblems, with_releases};
use crate::cluster::authorise::Requester;
use crate::cluster::files::{Manifests, Source};
use crate::cluster::fresh::{Calls, Fresh};
use crate::cluster::index::SharedIndex;
use crate::cluster::inventory::Inventory;
use crate::cluster::snapshot::Snapshot;
use crate::cluster::watch::{self, WatchObserver};
use crate::controller::holds;
use crate::domain::decision::Reason;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;
use crate::server::metrics::{Metrics, Review};
use crate::server::readiness::{Gate, Readiness};
use crate::server::shutdown::{Ended, signals};
use crate::server::{Server, ServerOptions};

/// The client has no read timeout of its own; a quiet watch ends after 290 seconds by itself.
const API_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Answer the API server's reviews.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to answer reviews over HTTPS.
    #[arg(long, default_value = "[::]:9443", env = "UPGRADE_GUARD_LISTEN")]
    listen: SocketAddr,

    /// Where to answer /livez, /readyz and /metrics over plain HTTP.
    #[arg(long, default_value = "[::]:9080", env = "UPGRADE_GUARD_OPS_LISTEN")]
    ops_listen: SocketAddr,

    /// The folder with tls.crt and tls.key; see 'upgrade-guard certs'. Changes are picked up.
    #[arg(long, value_name = "DIR", env = "UPGRADE_GUARD_CERTS")]
    certs: PathBuf,

    /// Read the cluster from manifests instead of from Kubernetes. They are read again for each review.
    #[arg(long, value_name = "PATH", conflicts_with = "register")]
    cluster_from: Option<PathBuf>,

    /// Write this URL and the CA bundle into the webhook configuration, for a guard outside of the cluster. Port 0
    /// stands for the port of --listen.
    #[arg(long, value_name = "URL")]
    register: Option<String>,

    /// The CA bundle for --register [default: ca.crt in the folder of --certs].
    #[arg(long, value_name = "FILE", requires = "register")]
    ca_file: Option<PathBuf>,

    /// How many seconds to go on accepting connections after the first signal to end, until nobody is sent here.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    leave_after: u64,

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
    let mut options = ServerOptions::new(args.listen, args.ops_listen, args.certs.clone());
    options.shutdown.propagation_delay = Duration::from_secs(args.leave_after);
    let server = Server::bind(options, readiness.clone(), metrics.clone()).await?;
    let signals = signals().context("cannot listen for signals")?;
    // One line for whoever started this with port 0.
    writeln!(out, "listening https={} ops={}", server.https_address(), server.ops_address())?;
    out.flush()?;

    let ending = server.phases().closing;
    let (cluster, feed, observer) = match &args.cluster_from {
        Some(path) => from_manifests(path, metrics)?,
        None => from_kubernetes(args, server.https_address().port(), metrics, &readiness, &ending).await?,
    };
    let router = Admission::new(cluster, observer).router();
    tokio::select! {
        ended = server.serve(router, signals) => Ok(ended),
        error = feed => Err(error.context("the cluster view has ended")),
    }
}

/// What keeps the cluster view fresh; it only ends when it fails.
type Feed = BoxFuture<'static, anyhow::Error>;

/// The cluster, what keeps its view fresh, and who counts what happens.
type Parts = (Arc<dyn Cluster>, Feed, Arc<Told>);

fn from_manifests(path: &Path, metrics: Metrics) -> anyhow::Result<Parts> {
    let files = ManifestCluster { source: Source::Path(path.to_owned()) };
    files.load().map_err(anyhow::Error::msg)?;
    let observer = Arc::new(Told { metrics, gates: Mutex::default() });
    Ok((Arc::new(files), futures::future::pending().boxed(), observer))
}

/// `url` with the port that was bound in place of port 0.
fn with_port(url: &str, bound: u16) -> String {
    let plain = url.trim_end_matches('/');
    plain.strip_suffix(":0").map_or_else(|| url.to_owned(), |host| format!("{host}:{bound}"))
}

async fn from_kubernetes(
    args: &Args,
    bound: u16,
    metrics: Metrics,
    readiness: &Readiness,
    ending: &CancellationToken,
) -> anyhow::Result<Parts> {
    let mut config = kube::Config::infer().await.context(
        "cannot tell how to reach Kubernetes; set KUBECONFIG, run in a pod, or read manifests with --cluster-from",
    )?;
    config.read_timeout = Some(API_READ_TIMEOUT);
    let client = kube::Client::try_from(config).context("cannot set up the client for Kubernetes")?;
    if let Some(url) = &args.register {
        let url = with_port(url, bound);
        let ca_file = args.ca_file.clone().unwrap_or_else(|| args.certs.join("ca.crt"));
        tokio::spawn(ending.clone().run_until_cancelled_owned(register::keep(client.clone(), url, ca_file)));
    }
    let gates = watch::kinds().map(|kind| (kind, WatchGate { gate: readiness.gate(kind), listed: false }));
    let observer = Arc::new(Told { metrics, gates: Mutex::new(gates.collect()) });
    let index = SharedIndex::new();
    let fresh = Fresh::new(client.clone(), Arc::clone(&observer) as Arc<dyn Calls>);
    tokio::spawn(ending.clone().run_until_cancelled_owned(let_go_again_and_again(client.clone(), index.clone())));
    let watches = watch::run(client, index.clone(), Arc::clone(&observer) as Arc<dyn WatchObserver>, ending.clone());
    let feed = watches.then(|result| async move {
        match result {
            // The watches end with the process; what is left to do is the drain's.
            Ok(()) => futures::future::pending().await,
            Err(error) => anyhow::Error::new(error),
        }
    });
    Ok((Arc::new(WatchedCluster { index, fresh }), feed.boxed(), observer))
}

/// Lets go what is held when it may go on.
async fn let_go_again_and_again(client: kube::Client, index: SharedIndex) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !index.is_synced() {
            continue;
        }
        let namespaces: Vec<String> = index.read(|index| index.namespaces().map(str::to_owned).collect());
        for namespace in &namespaces {
            let Some(snapshot) = index.snapshot(namespace) else { continue };
            if let Err(error) = holds::let_go(&client, &snapshot, namespace, jiff::Timestamp::now()).await {
                tracing::warn!(%error, namespace, "cannot let go what is held");
            }
        }
        let governed = |namespace: &str, workload: &WorkloadId| {
            index.snapshot(namespace).is_some_and(|snapshot| snapshot.inventory.workload(workload).is_some())
        };
        if let Err(error) = holds::let_go_ungoverned(&client, governed).await {
            tracing::warn!(%error, "cannot let go what no policy governs");
        }
    }
}

/// The cluster as the watches see it, and the API server where more than that is needed.
struct WatchedCluster {
    index: SharedIndex,
    fresh: Fresh,
}

impl Cluster for WatchedCluster {
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>> {
        self.index.settled_snapshot(namespace).map(Ok).boxed()
    }

    fn fresh<'a>(
        &'a self,
        namespace: &'a str,
        snapshot: &'a Snapshot,
        own: &'a WorkloadId,
    ) -> BoxFuture<'a, Result<Snapshot, String>> {
        self.fresh.read(namespace, snapshot, own).map_err(|error| error.to_string()).boxed()
    }

    fn intend<'a>(
        &'a self,
        namespace: &'a str,
        policy: &'a Policy,
        read: (&'a Inventory, Timestamp),
        intents: &'a [PlatformIntent],
    ) -> BoxFuture<'a, Result<bool, String>> {
        self.fresh.intend(namespace, policy, read, intents).map_err(|error| error.to_string()).boxed()
    }

    fn may_override<'a>(
        &'a self,
        who: &'a Requester,
        policy: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<bool, String>> {
        self.fresh.may_override(who, policy, limit).map_err(|error| error.to_string()).boxed()
    }

    fn policy(&self, name: &str) -> Option<Arc<Policy>> {
        self.index.read(|index| index.policy(name))
    }
}

/// The cluster as manifests say, for demonstrations: read anew for each review, so that there is nothing to wait for.
struct ManifestCluster {
    source: Source,
}

impl ManifestCluster {
    fn load(&self) -> Result<(Manifests, Vec<Arc<Policy>>), String> {
        let manifests =
            Manifests::load(std::slice::from_ref(&self.source), None).map_err(|errors| errors.to_string())?;
        let releases: Vec<_> = manifests.releases.iter().map(|found| &found.object).collect();
        let policies = manifests.policies.iter().map(|found| {
            let at = |problems: PolicyProblems| format!("{}: {problems}", found.origin);
            let policy = Policy::try_from(&found.object).map_err(at)?;
            let (policy, mut problems) = with_releases(policy, releases.iter().copied());
            match problems.pop_first() {
                None => Ok(Arc::new(policy)),
                Some((release, problems)) => Err(format!("PlatformRelease {release}: {problems}")),
            }
        });
        let policies = policies.collect::<Result<_, String>>()?;
        Ok((manifests, policies))
    }
}

impl Cluster for ManifestCluster {
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>> {
        let snapshot = self.load().map(|(mut manifests, policies)| {
            let governing: Arc<[_]> =
                policies.into_iter().filter(|policy| policy.namespaces.contains(namespace)).collect();
            let inventory = manifests.namespaces.remove(namespace).unwrap_or_default().inventory;
            (!governing.is_empty()).then(|| Snapshot { policies: governing, inventory: Arc::new(inventory) })
        });
        futures::future::ready(snapshot).boxed()
    }

    fn fresh<'a>(
        &'a self,
        _: &'a str,
        snapshot: &'a Snapshot,
        _: &'a WorkloadId,
    ) -> BoxFuture<'a, Result<Snapshot, String>> {
        futures::future::ready(Ok(snapshot.clone())).boxed()
    }

    fn intend<'a>(
        &'a self,
        _: &'a str,
        _: &'a Policy,
        _: (&'a Inventory, Timestamp),
        _: &'a [PlatformIntent],
    ) -> BoxFuture<'a, Result<bool, String>> {
        // Nothing is stored in manifests, so nothing has to be seen before it is.
        futures::future::ready(Ok(true)).boxed()
    }

    fn may_override<'a>(&'a self, _: &'a Requester, _: &'a str, _: Duration) -> BoxFuture<'a, Result<bool, String>> {
        // Manifests have no users.
        futures::future::ready(Ok(false)).boxed()
    }

    fn policy(&self, name: &str) -> Option<Arc<Policy>> {
        let (_, policies) = self.load().ok()?;
        policies.into_iter().find(|policy| policy.name == name)
    }
}

/// Tells the metrics and the readiness what happens.
struct Told {
    metrics: Metrics,
    gates: Mutex<HashMap<&'static str, WatchGate>>,
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
    }

    fn lost_race(&self) {}

    fn answered(&self, path: &'static str, elapsed: Duration) {
        self.metrics.review_duration(path, elapsed);
    }
}

impl Calls for Told {
    fn called(&self, _verb: &'static str, _resource: &'static str, _ok: bool, _elapsed: Duration) {}
}

impl WatchObserver for Told {
    fn synced(&self, kind: &'static str, synced: bool) {
        self.metrics.watch_synced(kind, synced);
        if let Some(watch) = self.gates.lock().get_mut(kind).filter(|_| synced) {
            watch.gate.open();
            watch.listed = true;
        }
    }

    fn event(&self, kind: &'static str) {
        self.metrics.watch_event(kind);
    }

    fn invalid(&self, kind: &'static str, object: &str, message: &str) {
        tracing::warn!(kind, object, message, "an object cannot be used; what it said before stays in force");
        self.metrics.watch_error(kind);
    }

    fn error(&self, kind: &'static str, message: &str) {
        self.metrics.watch_error(kind);
        if let Some(watch) = self.gates.lock().get(kind).filter(|watch| !watch.listed) {
            watch.gate.close(message.to_owned());
        }
    }
}
