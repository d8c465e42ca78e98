//! A `Backup` of Velero. Source: the types of `velero.io/v1`: a backup of manifests alone is `Completed` too, and so is
//! one of another namespace; counters that are 0 are left out.

use jiff::Timestamp;
use serde_json::Value;

use super::age::Limit;
use super::fields::{count, created, items, name, stays, text, time};
use super::proof::{Candidate, Proof, newest};
use super::read::{Kind, Reader};
use crate::api::VeleroBackupSpec;

const API_VERSION: &str = "velero.io/v1";
const OF: Option<&str> = Some("Velero");
/// Where Velero is, unless a policy says otherwise.
const NAMESPACE: &str = "velero";
/// The label by which a backup says of which schedule it is.
const SCHEDULE: &str = "velero.io/schedule-name";

pub(super) async fn look(reader: &Reader<'_>, spec: &VeleroBackupSpec, now: Timestamp) -> Result<Proof, String> {
    let limit = Limit::read(&spec.max_age)?;
    let namespace = spec.namespace.as_deref().unwrap_or(NAMESPACE);
    let includes = reader.namespace(spec.includes.as_deref());
    let labels = spec.schedule.iter().map(|schedule| (SCHEDULE.to_owned(), schedule.clone())).collect();
    let backups = reader.list(&Kind::new(API_VERSION, "Backup", "backups", OF), namespace, &labels).await?;
    let mut candidates = Vec::new();
    for backup in &backups {
        let judged = match judge(backup, includes, &limit, now) {
            Ok(proof) => is_stored(reader, namespace, backup).await.map(|()| proof),
            Err(reason) => Err(reason),
        };
        candidates.push(Candidate { name: name(backup).to_owned(), made: created(backup), judged });
    }
    let of = spec.schedule.as_ref().map(|schedule| format!(" of schedule {schedule}")).unwrap_or_default();
    newest(&format!("Backup{of} in namespace {namespace}"), candidates)
}

/// Whether the place where the backup is kept can be reached.
async fn is_stored(reader: &Reader<'_>, namespace: &str, backup: &Value) -> Result<(), String> {
    let name = text(backup, "/spec/storageLocation").unwrap_or("default");
    let kind = Kind::new(API_VERSION, "BackupStorageLocation", "backupstoragelocations", OF);
    let location = reader.get(&kind, namespace, name).await.map_err(|unread| {
        format!("is completed, but nobody knows whether it can be reached: {}", String::from(unread))
    })?;
    is_available(&location)
}

fn is_available(location: &Value) -> Result<(), String> {
    let phase = text(location, "/status/phase").unwrap_or("not known to be available");
    if phase == "Available" {
        return Ok(());
    }
    let why = text(location, "/status/message").map(|why| format!(": {why}")).unwrap_or_default();
    Err(format!("is completed, but BackupStorageLocation {} is {phase}{why}", name(location)))
}

/// What the backup alone says.
fn judge(backup: &Value, includes: &str, limit: &Limit, now: Timestamp) -> Result<Proof, String> {
    stays(backup)?;
    let phase = text(backup, "/status/phase").unwrap_or("not begun");
    if phase != "Completed" {
        let why = text(backup, "/status/failureReason").map(|why| format!(": {why}")).unwrap_or_default();
        return Err(format!("is {phase}{why}"));
    }
    match count(backup, "/status/errors") {
        0 => {}
        errors => return Err(format!("is completed with {errors} errors")),
    }
    covers(backup, includes)?;
    holds_volumes(backup)?;
    let expires = time(backup, "/status/expiration").ok_or("is completed, but does not say when it expires")?;
    if expires <= now {
        return Err("is completed, but has expired".to_owned());
    }
    let at = time(backup, "/status/completionTimestamp").ok_or("is completed, but does not say when")?;
    let age = limit.check(at, now).map_err(|age| format!("is completed, but {age}"))?;
    Ok(Proof { at: Some(at), message: format!("is completed with its volumes and {age}") })
}

/// Whether `namespace` is in the backup.
fn covers(backup: &Value, namespace: &str) -> Result<(), String> {
    let names = |field| items(backup, field).filter_map(Value::as_str).collect::<Vec<&str>>();
    let (included, excluded) = (names("/spec/includedNamespaces"), names("/spec/excludedNamespaces"));
    let has = |names: &[&str]| names.iter().any(|name| *name == namespace || *name == "*");
    if has(&excluded) {
        return Err(format!("leaves out namespace {namespace}"));
    }
    if included.is_empty() || has(&included) {
        return Ok(());
    }
    Err(format!("is of {}, and not of namespace {namespace}", included.join(", ")))
}

