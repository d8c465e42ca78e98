//! Keeps the CA bundle, and for a guard outside of the cluster its address, in the guard's own webhook configurations.
//! It writes nothing else: what the webhooks are called for stays what was applied.
//!
//! Whatever somebody else writes there is put right, and nothing is written where nothing differs. What to trust is read
//! where it is kept right before each write: a replica that has not heard of a new authority yet must not take it out
//! again. And each write names the version of the configuration that it was made from. Where two go on undoing each
//! other's writes, each waits longer from time to time.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::registration::{CONFIGURATION, MUTATE, VALIDATE};

/// The field manager of what is written.
const FIELD_MANAGER: &str = "upgrade-guard";
/// How often the bundle is read again; a Secret volume is refreshed about once a minute.
const POLL: Duration = Duration::from_secs(10);
/// How long a write is waited for after another, at first and in the end.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_mins(1)];

/// The kinds of configurations that are looked at.
pub const KINDS: [&str; 2] = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

/// What is written into every webhook.
pub struct Wanted {
    /// The address, without a path; without it the configuration says itself how the guard is found.
    pub url: Option<String>,
    /// Where the bundle is kept.
    pub bundle: Arc<dyn Bundle>,
    /// Tells when the bundle may be another.
    pub changed: watch::Receiver<()>,
}

/// Where the authorities are kept that the API server shall trust.
pub trait Bundle: Send + Sync {
    /// Reads them as they are now, PEM. `None` while there are none.
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;
}

