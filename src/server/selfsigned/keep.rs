//! Watches the Secret, writes what the plan says, and serves what stands there.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::plan::{Step, Wanted, decide};
use super::read::Reading;
use super::{Contents, Options, SECRET, issue};
use crate::server::certificates::ServingCertificate;
use crate::server::metrics::Metrics;
use crate::server::readiness::Gate;
use crate::server::trust::Live;

/// How often the clock is looked at, at the most and at the least; in between, twenty times in the life of a leaf.
const TICKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// How many steps are taken one after the other; a rotation takes three in all.
const STEPS: usize = 8;
/// How many writes may follow one another; then there is one for each tick.
const WRITES: f64 = 10.0;
/// Who writes, as `managedFields` shows it.
const FIELD_MANAGER: &str = "upgrade-guard-certificates";

const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const NEXT_KEY: &str = "next-ca.key";

/// Keeps the guard's own certificates; one in each replica.
pub struct SelfSigned {
    secrets: Api<Secret>,
    options: Options,
    serving: ServingCertificate,
    gate: Gate,
    metrics: Metrics,
    live: watch::Receiver<Live>,
    changed: watch::Sender<()>,
    /// The last contents that could be served.
    remembered: Option<Contents>,
    /// The next authority as it is known here, and since when the API server has known it without a break.
    announced: Option<(Vec<u8>, Instant)>,
    budget: Budget,
    complaint: Option<String>,
}

/// The bundle as it stands in the Secret, for those who write it elsewhere. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct StoredBundle {
    secrets: Api<Secret>,
    options: Options,
    changed: watch::Receiver<()>,
}

/// What is known of the Secret.
enum Stored {
    Unknown,
    Absent,
    There(Box<Secret>),
}

impl SelfSigned {
    /// Certificates in the Secret of `options`, served through `serving`. `gate` opens when one is; `live` tells what
    /// the API server knows.
    #[must_use]
    pub fn new(
        client: Client,
        options: Options,
        serving: ServingCertificate,
        (gate, metrics): (Gate, Metrics),
        live: watch::Receiver<Live>,
    ) -> Self {
        let secrets = Api::namespaced(client, &options.namespace);
        let budget = Budget::new(tick(&options));
        let (changed, remembered) = (watch::Sender::new(()), None);
        let (announced, complaint) = (None, None);
        Self { secrets, options, serving, gate, metrics, live, changed, remembered, announced, budget, complaint }
    }

    /// A handle to the bundle in the Secret.
    #[must_use]
    pub fn bundle(&self) -> StoredBundle {
        let (secrets, options) = (self.secrets.clone(), self.options.clone());
        StoredBundle { secrets, options, changed: self.changed.subscribe() }
    }

    /// Keeps them, for ever.
    pub async fn keep(self) {
        let watched = watcher::watch_object(self.secrets.clone(), SECRET).default_backoff();
        self.follow(watched).await;
    }

    async fn follow(mut self, watched: impl Stream<Item = Result<Option<Secret>, watcher::Error>>) {
        let mut watched = pin!(watched);
        let mut ticks = tokio::time::interval(tick(&self.options));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stored = Stored::Unknown;
        loop {
            tokio::select! {
                next = watched.next() => match next {
                    Some(Ok(found)) => stored = Stored::from(found),
                    Some(Err(error)) => self.failed("cannot watch", &error),
                    None => return,
                },
                Ok(()) = self.live.changed() => {}
                _ = ticks.tick() => {}
            }
            self.advance(&mut stored).await;
        }
    }

    /// Takes steps until there is nothing to do, and serves what stands in the Secret.
    async fn advance(&mut self, stored: &mut Stored) {
        for _ in 0..STEPS {
            let contents = match &*stored {
                Stored::Unknown => return,
                Stored::Absent => None,
                Stored::There(secret) => Some(Contents::of(secret)),
            };
            let now = (self.options.clock)();
            let announced = contents.as_ref().is_some_and(|contents| self.is_announced(contents, now));
            let wanted = self.options.wanted();
            let step = decide(contents.as_ref(), self.remembered.as_ref(), announced, &wanted, now);
            let current = contents.unwrap_or_default();
            let made = issue::contents(step, &current, self.remembered.as_ref(), &wanted, now);
            self.serve(current, now);
            match made {
                Ok(None) => {
                    self.complaint = None;
                    return;
                }
                Ok(Some(made)) if self.budget.spend() => {
                    if !self.write(step, &made, stored).await {
                        return;
                    }
                }
                Ok(Some(_)) => {
                    self.complain("certificates are replaced again and again; do the clocks of all replicas agree?");
                    return;
                }
                Err(error) => {
                    let names = self.options.names.join(", ");
                    self.metrics.certificate_write_error();
                    self.complain(&format!("cannot make a certificate for {names}: {error}; see --name"));
                    return;
                }
            }
        }
    }

    /// Serves the contents if they can be served, and remembers them.
    fn serve(&mut self, contents: Contents, now: i64) {
        if self.remembered.as_ref() != Some(&contents) {
            let readable = Reading::of(&contents, &self.options.wanted(), now).leaf.is_ok();
            if !readable || self.serving.serve(&contents.chain, &contents.key).is_err() {
                return;
            }
            self.remembered = Some(contents);
            // Whoever writes the bundle elsewhere looks at it again.
            self.changed.send_replace(());
        }
        if let Some(not_after) = self.serving.not_after() {
            self.metrics.certificate_not_after(not_after);
            self.gate.open();
        }
    }

