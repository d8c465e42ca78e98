//! Where an upgrade stands, as a user reads it: real objects through the real program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output as Printed};

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};
use upgrade_guard::api::Platform;
use upgrade_guard::cli::{Output, Paint, status};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/status").join(format!("{name}.yaml"))
}

/// What is shown of a file's Platforms at noon, when most of their stories are a few minutes old.
fn shown(name: &str) -> String {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let platforms: Vec<Platform> = serde_saphyr::from_multiple(&text).unwrap();
    let now: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
    let mut bytes = Vec::new();
    status::print(&platforms, now, &mut Output::new(&mut bytes, Paint::default())).unwrap();
    let shown = String::from_utf8(bytes).unwrap();
    for line in shown.lines() {
        assert!(line.chars().count() <= 100, "wider than a screen: {line}");
        assert!(!line.contains(char::is_control) && !line.ends_with(' '), "{line:?}");
    }
    // With a prompt below it.
    assert!(shown.lines().count() <= 40, "longer than a screen:\n{shown}");
    shown
}

/// The program over one file.
fn run(name: &str, arguments: &[&str]) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command.args(["status", "-f"]).arg(file(name)).args(arguments).env_remove("KUBECONFIG").output().unwrap()
}

fn code(name: &str, arguments: &[&str]) -> i32 {
    run(name, arguments).status.code().unwrap()
}

fn stdout(printed: &Printed) -> &str {
    std::str::from_utf8(&printed.stdout).unwrap()
}

fn stderr(printed: &Printed) -> &str {
    std::str::from_utf8(&printed.stderr).unwrap()
}

#[test]
fn settled() {
    assert_snapshot!(shown("settled"));
}

#[test]
fn prepared() {
    assert_snapshot!(shown("prepared"));
}

#[test]
fn rolling() {
    assert_snapshot!(shown("rolling"));
}

#[test]
fn held() {
    assert_snapshot!(shown("held"));
}

#[test]
fn refused() {
    assert_snapshot!(shown("refused"));
}

#[test]
fn broken() {
    assert_snapshot!(shown("broken"));
}

#[test]
fn with_an_override() {
    assert_snapshot!(shown("override"));
}

#[test]
fn nobody_looked_at_it_yet() {
    assert_snapshot!(shown("empty"));
}

#[test]
fn several_installs() {
    assert_snapshot!(shown("several"));
}

#[test]
fn the_exit_code_tells_whether_all_is_ready() {
    for (name, arguments, expected) in [
        ("settled", &[][..], 0),
        ("refused", &[], 0),
        ("rolling", &[], 1),
        ("held", &[], 1),
        ("broken", &[], 1),
        ("override", &[], 1),
        ("empty", &[], 2),
        ("outdated", &[], 2),
        ("several", &[], 2),
        ("several", &["-n", "stoa-eu"], 1),
        ("several", &["-n", "stoa-eu", "stoa"], 0),
        ("several", &["edge"], 1),
        ("several", &["-A", "stoa", "-o", "json"], 2),
        ("several", &["other"], 2),
        ("settled", &["-n", "other"], 2),
    ] {
        assert_eq!(code(name, arguments), expected, "{name} {arguments:?}");
    }
}

#[test]
fn what_cannot_be_told_is_said() {
    let empty = run("empty", &[]);
    assert!(stdout(&empty).starts_with("stoa-system, policy stoa: not known yet\n"), "{}", stdout(&empty));
    assert!(stderr(&empty).starts_with("error: the guard has not looked at stoa-system yet"), "{}", stderr(&empty));
    let none = run("settled", &["-n", "other", "shop"]);
    assert!(
        stderr(&none).starts_with("error: there is no Platform named shop in namespace other"),
        "{}",
        stderr(&none)
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none");
    for arguments in [&["status"][..], &["status", "--watch"]] {
        let printed = command.args(arguments).env("KUBECONFIG", &nowhere).env("HOME", folder.path()).output().unwrap();
        assert_eq!(printed.status.code(), Some(2), "no cluster: {}", stderr(&printed));
        command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    }
}

#[test]
fn programs_get_the_objects() {
    let json = run("several", &["-o", "json"]);
    let json: Value = serde_json::from_str(stdout(&json)).unwrap();
    let names = json["items"].as_array().unwrap().iter().map(|item| {
        let text = |field: &str| item["metadata"][field].as_str().unwrap().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    });
    assert_eq!(names.collect::<Vec<_>>(), ["stoa-eu/edge", "stoa-eu/stoa", "stoa-us/stoa"]);
    assert_eq!(json["kind"], "List");
    assert_eq!(json["items"][1]["kind"], "Platform");
    assert_eq!(json["items"][1]["status"]["release"], "2026.07");
    assert_eq!(json.pointer("/items/1/metadata/managedFields"), None);

    let yaml = run("several", &["-o", "yaml"]);
    let yaml: Value = serde_saphyr::from_str(stdout(&yaml)).unwrap();
    assert_eq!(yaml, json);
}

#[test]
fn what_kubectl_printed_can_be_read() {
    let list = stdout(&run("several", &["-o", "yaml"])).to_owned();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.yaml");
    std::fs::write(&path, list).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    let again = command.args(["status", "-o", "json", "-f"]).arg(&path).output().unwrap();
    let first = run("several", &["-o", "json"]);
    assert_eq!(stdout(&again), stdout(&first));
    assert_eq!(json!(stdout(&again).is_empty()), json!(false));
}
