//! A hook that was skipped, and CRDs that changed behind its back, on a real API server.

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use upgrade_guard::api::{
    Direction, Platform, PlatformCrd, PlatformPrecondition, PlatformPreparation, PlatformVersion, PreparationOutcome,
};
use upgrade_guard::cluster::ledger::Ledger;
use upgrade_guard::crds::content::digest;

use super::platform::{API, GATEWAY, image, set};
use super::scene::{Scene, scenario_under};
use crate::support::wait::{wait_for, wait_gone};

/// A policy whose API and gateway need a CRD and a backup.
fn demanding(policy: &mut Value) {
    let namespace = policy["metadata"]["name"].as_str().unwrap().to_owned();
    let spec = &mut policy["spec"];
    for component in spec["components"].as_array_mut().unwrap() {
        let needs = [API, GATEWAY].contains(&component["name"].as_str().unwrap());
        component["crds"] = if needs { json!([crd_name(&namespace)]) } else { json!([]) };
    }
    spec["preconditions"] =
        json!([{"name": "postgres-backup", "cronJob": {"name": "postgres-backup", "maxAge": "26h"}}]);
}

fn crd_name(namespace: &str) -> String {
    format!("tools.{namespace}.test")
}

fn crds(scene: &Scene<'_>) -> Api<CustomResourceDefinition> {
    Api::all(scene.client.clone())
}

/// Makes the CRD, and waits until it is established.
async fn install_crd(scene: &Scene<'_>) -> Result<CustomResourceDefinition> {
    let name = crd_name(&scene.namespace);
    let crd: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "group": format!("{}.test", scene.namespace),
            "names": {"kind": "Tool", "plural": "tools"},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "description": "as released"}},
            }],
        },
    }))?;
    crds(scene).create(&PostParams::default(), &crd).await?;
    wait_for(&crds(scene), &name, "it to be established", |crd| {
        let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
    })
    .await
}

async fn delete_crd(scene: &Scene<'_>) -> Result<()> {
    crds(scene).delete(&crd_name(&scene.namespace), &<_>::default()).await?;
    wait_gone(&crds(scene), &crd_name(&scene.namespace)).await
}

/// What a run of the hook leaves that made sure of `crd` for `version`.
fn run(version: &str, crd: &CustomResourceDefinition) -> PlatformPreparation {
    let of = |name: &str| PlatformVersion { name: name.to_owned(), version: version.to_owned() };
    let backup = PlatformPrecondition { name: "postgres-backup".to_owned(), held: true, ..Default::default() };
    PlatformPreparation {
        target: version.to_owned(),
        components: vec![of(API), of(GATEWAY)],
        found: vec![],
        by: None,
        started: Time(Timestamp::now()),
        ended: Some(Time(Timestamp::now())),
        outcome: PreparationOutcome::Prepared,
        steps: vec![],
        preconditions: vec![backup],
        crds: vec![PlatformCrd { name: crd.name_any(), content: digest(crd) }],
        verified: None,
    }
}

/// Records it as the hook does.
async fn record(scene: &Scene<'_>, run: PlatformPreparation) -> Result<()> {
    let ledger = Ledger::new(scene.client.clone());
    let recorded = ledger.update(&scene.namespace, &scene.namespace, |status| {
        status.preparations.retain(|old| old.target != run.target);
        status.preparations.insert(0, run.clone());
    });
    Ok(recorded.await?)
}

/// Waits until the Platform says that `component` may not go up because of `text`.
async fn closed(scene: &Scene<'_>, component: &str, text: &str) -> Result<()> {
    let platforms: Api<Platform> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let shows = |platform: &Platform| {
        let gates = platform.status.iter().flat_map(|status| &status.gates);
        let mut up = gates.filter(|gate| gate.component == component && gate.direction == Direction::Up);
        up.any(|gate| gate.message.as_ref().is_some_and(|message| message.contains(text)))
    };
    wait_for(&platforms, &scene.namespace, &format!("{component} to wait for: {text}"), shows).await.map(drop)
}

