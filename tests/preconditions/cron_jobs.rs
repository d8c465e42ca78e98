//! `CronJob`s that are fresh, stale or suspended, and the Jobs that the hook starts from stale ones.

use anyhow::Result;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use upgrade_guard::hook::preconditions::RunStale;
use upgrade_guard::report::Stage;

use crate::scene::{Scene, ago, of};
use crate::support::wait::{wait_for, wait_for_all};

const NEVER_READY: &str = "test.guard.gostoa.dev/never-ready";
const EXIT_CODE: &str = "test.guard.gostoa.dev/exit-code";

/// A `CronJob` whose schedule does not come during a test, and whose pods have these labels.
fn cron_job(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {
            "schedule": "0 0 29 2 *", "concurrencyPolicy": "Forbid",
            // One is kept by default.
            "failedJobsHistoryLimit": 9,
            "jobTemplate": {
                "metadata": {"labels": {"app": name}},
                "spec": {"backoffLimit": 0, "template": {
                    "metadata": {"labels": labels},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "backup", "image": "backup:1"}]},
                }},
            },
        },
    })
}

impl Scene {
    async fn succeeded(&self, name: &str, age: &str) -> Result<()> {
        let status = json!({"status": {"lastSuccessfulTime": ago(age)}}).to_string();
        self.kubectl(&["patch", "cronjob", name, "--subresource=status", "--type=merge", "-p", &status], "")
            .await
            .map(drop)
    }

    async fn jobs(&self) -> Result<Vec<String>> {
        let jobs = self.namespace.api::<Job>().list(&ListParams::default()).await?;
        Ok(jobs.iter().map(kube::ResourceExt::name_any).collect())
    }

    /// Lets the pods go on that never become ready.
    async fn let_go(&self) -> Result<()> {
        let label = format!("{NEVER_READY}-");
        self.kubectl(&["label", "pods", "--all", &label], "").await.map(drop)
    }
}

/// Text without the names of the Jobs that the hook makes.
fn unnamed(text: &str) -> String {
    let name = regex::Regex::new(r"-g[0-9a-f]{8}").unwrap();
    let wait = regex::Regex::new(r"\(\d+ s of").unwrap();
    wait.replace_all(&name.replace_all(text, "-gHASH"), "(N s of").into_owned()
}

fn run_if_stale(name: &str) -> Value {
    json!([of("backup", "cronJob", json!({"name": name, "maxAge": "24h", "runIfStale": true, "timeout": "2m"}))])
}

#[tokio::test]
async fn fresh_stale_suspended_and_missing() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    for (name, age) in [("fresh", Some("2h30m")), ("stale", Some("30h30m")), ("never", None), ("off", Some("1h30m"))] {
        scene.apply(&cron_job(name, &json!({}))).await?;
        if let Some(age) = age {
            scene.succeeded(name, age).await?;
        }
    }
    scene.kubectl(&["patch", "cronjob", "off", "-p", r#"{"spec": {"suspend": true}}"#], "").await?;
    let names = ["fresh", "stale", "never", "off", "missing"];
    let all = |run: bool| {
        let spec = |name| json!({"name": name, "maxAge": "24h", "runIfStale": run});
        Value::Array(names.iter().map(|name| of(name, "cronJob", spec(*name))).collect())
    };
    let told = scene.found(&all(false), RunStale::Yes).await?;
    let dry = scene.found(&all(true), RunStale::No).await?;
    assert_eq!(scene.jobs().await?, Vec::<String>::new());
    insta::assert_snapshot!(format!("{told}\n\nwith runIfStale, dry\n{dry}"));
    Ok(())
}

#[tokio::test]
async fn a_stale_one_is_run_and_then_it_is_fresh() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    scene.apply(&cron_job("pg-backup", &json!({}))).await?;
    scene.succeeded("pg-backup", "30h30m").await?;
    let (found, news) = scene.evaluated(&scene.client, &run_if_stale("pg-backup"), RunStale::Yes).await?;
    assert!(found[0].held && found[0].observed.is_some(), "{found:?}");
    let told: Vec<&str> =
        news.iter().filter(|news| !news.message.contains("waits for")).map(|news| news.message.as_str()).collect();
    insta::assert_snapshot!(unnamed(&told.join("\n")).replace(&scene.namespace.name, "NAMESPACE"));
    let made = scene.jobs().await?;
    assert_eq!(made.len(), 1);
    let job = scene.namespace.api::<Job>().get(&made[0]).await?;
    assert_eq!(job.annotations()["cronjob.kubernetes.io/instantiate"], "manual");
    assert_eq!(job.labels()["app"], "pg-backup");
    // The CronJob counts it as its own success, as it does with one that kubectl makes.
    let completed = job.status.and_then(|status| status.completion_time);
    wait_for(&scene.namespace.api::<CronJob>(), "pg-backup", "the success to be counted", |found| {
        found.status.as_ref().is_some_and(|status| status.last_successful_time == completed)
    })
    .await?;
    let again = scene.found(&run_if_stale("pg-backup"), RunStale::Yes).await?;
    assert_eq!(again, "backup holds: CronJob pg-backup last succeeded: less than 1 h old, at most 24 h");
    assert_eq!(scene.jobs().await?, made);
    Ok(())
}

