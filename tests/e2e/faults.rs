//! Guards are killed and deleted and the API server is restarted in the middle of upgrades, under a stream of reviews:
//! nothing wrong is admitted, and nothing is lost.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use serde_json::json;
use upgrade_guard::api::{Outcome, Platform};

use crate::hold::{complete, nothing_is_held};
use crate::observer::Observer;
use crate::reviews::{Until, User};
use crate::say;
use crate::toys::{COMPONENTS, deployments};
use crate::world::{NAMESPACE as GUARD, World};

const NAMESPACE: &str = "e2e-faults";

pub(crate) async fn run(world: &World) -> Result<()> {
    world.platform_at(NAMESPACE, json!({}), "2.2.0", "2s").await?;
    complete(world, NAMESPACE, "2.2.0").await?;
    world.guards_ready(2).await?;
    refusing(world).await.context("an upgrade whose wrong steps are refused")?;
    holding(world).await.context("an upgrade whose early steps are held")
}

/// Four users want 2.3.0 of one component each, at once and all the time; a fifth one wants what is never right.
async fn refusing(world: &World) -> Result<()> {
    let observer = Observer::start(world, NAMESPACE).await?;
    let wrong = User::of_image(world, NAMESPACE, ("portal", "2.4.0"), Until::Stopped, false);
    let users = COMPONENTS.map(|name| (name, User::of_image(world, NAMESPACE, (name, "2.3.0"), Until::Passed, false)));
    observer.saw("control-plane-api", 3).await?;
    let leader = world.leader().await?;
    world.kill(&leader).await.context("killing the leader")?;
    observer.saw("stoa-gateway", 3).await?;
    let other = another(world, &leader.name_any()).await?;
    world.kill(&other).await.context("killing the other replica")?;
    tokio::task::block_in_place(|| world.node.restart("kube-apiserver")).context("restarting the API server")?;
    let deleted = world.leader().await?.name_any();
    world.kubectl(&["-n", GUARD, "delete", "pod", &deleted, "--wait=false"]).await?.succeeded()?;
    for (name, user) in users {
        let tally = user.end(Until::Passed).await.with_context(|| format!("{name} 2.3.0 never passed"))?;
        say(&format!(
            "  {name}: refused {} times, not asked {} times, then admitted",
            tally.refused,
            tally.failed.len()
        ));
    }
    let wrong = wrong.end(Until::Stopped).await?;
    let completed = complete(world, NAMESPACE, "2.3.0").await;
    // What it saw says more than what did not come.
    let states = observer.verdict()?;
    ensure!(
        wrong.passed == 0 && wrong.refused > 20,
        "what is never right: {} passed, {} refused",
        wrong.passed,
        wrong.refused
    );
    say(&format!("  a hop over a version: refused {} times, not asked {} times", wrong.refused, wrong.failed.len()));
    history(&completed?, "2.2.0", "2.3.0")?;
    say(&format!("  {states} states of the pods, none against the rules"));
    world.guards_ready(2).await
}

/// The same with Hold: all is applied at once, and who leads dies while others wait.
async fn holding(world: &World) -> Result<()> {
    let patch = json!({"spec": {"onNotYet": "Hold"}}).to_string();
    world.kubectl(&["patch", "upgradepolicy", NAMESPACE, "--type=merge", "-p", &patch]).await?.succeeded()?;
    let observer = Observer::start(world, NAMESPACE).await?;
    let reviews = User::of_image(world, NAMESPACE, ("portal", "2.5.0"), Until::Stopped, true);
    applied(world, "2.4.0").await?;
    observer.saw("control-plane-api", 4).await?;
    let leader = world.leader().await?;
    world.kill(&leader).await.context("killing the leader")?;
    let next = world.leader().await?.name_any();
    world.kubectl(&["-n", GUARD, "delete", "pod", &next, "--wait=false"]).await?.succeeded()?;
    observer.saw("stoa-gateway", 4).await?;
    tokio::task::block_in_place(|| world.node.restart("kube-apiserver")).context("restarting the API server")?;
    let completed = complete(world, NAMESPACE, "2.4.0").await;
    observer.verdict()?;
    nothing_is_held(world, NAMESPACE).await?;
    history(&completed?, "2.3.0", "2.4.0")?;
    let reviews = reviews.end(Until::Stopped).await?;
    say(&format!("  beside it {} reviews, {} not asked", reviews.passed + reviews.refused, reviews.failed.len()));
    world.guards_ready(2).await
}

/// Applies all at once. The index of the guard may not have the policy's newest mode yet: then it refuses, and the user
/// tries again.
async fn applied(world: &World, version: &str) -> Result<()> {
    crate::wait::eventually("everything to be applied", async || {
        Ok(world.apply(&deployments(NAMESPACE, version, "2s")).await.map_err(|error| format!("{error:#}")))
    })
    .await
}

/// A guard's pod with another name.
async fn another(world: &World, name: &str) -> Result<k8s_openapi::api::core::v1::Pod> {
    let pods = world.guards().await?;
    pods.into_iter().find(|pod| pod.name_any() != name).context("another guard")
}

/// The Platform tells one completed step of every component.
fn history(platform: &Platform, from: &str, to: &str) -> Result<()> {
    let history = platform.status.as_ref().map(|status| status.history.as_slice()).unwrap_or_default();
    for component in COMPONENTS {
        let steps: Vec<_> = history
            .iter()
            .filter(|entry| entry.component == component && entry.to == to && entry.from.as_deref() == Some(from))
            .collect();
        ensure!(
            matches!(steps.as_slice(), [step] if step.outcome == Outcome::Completed && step.ended.is_some()),
            "the history of {component} from {from} to {to}: {steps:?}"
        );
    }
    Ok(())
}