#[tokio::test]
async fn a_skipped_hook_and_crds_that_changed_since_are_caught() -> Result<()> {
    scenario_under("skipped-hook", demanding, async |scene| {
        let crd = install_crd(scene).await?;
        scene.install_each(&[(API, "2.2.0"), (GATEWAY, "2.2.0")]).await?;

        // As Argo CD's self-heal and selective syncs do: no hook ran.
        let target = format!("{API}={}", image(API, "2.3.0"));
        let command = ["set", "image", "deployment/control-plane-api", target.as_str()];
        let skipped = scene.kubectl_refused(&command, "", "no presync run is recorded for 2.3.0").await?;
        assert_snapshot!("skipped", skipped.trim());
        // The hook died half-way, or found something.
        record(scene, PlatformPreparation { ended: None, outcome: PreparationOutcome::Running, ..run("2.3.0", &crd) })
            .await?;
        scene.refused(&set(API, "2.3.0"), "its run for 2.3.0 is not complete").await?;
        let mut stale = run("2.3.0", &crd);
        stale.outcome = PreparationOutcome::Refused;
        stale.preconditions[0].held = false;
        stale.preconditions[0].message = "CronJob postgres-backup last succeeded 30h ago".to_owned();
        record(scene, stale).await?;
        scene.refused(&set(API, "2.3.0"), "must wait for precondition postgres-backup: CronJob").await?;
        // What it found was worth something for a day.
        let old = Time(Timestamp::now() - SignedDuration::from_hours(25));
        record(scene, PlatformPreparation { ended: Some(old), ..run("2.3.0", &crd) }).await?;
        scene.refused(&set(API, "2.3.0"), "is more than 24h old").await?;

        record(scene, run("2.3.0", &crd)).await?;
        scene.upgrade(API, "2.3.0").await?;

        // Someone changes the CRD, deletes it, and brings it back.
        let patch = json!([{
            "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": {"type": "object", "properties": {"added": {"type": "string"}}},
        }]);
        let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
        crds(scene).patch(&crd.name_any(), &PatchParams::default(), &patch).await?;
        closed(scene, GATEWAY, "changed since presync prepared 2.3.0").await?;
        assert_snapshot!("changed", scene.refused(&set(GATEWAY, "2.3.0"), "UG-CRD").await?);
        delete_crd(scene).await?;
        closed(scene, GATEWAY, "not installed").await?;
        assert_snapshot!("deleted", scene.refused(&set(GATEWAY, "2.3.0"), "UG-CRD").await?);
        install_crd(scene).await?;
        scene.upgrade(GATEWAY, "2.3.0").await?;

        // The way back asks for no hook.
        scene.upgrade(GATEWAY, "2.2.0").await?;
        delete_crd(scene).await
    })
    .await
}

#[tokio::test]
async fn under_hold_what_the_hook_did_not_prepare_waits_for_it() -> Result<()> {
    let holding = |policy: &mut Value| {
        demanding(policy);
        policy["spec"]["onNotYet"] = json!("Hold");
    };
    scenario_under("held-for-hook", holding, async |scene| {
        let crd = install_crd(scene).await?;
        scene.install_each(&[(API, "2.2.0")]).await?;
        let answer = scene.send(&set(API, "2.3.0")).await?;
        ensure!(answer.is_allowed(), "{answer:?}");
        assert_snapshot!("held", scene.anonymous(&answer.warnings.join("\n")));
        let platforms: Api<Platform> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let blocked = |platform: &Platform| platform.status.as_ref()?.blocked.first().cloned();
        let platform = wait_for(&platforms, &scene.namespace, "it to be shown as held", |platform| {
            blocked(platform).is_some_and(|block| block.held)
        });
        let platform = platform.await?;
        let block = blocked(&platform).context("a block")?;
        let summary = platform.status.and_then(|status| status.summary).unwrap_or_default();
        // What the index shows of the install before is nothing to this.
        let summary = summary.split("; ").find(|part| part.contains(" held: ")).unwrap_or_default();
        assert_snapshot!("held_status", format!("[{}] {}\n{summary}", block.rule, block.message));
        ensure!(scene.deployments().get(API).await?.spec.and_then(|spec| spec.paused) == Some(true), "it goes on");

        // Nobody asks again: the record lets it go.
        record(scene, run("2.3.0", &crd)).await?;
        wait_for(&scene.deployments(), API, "it to be let go", |found| {
            !found.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
        })
        .await?;
        scene.rolled_out(API).await?;
        ensure!(scene.image_of(API).await? == image(API, "2.3.0"), "another version was rolled out");
        delete_crd(scene).await
    })
    .await
}
