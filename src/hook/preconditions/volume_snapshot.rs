//! A `VolumeSnapshot` of a claim. Source: the types of `snapshot.storage.k8s.io/v1`: `readyToUse` true and `error` nil,
//! and "to avoid possible security issues, consumers must verify binding between `VolumeSnapshot` and
//! `VolumeSnapshotContent` objects is successful (by validating that both point at each other) before using" it.

use jiff::Timestamp;
use serde_json::Value;

use super::age::Limit;
use super::fields::{created, name, stays, text, time};
use super::proof::{Candidate, Proof, newest};
use super::read::{Kind, Reader, Unread};
use crate::api::VolumeSnapshotSpec;

const API_VERSION: &str = "snapshot.storage.k8s.io/v1";
const OF: Option<&str> = Some("the CSI snapshot controller");

/// What is known of the content of a snapshot.
enum Content {
    /// What it says.
    Is(Value),
    /// The hook may not read contents: they are of the whole cluster.
    Unreadable,
}

pub(super) async fn look(reader: &Reader<'_>, spec: &VolumeSnapshotSpec, now: Timestamp) -> Result<Proof, String> {
    let limit = Limit::read(&spec.max_age)?;
    let namespace = reader.namespace(spec.namespace.as_deref());
    let kind = Kind::new(API_VERSION, "VolumeSnapshot", "volumesnapshots", OF);
    let snapshots = reader.list(&kind, namespace, &[].into()).await?;
    let is_of_claim =
        |snapshot: &&Value| text(snapshot, "/spec/source/persistentVolumeClaimName") == Some(spec.claim.as_str());
    let mut candidates = Vec::new();
    for snapshot in snapshots.iter().filter(is_of_claim) {
        let judged = match judge(snapshot, &limit, now) {
            Ok((proof, content)) => match read(reader, content).await {
                Ok(content) => is_bound(snapshot, &content)
                    .map(|note| Proof { message: format!("{}{note}", proof.message), ..proof }),
                Err(reason) => Err(reason),
            },
            Err(reason) => Err(reason),
        };
        candidates.push(Candidate { name: name(snapshot).to_owned(), made: created(snapshot), judged });
    }
    newest(&format!("VolumeSnapshot of claim {} in namespace {namespace}", spec.claim), candidates)
}

async fn read(reader: &Reader<'_>, name: &str) -> Result<Content, String> {
    let kind = Kind::new(API_VERSION, "VolumeSnapshotContent", "volumesnapshotcontents", OF).cluster_wide();
    match reader.get(&kind, "", name).await {
        Ok(content) => Ok(Content::Is(content)),
        Err(Unread::Forbidden(_)) => Ok(Content::Unreadable),
        Err(Unread::NoObject(_)) => Err(format!("is bound to VolumeSnapshotContent {name}, which does not exist")),
        Err(unread) => Err(format!("is not known to be bound: {}", String::from(unread))),
    }
}

/// What the snapshot alone says, with the name of its content.
fn judge<'a>(snapshot: &'a Value, limit: &Limit, now: Timestamp) -> Result<(Proof, &'a str), String> {
    stays(snapshot)?;
    if let Some(error) = snapshot.pointer("/status/error").filter(|error| !error.is_null()) {
        return Err(format!("has an error: {}", text(error, "/message").unwrap_or("it does not say which")));
    }
    if snapshot.pointer("/status/readyToUse").and_then(Value::as_bool) != Some(true) {
        return Err("is not ready to use".to_owned());
    }
    let content = text(snapshot, "/status/boundVolumeSnapshotContentName").ok_or("is bound to no content")?;
    let at = time(snapshot, "/status/creationTime").ok_or("does not say when it was taken")?;
    let age = limit.check(at, now).map_err(|age| format!("is ready to use, but {age}"))?;
    Ok((Proof { at: Some(at), message: format!("is ready to use and {age}") }, content))
}

/// Whether the content points back at the snapshot; what is left open is given back.
fn is_bound(snapshot: &Value, content: &Content) -> Result<&'static str, String> {
    let Content::Is(content) = content else { return Ok("; the hook may not read its content") };
    let own = |field| text(snapshot, &format!("/metadata/{field}"));
    let theirs = |field| text(content, &format!("/spec/volumeSnapshotRef/{field}"));
    // A content may not know the uid yet; then it is not bound.
    if ["name", "namespace", "uid"].into_iter().all(|field| own(field).is_some() && own(field) == theirs(field)) {
        Ok("")
    } else {
        Err(format!("is not bound: VolumeSnapshotContent {} is of another snapshot", name(content)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot() -> Value {
        json!({
            "metadata": {"name": "data-1", "namespace": "shop", "uid": "u1"},
            "spec": {"source": {"persistentVolumeClaimName": "data"}},
            "status": {
                "readyToUse": true, "creationTime": "2026-07-17T09:00:00Z", "boundVolumeSnapshotContentName": "content-1",
            },
        })
    }

    #[test]
    fn only_a_snapshot_that_could_be_restored_is_evidence() {
        let (now, limit) = ("2026-07-17T12:00:00Z".parse().unwrap(), Limit::read("24h").unwrap());
        for (field, value, expected) in [
            ("/status/restoreSize", json!("1Gi"), Ok("is ready to use and 3 h old, at most 24 h")),
            ("/status/error", Value::Null, Ok("is ready to use and 3 h old, at most 24 h")),
            ("/status/readyToUse", json!(false), Err("is not ready to use")),
            ("/status/readyToUse", Value::Null, Err("is not ready to use")),
            ("/status/readyToUse", json!("true"), Err("is not ready to use")),
            ("/status/error", json!({"message": "no space"}), Err("has an error: no space")),
            ("/status/error", json!({"time": "2026-07-17T09:00:00Z"}), Err("has an error: it does not say which")),
            ("/status/boundVolumeSnapshotContentName", Value::Null, Err("is bound to no content")),
            ("/status/creationTime", Value::Null, Err("does not say when it was taken")),
            ("/status/creationTime", json!("2026-07-15T09:00:00Z"), Err("is ready to use, but 52 h old, at most 24 h")),
            ("/metadata/deletionTimestamp", json!("2026-07-17T11:00:00Z"), Err("is being deleted")),
        ] {
            let mut snapshot = snapshot();
            let (parent, last) = field.rsplit_once('/').unwrap();
            snapshot.pointer_mut(parent).unwrap()[last] = value;
            let found = judge(&snapshot, &limit, now).map(|(proof, _)| proof.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{field}");
        }
    }

    #[test]
    fn a_snapshot_is_bound_both_ways() {
        let content = |reference: Value| {
            Content::Is(json!({"metadata": {"name": "content-1"}, "spec": {"volumeSnapshotRef": reference}}))
        };
        let not_bound = Err("is not bound: VolumeSnapshotContent content-1 is of another snapshot".to_owned());
        for (content, expected) in [
            (content(json!({"name": "data-1", "namespace": "shop", "uid": "u1"})), Ok("")),
            (content(json!({"name": "data-2", "namespace": "shop", "uid": "u1"})), not_bound.clone()),
            (content(json!({"name": "data-1", "namespace": "other", "uid": "u1"})), not_bound.clone()),
            (content(json!({"name": "data-1", "namespace": "shop", "uid": "u2"})), not_bound.clone()),
            (content(json!({"name": "data-1", "namespace": "shop"})), not_bound.clone()),
            (content(Value::Null), not_bound),
            (Content::Unreadable, Ok("; the hook may not read its content")),
        ] {
            assert_eq!(is_bound(&snapshot(), &content), expected);
        }
    }
}