/// Hears what stands in the configurations, by kind.
pub trait Observer: Send + Sync {
    /// The webhooks of a configuration, each with the name that the API server calls and its bundle, PEM; `None` when
    /// there is no configuration.
    fn seen(&self, kind: &'static str, webhooks: Option<Vec<(String, Vec<u8>)>>);
    /// The configuration cannot be watched, for this reason, and perhaps for want of rights.
    fn hidden(&self, kind: &'static str, reason: String, forbidden: bool);
    /// A configuration was written.
    fn wrote(&self, kind: &'static str);
}

/// A webhook configuration of either kind.
trait Configuration: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// The name of the kind.
    const KIND: &'static str;
    /// The path that its webhooks are called at.
    const PATH: &'static str;

    /// The name of each webhook, and how it is called.
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for ValidatingWebhookConfiguration {
    const KIND: &'static str = KINDS[0];
    const PATH: &'static str = VALIDATE;

    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

impl Configuration for MutatingWebhookConfiguration {
    const KIND: &'static str = KINDS[1];
    const PATH: &'static str = MUTATE;

    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

/// Watches the webhook configurations, tells `observer` what stands there, and writes what is `wanted` into them
/// whenever they differ; without `wanted` it writes nothing. Never returns; a configuration that is not there yet is
/// waited for.
pub async fn keep(client: Client, wanted: Option<Wanted>, observer: Arc<dyn Observer>) {
    let wanted = wanted.as_ref();
    tokio::join!(
        Keeper::<ValidatingWebhookConfiguration>::new(client.clone(), wanted, &*observer).run(),
        Keeper::<MutatingWebhookConfiguration>::new(client, wanted, &*observer).run(),
    );
}

/// Keeps one configuration.
struct Keeper<'a, K> {
    api: Api<K>,
    wanted: Option<&'a Wanted>,
    observer: &'a dyn Observer,
    pause: Pause,
}

impl<'a, K: Configuration> Keeper<'a, K> {
    fn new(client: Client, wanted: Option<&'a Wanted>, observer: &'a dyn Observer) -> Self {
        Self { api: Api::all(client), wanted, observer, pause: Pause::default() }
    }

    async fn run(mut self) {
        let mut live = pin!(watcher::watch_object(self.api.clone(), CONFIGURATION).default_backoff());
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = self.wanted.map_or_else(never, |wanted| wanted.changed.clone());
        let mut current: Option<K> = None;
        loop {
            tokio::select! {
                next = live.next() => match next {
                    Some(Ok(found)) => {
                        self.observer.seen(K::KIND, found.as_ref().map(webhooks));
                        current = found;
                    }
                    Some(Err(error)) => self.hidden(&error),
                    None => return,
                },
                _ = tick.tick() => {}
                Ok(()) = changed.changed() => {}
                () = self.pause.over() => {}
            }
            if let (Some(found), Some(wanted)) = (&current, self.wanted)
                && let Some(written) = self.repair(found, wanted).await
            {
                self.observer.seen(K::KIND, Some(webhooks(&written)));
                current = Some(written);
            }
        }
    }

    /// Writes what differs, if anything does and the last write was long enough ago; gives what is there then.
    async fn repair(&mut self, found: &K, wanted: &Wanted) -> Option<K> {
        let bundle = match wanted.bundle.read().await {
            Ok(bundle) => bundle?,
            Err(error) => {
                tracing::warn!(error, "cannot read the CA bundle for the registration");
                return None;
            }
        };
        let entries: Vec<Value> = found
            .clients()
            .into_iter()
            .filter_map(|(name, client)| {
                Some(json!({"name": name, "clientConfig": difference::<K>(client, wanted, &bundle)?}))
            })
            .collect();
        if entries.is_empty() || self.pause.holds() {
            return None;
        }
        self.pause.begin();
        // A strategic merge keeps what is not named.
        let patch = json!({"metadata": {"resourceVersion": found.resource_version()}, "webhooks": entries});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.api.patch(CONFIGURATION, &params, &Patch::Strategic(patch)).await {
            Ok(written) => {
                self.observer.wrote(K::KIND);
                tracing::info!(kind = K::KIND, url = wanted.url, "registered with the API server");
                Some(written)
            }
            // Somebody else wrote, which the watch tells.
            Err(kube::Error::Api(status)) if status.code == 409 => None,
            Err(error) => {
                tracing::warn!(%error, kind = K::KIND, "cannot write into the webhook configuration {CONFIGURATION}");
                None
            }
        }
    }

    fn hidden(&self, error: &watcher::Error) {
        let kind = K::KIND;
        tracing::warn!(%error, kind, "cannot watch the webhook configuration {CONFIGURATION}");
        let forbidden = matches!(
            error,
            watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403
        );
        let text = format!("cannot watch the {kind} {CONFIGURATION}: {error}");
        self.observer.hidden(kind, text, forbidden);
    }
}

/// A receiver of which nothing is heard.
fn never() -> watch::Receiver<()> {
    watch::channel(()).1
}

/// What has to be written into a client configuration, if anything.
fn difference<K: Configuration>(found: &WebhookClientConfig, wanted: &Wanted, bundle: &[u8]) -> Option<Value> {
    let url = wanted.url.as_ref().map(|base| format!("{}{}", base.trim_end_matches('/'), K::PATH));
    let trusts = found.ca_bundle.as_ref().is_some_and(|found| found.0 == bundle);
    let finds = url.is_none() || (found.url == url && found.service.is_none());
    let bundle = k8s_openapi::ByteString(bundle.to_vec());
    (!(trusts && finds)).then(|| match url {
        // The other way to be found must go by name.
        Some(url) => json!({"service": null, "url": url, "caBundle": bundle}),
        None => json!({"caBundle": bundle}),
    })
}

/// The name that the API server verifies each webhook's certificate for, and the bundle that it does it with.
fn webhooks<K: Configuration>(found: &K) -> Vec<(String, Vec<u8>)> {
    let clients = found.clients().into_iter();
    clients.map(|(_, client)| (host(client), client.ca_bundle.clone().unwrap_or_default().0)).collect()
}

fn host(client: &WebhookClientConfig) -> String {
    let of_service = client.service.as_ref().map(|service| format!("{}.{}.svc", service.name, service.namespace));
    let of_url = || {
        let url: Uri = client.url.as_deref()?.parse().ok()?;
        Some(url.host()?.trim_matches(['[', ']']).to_owned())
    };
    of_service.or_else(of_url).unwrap_or_default()
}

/// The time between two writes; it grows as long as they follow one another closely.
#[derive(Debug, Default)]
struct Pause {
    /// Until when nothing is written, and how long that was from the last write.
    until: Option<(Instant, Duration)>,
}

impl Pause {
    fn holds(&self) -> bool {
        self.until.is_some_and(|(until, _)| Instant::now() < until)
    }

    fn begin(&mut self) {
        let [least, most] = PAUSES;
        let now = Instant::now();
        // After some quiet it begins with the shortest again.
        let last = self.until.filter(|(until, last)| now < *until + *last * 2);
        let next = last.map_or(least, |(_, last)| (last * 2).min(most));
        self.until = Some((now + next, next));
    }

    /// Completes when it is over; never when it was over before it was asked.
    async fn over(&self) {
        match self.until.filter(|(until, _)| Instant::now() < *until) {
            Some((until, _)) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::admissionregistration::v1::ServiceReference;

    use super::*;

    struct Fixed;

    impl Bundle for Fixed {
        fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
            Box::pin(async { Ok(None) })
        }
    }

    fn wanted(url: Option<&str>) -> Wanted {
        Wanted { url: url.map(str::to_owned), bundle: Arc::new(Fixed), changed: never() }
    }

    fn service(bundle: Option<&str>) -> WebhookClientConfig {
        let reference = ServiceReference { name: "guard".to_owned(), namespace: "ns".to_owned(), ..<_>::default() };
        let ca_bundle = bundle.map(|text| ByteString(text.as_bytes().to_vec()));
        WebhookClientConfig { ca_bundle, service: Some(reference), url: None }
    }

    fn url(url: &str, bundle: &str) -> WebhookClientConfig {
        WebhookClientConfig { service: None, url: Some(url.to_owned()), ..service(Some(bundle)) }
    }

    #[test]
    fn only_what_differs_is_written() {
        let bundle = json!({"caBundle": "Q0E="});
        let whole = json!({"service": null, "url": "https://127.0.0.1:1/validate", "caBundle": "Q0E="});
        let at = Some("https://127.0.0.1:1/");
        for (name, found, address, expected) in [
            ("as wanted", service(Some("CA")), None, None),
            ("no bundle", service(None), None, Some(&bundle)),
            ("extended", service(Some("CA more")), None, Some(&bundle)),
            ("its URL is not ours to say", url("https://a/b", "CA"), None, None),
            ("its URL stays", url("https://a/b", "other"), None, Some(&bundle)),
            ("at the URL", url("https://127.0.0.1:1/validate", "CA"), at, None),
            ("at another URL", url("https://127.0.0.1:2/validate", "CA"), at, Some(&whole)),
            ("by service", service(Some("CA")), at, Some(&whole)),
        ] {
            let found = difference::<ValidatingWebhookConfiguration>(&found, &wanted(address), b"CA");
            assert_eq!(found.as_ref(), expected, "{name}");
        }
    }

    #[test]
    fn the_name_is_the_one_that_is_called() {
        for (client, expected) in [
            (service(None), "guard.ns.svc"),
            (url("https://127.0.0.1:9443/validate", ""), "127.0.0.1"),
            (url("https://[::1]:9443/validate", ""), "::1"),
            (url("https://guard.example.com/validate", ""), "guard.example.com"),
            (url("no url", ""), ""),
        ] {
            assert_eq!(host(&client), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_that_follow_one_another_wait_longer() {
        let mut pause = Pause::default();
        let mut waited = Vec::new();
        for _ in 0..12 {
            assert!(!pause.holds());
            pause.begin();
            assert!(pause.holds());
            let begun = Instant::now();
            pause.over().await;
            waited.push(begun.elapsed());
        }
        assert!(waited.is_sorted() && waited[0] < Duration::from_millis(300), "{waited:?}");
        assert_eq!(waited[11].as_secs(), 60, "{waited:?}");
        tokio::time::sleep(Duration::from_mins(5)).await;
        pause.begin();
        let begun = Instant::now();
        pause.over().await;
        assert_eq!(begun.elapsed().as_millis(), waited[0].as_millis(), "quiet is forgotten");
    }
}
