//! The accounts of the chart's hooks, with the commands of their Jobs.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::helm::{NAMESPACE, in_repository, is_hook, objects, the};
use crate::support::cluster::Cluster;
use crate::support::guard::{succeeded, write_kubeconfig_of};

/// What the chart renders with every hook.
pub(crate) fn rendered() -> Vec<Value> {
    objects(&["--set", "presets.stoa.enabled=true,uninstall.letGo=true"])
}

/// Gives the hooks their accounts and rights, without their Jobs.
pub(crate) async fn make_accounts(cluster: &Cluster, rendered: &[Value]) -> Result<()> {
    let accounts: Vec<&Value> = rendered.iter().filter(|object| is_hook(object) && object["kind"] != "Job").collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": accounts}).to_string();
    succeeded(cluster.kubectl_with(&["apply", "-f", "-"], &list).await?).map(drop)
}

/// Runs what the Job of this name runs, as its account; what it printed.
async fn plays(cluster: &Cluster, rendered: &[Value], name: &str, folder: &Path) -> Result<String> {
    let kubeconfig = folder.join(format!("{name}.kubeconfig"));
    write_kubeconfig_of(cluster, (NAMESPACE, name), &kubeconfig).await?;
    let job = the(rendered, &format!("Job {name}"));
    let args = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().context("args")?;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command.args(args.iter().filter_map(Value::as_str)).env_clear().env("KUBECONFIG", kubeconfig);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name}: {said}");
    Ok(said)
}

/// The CRDs of an older guard, of which one is missing: all that `crds apply` may have to do.
pub(crate) async fn brings_the_crds(cluster: &Cluster, rendered: &[Value], folder: &Path) -> Result<()> {
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    for (plural, field) in [
        ("upgradepolicies", "spec/properties/acknowledged"),
        ("platformreleases", "spec/properties/schemaRevision"),
        ("platforms", "status/properties/gates"),
    ] {
        let patch = json!([{"op": "remove", "path": format!("{schema}/{field}")}]).to_string();
        let name = format!("{plural}.guard.gostoa.dev");
        succeeded(cluster.kubectl(&["patch", "crd", &name, "--type=json", "-p", &patch]).await?)?;
    }
    let said = plays(cluster, rendered, "upgrade-guard-crds", folder).await?;
    ensure!(said.contains("0 created, 3 updated, 0 unchanged"), "{said}");
    succeeded(cluster.kubectl(&["delete", "crd", "platformreleases.guard.gostoa.dev"]).await?)?;
    let said = plays(cluster, rendered, "upgrade-guard-crds", folder).await?;
    ensure!(said.contains("1 created, 0 updated, 2 unchanged"), "{said}");
    Ok(())
}

/// A preset that is new, and one that is there.
pub(crate) async fn applies_the_preset(cluster: &Cluster, rendered: &[Value], folder: &Path) -> Result<()> {
    for _ in 0..2 {
        plays(cluster, rendered, "upgrade-guard-preset", folder).await?;
    }
    succeeded(cluster.kubectl(&["delete", "upgradepolicy", "stoa"]).await?).map(drop)
}

/// What is held is let go once the guard and its webhooks are gone.
pub(crate) async fn lets_go(cluster: &Cluster, rendered: &[Value], folder: &Path, held: usize) -> Result<()> {
    let webhook = in_repository("manifests/webhook.yaml");
    succeeded(cluster.kubectl(&["delete", "-f", webhook.to_str().context("a path")?]).await?)?;
    let said = plays(cluster, rendered, "upgrade-guard-release", folder).await?;
    ensure!(said.lines().filter(|line| line.ends_with("let go")).count() == held, "{said}");
    Ok(())
}
