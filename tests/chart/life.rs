//! The chart's whole life with the real Helm, at a real API server: install, upgrade, rollback, uninstall.
//!
//! The webhooks are found by their service, so the API server would dial cluster addresses. All of it runs in a network
//! namespace of its own without a way out: the test starts itself again under `unshare --net`. Pods, those of the hooks
//! too, are played by kwok: they are Ready, or complete, at once. What a hook's program does with the hook's own rights
//! is run beside it; hooks that run in pods need a real node.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::helm::{NAMESPACE, Said, chart, documents, helm, in_repository, objects, program, the};
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{succeeded, write_kubeconfig_of};
use crate::support::wait::eventually;

/// Says that the process is in a network of its own.
const INSIDE: &str = "UPGRADE_GUARD_TEST_NETWORK";

/// Runs the test of this name in a network of its own, where only the loopback is up, and where it is so already, is true.
fn inside(test: &str) -> Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        // Whoever set the variable by hand shall not dial anybody.
        let routes = std::fs::read_to_string("/proc/net/route")?;
        ensure!(routes.lines().count() <= 1, "there is a route out of here: {routes}");
        return Ok(true);
    }
    // What may have to be downloaded, before there is no way to.
    program();
    Cluster::kubectl_program()?;
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", r#"ip link set lo up && exec "$0" "$@""#]).arg(std::env::current_exe()?);
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
    let status = command.status().context("cannot run unshare")?;
    ensure!(status.success(), "{test} failed in its own network: {status}");
    Ok(false)
}

/// A cluster and the one release in it.
struct Release {
    cluster: Cluster,
}

impl Release {
    async fn new() -> Result<Option<Self>> {
        Ok(Cluster::alone(Shape::Whole).await?.map(|cluster| Self { cluster }))
    }

    fn helm(&self, arguments: &[&str]) -> Said {
        helm(Some(self.cluster.kubeconfig()), &[arguments, &["--namespace", NAMESPACE]].concat())
    }

    fn does(&self, arguments: &[&str]) -> Result<String> {
        let said = self.helm(arguments);
        ensure!(said.success, "helm {}: {}", arguments.join(" "), said.stderr);
        Ok(said.stdout)
    }

    /// `helm install` or `helm upgrade` of a chart, until its pods are ready.
    fn brings(&self, verb: &str, chart: &Path, options: &[&str]) -> Result<String> {
        let chart = chart.to_str().context("a path")?;
        self.does(&[&[verb, "upgrade-guard", chart, "--wait", "--timeout", "3m"], options].concat())
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        succeeded(self.cluster.kubectl(arguments).await?)
    }

    async fn get(&self, what: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json", "-n", NAMESPACE], what].concat()).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Every object with the guard's name or label, of every kind, but events.
    async fn left(&self) -> Result<BTreeSet<String>> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).await?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let list = self.kubectl(&["get", &kinds.join(","), "-A", "-o", "name", "--ignore-not-found"]).await?;
        // The API server serves the group of a CRD as long as that is there.
        let ours = |name: &&str| {
            (name.contains("upgrade-guard") || name.contains("guard.gostoa.dev")) && !name.starts_with("apiservice.")
        };
        Ok(list.lines().filter(ours).map(str::to_owned).collect())
    }

    /// Writes a caBundle into both configurations, in the way the guard does.
    async fn write_ca_bundle(&self, bundle: &str) -> Result<()> {
        for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
            let found = self.get(&[kind, "upgrade-guard"]).await?;
            let names = found["webhooks"].as_array().context("webhooks")?.iter().map(|webhook| &webhook["name"]);
            let webhooks: Vec<Value> =
                names.map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}})).collect();
            let patch = json!({"webhooks": webhooks}).to_string();
            let manager = "--field-manager=upgrade-guard";
            self.kubectl(&["patch", kind, "upgrade-guard", "--type=strategic", "-p", &patch, manager]).await?;
        }
        Ok(())
    }

    /// The caBundle of every webhook, those that have none too.
    async fn ca_bundles(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
            for webhook in self.get(&[kind, "upgrade-guard"]).await?["webhooks"].as_array().context("webhooks")? {
                found.insert(webhook["clientConfig"]["caBundle"].as_str().unwrap_or("none").to_owned());
            }
        }
        Ok(found)
    }
}

