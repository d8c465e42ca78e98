//! Where `serve` has its certificates from, and what it writes of them into the webhook configurations.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::with_port;
use crate::admission::register::{self, Bundle, Wanted};
use crate::server::certificates::ServingCertificate;
use crate::server::metrics::Metrics;
use crate::server::readiness::Readiness;
use crate::server::selfsigned::{Lifetimes, Options, SelfSigned, StoredBundle};
use crate::server::shutdown::Phases;
use crate::server::trust::{self, Called, Live, Seen, TRUST_GATE};
use crate::server::{CERTIFICATE_GATE, Certificates};

/// The CA bundle inside of the folder.
const AUTHORITY_FILE: &str = "ca.crt";

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The folder with tls.crt and tls.key, such as a mounted Secret; see 'upgrade-guard certs'. Changes are picked up.
    #[arg(
        long,
        value_name = "DIR",
        env = "UPGRADE_GUARD_CERTS",
        required_unless_present = "self_signed",
        conflicts_with = "self_signed"
    )]
    certs: Option<PathBuf>,

    /// Make and renew certificates, with an own CA, in the Secret upgrade-guard-tls of the guard's namespace, and keep
    /// that CA in the guard's own webhook configurations.
    #[arg(long, conflicts_with = "cluster_from")]
    self_signed: bool,

    /// Keep ca.crt of the folder in the guard's own webhook configurations. Without it, somebody else does.
    #[arg(long, requires = "certs", conflicts_with = "cluster_from")]
    write_ca_bundle: bool,

    /// Write this URL and the CA bundle into the webhook configuration, for a guard outside of the cluster. Port 0
    /// stands for the port of --listen.
    #[arg(long, value_name = "URL", conflicts_with = "cluster_from")]
    register: Option<String>,

    /// The CA bundle for --register [default: ca.crt in the folder of --certs].
    #[arg(long, value_name = "FILE", requires = "register", conflicts_with = "self_signed")]
    ca_file: Option<PathBuf>,

    /// One more name or address that the self-signed certificate is for, beside those of the guard's Service; may be
    /// given several times.
    #[arg(long = "name", value_name = "NAME", requires = "self_signed")]
    names: Vec<String>,

    /// How many seconds the own CA and the leaf live, how long a new CA must be known before it signs, and how long an
    /// expired one stays trusted, for tests.
    #[arg(long, value_name = "SECONDS,SECONDS,SECONDS,SECONDS", hide = true, requires = "self_signed",
        value_parser = lifetimes)]
    lifetimes: Option<(Lifetimes, Duration)>,
}

fn lifetimes(text: &str) -> Result<(Lifetimes, Duration), String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    let [authority, leaf, settle, skew] = numbers.as_deref().map_err(ToString::to_string)? else {
        return Err("four numbers of seconds are needed".to_owned());
    };
    let [authority, leaf, skew] = [authority, leaf, skew].map(|seconds| i64::from(*seconds));
    Ok((Lifetimes { authority, leaf, skew }, Duration::from_secs(u64::from(*settle))))
}

impl Flags {
    /// What the server serves: a folder, or what [`Flags::start`] feeds.
    pub(super) fn source(&self) -> Certificates {
        let given = || Certificates::Given(ServingCertificate::default());
        self.certs.clone().map_or_else(given, Certificates::Folder)
    }

    /// Starts what keeps the certificates and the bundle, until the reviews end. `bound` is the port of the reviews.
    pub(super) fn start(
        &self,
        (client, namespace, bound): (&kube::Client, String, u16),
        serving: ServingCertificate,
        (readiness, metrics): (&Readiness, &Metrics),
        phases: &Phases,
    ) {
        let spawn = |task: BoxFuture<'static, ()>| {
            tokio::spawn(phases.closing.clone().run_until_cancelled_owned(task));
        };
        let (told, live) = watch::channel(Live::unknown(&register::KINDS));
        let url = self.register.as_ref().map(|url| with_port(url, bound));
        let wanted = if self.self_signed {
            let gate = readiness.gate(CERTIFICATE_GATE);
            let options = self.options(namespace);
            let gate_and_metrics = (gate, metrics.clone());
            let own = SelfSigned::new(client.clone(), options, serving.clone(), gate_and_metrics, live.clone());
            let bundle = own.bundle();
            spawn(own.keep().boxed());
            Some(Wanted { url, changed: bundle.changed(), bundle: Arc::new(bundle) })
        } else {
            let file = self.ca_file.clone().or_else(|| Some(self.certs.as_ref()?.join(AUTHORITY_FILE)));
            let writes = self.write_ca_bundle || url.is_some();
            let changed = watch::channel(()).1;
            file.filter(|_| writes).map(|file| Wanted { url, bundle: Arc::new(BundleFile(file)), changed })
        };
        let (ours, gate) = (wanted.is_some(), readiness.gate(TRUST_GATE));
        let told = Arc::new(Told { live: told, metrics: metrics.clone() });
        spawn(register::keep(client.clone(), wanted, told).boxed());
        spawn(trust::watch(live, serving, gate, ours, metrics.clone()).boxed());
    }

    fn options(&self, namespace: String) -> Options {
        let mut options = Options::new(namespace, &self.names);
        if let Some((lifetimes, settle)) = self.lifetimes {
            (options.lifetimes, options.settle) = (lifetimes, settle);
        }
        options
    }
}

impl Bundle for StoredBundle {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        async { Self::read(self).await.map_err(|error| error.to_string()) }.boxed()
    }
}

/// The bundle in a file; missing or empty as long as the Secret is not mounted yet.
struct BundleFile(PathBuf);

impl Bundle for BundleFile {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        async {
            let read = tokio::fs::read(&self.0).await;
            read.map(|pem| Some(pem).filter(|pem| !pem.is_empty()))
                .map_err(|error| format!("{}: {error}", self.0.display()))
        }
        .boxed()
    }
}

/// Tells the rest of the process what stands in the webhook configurations.
struct Told {
    live: watch::Sender<Live>,
    metrics: Metrics,
}

impl register::Observer for Told {
    fn seen(&self, kind: &'static str, webhooks: Option<Vec<(String, Vec<u8>)>>) {
        let called = |webhooks: Vec<_>| {
            Seen::Called(webhooks.into_iter().map(|(host, bundle)| Called { host, bundle }).collect())
        };
        self.live.send_if_modified(|live| live.note(kind, webhooks.map_or(Seen::Absent, called)));
    }

    fn hidden(&self, kind: &'static str, reason: String, forbidden: bool) {
        self.live.send_if_modified(|live| live.note_failure(kind, reason, forbidden));
    }

    fn wrote(&self, kind: &'static str) {
        self.metrics.ca_bundle_write(kind);
    }
}
