//! What `verify` says of an install, and what it leaves.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use upgrade_guard::api::{Outcome, Platform, PlatformStatus};

use crate::ask::{Ask, Verb};
use crate::platform::{API, GATEWAY, NEVER_READY, PORTAL, UI, set, set_held};
use crate::postgres::Postgres;
use crate::scene::{Scene, scenario, scenario_under};
use crate::support::wait::wait_for;

const QUICK: &[&str] = &["--settle", "0s"];

fn quick<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().chain(QUICK).copied().collect()
}

/// A server that is well at `/health`.
async fn health() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/health", get(async || r#"{"status": "ok"}"#))
        .route("/down", get(async || StatusCode::SERVICE_UNAVAILABLE));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn status(scene: &Scene<'_>) -> Result<PlatformStatus> {
    let platforms: Api<Platform> = Api::namespaced(scene.client.clone(), &scene.namespace);
    platforms.get(&scene.namespace).await?.status.context("a status")
}

/// The history's components with the times at which they were verified, newest first.
fn verified(status: &PlatformStatus) -> Vec<(String, bool, Option<String>)> {
    let entry = |entry: &upgrade_guard::api::PlatformHistoryEntry| {
        let at = entry.verified.as_ref().map(|time| time.0.to_string());
        (entry.component.clone(), entry.outcome == Outcome::Completed, at)
    };
    status.history.iter().map(entry).collect()
}

/// One pod of a Deployment.
async fn pod_of(scene: &Scene<'_>, component: &str) -> Result<(Api<Pod>, Pod)> {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let found = pods.list(&ListParams::default().labels(&format!("app={component}"))).await?;
    let pod = found.items.into_iter().next().context("a pod")?;
    Ok((pods, pod))
}

