//! What goes on beside the reviews: the Platform of an install, what was refused, and who keeps all that.

use std::collections::BTreeSet;
use std::pin::pin;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use upgrade_guard::api::{Platform, PlatformComponentStatus, PlatformStatus};

use super::ask::{Ask, Verb};
use super::outage::{complete, platform as install_by_hand, registered};
use super::platform::{API, GATEWAY, budget, create, deployment, image, set};
use super::scene::{Scene, scenario, scenario_under, scenario_ungoverned};
use crate::support::cluster::{Cluster, Shape};
use crate::support::guard::{Guard, Registration, install, succeeded};
use crate::support::wait::{DEADLINE, eventually, wait_for};

/// So that a guard that is killed is not waited for as long as in earnest.
const SHORT_LEASE: &[&str] = &["--lease-seconds", "3"];
/// Writes of a Platform's status during one rollout of three pods, at most. A rollout shows about eight states.
const MOST_WRITES: usize = 15;

pub(super) fn platforms(scene: &Scene<'_>) -> Api<Platform> {
    Api::namespaced(scene.client.clone(), &scene.namespace)
}

pub(super) fn status(platform: &Platform) -> PlatformStatus {
    platform.status.clone().unwrap_or_default()
}

fn component(platform: &Platform, name: &str) -> PlatformComponentStatus {
    status(platform).components.into_iter().find(|component| component.name == name).unwrap_or_default()
}

/// Whether all pods of a component, and they alone, run this version.
pub(super) fn runs(platform: &Platform, name: &str, version: &str, pods: i32) -> bool {
    let component = component(platform, name);
    component.settled && matches!(component.running.as_slice(), [one] if one.version == version && one.pods == pods)
}

/// Status and reason of a condition.
fn condition<'a>(platform: &'a Platform, kind: &str) -> Option<(&'a str, &'a str)> {
    let mut conditions = platform.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|condition| condition.type_ == kind)?;
    Some((&found.status, &found.reason))
}

fn is_ready(platform: &Platform) -> bool {
    condition(platform, "Ready").is_some_and(|(status, _)| status == "True")
}

pub(super) async fn until(scene: &Scene<'_>, what: &str, holds: impl Fn(&Platform) -> bool) -> Result<Platform> {
    wait_for(&platforms(scene), &scene.namespace, what, holds).await
}

#[tokio::test]
async fn the_platform_of_an_install_follows_its_upgrade_with_few_writes() -> Result<()> {
    scenario("followed", async |scene| {
        let mut api = deployment(API, &image(API, "2.2.0"));
        api["spec"]["replicas"] = json!(3);
        scene.passes(&Ask::new(Verb::Create, "deployments", api)).await?;
        scene.install_each(&[(GATEWAY, "2.2.0")]).await?;
        scene.rolled_out(API).await?;
        let before = until(scene, "the installed version", |platform| {
            runs(platform, API, "2.2.0", 3) && runs(platform, GATEWAY, "2.2.0", 2)
        })
        .await?;
        assert_eq!(before.spec.policy, scene.namespace);

        let (seen, ()) = tokio::try_join!(
            versions_until(scene, &before, |now| runs(now, API, "2.3.0", 3) && is_ready(now)),
            async { scene.upgrade(API, "2.3.0").await }
        )?;
        println!("one rollout of 3 replicas: the Platform was written {} times (at most {MOST_WRITES})", seen.len());
        ensure!((1..=MOST_WRITES).contains(&seen.len()), "{} writes: {seen:?}", seen.len());

        let printed = succeeded(scene.kubectl(&["get", "platforms"]).await?)?;
        let header = printed.lines().next().unwrap_or_default();
        assert_eq!(header.split_whitespace().collect::<Vec<_>>(), ["NAME", "READY", "RELEASE", "STATUS", "AGE"]);
        assert!(printed.lines().any(|line| line.starts_with(&scene.namespace)), "{printed}");
        numbers(scene).await
    })
    .await
}