/// Whether every volume snapshot that was tried is there, and at least one was.
fn holds_volumes(backup: &Value) -> Result<(), String> {
    let mut snapshots = 0;
    for (kind, attempted, completed) in [
        ("CSI", "/status/csiVolumeSnapshotsAttempted", "/status/csiVolumeSnapshotsCompleted"),
        ("native", "/status/volumeSnapshotsAttempted", "/status/volumeSnapshotsCompleted"),
    ] {
        let [attempted, completed] = [attempted, completed].map(|field| count(backup, field));
        if attempted != completed {
            return Err(format!("has {completed} of {attempted} {kind} volume snapshots"));
        }
        snapshots += attempted;
    }
    if snapshots > 0 {
        return Ok(());
    }
    Err("holds no volume snapshot: manifests alone bring no data back".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_completed_backup_of_the_namespace_with_its_volumes_is_evidence() {
        let (now, limit) = ("2026-07-17T12:00:00Z".parse().unwrap(), Limit::read("24h").unwrap());
        let good = Ok("is completed with its volumes and 3 h old, at most 24 h");
        let backup = json!({
            "metadata": {"name": "daily-1"},
            "spec": {"includedNamespaces": ["shop"]},
            "status": {
                "phase": "Completed", "completionTimestamp": "2026-07-17T09:00:00Z", "expiration": "2026-08-17T09:00:00Z",
                "csiVolumeSnapshotsAttempted": 2, "csiVolumeSnapshotsCompleted": 2, "warnings": 1,
            },
        });
        for (field, value, expected) in [
            ("/status/phase", Value::Null, Err("is not begun")),
            ("/status/errors", json!(0), good),
            ("/status/phase", json!("PartiallyFailed"), Err("is PartiallyFailed")),
            ("/status/phase", json!("Finalizing"), Err("is Finalizing")),
            ("/status/phase", json!("FinalizingPartiallyFailed"), Err("is FinalizingPartiallyFailed")),
            ("/status/phase", json!("WaitingForPluginOperations"), Err("is WaitingForPluginOperations")),
            ("/status/phase", json!("InProgress"), Err("is InProgress")),
            ("/status/phase", json!("FailedValidation"), Err("is FailedValidation")),
            ("/status/phase", json!("Deleting"), Err("is Deleting")),
            ("/status/phase", json!("completed"), Err("is completed")),
            ("/status/errors", json!(2), Err("is completed with 2 errors")),
            ("/status/completionTimestamp", Value::Null, Err("is completed, but does not say when")),
            (
                "/status/completionTimestamp",
                json!("2026-07-10T12:00:00Z"),
                Err("is completed, but 169 h old, at most 24 h"),
            ),
            ("/status/expiration", json!("2026-07-17T11:59:59Z"), Err("is completed, but has expired")),
            ("/status/expiration", Value::Null, Err("is completed, but does not say when it expires")),
            ("/status/csiVolumeSnapshotsCompleted", json!(1), Err("has 1 of 2 CSI volume snapshots")),
            ("/status/csiVolumeSnapshotsCompleted", Value::Null, Err("has 0 of 2 CSI volume snapshots")),
            ("/status/volumeSnapshotsAttempted", json!(1), Err("has 0 of 1 native volume snapshots")),
            ("/spec/includedNamespaces", json!(["*"]), good),
            ("/spec/includedNamespaces", json!(["other", "shop"]), good),
            ("/spec/includedNamespaces", Value::Null, good),
            ("/spec/includedNamespaces", json!(["shop-2", "db"]), Err("is of shop-2, db, and not of namespace shop")),
            ("/spec/excludedNamespaces", json!(["shop"]), Err("leaves out namespace shop")),
            ("/spec/excludedNamespaces", json!(["other"]), good),
            ("/metadata/deletionTimestamp", json!("2026-07-17T11:00:00Z"), Err("is being deleted")),
        ] {
            let mut backup = backup.clone();
            let (parent, last) = field.rsplit_once('/').unwrap();
            backup.pointer_mut(parent).unwrap()[last] = value;
            let found = judge(&backup, "shop", &limit, now).map(|proof| proof.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{field}");
        }
    }

    #[test]
    fn manifests_alone_are_no_backup_of_data() {
        let with = |status: Value| holds_volumes(&json!({"status": status}));
        assert_eq!(with(json!({"volumeSnapshotsAttempted": 1, "volumeSnapshotsCompleted": 1})), Ok(()));
        for status in [
            json!({}),
            json!({"csiVolumeSnapshotsAttempted": 0, "csiVolumeSnapshotsCompleted": 0}),
            json!({"progress": {"itemsBackedUp": 90, "totalItems": 90}}),
        ] {
            assert_eq!(with(status).unwrap_err(), "holds no volume snapshot: manifests alone bring no data back");
        }
    }

    #[test]
    fn a_backup_that_cannot_be_reached_is_none() {
        let location = |status: Value| is_available(&json!({"metadata": {"name": "s3"}, "status": status}));
        assert_eq!(location(json!({"phase": "Available"})), Ok(()));
        let unavailable = location(json!({"phase": "Unavailable", "message": "access denied"})).unwrap_err();
        assert_eq!(unavailable, "is completed, but BackupStorageLocation s3 is Unavailable: access denied");
        let unknown = location(json!({})).unwrap_err();
        assert_eq!(unknown, "is completed, but BackupStorageLocation s3 is not known to be available");
    }
}
