//! The manifests that `upgrade-guard recipe` makes, at a real API server: it takes them, and the accounts in them may do
//! what the Jobs need and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use insta::assert_snapshot;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client};
use support::cluster::{Cluster, Shape};

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

/// The namespaces of `tests/fixtures/recipe/shop.yaml`, where pods must be as restricted as can be.
const NAMESPACES: [&str; 4] = ["db", "rules", "shop", "velero"];
const NAMESPACE: &str = "
---
apiVersion: v1
kind: Namespace
metadata:
  name: NAME
  labels: {pod-security.kubernetes.io/warn: restricted, pod-security.kubernetes.io/enforce: restricted}
";

/// What the program prints, without what only Flux knows.
fn recipe(engine: &str, policy: &str, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recipe"));
    command.args(["recipe", engine, "--policy", policy, "--image", "upgrade-guard:0.1.0", "--release", "shop-2.3"]);
    let output = command.args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let documents = printed.split("---\n").filter(|document| !document.contains("\nkind: Kustomization\n"));
    documents.collect::<Vec<_>>().join("---\n")
}

const IN_IMAGE: [&str; 4] = ["--crds-image", "shop/api:2.3.0", "--crds-path", "/app/crds"];
const IN_CONFIG_MAP: [&str; 2] = ["--crds-config-map", "shop-crds"];
const MIGRATES: [&str; 4] = ["--migrate-image", "shop/api:2.3.0", "--database-secret", "api"];

#[tokio::test]
async fn the_api_server_takes_every_object() -> Result<()> {
    let Some(cluster) = cluster().await? else { return Ok(()) };
    for engine in ["argocd", "flux", "helm"] {
        // Two accounts, two Jobs, a role with its binding for each place: the cluster and four namespaces before the
        // upgrade, the cluster and one namespace after it; where no precondition looks elsewhere, one before it, too.
        let (many, few) = (2 + 2 + 2 * (5 + 2), 2 + 2 + 2 * (2 + 2));
        for (policy, crds, objects) in [
            ("shop.yaml", &[][..], many),
            ("shop.yaml", &IN_IMAGE, many),
            ("shop.yaml", &IN_CONFIG_MAP, many),
            ("migrating.yaml", &MIGRATES, few),
        ] {
            let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
            let output = cluster.kubectl_with(&dry, &recipe(engine, policy, crds)).await?;
            ensure!(output.success, "{engine} {crds:?}: {}", output.stderr);
            ensure!(output.stderr.is_empty(), "{engine} {crds:?} is warned about: {}", output.stderr);
            let taken = output.stdout.lines().filter(|line| line.ends_with("serverside-applied (server dry run)"));
            assert_eq!(taken.count(), objects, "{engine} {crds:?}: {}", output.stdout);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_accounts_may_do_what_the_jobs_need_and_nothing_else() -> Result<()> {
    let Some(cluster) = cluster().await? else { return Ok(()) };
    // The rights are the same for every engine, see `hook::recipe`.
    let manifests = recipe("argocd", "shop.yaml", &IN_IMAGE) + &recipe("argocd", "migrating.yaml", &MIGRATES);
    let output = cluster.kubectl_with(&["apply", "-f", "-"], &manifests).await?;
    ensure!(output.success, "{}", output.stderr);
    let client = cluster.client().await?;
    let [before, after] = ["upgrade-guard-presync-shop", "upgrade-guard-verify-shop"];
    let (before, after) = tokio::try_join!(allowed(&client, before), allowed(&client, after))?;
    assert_snapshot!("may_migrate", allowed(&client, "upgrade-guard-presync-other").await?);
    assert_snapshot!("may_before", before);
    assert_snapshot!("may_after", after);
    Ok(())
}

#[test]
fn an_installed_copy_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upgrade-guard");
    for _ in 0..2 {
        let output = Command::new(env!("CARGO_BIN_EXE_upgrade-guard")).arg("install").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // From the copy, too: the pod of a Job that was started again has nothing else.
    let again = folder.path().join("again");
    assert!(Command::new(&path).arg("install").arg(&again).output().unwrap().status.success());
    let output = Command::new(&again).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("upgrade-guard ", env!("CARGO_PKG_VERSION"), "\n"));
}

async fn cluster() -> Result<Option<Cluster>> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(None) };
    let namespaces: String = NAMESPACES.map(|name| NAMESPACE.replace("NAME", name)).concat();
    let output = cluster.kubectl_with(&["apply", "-f", "-"], &namespaces).await?;
    ensure!(output.success, "{}", output.stderr);
    Ok(Some(cluster))
}

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Resources with the names that are tried, beside none.
const RESOURCES: [(&str, &str, &[&str]); 31] = [
    ("", "configmaps", &["shop-crds"]),
    ("", "events", &[]),
    ("", "namespaces", &[]),
    ("", "nodes", &[]),
    ("", "pods", &[]),
    ("", "secrets", &[]),
    ("", "serviceaccounts", &[]),
    ("apiextensions.k8s.io", "customresourcedefinitions", &["tools.shop.example", "other.shop.example"]),
    ("apps", "controllerrevisions", &[]),
    ("apps", "daemonsets", &[]),
    ("apps", "deployments", &["api"]),
    ("apps", "replicasets", &[]),
    ("apps", "statefulsets", &[]),
    ("argoproj.io", "rollouts", &[]),
    ("autoscaling", "horizontalpodautoscalers", &[]),
    ("batch", "cronjobs", &["dump", "export", "other-export", "other"]),
    ("batch", "jobs", &["seed"]),
    ("guard.gostoa.dev", "platformreleases", &[]),
    ("guard.gostoa.dev", "platforms", &["shop", "other"]),
    ("guard.gostoa.dev", "platforms/status", &["shop", "other"]),
    ("guard.gostoa.dev", "upgradepolicies", &[]),
    ("id.example", "users", &[]),
    ("policy", "poddisruptionbudgets", &[]),
    ("postgresql.cnpg.io", "backups", &[]),
    ("postgresql.cnpg.io", "clusters", &["main", "other"]),
    ("rbac.authorization.k8s.io", "clusterroles", &[]),
    ("shop.example", "policies", &["main", "other"]),
    ("shop.example", "tools", &[]),
    ("snapshot.storage.k8s.io", "volumesnapshotcontents", &[]),
    ("velero.io", "backups", &[]),
    ("velero.io", "backupstoragelocations", &[]),
];