/// The resource versions that a Platform has after `before` until `holds`.
async fn versions_until(
    scene: &Scene<'_>,
    before: &Platform,
    holds: impl Fn(&Platform) -> bool,
) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    let watching = async {
        let mut states = pin!(watch_object(platforms(scene), &scene.namespace));
        while let Some(state) = states.next().await {
            let Some(platform) = state? else { continue };
            seen.extend(
                platform.resource_version().filter(|version| Some(version) != before.resource_version().as_ref()),
            );
            if holds(&platform) {
                return Ok(());
            }
        }
        Err(watcher::Error::NoResourceVersion)
    };
    tokio::time::timeout(DEADLINE, watching).await.context("the upgrade is not seen")??;
    Ok(seen)
}

/// What `/metrics` says of the install at 2.3.0 and 2.2.0.
async fn numbers(scene: &Scene<'_>) -> Result<()> {
    let namespace = format!("namespace=\"{}\"", scene.namespace);
    eventually("the numbers of the install", async || {
        let samples = scene.guard.metrics().await?;
        let sum = |name: &str, label: &str| samples.sum(&format!("upgrade_guard_{name}"), &[&namespace, label]);
        let pods = [sum("component_pods", "version=\"2.3.0\""), sum("component_pods", "version=\"2.2.0\"")];
        let skew = sum("skew_lines", "component=\"stoa-gateway\",");
        let leader = samples.sum("upgrade_guard_leader", &[]);
        let found = (pods, skew, leader);
        Ok(if format!("{found:?}") == "([3.0, 2.0], 1.0, 1.0)" { Ok(()) } else { Err(format!("{found:?}")) })
    })
    .await
}

