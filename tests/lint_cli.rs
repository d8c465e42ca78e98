//! `upgrade-guard lint` as a user meets it: the real binary over files, its texts, its formats and its exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

const BREAKING: &[&str] = &["breaking.sql"];

fn run(arguments: &[&str], input: &str) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lint");
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command.current_dir(folder).arg("lint").args(arguments).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What is not read is not waited for.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a user sees: both outputs and the exit code.
fn seen(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{}{}exit code {}", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn what_breaks_is_refused_and_how_to_accept_it_is_said() {
    assert_snapshot!(seen(BREAKING, ""));
}

#[test]
fn a_policy_says_how_checks_are_taken_and_what_is_waived() {
    assert_snapshot!(seen(&["breaking.sql", "--policy", "policy.yaml"], ""));
}

#[test]
fn what_only_adds_passes() {
    assert_snapshot!(seen(&["-"], "SET lock_timeout = '5s';\nCREATE TABLE n (id int);\nDROP TABLE n;\n"));
}

#[test]
fn what_cannot_be_told_says_why() {
    let texts = [
        seen(&["-"], "DROP TABLE t;\nDROP TABLES u;\n"),
        seen(&["no-such.sql"], ""),
        seen(&["breaking.sql", "--policy", "typo.yaml"], ""),
        seen(&["breaking.sql", "--policy", "breaking.sql"], ""),
        seen(&["-", "--policy", "-"], ""),
    ];
    assert!(texts.iter().all(|text| text.ends_with("exit code 2")), "{texts:#?}");
    assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn json_is_the_same_answer() {
    let output = run(&["breaking.sql", "--policy", "policy.yaml", "-o", "json"], "");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &answer["passes"]), (Some(1), &Value::Bool(false)));
    insta::assert_json_snapshot!(answer);
}

#[test]
fn sarif_is_what_the_standard_requires() {
    let output = run(&["breaking.sql", "--policy", "policy.yaml", "-o", "sarif"], "");
    assert_eq!(output.status.code(), Some(1));
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(run["tool"]["driver"]["name"], "upgrade-guard");
    for rule in rules {
        for text in [&rule["id"], &rule["shortDescription"]["text"], &rule["help"]["text"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{rule}");
        }
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 3);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "breaking.sql");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
        assert_eq!(result["fingerprints"]["upgradeGuard/v1"].as_str().unwrap().len(), 16);
    }
    let suppressed = results.iter().filter(|result| result.get("suppressions").is_some()).count();
    assert_eq!(suppressed, 1, "the waived one");
    insta::assert_json_snapshot!(run["results"]);
}

#[test]
fn junit_is_a_test_report() {
    assert_snapshot!(seen(&["breaking.sql", "--policy", "policy.yaml", "-o", "junit"], ""));
}

#[test]
fn the_checks_are_listed() {
    let listed = seen(&["--checks"], "");
    assert!(
        listed.starts_with("NAME") && listed.contains("\ncolumnDropped") && listed.ends_with("exit code 0"),
        "{listed}"
    );
}
