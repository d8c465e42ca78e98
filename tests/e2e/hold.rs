//! Hold mode: everything is applied at once, and the guard lets go one after the other.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;

use crate::observer::Observer;
use crate::toys::deployments;
use crate::wait::wait_for;
use crate::world::World;
use upgrade_guard::api::Platform;

const NAMESPACE: &str = "e2e-hold";

pub(crate) async fn run(world: &World) -> Result<()> {
    world.platform_at(NAMESPACE, json!({"onNotYet": "Hold"}), "2.2.0", "1s").await?;
    complete(world, NAMESPACE, "2.2.0").await?;
    let observer = Observer::start(world, NAMESPACE).await?;
    world.apply(&deployments(NAMESPACE, "2.3.0", "1s")).await?;
    let held = held(world, NAMESPACE).await?;
    ensure!(held.contains(&"stoa-gateway".to_owned()) && held.contains(&"portal".to_owned()), "held: {held:?}");
    complete(world, NAMESPACE, "2.3.0").await?;
    // The same again is nothing new.
    world.apply(&deployments(NAMESPACE, "2.3.0", "1s")).await?;
    nothing_is_held(world, NAMESPACE).await?;
    observer.verdict().map(drop)
}

/// The Deployments that are paused.
pub(crate) async fn held(world: &World, namespace: &str) -> Result<Vec<String>> {
    let found = world.api::<Deployment>(namespace).list(&ListParams::default()).await?;
    let held =
        found.items.iter().filter(|deployment| deployment.spec.as_ref().is_some_and(|spec| spec.paused == Some(true)));
    Ok(held.map(kube::ResourceExt::name_any).collect())
}

/// Nothing is paused, and no annotation says that it is.
pub(crate) async fn nothing_is_held(world: &World, namespace: &str) -> Result<()> {
    let held = held(world, namespace).await?;
    ensure!(held.is_empty(), "still held: {held:?}");
    for deployment in world.api::<Deployment>(namespace).list(&ListParams::default()).await?.items {
        let left: Vec<&String> =
            deployment.annotations().keys().filter(|key| key.starts_with("guard.gostoa.dev/held")).collect();
        ensure!(left.is_empty(), "{} has still {left:?}", deployment.name_any());
    }
    Ok(())
}

/// All components run this version, and the Platform knows it and waits for nothing.
pub(crate) async fn complete(world: &World, namespace: &str, version: &str) -> Result<Platform> {
    let what = format!("{version} to be complete");
    wait_for::<Platform>(&world.api(namespace), namespace, &what, |platform| {
        let Some(status) = &platform.status else { return false };
        status.components.len() == crate::toys::COMPONENTS.len()
            && status.components.iter().all(|component| {
                component.completed.as_deref() == Some(version) && component.settled && !component.held
            })
            && status.intents.is_empty()
            && status.blocked.iter().all(|blocked| !blocked.held)
    })
    .await
}
