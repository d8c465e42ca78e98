//! With the account that the recipe gives to the Jobs, and nothing more, both do all that they are for.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use crate::scene::Scene;
use crate::support::guard::{succeeded, write_kubeconfig_of};

const PROGRAM: &str = env!("CARGO_BIN_EXE_upgrade-guard");

/// Runs the program and returns its exit code and all that it printed.
async fn ran(args: &[&str], kubeconfig: Option<&Path>) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_remove("KUBECONFIG").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let output = command.output().await?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.code(), text))
}

#[tokio::test]
async fn the_accounts_of_the_recipe_are_enough() -> Result<()> {
    let policy = json!({"preconditions": [
        {"name": "backup", "cronJob": {"name": "backup", "maxAge": "24h", "runIfStale": true}},
        {"name": "settings", "object": {"apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "ready": "true"}},
        {"name": "health", "health": {}},
    ]});
    let Some(scene) = Scene::open("account", policy).await? else { return Ok(()) };
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}});
    let crd = std::fs::read_to_string(scene.crds().join("tools.yaml"))?;
    let crds =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "crds"}, "data": {"tools.json": crd}});
    scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [settings, crds]})).await?;

    let name = scene.namespace.as_str();
    let read = scene.cluster.kubectl(&["get", "upgradepolicy", name, "-o", "yaml"]).await?;
    let file = scene.crds().with_file_name("policy.yaml");
    std::fs::write(&file, succeeded(read)?)?;
    let policy = file.to_str().context("a path")?;
    let release = format!("{name}-2.3.0");
    let recipe = ["recipe", "argocd", "--policy", policy, "--image", "guard:1", "--release", &release];
    let (code, manifests) = ran(&[&recipe[..], &["--crds-config-map", "crds"]].concat(), None).await?;
    ensure!(code == Some(0), "{manifests}");
    // The Jobs are run here: there is no image of them in the cluster.
    let documents = manifests.split("---\n").filter(|document| !document.contains("\nkind: Job\n"));
    let rights = documents.collect::<Vec<_>>().join("---\n");
    succeeded(scene.cluster.kubectl_with(&["apply", "-f", "-"], &rights).await?)?;

    for (job, args) in [
        ("presync", &["--crds", "configmap:crds"][..]),
        ("presync", &["--crds", "configmap:crds"]),
        ("verify", &["--settle", "0s", "--no-record"]),
        ("verify", &["--settle", "0s"]),
    ] {
        let kubeconfig = scene.crds().with_file_name(format!("kubeconfig-{job}"));
        let account = format!("upgrade-guard-{job}-{name}");
        write_kubeconfig_of(scene.cluster, (name, &account), &kubeconfig).await?;
        let target = if job == "presync" { format!("{name}-2.3.0") } else { format!("{name}-2.2.0") };
        let args = [&[job, "--policy", name, "-n", name, "--release", &target], args].concat();
        let (code, text) = ran(&args, Some(&kubeconfig)).await?;
        ensure!(code == Some(0), "{args:?}: {text}");
        ensure!(!text.contains("forbidden"), "{text}");
    }
    ensure!(scene.crd("tools").await?.is_some());
    Ok(())
}
