//! Keeps the guard's address and CA bundle in its own webhook configurations, for a guard that runs outside of the
//! cluster. It writes nothing else: what the webhooks are called for stays what was applied.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::registration::{CONFIGURATION, Endpoint, MUTATE, VALIDATE};

/// The field manager of what is written.
const FIELD_MANAGER: &str = "upgrade-guard";
/// How often the CA file is looked at; a Secret volume is refreshed about once a minute.
const CA_POLL: Duration = Duration::from_secs(10);

/// A webhook configuration of either kind.
trait Configuration: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// The path that its webhooks are called at.
    const PATH: &'static str;

    /// The name of each webhook, and how it is called.
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for ValidatingWebhookConfiguration {
    const PATH: &'static str = VALIDATE;

    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

impl Configuration for MutatingWebhookConfiguration {
    const PATH: &'static str = MUTATE;

    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

/// Writes `url` and the CA bundle in `ca_file` into the webhook configurations whenever one of these changes.
/// Never returns; a configuration or file that is not there yet is waited for.
pub async fn keep(client: Client, url: String, ca_file: PathBuf) {
    let endpoint = Endpoint::Url(url);
    tokio::join!(
        keep_one::<ValidatingWebhookConfiguration>(Api::all(client.clone()), &endpoint, &ca_file),
        keep_one::<MutatingWebhookConfiguration>(Api::all(client), &endpoint, &ca_file),
    );
}

async fn keep_one<K: Configuration>(api: Api<K>, endpoint: &Endpoint, ca_file: &Path) {
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={CONFIGURATION}"));
    let mut live = watcher(api.clone(), only_ours).default_backoff().applied_objects().boxed();
    let mut tick = tokio::time::interval(CA_POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let kind = K::kind(&());
    let mut current: Option<K> = None;
    loop {
        tokio::select! {
            next = live.try_next() => match next {
                Ok(Some(found)) => current = Some(found),
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, %kind, "cannot watch the webhook configuration {CONFIGURATION}"),
            },
            _ = tick.tick() => {}
        }
        let Some(wanted) = wanted(endpoint, K::PATH, ca_file).await else { continue };
        if let Some(found) = current.as_ref().filter(|found| !points_at(*found, &wanted)) {
            match write(&api, found, &wanted).await {
                Ok(written) => current = Some(written),
                Err(error) => {
                    tracing::warn!(%error, %kind, "cannot write the address into the webhook configuration {CONFIGURATION}");
                }
            }
        }
    }
}

/// What every webhook should say; `None` while the CA file is missing or empty.
async fn wanted(endpoint: &Endpoint, path: &str, ca_file: &Path) -> Option<WebhookClientConfig> {
    match tokio::fs::read(ca_file).await {
        Ok(pem) if !pem.is_empty() => Some(endpoint.client_config(path, Some(&pem))),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, file = %ca_file.display(), "cannot read the CA bundle for the registration");
            None
        }
    }
}

fn points_at<K: Configuration>(found: &K, wanted: &WebhookClientConfig) -> bool {
    found.clients().iter().all(|(_, client)| *client == wanted)
}

async fn write<K: Configuration>(api: &Api<K>, found: &K, wanted: &WebhookClientConfig) -> Result<K, kube::Error> {
    // A strategic merge keeps what is not named: the other way to be found must go by name.
    let entry = |(name, _): (&str, _)| json!({"name": name, "clientConfig": {"service": null, "url": wanted.url, "caBundle": wanted.ca_bundle}});
    let webhooks: Vec<_> = found.clients().into_iter().map(entry).collect();
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = api.patch(CONFIGURATION, &params, &Patch::Strategic(json!({"webhooks": webhooks}))).await?;
    tracing::info!(url = wanted.url.as_deref().unwrap_or_default(), "registered with the API server");
    Ok(written)
}
