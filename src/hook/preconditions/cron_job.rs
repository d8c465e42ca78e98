//! A `CronJob` that last succeeded a short time ago, and the Job that the hook starts from one that did not.
//!
//! Source: `CronJobStatus` of `batch/v1`. That a schedule exists is no evidence: only `lastSuccessfulTime`, or a Job of
//! it that is complete, is. The Job is the one that `kubectl create job --from` would make.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::Looked;
use super::age::Limit;
use super::fields::{created, items, name, stays, text, time};
use super::job::{end, ended, kind as job_kind, progress};
use super::proof::Proof;
use super::read::{Kind, Reader, Unread};
use crate::api::{CronJobSpec, duration};

/// How long a Job may take unless a policy says otherwise.
const PATIENCE: Duration = Duration::from_mins(30);
/// The time between two looks at a Job that runs.
const BETWEEN: Duration = Duration::from_secs(1);
/// The time after which a wait is told again though nothing has changed.
const TOLD_AGAIN: Duration = Duration::from_secs(15);

fn kind() -> Kind {
    Kind::new("batch/v1", "CronJob", "cronjobs", None)
}

/// What has to be started, or waited for, so that a `CronJob` is fresh.
pub(super) struct Start {
    namespace: String,
    cron_job: String,
    /// The Job to make; only a name when one of the `CronJob` runs already.
    job: Result<Box<DynamicObject>, String>,
    limit: Limit,
    patience: Duration,
}

pub(super) async fn look(reader: &Reader<'_>, spec: &CronJobSpec, now: Timestamp) -> Looked {
    let limit = match Limit::read(&spec.max_age) {
        Ok(limit) => limit,
        Err(message) => return Looked::At(Err(message)),
    };
    let namespace = reader.namespace(spec.namespace.as_deref());
    let read = async {
        let cron_job = reader.get(&kind(), namespace, &spec.name).await?;
        Ok::<_, Unread>((cron_job, reader.list(&job_kind(), namespace, &[].into()).await?))
    };
    let (cron_job, jobs) = match read.await {
        Ok(read) => read,
        Err(unread) => return Looked::At(Err(unread.into())),
    };
    let jobs: Vec<&Value> = jobs.iter().filter(|job| is_of(job, &cron_job)).collect();
    let reason = match judge(&cron_job, &jobs, &limit, now) {
        Ok(proof) => return Looked::At(Ok(proof)),
        Err(NotFresh::Off(reason)) => return Looked::At(Err(format!("CronJob {} {reason}", spec.name))),
        Err(NotFresh::Stale(reason)) => format!("CronJob {} {reason}", spec.name),
    };
    if !spec.run_if_stale {
        let command = format!("kubectl create job -n {namespace} --from=cronjob/{0} {0}-by-hand", spec.name);
        return Looked::At(Err(format!("{reason}; start a fresh run: {command}")));
    }
    let patience = spec.timeout.as_deref().and_then(|text| duration(text).ok()?.try_into().ok()).unwrap_or(PATIENCE);
    let job = running(&jobs).map_or_else(|| Ok(Box::new(fresh(&cron_job, &jobs))), |job| Err(name(job).to_owned()));
    let start = Start { namespace: namespace.to_owned(), cron_job: spec.name.clone(), job, limit, patience };
    Looked::Stale(reason, Box::new(start))
}

/// Why a `CronJob` is no evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NotFresh {
    /// It is out of use.
    Off(String),
    /// It ran too long ago, or failed.
    Stale(String),
}

/// Whether a `CronJob` with these Jobs is evidence.
fn judge(cron_job: &Value, jobs: &[&Value], limit: &Limit, now: Timestamp) -> Result<Proof, NotFresh> {
    stays(cron_job).map_err(NotFresh::Off)?;
    if cron_job.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Err(NotFresh::Off("is suspended: set spec.suspend to false".to_owned()));
    }
    let completed = jobs.iter().filter_map(|job| ended(job)?.ok());
    let last = completed.chain(time(cron_job, "/status/lastSuccessfulTime")).max();
    if let Some((job, Err(failure))) = newest_ended(jobs).and_then(|job| Some((job, ended(job)?)))
        && end(job) >= last
    {
        return Err(NotFresh::Stale(format!("did not succeed: its last Job {} {failure}", name(job))));
    }
    let Some(at) = last else { return Err(NotFresh::Stale("never succeeded".to_owned())) };
    let success = |age| format!("last succeeded: {age}");
    let age = limit.check(at, now).map_err(|age| NotFresh::Stale(success(age)))?;
    Ok(Proof { at: Some(at), message: format!("CronJob {} {}", name(cron_job), success(age)) })
}

fn is_of(job: &Value, cron_job: &Value) -> bool {
    let uid = text(cron_job, "/metadata/uid");
    uid.is_some() && items(job, "/metadata/ownerReferences").any(|owner| text(owner, "/uid") == uid)
}

fn newest_ended<'a>(jobs: &[&'a Value]) -> Option<&'a Value> {
    jobs.iter().copied().filter(|job| ended(job).is_some()).max_by_key(|job| (end(job), name(job)))
}

