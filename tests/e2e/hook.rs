//! The hook Jobs of `upgrade-guard recipe helm` in a release of a toy chart: with their real accounts, in the real
//! image of the component, on a real `PostgreSQL`, by real Alembic.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use upgrade_guard::api::Platform;

use crate::hold::{complete, held, nothing_is_held};
use crate::observer::Observer;
use crate::postgres::{PASSWORD_IN_URL, Postgres, USER};
use crate::toys::{COMPONENTS, deployment, image, namespace, policy, service};
use crate::wait::eventually;
use crate::world::World;

const NAMESPACE: &str = "e2e-hook";
/// The address of the node, on which pods find the database.
const NODE: &str = "10.99.0.1";
const DATABASE: &str = "stoa";
/// The revisions that the versions of the API need, and a draft between the newer one and the newest.
const OLD: &str = "033_merge_webhooks_and_certificates";
const NEW: &str = "038_gateway_heartbeats";
const DRAFT: &str = "039_subscription_state_until_sign_off";
/// The address of the API's Service: there is no cluster DNS.
const API: &str = "10.96.8.1";

pub(crate) async fn run(world: &World) -> Result<()> {
    let server = Postgres::start_at(world.program("postgres")?, NODE, "10.0.0.0/8").await?;
    server.database(DATABASE, "").await?;
    prepare(world, &server).await?;
    let charts = tempfile::Builder::new().prefix("toy-chart-").tempdir()?;

    let chart = chart(world, charts.path(), "2.2.0").await?;
    let release = ["toys", path(&chart)?, "--namespace", NAMESPACE, "--timeout", "3m"];
    world.helm(&[&["install"][..], &release].concat()).await?;
    ensure!(revision(&server).await? == [OLD], "after the install: {:?}", revision(&server).await?);
    complete(world, NAMESPACE, "2.2.0").await?;
    waited(world).await?;

    let observer = Observer::start(world, NAMESPACE).await?;
    let chart = self::chart(world, charts.path(), "2.3.0").await?;
    let release = ["toys", path(&chart)?, "--namespace", NAMESPACE, "--timeout", "3m"];
    let upgrade = [&["upgrade"][..], &release].concat();
    // Helm ends when the Job after the upgrade does, which waits for what the guard holds meanwhile.
    let (upgraded, seen) = tokio::join!(world.helm(&upgrade), seen_held(world));
    upgraded?;
    seen?;
    ensure!(revision(&server).await? == [NEW], "after the upgrade: {:?}", revision(&server).await?);
    let platform = complete(world, NAMESPACE, "2.3.0").await?;
    nothing_is_held(world, NAMESPACE).await?;
    observer.verdict()?;
    recorded(world, &platform).await
}

/// What has to be there before the chart: the policy, the releases, the database's Secret, a backup, the newer CRD.
async fn prepare(world: &World, server: &Postgres) -> Result<()> {
    world.apply(&namespace(NAMESPACE)).await?;
    let more = json!({
        "onNotYet": "Hold",
        "preconditions": [
            {"name": "backup", "cronJob": {"name": "backup", "maxAge": "1h", "runIfStale": true}},
            {"name": "health", "health": {"maxRestarts": 5}},
        ],
        "database": {"components": ["control-plane-api"], "migrations": {
            "alembic": ["alembic"], "shadow": {"from": "Empty"},
            "revisions": [{"revision": DRAFT, "hold": "not before its sign-off"}],
        }},
        "verify": {"http": [{"name": "api", "url": format!("http://{API}/health"), "expression": "body.status == \"ok\""}]},
    });
    let mut policy = policy(NAMESPACE, more);
    policy["spec"]["components"][0]["crds"] = json!(["tools.e2e.example.com"]);
    world.apply(&policy).await?;
    let release = |version: &str, revision: &str| {
        let components: Vec<Value> =
            COMPONENTS.iter().map(|component| json!({"name": component, "version": version})).collect();
        json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "PlatformRelease", "metadata": {"name": release_of(version)},
            "spec": {"policy": NAMESPACE, "version": version, "components": components, "schemaRevision": revision},
        })
    };
    world.apply(&release("2.2.0", OLD)).await?;
    world.apply(&release("2.3.0", NEW)).await?;
    let url = format!("postgresql+asyncpg://{USER}:{PASSWORD_IN_URL}@{NODE}:{}/{DATABASE}", server.port);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database", "namespace": NAMESPACE},
        "stringData": {"DATABASE_URL": url},
    });
    world.apply(&secret).await?;
    let crds = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "crds", "namespace": NAMESPACE},
        "data": {"tools.yaml": crd().to_string()},
    });
    world.apply(&crds).await?;
    world.apply(&backup()).await
}

