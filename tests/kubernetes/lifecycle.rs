//! Installing, deleting, scaling, undoing and pausing: what people do to workloads besides upgrading them.

use anyhow::{Result, ensure};
use serde_json::json;

use super::ask::{Ask, Verb};
use super::platform::{
    API, GATEWAY, NEVER_READY, PORTAL, UI, create, deployment, image, set, set_held, set_image, set_released,
};
use super::scene::{scenario, scenario_under};
use crate::support::wait::wait_gone;

#[tokio::test]
async fn everything_may_be_installed_at_once_in_any_order() -> Result<()> {
    scenario("install", async |scene| {
        let items = [PORTAL, UI, GATEWAY, API].map(|component| deployment(component, &image(component, "2.3.0")));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        let printed = scene.kubectl_passes(&["apply", "-f", "-"], &list).await?;
        assert_eq!(printed.lines().filter(|line| line.ends_with("created")).count(), 4, "{printed}");
        assert!(!printed.contains("Warning"), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_first_install_does_not_wait_for_its_own_parts() -> Result<()> {
    scenario("install-slowly", async |scene| {
        let mut api = deployment(API, &image(API, "2.3.0"));
        api["spec"]["template"]["metadata"]["labels"][NEVER_READY] = json!("true");
        scene.passes(&Ask::new(Verb::Create, "deployments", api)).await?;
        scene.halted(API, 2, 0).await?;
        scene.seen(&[(API, "2.3.0")]).await?;
        // Nothing of another version runs: there is nothing to be too early for.
        let answer = scene.send(&create(GATEWAY, &image(GATEWAY, "2.3.0"))).await?;
        ensure!(answer.is_allowed(), "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deleting_passes_and_recreating_is_no_way_around_the_order() -> Result<()> {
    scenario("recreate", async |scene| {
        scene.install("2.2.0").await?;
        scene.refused(&set(GATEWAY, "2.3.0"), "[UG-ORDER]").await?;
        let delete = scene.send(&Ask::new(Verb::Delete, format!("deployments/{GATEWAY}"), json!({}))).await?;
        ensure!(delete.is_allowed() && delete.warnings.is_empty(), "{delete:?}");
        wait_gone(&scene.deployments(), GATEWAY).await?;

        let newer = scene.refused(&create(GATEWAY, &image(GATEWAY, "2.3.0")), "[UG-ORDER]").await?;
        insta::assert_snapshot!(newer);
        scene.passes(&create(GATEWAY, &image(GATEWAY, "2.2.0"))).await?;
        scene.rolled_out(GATEWAY).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn scaling_to_one_is_warned_about() -> Result<()> {
    scenario("scale", async |scene| {
        scene.install_each(&[(API, "2.2.0")]).await?;
        let printed = scene.kubectl_passes(&["scale", "deployment", API, "--replicas=1"], "").await?;
        insta::assert_snapshot!(printed);
        scene.passes(&replicas(2)).await?;
        scene.warned(&replicas(1), "[UG-ZERODOWNTIME] control-plane-api has too few replicas").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn scaling_to_one_is_refused_where_zero_downtime_is_enforced() -> Result<()> {
    let enforce = |policy: &mut serde_json::Value| policy["spec"]["modes"]["UG-ZERODOWNTIME"] = json!("Enforce");
    scenario_under("scale-enforced", enforce, async |scene| {
        scene.install_each(&[(API, "2.2.0")]).await?;
        let printed = scene.kubectl_refused(&["scale", "deployment", API, "--replicas=1"], "", "[UG-ZERO").await?;
        insta::assert_snapshot!(printed);
        scene.refused(&replicas(1), "[UG-ZERODOWNTIME] control-plane-api has too few replicas").await?;
        scene.passes(&replicas(3)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_component_in_two_workloads_counts_as_one() -> Result<()> {
    scenario("two-workloads", async |scene| {
        // The API's image under a name that the policy does not know.
        scene.passes(&create("api-for-batch", &image(API, "2.2.0"))).await?;
        scene.install("2.2.0").await?;
        scene.rolled_out("api-for-batch").await?;
        scene.upgrade(API, "2.3.0").await?;
        let gateway = set(GATEWAY, "2.3.0");
        let refusal = scene.refused(&gateway, "running 2.3.0 (2/4 pods), 2.2.0 (2/4)").await?;
        insta::assert_snapshot!(refusal);
        scene.passes(&set_image("api-for-batch", "api-for-batch", &image(API, "2.3.0"))).await?;
        scene.passes(&gateway).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn undoing_a_rollout_is_judged_as_the_downgrade_it_is() -> Result<()> {
    scenario("undo", async |scene| {
        scene.install("2.2.0").await?;
        for component in [API, GATEWAY, UI, PORTAL] {
            scene.upgrade(component, "2.3.0").await?;
        }
        let undo = ["rollout", "undo", "deployment/stoa-gateway"];
        let refusal = scene.kubectl_refused(&undo, "", "must wait for").await?;
        insta::assert_snapshot!(refusal);
        for component in [PORTAL, UI] {
            scene.kubectl_passes(&["rollout", "undo", &format!("deployment/{component}")], "").await?;
        }
        scene.kubectl_passes(&undo, "").await?;
        assert_eq!(scene.image_of(GATEWAY).await?, image(GATEWAY, "2.2.0"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn restarting_on_a_mutable_tag_is_warned_about() -> Result<()> {
    scenario("restart", async |scene| {
        for (component, version) in [(PORTAL, "latest"), (API, "2.2.0")] {
            scene.passes(&create(component, &image(component, version))).await?;
        }
        let printed = scene.kubectl_passes(&["rollout", "restart", "deployment/portal"], "").await?;
        insta::assert_snapshot!(printed);
        let pinned = scene.kubectl_passes(&["rollout", "restart", "deployment/control-plane-api"], "").await?;
        assert!(!pinned.contains("Warning"), "{pinned}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn resuming_a_paused_rollout_is_judged_as_the_rollout_it_starts() -> Result<()> {
    scenario("pause", async |scene| {
        scene.install("2.2.0").await?;
        scene.upgrade(API, "2.3.0").await?;
        scene.kubectl_passes(&["rollout", "pause", "deployment/stoa-gateway"], "").await?;
        let set = format!("{GATEWAY}={}", image(GATEWAY, "2.3.0"));
        scene.kubectl_passes(&["set", "image", "deployment/stoa-gateway", &set], "").await?;

        // Meanwhile the API rolls again: the gateway's new pods would meet it half-way.
        scene.passes(&set_held("deployments", API, "2.3.1")).await?;
        scene.halted(API, 1, 1).await?;
        let resume = ["rollout", "resume", "deployment/stoa-gateway"];
        let refusal = scene.kubectl_refused(&resume, "", "must wait for control-plane-api").await?;
        insta::assert_snapshot!(refusal);
        scene.passes(&set_released("deployments", API, "2.3.1")).await?;
        scene.rolled_out(API).await?;
        scene.kubectl_passes(&resume, "").await?;
        scene.rolled_out(GATEWAY).await?;
        Ok(())
    })
    .await
}

/// Another number of pods of the API, asked for in its spec.
fn replicas(count: u32) -> Ask {
    Ask::new(Verb::MergePatch, format!("deployments/{API}"), json!({"spec": {"replicas": count}}))
}
