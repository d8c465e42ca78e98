//! A guard and a cluster of one's own: what is counted while nobody else asks, and what happens when one of them is away.
//!
//! Without controllers nothing rolls out by itself: [`complete`] says what they would.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Verb};
use super::platform::{API, GATEWAY, create, image, set};
use super::scene::Scene;
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{Guard, Registration, install, succeeded};
use crate::support::wait::eventually;

const REVIEWS: &str = "upgrade_guard_review_duration_seconds_count";
const API_CALLS: &str = "upgrade_guard_api_calls_total";

#[tokio::test]
async fn only_what_may_matter_reaches_the_guard_and_it_counts_what_it_decides() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let guard = start(&cluster).await?;
    Scene::open(&cluster, &guard, "quiet")
        .await?
        .play(async |scene| {
            // With no policy at all, everything passes.
            registered(scene).await?;
            for ask in [create(GATEWAY, &image(GATEWAY, "2.2.0")), set(GATEWAY, "9.0.0"), set(GATEWAY, "2.2.0")] {
                let answer = scene.send(&ask).await?;
                ensure!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
            }
            platform(scene).await?;
            what_does_not_reach_the_guard(scene).await?;

            let before = scene.guard.metrics().await?;
            let decided = |rule: &'static str, verdict: &'static str, dry_run: bool| {
                let dry_run = if dry_run { "dry_run=\"true\"" } else { "dry_run=\"false\"" };
                let labels = vec!["component=\"stoa-gateway\"", "mode=\"Enforce\"", dry_run];
                (labels, format!("rule=\"{rule}\""), format!("verdict=\"{verdict}\""))
            };
            scene.refused(&set(GATEWAY, "2.3.0"), "[UG-ORDER]").await?;
            scene.warned(&set(GATEWAY, "2.3.0").dry_run(), "[UG-ORDER]").await?;
            scene.refused(&set(GATEWAY, "latest").dry_run(), "[UG-VERSION]").await?;
            let after = scene.guard.metrics().await?;
            for (labels, rule, verdict) in [
                decided("UG-ORDER", "NotYet", false),
                decided("UG-ORDER", "NotYet", true),
                decided("UG-VERSION", "Never", true),
            ] {
                let all: Vec<&str> = labels.into_iter().chain([rule.as_str(), verdict.as_str()]).collect();
                let counted =
                    |samples: &crate::support::guard::Samples| samples.sum("upgrade_guard_reviews_total", &all);
                assert!(counted(&after) - counted(&before) >= 1.0, "{all:?}: {before:?} {after:?}");
            }
            for kind in ["deployments", "replicasets", "upgradepolicies", "poddisruptionbudgets"] {
                let synced = after.sum("upgrade_guard_watch_synced", &[&format!("kind=\"{kind}\"")]);
                assert!((synced - 1.0).abs() < f64::EPSILON, "{kind}: {synced}");
            }
            let expires = after.sum("upgrade_guard_certificate_not_after_timestamp_seconds", &[]);
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
            assert!(expires > now && expires < now + 60.0 * 86400.0, "expires at {expires}");
            Ok(())
        })
        .await?;
    cluster.stop().await
}

/// Requests that must cost the guard nothing.
async fn what_does_not_reach_the_guard(scene: &Scene<'_>) -> Result<()> {
    let before = scene.guard.metrics().await?.sum(REVIEWS, &[]);
    let path = format!("deployments/{GATEWAY}");
    let annotation = json!({"metadata": {"annotations": {"note": "new"}}});
    let environment = json!([{"name": GATEWAY, "env": [{"name": "LEVEL", "value": "debug"}]}]);
    let strategic = |patch: Value| Ask::new(Verb::StrategicPatch, &path, patch);
    for ask in [
        strategic(annotation),
        strategic(json!({"spec": {"template": {"spec": {"containers": environment}}}})),
        Ask::new(Verb::MergePatch, format!("{path}/status"), json!({"status": {"replicas": 2}})),
        Ask::new(Verb::MergePatch, format!("{path}/scale"), json!({"spec": {"replicas": 3}})),
    ] {
        let answer = scene.send(&ask).await?;
        ensure!(answer.is_allowed(), "{answer:?}");
    }
    for namespace in ["kube-system", "upgrade-guard"] {
        let answer = create("probe", "quay.io/keycloak/keycloak:26.0.0").send(&scene.client, namespace).await?;
        ensure!(answer.is_allowed(), "{namespace}: {answer:?}");
    }
    let gone = scene.send(&Ask::new(Verb::Delete, &path, json!({})).dry_run()).await?;
    ensure!(gone.is_allowed(), "{gone:?}");
    let after = scene.guard.metrics().await?.sum(REVIEWS, &[]);
    assert!((after - before).abs() < f64::EPSILON, "{} reviews of what cannot matter", after - before);
    Ok(())
}

