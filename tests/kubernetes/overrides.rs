//! Who may override a policy is what the API server says of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use serde_json::json;
use upgrade_guard::api::{OVERRIDE, Outcome};
use upgrade_guard::cluster::authorise::{AuthoriseError, Requester, may_override};
use upgrade_guard::domain::overrides::NotOverridden;

use super::ask::{Ask, Verb};
use super::controller::{platforms, runs, status, told, until};
use super::platform::{API, GATEWAY, NEVER_READY, image, set_released};
use super::scene::{Scene, scenario};
use crate::support::cluster::Cluster;
use crate::support::guard::{Guard, succeeded};
use crate::support::wait::{DEADLINE, eventually};

const GUARD: &str = "system:serviceaccount:upgrade-guard:upgrade-guard";
const POLICY: &str = "override-test";

fn requester(user: &str, groups: &[&str]) -> Requester {
    Requester {
        user: user.to_owned(),
        uid: "4711".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        extra: BTreeMap::from([("example.com/scopes".to_owned(), vec!["one".to_owned(), "two".to_owned()])]),
    }
}

/// A client with the rights of `user` alone.
async fn client_of(cluster: &Cluster, user: &str) -> Result<Client> {
    let mut config = cluster.config().await?;
    config.auth_info.impersonate = Some(user.to_owned());
    Ok(Client::try_from(config)?)
}

async fn kubectl(cluster: &Cluster, command: &str) -> Result<()> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = cluster.kubectl(&words).await?;
    ensure!(output.success, "{command}: {output:?}");
    Ok(())
}

