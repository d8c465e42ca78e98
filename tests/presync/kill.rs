//! Killed at any request, before or after the API server did what it asks for, and run again, the hook ends where one
//! that was never killed does.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::gate::Stop;
use crate::scene::Scene;
use crate::support::guard::succeeded;
use crate::support::wait::DEADLINE;

/// A stale backup that has to be run, and one CRD that is changed.
fn policy() -> Value {
    json!({"preconditions": [
        {"name": "backup", "cronJob": {"name": "backup", "maxAge": "24h", "runIfStale": true}},
        {"name": "health", "health": {}},
    ]})
}

async fn scene(number: usize) -> Result<Option<Scene>> {
    let Some(scene) = Scene::open(&format!("kill-{number}"), policy()).await? else { return Ok(None) };
    // The CRD is there in an earlier generation, and a second one is new.
    let crd = scene.crds().join("tools.yaml");
    let crd = crd.to_str().context("a path")?;
    let apply = ["apply", "--server-side", "--field-manager=upgrade-guard", "-f", crd];
    succeeded(scene.cluster.kubectl(&apply).await?)?;
    scene.write_crd("tools", &["name", "owner"])?;
    scene.write_crd("skills", &["name"])?;
    Ok(Some(scene))
}

/// Everything that the hook leaves behind, without what differs between two namespaces.
async fn left(scene: &Scene) -> Result<Value> {
    let mut preparations = serde_json::to_value(scene.preparations().await?)?;
    for entry in preparations.as_array_mut().context("a list")? {
        for field in ["started", "ended"] {
            ensure!(entry[field].is_string(), "{field} of {entry}");
            entry[field] = "TIME".into();
        }
        // What is said of a Job that this run started, or of a CRD that it changed, is of this run.
        for field in ["preconditions", "steps"] {
            for said in entry[field].as_array_mut().context("a list")? {
                said["observed"].take();
                said["at"].take();
                said["message"].take();
            }
        }
    }
    let jobs: Api<Job> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let jobs = jobs.list(&<_>::default()).await?.items.len();
    let mut crds = vec![];
    for plural in ["tools", "skills"] {
        let crd = scene.crd(plural).await?.with_context(|| format!("{plural} is missing"))?;
        let managers: Vec<_> = crd.managed_fields().iter().map(|entry| entry.manager.clone()).collect();
        let fields = &crd.spec.versions[0].schema;
        crds.push(json!([plural, fields, managers]));
    }
    let text = json!({"preparations": preparations, "jobs": jobs, "crds": crds}).to_string();
    let text = text.replace(&scene.namespace, "NAMESPACE");
    let digests = regex::Regex::new("sha256:[0-9a-f]{64}")?;
    Ok(serde_json::from_str(&digests.replace_all(&text, "DIGEST"))?)
}

/// Kills a run at `stop`, runs it again to its end, and tells what is left.
async fn killed(number: usize, stop: Stop) -> Result<Option<Value>> {
    let Some(scene) = scene(number).await? else { return Ok(None) };
    let (gate, mut child) = scene.start(&scene.usual(), Some(stop)).await?;
    tokio::select! {
        () = gate.stopped() => child.kill().await?,
        // A run that waits for the cluster makes more or fewer requests from time to time.
        status = child.wait() => ensure!(status?.success(), "it ended by itself, badly"),
    }
    drop(gate);
    let ran = scene.run(&scene.usual()).await?;
    ensure!(ran.code == Some(0), "run again after {stop:?}: {ran:?}");
    let left = left(&scene).await?;
    scene.close().await?;
    Ok(Some(left))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_and_run_again_it_ends_in_the_same_state() {
    let Some(scene) = scene(0).await.unwrap() else { return };
    let (ran, gate) = scene.run_counted(&scene.usual()).await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let whole = left(&scene).await.unwrap();
    let requests = gate.seen();
    let stops = (1..=requests).flat_map(|number| [Stop::Before(number), Stop::After(number)]);
    let runs: Vec<_> = futures::stream::iter(stops.enumerate().map(|(index, stop)| async move {
        let ended = tokio::time::timeout(DEADLINE, killed(index + 1, stop)).await;
        let left = ended.with_context(|| format!("{stop:?} does not end"))?.with_context(|| format!("{stop:?}"))?;
        anyhow::Ok((stop, left))
    }))
    .buffer_unordered(4)
    .try_collect()
    .await
    .unwrap();
    println!("{requests} requests, killed before and after each: {} runs", runs.len());
    for (stop, left) in runs {
        assert_eq!(left.unwrap(), whole, "{stop:?}\n{}", gate.log().join("\n"));
    }
}