/// The newest Job that has not ended: a second one beside it would only be in its way, whatever the policy for
/// concurrency is.
fn running<'a>(jobs: &[&'a Value]) -> Option<&'a Value> {
    let runs = |job: &&Value| ended(job).is_none() && stays(job).is_ok();
    jobs.iter().copied().filter(runs).max_by_key(|job| (created(job), name(job)))
}

/// A Job from the template of a `CronJob`. Its name is made of what is known to have ended: until something new ends,
/// every run of the hook means the same Job, and only one of them makes it.
fn fresh(cron_job: &Value, jobs: &[&Value]) -> DynamicObject {
    let [uid, last] = ["/metadata/uid", "/status/lastSuccessfulTime"].map(|field| text(cron_job, field).unwrap_or("-"));
    let ended = newest_ended(jobs).and_then(|job| text(job, "/metadata/uid")).unwrap_or("-");
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{uid} {last} {ended}").as_bytes());
    let hash = digest.as_ref().iter().take(4).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    // A letter, because the Jobs of the schedule are named by digits.
    let name = format!("{}-g{hash}", name(cron_job));
    let template = cron_job.pointer("/spec/jobTemplate").cloned().unwrap_or_default();
    let mut annotations = template.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({}));
    annotations["cronjob.kubernetes.io/instantiate"] = json!("manual");
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": template.pointer("/metadata/labels"),
            "annotations": annotations,
            // As kubectl does: it is the CronJob's, which counts its success and tidies it up.
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
                "name": cron_job.pointer("/metadata/name"), "uid": uid,
            }],
        },
        "spec": template.pointer("/spec"),
    });
    // It is an object with metadata: nothing else is asked for.
    serde_json::from_value(job).unwrap_or_else(|_| DynamicObject {
        types: None,
        metadata: kube::core::ObjectMeta { name: Some(name), ..kube::core::ObjectMeta::default() },
        data: Value::Null,
    })
}

impl Start {
    /// What a run that is no dry run would do.
    pub(super) fn would(&self) -> String {
        match &self.job {
            Ok(_) => format!("would start a Job from it and wait for it, for {} at most", told(self.patience)),
            Err(_) => format!("would wait for its Job that runs, for {} at most", told(self.patience)),
        }
    }

    /// Starts the Job unless it is there, and waits until it has ended; `now` is asked then.
    pub(super) async fn run(
        &self,
        reader: &Reader<'_>,
        now: &impl Fn() -> Timestamp,
        say: &impl Fn(String),
    ) -> Result<Proof, String> {
        let (name, how) = match &self.job {
            Err(name) => (name.clone(), "which ran already"),
            Ok(job) => {
                let name = job.metadata.name.clone().unwrap_or_default();
                match reader.create(&job_kind(), &self.namespace, job).await {
                    Ok(_) => say(format!("started Job {name} from CronJob {}", self.cron_job)),
                    // Another run of the hook was faster, or this one was killed after it.
                    Err(Unread::Exists) => say(format!("Job {name} was started before")),
                    Err(unread) => return Err(format!("CronJob {} is stale: {}", self.cron_job, String::from(unread))),
                }
                (name, "started for it")
            }
        };
        let at = self
            .wait(reader, &name, say)
            .await
            .map_err(|reason| format!("CronJob {} did not succeed: its Job {name}, {how}, {reason}", self.cron_job))?;
        let title = format!("CronJob {}: its Job {name}, {how}, completed", self.cron_job);
        let age = self.limit.check(at, now()).map_err(|age| format!("{title}, but is {age}"))?;
        Ok(Proof { at: Some(at), message: format!("{title}: {age}") })
    }

    async fn wait(&self, reader: &Reader<'_>, name: &str, say: &impl Fn(String)) -> Result<Timestamp, String> {
        let began = tokio::time::Instant::now();
        let (mut last, mut told_at) = (String::new(), began);
        loop {
            let state = match reader.get(&job_kind(), &self.namespace, name).await {
                Ok(job) => match ended(&job) {
                    Some(end) => return end,
                    None => progress(&job),
                },
                Err(unread @ (Unread::NoObject(_) | Unread::Forbidden(_))) => {
                    return Err(format!("is lost: {}", String::from(unread)));
                }
                // An API server that restarts is no reason to give up a backup.
                Err(unread) => String::from(unread),
            };
            let waited = began.elapsed();
            if waited >= self.patience {
                let limit = told(self.patience);
                return Err(format!("has not ended within {limit}; the next run waits for it again ({state})"));
            }
            if state != last || told_at.elapsed() >= TOLD_AGAIN {
                say(format!("waits for Job {name}: {state} ({} of {})", told(waited), told(self.patience)));
                (last, told_at) = (state, tokio::time::Instant::now());
            }
            tokio::time::sleep(BETWEEN.min(self.patience.saturating_sub(waited))).await;
        }
    }
}

/// A length of time in whole minutes, or in seconds below two.
fn told(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests;
