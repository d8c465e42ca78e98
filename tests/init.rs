//! `upgrade-guard init` as a user meets it: what it writes for namespaces of many kinds, and that it can be used.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use insta::assert_snapshot;
use serde_json::{Value, json};

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

use support::cluster::{Cluster, Shape};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).env_remove("KUBECONFIG");
    command
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = program();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a user sees: the policy, what is said beside it, and the exit code.
fn seen(arguments: &[&str]) -> String {
    let output = run(&[&["init"], arguments].concat(), "");
    let code = output.status.code().unwrap();
    format!("{}--- standard error\n{}--- exit code {code}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_policy_is_written_from_what_runs() {
    assert_snapshot!("stoa", seen(&["-f", "check/stoa/2.2", "--release", "2.2"]));
    assert_snapshot!("shop", seen(&["-f", "init/shop.yaml", "--release", "2026.07"]));
    assert_snapshot!("rollouts", seen(&["-f", "init/rollouts.yaml", "--name", "payments"]));
    assert_snapshot!("sidecars", seen(&["-f", "init/sidecars.yaml"]));
    assert_snapshot!("latest", seen(&["-f", "init/latest.yaml", "--release", "1"]));
    assert_snapshot!("flux", seen(&["-f", "init/flux.yaml"]));
}

#[test]
fn what_is_in_the_way_is_told() {
    assert_snapshot!("governed", seen(&["-f", "init/governed.yaml"]));
    assert_snapshot!("only_a_database", seen(&["-f", "init/only-a-database.yaml"]));
    assert_snapshot!("all", seen(&["-f", "init/only-a-database.yaml", "--all"]));
    assert_snapshot!("empty", seen(&["-f", "init/shop.yaml", "-n", "elsewhere"]));
    assert_snapshot!("several_namespaces", seen(&["-f", "check/shop/before.yaml"]));
    assert_snapshot!("one_of_several", seen(&["-f", "check/shop/before.yaml", "-n", "shop-eu"]));
    assert_snapshot!("kube_system", seen(&["-f", "check/stoa/no-namespace.yaml", "-n", "kube-system"]));
    assert_snapshot!("bad_release", seen(&["-f", "init/flux.yaml", "--release", "v2"]));
}

#[test]
fn a_file_is_never_overwritten_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let write =
        |more: &[&str]| run(&[&["init", "-f", "init/flux.yaml", "-o", file.to_str().unwrap()], more].concat(), "");
    let first = write(&[]);
    assert!(first.status.success() && first.stdout.is_empty(), "{first:?}");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("kind: UpgradePolicy"), "{written}");

    std::fs::write(&file, "mine").unwrap();
    let second = write(&[]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("is there already"), "{}", text(&second.stderr));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

    assert!(write(&["--force"]).status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

/// What `init` writes is what `check --policy` takes, and what it reads may come from a pipe.
#[test]
fn check_takes_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    for (state, namespace) in [
        ("check/stoa/2.2", "stoa-system"),
        ("init/shop.yaml", "shop"),
        ("init/rollouts.yaml", "pay"),
        ("init/sidecars.yaml", "mesh"),
        ("init/latest.yaml", "dev"),
    ] {
        let written = run(&["init", "-f", state, "-n", namespace, "--release", "1"], "");
        assert!(written.status.success(), "{state}: {}", text(&written.stderr));
        std::fs::write(&policy, &written.stdout).unwrap();
        let arguments = ["check", "--policy", policy.to_str().unwrap(), "--before", state, "--after", state, "-v"];
        let checked = run(&arguments, "");
        assert!(checked.status.success(), "{state}: {}{}", text(&checked.stdout), text(&checked.stderr));
    }
    let input = std::fs::read_to_string("tests/fixtures/init/flux.yaml").unwrap();
    let piped = run(&["init", "-f", "-"], &input);
    assert!(piped.status.success() && text(&piped.stdout).contains("name: apps"), "{}", text(&piped.stderr));
}

/// Against the real API server: it is read as a user would, and the server takes what is written.
#[tokio::test]
async fn a_live_namespace_is_read_and_the_api_server_takes_the_policy() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let namespace = cluster.namespace("shop").await?.name;
    let apply = async |what: &str| cluster.kubectl_with(&["apply", "-f", "-"], what).await;
    let objects = std::fs::read_to_string("tests/fixtures/init/shop.yaml")?.replace("namespace: shop", "namespace: NS");
    let applied = apply(&objects.replace("namespace: NS", &format!("namespace: {namespace}"))).await?;
    ensure!(applied.success, "{applied:?}");

    let init = |arguments: &[&str]| {
        let mut command = program();
        command.arg("init").args(arguments).env("KUBECONFIG", cluster.kubeconfig()).stdin(Stdio::null());
        command.output()
    };
    // Before the guard is installed: there are no policies to ask for, and neither Argo Rollouts nor Flux.
    let first = init(&["-n", &namespace, "--release", "2026.07"])?;
    ensure!(first.status.success(), "{}", text(&first.stderr));
    let policy = text(&first.stdout);
    let of_files = text(&run(&["init", "-f", "init/shop.yaml"], "").stdout);
    let components = |policy: &str| {
        let policy = policy.split("---\n").next().unwrap_or_default();
        policy.split("  components:\n").nth(1).map(str::to_owned)
    };
    ensure!(components(&policy) == components(&of_files), "a cluster tells what manifests tell:\n{policy}");
    ensure!(!text(&first.stderr).contains("note:"), "{}", text(&first.stderr));

    let crds = cluster.kubectl(&["apply", "-f", "manifests/crds"]).await?;
    ensure!(crds.success, "{crds:?}");
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f", "manifests/crds"];
    ensure!(cluster.kubectl(&wait).await?.success);
    let applied = apply(&policy).await?;
    ensure!(applied.success && !applied.stderr.contains("Warning"), "{applied:?}");
    let stored = cluster.kubectl(&["get", "upgradepolicy", &namespace, "-o", "json"]).await?;
    let stored: Value = serde_json::from_str(&stored.stdout)?;
    ensure!(stored["spec"]["mode"] == json!("Audit") && stored["spec"]["namespaces"] == json!([namespace]));

    // Now it is governed, and that name is taken.
    let again = init(&["-n", &namespace])?;
    ensure!(text(&again.stderr).contains(&format!("is governed already, by UpgradePolicy {namespace}")), "{again:?}");
    ensure!(text(&again.stdout).contains(&format!("name: {namespace}-2\n")), "{again:?}");

    let elsewhere = init(&["-n", "nothing-here"])?;
    ensure!(
        elsewhere.status.code() == Some(2) && text(&elsewhere.stderr).contains("nothing to govern"),
        "{elsewhere:?}"
    );
    cluster.stop().await
}
