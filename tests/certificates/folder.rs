//! The bundle of a mounted Secret is kept in the registration of a guard behind its Service.

use std::path::Path;

use anyhow::{Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use upgrade_guard::server::devcert::DevelopmentCertificate;

use crate::scene::Scene;
use crate::support::guard::{Guard, install};
use crate::support::wait::eventually;

const SERVICE: &str = "upgrade-guard.upgrade-guard.svc";

fn certificate(folder: &Path, name: &str) -> Result<String> {
    let made = DevelopmentCertificate::make(&[name.to_owned()], 1)?;
    made.write(folder)?;
    Ok(made.authority)
}

async fn registered(scene: &Scene, authority: &str) -> Result<()> {
    eventually("the bundle of the folder in every webhook", async || {
        let live = scene.bundles().await?;
        Ok(if live.iter().all(|bundle| bundle == authority.as_bytes()) { Ok(()) } else { Err(live.len()) })
    })
    .await
}

/// Nothing is reviewed here: nobody may dial the address of a Service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bundle_of_a_folder_is_kept_and_the_service_left_alone() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    let folder = scene.cluster.folder().join("mounted");
    let other = certificate(&folder, "localhost")?;
    install(&scene.cluster, &["manifests/webhook.yaml"]).await?;
    let path = folder.display().to_string();
    let args = ["--certs", &path, "--write-ca-bundle"].map(str::to_owned);
    let guard = Guard::launch(&scene.cluster, &args).await?;
    registered(&scene, &other).await?;
    // The API server would call another name than the certificate is for.
    eventually("the reason why it is not ready", async || {
        let (status, text) = guard.get("/readyz").await?;
        Ok(if status == 503 && text.contains(SERVICE) { Ok(()) } else { Err(text) })
    })
    .await?;
    for _ in 0..2 {
        let authority = certificate(&folder, SERVICE)?;
        registered(&scene, &authority).await?;
        guard.ready().await?;
    }
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(scene.client.clone());
    for webhook in configurations.get("upgrade-guard").await?.webhooks.unwrap_or_default() {
        let client = webhook.client_config;
        ensure!(
            client.url.is_none() && client.service.is_some_and(|found| found.port == Some(443)),
            "{}",
            webhook.name
        );
    }
    scene.end(vec![guard]).await
}
