//! A `Job` that is complete, and what is read of Jobs elsewhere. Source: `JobStatus` of `batch/v1`: one of the
//! conditions `Complete` and `Failed` is true when it has ended, and `completionTime` is set only by a success.

use jiff::Timestamp;
use serde_json::Value;

use super::age::Limit;
use super::fields::{because, condition, count, created, is_true, name, stays, time};
use super::proof::{Candidate, Proof, newest};
use super::read::{Kind, Reader};
use crate::api::JobSpec;

pub(super) fn kind() -> Kind {
    Kind::new("batch/v1", "Job", "jobs", None)
}

pub(super) async fn look(reader: &Reader<'_>, spec: &JobSpec, now: Timestamp) -> Result<Proof, String> {
    let limit = spec.max_age.as_deref().map(Limit::read).transpose()?;
    let namespace = reader.namespace(spec.namespace.as_deref());
    let jobs = match &spec.name {
        Some(name) => vec![reader.get(&kind(), namespace, name).await?],
        None => reader.list(&kind(), namespace, &spec.selector).await?,
    };
    let labels: Vec<String> = spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let what = format!("Job with {} in namespace {namespace}", labels.join(","));
    let candidate =
        |job| Candidate { name: name(job).to_owned(), made: created(job), judged: judge(job, limit.as_ref(), now) };
    newest(&what, jobs.iter().map(candidate).collect())
}

fn judge(job: &Value, limit: Option<&Limit>, now: Timestamp) -> Result<Proof, String> {
    stays(job)?;
    let at = match ended(job) {
        Some(Ok(at)) => at,
        Some(Err(reason)) => return Err(reason),
        None => return Err(format!("has not ended: {}", progress(job))),
    };
    match limit.map(|limit| limit.check(at, now)).transpose() {
        Ok(None) => Ok(Proof { at: Some(at), message: "is complete".to_owned() }),
        Ok(Some(age)) => Ok(Proof { at: Some(at), message: format!("is complete and {age}") }),
        Err(age) => Err(format!("is complete, but {age}")),
    }
}

/// When a Job completed, or how it failed; `None` while it has not ended.
pub(super) fn ended(job: &Value) -> Option<Result<Timestamp, String>> {
    if let Some(failed) = condition(job, "Failed").filter(|_| is_true(job, "Failed")) {
        return Some(Err(format!("failed{}", because(failed))));
    }
    let complete = condition(job, "Complete").filter(|_| is_true(job, "Complete"))?;
    let at = time(job, "/status/completionTime").or_else(|| time(complete, "/lastTransitionTime"));
    Some(at.ok_or_else(|| "is complete, but does not say since when".to_owned()))
}

/// When a Job ended, either way.
pub(super) fn end(job: &Value) -> Option<Timestamp> {
    let failed = || condition(job, "Failed").and_then(|failed| time(failed, "/lastTransitionTime"));
    ended(job)?.ok().or_else(failed).or_else(|| created(job))
}

/// What a Job that has not ended does.
pub(super) fn progress(job: &Value) -> String {
    if job.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return "it is suspended".to_owned();
    }
    let [active, failed] = ["/status/active", "/status/failed"].map(|field| count(job, field));
    format!("{active} active, {failed} failed pods")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_complete_job_is_evidence() {
        let now = "2026-07-17T12:00:00Z".parse().unwrap();
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "BackoffLimitExceeded"});
        let complete = json!({"status": {
            "conditions": [condition("SuccessCriteriaMet", "True"), {"type": "Complete", "status": "True"}],
            "completionTime": "2026-07-17T10:30:00Z", "succeeded": 1,
        }});
        let with = |pointer: &str, value: Value| {
            let mut job = complete.clone();
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            job.pointer_mut(parent).unwrap()[last] = value;
            job
        };
        for (job, max_age, expected) in [
            (complete.clone(), None, Ok("is complete")),
            (complete.clone(), Some("24h"), Ok("is complete and 1 h old, at most 24 h")),
            (complete.clone(), Some("1h"), Err("is complete, but 91 min old, at most 60 min")),
            (with("/metadata", json!({"deletionTimestamp": "2026-07-17T11:00:00Z"})), None, Err("is being deleted")),
            // A pod that succeeded is no Job that did.
            (with("/status/conditions", json!([])), None, Err("has not ended: 0 active, 0 failed pods")),
            (
                with("/status/conditions", json!([condition("SuccessCriteriaMet", "True")])),
                None,
                Err("has not ended: 0 active, 0 failed pods"),
            ),
            (
                with("/status/conditions", json!([condition("Complete", "False")])),
                None,
                Err("has not ended: 0 active, 0 failed pods"),
            ),
            (
                with("/status/conditions", json!([condition("Failed", "True")])),
                None,
                Err("failed (BackoffLimitExceeded)"),
            ),
            (with("/status/completionTime", Value::Null), Some("24h"), Err("is complete, but does not say since when")),
            (json!({"spec": {"suspend": true}, "status": {}}), None, Err("has not ended: it is suspended")),
            (json!({"status": {"active": 1, "failed": 2}}), None, Err("has not ended: 1 active, 2 failed pods")),
            (json!({}), None, Err("has not ended: 0 active, 0 failed pods")),
        ] {
            let limit = max_age.map(|text| Limit::read(text).unwrap());
            let found = judge(&job, limit.as_ref(), now).map(|proof| proof.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{job}");
        }
    }
}