#[tokio::test]
async fn without_a_guard_only_what_could_break_an_order_waits_and_a_restart_of_either_is_survived() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let guard = start(&cluster).await?;
    let namespace = {
        let scene = Scene::open(&cluster, &guard, "outage").await?;
        registered(&scene).await?;
        platform(&scene).await?;
        scene.namespace
    };
    guard.kill().await?;
    away(&cluster, &namespace).await?;

    // The guard comes back at another address, and says so by itself.
    let guard = Guard::start(&cluster, Registration::ByGuard).await?;
    let scene = Scene { cluster: &cluster, guard: &guard, client: cluster.client().await?, namespace };
    scene
        .play(async |scene| {
            let gateway = set(GATEWAY, "2.3.0");
            until_judged(scene, &gateway, "[UG-ORDER]").await?;

            complete(scene, GATEWAY).await?;
            cluster.restart("kube-apiserver").await?;
            until_judged(scene, &gateway, "[UG-ORDER]").await?;
            // What happens after the restart is seen, so the watches are there again.
            scene.passes(&set(API, "2.3.0")).await?;
            scene.refused(&gateway, "must wait for control-plane-api").await?;
            complete(scene, API).await?;
            scene.passes(&gateway).await?;
            Ok(())
        })
        .await?;
    cluster.stop().await
}

/// What the API server does while no guard answers.
async fn away(cluster: &Cluster, namespace: &str) -> Result<()> {
    let client = cluster.client().await?;
    let path = format!("deployments/{GATEWAY}");
    let container = json!([{"name": GATEWAY, "image": image(GATEWAY, "2.3.0")}]);
    let image = json!({"spec": {"template": {"spec": {"containers": container}}}});
    let answer = Ask::new(Verb::StrategicPatch, &path, image).send(&client, namespace).await?;
    ensure!(!answer.is_allowed() && answer.text().contains("failed calling webhook"), "{answer:?}");
    let annotation = json!({"metadata": {"annotations": {"note": "while the guard is away"}}});
    let answer = Ask::new(Verb::MergePatch, &path, annotation).send(&client, namespace).await?;
    ensure!(answer.is_allowed(), "{answer:?}");
    // An autoscaler must be able to shrink.
    let shrink = Ask::new(Verb::MergePatch, format!("{path}/scale"), json!({"spec": {"replicas": 1}}));
    let answer = shrink.send(&client, namespace).await?;
    ensure!(answer.is_allowed(), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn an_argo_rollout_is_judged_from_when_its_kind_appears() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let guard = start(&cluster).await?;
    Scene::open(&cluster, &guard, "argo").await?.play(async |scene| {
        registered(scene).await?;
        platform(scene).await?;
        succeeded(cluster.kubectl_with(&["apply", "-f", "-"], &rollout_crd().to_string()).await?)?;
        succeeded(cluster.kubectl(&["wait", "--for=condition=Established", "crd/rollouts.argoproj.io"]).await?)?;

        let keycloak = rollout(scene, "keycloak", "quay.io/keycloak/keycloak:26.0.0");
        until_judged(scene, &keycloak, "[UG-SUPPORTED]").await?;
        scene.passes(&rollout(scene, "keycloak", "quay.io/keycloak/keycloak:24.0.5")).await?;
        // One that is known counts: the API's second workload holds the gateway back.
        scene.passes(&rollout(scene, "api-canary", &image(API, "2.2.0"))).await?;
        scene.passes(&set(API, "2.3.0")).await?;
        complete(scene, API).await?;
        scene.refused(&set(GATEWAY, "2.3.0"), "must wait for control-plane-api 2.3.0").await?;
        let moved = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image(API, "2.5.0")}]}}}});
        let moved = Ask::new(Verb::MergePatch, "rollouts/api-canary", moved).of("argoproj.io/v1alpha1");
        scene.refused(&moved, "[UG-HOP]").await?;
        Ok(())
    })
    .await?;
    cluster.stop().await
}

