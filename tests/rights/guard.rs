//! The guard itself, through all that it does.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::{Api, Resource, ResourceExt as _};
use serde_json::{Value, json};
use upgrade_guard::api::OVERRIDE;

use crate::ask::{Ask, Verb};
use crate::audit::{differences, done_by, granted_to};
use crate::helm::in_repository;
use crate::hooks;
use crate::platform::{API, GATEWAY, PORTAL, UI, budget, deployment, image, set, set_held, set_released};
use crate::scene::Scene;
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{Guard, Registration, install, succeeded};
use crate::support::wait::{Watched, eventually, wait_for};

const HELD: &str = "guard.gostoa.dev/held";

/// Rights of the guard that stay although this test has no use for them, with the reason.
const KEPT: [(&str, &str); 0] = [];

/// Certificates that the guard makes itself, and soon renews: how long CA and leaf live, in seconds, and what is between.
const OWN_CERTIFICATES: [&str; 5] = ["--self-signed", "--name", "127.0.0.1", "--lifetimes", "3600,60,1,60"];

#[tokio::test]
async fn everything_that_is_granted_is_used_and_nothing_more_is_needed() -> Result<()> {
    let policy = in_repository("tests/fixtures/rights/audit.yaml");
    let Some(cluster) = Cluster::audited(Shape::Whole, &policy).await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let files = [
        "manifests/crds/",
        "tests/fixtures/rights/rollouts.yaml",
        "manifests/namespace.yaml",
        "manifests/rbac.yaml",
        "manifests/webhook.yaml",
    ];
    install(&cluster, &files).await?;
    let rendered = hooks::rendered();
    hooks::make_accounts(&cluster, &rendered).await?;

    let mut guard = Guard::start_with(&cluster, Registration::ByGuard, &OWN_CERTIFICATES).await?;
    hooks::applies_the_preset(&cluster, &rendered, folder.path()).await?;
    let scene = Scene::open(&cluster, &guard, "rights").await?;
    everything(&scene).await?;
    let held = leave_two_held(&scene).await?;
    drop(scene);
    eventually("the guard to renew its certificate", async || {
        let done = done_by("upgrade-guard", &cluster.audit_log())?;
        Ok(if done.used.contains_key("update /secrets") { Ok(()) } else { Err("it did not write it") })
    })
    .await?;
    // An orderly end gives the lead away, and the next guard takes it.
    guard.terminate()?;
    let next = Guard::start_with(&cluster, Registration::ByGuard, &OWN_CERTIFICATES).await?;
    drop(guard);
    next.kill().await?;
    hooks::lets_go(&cluster, &rendered, folder.path(), held).await?;
    hooks::brings_the_crds(&cluster, &rendered, folder.path()).await?;

    let log = cluster.audit_log();
    let mut told = Vec::new();
    for (account, kept) in [
        ("upgrade-guard", &KEPT[..]),
        ("upgrade-guard-crds", &[]),
        ("upgrade-guard-preset", &[]),
        ("upgrade-guard-release", &[]),
    ] {
        let (done, granted) = (done_by(account, &log)?, granted_to(account, &rendered));
        ensure!(!granted.is_empty() && !done.used.is_empty(), "{account}: {} rights", granted.len());
        told.extend(differences(&done, &granted, kept).into_iter().map(|line| format!("{account} {line}")));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    cluster.stop().await
}

/// A component's workload of another kind.
fn of_kind(kind: &str, name: &str, version: &str) -> Value {
    let mut workload = deployment(name, &image(name, version));
    workload["kind"] = json!(kind);
    if let Some(spec) = workload["spec"].as_object_mut() {
        spec.remove("strategy");
        match kind {
            "StatefulSet" => drop(spec.insert("serviceName".to_owned(), json!(name))),
            "DaemonSet" => drop(spec.remove("replicas")),
            _ => {}
        }
    }
    workload
}

fn bump(plural: &str, component: &str, version: &str) -> Ask {
    let patch = json!({"spec": {"template": {"spec": {
        "containers": [{"name": component, "image": image(component, version)}]}}}});
    Ask::new(Verb::StrategicPatch, format!("{plural}/{component}"), patch)
}

async fn is_let_go<K: Watched + Resource<DynamicType = ()>>(api: &Api<K>, name: &str) -> Result<()> {
    wait_for(api, name, "it to be let go", |found| !found.labels().contains_key(HELD)).await.map(drop)
}

/// Installs components of every kind, upgrades them out of order, and overrides the rules.
async fn everything(scene: &Scene<'_>) -> Result<()> {
    let mut policy = scene.policy()?;
    policy["spec"]["onNotYet"] = json!("Hold");
    scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [budget(), policy]})).await?;
    scene.governed().await?;
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}}});
    scene.apply(&autoscaler).await?;
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "keycloak"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [
            {"name": "keycloak", "image": "quay.io/keycloak/keycloak:24.0.0"}]}}}});
    scene.apply(&rollout).await?;
    scene.passes(&Ask::new(Verb::Create, "statefulsets", of_kind("StatefulSet", UI, "2.2.0"))).await?;
    scene.passes(&Ask::new(Verb::Create, "daemonsets", of_kind("DaemonSet", PORTAL, "2.2.0"))).await?;
    scene.install_each(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;
    let sets: Api<StatefulSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let daemons: Api<DaemonSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
    wait_for(&sets, UI, "its pods", |set| {
        set.status.as_ref().is_some_and(|status| status.available_replicas == Some(2))
    })
    .await?;
    wait_for(&daemons, PORTAL, "its pods", |set| {
        set.status.as_ref().is_some_and(|status| status.number_available == Some(2))
    })
    .await?;

    // Held, with the API half-way, and let go when it is there. The same refusal twice is one Event with a count.
    scene.warned(&bump("statefulsets", UI, "2.3.0"), "is held").await?;
    scene.warned(&set(GATEWAY, "2.3.0"), "is held").await?;
    scene.passes(&set_held("deployments", API, "2.3.0")).await?;
    scene.halted(API, 1, 1).await?;
    for _ in 0..2 {
        scene.refused(&set(API, "2.6.0"), "[UG-HOP]").await?;
    }
    scene.passes(&set_released("deployments", API, "2.3.0")).await?;
    let deployments: Api<Deployment> = scene.deployments();
    is_let_go(&deployments, GATEWAY).await?;
    scene.rolled_out(GATEWAY).await?;
    is_let_go(&sets, UI).await?;
    wait_for(&sets, UI, "its rollout", |set| {
        set.status.as_ref().is_some_and(|status| {
            status.available_replicas == Some(2) && status.current_revision == status.update_revision
        })
    })
    .await?;
    overrides(scene).await
}

