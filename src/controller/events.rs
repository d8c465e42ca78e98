//! What people are told in Events.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;

use super::run::API_TIMEOUT;
use crate::api::{GROUP, VERSION};
use crate::cluster::object::WorkloadKind;
use crate::domain::view::WorkloadId;

/// The longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Writes Events; the same text about the same object is one Event that counts. Clones share what they have written.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events in the name of the replica `identity`.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: "upgrade-guard".to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Says `note` of `regarding`. What cannot be said is logged: no decision depends on it.
    pub async fn say(&self, regarding: &ObjectReference, warning: bool, reason: &str, note: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            // Events are folded by everything but the note, and a folded one keeps its first note.
            action: format!("{reason}-{:016x}", hash(note)),
            secondary: None,
        };
        let error = match timeout(API_TIMEOUT, self.recorder.publish(&event, regarding)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "no answer".to_owned(),
        };
        let (namespace, name) = (&regarding.namespace, &regarding.name);
        tracing::warn!(?namespace, ?name, reason, error, "an Event could not be written");
    }
}

/// How Events name a workload; `uid` is empty where it is not known.
#[must_use]
pub fn workload_reference(namespace: &str, workload: &WorkloadId, uid: &str) -> ObjectReference {
    let kind = WorkloadKind::ALL.into_iter().find(|kind| kind.as_str() == workload.kind);
    let (group, version) = kind.unwrap_or(WorkloadKind::Deployment).api_version();
    ObjectReference {
        api_version: Some(format!("{group}/{version}")),
        kind: Some(workload.kind.clone()),
        namespace: Some(namespace.to_owned()),
        name: Some(workload.name.clone()),
        uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    }
}

/// How Events name the `Platform` of an install.
#[must_use]
pub fn platform_reference(install: &super::Install, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{GROUP}/{VERSION}")),
        kind: Some("Platform".to_owned()),
        namespace: Some(install.namespace.clone()),
        name: Some(install.policy.clone()),
        uid,
        ..ObjectReference::default()
    }
}

/// `note` within [`LONGEST_NOTE`].
fn shortened(note: &str) -> String {
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let end = (0..=LONGEST_NOTE - 3).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &note[..end])
}

/// FNV-1a: the same for the same text in every version of this program.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit_and_texts_are_told_apart() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"ä".repeat(1000));
        assert!(long.len() <= LONGEST_NOTE && long.ends_with("ä..."), "{} bytes", long.len());
        // The published value for "a": a change of the hash would fold nothing across versions.
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(hash("must wait for 2.3.0"), hash("must wait for 2.4.0"));
    }
}