#[tokio::test]
async fn a_refusal_is_kept_and_told_and_a_dry_run_is_not() -> Result<()> {
    scenario("kept", async |scene| {
        scene.install_each(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;
        until(scene, "the install", |platform| runs(platform, API, "2.2.0", 2)).await?;
        scene.warned(&set(GATEWAY, "2.3.0").dry_run(), "[UG-ORDER]").await?;
        scene.refused(&set(GATEWAY, "2.6.0").dry_run(), "[UG-HOP]").await?;
        let refusal = scene.refused(&set(GATEWAY, "2.4.0"), "[UG-HOP]").await?;
        scene.refused(&set(GATEWAY, "2.4.0"), "[UG-HOP]").await?;

        let to = |platform: &Platform| -> BTreeSet<String> {
            status(platform).blocked.into_iter().filter_map(|block| block.to).collect()
        };
        // Notices are written in their order, so one of a dry run would be there by now.
        let platform = until(scene, "the refusal", |platform| to(platform).contains("2.4.0")).await?;
        assert_eq!(to(&platform), BTreeSet::from(["2.4.0".to_owned()]));
        let blocked = status(&platform).blocked;
        let hop = blocked.iter().find(|block| block.rule == "UG-HOP").context("a block by UG-HOP")?;
        assert_eq!((hop.workload.name.as_str(), hop.component.as_str()), (GATEWAY, GATEWAY));
        assert_eq!((hop.from.as_deref(), hop.verdict.as_str(), hop.held), (Some("2.2.0"), "Never", false));
        assert!(refusal.contains(&scene.anonymous(&hop.message)), "{refusal}\n{hop:?}");

        for kind in ["Deployment", "Platform"] {
            let event = told(scene, "UpgradeRefused", kind, |event| event.series.is_some()).await?;
            // The way there is for whoever asked.
            let note = scene.anonymous(&event.note.unwrap_or_default());
            assert!(note.starts_with("[UG-HOP]") && refusal.starts_with(&note), "{note}\n{refusal}");
            assert_eq!(event.type_.as_deref(), Some("Warning"));
            assert!(event.regarding.and_then(|regarding| regarding.uid).is_some(), "found by kubectl describe");
        }
        let described = succeeded(scene.kubectl(&["describe", "deployment", GATEWAY]).await?)?;
        assert!(described.contains("UpgradeRefused"), "{described}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_only_warned_about_or_audited_is_told_too() -> Result<()> {
    let modes = |policy: &mut Value| policy["spec"]["modes"] = json!({"UG-ORDER": "Warn", "UG-SKEW": "Audit"});
    scenario_under("told", modes, async |scene| {
        scene.install_each(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;
        scene.warned(&set(GATEWAY, "2.3.0"), "[UG-ORDER]").await?;
        for kind in ["Deployment", "Platform"] {
            let event = told(scene, "UpgradeWarned", kind, |_| true).await?;
            assert!(event.note.is_some_and(|note| note.starts_with("[UG-ORDER]")));
        }
        let event = told(scene, "UpgradeAudited", "Platform", |_| true).await?;
        assert!(event.note.is_some_and(|note| note.starts_with("[UG-SKEW]")));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
        Ok(())
    })
    .await
}

/// The one Event with this reason about an object of this kind, as soon as it is what it should be.
pub(super) async fn told(scene: &Scene<'_>, reason: &str, kind: &str, holds: impl Fn(&Event) -> bool) -> Result<Event> {
    let events: Api<Event> = Api::namespaced(scene.client.clone(), &scene.namespace);
    eventually("the Event", async || {
        let all = events.list(&ListParams::default()).await?.items;
        let about = |event: &Event| event.regarding.as_ref().and_then(|regarding| regarding.kind.clone());
        let mut found: Vec<Event> = all
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason) && about(event).as_deref() == Some(kind))
            .collect();
        ensure!(found.len() < 2, "one text is one Event: {found:?}");
        Ok(match found.pop() {
            Some(event) if holds(&event) => Ok(event),
            other => Err(other),
        })
    })
    .await
    .with_context(|| format!("{reason} about a {kind}"))
}

#[tokio::test]
async fn what_broke_a_rule_before_the_policy_came_is_told_until_it_is_mended() -> Result<()> {
    scenario_ungoverned("scan", async |scene| {
        for (component, version) in [(API, "2.4.0"), (GATEWAY, "2.2.0")] {
            scene.passes(&create(component, &image(component, version))).await?;
            scene.rolled_out(component).await?;
        }
        scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [budget(), scene.policy()?]})).await?;
        let broken = until(scene, "what is broken", |platform| {
            runs(platform, GATEWAY, "2.2.0", 2) && condition(platform, "Stalled") == Some(("True", "RulesBroken"))
        })
        .await?;
        let found: Vec<String> = status(&broken)
            .violations
            .into_iter()
            .map(|one| format!("{} {}: {}", one.component, one.rule, one.message))
            .collect();
        let expected = "stoa-gateway UG-SKEW: 2.2.0 is 2 lines behind control-plane-api 2.4.0 (allowed: 1)";
        assert_eq!(found, [expected]);
        assert!(!is_ready(&broken));
        let event = told(scene, "Violation", "Platform", |_| true).await?;
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert!(event.note.is_some_and(|note| note.starts_with("[UG-SKEW] stoa-gateway 2.2.0 is 2 lines behind")));

        scene.upgrade(GATEWAY, "2.3.0").await?;
        let mended = until(scene, "what is mended", |platform| {
            runs(platform, GATEWAY, "2.3.0", 2) && is_ready(platform) && status(platform).violations.is_empty()
        })
        .await?;
        assert_eq!(condition(&mended, "Stalled").map(|(status, _)| status), Some("False"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tag_that_moves_is_seen_in_the_pods() -> Result<()> {
    scenario("moved", async |scene| {
        scene.install_each(&[(API, "2.2.0")]).await?;
        let images = |platform: &Platform| -> Vec<String> {
            component(platform, API).running.into_iter().flat_map(|running| running.images).collect()
        };
        until(scene, "the digest", |platform| images(platform).len() == 1).await?;
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let listed = pods.list(&ListParams::default().labels(&format!("app={API}"))).await?;
        let pod = listed.items.first().context("a pod")?;
        let mut statuses =
            pod.status.as_ref().and_then(|status| status.container_statuses.clone()).context("statuses")?;
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        for container in &mut statuses {
            container.image_id = format!("ghcr.io/stoa-platform/{API}@{digest}");
        }
        let moved = Patch::Merge(json!({"status": {"containerStatuses": statuses}}));
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &moved).await?;
        until(scene, "the other digest", |platform| {
            let images = images(platform);
            images.len() == 2 && images.iter().any(|image| image.contains(&digest))
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_platform_whose_policy_goes_says_so() -> Result<()> {
    scenario("orphan", async |scene| {
        scene.install_each(&[(API, "2.2.0")]).await?;
        until(scene, "the install", |platform| runs(platform, API, "2.2.0", 2)).await?;
        succeeded(scene.kubectl(&["delete", "upgradepolicy", &scene.namespace]).await?)?;
        let orphan = |platform: &Platform| status(platform).summary.is_some_and(|text| text.contains("Not governed"));
        until(scene, "the end of the policy", orphan).await?;
        let namespace = format!("namespace=\"{}\"", scene.namespace);
        let pods = scene.guard.metrics().await?.sum("upgrade_guard_component_pods", &[&namespace]);
        assert!(pods.abs() < f64::EPSILON, "{pods} pods of an install that is gone");

        // It is taken up again where it was left.
        scene.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [budget(), scene.policy()?]})).await?;
        until(scene, "the policy again", |platform| !orphan(platform) && runs(platform, API, "2.2.0", 2)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_of_two_guards_leads_and_the_other_takes_over() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    install(&cluster, &["manifests/crds/", "manifests/namespace.yaml", "manifests/rbac.yaml"]).await?;
    let first = Guard::start_with(&cluster, Registration::ByTest, SHORT_LEASE).await?;
    leads(&first, true).await?;
    // It answers the reviews from here on.
    let mut second = Guard::start_with(&cluster, Registration::ByTest, SHORT_LEASE).await?;
    Scene::open(&cluster, &second, "lead")
        .await?
        .play(async |scene| {
            registered(scene).await?;
            install_by_hand(scene).await?;
            until(scene, "the install", |platform| runs(platform, GATEWAY, "2.2.0", 2)).await?;
            leads(&first, true).await?;
            leads(&second, false).await?;
            scene.passes(&set(API, "2.3.0")).await?;
            first.kill().await?;
            leads(&second, true).await?;
            complete(scene, API).await?;
            until(scene, "what came after the first guard", |platform| runs(platform, API, "2.3.0", 2)).await?;

            cluster.restart("kube-apiserver").await?;
            eventually("a request after the restart", async || {
                Ok(match scene.send(&set(GATEWAY, "2.3.0")).await {
                    Ok(answer) if answer.is_allowed() => Ok(()),
                    other => Err(format!("{other:?}")),
                })
            })
            .await?;
            complete(scene, GATEWAY).await?;
            until(scene, "what came after the restart", |platform| runs(platform, GATEWAY, "2.3.0", 2)).await?;
            Ok(())
        })
        .await
        .with_context(|| second.log_tail("lead"))?;
    let leases: Api<Lease> = Api::namespaced(cluster.client().await?, "upgrade-guard");
    let held = |lease: &Lease| lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.is_some());
    let lease = leases.get("upgrade-guard").await?;
    assert!(held(&lease) && lease.spec.and_then(|spec| spec.lease_transitions) >= Some(1), "it changed hands");
    // Whoever ends in order lets go at once; a Lease that merely expires keeps its holder's name.
    second.terminate()?;
    wait_for(&leases, "upgrade-guard", "its release", |lease| !held(lease)).await?;
    cluster.stop().await
}

/// Waits until a guard says that it leads, or that it does not.
async fn leads(guard: &Guard, wanted: bool) -> Result<()> {
    eventually("the leader", async || {
        let leads = guard.metrics().await?.sum("upgrade_guard_leader", &[]) > 0.5;
        Ok(if leads == wanted { Ok(()) } else { Err(leads) })
    })
    .await
}
