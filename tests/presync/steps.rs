//! What a run does, says and records.

use anyhow::Result;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use upgrade_guard::api::{Platform, PreparationOutcome};

use crate::platform::deployment;
use crate::scene::{Ran, Scene};

/// A policy without preconditions.
fn plain() -> Value {
    json!({})
}

fn args(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

async fn usual(scene: &Scene, more: &[&str]) -> Result<Ran> {
    scene.run(&[scene.usual(), args(more)].concat()).await
}

#[tokio::test]
async fn what_is_missing_is_brought_about_and_recorded() {
    let policy = json!({"preconditions": [{"name": "health", "health": {}}]});
    let Some(scene) = Scene::open("prepared", policy).await.unwrap() else { return };
    let ran = usual(&scene, &[]).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(0));
    let preparations = scene.preparations().await.unwrap();
    let [entry] = preparations.as_slice() else { panic!("{preparations:?}") };
    assert_eq!(entry.outcome, PreparationOutcome::Prepared);
    assert_eq!(entry.by.as_deref().map(|by| by.ends_with("(hook)")), Some(true), "{:?}", entry.by);
    let found: Vec<_> =
        entry.found.iter().map(|found| (found.name.as_str(), found.running[0].version.as_str())).collect();
    assert_eq!(found, [("api", "2.2.0"), ("gateway", "2.2.0")]);
    assert_eq!(entry.crds.len(), 1);
    assert!(entry.preconditions.iter().all(|precondition| precondition.held), "{entry:?}");
    let crd = scene.crd("tools").await.unwrap().unwrap();
    let established = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
    assert!(established.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True"));
}

#[tokio::test]
async fn a_second_run_finds_nothing_to_do() {
    let Some(scene) = Scene::open("again", plain()).await.unwrap() else { return };
    assert_eq!(usual(&scene, &[]).await.unwrap().code, Some(0));
    let before = (scene.crd("tools").await.unwrap().unwrap(), scene.preparations().await.unwrap());
    let (ran, gate) = scene.run_counted(&scene.usual()).await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let crd = scene.crd("tools").await.unwrap().unwrap();
    assert_eq!(crd.resource_version(), before.0.resource_version());
    let after = scene.preparations().await.unwrap();
    assert_eq!((after.len(), &after[0].crds, &after[0].started), (1, &before.1[0].crds, &before.1[0].started));
    let log = gate.log();
    println!("{} requests when nothing is to be done", log.len());
    let writes: Vec<&String> = log.iter().filter(|line| !line.starts_with("GET")).collect();
    let harmless = |line: &String| line.contains("selfsubjectreviews") || line.contains("/status");
    assert!(writes.iter().all(|line| harmless(line)), "{writes:#?}");
}

#[tokio::test]
async fn every_precondition_is_reported_and_nothing_is_changed() {
    let none = |name: &str| {
        json!({"name": name, "object": {
        "apiVersion": "v1", "kind": "ConfigMap", "name": name, "ready": "object.data.done == 'yes'"}})
    };
    let policy = json!({"preconditions": [none("realm-export"), none("dump"), {"name": "health", "health": {}}]});
    let Some(scene) = Scene::open("evidence", policy).await.unwrap() else { return };
    let dump = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dump"}, "data": {"done": "no"}});
    scene.apply(&dump).await.unwrap();
    let ran = usual(&scene, &[]).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(3));
    assert!(scene.crd("tools").await.unwrap().is_none(), "nothing is applied");
    let entry = &scene.preparations().await.unwrap()[0];
    assert_eq!((entry.outcome, entry.preconditions.len()), (PreparationOutcome::Refused, 3));
    // Mended, it goes on.
    for name in ["realm-export", "dump"] {
        let made =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"done": "yes"}});
        scene.apply(&made).await.unwrap();
    }
    assert_eq!(usual(&scene, &[]).await.unwrap().code, Some(0));
    assert_eq!(scene.preparations().await.unwrap()[0].outcome, PreparationOutcome::Prepared);
}

