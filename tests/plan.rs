//! `plan` as a user meets it: the real binary over manifests, its texts and its exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

const STOA: [&str; 2] = ["--policy", "stoa/policy.yaml"];
const SHOP: [&str; 4] = ["--policy", "shop/policy.yaml", "--release", "shop/releases.yaml"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check")
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"))
        .current_dir(fixtures())
        .arg("plan")
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command line that is refused does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a user sees: both outputs and the exit code.
fn seen(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{}{}exit code {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

fn plan(rules: &[&str], from: &str, to: &[&str]) -> String {
    seen(&run(&[rules, &["--from", from], to].concat(), ""))
}

/// A plan from a fixture that is changed first.
fn plan_from_changed(file: &str, changes: &[(&str, &str)], to: &[&str]) -> String {
    let mut state = std::fs::read_to_string(fixtures().join(file)).unwrap();
    for (old, new) in changes {
        assert!(state.contains(old), "{file} has no {old}");
        state = state.replace(old, new);
    }
    seen(&run(&[&STOA, &["--from", "-"], to].concat(), &state))
}

#[test]
fn one_line_up() {
    assert_snapshot!(plan(&STOA, "stoa/2.2", &["--to", "2.3.0"]));
}

/// A plan under `hook/policy.yaml` from these of its fixtures.
fn plan_with_hook(files: &[&str], to: &str) -> String {
    let read = |file: &&str| std::fs::read_to_string(fixtures().join("hook").join(file)).unwrap();
    let input = files.iter().map(read).collect::<Vec<_>>().join("\n---\n");
    seen(&run(&["--policy", "hook/policy.yaml", "--from", "-", "--to", to], &input))
}

/// The fixtures of `database`: everything at `version`, with the database at `revision` since three hours.
fn with_database(version: &str, revision: &str) -> String {
    let read = |file: &str| std::fs::read_to_string(fixtures().join("database").join(file)).unwrap();
    let observed = (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(3 * 3600 + 60)).to_string();
    let platform = read("platform.yaml").replace("AT", revision).replace("OBSERVED", &observed);
    format!("{}\n---\n{platform}", read("apps.yaml").replace("VERSION", version))
}

#[test]
fn a_database_is_migrated_first_and_a_way_back_ends_where_it_is_accepted() {
    let plan = |version: &str, revision: &str, to: &str| {
        let rules = ["--policy", "database/policy.yaml", "--from", "-", "--to", to];
        seen(&run(&rules, &with_database(version, revision)))
    };
    assert_snapshot!("database_up", plan("2.2.0", "r2", "2026.07"));
    assert_snapshot!("database_back", plan("2.4.0", "r5", "2026.07"));
    // The API would go last, and nothing moves.
    assert_snapshot!("database_back_too_far", plan("2.4.0", "r5", "2026.06"));
}

#[test]
fn what_the_hook_has_to_do_comes_first() {
    let all = ["apps-old.yaml", "crds.yaml", "platform.yaml"];
    assert_snapshot!("hook_first", plan_with_hook(&all, "2026.08"));
    assert_snapshot!("hook_not_on_the_way_back", plan_with_hook(&["apps-new.yaml", "platform.yaml"], "2026.06"));
    // What nobody gave is not judged, and that is said.
    assert_snapshot!("hook_unseen", plan_with_hook(&["apps-old.yaml"], "2026.07"));
}

#[test]
fn two_lines_up_stop_between() {
    assert_snapshot!(plan(&STOA, "stoa/2.2", &["--to", "2.4.0"]));
}

#[test]
fn the_way_back_is_the_mirror() {
    assert_snapshot!(plan(&STOA, "stoa/2.4.yaml", &["--to", "2.2.0"]));
}

#[test]
fn one_component_takes_along_what_it_needs_and_no_more() {
    assert_snapshot!(plan(&STOA, "stoa/2.2", &["--to", "stoa-gateway=2.4.1"]));
}

#[test]
fn an_exception_goes_over_the_rest() {
    let text = plan(&STOA, "stoa/2.2", &["--to", "2.3.0", "control-plane-ui=2.2.5"]);
    assert!(text.contains("control-plane-ui   2.2.0 -> 2.2.5") && text.contains("portal             2.2.0 -> 2.3.0"));
}

#[test]
fn releases_order_components_that_number_independently() {
    assert_snapshot!(plan(&SHOP, "shop/before.yaml", &["--to", "2026.07"]));
    let by_name = plan(&SHOP, "shop/before.yaml", &["--to", "shop-2026-07"]);
    assert_eq!(by_name, plan(&SHOP, "shop/before.yaml", &["--to", "2026.07"]));
    assert!(plan(&SHOP, "shop/after.yaml", &["--to", "2026.05", "-n", "shop-us"]).contains("5.0.0 -> 4.9.0"));
}

#[test]
fn manifests_are_a_target() {
    let manifests = plan(&STOA, "stoa/2.2", &["--to-manifests", "stoa/2.3.yaml"]);
    assert_eq!(manifests, plan(&STOA, "stoa/2.2", &["--to", "2.3.0"]));
}

#[test]
fn a_broken_state_is_cured_on_the_way() {
    let gateway_ahead = [("control-plane-api:2.3.0", "control-plane-api:2.2.0"), ("gateway:2.3.0", "gateway:2.4.0")];
    assert_snapshot!(plan_from_changed("stoa/2.3.yaml", &gateway_ahead, &["--to", "2.4.0"]));
}

#[test]
fn what_names_no_version_is_named_first() {
    let to = ["--to", "2.3.0", "control-plane-ui=2.3.0"];
    assert_snapshot!(plan(&STOA, "stoa/latest.yaml", &to));
    assert_snapshot!("what_is_not_meant_stands_in_the_way", plan(&STOA, "stoa/latest.yaml", &to[..2]));
}

#[test]
fn an_impossible_target_says_why() {
    let major = plan(&STOA, "stoa/2.2", &["--to", "control-plane-api=3.0.0"]);
    let unsupported = plan(&SHOP, "shop/before.yaml", &["--to", "agent=3.0.0", "ledger=5.0.0", "-n", "shop-us"]);
    let apart = plan(&STOA, "stoa/2.2", &["--to", "2.3.0", "control-plane-ui=2.5.0"]);
    assert_snapshot!([major, unsupported, apart].join("\n\n"));
}

#[test]
fn a_rollout_in_progress_comes_first() {
    assert_snapshot!(plan(&STOA, "stoa/rolling.yaml", &["--to", "2.3.0"]));
}

#[test]
fn a_stuck_rollout_is_patched_undone_or_told() {
    let stuck = [(
        "    observedGeneration: 2\n",
        "    - {type: Progressing, status: \"False\", reason: ProgressDeadlineExceeded}\n    observedGeneration: 2\n",
    )];
    assert_snapshot!(plan_from_changed("stoa/rolling.yaml", &stuck, &["--to", "2.3.0"]));
    let undone = plan_from_changed("stoa/rolling.yaml", &stuck, &["--to", "2.2.0"]);
    assert!(undone.contains("step 1   control-plane-api  2.3.0 -> 2.2.0") && !undone.contains("step 2"), "{undone}");
    let patched = plan_from_changed("stoa/rolling.yaml", &stuck, &["--to", "2.3.1"]);
    assert!(patched.contains("step 1   control-plane-api  2.3.0 -> 2.3.1"), "{patched}");
}

#[test]
fn nothing_to_do_is_a_plan() {
    let text = plan(&STOA, "stoa/2.2", &["--to", "2.2.0"]);
    assert_eq!(text, "stoa-system, policy stoa: nothing to do, everything is at its target\nexit code 0");
}

#[test]
fn bad_input_says_what_to_do() {
    let targets: [&[&str]; 7] = [
        &["--to", "2026.07"],
        &["--to", "web=2.3.0"],
        &["--to", "portal=newest"],
        &["--to", "portal=2.3.0", "portal=2.4.0"],
        &["--to", "9.0.0"],
        &["--to-manifests", "stoa/latest.yaml"],
        &["--to", "2.3.0", "-n", "elsewhere"],
    ];
    let mut texts: Vec<String> = targets.iter().map(|to| plan(&STOA, "stoa/2.2", to)).collect();
    texts.push(plan(&SHOP, "shop/before.yaml", &["--to", "2026.09"]));
    texts.push(plan(&STOA, "stoa/missing.yaml", &["--to", "2.3.0"]));
    assert_snapshot!(texts.join("\n\n"));
    for arguments in [&["--to", "2.3.0"][..], &["--live"], &["--policy", "stoa/policy.yaml", "--from", "stoa/2.2"]] {
        assert_eq!(run(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn json_is_the_same_answer_without_prose() {
    let arguments = |to| [&STOA[..], &["--from", "stoa/rolling.yaml", "-o", "json", "--to", to]].concat();
    let found = run(&arguments("2.3.0"), "");
    assert_eq!((found.status.code(), found.stderr.as_slice()), (Some(0), &b""[..]));
    assert_snapshot!(String::from_utf8(found.stdout).unwrap());
    let refused = run(&arguments("control-plane-api=3.0.0"), "");
    assert_eq!((refused.status.code(), refused.stderr.as_slice()), (Some(1), &b""[..]));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(answer["found"], false);
    assert_eq!(answer["installs"][0]["blocked"][0]["reasons"][0]["code"], "UG-VERSION");
}

#[test]
fn mermaid_draws_the_steps_and_what_blocks() {
    assert_snapshot!(plan(&STOA, "stoa/rolling.yaml", &["-o", "mermaid", "--to", "2.4.0", "control-plane-api=4.0.0"]));
    assert_snapshot!("mermaid_found", plan(&STOA, "stoa/rolling.yaml", &["-o", "mermaid", "--to", "2.3.0"]));
}
