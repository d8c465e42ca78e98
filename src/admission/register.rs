//! Keeps the guard's address and CA bundle in its own webhook configuration, for a guard that runs outside of the
//! cluster. It writes nothing else: what the webhook is called for stays what was applied.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhookConfiguration, WebhookClientConfig};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::registration::{CONFIGURATION, Endpoint};

/// The field manager of what is written.
const FIELD_MANAGER: &str = "upgrade-guard";
/// How often the CA file is looked at; a Secret volume is refreshed about once a minute.
const CA_POLL: Duration = Duration::from_secs(10);

/// Writes `url` and the CA bundle in `ca_file` into the webhook configuration whenever one of the three changes.
/// Never returns; a configuration or file that is not there yet is waited for.
pub async fn keep(client: Client, url: String, ca_file: PathBuf) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={CONFIGURATION}"));
    let mut live = watcher(api.clone(), only_ours).default_backoff().applied_objects().boxed();
    let mut tick = tokio::time::interval(CA_POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let endpoint = Endpoint::Url(url);
    let mut current: Option<ValidatingWebhookConfiguration> = None;
    loop {
        tokio::select! {
            next = live.try_next() => match next {
                Ok(Some(found)) => current = Some(found),
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "cannot watch validatingwebhookconfiguration/{CONFIGURATION}"),
            },
            _ = tick.tick() => {}
        }
        let Some(wanted) = wanted(&endpoint, &ca_file).await else { continue };
        if let Some(found) = current.as_ref().filter(|found| !points_at(found, &wanted)) {
            match write(&api, found, &wanted).await {
                Ok(written) => current = Some(written),
                Err(error) => {
                    tracing::warn!(%error, "cannot write the address into validatingwebhookconfiguration/{CONFIGURATION}");
                }
            }
        }
    }
}

/// What every webhook should say; `None` while the CA file is missing or empty.
async fn wanted(endpoint: &Endpoint, ca_file: &Path) -> Option<WebhookClientConfig> {
    match tokio::fs::read(ca_file).await {
        Ok(pem) if !pem.is_empty() => Some(endpoint.client_config(Some(&pem))),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, file = %ca_file.display(), "cannot read the CA bundle for the registration");
            None
        }
    }
}

fn points_at(found: &ValidatingWebhookConfiguration, wanted: &WebhookClientConfig) -> bool {
    found.webhooks.iter().flatten().all(|webhook| webhook.client_config == *wanted)
}

async fn write(
    api: &Api<ValidatingWebhookConfiguration>,
    found: &ValidatingWebhookConfiguration,
    wanted: &WebhookClientConfig,
) -> Result<ValidatingWebhookConfiguration, kube::Error> {
    let webhooks: Vec<_> = found
        .webhooks
        .iter()
        .flatten()
        // A strategic merge keeps what is not named: the other way to be found must go by name.
        .map(|webhook| {
            json!({
                "name": webhook.name,
                "clientConfig": {"service": null, "url": wanted.url, "caBundle": wanted.ca_bundle},
            })
        })
        .collect();
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = api.patch(CONFIGURATION, &params, &Patch::Strategic(json!({"webhooks": webhooks}))).await?;
    tracing::info!(url = wanted.url.as_deref().unwrap_or_default(), "registered with the API server");
    Ok(written)
}
