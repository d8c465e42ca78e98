use hyper::http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::api::UpgradePolicy;
use crate::report::News;

/// An API server that answers `objects` by the path of their request, and 404 to everything else.
fn client(objects: Vec<(&'static str, u16, Value)>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let known = objects.iter().find(|(known, ..)| *known == path);
        let (code, body) = known.map_or_else(
            || (404, status(404, "NotFound", "the server could not find the requested resource")),
            |(_, code, body)| (*code, body.clone()),
        );
        let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&body).unwrap())).unwrap();
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    Client::new(service, "default")
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code, "message": message})
}

fn list(items: &Value) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
}

fn policy(preconditions: &Value) -> UpgradePolicy {
    serde_json::from_value(json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "UpgradePolicy",
        "metadata": {"name": "shop"},
        "spec": {
            "namespaces": ["shop"],
            "components": [{"name": "api", "match": {"names": ["api"]}}],
            "preconditions": preconditions,
        },
    }))
    .unwrap()
}

async fn evaluated(client: &Client, preconditions: &Value, run: RunStale) -> (Vec<Found>, Vec<News>) {
    let policy = policy(preconditions);
    let read = Policy::try_from(&policy).unwrap();
    let install = Where { namespace: "shop", policy: &read, spec: &policy.spec.preconditions };
    let mut news: Vec<News> = Vec::new();
    let now = || "2026-07-17T12:00:00Z".parse().unwrap();
    let found = evaluate(client, &install, now, run, &mut news).await;
    (found, news)
}

fn cron_job(name: &str, last: Option<&str>) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": name, "namespace": "shop", "uid": name},
        "spec": {"schedule": "0 2 * * *", "jobTemplate": {"spec": {"template": {"spec": {}}}}},
        "status": {"lastSuccessfulTime": last},
    })
}

fn of_kind(name: &str, kind: &str, spec: Value) -> Value {
    let mut precondition = json!({"name": name});
    precondition[kind] = spec;
    precondition
}

#[tokio::test]
async fn all_are_told_and_not_only_the_first_that_fails() {
    let jobs = "/apis/batch/v1/namespaces/shop/jobs";
    let forbidden =
        status(403, "Forbidden", "backups.velero.io is forbidden: User \"x\" cannot list resource \"backups\"");
    let mut missing = status(404, "NotFound", "jobs.batch \"realm-export\" not found");
    missing["details"] = json!({"name": "realm-export", "group": "batch", "kind": "jobs"});
    let apps = |plural: &'static str, items| (plural, 200, list(items));
    let client = client(vec![
        ("/apis/batch/v1/namespaces/shop/cronjobs/pg-backup", 200, cron_job("pg-backup", Some("2026-07-17T02:10:00Z"))),
        ("/apis/batch/v1/namespaces/shop/cronjobs/old", 200, cron_job("old", Some("2026-07-15T02:10:00Z"))),
        ("/apis/batch/v1/namespaces/shop/cronjobs/stale", 200, cron_job("stale", None)),
        (jobs, 200, list(&json!([]))),
        ("/apis/batch/v1/namespaces/shop/jobs/realm-export", 404, missing),
        ("/apis/velero.io/v1/namespaces/velero/backups", 403, forbidden),
        ("/apis/postgresql.cnpg.io/v1/namespaces/shop/clusters/pg", 500, status(500, "InternalError", "etcd is down")),
        (
            "/apis/postgresql.cnpg.io/v1/namespaces/shop/backups",
            200,
            list(&json!([
                {"metadata": {"name": "a", "creationTimestamp": "2026-07-17T09:00:00Z"}, "spec": {"cluster": {"name": "pg"}},
                 "status": {"phase": "failed", "error": "no space"}},
                {"metadata": {"name": "b", "creationTimestamp": "2026-07-17T06:00:00Z"}, "spec": {"cluster": {"name": "pg"}},
                 "status": {"phase": "completed", "stoppedAt": "2026-07-17T07:00:00Z"}},
                {"metadata": {"name": "c"}, "spec": {"cluster": {"name": "other"}},
                 "status": {"phase": "completed", "stoppedAt": "2026-07-17T11:00:00Z"}},
            ])),
        ),
        apps(
            "/apis/apps/v1/namespaces/shop/deployments",
            &json!([{
                "metadata": {"name": "api"},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "api"}},
                         "template": {"spec": {"containers": [{"name": "api", "image": "api:1"}]}}},
            }]),
        ),
        apps("/apis/apps/v1/namespaces/shop/statefulsets", &json!([])),
        apps("/apis/apps/v1/namespaces/shop/daemonsets", &json!([])),
        (
            "/api/v1/namespaces/shop/pods",
            200,
            list(&json!([{
                "metadata": {"name": "api-x7k2p", "labels": {"app": "api"}},
                "status": {"phase": "Running", "containerStatuses": [
                    {"name": "api", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            }])),
        ),
    ]);
    let preconditions = json!([
        of_kind("database-backup", "cronJob", json!({"name": "pg-backup", "maxAge": "26h"})),
        of_kind("old-backup", "cronJob", json!({"name": "old", "maxAge": "26h"})),
        of_kind("stale-backup", "cronJob", json!({"name": "stale", "maxAge": "26h", "runIfStale": true})),
        of_kind("realm", "job", json!({"name": "realm-export"})),
        of_kind("exports", "job", json!({"selector": {"app": "export"}})),
        of_kind("velero", "veleroBackup", json!({"maxAge": "24h"})),
        of_kind("snapshot", "volumeSnapshot", json!({"claim": "data", "maxAge": "24h"})),
        of_kind("backup", "cnpgBackup", json!({"cluster": "pg", "maxAge": "24h"})),
        of_kind("archive", "cnpgCluster", json!({"name": "pg"})),
        of_kind(
            "thing",
            "object",
            json!({"apiVersion": "example.dev/v1", "kind": "Thing", "name": "x", "ready": "true"})
        ),
        of_kind("well", "health", json!({})),
    ]);
    let (found, news) = evaluated(&client, &preconditions, RunStale::No).await;
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    let all: Vec<&str> = preconditions.as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap()).collect();
    assert_eq!(names, all);
    let held: Vec<&str> = found.iter().filter(|found| found.held).map(|found| found.name.as_str()).collect();
    assert_eq!(held, ["database-backup", "backup"]);
    assert!(found.iter().all(|found| !found.message.contains("api-x7k2p")), "no pod's name is recorded");
    let text: Vec<String> = news.iter().map(|news| format!("{:?} {}", news.stage, news.message)).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[tokio::test]
async fn a_message_fits_where_it_is_recorded() {
    let long = "x".repeat(5000);
    let job = json!({"metadata": {"name": "j"}, "status": {"conditions": [
        {"type": "Failed", "status": "True", "message": format!("first\nsecond {long}")}]}});
    let client = client(vec![("/apis/batch/v1/namespaces/shop/jobs/j", 200, job)]);
    let preconditions = json!([of_kind("export", "job", json!({"name": "j"}))]);
    let (found, _) = evaluated(&client, &preconditions, RunStale::Yes).await;
    assert!(!found[0].held && found[0].message.starts_with("Job j failed (first second xxx"), "{}", found[0].message);
    assert_eq!(found[0].message.chars().count(), LONGEST);
}
