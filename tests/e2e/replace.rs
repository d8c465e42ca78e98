//! The guard itself is upgraded while it is asked all the time, and no review fails; uninstalled, it is asked no more.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::Api;
use serde_json::json;

use crate::hold::complete;
use crate::node::in_repository;
use crate::reviews::{Until, User};
use crate::say;
use crate::world::{NAMESPACE as GUARD, World};

const NAMESPACE: &str = "e2e-replace";

pub(crate) async fn run(world: &World) -> Result<()> {
    world.platform_at(NAMESPACE, json!({}), "2.2.0", "0s").await?;
    complete(world, NAMESPACE, "2.2.0").await?;
    world.guards_ready(2).await?;
    upgraded(world).await?;
    uninstalled(world).await
}

async fn upgraded(world: &World) -> Result<()> {
    let before: Vec<_> = world.guards().await?.iter().map(kube::ResourceExt::name_any).collect();
    // Refused by a rule, refused because it has to wait, admitted without a change.
    let users =
        [("control-plane-api", "2.4.0", false), ("stoa-gateway", "2.3.0", false), ("control-plane-api", "2.3.0", true)]
            .map(|(name, version, dry)| User::of_image(world, NAMESPACE, (name, version), Until::Stopped, dry));
    let chart = in_repository("charts/upgrade-guard").display().to_string();
    let args = ["upgrade", GUARD, &chart, "--namespace", GUARD, "--reuse-values", "--wait", "--timeout", "3m"];
    world.helm(&[&args[..], &["--set", "podAnnotations.again=yes"]].concat()).await?;
    world.guards_ready(2).await?;
    let after: Vec<_> = world.guards().await?.iter().map(kube::ResourceExt::name_any).collect();
    ensure!(after.iter().all(|name| !before.contains(name)), "the same guards run: {before:?}, {after:?}");
    let (mut asked, mut failed) = (0, Vec::new());
    for user in users {
        let tally = user.end(Until::Stopped).await?;
        asked += tally.passed + tally.refused;
        failed.extend(tally.failed);
    }
    ensure!(failed.is_empty(), "{} of {asked} reviews failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
    ensure!(asked > 200, "no more than {asked} reviews");
    say(&format!("  {asked} reviews while the guard was upgraded, none failed"));
    Ok(())
}

async fn uninstalled(world: &World) -> Result<()> {
    world.helm(&["uninstall", GUARD, "--namespace", GUARD, "--wait", "--timeout", "2m"]).await?;
    let validating = Api::<ValidatingWebhookConfiguration>::all(world.client.clone()).list(&<_>::default()).await?;
    let mutating = Api::<MutatingWebhookConfiguration>::all(world.client.clone()).list(&<_>::default()).await?;
    ensure!(validating.items.is_empty() && mutating.items.is_empty(), "webhooks are left: {validating:?} {mutating:?}");
    // Nobody is asked any more.
    world.set_image(NAMESPACE, "stoa-gateway", "2.3.0").await?.succeeded().context("after the uninstall")?;
    world.rolled_out(NAMESPACE, "stoa-gateway").await
}