/// A move with an override in the same request, by someone who may.
async fn overrides(scene: &Scene<'_>) -> Result<()> {
    let by = "UG-ORDER,UG-SKEW; incident 4711; until=2999-01-01T00:00:00Z";
    let patch = json!({"metadata": {"annotations": {OVERRIDE: by}}, "spec": {"template": {"spec": {
        "containers": [{"name": PORTAL, "image": image(PORTAL, "2.4.0")}]}}}});
    // One step at a time, and then one that only an override lets pass.
    scene.passes(&bump("daemonsets", PORTAL, "2.3.0")).await?;
    let ask = Ask::new(Verb::StrategicPatch, format!("daemonsets/{PORTAL}"), patch);
    eventually("the step to be complete, and the override to count", async || {
        let answer = scene.send(&ask).await?;
        let overridden = answer.warnings.iter().any(|warning| warning.contains("overridden: "));
        Ok(if answer.is_allowed() && overridden { Ok(()) } else { Err(answer) })
    })
    .await
}

/// Leaves two workloads held, one of each kind that can be; how many they are.
async fn leave_two_held(scene: &Scene<'_>) -> Result<usize> {
    scene.warned(&bump("statefulsets", UI, "2.4.0"), "is held").await?;
    scene.warned(&set(GATEWAY, "2.4.0"), "is held").await?;
    let listed = ["get", "deployments,statefulsets", "-l", HELD, "-o", "name"];
    let names = succeeded(scene.kubectl(&listed).await?)?;
    ensure!(names.lines().count() == 2, "{names}");
    Ok(names.lines().count())
}
