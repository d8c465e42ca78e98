//! The command line as a user meets it: the real binary over manifests, its texts and its exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

const STOA: [&str; 2] = ["--policy", "stoa/policy.yaml"];
const STOA_HOLD: [&str; 2] = ["--policy", "stoa/policy-hold.yaml"];
const SHOP: [&str; 4] = ["--policy", "shop/policy.yaml", "--release", "shop/releases.yaml"];

fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check"))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    binary(arguments).output().unwrap()
}

/// What a user sees: both outputs and the exit code.
fn seen(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    format!("{}{}exit code {code}", text(&output.stdout), text(&output.stderr))
}

fn check(policy: &[&str], before: &str, after: &str, more: &[&str]) -> String {
    seen(&run(&[&["check"], policy, &["--before", before, "--after", after], more].concat()))
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn one_commit_that_bumps_everything_has_an_order() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/2.3.yaml", &[]));
}

#[test]
fn the_way_back_is_the_other_way_round() {
    assert_snapshot!(check(&STOA, "stoa/2.3.yaml", "stoa/2.2", &[]));
}

#[test]
fn under_hold_one_commit_converges_by_itself() {
    assert_snapshot!("hold_up", check(&STOA_HOLD, "stoa/2.2", "stoa/2.3.yaml", &[]));
    assert_snapshot!("hold_back", check(&STOA_HOLD, "stoa/2.3.yaml", "stoa/2.2", &[]));
    let json = run(
        &[&["check"], &STOA_HOLD[..], &["--before", "stoa/2.2", "--after", "stoa/2.3.yaml", "-o", "json"]].concat()
    );
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let foretold = &json["installs"][0]["allAtOnce"];
    assert_eq!(
        (foretold["heldAtFirst"].as_array().unwrap().len(), &foretold["refusedAtFirst"]),
        (3, &serde_json::json!([]))
    );
}

#[test]
fn under_hold_what_cannot_be_held_is_told() {
    let [before, after] = ["stoa/2.2-gateway-on-each-node.yaml", "stoa/2.3-gateway-on-each-node.yaml"];
    assert_snapshot!("hold_daemon_set", check(&STOA_HOLD, before, after, &[]));
    assert_snapshot!("hold_never", check(&STOA_HOLD, "stoa/2.2", "stoa/2.4.yaml", &[]));
}

/// A check under `hook/policy.yaml` from these of its fixtures to others.
fn check_with_hook(before: &[&str], after: &[&str], more: &[&str]) -> String {
    let folder = |files: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check/hook");
            std::fs::copy(fixtures.join(file), folder.path().join(file)).unwrap();
        }
        folder
    };
    let (before, after) = (folder(before), folder(after));
    let [before, after] = [&before, &after].map(|folder| folder.path().to_str().unwrap());
    check(&["--policy", "hook/policy.yaml"], before, after, more)
}

/// The fixtures of `database`: everything at `version`, with the database at `revision` since three hours.
fn with_database(version: &str, revision: &str) -> String {
    let read = |file: &str| {
        std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check").join("database").join(file),
        )
        .unwrap()
    };
    let observed = (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(3 * 3600 + 60)).to_string();
    let platform = read("platform.yaml").replace("AT", revision).replace("OBSERVED", &observed);
    format!("{}\n---\n{platform}", read("apps.yaml").replace("VERSION", version))
}

#[test]
fn a_database_is_migrated_first_and_what_cannot_start_on_it_is_refused() {
    let checked = |from: (&str, &str), to: &str| {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name).to_str().unwrap().to_owned()
        };
        let apps = with_database(to, "").split("---\n# What").next().unwrap_or_default().to_owned();
        let (before, after) = (put("before.yaml", with_database(from.0, from.1)), put("after.yaml", apps));
        check(&["--policy", "database/policy.yaml"], &before, &after, &[])
    };
    assert_snapshot!("database_up", checked(("2.2.0", "r2"), "2.3.0"));
    assert_snapshot!("database_back", checked(("2.4.0", "r5"), "2.3.0"));
    assert_snapshot!("database_back_too_far", checked(("2.3.0", "r4"), "2.2.0"));
}