fn release_of(version: &str) -> String {
    format!("e2e-{version}")
}

fn crd() -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"url": {"type": "string"}}}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tools.e2e.example.com"},
        "spec": {
            "group": "e2e.example.com", "scope": "Namespaced", "names": {"plural": "tools", "singular": "tool", "kind": "Tool"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// A backup that never ran by itself: the hook has to run it. It reads the tables that there are, by real Python.
fn backup() -> Value {
    let script = "import os, psycopg\n\
        url = os.environ['DATABASE_URL'].replace('+asyncpg', '')\n\
        with psycopg.connect(url) as connection:\n    \
            print(connection.execute('SELECT count(*) FROM pg_tables').fetchone())\n";
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup", "namespace": NAMESPACE},
        "spec": {"schedule": "0 2 1 1 *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{
                "name": "backup", "image": image("control-plane-api", "2.2.0"), "command": ["python3", "-c", script],
                "env": [database_url()],
            }]}},
        }}},
    })
}

fn database_url() -> Value {
    json!({"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "database", "key": "DATABASE_URL"}}})
}

/// A chart of the platform at a version, with the hook Jobs that the guard's own recipe makes for it.
async fn chart(world: &World, folder: &Path, version: &str) -> Result<PathBuf> {
    let chart = folder.join(version);
    let templates = chart.join("templates");
    let policy = folder.join("policy.yaml");
    let read = world.kubectl(&["get", "upgradepolicy", NAMESPACE, "-o", "yaml"]).await?;
    std::fs::write(&policy, read.succeeded()?)?;
    let (image, release) = (image("control-plane-api", version), release_of(version));
    let recipe = ["recipe", "helm", "--policy", path(&policy)?, "-n", NAMESPACE, "--release", &release];
    let images = ["--image", "ghcr.io/stoa-platform/upgrade-guard:0.1.0", "--migrate-image", &image];
    let objects = ["--database-secret", "database", "--crds-config-map", "crds", "--dir", path(&templates)?];
    world.guard(&[&recipe[..], &images, &objects].concat()).await?;
    std::fs::write(chart.join("Chart.yaml"), format!("apiVersion: v2\nname: toys\nversion: {version}\n"))?;
    let toys: Vec<String> = workloads(version).iter().map(Value::to_string).collect();
    std::fs::write(templates.join("toys.yaml"), toys.join("\n---\n"))?;
    Ok(chart)
}

/// The components; the API's pods wait for their schema, the gateway's for the API.
fn workloads(version: &str) -> Vec<Value> {
    let mut api = service(NAMESPACE, "control-plane-api");
    api["spec"]["clusterIP"] = json!(API);
    let mut found = vec![api];
    for component in COMPONENTS {
        let mut deployment = deployment(NAMESPACE, component, version, "500ms");
        let pod = &mut deployment["spec"]["template"]["spec"];
        if component == "control-plane-api" {
            let revision = if version == "2.2.0" { OLD } else { NEW };
            pod["initContainers"] = json!([waiting(&["wait", "--schema-revision", revision, "--timeout", "2m"])]);
        }
        if component == "stoa-gateway" {
            let release = release_of(version);
            let args = ["wait", "--release", &release, "--for", component, "-n", NAMESPACE, "--timeout", "2m"];
            pod["initContainers"] = json!([waiting(&args)]);
            // Whoever waits reads what the Job after the upgrade reads.
            pod["serviceAccountName"] = json!(ACCOUNT);
        }
        found.push(deployment);
    }
    found.extend(account());
    found
}

const ACCOUNT: &str = "waiting";

fn account() -> Vec<Value> {
    let name = json!({"name": ACCOUNT, "namespace": NAMESPACE});
    let read = |groups: &[&str], resources: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": ["get", "list"]});
    let role = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "e2e-waiting"});
    let subjects = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}]);
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "e2e-waiting"},
            "rules": [
                read(&["guard.gostoa.dev"], &["upgradepolicies", "platformreleases", "platforms"]),
                read(&["apps"], &["deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"]),
                read(&["argoproj.io"], &["rollouts"]),
                read(&[""], &["pods"]),
                read(&["policy"], &["poddisruptionbudgets"]),
                read(&["autoscaling"], &["horizontalpodautoscalers"]),
                read(&["apiextensions.k8s.io"], &["customresourcedefinitions"]),
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "e2e-waiting"},
            "roleRef": role("ClusterRole"), "subjects": subjects,
        }),
    ]
}

