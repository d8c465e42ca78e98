//! `upgrade-guard crds diff` says the same of a cluster as of files.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use upgrade_guard::api::{UpgradePolicy, definitions};
use upgrade_guard::cluster::files::{Manifests, Source};

use super::support::wait::wait_for;
use crate::support::cluster::{Cluster, Shape};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/crds");

/// Runs the program, which asks `cluster` if it is to ask one; its exit code and what it printed.
async fn diff(cluster: &Cluster, more: &[&str]) -> Result<(Option<i32>, String)> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_upgrade-guard"))
        .args(["crds", "diff", "wanted", "-o", "json"])
        .args(more)
        .current_dir(FIXTURES)
        .env("KUBECONFIG", cluster.kubeconfig())
        // A proxy of the environment has no business on the way to 127.0.0.1.
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

async fn apply(definitions: &Api<CustomResourceDefinition>, mut definition: CustomResourceDefinition) -> Result<()> {
    let (name, stored) = (definition.name_any(), definition.status.take());
    definition.metadata.uid = None;
    definition.metadata.resource_version = None;
    definitions.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&definition)).await?;
    let established = |definition: &CustomResourceDefinition| {
        let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|one| one.type_ == "Established" && one.status == "True")
    };
    wait_for(definitions, &name, "Established", established).await?;
    if let Some(stored) = stored.and_then(|status| status.stored_versions) {
        // What objects were stored in before is remembered here alone.
        let status = json!({"status": {"storedVersions": stored}});
        definitions.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_gives_the_same_answer_as_files() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let client = cluster.client().await?;
    let installed = Manifests::load(&[Source::Path(Path::new(FIXTURES).join("installed.yaml"))], None)?.crds;
    ensure!(installed.len() == 4);
    for found in installed {
        apply(&Api::all(client.clone()), found.object).await?;
    }
    let answer = diff(&cluster, &[]).await?;
    assert_eq!(answer, diff(&cluster, &["--installed", "installed.yaml"]).await?);
    ensure!(answer.0 == Some(1) && answer.1.contains("storedVersionRemoval"), "{}", answer.1);

    // The only policy of the cluster says how strictly checks are taken.
    for definition in definitions() {
        apply(&Api::all(client.clone()), definition).await?;
    }
    let policy = Manifests::load(&[Source::Path(Path::new(FIXTURES).join("policy.yaml"))], None)?.policies;
    let mut policy = policy.into_iter().next().context("a policy")?.object;
    let policies: Api<UpgradePolicy> = Api::all(client);
    policies.create(&PostParams::default(), &policy).await?;
    let answer = diff(&cluster, &[]).await?;
    assert_eq!(answer, diff(&cluster, &["--installed", "installed.yaml", "--policy", "policy.yaml"]).await?);
    assert_eq!(answer.0, Some(0), "{}", answer.1);

    // With two nothing tells which is meant.
    policy.metadata.name = Some("second".to_owned());
    policies.create(&PostParams::default(), &policy).await?;
    let (code, answer) = diff(&cluster, &[]).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let note = answer.pointer("/notes/0").and_then(Value::as_str).context("a note")?;
    ensure!(code == Some(1) && note.contains("(second, shop)"), "{note}");
    cluster.stop().await
}