#[tokio::test]
async fn only_who_was_given_the_verb_on_the_policy_may_override_it() -> Result<()> {
    // The guard's own rights are installed with it.
    let Some((cluster, _)) = Guard::shared().await? else { return Ok(()) };
    let client = client_of(cluster, GUARD).await?;
    let told = NotOverridden::Forbidden { user: "jane", policy: POLICY }.to_string();
    let (_, grant) = told.split_once("kubectl ").context("the refusal tells what to do")?;
    kubectl(cluster, grant).await?;
    kubectl(cluster, "create clusterrolebinding override-jane --clusterrole=override-override-test --user=jane")
        .await?;
    kubectl(cluster, "create clusterrolebinding override-ops --clusterrole=override-override-test --group=ops").await?;

    let may = async |who: Requester, policy: &str| may_override(&client, &who, policy, DEADLINE).await;
    for who in [requester("jane", &[]), requester("joe", &["ops"])] {
        eventually("the API server to know the binding", async || {
            Ok(if may(who.clone(), POLICY).await? { Ok(()) } else { Err(format!("{who:?} may not")) })
        })
        .await?;
    }
    kubectl(cluster, "auth can-i override upgradepolicies.guard.gostoa.dev/override-test --as=jane").await?;
    assert!(!may(requester("joe", &["dev"]), POLICY).await?, "neither user nor group has it");
    assert!(!may(requester("jane", &[]), "another").await?, "it is of one policy");
    assert!(!may(Requester::default(), POLICY).await.unwrap_or(false), "nobody");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_told_is_an_error() -> Result<()> {
    let Some((cluster, _)) = Guard::shared().await? else { return Ok(()) };
    let jane = requester("jane", &[]);
    let powerless = client_of(cluster, "powerless").await?;
    match may_override(&powerless, &jane, POLICY, DEADLINE).await {
        Err(AuthoriseError::Api(error)) => assert!(error.to_string().contains("powerless"), "{error}"),
        other => bail!("{other:?}"),
    }
    let guard = client_of(cluster, GUARD).await?;
    let answer = may_override(&guard, &jane, POLICY, Duration::ZERO).await;
    assert!(matches!(answer, Err(AuthoriseError::Slow(_))), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn an_override_passes_for_who_may_and_leaves_a_trace() -> Result<()> {
    scenario("override", async |scene| {
        scene.install_each(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;
        until(scene, "the install", |platform| runs(platform, GATEWAY, "2.2.0", 2)).await?;
        give_rights(scene).await?;
        let ask = overriding("2.3.0");

        let refused = ask.send(&client_of(scene.cluster, "joe").await?, &scene.namespace).await?;
        refused.check_refusal()?;
        let told_to_joe = scene.anonymous(refused.text());
        let why = "user 'joe' has no right to the verb override of UpgradePolicy NAMESPACE";
        assert!(told_to_joe.contains("[UG-ORDER]") && told_to_joe.contains(why), "{told_to_joe}");
        let gateway = scene.deployments().get(GATEWAY).await?;
        assert!(!gateway.metadata.annotations.is_some_and(|all| all.contains_key(OVERRIDE)));
        assert_eq!(scene.image_of(GATEWAY).await?, image(GATEWAY, "2.2.0"));
        let platform = platforms(scene).get(&scene.namespace).await?;
        assert!(status(&platform).intents.iter().all(|intent| intent.to != "2.3.0"), "{platform:?}");

        let admitted = ask.send(&client_of(scene.cluster, "jane").await?, &scene.namespace).await?;
        assert!(admitted.is_allowed(), "{admitted:?}");
        for rule in ["[UG-ORDER]", "[UG-SKEW]"] {
            let of_rule = |warning: &&String| warning.contains(rule) && warning.contains("overridden: ");
            assert!(admitted.warnings.iter().any(|warning| of_rule(&warning)), "{rule}: {admitted:?}");
        }
        trace(scene, Outcome::Rolling).await?;
        let event = told(scene, "Overridden", "Deployment", |_| true).await?;
        let note = event.note.unwrap_or_default();
        assert!(note.contains("2.2.0 -> 2.3.0") && note.ends_with("UG-ORDER, UG-SKEW: incident 4711"), "{note}");
        in_use(scene, "1.0").await?;

        scene.passes(&set_released("deployments", GATEWAY, "2.3.0")).await?;
        scene.rolled_out(GATEWAY).await?;
        trace(scene, Outcome::Completed).await?;
        in_use(scene, "0.0").await
    })
    .await
}

/// The gateway's move with an override in the same request, to pods that do not become ready.
fn overriding(version: &str) -> Ask {
    let by = "UG-ORDER,UG-SKEW; incident 4711; until=2999-01-01T00:00:00Z";
    let patch = json!({
        "metadata": {"annotations": {OVERRIDE: by}},
        "spec": {"template": {
            "metadata": {"labels": {NEVER_READY: "true"}},
            "spec": {"containers": [{"name": GATEWAY, "image": image(GATEWAY, version)}]},
        }},
    });
    Ask::new(Verb::StrategicPatch, format!("deployments/{GATEWAY}"), patch)
}

/// Moves the gateway as [`overriding`] does, by somebody who may.
pub(super) async fn override_by_jane(scene: &Scene<'_>, version: &str) -> Result<()> {
    let jane = client_of(scene.cluster, "jane").await?;
    let admitted = overriding(version).send(&jane, &scene.namespace).await?;
    ensure!(admitted.is_allowed(), "{admitted:?}");
    Ok(())
}

/// Jane and Joe may change workloads; Jane may override the policy too.
pub(super) async fn give_rights(scene: &Scene<'_>) -> Result<()> {
    let name = &scene.namespace;
    for command in [
        "create role mover --verb=get,patch --resource=deployments.apps".to_owned(),
        "create rolebinding movers --role=mover --user=jane --user=joe".to_owned(),
        format!(
            "create clusterrole override-{name} --verb=override --resource=upgradepolicies.guard.gostoa.dev \
             --resource-name={name}"
        ),
        format!("create clusterrolebinding override-{name} --clusterrole=override-{name} --user=jane"),
    ] {
        succeeded(scene.kubectl(&command.split_whitespace().collect::<Vec<_>>()).await?)?;
    }
    let policy = format!("upgradepolicies.guard.gostoa.dev/{name}");
    for right in [
        ["patch", "deployments", "--as=jane"],
        ["patch", "deployments", "--as=joe"],
        ["override", &policy, "--as=jane"],
    ] {
        eventually("the API server to know the binding", async || {
            let answer = scene.kubectl(&[&["auth", "can-i"], right.as_slice()].concat()).await?;
            Ok(if answer.success { Ok(()) } else { Err(answer) })
        })
        .await?;
    }
    Ok(())
}

/// Waits until the history tells of the gateway's overridden move.
async fn trace(scene: &Scene<'_>, outcome: Outcome) -> Result<()> {
    let with_override = |platform: &upgrade_guard::api::Platform| {
        let history = status(platform).history;
        let entry = history.into_iter().find(|entry| entry.component == GATEWAY && entry.to == "2.3.0");
        entry.filter(|entry| entry.outcome == outcome)
    };
    let platform = until(scene, "the history", |platform| with_override(platform).is_some()).await?;
    let entry = with_override(&platform).context("an entry")?;
    assert_eq!((entry.from.as_deref(), entry.by.as_deref()), (Some("2.2.0"), Some("jane")));
    let by = entry.overridden.context("the override")?;
    assert_eq!((by.rules.join(","), by.reason.as_str()), ("UG-ORDER,UG-SKEW".to_owned(), "incident 4711"));
    assert_eq!(by.until, "2999-01-01T00:00:00Z");
    Ok(())
}

/// Waits until `/metrics` says how many overrides are in use.
async fn in_use(scene: &Scene<'_>, wanted: &str) -> Result<()> {
    let namespace = format!("namespace=\"{}\"", scene.namespace);
    eventually("the overrides in use", async || {
        let found = scene.guard.metrics().await?.sum("upgrade_guard_overrides_in_use", &[&namespace]);
        Ok(if format!("{found:?}") == wanted { Ok(()) } else { Err(found) })
    })
    .await
}