#[test]
fn the_hook_runs_before_and_what_it_can_do_nothing_about_is_refused() {
    let all = ["apps-old.yaml", "crds.yaml", "platform.yaml"];
    assert_snapshot!("hook_first", check_with_hook(&all, &["apps-new.yaml"], &[]));
    assert_snapshot!("hook_at_once", check_with_hook(&all, &["apps-new.yaml"], &["--at-once"]));
    assert_snapshot!("hook_unseen", check_with_hook(&["apps-old.yaml"], &["apps-new.yaml"], &[]));
    // CRDs of the change itself count.
    assert_snapshot!("hook_crds", check_with_hook(&["apps-old.yaml"], &["apps-new.yaml", "crds.yaml"], &[]));
}

#[test]
fn at_once_judges_each_move_against_the_state_before() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/2.3.yaml", &["--at-once"]));
}

#[test]
fn downstream_alone_is_refused() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/2.3-in-the-wrong-order.yaml", &[]));
}

#[test]
fn two_lines_at_once_are_refused() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/2.4.yaml", &[]));
}

#[test]
fn what_is_only_stuck_at_one_end_shows_how_far_it_goes() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/2.3-but-the-console-too-far.yaml", &[]));
}

#[test]
fn a_first_install_is_allowed() {
    assert_snapshot!(check(&STOA, "/dev/null", "stoa/2.3.yaml", &[]));
}

#[test]
fn an_unchanged_input_says_so() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/2.2", &["-v"]));
}

#[test]
fn a_removal_is_listed_and_not_refused() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/without-portal.yaml", &[]));
}

#[test]
fn a_tag_that_tells_no_version_is_refused() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/latest.yaml", &["-v"]));
}

#[test]
fn warnings_do_not_refuse() {
    assert_snapshot!(check(&STOA, "stoa/2.2", "stoa/one-replica.yaml", &[]));
}

#[test]
fn a_rollout_in_progress_is_waited_for() {
    assert_snapshot!(check(&STOA, "stoa/rolling.yaml", "stoa/gateway-2.3.yaml", &[]));
}

#[test]
fn a_complete_rollout_is_not() {
    assert_snapshot!(check(&STOA, "stoa/rolled-out.yaml", "stoa/gateway-2.3.yaml", &[]));
}

#[test]
fn several_namespaces_kinds_and_releases() {
    assert_snapshot!(check(&SHOP, "shop/before.yaml", "shop/after.yaml", &["-v"]));
}

#[test]
fn a_platform_object_gives_the_history() {
    let policy = &SHOP[..2];
    assert_snapshot!(check(policy, "shop/history.yaml", "shop/recreated.yaml", &[]));
}

#[test]
fn manifests_without_a_namespace_are_of_the_only_governed_one() {
    assert!(check(&STOA, "stoa/2.2", "stoa/no-namespace.yaml", &[]).starts_with("stoa-system, policy stoa: allowed\n"));
    let elsewhere = check(&STOA, "stoa/2.2", "stoa/no-namespace.yaml", &["-n", "other"]);
    assert_eq!(
        elsewhere,
        "error: no policy governs other. The policies and their namespaces are: stoa (stoa-system)\nexit code 2"
    );
    // Two governed namespaces: guessing one could answer the wrong question.
    let unclear = check(&SHOP, "shop/before.yaml", "stoa/no-namespace.yaml", &[]);
    assert!(unclear.contains("metadata.namespace: is missing, and nothing says which one is meant: name it with -n"));
    assert!(unclear.ends_with("exit code 2"));
}

#[test]
fn an_apply_leaves_the_replicas_of_the_cluster_alone() {
    // The manifests name no replicas; a default of one would be told as fewer pods.
    let text = check(&STOA, "stoa/rolled-out.yaml", "stoa/gateway-2.3.yaml", &[]);
    assert!(!text.contains("replicas"), "{text}");
}

