//! Who may override a policy is what the API server says of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use upgrade_guard::cluster::authorise::{AuthoriseError, Requester, may_override};
use upgrade_guard::domain::overrides::NotOverridden;

use crate::support::cluster::Cluster;
use crate::support::guard::Guard;
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