/// Writes what a kubelet would of a container that was restarted, and of one that is not let start again.
async fn restarted(pods: &Api<Pod>, pod: &Pod, restarts: i32, waiting: Option<&str>) -> Result<()> {
    let mut statuses = serde_json::to_value(pod.status.clone().context("a status")?.container_statuses)?;
    statuses[0]["restartCount"] = json!(restarts);
    if let Some(reason) = waiting {
        statuses[0]["state"] = json!({"waiting": {"reason": reason}});
    }
    let patch = json!({"status": {"containerStatuses": statuses}});
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_well_is_verified_and_marked_once() -> Result<()> {
    let address = health().await?;
    let check = json!({
        "name": "health", "url": format!("http://{address}/health"), "expression": "body.status == 'ok'", "retries": 0,
    });
    scenario_under(
        "verified",
        |policy| policy["spec"]["verify"] = json!({"http": [check]}),
        async |scene| {
            scene.install("2.2.0").await?;
            for component in [API, GATEWAY, UI, PORTAL] {
                scene.upgrade(component, "2.3.0").await?;
            }
            let ended = scene.verify(&["--to", "2.3.0", "--settle", "1s"], &[]).await?;
            insta::assert_snapshot!(ended.text.replace(&address.to_string(), "ADDRESS"));
            assert_eq!(ended.code, 0);

            let first = verified(&status(scene).await?);
            let newest = |component: &str| first.iter().find(|(name, ..)| name == component).cloned();
            for component in [API, GATEWAY, UI, PORTAL] {
                assert!(matches!(newest(component), Some((_, true, Some(_)))), "{component}: {first:?}");
            }
            let again = scene.verify(&quick(&["-o", "json"]), &[]).await?;
            let told: Value = serde_json::from_str(&again.text)?;
            assert_eq!((again.code, &told["verified"], &told["exitCode"]), (0, &json!(true), &json!(0)));
            assert_eq!(verified(&status(scene).await?), first, "a second run changes nothing");
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn a_component_that_is_behind_is_not_verified_and_nothing_is_marked() -> Result<()> {
    scenario("behind", async |scene| {
        scene.install("2.2.0").await?;
        scene.upgrade(API, "2.3.0").await?;
        let ended = scene.verify(&quick(&["--to", "2.3.0"]), &[]).await?;
        insta::assert_snapshot!(ended.text);
        assert_eq!(ended.code, 4);
        assert!(verified(&status(scene).await?).iter().all(|(.., at)| at.is_none()));
        // It is all that its workloads ask for, and it need not be written down.
        assert_eq!(scene.verify(&quick(&["--no-record"]), &[]).await?.code, 0);
        assert!(verified(&status(scene).await?).iter().all(|(.., at)| at.is_none()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_held_workload_is_waited_for() -> Result<()> {
    scenario_under(
        "held",
        |policy| policy["spec"]["onNotYet"] = json!("Hold"),
        async |scene| {
            scene.install("2.2.0").await?;
            scene.passes(&set(GATEWAY, "2.3.0")).await?;
            let ended = scene.verify(QUICK, &[]).await?;
            insta::assert_snapshot!(ended.text);
            assert_eq!(ended.code, 4);

            let mut waiting = scene.start("verify", &quick(&["--wait"]), &[])?;
            waiting.says("its rollout to 2.3.0 is held").await?;
            scene.passes(&set(API, "2.3.0")).await?;
            let ended = waiting.end().await?;
            assert_eq!(ended.code, 0, "{}", ended.text);
            assert!(ended.text.contains("running 2.3.0 (2/2 pods)"), "{}", ended.text);
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn a_rollout_that_stands_still_is_told_at_the_deadline() -> Result<()> {
    scenario("stuck", async |scene| {
        scene.install("2.2.0").await?;
        scene.passes(&set_held("deployments", API, "2.3.0")).await?;
        scene.halted(API, 1, 1).await?;
        let ended =
            scene.verify(&quick(&["--wait", "--timeout", "1s", "--to", "control-plane-api=2.3.0"]), &[]).await?;
        insta::assert_snapshot!(ended.text);
        assert_eq!(ended.code, 4);

        // The pod goes on, and so does who waits for it.
        let mut waiting = scene.start("verify", &quick(&["--wait", "--to", "control-plane-api=2.3.0"]), &[])?;
        waiting.says("control-plane-api (version)").await?;
        let released = json!({"spec": {"template": {"metadata": {"labels": {NEVER_READY: null}}}}});
        scene.passes(&Ask::new(Verb::StrategicPatch, format!("deployments/{API}"), released)).await?;
        assert_eq!(waiting.end().await?.code, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pods_that_fall_are_not_well() -> Result<()> {
    scenario("falling", async |scene| {
        scene.install("2.2.0").await?;
        let (pods, pod) = pod_of(scene, UI).await?;
        restarted(&pods, &pod, 7, Some("CrashLoopBackOff")).await?;
        let ended = scene.verify(QUICK, &[]).await?;
        insta::assert_snapshot!("crash_loop", ended.text);
        assert_eq!(ended.code, 2);

        // Not in a loop yet, but on the way: it is restarted again and again while it is watched.
        restarted(&pods, &pod, 7, None).await?;
        assert_eq!(scene.verify(QUICK, &[]).await?.code, 0, "restarts of long ago are none of its business");
        let watching = scene.verify(&["--settle", "1s"], &[]);
        let falling = async {
            for count in 8.. {
                restarted(&pods, &pod, count, None).await?;
            }
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = watching => ended?,
            failed = falling => return failed,
        };
        assert_eq!(ended.code, 2, "{}", ended.text);
        let row = ended.text.lines().find(|line| line.contains(UI) && line.contains("restarts"));
        assert!(row.is_some_and(|row| row.contains("NO")), "{}", ended.text);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_schema_is_the_one_of_the_release() -> Result<()> {
    let Some(database) = Postgres::start(None).await? else { return Ok(()) };
    let noted = "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('a1')";
    database.database("stoa", noted).await?;
    scenario("schema", async |scene| {
        scene.install("2.3.0").await?;
        scene.releases().await?;
        let release = format!("{}-07", scene.namespace);
        let args = quick(&["--release", &release]);
        let ended = scene.verify(&args, &[]).await?;
        insta::assert_snapshot!(ended.text);
        assert_eq!(ended.code, 1, "what nobody looked at is not fine");
        let skipped = quick(&["--release", &release, "--skip-schema"]);
        assert_eq!(scene.verify(&skipped, &[]).await?.code, 0);

        let url = database.url("stoa", "");
        let environment = [("STOA_DATABASE", url.as_str())];
        let args: Vec<&str> = args.into_iter().chain(["--database-url-env", "STOA_DATABASE"]).collect();
        let ended = scene.verify(&args, &environment).await?;
        assert_eq!(ended.code, 4);
        assert!(ended.text.contains("wanted b2: the database is at a1"), "{}", ended.text);
        database.sql("stoa", "UPDATE alembic_version SET version_num = 'b2'").await?;
        assert_eq!(scene.verify(&args, &environment).await?.code, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_prepared_for_is_what_is_verified() -> Result<()> {
    scenario("prepared", async |scene| {
        scene.install("2.2.0").await?;
        let platforms: Api<Platform> = Api::namespaced(scene.client.clone(), &scene.namespace);
        wait_for(&platforms, &scene.namespace, "the guard to look", |platform| platform.status.is_some()).await?;
        let components = [API, GATEWAY, UI, PORTAL].map(|name| json!({"name": name, "version": "2.3.0"}));
        let prepared = json!([{
            "target": "2.3.0", "outcome": "Prepared", "started": "2026-07-17T10:00:00Z",
            "components": components,
        }]);
        let patch = Patch::Merge(json!({"status": {"preparations": prepared}}));
        platforms.patch_status(&scene.namespace, &PatchParams::default(), &patch).await?;
        let ended = scene.verify(QUICK, &[]).await?;
        assert_eq!(ended.code, 4, "{}", ended.text);
        for component in [API, GATEWAY, UI, PORTAL] {
            scene.upgrade(component, "2.3.0").await?;
        }
        let ended = scene.verify(&quick(&["--wait"]), &[("HOSTNAME", "verify-job")]).await?;
        assert_eq!(ended.code, 0, "{}", ended.text);
        let verified = status(scene).await?.preparations.remove(0).verified.context("marked")?;
        assert_eq!(verified.message, "verified: all 16 checks hold");
        assert!(verified.by.is_some_and(|by| by.ends_with("(verify-job)")));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_asked_is_neither_well_nor_wrong() -> Result<()> {
    scenario("unasked", async |scene| {
        for (args, expected) in [
            (["--policy", "nobody"], "there is no UpgradePolicy nobody in the cluster"),
            (["--release", "2026.13"], "has no PlatformRelease 2026.13"),
            (["--without", "nothing"], "has no component nothing"),
        ] {
            let ended = scene.verify(&quick(&args), &[]).await?;
            assert_eq!(ended.code, 1, "{}", ended.text);
            assert!(ended.text.contains(expected), "{}", ended.text);
        }
        Ok(())
    })
    .await
}
