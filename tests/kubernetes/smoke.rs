//! The cluster itself does what the other tests take for granted.

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::cluster::{Cluster, Namespace, Shape};
use crate::support::wait::{DEADLINE, wait_for, wait_for_all, wait_gone};

/// What `tests/cluster/go.mod` asks for.
const VERSION: &str = "v1.36.3";

/// Labels that hold a pod: see `tests/cluster/stages/pod.yaml`.
const PENDING: &str = "test.guard.gostoa.dev/pending";
const NEVER_READY: &str = "test.guard.gostoa.dev/never-ready";

const OLD: &str = "registry.test/stoa/stoa-gateway:2.2.0";
const NEW: &str = "registry.test/stoa/stoa-gateway:2.3.0";

#[tokio::test]
async fn the_server_is_the_release_that_was_asked_for() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let version = cluster.client().await?.apiserver_version().await?;
    // A prebuilt API server may be another release, and that is its owner's choice.
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        assert_eq!(version.git_version, VERSION);
    }
    assert!(cluster.server().starts_with("https://127.0.0.1:"), "{}", cluster.server());
    let nodes: Api<Node> = Api::all(cluster.client().await?);
    assert_eq!(nodes.list(&<_>::default()).await?.items.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_deployment_rolls_out_and_a_new_image_replaces_the_old_pods() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let namespace = cluster.namespace("rollout").await?;
    let deployments: Api<Deployment> = namespace.api();
    deployments.create(&PostParams::default(), &deployment()?).await?;
    wait_for(&deployments, "gateway", "the first rollout", rolled_out).await?;

    let pods: Api<Pod> = namespace.api();
    let started = wait_for_all(&pods, "app=gateway", "2 pods that run", |pods| {
        pods.iter().filter(|pod| is_ready(pod)).count() == 2
    })
    .await?;
    for pod in &started {
        let id = image_id_of(pod).context("a running container has an image id")?;
        assert!(id.starts_with("registry.test/stoa/stoa-gateway@sha256:"), "{id}");
    }

    set_image(&deployments, NEW, &json!({})).await?;
    wait_for(&deployments, "gateway", "the second rollout", rolled_out).await?;
    let sets = replica_sets(&namespace, "the old ReplicaSet at 0", |old, new| old == 0 && new == 2).await?;
    assert_eq!(sets.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_rollout_with_pods_that_never_become_ready_halts_half_way_until_they_do() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let namespace = cluster.namespace("halt").await?;
    let deployments: Api<Deployment> = namespace.api();
    deployments.create(&PostParams::default(), &deployment()?).await?;
    wait_for(&deployments, "gateway", "the first rollout", rolled_out).await?;

    set_image(&deployments, NEW, &json!({NEVER_READY: "true"})).await?;
    let halted = wait_for(&deployments, "gateway", "one old and one new pod", |d| {
        let status = d.status.clone().unwrap_or_default();
        (status.replicas, status.updated_replicas, status.ready_replicas) == (Some(2), Some(1), Some(1))
            && status.observed_generation == d.metadata.generation
    })
    .await?;
    assert!(!rolled_out(&halted));
    replica_sets(&namespace, "one pod each", |old, new| old == 1 && new == 1).await?;

    // The test lets the one pod go on, then the next: the rollout completes.
    let pods: Api<Pod> = namespace.api();
    for ready in 1..=2 {
        let held = format!("app=gateway,{NEVER_READY}=true");
        let found = wait_for_all(&pods, &held, "a pod that is held", |pods| pods.iter().any(running)).await?;
        let pod = found.iter().find(|pod| running(pod)).context("the wait found one")?;
        label(&pods, &pod.name_any(), NEVER_READY, "released").await?;
        let released = format!("app=gateway,{NEVER_READY}=released");
        wait_for_all(&pods, &released, "the released pods to be Ready", |pods| {
            pods.len() == ready && pods.iter().all(is_ready)
        })
        .await?;
    }
    wait_for(&deployments, "gateway", "the rollout to complete", rolled_out).await?;
    Ok(())
}

#[tokio::test]
async fn jobs_complete_or_fail_as_their_pods_are_told() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let namespace = cluster.namespace("jobs").await?;
    let jobs: Api<Job> = namespace.api();
    for (name, labels) in [("good", json!({})), ("bad", json!({"test.guard.gostoa.dev/exit-code": "5"}))] {
        let job = json!({
            "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {
                "metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "hook", "image": NEW}]},
            }},
        });
        jobs.create(&PostParams::default(), &serde_json::from_value(job)?).await?;
    }
    wait_for(&jobs, "good", "its end", |job| has_condition(job, "Complete")).await?;
    wait_for(&jobs, "bad", "its failure", |job| has_condition(job, "Failed")).await?;

    let pods: Api<Pod> = namespace.api();
    let failed = wait_for_all(&pods, "job-name=bad", "its pod", |pods| pods.len() == 1).await?;
    assert_eq!(exit_code(&failed[0]), Some(5));
    Ok(())
}

