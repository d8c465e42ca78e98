use super::*;

fn cron_job(status: &Value) -> Value {
    json!({
        "metadata": {"name": "pg-backup", "uid": "c1"},
        "spec": {
            "schedule": "0 2 * * *",
            "jobTemplate": {
                "metadata": {"labels": {"app": "backup"}, "annotations": {"a": "b"}},
                "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never"}}},
            },
        },
        "status": status,
    })
}

fn job(name: &str, condition: Option<&str>, at: &str) -> Value {
    let mut status = json!({"active": 1});
    if let Some(kind) = condition {
        let at = format!("2026-07-17T{at}Z");
        status = json!({"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at}]});
        if kind == "Complete" {
            status["completionTime"] = json!(at);
        }
    }
    let owners = json!([{"kind": "CronJob", "name": "pg-backup", "uid": "c1"}]);
    json!({"metadata": {"name": name, "uid": name, "ownerReferences": owners}, "status": status})
}

#[test]
fn only_a_success_a_short_time_ago_is_evidence() {
    let (now, limit) = ("2026-07-17T12:00:00Z".parse().unwrap(), Limit::read("24h").unwrap());
    let at = |time: &str| cron_job(&json!({"lastSuccessfulTime": time, "lastScheduleTime": "2026-07-17T11:00:00Z"}));
    let fresh = Ok("CronJob pg-backup last succeeded: 3 h old, at most 24 h".to_owned());
    let stale = |text: &str| Err(NotFresh::Stale(text.to_owned()));
    let off = |text: &str| Err(NotFresh::Off(text.to_owned()));
    let failed = "did not succeed: its last Job b failed (BackoffLimitExceeded)";
    let mut suspended = at("2026-07-17T09:00:00Z");
    suspended["spec"]["suspend"] = json!(true);
    let mut going = at("2026-07-17T09:00:00Z");
    going["metadata"]["deletionTimestamp"] = json!("2026-07-17T11:00:00Z");
    let mut of_another = job("b", Some("Failed"), "11:00:00");
    of_another["metadata"]["ownerReferences"][0]["uid"] = json!("c2");
    for (cron_job, jobs, expected) in [
        (at("2026-07-17T09:00:00Z"), vec![], fresh.clone()),
        (at("2026-07-16T06:00:00Z"), vec![], stale("last succeeded: 31 h old, at most 24 h")),
        // A schedule is no success.
        (cron_job(&json!({"lastScheduleTime": "2026-07-17T11:00:00Z"})), vec![], stale("never succeeded")),
        (cron_job(&Value::Null), vec![], stale("never succeeded")),
        (suspended, vec![], off("is suspended: set spec.suspend to false")),
        (going, vec![], off("is being deleted")),
        (at("2026-07-17T09:00:00Z"), vec![job("b", Some("Failed"), "11:00:00")], stale(failed)),
        // A failure before the last success is over.
        (at("2026-07-17T09:00:00Z"), vec![job("b", Some("Failed"), "08:00:00")], fresh.clone()),
        (
            at("2026-07-16T09:00:00Z"),
            vec![job("a", Some("Complete"), "09:00:00"), job("b", Some("Failed"), "08:00:00")],
            fresh.clone(),
        ),
        // One that runs says nothing yet.
        (at("2026-07-17T09:00:00Z"), vec![job("b", None, "")], fresh.clone()),
        (at("2026-07-17T09:00:00Z"), vec![of_another], fresh.clone()),
        // The CronJob's own count comes a moment later than the Job's end.
        (cron_job(&Value::Null), vec![job("a", Some("Complete"), "09:00:00")], fresh),
        (
            cron_job(&Value::Null),
            vec![job("a", Some("Complete"), "09:00:00"), job("b", Some("Failed"), "10:00:00")],
            stale(failed),
        ),
    ] {
        let own: Vec<&Value> = jobs.iter().filter(|job| is_of(job, &cron_job)).collect();
        let found = judge(&cron_job, &own, &limit, now).map(|proof| proof.message);
        assert_eq!(found, expected, "{cron_job} {jobs:?}");
    }
}

#[test]
fn the_job_is_named_by_what_has_ended() {
    let (never, other) = (cron_job(&Value::Null), cron_job(&json!({"lastSuccessfulTime": "2026-07-16T06:00:00Z"})));
    let (failed, running) = (job("b", Some("Failed"), "11:00:00"), job("c", None, ""));
    let name = |cron_job: &Value, jobs: &[&Value]| fresh(cron_job, jobs).metadata.name.unwrap();
    let first = name(&never, &[]);
    assert_eq!(first.len(), "pg-backup-g".len() + 8, "{first}");
    assert_eq!(name(&never, &[&running]), first, "what runs changes nothing");
    assert_ne!(name(&never, &[&failed]), first, "after a failure there is another");
    assert_ne!(name(&other, &[]), first, "after a success there is another");
    assert_eq!(running_name(&[&failed, &running]).as_deref(), Some("c"));
    assert_eq!(running_name(&[&failed]), None);
}

fn running_name(jobs: &[&Value]) -> Option<String> {
    running(jobs).map(|job| name(job).to_owned())
}

#[test]
fn the_job_is_the_one_that_kubectl_would_make() {
    let job = serde_json::to_value(fresh(&cron_job(&Value::Null), &[])).unwrap();
    insta::assert_json_snapshot!(job);
}
