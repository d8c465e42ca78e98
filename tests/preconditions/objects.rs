//! Any object, Jobs, workloads, and what cannot be looked at.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use upgrade_guard::hook::preconditions::RunStale;

use crate::scene::{Scene, ago, of};
use crate::support::wait::{wait_for, wait_for_all};

fn config_map(name: &str, phase: &str, ended: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "export"}},
        "data": {"phase": phase, "ended": ended},
    })
}

fn object(extra: &Value) -> Value {
    let mut spec = json!({"apiVersion": "v1", "kind": "ConfigMap", "ready": "object.data.phase == 'done'"});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

#[tokio::test]
async fn any_object_by_name_and_by_labels() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    for map in [
        config_map("old", "done", &ago("30h")),
        config_map("good", "done", &ago("2h30m")),
        config_map("new", "failed", &ago("1h30m")),
    ] {
        scene.apply(&map).await?;
    }
    let aged = json!({"maxAge": "24h", "timestamp": "object.data.ended"});
    let with = |extra: Value| {
        let mut spec = object(&extra);
        spec["maxAge"] = aged["maxAge"].clone();
        spec["timestamp"] = aged["timestamp"].clone();
        spec
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "name": scene.namespace.name,
        "ready": "object.status.phase == 'Active' && object.kind == 'Namespace' && object.apiVersion == 'v1'"});
    let preconditions = json!([
        of("by-name", "object", object(&json!({"name": "good"}))),
        of("aged", "object", with(json!({"name": "good"}))),
        of("too-old", "object", with(json!({"name": "old"}))),
        of("not-ready", "object", object(&json!({"name": "new"}))),
        of("missing", "object", object(&json!({"name": "none"}))),
        of("by-labels", "object", with(json!({"selector": {"app": "export"}}))),
        of("no-such-labels", "object", with(json!({"selector": {"app": "import"}}))),
        of("elsewhere", "object", object(&json!({"name": "good", "namespace": "default"}))),
        of("missing-field", "object", object(&json!({"name": "good", "ready": "object.data.phases != 'failed'"}))),
        of("cluster-wide", "object", namespace),
        of(
            "no-group",
            "object",
            json!({"apiVersion": "example.dev/v1", "kind": "Thing", "name": "x", "ready": "true"})
        ),
        of("no-kind", "object", json!({"apiVersion": "batch/v1", "kind": "Thing", "name": "x", "ready": "true"})),
        of("no-version", "object", json!({"apiVersion": "batch/v9", "kind": "Job", "name": "x", "ready": "true"})),
    ]);
    insta::assert_snapshot!(scene.found(&preconditions, RunStale::Yes).await?);
    Ok(())
}

fn job(name: &str, exit_code: &str) -> Value {
    let labels = json!({"test.guard.gostoa.dev/exit-code": exit_code});
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": {"app": "export"}},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "export", "image": "export:1"}]},
        }},
    })
}

#[tokio::test]
async fn jobs_that_ran() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    let jobs = scene.namespace.api::<Job>();
    for (name, exit_code, ends_as) in [("good", "0", "Complete"), ("bad", "5", "Failed")] {
        scene.apply(&job(name, exit_code)).await?;
        wait_for(&jobs, name, ends_as, |job| {
            let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == ends_as && condition.status == "True")
        })
        .await?;
    }
    let preconditions = json!([
        of("good", "job", json!({"name": "good", "maxAge": "24h"})),
        of("bad", "job", json!({"name": "bad"})),
        of("by-labels", "job", json!({"selector": {"app": "export"}})),
        of("missing", "job", json!({"name": "none"})),
    ]);
    insta::assert_snapshot!(scene.found(&preconditions, RunStale::Yes).await?);
    Ok(())
}

fn deployment(name: &str, labels: &Value) -> Value {
    let mut labels = labels.clone();
    labels["app"] = json!(name);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": "example:1"}]},
        }},
    })
}

#[tokio::test]
async fn workloads_that_are_well_and_one_that_is_not() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    scene.apply(&deployment("api", &json!({}))).await?;
    let deployments = scene.namespace.api::<Deployment>();
    wait_for(&deployments, "api", "its pods", |found| {
        found.status.as_ref().is_some_and(|status| status.ready_replicas == Some(2))
    })
    .await?;
    let health = |components: &[&str]| json!([of("well", "health", json!({"components": components}))]);
    let alone = scene.found(&health(&[]), RunStale::Yes).await?;
    let absent = scene.found(&health(&["ui"]), RunStale::Yes).await?;
    scene.apply(&deployment("ui", &json!({"test.guard.gostoa.dev/never-ready": "true"}))).await?;
    let pods = scene.namespace.api::<Pod>();
    let pods = wait_for_all(&pods, "app=ui", "its pods to run", |pods| {
        let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        pods.len() == 2 && pods.iter().all(runs)
    })
    .await?;
    // A kubelet would say so of a container that ends again and again.
    let looping = json!({"status": {"containerStatuses": [{
        "name": "ui", "image": "example:1", "imageID": "", "ready": false, "restartCount": 7,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }]}});
    let name = pods[0].metadata.name.clone().unwrap();
    scene.kubectl(&["patch", "pod", &name, "--subresource=status", "-p", &looping.to_string()], "").await?;
    let (found, news) = scene.evaluated(&scene.client, &health(&[]), RunStale::Yes).await?;
    let both = scene.told(&found);
    assert!(news.iter().any(|news| news.message.contains(&format!("pod {name} has container ui in a crash loop"))));
    assert!(!both.contains(&name), "{both}");
    insta::assert_snapshot!([alone, absent, both].join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    scene.apply(&config_map("good", "done", &ago("1h"))).await?;
    let client = scene.restricted(&json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}])).await?;
    let preconditions = json!([
        of("may-get", "object", object(&json!({"name": "good"}))),
        of("may-not-list", "object", object(&json!({"selector": {"app": "export"}}))),
        of("cron-job", "cronJob", json!({"name": "pg-backup", "maxAge": "24h"})),
        of("job", "job", json!({"name": "export"})),
        of("well", "health", json!({})),
    ]);
    let (found, _) = scene.evaluated(&client, &preconditions, RunStale::Yes).await?;
    insta::assert_snapshot!(scene.told(&found));
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_gone_is_no_evidence() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    let mut config = scene.cluster.config().await?;
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    config.cluster_url = format!("https://127.0.0.1:{port}").parse()?;
    let client = kube::Client::try_from(config)?;
    let preconditions = json!([
        of("thing", "object", object(&json!({"name": "good"}))),
        of("backup", "cronJob", json!({"name": "pg-backup", "maxAge": "24h", "runIfStale": true})),
    ]);
    let (found, _) = scene.evaluated(&client, &preconditions, RunStale::Yes).await?;
    let text = scene.told(&found);
    for (line, start) in text.lines().zip([
        "thing does not hold: cannot ask what kind ConfigMap of v1 is: ",
        "backup does not hold: cannot get cronjobs.batch in namespace NAMESPACE: ",
    ]) {
        assert!(line.starts_with(start), "{text}");
    }
    Ok(())
}