#[test]
fn bad_input_says_where_and_what_to_do() {
    let files = [
        "broken.yaml",
        "template.yaml",
        "no-kind.yaml",
        "wrong-type.yaml",
        "twice.yaml",
        "patch.yaml",
        "only-a-service.yaml",
        "elsewhere.yaml",
        "missing.yaml",
    ];
    let texts = files.map(|file| check(&STOA, "stoa/2.2", &format!("bad/{file}"), &[]));
    assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn a_bad_policy_is_told_with_every_problem() {
    let texts = ["typo.yaml", "unknown-component.yaml", "only-a-service.yaml", "releases.yaml"].map(|file| {
        let file = format!("bad/{file}");
        check(&["--policy", &file], "stoa/2.2", "stoa/2.3.yaml", &[])
    });
    assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn an_empty_folder_is_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let text = check(&STOA, path, "stoa/2.2", &[]).replace(path, "FOLDER");
    assert_eq!(
        text,
        "error: FOLDER holds no .yaml, .yml or .json file: name a file, or a folder with manifests in it\nexit code 2"
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_links_to_itself_comes_to_an_end() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
    let text = check(&STOA, folder.path().to_str().unwrap(), "stoa/2.2", &[]);
    assert!(text.contains("is there a link to a folder above it?") && text.ends_with("exit code 2"), "{text}");
}

#[test]
fn json_is_the_same_answer_without_prose() {
    let arguments =
        [&["check"], &STOA[..], &["--before", "stoa/2.2", "--after", "stoa/2.3.yaml", "-o", "json"]].concat();
    let output = run(&arguments);
    assert_eq!((code(&output), output.stderr.as_slice()), (Some(0), &b""[..]));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["allowed"], true);
    let steps = answer["installs"][0]["changes"].as_array().unwrap();
    let workloads: Vec<&str> = steps.iter().map(|step| step["workload"].as_str().unwrap()).collect();
    let expected = ["stoa-control-plane-api", "stoa-gateway", "control-plane-ui", "stoa-portal"];
    assert_eq!(workloads, expected.map(|name| format!("deployment/{name}")));
    assert_eq!(answer["installs"][0]["allAtOnce"]["stopsAtFirst"]["stuckAt"], "deployment/control-plane-ui");

    let refused = run(&[
        &["check"],
        &STOA[..],
        &["--before", "stoa/2.2", "--after", "stoa/2.3-in-the-wrong-order.yaml", "-o", "json"],
    ]
    .concat());
    assert_eq!(code(&refused), Some(1));
    assert_snapshot!(String::from_utf8(refused.stdout).unwrap());
}

#[test]
fn manifests_come_from_standard_input_and_as_json() {
    let deployment = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "DeploymentList",
        "items": [{
            "metadata": {"name": "stoa-gateway", "namespace": "stoa-system"},
            "spec": {"template": {"spec": {"containers": [{"name": "gw", "image": "x/stoa-gateway:2.3.0"}]}}},
        }],
    });
    let mut child = binary(&[&["check"], &STOA[..], &["--before", "stoa/2.2", "--after", "-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(deployment.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("stoa-gateway 2.2.0 -> 2.3.0"));

    let twice = run(&[&["check"], &STOA[..], &["--before", "-", "--after", "-"]].concat());
    assert_eq!(code(&twice), Some(2));
    assert!(String::from_utf8(twice.stderr).unwrap().contains("standard input can be read once only"));
}

#[test]
fn without_a_cluster_live_cannot_tell() {
    let output = binary(&[&["check", "--live"], &STOA[..], &["--after", "stoa/2.2"]].concat())
        .env("KUBECONFIG", "no-such-file")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is there a kubeconfig?"));
}

#[test]
fn a_command_line_that_asks_nothing_is_code_2() {
    for arguments in [&["check"][..], &["check", "--after", "stoa/2.2"], &["no-such-command"], &[]] {
        assert_eq!(code(&run(arguments)), Some(2), "{arguments:?}");
    }
}

#[test]
fn rules_are_listed_and_explained() {
    assert_snapshot!(seen(&run(&["rules"])));
    assert_snapshot!("rules_one", seen(&run(&["rules", "ug-order"])));
    let unknown = run(&["rules", "UG-ODER"]);
    assert_eq!(code(&unknown), Some(2));
    assert!(
        String::from_utf8(unknown.stderr).unwrap().starts_with("error: there is no code 'UG-ODER'; there are UG-ORDER")
    );
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains("check"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_changes_no_answer() {
    let refused = [&["check"], &STOA[..], &["--before", "stoa/2.2", "--after", "stoa/2.4.yaml"]].concat();
    for (arguments, expected) in [(&["crds"][..], 0), (&refused[..], 1)] {
        let mut child = binary(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), String::from_utf8(output.stderr).unwrap().as_str()), (Some(expected), ""));
    }
}

#[test]
fn a_crd_that_is_a_hook_is_refused() {
    assert_snapshot!("hooks_crd", check(&STOA, "/dev/null", "hooks/crd.yaml", &[]));
    let json =
        run(&[&["check"], &STOA[..], &["--before", "/dev/null", "--after", "hooks/crd.yaml", "-o", "json"]].concat());
    assert_eq!(code(&json), Some(1));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let hook = &json["hooks"][0];
    assert_eq!((&hook["code"], &hook["severity"]), (&"crd-is-a-hook".into(), &"error".into()));
    assert_eq!(hook["origin"]["line"], 1);
}

#[test]
fn hooks_are_looked_at_beside_the_changes() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check");
    let copied = |from: &str, to: &str| std::fs::copy(fixtures.join(from), folder.path().join(to)).unwrap();
    copied("stoa/2.3.yaml", "b.yaml");
    copied("hooks/migration.yaml", "a.yaml");
    let path = folder.path().to_str().unwrap();
    let seen = |more: &[&str]| check(&STOA, "stoa/2.2", path, more).replace(path, "FOLDER");
    let warned = seen(&[]);
    assert_snapshot!("hooks_warnings", warned);
    copied("hooks/crd.yaml", "c.yaml");
    let refused = seen(&[]);
    assert!(refused.contains("hooks: refused") && refused.ends_with("exit code 1"), "{refused}");
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    std::fs::remove_file(folder.path().join("c.yaml")).unwrap();
    let without = seen(&["-o", "json"]);
    assert!(!without.contains("hooks"), "{without}");
}

#[test]
fn ci_reads_the_same_answer_as_sarif_and_as_junit() {
    let asked =
        [&["check"], &STOA[..], &["--before", "stoa/2.2", "--after", "stoa/2.3-in-the-wrong-order.yaml"]].concat();
    let output = run(&[&asked[..], &["-o", "sarif"]].concat());
    assert_eq!((code(&output), output.stderr.as_slice()), (Some(1), &b""[..]));
    let sarif: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((result["ruleId"].as_str(), result["level"].as_str()), (Some("UG-ORDER"), Some("error")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "stoa/2.3-in-the-wrong-order.yaml");
    assert!(place["region"]["startLine"].as_u64().is_some_and(|line| line > 1), "{place}");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]));
    assert_snapshot!("sarif", serde_json::to_string_pretty(&sarif["runs"][0]["results"]).unwrap());

    let output = run(&[&asked[..], &["-o", "junit"]].concat());
    assert_eq!(code(&output), Some(1));
    assert_snapshot!("junit", String::from_utf8(output.stdout).unwrap());
    // Nothing refused, but warned of; and what engines make of hooks.
    let warned =
        run(&[&["check"], &STOA[..], &["--before", "stoa/2.2", "--after", "stoa/2.3.yaml", "-o", "junit"]].concat());
    assert_eq!(code(&warned), Some(0));
    assert_snapshot!("junit_allowed", String::from_utf8(warned.stdout).unwrap());
}
