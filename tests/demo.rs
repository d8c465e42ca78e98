//! The demonstration, as `make demo` runs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_upgrade-guard")).arg("demo").args(arguments).output().unwrap()
}

#[test]
fn the_guides_upgrade_is_judged_as_the_guide_says() {
    let output = demo(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let port = regex::Regex::new(r"127\.0\.0\.1:\d+").unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(port.replace_all(&text, "127.0.0.1:PORT"));
}

#[test]
fn another_verdict_than_the_expected_one_is_a_failure() {
    let policy = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/policies/stoa.yaml");
    let lax =
        std::fs::read_to_string(shipped).unwrap().replace("maxHop: 1", "maxHop: 9").replace("behind: 1", "behind: 9");
    std::fs::write(&policy, lax).unwrap();
    let output = demo(&["--policy", policy.path().to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("EXPECTED Never"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("verdicts were not the expected ones"));
}