#[tokio::test]
async fn a_pod_waits_starts_and_becomes_unready_as_it_is_told() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let namespace = cluster.namespace("pods").await?;
    let pods: Api<Pod> = namespace.api();
    let image_id = "registry.test/stoa/stoa-gateway@sha256:1111";
    for (name, pending) in [("held", "true"), ("free", "false")] {
        let pod = json!({
            "metadata": {
                "name": name,
                "labels": {PENDING: pending},
                "annotations": {"test.guard.gostoa.dev/image-id": image_id},
            },
            "spec": {"containers": [{"name": "gateway", "image": NEW}]},
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    }
    // The one made later is Ready, the one made earlier has not started.
    wait_for(&pods, "free", "it to be Ready", is_ready).await?;
    assert!(!running(&pods.get("held").await?));

    label(&pods, "held", PENDING, "false").await?;
    let started = wait_for(&pods, "held", "it to be Ready", is_ready).await?;
    assert_eq!(image_id_of(&started), Some(image_id));
    label(&pods, "held", NEVER_READY, "true").await?;
    wait_for(&pods, "held", "it to be unready", |pod| running(pod) && !is_ready(pod)).await?;
    Ok(())
}

#[tokio::test]
async fn kubectl_applies_and_says_what_it_did() -> Result<()> {
    let Some(cluster) = Cluster::shared().await? else { return Ok(()) };
    let namespace = cluster.namespace("kubectl").await?;
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "facts"}}).to_string();
    let output = cluster.kubectl_with(&["apply", "-n", &namespace.name, "-f", "-"], &manifest).await?;
    assert!(output.success, "{output:?}");
    assert_eq!(output.stdout, "configmap/facts created\n");

    let output = cluster.kubectl(&["get", "configmap", "-n", &namespace.name, "none"]).await?;
    assert!(!output.success && output.stderr.contains("NotFound"), "{output:?}");

    let maps: Api<ConfigMap> = namespace.api();
    maps.delete("facts", &<_>::default()).await?;
    wait_gone(&maps, "facts").await
}

#[tokio::test]
async fn an_api_server_that_restarts_keeps_its_data_and_a_stopped_cluster_leaves_nothing() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let maps: Api<ConfigMap> = cluster.namespace("restart").await?.api();
    let map = serde_json::from_value(json!({"metadata": {"name": "kept"}}))?;
    maps.create(&PostParams::default(), &map).await?;
    cluster.restart("kube-apiserver").await?;
    wait_for(&maps, "kept", "what was written before", |_| true).await?;

    let folder = cluster.folder().to_owned();
    let programs: Vec<u32> = cluster.pids().map(|(_, pid)| pid).collect();
    let server = cluster.server().trim_start_matches("https://").to_owned();
    cluster.stop().await?;
    for pid in programs {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
    assert!(TcpStream::connect(server).await.is_err(), "something still listens");
    // The folder of a named place is kept.
    if std::env::var_os("UPGRADE_GUARD_CLUSTER_DIR").is_none() {
        assert!(!folder.exists(), "{} is still there", folder.display());
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_programs_along() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let mut connections = Vec::new();
    for address in [cluster.server(), cluster.etcd()] {
        let (_, host) = address.split_once("://").context("an address has a scheme")?;
        connections.push(TcpStream::connect(host).await?);
    }
    let folder = cluster.folder().to_owned();
    cluster.kill().await?;
    // A connection ends with the program at its other end, cleanly or not.
    for mut connection in connections {
        let end = tokio::time::timeout(DEADLINE, connection.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "a program outlived its supervisor");
    }
    // Nobody was left to do it.
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Two replicas of which one may be away and none too many: a rollout shows every intermediate state.
fn deployment() -> Result<Deployment> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "gateway"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "gateway"}},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "gateway"}},
                "spec": {"containers": [{"name": "gateway", "image": OLD}]},
            },
        },
    }))?)
}

async fn set_image(deployments: &Api<Deployment>, image: &str, labels: &Value) -> Result<()> {
    let patch = json!({"spec": {"template": {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "gateway", "image": image}]},
    }}});
    deployments.patch("gateway", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    Ok(())
}

async fn label(pods: &Api<Pod>, name: &str, key: &str, value: &str) -> Result<()> {
    let patch = json!({"metadata": {"labels": {key: value}}});
    pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits for pod counts of the old and of the new `ReplicaSet`.
async fn replica_sets(namespace: &Namespace, what: &str, holds: impl Fn(i32, i32) -> bool) -> Result<Vec<ReplicaSet>> {
    let pods_of = |sets: &[ReplicaSet], image: &str| -> i32 {
        let of_image = sets.iter().filter(|set| image_of(set) == Some(image));
        of_image.filter_map(|set| set.status.as_ref()).map(|status| status.replicas).sum()
    };
    let sets: Api<ReplicaSet> = namespace.api();
    wait_for_all(&sets, "app=gateway", what, |sets| holds(pods_of(sets, OLD), pods_of(sets, NEW))).await
}

fn image_of(set: &ReplicaSet) -> Option<&str> {
    let template = set.spec.as_ref()?.template.as_ref()?;
    template.spec.as_ref()?.containers.first()?.image.as_deref()
}

fn rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == wanted
            && status.available_replicas == wanted
            && status.replicas == wanted
    })
}

fn running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn has_condition(job: &Job, kind: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn image_id_of(pod: &Pod) -> Option<&str> {
    Some(pod.status.as_ref()?.container_statuses.as_ref()?.first()?.image_id.as_str())
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}