#[tokio::test]
async fn an_admitted_move_costs_counted_calls_and_what_is_not_stored_costs_none() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let guard = start(&cluster).await?;
    Scene::open(&cluster, &guard, "calls")
        .await?
        .play(async |scene| {
            registered(scene).await?;
            platform(scene).await?;
            // Without controllers nothing accounts for the pods of a creation that another move overtakes.
            numbers(scene, "(0.0, 2.0)").await?;
            let before = scene.guard.metrics().await?;
            scene.passes(&set(API, "2.3.0")).await?;
            let after = scene.guard.metrics().await?;
            for (verb, resource) in [("get", "deployments"), ("get", "platforms"), ("patch", "platforms")] {
                let labels = [format!("verb=\"{verb}\""), format!("resource=\"{resource}\"")];
                let labels = [labels[0].as_str(), labels[1].as_str(), "outcome=\"ok\""];
                let grown = after.sum(API_CALLS, &labels) - before.sum(API_CALLS, &labels);
                assert!(grown >= 1.0, "{verb} {resource}: {before:?} {after:?}");
            }
            numbers(scene, "(1.0, 2.0)").await?;

            let before = scene.guard.metrics().await?;
            scene.refused(&set(GATEWAY, "2.3.0"), "[UG-ORDER]").await?;
            let allowed = scene.send(&set(GATEWAY, "2.2.1").dry_run()).await?;
            ensure!(allowed.is_allowed(), "{allowed:?}");
            scene.warned(&set(GATEWAY, "2.3.0").dry_run(), "[UG-ORDER]").await?;
            let after = scene.guard.metrics().await?;
            assert!(after.sum(REVIEWS, &[]) - before.sum(REVIEWS, &[]) >= 3.0, "they were reviewed");
            let calls = after.sum(API_CALLS, &[]) - before.sum(API_CALLS, &[]);
            assert!(calls.abs() < f64::EPSILON, "{calls} calls for what is not stored");
            Ok(())
        })
        .await?;
    cluster.stop().await
}

