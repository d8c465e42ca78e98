//! The index follows a real API server: by its own resources, Argo Rollouts that appear later, and over a restart.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use upgrade_guard::api::{UpgradePolicy, definitions};
use upgrade_guard::cluster::index::SharedIndex;
use upgrade_guard::cluster::object::WorkloadKind;
use upgrade_guard::cluster::watch::{WatchObserver, run};
use upgrade_guard::crds::content::digest;

use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::{DEADLINE, wait_for};

const ROLLOUT_CRD: &str = "rollouts.argoproj.io";

/// Counts what it is told, so that a test can look again after each change.
struct Ticks(watch::Sender<u64>);

impl Ticks {
    fn tick(&self) {
        self.0.send_modify(|ticks| *ticks += 1);
    }
}

impl WatchObserver for Ticks {
    fn synced(&self, _: &'static str, _: bool) {
        self.tick();
    }
    fn event(&self, _: &'static str) {
        self.tick();
    }
    fn invalid(&self, _: &'static str, _: &str, _: &str) {
        self.tick();
    }
    fn error(&self, _: &'static str, _: &str) {
        self.tick();
    }
    fn recovered(&self, _: &'static str) {
        self.tick();
    }
}

/// Waits until the images of the governed workloads are these, each as `Kind/name image`.
async fn wait_for_images(
    index: &SharedIndex,
    ticks: &mut watch::Receiver<u64>,
    namespace: &str,
    expected: &[&str],
) -> Result<()> {
    let images = || -> Vec<String> {
        let snapshot = index.snapshot(namespace);
        let of = |snapshot: &upgrade_guard::cluster::snapshot::Snapshot| {
            let workloads = snapshot.inventory.workloads();
            workloads
                .map(|record| {
                    format!("{}/{} {}", record.kind.as_str(), record.name, record.template.containers[0].image)
                })
                .collect()
        };
        snapshot.as_ref().map(of).unwrap_or_default()
    };
    let waiting = async {
        while images() != expected {
            ticks.changed().await?;
        }
        anyhow::Ok(())
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    waited.with_context(|| format!("the index has {:?} and not {expected:?}", images()))?
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

async fn install(client: &Client, crd: &CustomResourceDefinition) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), crd).await?;
    wait_for(&api, &crd.name_any(), "it to be established", is_established).await?;
    Ok(())
}

fn rollout_crd() -> Result<CustomResourceDefinition> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": ROLLOUT_CRD },
        "spec": {
            "group": "argoproj.io",
            "names": { "kind": "Rollout", "plural": "rollouts" },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    }))?)
}

#[tokio::test]
async fn the_index_follows_a_cluster() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let client = cluster.client().await?;
    for crd in definitions() {
        install(&client, &crd).await?;
    }
    let namespace = cluster.namespace("index").await?;
    let (index, shutdown) = (SharedIndex::new(), CancellationToken::new());
    let (sender, mut ticks) = watch::channel(0);
    let running = run(client.clone(), index.clone(), Arc::new(Ticks(sender)), shutdown.clone(), digest);
    let running = tokio::spawn(running);

    // A Deployment before its policy.
    let pod = |image: &str| json!({ "metadata": { "labels": { "app": "api" } }, "spec": { "containers": [{ "name": "api", "image": image }] } });
    let deployment = json!({
        "metadata": { "name": "api" },
        "spec": { "selector": { "matchLabels": { "app": "api" } }, "template": pod("registry.test/api:2.2.0") },
    });
    let deployments: Api<Deployment> = namespace.api();
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    let none = tokio::time::timeout(DEADLINE, index.settled_snapshot(&namespace.name)).await;
    assert!(none.context("the index is synced")?.is_none());

    let policy: UpgradePolicy = serde_json::from_value(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": { "name": "index" },
        "spec": {
            "namespaces": [namespace.name],
            "components": [{ "name": "api", "match": { "images": ["registry.test/api"] } }],
        },
    }))?;
    Api::<UpgradePolicy>::all(client.clone()).create(&PostParams::default(), &policy).await?;
    wait_for_images(&index, &mut ticks, &namespace.name, &["Deployment/api registry.test/api:2.2.0"]).await?;

    // Rollouts from when the cluster knows them.
    let resource = WorkloadKind::Rollout.api_resource();
    let rollouts: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace.name, &resource);
    install(&client, &rollout_crd()?).await?;
    let rollout = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "canary" },
                          "spec": { "template": pod("registry.test/api:2.1.0") } });
    rollouts.create(&PostParams::default(), &serde_json::from_value(rollout)?).await?;
    let both = ["Deployment/api registry.test/api:2.2.0", "Rollout/canary registry.test/api:2.1.0"];
    wait_for_images(&index, &mut ticks, &namespace.name, &both).await?;

    cluster.restart("kube-apiserver").await?;
    let patch = json!({ "spec": { "template": pod("registry.test/api:2.3.0") } });
    deployments.patch("api", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    let both = ["Deployment/api registry.test/api:2.3.0", "Rollout/canary registry.test/api:2.1.0"];
    wait_for_images(&index, &mut ticks, &namespace.name, &both).await?;

    let crds: Api<CustomResourceDefinition> = Api::all(client);
    crds.delete(ROLLOUT_CRD, &<_>::default()).await?;
    wait_for_images(&index, &mut ticks, &namespace.name, &["Deployment/api registry.test/api:2.3.0"]).await?;

    shutdown.cancel();
    tokio::time::timeout(DEADLINE, running).await???; // in time, no panic, no error
    cluster.stop().await
}