/// A CA certificate, as the API server wants it in a caBundle.
fn ca_bundle() -> Result<String> {
    let folder = tempfile::tempdir()?;
    crate::support::guard::make_certs(folder.path())?;
    let ca = std::fs::read_to_string(folder.path().join("ca.crt"))?;
    Ok(serde_json::to_value(k8s_openapi::ByteString(ca.into_bytes()))?.as_str().context("base64")?.to_owned())
}

const MODES: [[&str; 1]; 2] = [["--server-side=true"], ["--server-side=false"]];

#[tokio::test]
async fn a_release_is_installed_upgraded_rolled_back_and_taken_away() -> Result<()> {
    if !inside("life::a_release_is_installed_upgraded_rolled_back_and_taken_away")? {
        return Ok(());
    }
    let Some(release) = Release::new().await? else { return Ok(()) };
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "before", "namespace": "default"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x/c:1"}]}}}});
    let workload = workload.to_string();
    succeeded(release.cluster.kubectl_with(&["apply", "-f", "-"], &workload).await?)?;

    for [mode] in MODES {
        let on_install: &[&str] = &["--create-namespace", mode];
        let notes = release.brings("install", &chart(), on_install)?;
        ensure!(notes.contains("kubectl delete validatingwebhookconfiguration"), "{notes}");
        let deployment = release.get(&["deployment", "upgrade-guard"]).await?;
        assert_eq!(deployment["status"]["readyReplicas"], 2);
        assert_eq!(release.ca_bundles().await?, BTreeSet::from(["none".to_owned()]));

        no_guard_answers(&release, &workload).await?;

        // What the guard writes stays through whatever Helm does.
        let bundle = ca_bundle()?;
        release.write_ca_bundle(&bundle).await?;
        let kept = BTreeSet::from([bundle]);
        release.brings("upgrade", &chart(), &["--set", "replicas=3,webhook.timeoutSeconds=4", mode])?;
        assert_eq!(release.get(&["deployment", "upgrade-guard"]).await?["status"]["readyReplicas"], 3);
        let configuration = release.get(&["validatingwebhookconfiguration", "upgrade-guard"]).await?;
        assert_eq!(configuration["webhooks"][0]["timeoutSeconds"], 4);
        assert_eq!(release.ca_bundles().await?, kept, "after an upgrade with {mode}");
        release.does(&["rollback", "upgrade-guard", "1", "--wait", "--timeout", "3m", mode])?;
        eventually("two replicas", async || {
            let status = release.get(&["deployment", "upgrade-guard"]).await?["status"].clone();
            Ok(if status["readyReplicas"] == 2 { Ok(()) } else { Err(status) })
        })
        .await?;
        assert_eq!(release.ca_bundles().await?, kept, "after a rollback with {mode}");
        let hooks = release.get(&["jobs,serviceaccounts", "-l", "app.kubernetes.io/component=hook"]).await?;
        assert_eq!(hooks["items"], json!([]), "no hook leaves anything");

        // What the running guard makes by itself is no part of the release.
        let said = release.helm(&["uninstall", "upgrade-guard", "--wait", "--timeout", "3m", "--debug"]);
        ensure!(said.success, "{}", said.stderr);
        // First the webhooks: whoever is interrupted after that has no cluster that asks a guard which is gone.
        let deleted: Vec<&str> =
            said.stderr.lines().filter_map(|line| Some(line.split_once("starting delete resource")?.1)).collect();
        let webhooks = deleted.iter().take(2).filter(|line| line.contains("WebhookConfiguration")).count();
        ensure!(deleted.len() > 8 && webhooks == 2, "{deleted:#?}");
        eventually("nothing but the CRDs", async || {
            let left = release.left().await?;
            let kept: BTreeSet<String> = ["platformreleases", "platforms", "upgradepolicies"]
                .map(|plural| format!("customresourcedefinition.apiextensions.k8s.io/{plural}.guard.gostoa.dev"))
                .into_iter()
                .chain(["namespace/upgrade-guard".to_owned()])
                .collect();
            Ok(if left == kept { Ok(()) } else { Err(left) })
        })
        .await?;
        succeeded(release.cluster.kubectl_with(&["apply", "-f", "-"], &workload).await?)?;
    }
    release.cluster.stop().await
}

