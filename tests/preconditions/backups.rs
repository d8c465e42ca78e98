//! Backups of operators, by custom resources of their groups and kinds that take any field.

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use upgrade_guard::hook::preconditions::RunStale;

use crate::scene::{Scene, ago, of};
use crate::support::wait::{eventually, wait_for};

/// Group, version, kind, plural and scope of what stands for the operators' own.
const KINDS: [(&str, &str, &str, &str, &str); 6] = [
    ("postgresql.cnpg.io", "v1", "Backup", "backups", "Namespaced"),
    ("postgresql.cnpg.io", "v1", "Cluster", "clusters", "Namespaced"),
    ("velero.io", "v1", "Backup", "backups", "Namespaced"),
    ("velero.io", "v1", "BackupStorageLocation", "backupstoragelocations", "Namespaced"),
    ("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots", "Namespaced"),
    ("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent", "volumesnapshotcontents", "Cluster"),
];

/// Makes the kinds, once for all tests.
async fn kinds(scene: &Scene) -> Result<()> {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_try_init(|| Box::pin(make(scene))).await.copied()
}

async fn make(scene: &Scene) -> Result<()> {
    for (group, version, kind, plural, scope) in KINDS {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let versions =
            json!([{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]);
        let name = format!("{plural}.{group}");
        scene
            .apply(&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                // Groups of Kubernetes itself ask for the annotation.
                "metadata": {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
                "spec": {
                    "group": group, "scope": scope, "names": {"kind": kind, "plural": plural}, "versions": versions,
                },
            }))
            .await?;
        let definitions = Api::<CustomResourceDefinition>::all(scene.client.clone());
        wait_for(&definitions, &name, "it to be established", |found| {
            let conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        })
        .await?;
        // It is served a moment later.
        let resource = format!("{plural}.{version}.{group}");
        eventually("the kind to be served", async || Ok(scene.kubectl(&["get", &resource], "").await)).await?;
    }
    Ok(())
}

fn custom(api_version: &str, kind: &str, name: &str, spec: &Value, status: &Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec, "status": status})
}

#[tokio::test]
async fn backups_of_postgres_clusters() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    kinds(&scene).await?;
    let backup = |name: &str, cluster: &str, status: &Value| {
        custom("postgresql.cnpg.io/v1", "Backup", name, &json!({"cluster": {"name": cluster}}), status)
    };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Said"});
    let cluster = |name: &str, conditions: Value| {
        custom("postgresql.cnpg.io/v1", "Cluster", name, &json!({}), &json!({"conditions": conditions}))
    };
    for object in [
        backup("old", "pg", &json!({"phase": "completed", "stoppedAt": ago("40h")})),
        backup("good", "pg", &json!({"phase": "completed", "stoppedAt": ago("2h30m")})),
        backup("running", "pg", &json!({"phase": "running"})),
        backup("of-other", "other", &json!({"phase": "completed", "stoppedAt": ago("40h")})),
        cluster("pg", json!([condition("ContinuousArchiving", "True"), condition("LastBackupSucceeded", "True")])),
        cluster("other", json!([condition("ContinuousArchiving", "False")])),
    ] {
        scene.apply(&object).await?;
    }
    let preconditions = json!([
        of("backup", "cnpgBackup", json!({"cluster": "pg", "maxAge": "24h"})),
        of("old-backup", "cnpgBackup", json!({"cluster": "other", "maxAge": "24h"})),
        of("no-backup", "cnpgBackup", json!({"cluster": "none", "maxAge": "24h"})),
        of("cluster", "cnpgCluster", json!({"name": "pg"})),
        of("bad-cluster", "cnpgCluster", json!({"name": "other"})),
        of("no-cluster", "cnpgCluster", json!({"name": "none"})),
    ]);
    insta::assert_snapshot!(scene.found(&preconditions, RunStale::Yes).await?);
    Ok(())
}

