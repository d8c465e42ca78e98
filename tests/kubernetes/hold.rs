//! `onNotYet: Hold` on a real API server: one commit converges by itself, and whatever is done to a held workload ends in
//! something unsurprising.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::json;

use super::ask::{Ask, Verb};
use super::platform::{API, GATEWAY, NEVER_READY, PORTAL, UI, create, deployment, image, set, set_held, set_released};
use super::scene::{Scene, scenario_under};
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{Guard, Registration, install, succeeded};
use crate::support::wait::{eventually, wait_for, wait_gone};

const ALL: [&str; 4] = [API, GATEWAY, UI, PORTAL];
const HELD: &str = "guard.gostoa.dev/held";

async fn holding(name: &str, body: impl AsyncFnOnce(&Scene<'_>) -> Result<()>) -> Result<()> {
    scenario_under(name, |policy| policy["spec"]["onNotYet"] = json!("Hold"), body).await
}

/// The whole platform at one version, as one commit has it; the API's pods become ready only when told to.
fn commit(version: &str, api_gets_ready: bool) -> String {
    let items = ALL.map(|component| {
        let mut object = deployment(component, &image(component, version));
        if component == API && !api_gets_ready {
            object["spec"]["template"]["metadata"]["labels"][NEVER_READY] = json!("true");
        }
        object
    });
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn is_held(deployment: &Deployment) -> bool {
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    assert_eq!(paused, deployment.labels().contains_key(HELD), "a pause with its label: {:?}", deployment.metadata);
    paused
}

async fn is_held_now(scene: &Scene<'_>, name: &str) -> Result<bool> {
    Ok(is_held(&scene.deployments().get(name).await?))
}

/// Waits until the component runs nothing but `version`.
async fn arrived(scene: &Scene<'_>, component: &str, version: &str) -> Result<()> {
    wait_for(&scene.deployments(), component, "its rollout to be let go", |found| !is_held(found)).await?;
    scene.rolled_out(component).await?;
    assert_eq!(scene.image_of(component).await?, image(component, version));
    Ok(())
}

// --- the law, read from the pods

/// The lines of a component that have pods, by the ReplicaSets.
type Lines = BTreeMap<String, BTreeSet<i64>>;

fn lines(replica_sets: &[ReplicaSet]) -> Lines {
    let mut lines = Lines::new();
    for set in replica_sets.iter().filter(|set| set.status.as_ref().is_some_and(|status| status.replicas > 0)) {
        let spec = set.spec.as_ref().and_then(|spec| spec.template.as_ref()).and_then(|pod| pod.spec.as_ref());
        for image in spec.iter().flat_map(|spec| &spec.containers).filter_map(|container| container.image.as_deref()) {
            let (name, tag) = image.rsplit('/').next().unwrap().split_once(':').unwrap();
            let minor = tag.split('.').nth(1).unwrap().parse().unwrap();
            lines.entry(name.to_owned()).or_default().insert(minor);
        }
    }
    lines
}

/// What breaks the order or the distance: nothing of a newer line than any pod upstream, nobody two lines behind the API.
fn broken(lines: &Lines) -> Vec<String> {
    let of = |name: &str| lines.get(name).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for (down, up) in [(GATEWAY, API), (UI, API), (PORTAL, API), (UI, GATEWAY), (PORTAL, GATEWAY)] {
        if of(down).last() > of(up).first() && !of(up).is_empty() {
            found.push(format!("{down} {:?} is ahead of {up} {:?}", of(down), of(up)));
        }
    }
    for down in [GATEWAY, UI, PORTAL] {
        if let (Some(old), Some(new)) = (of(down).first(), of(API).last())
            && new - old > 1
        {
            found.push(format!("{down} {old} is too far behind the API {new}"));
        }
    }
    found
}

/// Looks at the pods again and again while `body` runs; fails when they ever break the law, or were not seen moving.
async fn legal_throughout(scene: &Scene<'_>, body: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let watching = tokio::spawn(look(scene.client.clone(), scene.namespace.clone(), Arc::clone(&seen)));
    let done = body().await;
    watching.abort();
    done?;
    let seen = seen.lock().clone();
    ensure!(seen.len() >= 6, "only {} states were seen: {seen:?}", seen.len());
    let broken: Vec<_> = seen.iter().map(|lines| (broken(lines), lines)).filter(|(why, _)| !why.is_empty()).collect();
    ensure!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

async fn look(client: Client, namespace: String, seen: Arc<Mutex<BTreeSet<Lines>>>) {
    use futures::StreamExt as _;
    use kube::runtime::{WatchStreamExt as _, watcher};
    let sets: Api<ReplicaSet> = Api::namespaced(client, &namespace);
    let mut events = std::pin::pin!(watcher(sets, watcher::Config::default()).default_backoff().touched_objects());
    let mut now: BTreeMap<String, ReplicaSet> = BTreeMap::new();
    // Every event is a state that the API server stored.
    while let Some(event) = events.next().await {
        let Ok(set) = event else { continue };
        now.insert(set.name_any(), set);
        let all: Vec<_> = now.values().cloned().collect();
        seen.lock().insert(lines(&all));
    }
}

#[test]
fn the_law_of_these_tests_can_be_broken() {
    let state = |pairs: &[(&str, &[i64])]| -> Lines {
        pairs.iter().map(|(name, lines)| ((*name).to_owned(), lines.iter().copied().collect())).collect()
    };
    assert_eq!(broken(&state(&[(API, &[2, 3]), (GATEWAY, &[2])])), [""; 0]);
    assert_eq!(broken(&state(&[(API, &[2, 3]), (GATEWAY, &[3])])).len(), 1);
    assert_eq!(broken(&state(&[(API, &[4]), (GATEWAY, &[2, 3])])).len(), 1);
}

// --- one commit

#[tokio::test]
async fn one_apply_converges_in_order_and_applying_it_again_changes_nothing() -> Result<()> {
    for (name, apply) in [("hold", vec!["apply", "-f", "-"]), ("hold-ssa", vec!["apply", "--server-side", "-f", "-"])] {
        holding(name, async |scene| {
            succeeded(scene.kubectl_with(&apply, &commit("2.2.0", true)).await?)?;
            for component in ALL {
                scene.rolled_out(component).await?;
            }
            scene.seen(&ALL.map(|component| (component, "2.2.0"))).await?;
            legal_throughout(scene, async || {
                let half_way = commit("2.3.0", false);
                let applied = scene.kubectl_with(&apply, &half_way).await?;
                ensure!(applied.success, "{applied:?}");
                scene.halted(API, 1, 1).await?;
                assert_eq!(applied.stderr.matches(" is held: must wait for ").count(), 3, "{applied:?}");
                applied_again(scene, &apply, &half_way).await?;
                // The API's pods get ready: everything else follows without another command.
                scene.passes(&set_released("deployments", API, "2.3.0")).await?;
                for component in ALL {
                    arrived(scene, component, "2.3.0").await?;
                }
                Ok(())
            })
            .await
        })
        .await?;
    }
    Ok(())
}

/// Applies and compares the same manifests while nothing moves.
async fn applied_again(scene: &Scene<'_>, apply: &[&str], manifests: &str) -> Result<()> {
    let versions = async || {
        let all = scene.deployments().list(&ListParams::default()).await?;
        anyhow::Ok(
            all.iter().map(|one| (one.name_any(), one.metadata.generation, one.resource_version())).collect::<Vec<_>>(),
        )
    };
    for component in [GATEWAY, UI, PORTAL] {
        assert!(is_held_now(scene, component).await?, "{component}");
    }
    // The controllers write statuses until they are done.
    eventually("an apply around which nothing moved", async || {
        let before = versions().await?;
        let applied = succeeded(scene.kubectl_with(apply, manifests).await?)?;
        let after = versions().await?;
        let generations =
            |all: &[(String, Option<i64>, Option<String>)]| -> Vec<_> { all.iter().map(|one| one.1).collect() };
        ensure!(generations(&before) == generations(&after), "a spec changed: {before:?} {after:?} {applied}");
        Ok(if before == after { Ok(()) } else { Err((before, after)) })
    })
    .await?;
    let server_side = apply.contains(&"--server-side");
    let diff: &[&str] = if server_side { &["diff", "--server-side", "-f", "-"] } else { &["diff", "-f", "-"] };
    let diff = scene.kubectl_with(diff, manifests).await?;
    ensure!(diff.success && diff.stdout.is_empty(), "{diff:?}");
    Ok(())
}

#[tokio::test]
async fn a_rollback_of_everything_goes_downstream_first() -> Result<()> {
    holding("hold-back", async |scene| {
        let apply = ["apply", "-f", "-"];
        succeeded(scene.kubectl_with(&apply, &commit("2.3.0", true)).await?)?;
        for component in ALL {
            scene.rolled_out(component).await?;
        }
        scene.seen(&ALL.map(|component| (component, "2.3.0"))).await?;
        legal_throughout(scene, async || {
            succeeded(scene.kubectl_with(&apply, &commit("2.2.0", true)).await?)?;
            for component in ALL {
                arrived(scene, component, "2.2.0").await?;
            }
            Ok(())
        })
        .await
    })
    .await
}

// --- what is done to a held workload

/// The platform at 2.2.0, and the gateway held back from 2.3.0.
async fn with_held_gateway(scene: &Scene<'_>) -> Result<()> {
    scene.install("2.2.0").await?;
    let held = scene.warned(&set(GATEWAY, "2.3.0"), "is held: must wait for control-plane-api 2.3.0").await?;
    ensure!(held.body["spec"]["paused"] == true, "{held:?}");
    eventually("the guard to know that it is held", async || {
        // What only it may do is a sign: a held version counts for nothing.
        Ok(if is_held_now(scene, GATEWAY).await? { Ok(()) } else { Err(()) })
    })
    .await
}

#[tokio::test]
async fn resumed_by_hand_it_stays_held_and_another_image_is_held_too() -> Result<()> {
    holding("hold-resume", async |scene| {
        with_held_gateway(scene).await?;
        let resumed = scene.kubectl(&["rollout", "resume", "deployment/stoa-gateway"]).await?;
        insta::assert_snapshot!(scene.anonymous(&format!("{}{}", resumed.stdout, resumed.stderr)));
        assert!(is_held_now(scene, GATEWAY).await?);
        scene.warned(&set(GATEWAY, "2.3.1"), "2.2.0 -> 2.3.1 stays held").await?;
        scene.refused(&set(GATEWAY, "2.6.0"), "[UG-HOP]").await?;
        assert!(is_held_now(scene, GATEWAY).await?);
        scene.upgrade(API, "2.3.0").await?;
        arrived(scene, GATEWAY, "2.3.1").await
    })
    .await
}

#[tokio::test]
async fn rolled_back_or_deleted_nothing_is_left_of_a_hold() -> Result<()> {
    holding("hold-undo", async |scene| {
        let revisions = async || {
            let sets: Api<ReplicaSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
            anyhow::Ok(sets.list(&ListParams::default().labels("app=stoa-gateway")).await?.items.len())
        };
        with_held_gateway(scene).await?;
        scene.passes(&set(GATEWAY, "2.2.0")).await?;
        assert!(!is_held_now(scene, GATEWAY).await?);
        scene.rolled_out(GATEWAY).await?;
        assert_eq!(revisions().await?, 1, "nothing was rolled");

        scene.warned(&set(GATEWAY, "2.3.0"), "is held").await?;
        scene.passes(&Ask::new(Verb::Delete, format!("deployments/{GATEWAY}"), json!({}))).await?;
        wait_gone(&scene.deployments(), GATEWAY).await?;
        scene.warned(&create(GATEWAY, &image(GATEWAY, "2.3.0")), "stoa-gateway 2.3.0 is held").await?;
        scene.upgrade(API, "2.3.0").await?;
        arrived(scene, GATEWAY, "2.3.0").await
    })
    .await
}

#[tokio::test]
async fn without_its_policy_a_held_workload_goes_on() -> Result<()> {
    holding("hold-free", async |scene| {
        with_held_gateway(scene).await?;
        succeeded(scene.kubectl(&["delete", "upgradepolicy", &scene.namespace]).await?)?;
        arrived(scene, GATEWAY, "2.3.0").await
    })
    .await
}

#[tokio::test]
async fn under_deny_what_is_held_goes_in_order_and_what_is_new_is_refused() -> Result<()> {
    holding("hold-deny", async |scene| {
        with_held_gateway(scene).await?;
        let mut policy = scene.policy()?;
        policy["spec"]["onNotYet"] = json!("Deny");
        scene.apply(&policy).await?;
        let refused = eventually("the policy to be known", async || {
            let answer = scene.send(&set(UI, "2.3.0").dry_run()).await?;
            // Under Hold a dry run shows the hold.
            Ok(if answer.body["spec"]["paused"] == true { Err(answer) } else { Ok(()) })
        });
        refused.await?;
        scene.refused(&set(UI, "2.3.0"), "must wait for").await?;
        scene.kubectl_refused(&["rollout", "resume", "deployment/stoa-gateway"], "", "must wait for").await?;
        assert!(is_held_now(scene, GATEWAY).await?);
        scene.upgrade(API, "2.3.0").await?;
        arrived(scene, GATEWAY, "2.3.0").await
    })
    .await
}

#[tokio::test]
async fn someones_pause_stays_and_a_rollout_on_its_way_is_never_held() -> Result<()> {
    holding("hold-not", async |scene| {
        scene.install("2.2.0").await?;
        scene.kubectl_passes(&["rollout", "pause", "deployment/portal"], "").await?;
        let refusal = scene.refused(&set(PORTAL, "2.3.0"), "must wait for").await?;
        insta::assert_snapshot!("someones-pause", refusal);
        scene.passes(&set_held("deployments", GATEWAY, "2.2.1")).await?;
        scene.halted(GATEWAY, 1, 1).await?;
        let refusal = scene.refused(&set(GATEWAY, "2.3.0"), "must wait for").await?;
        insta::assert_snapshot!("in-its-own-rollout", refusal);
        scene.passes(&set_released("deployments", GATEWAY, "2.2.1")).await?;
        for component in [API, GATEWAY] {
            scene.upgrade(component, "2.3.0").await?;
        }
        let portal = scene.deployments().get(PORTAL).await?;
        assert_eq!(portal.spec.context("a spec")?.paused, Some(true), "the guard resumed someone else's pause");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stateful_set_is_held_by_its_partition() -> Result<()> {
    holding("hold-set", async |scene| {
        let mut gateway = deployment(GATEWAY, &image(GATEWAY, "2.2.0"));
        gateway["kind"] = json!("StatefulSet");
        gateway["spec"]["serviceName"] = json!(GATEWAY);
        gateway["spec"].as_object_mut().context("a spec")?.remove("strategy");
        scene.passes(&Ask::new(Verb::Create, "statefulsets", gateway)).await?;
        scene.install_each(&[(API, "2.2.0")]).await?;
        let sets: Api<StatefulSet> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let partition = |set: &StatefulSet| {
            let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
            strategy.and_then(|strategy| strategy.rolling_update.as_ref()).and_then(|rolling| rolling.partition)
        };
        let complete = |set: &StatefulSet| {
            set.status.as_ref().is_some_and(|status| {
                status.observed_generation == set.metadata.generation
                    && status.available_replicas == Some(2)
                    && status.current_revision == status.update_revision
            })
        };
        wait_for(&sets, GATEWAY, "its pods", complete).await?;
        let container = json!([{"name": GATEWAY, "image": image(GATEWAY, "2.3.0")}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": container}}}});
        let bump = Ask::new(Verb::StrategicPatch, format!("statefulsets/{GATEWAY}"), patch);
        scene.warned(&bump, "is held: must wait for control-plane-api 2.3.0").await?;
        let held = wait_for(&sets, GATEWAY, "its controller to see it", |set| {
            set.status.as_ref().is_some_and(|status| status.observed_generation == set.metadata.generation)
        })
        .await?;
        assert_eq!(partition(&held), Some(i32::MAX));
        assert_eq!(held.status.context("a status")?.updated_replicas.unwrap_or(0), 0);
        // Half of the API is not enough, however long it takes.
        scene.passes(&set_held("deployments", API, "2.3.0")).await?;
        scene.halted(API, 1, 1).await?;
        scene.refused(&set(API, "2.4.0"), "[UG-HOP]").await?;
        assert_eq!(partition(&sets.get(GATEWAY).await?), Some(i32::MAX));
        scene.passes(&set_released("deployments", API, "2.3.0")).await?;
        let free =
            wait_for(&sets, GATEWAY, "its rollout", |set| !set.labels().contains_key(HELD) && complete(set)).await?;
        assert_eq!(partition(&free), Some(0));
        Ok(())
    })
    .await
}

// --- without a guard

#[tokio::test]
async fn nothing_stays_held_by_a_guard_that_is_gone() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::Whole).await? else { return Ok(()) };
    install(&cluster, &["manifests/crds/", "manifests/namespace.yaml", "manifests/rbac.yaml"]).await?;
    let guard = Guard::start(&cluster, Registration::ByTest).await?;
    let scene = Scene::open(&cluster, &guard, "gone").await?;
    let mut policy = scene.policy()?;
    policy["spec"]["onNotYet"] = json!("Hold");
    scene.apply(&policy).await?;
    scene.governed().await?;
    scene.install("2.2.0").await?;
    for component in [GATEWAY, UI] {
        scene.warned(&set(component, "2.3.0"), "is held").await?;
    }
    let namespace = scene.namespace.clone();
    let told = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
        command.arg("release").args(args).env("KUBECONFIG", cluster.kubeconfig());
        let output = command.output().await?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        anyhow::Ok(format!("{}exit code {:?}", said.replace(&namespace, "NAMESPACE"), output.status.code()))
    };
    insta::assert_snapshot!("release-dry-run", told(&["-A", "--dry-run"]).await?);
    insta::assert_snapshot!("release-with-a-guard", told(&["-n", &scene.namespace]).await?);
    insta::assert_snapshot!("release-of-nothing", told(&["-n", "default"]).await?);
    insta::assert_snapshot!("release-of-no-such-name", told(&["-A", "nobody"]).await?);

    let (client, name) = (cluster.client().await?, scene.namespace.clone());
    drop(scene);
    guard.kill().await?;
    succeeded(
        cluster.kubectl(&["delete", "-f", &format!("{}/manifests/webhook.yaml", env!("CARGO_MANIFEST_DIR"))]).await?,
    )?;
    insta::assert_snapshot!("release-without-a-guard", told(&["-A", UI]).await?);
    let deployments: Api<Deployment> = Api::namespaced(client, &name);
    wait_for(&deployments, UI, "it to be let go", |found| !is_held(found)).await?;
    // README's line.
    for args in [["rollout", "resume", "deployment"].as_slice(), &["label", "deployment", "guard.gostoa.dev/held-"]] {
        succeeded(cluster.kubectl(&[&["-n", &name], args, &["-l", HELD]].concat()).await?)?;
    }
    let gateway = deployments.get(GATEWAY).await?;
    assert!(!is_held(&gateway));
    wait_for(&deployments, GATEWAY, "its rollout", |found: &Deployment| {
        found.status.as_ref().is_some_and(|status| {
            status.observed_generation == found.metadata.generation && status.updated_replicas == Some(2)
        })
    })
    .await?;
    cluster.stop().await
}
