//! Backups and clusters of `CloudNativePG`. Source: the types of `postgresql.cnpg.io/v1`. A `ScheduledBackup` is no
//! evidence (`lastScheduleTime` is when one was planned), and neither are the cluster's `lastSuccessfulBackup*` and
//! `firstRecoverabilityPoint*`: they are deprecated and not set for backups by plugins.

use jiff::Timestamp;
use serde_json::Value;

use super::age::Limit;
use super::fields::{because, condition, created, name, stays, text, time};
use super::proof::{Candidate, Proof, newest};
use super::read::{Kind, Reader};
use crate::api::{CnpgBackupSpec, CnpgClusterSpec};

const API_VERSION: &str = "postgresql.cnpg.io/v1";
const OF: Option<&str> = Some("CloudNativePG");

pub(super) async fn look_at_backup(
    reader: &Reader<'_>,
    spec: &CnpgBackupSpec,
    now: Timestamp,
) -> Result<Proof, String> {
    let limit = Limit::read(&spec.max_age)?;
    let namespace = reader.namespace(spec.namespace.as_deref());
    let backups = reader.list(&Kind::new(API_VERSION, "Backup", "backups", OF), namespace, &[].into()).await?;
    let of_cluster = backups.iter().filter(|backup| text(backup, "/spec/cluster/name") == Some(spec.cluster.as_str()));
    let candidate = |backup| Candidate {
        name: name(backup).to_owned(),
        made: created(backup),
        judged: backup_of(backup, &limit, now),
    };
    newest(&format!("Backup of cluster {} in namespace {namespace}", spec.cluster), of_cluster.map(candidate).collect())
}

fn backup_of(backup: &Value, limit: &Limit, now: Timestamp) -> Result<Proof, String> {
    stays(backup)?;
    let error = text(backup, "/status/error");
    let phase = text(backup, "/status/phase").unwrap_or("not begun");
    if phase != "completed" {
        return Err(format!("is {phase}{}", error.map(|error| format!(": {error}")).unwrap_or_default()));
    }
    if let Some(error) = error {
        return Err(format!("is completed with an error: {error}"));
    }
    let at = time(backup, "/status/stoppedAt").ok_or("is completed, but does not say when it stopped")?;
    let age = limit.check(at, now).map_err(|age| format!("is completed, but {age}"))?;
    Ok(Proof { at: Some(at), message: format!("is completed and {age}") })
}

pub(super) async fn look_at_cluster(reader: &Reader<'_>, spec: &CnpgClusterSpec) -> Result<Proof, String> {
    let namespace = reader.namespace(spec.namespace.as_deref());
    let cluster = reader.get(&Kind::new(API_VERSION, "Cluster", "clusters", OF), namespace, &spec.name).await?;
    let judged = cluster_of(&cluster);
    newest("Cluster", vec![Candidate { name: spec.name.clone(), made: None, judged }])
}

fn cluster_of(cluster: &Value) -> Result<Proof, String> {
    stays(cluster)?;
    let mut missing = Vec::new();
    for (kind, hint) in
        [("ContinuousArchiving", "are its WAL files archived?"), ("LastBackupSucceeded", "was there ever a backup?")]
    {
        match condition(cluster, kind) {
            None => missing.push(format!("has no condition {kind}: {hint}")),
            Some(found) => match text(found, "/status") {
                Some("True") => {}
                status => missing.push(format!("{kind} is {}{}", status.unwrap_or("empty"), because(found))),
            },
        }
    }
    if missing.is_empty() {
        Ok(Proof { at: None, message: "archives, and its last backup succeeded".to_owned() })
    } else {
        Err(missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_completed_backup_is_evidence() {
        let (now, limit) = ("2026-07-17T12:00:00Z".parse().unwrap(), Limit::read("24h").unwrap());
        let fresh = Ok("is completed and 3 h old, at most 24 h");
        let backup = json!({
            "metadata": {"name": "nightly"},
            "spec": {"cluster": {"name": "pg"}},
            "status": {"phase": "completed", "stoppedAt": "2026-07-17T09:00:00Z", "backupId": "1", "method": "plugin"},
        });
        for (field, value, expected) in [
            ("/status/error", json!(""), fresh),
            ("/status/phase", json!("pending"), Err("is pending")),
            ("/status/phase", json!("started"), Err("is started")),
            ("/status/phase", json!("running"), Err("is running")),
            ("/status/phase", json!("finalizing"), Err("is finalizing")),
            ("/status/phase", json!("failed"), Err("is failed")),
            ("/status/phase", json!("walArchivingFailing"), Err("is walArchivingFailing")),
            ("/status/phase", json!("invalid backup definition"), Err("is invalid backup definition")),
            ("/status/phase", json!("Completed"), Err("is Completed")),
            ("/status/phase", Value::Null, Err("is not begun")),
            ("/status/error", json!("upload failed"), Err("is completed with an error: upload failed")),
            ("/status/stoppedAt", Value::Null, Err("is completed, but does not say when it stopped")),
            ("/status/stoppedAt", json!("2026-07-16T11:59:00Z"), Err("is completed, but 25 h old, at most 24 h")),
            ("/metadata/deletionTimestamp", json!("2026-07-17T11:00:00Z"), Err("is being deleted")),
            ("/status/startedAt", json!("2026-07-10T11:00:00Z"), fresh),
        ] {
            let mut backup = backup.clone();
            let (parent, last) = field.rsplit_once('/').unwrap();
            backup.pointer_mut(parent).unwrap()[last] = value;
            let found = backup_of(&backup, &limit, now).map(|proof| proof.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{field}");
        }
    }

    #[test]
    fn a_cluster_archives_and_its_last_backup_succeeded() {
        let archives = |status: &str| json!({"type": "ContinuousArchiving", "status": status, "reason": "ContinuousArchivingFailing", "message": "exit status 1"});
        let backed_up =
            |status: &str| json!({"type": "LastBackupSucceeded", "status": status, "reason": "LastBackupFailed"});
        let no_archive = "ContinuousArchiving is False (ContinuousArchivingFailing: exit status 1)";
        let no_backup = "has no condition LastBackupSucceeded: was there ever a backup?";
        for (conditions, expected) in [
            (vec![archives("True"), backed_up("True")], Ok("archives, and its last backup succeeded".to_owned())),
            (vec![archives("False"), backed_up("True")], Err(no_archive.to_owned())),
            (
                vec![archives("True"), backed_up("False")],
                Err("LastBackupSucceeded is False (LastBackupFailed)".to_owned()),
            ),
            (
                vec![archives("True"), backed_up("Unknown")],
                Err("LastBackupSucceeded is Unknown (LastBackupFailed)".to_owned()),
            ),
            (vec![archives("True")], Err(no_backup.to_owned())),
            (vec![archives("False")], Err(format!("{no_archive}; {no_backup}"))),
            (vec![], Err(format!("has no condition ContinuousArchiving: are its WAL files archived?; {no_backup}"))),
        ] {
            // What is deprecated and may be old says nothing.
            let status = json!({"conditions": conditions, "lastSuccessfulBackup": "2026-07-17T09:00:00Z"});
            assert_eq!(cluster_of(&json!({"status": status})).map(|proof| proof.message), expected);
        }
    }
}