/// Waits until `/metrics` says how many intents there are, and how many pods of the gateway at 2.2.0.
async fn numbers(scene: &Scene<'_>, wanted: &str) -> Result<()> {
    let install = format!("namespace=\"{}\"", scene.namespace);
    eventually("the numbers of the install", async || {
        let samples = scene.guard.metrics().await?;
        let gateway = [&install, "component=\"stoa-gateway\"", "version=\"2.2.0\""];
        let pods = samples.sum("upgrade_guard_component_pods", &gateway);
        let found = format!("{:?}", (samples.sum("upgrade_guard_intents", &[&install]), pods));
        Ok(if found == wanted { Ok(()) } else { Err(found) })
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_made_sure_of_is_refused_or_admitted_as_the_policy_says() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let guard = start(&cluster).await?;
    Scene::open(&cluster, &guard, "unsure")
        .await?
        .play(async |scene| {
            registered(scene).await?;
            platform(scene).await?;
            let roles: Api<ClusterRole> = Api::all(scene.client.clone());
            let mut role = roles.get("upgrade-guard").await?;
            let of_status = |rule: &PolicyRule| rule.resources.iter().flatten().any(|one| one == "platforms/status");
            role.rules.as_mut().context("rules")?.retain(|rule| !of_status(rule));
            roles.replace("upgrade-guard", &PostParams::default(), &role).await?;
            may_write(scene, false).await?;

            let (api, dry) = (set(API, "2.3.0"), set(API, "2.3.0").dry_run());
            let passes_dry = async || {
                let answer = scene.send(&dry).await?;
                ensure!(answer.is_allowed(), "{answer:?}");
                ensure!(!is_unsure(&answer), "{answer:?}");
                Ok(())
            };
            let refusal = scene.refused(&api, "[UG-UNAVAILABLE]").await?;
            ensure!(!refusal.contains("Status {"), "not for people: {refusal}");
            for part in
                ["cannot judge this change now", "cannot patch the status of Platform NAMESPACE/NAMESPACE", "Retry"]
            {
                assert!(refusal.contains(part), "{part}: {refusal}");
            }
            assert_eq!(scene.image_of(API).await?, image(API, "2.2.0"));
            passes_dry().await?;

            let mut policy = scene.policy()?;
            policy["spec"]["onUnavailable"] = json!("Allow");
            scene.apply(&policy).await?;
            let admitted = scene.passes(&api).await?;
            ensure!(is_unsure(&admitted), "{admitted:?}");
            complete(scene, API).await?;
            passes_dry().await?;

            succeeded(
                cluster
                    .kubectl(&["apply", "-f", &format!("{}/manifests/rbac.yaml", env!("CARGO_MANIFEST_DIR"))])
                    .await?,
            )?;
            may_write(scene, true).await?;
            let sure = scene.passes(&set(GATEWAY, "2.3.0")).await?;
            ensure!(!is_unsure(&sure), "{sure:?}");
            Ok(())
        })
        .await?;
    cluster.stop().await
}

fn is_unsure(answer: &Answer) -> bool {
    answer.warnings.iter().any(|warning| warning.contains("[UG-UNAVAILABLE]"))
}

/// Waits until the API server lets the guard write what a Platform says, or no longer does.
async fn may_write(scene: &Scene<'_>, wanted: bool) -> Result<()> {
    const GUARD: &str = "--as=system:serviceaccount:upgrade-guard:upgrade-guard";
    let question = ["auth", "can-i", "patch", "platforms.guard.gostoa.dev", "--subresource=status", GUARD];
    eventually("the guard's rights", async || {
        let answer = scene.kubectl(&question).await?;
        Ok(if answer.success == wanted { Ok(()) } else { Err(answer) })
    })
    .await
}

/// A guard that registers itself in what `kubectl apply -f manifests/` left.
async fn start(cluster: &Cluster) -> Result<Guard> {
    let files = ["manifests/crds/", "manifests/namespace.yaml", "manifests/rbac.yaml", "manifests/webhook.yaml"];
    install(cluster, &files).await?;
    Guard::start(cluster, Registration::ByGuard).await
}

/// Waits until the API server calls the guard where it is now.
pub(super) async fn registered(scene: &Scene<'_>) -> Result<()> {
    let probe = create("probe", "probe:1").dry_run();
    let called = async || {
        let answer = scene.send(&probe).await?;
        Ok(if answer.is_allowed() { Ok(()) } else { Err(answer) })
    };
    eventually("the guard to be registered", called).await
}

/// As [`Scene::refused`], while the guard may still be away.
async fn until_judged(scene: &Scene<'_>, ask: &Ask, text: &str) -> Result<()> {
    let judged = async || {
        // A request in the middle of a restart fails, which is no answer yet.
        let answer: Answer = match scene.send(ask).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.to_string())),
        };
        ensure!(!answer.is_allowed(), "allowed, and not refused with '{text}': {answer:?}");
        Ok(if answer.text().contains(text) { Ok(()) } else { Err(answer.text().to_owned()) })
    };
    eventually("the guard to judge again", judged).await
}

/// The API and the gateway at 2.2.0 under a policy, both rolled out.
pub(super) async fn platform(scene: &Scene<'_>) -> Result<()> {
    scene.apply(&scene.policy()?).await?;
    scene.governed().await?;
    for component in [API, GATEWAY] {
        let create = create(component, &image(component, "2.2.0"));
        let answer = scene.send(&create).await?;
        ensure!(answer.is_allowed() || answer.body["reason"] == "AlreadyExists", "{answer:?}");
        complete(scene, component).await?;
    }
    scene.seen(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await
}

/// Writes the status of a complete rollout, as the controllers would.
pub(super) async fn complete(scene: &Scene<'_>, name: &str) -> Result<()> {
    let deployments: Api<Deployment> = scene.deployments();
    let deployment = deployments.get(name).await?;
    let pods = deployment.spec.context("a spec")?.replicas;
    let status = json!({"status": {
        "observedGeneration": deployment.metadata.generation,
        "replicas": pods,
        "updatedReplicas": pods,
        "readyReplicas": pods,
        "availableReplicas": pods,
    }});
    let written = deployments.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    ensure!(written.name_any() == name);
    Ok(())
}

/// The kind of Argo Rollouts, as far as the guard looks at it.
fn rollout_crd() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "listKind": "RolloutList"},
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    })
}

fn rollout(scene: &Scene<'_>, name: &str, image: &str) -> Ask {
    let rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": scene.namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    });
    Ask::new(Verb::Create, "rollouts", rollout).of("argoproj.io/v1alpha1")
}
