//! `upgrade-guard crds` as a user meets it: the real binary over files, its texts and its exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

/// Two generations of real CRDs, beside the repository; they are not part of it, and are not needed.
const REAL: [&str; 2] = ["../../../../shared/stoa/crds-2026-02", "../../../../shared/stoa/crds-2026-07"];

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crds");
    command.current_dir(folder).arg("crds").args(arguments).env("KUBECONFIG", "no-such-file");
    command.env_remove("KUBERNETES_SERVICE_HOST").stdin(Stdio::null()).output().unwrap()
}

/// What a user sees: both outputs and the exit code.
fn seen(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{}{}exit code {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

fn diff(more: &[&str]) -> String {
    seen(&[&["diff", "wanted", "--installed", "installed.yaml"], more].concat())
}

#[test]
fn what_is_unsafe_is_told_crd_by_crd() {
    assert_snapshot!(diff(&[]));
}

#[test]
fn a_policy_says_what_is_unsafe() {
    assert_snapshot!(diff(&["--policy", "policy.yaml"]));
}

#[test]
fn identical_crds_are_one_line_each() {
    let (of_files, exit) = ("baskets.shop.example: as installed\n", "exit code 0");
    let same = seen(&["diff", "wanted", "--installed", "wanted"]);
    assert_eq!(same.lines().filter(|line| line.ends_with(": as installed")).count(), 5, "{same}");
    assert!(same.starts_with(of_files) && same.ends_with(exit) && same.lines().count() == 6, "{same}");
}

#[test]
fn nothing_is_installed_at_first() {
    let first = seen(&["diff", "wanted", "--installed", "/dev/null"]);
    assert_eq!(first.lines().filter(|line| line.ends_with(": not installed yet")).count(), 5, "{first}");
    assert!(first.ends_with("exit code 0"));
}

#[test]
fn json_is_the_same_answer() {
    let output = run(&["diff", "wanted", "--installed", "installed.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["safe"], false);
    let states: Vec<&Value> = answer["crds"].as_array().unwrap().iter().map(|crd| &crd["state"]).collect();
    assert_eq!(states, ["same", "new", "changed", "changed", "changed"]);
    assert_eq!(answer["crds"][0]["content"], answer["crds"][0]["installedContent"]);
    assert_eq!(
        answer["crds"][4]["differences"],
        json!([{"check": "deprecation", "severity": "Warn", "version": "v1", "path": "deprecated",
            "message": "would be deprecated: vouchers are coupons now"}])
    );
}

#[test]
fn what_cannot_be_told_says_why() {
    let texts = [
        &["diff", "policy.yaml", "--installed", "installed.yaml"][..],
        &["diff", "wanted", "wanted/all.yaml", "--installed", "installed.yaml"],
        &["diff", "wanted", "--installed", "no-such-file"],
        &["diff", "wanted", "--installed", "installed.yaml", "--policy", "installed.yaml"],
        &["diff", "wanted", "--installed", "installed.yaml", "--policy", "policy-typo.yaml"],
        &["diff", "-", "--installed", "-"],
        &["digest", "policy.yaml"],
    ];
    assert_snapshot!(texts.map(seen).join("\n\n"));
}

#[test]
fn without_files_a_cluster_is_asked() {
    let text = seen(&["diff", "wanted"]);
    assert!(
        text.starts_with("error: without --installed the cluster is asked: cannot tell which cluster is"),
        "{text}"
    );
    assert!(text.ends_with("exit code 2"));
}

#[test]
fn checks_are_listed() {
    assert_snapshot!(seen(&["checks"]));
}

#[test]
fn digests_are_those_of_a_release() {
    assert_snapshot!(seen(&["digest", "wanted", "every-field"]));
}

/// From one generation of the real CRDs to the next, and back.
#[test]
fn real_crds_go_on_and_not_back() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crds");
    if !REAL.iter().all(|folder| fixtures.join(folder).is_dir()) {
        // Past the test runner, which swallows what a test that passes says.
        let _ = writeln!(std::io::stderr(), "the real CRDs of the platform are not there: SKIPPED");
        return;
    }
    let [old, new] = REAL;
    let texts = [seen(&["diff", new, "--installed", old]), seen(&["diff", old, "--installed", new])];
    assert_snapshot!(texts.join("\n\n"));
}