#[tokio::test]
async fn backups_of_velero() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    kinds(&scene).await?;
    let backup = |name: &str, location: &str, changes: &Value| {
        let mut status = json!({
            "phase": "Completed", "completionTimestamp": ago("2h30m"), "expiration": ago("-100h"),
            "csiVolumeSnapshotsAttempted": 1, "csiVolumeSnapshotsCompleted": 1,
        });
        status.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let spec = json!({"includedNamespaces": [scene.namespace.name], "storageLocation": location});
        let mut backup = custom("velero.io/v1", "Backup", name, &spec, &status);
        backup["metadata"]["labels"] = json!({"velero.io/schedule-name": name});
        backup
    };
    let location = |name: &str, phase: &str| {
        custom("velero.io/v1", "BackupStorageLocation", name, &json!({}), &json!({"phase": phase}))
    };
    for object in [
        location("s3", "Available"),
        location("tape", "Unavailable"),
        backup("good", "s3", &json!({})),
        backup("partial", "s3", &json!({"phase": "PartiallyFailed", "errors": 3})),
        backup("manifests", "s3", &json!({"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0})),
        backup("gone", "tape", &json!({})),
        backup("lost", "nowhere", &json!({})),
    ] {
        scene.apply(&object).await?;
    }
    let of_schedule =
        |schedule: &str| json!({"namespace": scene.namespace.name, "schedule": schedule, "maxAge": "24h"});
    let names = ["good", "partial", "manifests", "gone", "lost", "none"];
    let mut preconditions: Vec<Value> = names.iter().map(|name| of(name, "veleroBackup", of_schedule(name))).collect();
    preconditions.push(of("any", "veleroBackup", json!({"namespace": scene.namespace.name, "maxAge": "24h"})));
    let other = json!({"namespace": scene.namespace.name, "schedule": "good", "includes": "other", "maxAge": "24h"});
    preconditions.push(of("of-another-namespace", "veleroBackup", other));
    insta::assert_snapshot!(scene.found(&Value::Array(preconditions), RunStale::Yes).await?);
    Ok(())
}

#[tokio::test]
async fn snapshots_that_are_bound_both_ways() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    kinds(&scene).await?;
    let api_version = "snapshot.storage.k8s.io/v1";
    // Contents are of the whole cluster: their names are not to meet those of another run.
    let content = |name: &str| format!("{}-{name}", scene.namespace.name);
    for (name, claim, ready, bound_to) in
        [("good", "data", true, "good"), ("stolen", "logs", true, "good"), ("taking", "media", false, "taking")]
    {
        let status = json!({"readyToUse": ready, "creationTime": ago("2h30m"), "boundVolumeSnapshotContentName": content(bound_to)});
        let spec = json!({"source": {"persistentVolumeClaimName": claim}});
        scene.apply(&custom(api_version, "VolumeSnapshot", name, &spec, &status)).await?;
    }
    let uid = scene.kubectl(&["get", "volumesnapshots", "good", "-o", "jsonpath={.metadata.uid}"], "").await?;
    let reference = json!({"volumeSnapshotRef": {"name": "good", "namespace": scene.namespace.name, "uid": uid}});
    scene.apply(&custom(api_version, "VolumeSnapshotContent", &content("good"), &reference, &json!({}))).await?;
    let claims = ["data", "logs", "media", "none"];
    let spec = |claim: &str| json!({"claim": claim, "maxAge": "24h"});
    let preconditions = Value::Array(claims.iter().map(|claim| of(claim, "volumeSnapshot", spec(claim))).collect());
    let all = scene.found(&preconditions, RunStale::Yes).await?;
    let may = json!([{"apiGroups": ["snapshot.storage.k8s.io"], "resources": ["volumesnapshots"], "verbs": ["list"]}]);
    let (found, _) = scene.evaluated(&scene.restricted(&may).await?, &preconditions, RunStale::Yes).await?;
    insta::assert_snapshot!(format!("{all}\n\nwithout the right to read contents\n{}", scene.told(&found[..1])));
    Ok(())
}
