//! The order and the distance of upgrades, as the guide has them.

use anyhow::Result;

use super::platform::{API, GATEWAY, PORTAL, UI, image, set, set_held, set_released};
use super::scene::scenario;

#[tokio::test]
async fn the_wrong_order_is_refused_and_the_same_command_passes_after_the_api() -> Result<()> {
    scenario("order", async |scene| {
        scene.install("2.2.0").await?;
        let gateway = format!("{GATEWAY}={}", image(GATEWAY, "2.3.0"));
        let command = ["set", "image", "deployment/stoa-gateway", &gateway];
        let refusal = scene.kubectl_refused(&command, "", "Upgrade control-plane-api first").await?;
        insta::assert_snapshot!(refusal);
        assert_eq!(scene.image_of(GATEWAY).await?, image(GATEWAY, "2.2.0"));

        let api = format!("{API}={}", image(API, "2.3.0"));
        scene.kubectl_passes(&["set", "image", "deployment/control-plane-api", &api], "").await?;
        scene.kubectl_passes(&["rollout", "status", "deployment/control-plane-api", "--timeout=60s"], "").await?;
        scene.kubectl_passes(&command, "").await?;
        assert_eq!(scene.image_of(GATEWAY).await?, image(GATEWAY, "2.3.0"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_right_order_leads_to_the_end_and_the_reverse_order_back() -> Result<()> {
    scenario("there-and-back", async |scene| {
        scene.install("2.2.0").await?;
        for component in [API, GATEWAY, UI, PORTAL] {
            scene.upgrade(component, "2.3.0").await?;
        }
        scene.refused(&set(API, "2.2.0"), "must wait for").await?;
        for component in [PORTAL, UI] {
            scene.upgrade(component, "2.2.0").await?;
        }
        let refusal = scene.refused(&set(API, "2.2.0"), "must wait for stoa-gateway to go back").await?;
        insta::assert_snapshot!(refusal);
        for component in [GATEWAY, API] {
            scene.upgrade(component, "2.2.0").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_half_rolled_out_upstream_is_waited_for() -> Result<()> {
    scenario("half", async |scene| {
        scene.install("2.2.0").await?;
        scene.passes(&set_held("deployments", API, "2.3.0")).await?;
        scene.halted(API, 1, 1).await?;
        let gateway = set(GATEWAY, "2.3.0");
        let refusal = scene.refused(&gateway, "running 2.3.0 (1/2 pods), 2.2.0 (1/2)").await?;
        insta::assert_snapshot!(refusal);

        // The next line would destroy what it waits for; a patch of the line is the way out of a bad release.
        scene.refused(&set(API, "2.4.0"), "[UG-HOP]").await?;
        scene.passes(&set_released("deployments", API, "2.3.1")).await?;
        scene.rolled_out(API).await?;
        scene.passes(&gateway).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_more_than_one_line_away_is_refused() -> Result<()> {
    scenario("far", async |scene| {
        scene.install_each(&[(API, "2.3.0"), (GATEWAY, "2.3.0"), (UI, "2.2.0"), (PORTAL, "2.3.0")]).await?;
        // The API would leave the console two lines behind.
        let skew = scene.refused(&set(API, "2.4.0"), "[UG-SKEW]").await?;
        insta::assert_snapshot!("skew", skew);
        let hop = scene.refused(&set(API, "2.5.0"), "[UG-HOP]").await?;
        insta::assert_snapshot!("hop", hop);
        // The console catches up, and then the API may go on.
        scene.upgrade(UI, "2.3.0").await?;
        scene.upgrade(API, "2.4.0").await
    })
    .await
}