#[tokio::test]
async fn what_can_never_be_admitted_is_refused_before_anything_is_changed() {
    let Some(scene) = Scene::open("never", plain()).await.unwrap() else { return };
    let crds = scene.crds().display().to_string();
    let ran = scene.run(&args(&["--release", "2.4.0", "--crds", &crds])).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(2));
    assert!(scene.crd("tools").await.unwrap().is_none());
}

#[tokio::test]
async fn an_unsafe_change_of_a_crd_is_refused_by_name() {
    let Some(scene) = Scene::open("unsafe", plain()).await.unwrap() else { return };
    scene.write_crd("tools", &["name", "owner"]).unwrap();
    assert_eq!(usual(&scene, &[]).await.unwrap().code, Some(0));
    scene.write_crd("tools", &["name"]).unwrap();
    let ran = usual(&scene, &[]).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(2));
    assert_eq!(scene.preparations().await.unwrap()[0].outcome, PreparationOutcome::Refused);
}

#[tokio::test]
async fn what_is_given_in_two_ways_must_be_the_same() {
    let Some(scene) = Scene::open("versions", plain()).await.unwrap() else { return };
    let values = scene.crds().join("values.json");
    let image = |tag: &str| json!({"api": {"image": {"repository": "x/api", "tag": tag}}}).to_string();
    std::fs::write(&values, image("2.2.0")).unwrap();
    let with_values = args(&["--release", "2.3.0", "--values", values.to_str().unwrap()]);
    let ran = scene.run(&with_values).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(4));
    let manifest = scene.crds().join("api.json");
    std::fs::write(&manifest, deployment("api", "x/api:2.3.0").to_string()).unwrap();
    std::fs::write(&values, image("2.3.0")).unwrap();
    let all = [with_values, args(&["-f", manifest.to_str().unwrap(), "--to", "api=2.3.0", "--dry-run"])].concat();
    let ran = scene.run(&all).await.unwrap();
    assert!(ran.text.contains("2.3.0: api 2.2.0 -> 2.3.0, gateway 2.2.0 -> 2.3.0"), "{}", ran.text);
    // Without a release, what is asked for names itself.
    let ran = scene.run(&args(&["--values", values.to_str().unwrap(), "--dry-run"])).await.unwrap();
    assert!(ran.text.contains("api 2.3.0: api 2.2.0 -> 2.3.0"), "{}", ran.text);
}

#[tokio::test]
async fn breaking_changes_have_to_be_acknowledged_by_name() {
    let Some(scene) = Scene::open("breaking", plain()).await.unwrap() else { return };
    let name = format!("{}-2.3.0", scene.namespace);
    let change = json!({"name": "auth-header", "message": "tokens move to the header Authorization", "url": "https://example.org/2.3"});
    let patch = json!({"spec": {"breakingChanges": [change]}}).to_string();
    let patched = scene.cluster.kubectl(&["patch", "platformrelease", &name, "--type=merge", "-p", &patch]).await;
    assert!(patched.unwrap().success);
    let ran = usual(&scene, &[]).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(2));
    let platforms: Api<Platform> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let patch = Patch::Merge(json!({"spec": {"acknowledged": ["auth-header"]}}));
    platforms.patch(&scene.namespace, &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(usual(&scene, &[]).await.unwrap().code, Some(0));
}

