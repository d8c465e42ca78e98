//! Workloads that are no Deployments.

use anyhow::Result;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use kube::Api;
use serde_json::{Value, json};

use super::ask::{Ask, Verb};
use super::platform::{API, GATEWAY, UI, deployment, image, set, set_held};
use super::scene::scenario;
use crate::support::wait::wait_for;

#[tokio::test]
async fn a_stateful_set_is_judged_in_the_middle_of_its_rollout() -> Result<()> {
    scenario("stateful", async |scene| {
        let sets: Api<StatefulSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
        scene.passes(&Ask::new(Verb::Create, "statefulsets", of_kind("StatefulSet", API, "2.2.0"))).await?;
        scene.install_each(&[(GATEWAY, "2.2.0")]).await?;
        wait_for(&sets, API, "its rollout", |set| {
            set.status.as_ref().is_some_and(|status| status.available_replicas == Some(2))
        })
        .await?;
        scene.passes(&set_held("statefulsets", API, "2.3.0")).await?;
        wait_for(&sets, API, "one pod of each version", |set| {
            let status = set.status.as_ref();
            status.is_some_and(|status| status.updated_replicas == Some(1) && status.replicas == 2)
        })
        .await?;
        let gateway = set(GATEWAY, "2.3.0");
        let refusal = scene.refused(&gateway, "running 2.3.0 (1/2 pods), 2.2.0 (1/2)").await?;
        insta::assert_snapshot!(refusal);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_daemon_set_is_judged_in_the_middle_of_its_rollout() -> Result<()> {
    scenario("daemon", async |scene| {
        let sets: Api<DaemonSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
        scene.passes(&Ask::new(Verb::Create, "daemonsets", of_kind("DaemonSet", GATEWAY, "2.2.0"))).await?;
        scene.install_each(&[(API, "2.2.0"), (UI, "2.2.0")]).await?;
        wait_for(&sets, GATEWAY, "its rollout", |set| {
            set.status.as_ref().is_some_and(|status| status.number_available == Some(2))
        })
        .await?;
        scene.refused(&set_held("daemonsets", GATEWAY, "2.3.0"), "[UG-ORDER]").await?;
        scene.upgrade(API, "2.3.0").await?;
        scene.passes(&set_held("daemonsets", GATEWAY, "2.3.0")).await?;
        wait_for(&sets, GATEWAY, "one pod of each version", |set| {
            let status = set.status.as_ref();
            status.is_some_and(|status| {
                status.updated_number_scheduled == Some(1) && status.observed_generation == set.metadata.generation
            })
        })
        .await?;
        let refusal = scene.refused(&set(UI, "2.3.0"), "running 2.3.0 (1/2 pods), 2.2.0 (1/2)").await?;
        insta::assert_snapshot!(refusal);
        Ok(())
    })
    .await
}

fn of_kind(kind: &str, component: &str, version: &str) -> Value {
    let mut object = deployment(component, &image(component, version));
    object["kind"] = json!(kind);
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("strategy");
        if kind == "DaemonSet" {
            spec.remove("replicas");
        }
    }
    object
}