#[tokio::test]
async fn two_hooks_at_once_start_one_job() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    scene.apply(&cron_job("pg-backup", &json!({}))).await?;
    let wanted = run_if_stale("pg-backup");
    let (one, other) = (scene.cluster.client().await?, scene.cluster.client().await?);
    let (first, second) = tokio::try_join!(
        scene.evaluated(&one, &wanted, RunStale::Yes),
        scene.evaluated(&other, &wanted, RunStale::Yes),
    )?;
    assert!(first.0[0].held && second.0[0].held, "{:?} {:?}", first.0, second.0);
    assert_eq!(scene.jobs().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_hook_that_was_killed_finds_its_job_again() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    scene.apply(&cron_job("pg-backup", &json!({NEVER_READY: "true"}))).await?;
    let wanted = run_if_stale("pg-backup");
    let pods = scene.namespace.api::<Pod>();
    let runs = |pods: &[Pod]| {
        pods.iter().any(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running")))
    };
    // Dropped while it waits, as a killed process is.
    tokio::select! {
        ended = scene.evaluated(&scene.client, &wanted, RunStale::Yes) => panic!("it did not wait: {ended:?}"),
        running = wait_for_all(&pods, "", "the Job's pod", runs) => drop(running?),
    }
    let made = scene.jobs().await?;
    assert_eq!(made.len(), 1);
    let dry = scene.found(&wanted, RunStale::No).await?;
    assert_eq!(
        dry,
        "backup does not hold: CronJob pg-backup never succeeded; would wait for its Job that runs, for 2 min at most"
    );
    let going_on = async {
        let found = scene.evaluated(&scene.client, &wanted, RunStale::Yes);
        tokio::try_join!(found, scene.let_go())
    };
    let ((found, news), ()) = going_on.await?;
    assert_eq!(
        unnamed(&scene.told(&found)),
        "backup holds: CronJob pg-backup: its Job pg-backup-gHASH, which ran already, completed: less than 1 h old, at most 24 h"
    );
    assert!(
        news.iter().any(|news| news.stage == Stage::Progress && news.message.contains("waits for Job")),
        "{news:?}"
    );
    assert_eq!(scene.jobs().await?, made);
    Ok(())
}

#[tokio::test]
async fn a_job_that_fails_or_takes_too_long_is_no_evidence() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    scene.apply(&cron_job("fails", &json!({EXIT_CODE: "5"}))).await?;
    scene.apply(&cron_job("hangs", &json!({NEVER_READY: "true"}))).await?;
    scene.succeeded("fails", "30h30m").await?;
    let spec =
        |name: &str, timeout: &str| json!({"name": name, "maxAge": "24h", "runIfStale": true, "timeout": timeout});
    let both = json!([of("fails", "cronJob", spec("fails", "2m")), of("hangs", "cronJob", spec("hangs", "3s"))]);
    let first = unnamed(&scene.found(&both, RunStale::Yes).await?);
    assert_eq!(scene.jobs().await?.len(), 2);
    // What failed is tried again by another Job; what hangs is waited for again.
    let told = unnamed(&scene.found(&both, RunStale::No).await?);
    scene.found(&both, RunStale::Yes).await?;
    assert_eq!(scene.jobs().await?.iter().filter(|name| name.starts_with("fails")).count(), 2);
    assert_eq!(scene.jobs().await?.len(), 3);
    let may = json!([
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]},
    ]);
    let (found, _) = scene.evaluated(&scene.restricted(&may).await?, &both, RunStale::Yes).await?;
    let forbidden = unnamed(&scene.told(&found[..1]));
    insta::assert_snapshot!(format!("{first}\n\nagain, dry\n{told}\n\nwithout the right to create\n{forbidden}"));
    Ok(())
}