/// While no guard answers, changes are refused, and nothing else is: what is there can be taken away in every way.
async fn no_guard_answers(release: &Release, workload: &str) -> Result<()> {
    let other = workload.replace("\"before\"", "\"after\"");
    let refused = release.cluster.kubectl_with(&["apply", "-f", "-"], &other).await?;
    ensure!(refused.stderr.contains("failed calling webhook \"workloads.guard.gostoa.dev\""), "{}", refused.stderr);
    // The guard's own namespace and the control plane's are never asked about.
    for namespace in [NAMESPACE, "kube-system"] {
        let own = other.replace("\"default\"", &format!("{namespace:?}"));
        succeeded(release.cluster.kubectl_with(&["apply", "-f", "-"], &own).await?)?;
        release.kubectl(&["delete", "deployment", "after", "-n", namespace]).await?;
    }
    for cascade in ["foreground", "background"] {
        release.kubectl(&["annotate", "--overwrite", "deployment", "before", &format!("deleted={cascade}")]).await?;
    }
    release.kubectl(&["delete", "deployment", "before", "--cascade=foreground", "--timeout=60s"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_policy_can_be_deleted_in_the_foreground_when_no_guard_answers() -> Result<()> {
    if !inside("life::a_policy_can_be_deleted_in_the_foreground_when_no_guard_answers")? {
        return Ok(());
    }
    let Some(release) = Release::new().await? else { return Ok(()) };
    release.kubectl(&["apply", "-f", in_repository("manifests/crds").to_str().context("a path")?]).await?;
    release.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await?;
    release
        .kubectl(&["apply", "-f", in_repository("manifests/policies/stoa.yaml").to_str().context("a path")?])
        .await?;
    release.brings("install", &chart(), &["--create-namespace"])?;
    let change = r#"{"spec":{"maxHop":2}}"#;
    let refused = release.cluster.kubectl(&["patch", "upgradepolicy", "stoa", "--type=merge", "-p", change]).await?;
    ensure!(refused.stderr.contains("failed calling webhook \"policies.guard.gostoa.dev\""), "{}", refused.stderr);
    // The garbage collector takes its finalizer off by an update.
    release.kubectl(&["delete", "upgradepolicy", "stoa", "--cascade=foreground", "--timeout=60s"]).await?;
    release.cluster.stop().await
}

/// An older chart: its CRDs lack fields that today's have.
fn older_chart(folder: &Path) -> Result<std::path::PathBuf> {
    let older = folder.join("upgrade-guard");
    let copied = Command::new("cp").arg("-R").arg(chart()).arg(&older).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let path = older.join("Chart.yaml");
    std::fs::write(&path, std::fs::read_to_string(&path)?.replace("version: 0.1.0", "version: 0.0.9"))?;
    let path = older.join("crds/upgradepolicies.yaml");
    let mut crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
    let spec = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let properties = spec["properties"].as_object_mut().context("properties")?;
    properties.remove("freezeWindows").context("a field that is new")?;
    std::fs::write(&path, serde_json::to_string(&crd)?)?;
    Ok(older)
}

#[tokio::test]
async fn an_upgrade_brings_the_crds_and_the_preset() -> Result<()> {
    if !inside("life::an_upgrade_brings_the_crds_and_the_preset")? {
        return Ok(());
    }
    let Some(release) = Release::new().await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    release.brings("install", &older_chart(folder.path())?, &["--create-namespace"])?;
    let has_field = async || {
        let crd = release.get(&["crd", "upgradepolicies.guard.gostoa.dev"]).await?;
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        anyhow::Ok(!spec["freezeWindows"].is_null())
    };
    assert!(!has_field().await?);
    // Helm itself leaves the CRD as it is, also where kwok says that the hook's pod has done its work.
    release.brings("upgrade", &chart(), &["--set", "presets.stoa.enabled=true"])?;
    assert!(!has_field().await?);

    // So what the hook's pod would do is done here, with the hook's own rights and command.
    let rendered = objects(&["--set", "presets.stoa.enabled=true", "--is-upgrade"]);
    let first = release.plays(&rendered, "upgrade-guard-crds", folder.path()).await?;
    ensure!(first.success && first.stdout.contains("0 created, 1 updated, 2 unchanged"), "{first:?}");
    ensure!(first.stdout.contains("takes over"), "Helm made it: {first:?}");
    assert!(has_field().await?);
    let again = release.plays(&rendered, "upgrade-guard-crds", folder.path()).await?;
    ensure!(again.success && again.stdout.contains("0 created, 0 updated, 3 unchanged"), "{again:?}");

    // A field that would be lost stands against it, by the name of the check.
    let version = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/onlyHere";
    let patch = json!([{"op": "add", "path": version, "value": {"type": "string"}}]).to_string();
    release.kubectl(&["patch", "crd", "platforms.guard.gostoa.dev", "--type=json", "-p", &patch]).await?;
    let refused = release.plays(&rendered, "upgrade-guard-crds", folder.path()).await?;
    ensure!(!refused.success && refused.stdout.contains("existingFieldRemoval"), "{refused:?}");

    // The preset waits for a guard, which is kwok's here and never answers; without the webhook there is nobody to ask.
    let waits = release.plays(&rendered, "upgrade-guard-preset", folder.path()).await?;
    ensure!(!waits.success && waits.stdout.contains("waits for the guard's webhook"), "{waits:?}");
    release.kubectl(&["delete", "validatingwebhookconfiguration", "upgrade-guard"]).await?;
    for _ in 0..2 {
        let applied = release.plays(&rendered, "upgrade-guard-preset", folder.path()).await?;
        ensure!(applied.success && applied.stdout.contains("UpgradePolicy stoa is in force"), "{applied:?}");
    }
    let change = r#"{"spec":{"maxHop":3}}"#;
    release.kubectl(&["patch", "upgradepolicy", "stoa", "--type=merge", "-p", change]).await?;
    let conflict = release.plays(&rendered, "upgrade-guard-preset", folder.path()).await?;
    ensure!(!conflict.success && conflict.stdout.contains(".spec.maxHop"), "{conflict:?}");
    release.cluster.stop().await
}

impl Release {
    /// Runs what the Job of this name runs, as its account, which is not there any more when Helm is done.
    async fn plays(&self, rendered: &[Value], name: &str, folder: &Path) -> Result<Said> {
        let with_account =
            rendered.iter().filter(|object| object["metadata"]["name"] == name && object["kind"] != "Job");
        let items: Vec<&Value> = with_account.collect();
        ensure!(items.len() == 3, "{name} has {} objects beside its Job", items.len());
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        succeeded(self.cluster.kubectl_with(&["apply", "-f", "-"], &list).await?)?;
        let kubeconfig = folder.join(format!("{name}.kubeconfig"));
        write_kubeconfig_of(&self.cluster, (NAMESPACE, name), &kubeconfig).await?;
        let job = the(rendered, &format!("Job {name}"));
        let args = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().context("args")?;
        // The tests' patience is shorter than that of a hook.
        let args = args.iter().filter_map(Value::as_str).map(|arg| arg.replace("--timeout=5m", "--timeout=3s"));
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
        command.args(args).env_clear().env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }
}

#[test]
fn hooks_are_three_and_only_one_without_being_asked_for() {
    let text = crate::helm::rendered(&["--set", "presets.stoa.enabled=true,uninstall.letGo=true"]);
    let mut jobs: Vec<(String, String)> = Vec::new();
    for object in documents(&text).into_iter().filter(|object| object["kind"] == "Job") {
        let of = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap().to_owned();
        jobs.push((of("/metadata/annotations/helm.sh~1hook"), of("/metadata/name")));
    }
    jobs.sort();
    let expected = [
        ("post-delete", "upgrade-guard-release"),
        ("post-install,post-upgrade", "upgrade-guard-preset"),
        ("pre-upgrade", "upgrade-guard-crds"),
    ];
    assert_eq!(jobs, expected.map(|(hook, name)| (hook.to_owned(), name.to_owned())));
    let defaults = objects(&[]);
    let jobs: Vec<&Value> = defaults.iter().filter(|object| object["kind"] == "Job").collect();
    assert_eq!(jobs.len(), 1);
}