fn waiting(args: &[&str]) -> Value {
    json!({
        "name": "wait", "image": "ghcr.io/stoa-platform/upgrade-guard:0.1.0", "args": args, "env": [database_url()],
        "securityContext": {
            "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

async fn revision(server: &Postgres) -> Result<Vec<String>> {
    server.column(DATABASE, "SELECT version_num FROM alembic_version").await
}

/// The gateway waits until the API has gone ahead; before that, the hook takes its time.
async fn seen_held(world: &World) -> Result<()> {
    let look = async || {
        let held = held(world, NAMESPACE).await?;
        Ok(if held.iter().any(|name| name == "stoa-gateway") { Ok(()) } else { Err(held) })
    };
    let mut seen = eventually("the gateway to be held", look).await;
    for _ in 0..2 {
        if seen.is_err() {
            seen = eventually("the gateway to be held", look).await;
        }
    }
    seen
}

/// The gateway's containers began after the API was there: their init container had waited.
async fn waited(world: &World) -> Result<()> {
    let pods: Api<Pod> = world.api(NAMESPACE);
    let list = async |component: &str| pods.list(&ListParams::default().labels(&format!("app={component}"))).await;
    let ready: Vec<_> = list("control-plane-api")
        .await?
        .items
        .iter()
        .flat_map(|pod| {
            pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).cloned().collect::<Vec<_>>()
        })
        .filter(|condition| condition.type_ == "Ready")
        .filter_map(|condition| condition.last_transition_time)
        .collect();
    let api = ready.iter().map(|time| time.0).max().context("the API is ready")?;
    for pod in list("stoa-gateway").await?.items {
        let statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
        let ended = statuses.filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
        let ended = ended.map(|time| time.0).max().context("an init container that has ended")?;
        ensure!(ended >= api, "{} did not wait: it went on at {ended}, the API was ready at {api}", pod.name_any());
    }
    Ok(())
}

/// All that the hook did is on the Platform, with the digest of the image that it ran in.
async fn recorded(world: &World, platform: &Platform) -> Result<()> {
    let status = serde_json::to_value(platform.status.as_ref().context("a status")?)?;
    let pods: Api<Pod> = world.api(NAMESPACE);
    let pod = pods.list(&ListParams::default().labels("app=control-plane-api")).await?.items.into_iter().next();
    let image =
        pod.context("a pod of the API")?.status.and_then(|status| status.container_statuses).context("statuses")?;
    let digest = image.first().and_then(|status| status.image_id.split_once('@')).context("a digest")?.1.to_owned();
    let database = &status["database"];
    let migration = &database["migrations"][0];
    ensure!(migration["image"] == json!(digest), "not in the image {digest}: {migration:#}");
    // The draft after it is held, so the run stopped before the newest.
    ensure!(
        migration["before"] == json!([OLD]) && migration["after"] == json!([NEW]) && migration["seconds"].is_number(),
        "{migration:#}"
    );
    ensure!(database["heads"] == json!([NEW]), "{database:#}");
    let need = database["needs"].as_array().into_iter().flatten().find(|need| need["version"] == "2.3.0");
    let need = need.context("what 2.3.0 needs")?;
    ensure!(need["revision"] == NEW && need["image"] == json!(digest), "{need:#}");
    let prepared = &status["preparations"][0];
    let evidence = prepared.to_string();
    ensure!(evidence.contains("backup") && evidence.contains("tools.e2e.example.com"), "{prepared:#}");
    let verified = status["history"].as_array().into_iter().flatten().filter(|entry| entry["to"] == "2.3.0");
    ensure!(verified.clone().count() == 4 && verified.clone().all(|entry| entry["verified"].is_string()), "{status:#}");
    Api::<CustomResourceDefinition>::all(world.client.clone()).get("tools.e2e.example.com").await?;
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path")
}