    /// Whether the API server has known the next authority for long enough, as far as can be told from here.
    fn is_announced(&mut self, contents: &Contents, now: i64) -> bool {
        let reading = Reading::of(contents, &self.options.wanted(), now);
        let Some(next) = reading.next().filter(|next| self.live.borrow().trusts(&next.der)) else {
            self.announced = None;
            return false;
        };
        match &self.announced {
            Some((known, since)) if **known == *next.der => since.elapsed() >= self.options.settle,
            _ => {
                self.announced = Some((next.der.to_vec(), Instant::now()));
                self.options.settle.is_zero()
            }
        }
    }

    /// Creates the Secret or replaces its contents, and knows it as it is then, whoever wrote it. `false`: the API server
    /// is in the way.
    async fn write(&mut self, step: Step, made: &Contents, stored: &mut Stored) -> bool {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = match &*stored {
            Stored::There(secret) => {
                let mut secret = (**secret).clone();
                secret.data = Some(made.data());
                secret.metadata.managed_fields = None;
                // It names the resourceVersion that it was made from.
                self.secrets.replace(SECRET, &params, &secret).await
            }
            Stored::Unknown | Stored::Absent => self.secrets.create(&params, &made.secret()).await,
        };
        match written {
            Ok(secret) => {
                self.tell(step);
                *stored = Stored::There(Box::new(secret));
                true
            }
            // Another replica was first, or somebody deleted it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => self.read(stored).await,
            Err(error) => {
                // What the watch tells next, or the next tick, tries again.
                self.metrics.certificate_write_error();
                self.failed("cannot write", &error);
                false
            }
        }
    }

    async fn read(&mut self, stored: &mut Stored) -> bool {
        match self.secrets.get_opt(SECRET).await {
            Ok(found) => {
                *stored = Stored::from(found);
                true
            }
            Err(error) => {
                self.failed("cannot read", &error);
                false
            }
        }
    }

    fn tell(&self, step: Step) {
        let Some((step, reason)) = step.names() else { return };
        self.metrics.certificate_rotation(step, reason.as_str());
        let reason_text = reason.as_str();
        if reason.is_expected() {
            tracing::info!(step, reason = reason_text, "the guard's certificates are renewed");
        } else {
            tracing::warn!(
                step,
                reason = reason_text,
                "the Secret {SECRET} could not be used as it was and is repaired"
            );
        }
    }

    /// An error of the API server; it tells nothing of what was written.
    fn failed(&mut self, what: &str, error: &dyn std::error::Error) {
        let namespace = &self.options.namespace;
        let text = format!("{what} the Secret {namespace}/{SECRET}: {error}; the guard needs the rights of its Role");
        if self.remembered.is_none() {
            self.gate.close(text.clone());
        }
        self.complain(&text);
    }

    fn complain(&mut self, text: &str) {
        if self.complaint.as_deref() != Some(text) {
            tracing::warn!("{text}");
            self.complaint = Some(text.to_owned());
        }
    }
}

impl StoredBundle {
    /// Reads the authorities to be trusted from the Secret as it is now, PEM. `None` while there is nothing to serve.
    ///
    /// # Errors
    /// The Secret cannot be read.
    pub async fn read(&self) -> Result<Option<Vec<u8>>, kube::Error> {
        let Some(secret) = self.secrets.get_opt(SECRET).await? else { return Ok(None) };
        let reading = Reading::of(&Contents::of(&secret), &self.options.wanted(), (self.options.clock)());
        Ok(reading.leaf.is_ok().then(|| reading.bundle().into_bytes()))
    }

    /// Tells when it is another.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.clone()
    }
}

impl Options {
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { names: &self.names, lifetimes: self.lifetimes }
    }
}

fn tick(options: &Options) -> Duration {
    let [most, least] = TICKS;
    Duration::from_secs(u64::try_from(options.lifetimes.leaf).unwrap_or(0)).div_f64(20.0).clamp(most, least)
}

impl From<Option<Secret>> for Stored {
    fn from(found: Option<Secret>) -> Self {
        found.map_or(Self::Absent, |secret| Self::There(Box::new(secret)))
    }
}

impl Contents {
    fn of(secret: &Secret) -> Self {
        let at = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or_else(Vec::new, |v| v.0.clone());
        Self {
            chain: at(CHAIN),
            key: at(KEY),
            bundle: at(BUNDLE),
            authority_key: at(AUTHORITY_KEY),
            next_key: at(NEXT_KEY),
        }
    }

    fn data(&self) -> BTreeMap<String, ByteString> {
        let Self { chain, key, bundle, authority_key, next_key } = self;
        let all = [(CHAIN, chain), (KEY, key), (BUNDLE, bundle), (AUTHORITY_KEY, authority_key), (NEXT_KEY, next_key)];
        let there = all.into_iter().filter(|(_, value)| !value.is_empty());
        there.map(|(name, value)| (name.to_owned(), ByteString(value.clone()))).collect()
    }

    fn secret(&self) -> Secret {
        let name = ("app.kubernetes.io/name".to_owned(), "upgrade-guard".to_owned());
        let metadata =
            ObjectMeta { name: Some(SECRET.to_owned()), labels: Some([name].into()), ..ObjectMeta::default() };
        // As other tools know it; the type allows further keys.
        let type_ = Some("kubernetes.io/tls".to_owned());
        Secret { metadata, type_, data: Some(self.data()), ..Secret::default() }
    }
}

/// How many writes there may be: some at once, and then one for each tick.
#[derive(Debug)]
struct Budget {
    left: f64,
    since: Instant,
    every: Duration,
}

impl Budget {
    fn new(every: Duration) -> Self {
        Self { left: WRITES, since: Instant::now(), every }
    }

    /// Whether one more is allowed; then it is counted.
    fn spend(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + (now - self.since).div_duration_f64(self.every)).min(WRITES);
        self.since = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned").field("options", &self.options).finish_non_exhaustive()
    }
}