/// What the API server lets an account of the namespace `shop` do, a line for each verb, resource and place. What it may
/// do in the whole cluster is not told again for each namespace.
async fn allowed(client: &Client, account: &str) -> Result<String> {
    let places = [""].into_iter().chain(NAMESPACES).chain(["elsewhere"]);
    let mut questions = Vec::new();
    for place in places {
        for (group, resource, names) in RESOURCES {
            for name in [""].iter().chain(names) {
                questions.extend(VERBS.map(|verb| (place, group, resource, *name, verb)));
            }
        }
    }
    let groups = &["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"].map(str::to_owned);
    let ask = |(place, group, resource, name, verb): (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
    )| async move {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (resource_name, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:shop:{account}")),
                groups: Some(groups.clone().into()),
                resource_attributes: Some(ResourceAttributes {
                    namespace: text(place),
                    group: text(group),
                    resource: text(resource_name),
                    subresource: text(subresource),
                    name: text(name),
                    verb: text(verb),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = Api::all(client.clone()).create(&<_>::default(), &review).await?;
        let may = answer.status.is_some_and(|status| status.allowed);
        let name = if name.is_empty() { String::new() } else { format!(" '{name}'") };
        anyhow::Ok(may.then(|| (place, format!("{verb} {group}/{resource}{name}"))))
    };
    let answers: Vec<_> = stream::iter(questions).map(ask).buffered(16).try_collect().await?;
    let may: Vec<(&str, String)> = answers.into_iter().flatten().collect();
    let everywhere: Vec<&String> = may.iter().filter(|(place, _)| place.is_empty()).map(|(_, what)| what).collect();
    let told = may.iter().filter(|(place, what)| place.is_empty() || !everywhere.contains(&what));
    let told = told.map(|(place, what)| format!("{}: {what}", if place.is_empty() { "cluster" } else { place }));
    Ok(told.collect::<Vec<_>>().join("\n"))
}
