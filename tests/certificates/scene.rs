//! A cluster with a governed Deployment, the registration of guards behind a forwarder, and what stands in the Secret.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::process::Command;

use crate::forwarder::Forwarder;
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{Guard, install, succeeded};
use crate::support::wait::eventually;

/// The keys of the Secret that must never be seen.
pub(crate) const KEYS: [&str; 3] = ["tls.key", "ca.key", "next-ca.key"];

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) forwarder: Forwarder,
    pub(crate) namespace: String,
}

impl Scene {
    /// A Deployment under a policy, and no registration yet. `None` when these tests are skipped.
    pub(crate) async fn open() -> Result<Option<Self>> {
        let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(None) };
        install(&cluster, &["manifests/crds/", "manifests/namespace.yaml", "manifests/rbac.yaml"]).await?;
        let namespace = cluster.namespace("shop").await?.name;
        let policy = json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1",
            "kind": "UpgradePolicy",
            "metadata": {"name": "shop"},
            "spec": {"namespaces": [namespace], "components": [{"name": "api", "match": {"images": ["*/shop/api"]}}]},
        });
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "api", "namespace": namespace},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "api"}},
                "template": {
                    "metadata": {"labels": {"app": "api"}},
                    "spec": {"containers": [{"name": "api", "image": "registry.example.com/shop/api:2.2.0"}]},
                },
            },
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, deployment]}).to_string();
        succeeded(cluster.kubectl_with(&["apply", "-f", "-"], &list).await?)?;
        let client = cluster.client().await?;
        Ok(Some(Self { client, forwarder: Forwarder::start().await?, namespace, cluster }))
    }

    /// The address that is registered.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.forwarder.address)
    }

    /// Starts a guard with certificates of its own, and waits for nothing. `lifetimes`: of the authority, the leaf, the
    /// wait, and the time after the end, in seconds.
    pub(crate) async fn launch(&self, lifetimes: &str) -> Result<Guard> {
        let url = self.url();
        let args = ["--self-signed", "--name", "127.0.0.1", "--register", &url, "--lifetimes", lifetimes];
        Guard::launch(&self.cluster, &args.map(str::to_owned)).await
    }

    /// Two replicas that start at the same time; waits until both are ready, and leads connections to them.
    pub(crate) async fn launch_two(&self, lifetimes: &str) -> Result<[Guard; 2]> {
        let (first, second) = tokio::try_join!(self.launch(lifetimes), self.launch(lifetimes))?;
        tokio::try_join!(first.ready(), second.ready())?;
        self.forwarder.lead_to(&[first.https(), second.https()]);
        Ok([first, second])
    }

    /// Applies the registration as it is printed for this address, without a bundle.
    pub(crate) async fn register(&self) -> Result<()> {
        let program = env!("CARGO_BIN_EXE_upgrade-guard");
        let printed = Command::new(program).args(["webhook", "--url", &self.url()]).output()?;
        let printed = String::from_utf8(printed.stdout)?;
        ensure!(!printed.contains("caBundle"), "a bundle would overwrite the one in use: {printed}");
        succeeded(self.cluster.kubectl_with(&["apply", "-f", "-"], &printed).await?).map(drop)
    }

    /// A change of the Deployment that is reviewed and not stored.
    pub(crate) async fn review(&self, number: usize) -> Result<(), kube::Error> {
        let change = json!({"spec": {"template": {"metadata": {"annotations": {"number": number.to_string()}}}}});
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        deployments.patch("api", &params, &Patch::Merge(change)).await.map(drop)
    }

    /// Waits until reviews pass.
    pub(crate) async fn reviews_pass(&self) -> Result<()> {
        eventually("a review to pass", async || Ok(self.review(0).await)).await
    }

    // --- what is there

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), "upgrade-guard")
    }

    /// One value of the Secret; empty where there is none.
    pub(crate) async fn stored(&self, key: &str) -> Result<Vec<u8>> {
        let secret = self.secrets().get_opt("upgrade-guard-tls").await?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        Ok(data.get(key).map_or_else(Vec::new, |value| value.0.clone()))
    }

    /// The bundle of every webhook of both configurations.
    pub(crate) async fn bundles(&self) -> Result<Vec<Vec<u8>>> {
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let validating = validating.get("upgrade-guard").await?.webhooks.unwrap_or_default();
        let mutating = mutating.get("upgrade-guard").await?.webhooks.unwrap_or_default();
        let clients = validating.into_iter().map(|webhook| webhook.client_config);
        let clients = clients.chain(mutating.into_iter().map(|webhook| webhook.client_config));
        Ok(clients.map(|client| client.ca_bundle.unwrap_or_default().0).collect())
    }

    /// Waits until every webhook has the bundle of the Secret.
    pub(crate) async fn bundles_agree(&self) -> Result<()> {
        eventually("the bundle of the Secret in every webhook", async || {
            let (stored, live) = (self.stored("ca.crt").await?, self.bundles().await?);
            let agree = !stored.is_empty() && live.iter().all(|bundle| *bundle == stored);
            Ok(if agree { Ok(()) } else { Err(live.iter().map(Vec::len).collect::<Vec<_>>()) })
        })
        .await
    }

    /// Writes the same bundle into every webhook, as somebody who means well.
    pub(crate) async fn overwrite_bundles(&self, bundle: Option<&[u8]>) -> Result<()> {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        let bundle = bundle.map(|pem| k8s_openapi::ByteString(pem.to_vec()));
        let client = json!({"caBundle": bundle});
        let of = |names: &[&str]| -> Value {
            names
                .iter()
                .map(|name| json!({"name": format!("{name}.guard.gostoa.dev"), "clientConfig": client}))
                .collect()
        };
        let validating = json!({"webhooks": of(&["workloads", "scale", "policies"])});
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        configurations.patch("upgrade-guard", &params, &Patch::Strategic(validating)).await?;
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let mutating = json!({"webhooks": of(&["hold"])});
        configurations.patch("upgrade-guard", &params, &Patch::Strategic(mutating)).await.map(drop)?;
        Ok(())
    }

    /// What the API server counted of webhook calls that failed, let through or refused.
    pub(crate) async fn failed_calls(&self) -> Result<Vec<String>> {
        let request = axum::http::Request::get("/metrics").body(vec![])?;
        let text = self.client.request_text(request).await?;
        let failed = |line: &&str| {
            line.starts_with("apiserver_admission_webhook_fail_open_count")
                || (line.starts_with("apiserver_admission_webhook_rejection_count")
                    && line.contains("calling_webhook_error"))
        };
        Ok(text.lines().filter(failed).filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect())
    }

    /// No key is in the log of a guard, as a whole or in part.
    pub(crate) async fn keeps_its_secrets(&self, guards: &[&Guard]) -> Result<()> {
        let mut lines = vec!["PRIVATE KEY".to_owned()];
        for key in KEYS {
            let text = String::from_utf8(self.stored(key).await?)?;
            lines.extend(text.lines().filter(|line| line.len() > 20 && !line.starts_with('-')).map(str::to_owned));
        }
        ensure!(lines.len() > 4, "the keys that are looked for: {}", lines.len());
        for guard in guards {
            for line in &lines {
                let log = guard.log_tail(line);
                let found = log.lines().nth(1).is_some_and(|line| !line.is_empty());
                ensure!(!found, "a key is in the log");
            }
        }
        Ok(())
    }

    pub(crate) async fn end(self, guards: Vec<Guard>) -> Result<()> {
        for guard in guards {
            guard.kill().await.context("the guard ends")?;
        }
        self.cluster.stop().await
    }
}