#[tokio::test]
async fn nothing_begins_while_it_is_frozen() {
    let window = json!({"name": "always", "cron": "0 0 * * *", "duration": "25h"});
    let Some(scene) = Scene::open("frozen", json!({"freezeWindows": [window]})).await.unwrap() else { return };
    let ran = usual(&scene, &[]).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(2));
    assert!(scene.crd("tools").await.unwrap().is_none());
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_done_and_changes_nothing() {
    let stale = json!({"name": "backup", "cronJob": {"name": "backup", "maxAge": "24h", "runIfStale": true}});
    let Some(scene) = Scene::open("dry", json!({"preconditions": [stale]})).await.unwrap() else { return };
    let (ran, gate) = scene.run_counted(&[scene.usual(), args(&["--dry-run"])].concat()).await.unwrap();
    insta::assert_snapshot!(ran.text);
    let harmless =
        |line: &&String| line.starts_with("GET") || line.contains("selfsubjectreviews") || line.contains("dryRun=All");
    let writes: Vec<String> = gate.log().iter().filter(|line| !harmless(line)).cloned().collect();
    assert_eq!(writes, Vec::<String>::new());
    assert!(scene.crd("tools").await.unwrap().is_none());
    assert!(scene.preparations().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_patch_waits_for_no_evidence() {
    let missing = json!({"name": "never", "object": {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "there-is-none", "ready": "true"}});
    let Some(scene) = Scene::open("patch", json!({"preconditions": [missing]})).await.unwrap() else { return };
    let crds = scene.crds().display().to_string();
    let to = async |version: &str| scene.run(&args(&["--to", &format!("api={version}"), "--crds", &crds])).await;
    let ran = to("2.2.1").await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert!(ran.text.contains("not asked for: nothing goes to a higher line"), "{}", ran.text);
    assert_eq!(to("2.3.1").await.unwrap().code, Some(3));
}

#[tokio::test]
async fn going_back_takes_nothing_away() {
    let held = json!({"name": "never", "object": {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "there-is-none", "ready": "true"}});
    let Some(scene) = Scene::open("back", json!({"preconditions": [held]})).await.unwrap() else { return };
    let new = json!({"apiVersion": "v1", "kind": "List", "items": [
        deployment("api", "x/api:2.3.0"), deployment("gateway", "x/gateway:2.3.0")]});
    scene.apply(&new).await.unwrap();
    let crd = scene.crds().join("tools.yaml");
    scene.write_crd("tools", &["name", "owner"]).unwrap();
    assert!(scene.cluster.kubectl(&["apply", "-f", crd.to_str().unwrap()]).await.unwrap().success);
    let before = scene.crd("tools").await.unwrap().unwrap();
    scene.write_crd("tools", &["name"]).unwrap();
    let crds = scene.crds().display().to_string();
    let ran = scene.run(&args(&["--release", "2.2.0", "--crds", &crds])).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(0));
    assert_eq!(scene.crd("tools").await.unwrap().unwrap().spec, before.spec);
}

#[tokio::test]
async fn programs_get_one_object_a_line() {
    let Some(scene) = Scene::open("json", plain()).await.unwrap() else { return };
    let ran = usual(&scene, &["--output", "json"]).await.unwrap();
    let lines: Vec<Value> = ran.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, steps) = lines.split_last().unwrap();
    assert_eq!(last["exit"], 0, "{last}");
    assert!(
        steps.iter().all(|line| line["step"].is_string() && line["stage"].is_string() && line["message"].is_string())
    );
}

#[tokio::test]
async fn what_takes_too_long_ends() {
    let stale = json!({"name": "backup", "cronJob": {"name": "slow", "maxAge": "24h", "runIfStale": true}});
    let Some(scene) = Scene::open("late", json!({"preconditions": [stale]})).await.unwrap() else { return };
    let template = json!({"metadata": {"labels": {"test.guard.gostoa.dev/never-ready": "true"}}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "dump", "image": "x/dump:1"}]}});
    let slow = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "slow"}, "spec": {
        "schedule": "0 0 29 2 *", "jobTemplate": {"spec": {"template": template}}}});
    scene.apply(&slow).await.unwrap();
    let ran = scene.run(&args(&["--release", "2.3.0", "--timeout", "2s"])).await.unwrap();
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    assert!(ran.text.contains("not done within 2 s; last: "), "{}", ran.text);
    assert_eq!(scene.preparations().await.unwrap()[0].outcome, PreparationOutcome::Failed);
}

#[tokio::test]
async fn what_cannot_be_tried_is_no_refusal() {
    let Some(scene) = Scene::open("cannot", plain()).await.unwrap() else { return };
    let ran = scene.run(&args(&["--release", "9.9.9"])).await.unwrap();
    insta::assert_snapshot!(ran.text);
    assert_eq!(ran.code, Some(1));
    let (_, child) = scene.start(&args(&["--realease", "2.3.0"]), None).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "a command line that cannot be read is no policy that refuses");
}
