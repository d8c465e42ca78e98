//! The STOA policy as the chart applies it: an upgrade in the wrong order is refused, in the right order it passes, with
//! real pods.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::observer::Observer;
use crate::toys::{COMPONENTS, deployments, namespace, service};
use crate::wait::{eventually, wait_for};
use crate::world::World;
use k8s_openapi::api::core::v1::Service;
use upgrade_guard::api::{Platform, UpgradePolicy};

const NAMESPACE: &str = "stoa-system";

pub(crate) async fn run(world: &World) -> Result<()> {
    // The chart's own Job brought it, in a pod.
    let policies = kube::Api::<UpgradePolicy>::all(world.client.clone());
    policies.get("stoa").await.context("the chart was to apply the policy")?;
    // No hook runs in this scene: what it would see to is only told.
    let modes = json!({"spec": {"modes": {"UG-CRD": "Warn", "UG-PRECONDITION": "Warn", "UG-SCHEMA": "Warn"}}});
    let patch = ["patch", "upgradepolicy", "stoa", "--type=merge", "-p", &modes.to_string()];
    world.kubectl(&patch).await?.succeeded()?;

    world.apply(&namespace(NAMESPACE)).await?;
    world.apply(&deployments(NAMESPACE, "2.2.0", "1s")).await?;
    let services: Vec<_> = COMPONENTS.iter().map(|component| service(NAMESPACE, component)).collect();
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": services})).await?;
    world.all_rolled_out(NAMESPACE).await?;
    completed(world, "2.2.0").await?;
    let observer = Observer::start(world, NAMESPACE).await?;

    refused(
        world,
        "stoa-gateway",
        "2.3.0",
        "[UG-ORDER] stoa-gateway 2.2.0 -> 2.3.0 must wait for control-plane-api 2.3.0",
    )
    .await?;
    refused(world, "portal", "2.3.0", "[UG-ORDER] must wait for stoa-gateway 2.3.0").await?;
    refused(world, "control-plane-api", "2.4.0", "[UG-HOP] control-plane-api 2.2.0 -> 2.4.0").await?;

    world.set_image(NAMESPACE, "control-plane-api", "2.3.0").await?.succeeded()?;
    // One pod is new, the other one old.
    observer.saw("control-plane-api", 3).await?;
    refused(world, "stoa-gateway", "2.3.0", "must wait for control-plane-api 2.3.0").await?;
    world.rolled_out(NAMESPACE, "control-plane-api").await?;
    for component in &COMPONENTS[1..] {
        passes(world, component, "2.3.0").await?;
        world.rolled_out(NAMESPACE, component).await?;
    }
    for component in COMPONENTS {
        answers(world, component, "2.3.0").await?;
    }
    completed(world, "2.3.0").await?;
    let states = observer.verdict()?;
    ensure!(states > 20, "the observer saw no more than {states} states");
    Ok(())
}

/// The API server refuses this change with the words of the rule.
async fn refused(world: &World, component: &str, version: &str, words: &str) -> Result<()> {
    let said = world.set_image(NAMESPACE, component, version).await?;
    ensure!(!said.success, "{component} {version} was admitted: {}", said.stdout);
    ensure!(said.stderr.contains(words), "not refused with {words:?}: {}", said.stderr);
    ensure!(said.stderr.contains("workloads.guard.gostoa.dev"), "not by the guard: {}", said.stderr);
    Ok(())
}

/// The change passes as soon as the guard has seen that the one before it is complete.
async fn passes(world: &World, component: &str, version: &str) -> Result<()> {
    eventually(&format!("{component} {version} to be admitted"), async || {
        let said = world.set_image(NAMESPACE, component, version).await?;
        Ok(if said.success { Ok(()) } else { Err(said.stderr) })
    })
    .await
}

/// The pods behind the Service say what they are.
async fn answers(world: &World, component: &str, version: &str) -> Result<()> {
    let service: Service = world.api(NAMESPACE).get(component).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("a ClusterIP")?;
    let told = world.http(&address, "/version").await?;
    ensure!(told == json!({"component": component, "version": version}), "{component} says {told}");
    Ok(())
}

/// The Platform tells that every component has completed this version.
async fn completed(world: &World, version: &str) -> Result<()> {
    wait_for::<Platform>(&world.api(NAMESPACE), "stoa", &format!("{version} to be completed"), |platform| {
        let components = platform.status.as_ref().map(|status| status.components.as_slice()).unwrap_or_default();
        COMPONENTS.iter().all(|name| {
            let component = components.iter().find(|component| component.name == *name);
            component.is_some_and(|component| component.completed.as_deref() == Some(version) && component.settled)
        })
    })
    .await
    .map(drop)
}
