//! The one place that writes a `Platform`: always by compare-and-swap, and only what changed.
//!
//! Webhook replicas write intents and refusals there, the controller everything else, all on one status. A write names
//! the resource version that it was made from; who loses reads again.

use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use super::error::said;
use crate::api::{Platform, PlatformSpec, PlatformStatus};

/// Who writes, in the managed fields.
pub const FIELD_MANAGER: &str = "upgrade-guard";
/// How often a lost write is tried again before the API server is taken to be too busy.
const ATTEMPTS: usize = 12;

/// Why a `Platform` could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Someone else wrote it since it was read.
    #[error("Platform {0} was changed by someone else at the same time")]
    Lost(String),
    /// It is another policy's.
    #[error("Platform {name} belongs to UpgradePolicy {policy}; delete it, and the guard makes its own")]
    Foreign {
        /// Which Platform.
        name: String,
        /// Whose it is.
        policy: String,
    },
    /// The API server refused, or did not answer.
    #[error("cannot {verb} Platform {name}: {}", said(.source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Which Platform.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
}

impl LedgerError {
    /// Whether reading it again may help.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// Reads and writes `Platform` objects. A Platform has the name of its policy.
#[derive(Clone)]
pub struct Ledger {
    client: Client,
}

impl Ledger {
    /// A ledger in the cluster that `client` talks to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, namespace: &str) -> Api<Platform> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The Platform of `policy` in `namespace` as the API server has it now, made when it is missing.
    ///
    /// # Errors
    /// When the API server does not give or make it, or when it is another policy's.
    pub async fn read(&self, namespace: &str, policy: &str) -> Result<Platform, LedgerError> {
        let api = self.api(namespace);
        let error = |verb, source| failed(verb, namespace, policy, source);
        let found = match api.get_opt(policy).await.map_err(|source| error("get", source))? {
            Some(found) => found,
            None => match api.create(&PostParams::default(), &fresh(policy)).await {
                Ok(made) => made,
                // Another replica was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    api.get(policy).await.map_err(|source| error("get", source))?
                }
                Err(source) => return Err(error("create", source)),
            },
        };
        if found.spec.policy == policy {
            Ok(found)
        } else {
            Err(LedgerError::Foreign { name: format!("{namespace}/{policy}"), policy: found.spec.policy })
        }
    }

    /// Gives `platform`, as it was read, a new status; nothing is written when nothing changes.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when it was changed since; else when the API server does not take it.
    pub async fn write(&self, platform: &Platform, status: &PlatformStatus) -> Result<Platform, LedgerError> {
        let metadata = &platform.metadata;
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let (namespace, name) = (text(&metadata.namespace), text(&metadata.name));
        let changed = differences(platform.status.as_ref(), status);
        if changed.is_empty() {
            return Ok(platform.clone());
        }
        let patch = json!({"metadata": {"resourceVersion": metadata.resource_version}, "status": changed});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.api(&namespace).patch_status(&name, &params, &Patch::Merge(patch)).await;
        written.map_err(|source| failed("patch the status of", &namespace, &name, source))
    }

    /// Reads, changes and writes until nobody else came in between. `change` may be called several times, and gives
    /// back whatever its last call found.
    ///
    /// # Errors
    /// When the API server does not give or take it, or when others were faster too often.
    pub async fn update<T>(
        &self,
        namespace: &str,
        policy: &str,
        mut change: impl FnMut(&mut PlatformStatus) -> T,
    ) -> Result<T, LedgerError> {
        let mut attempt = 1;
        loop {
            let platform = self.read(namespace, policy).await?;
            let mut status = platform.status.clone().unwrap_or_default();
            let found = change(&mut status);
            match self.write(&platform, &status).await {
                Ok(_) => return Ok(found),
                Err(error) if error.is_lost() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// A new install of `policy`.
fn fresh(policy: &str) -> Platform {
    Platform::new(policy, PlatformSpec { policy: policy.to_owned(), acknowledged: vec![] })
}

/// The fields of the status that differ, with null for those that are to go. Fields that this version of the guard does
/// not know stay as they are.
fn differences(old: Option<&PlatformStatus>, new: &PlatformStatus) -> Map<String, Value> {
    let fields = |status: &PlatformStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        // A status is a struct of named fields with text for keys.
        _ => Map::new(),
    };
    let mut old = old.map(fields).unwrap_or_default();
    let mut changed = Map::new();
    for (key, value) in fields(new) {
        if old.remove(&key).as_ref() != Some(&value) {
            changed.insert(key, value);
        }
    }
    changed.extend(old.into_iter().map(|(key, _)| (key, Value::Null)));
    changed
}

fn failed(verb: &'static str, namespace: &str, name: &str, source: kube::Error) -> LedgerError {
    let name = format!("{namespace}/{name}");
    match source {
        kube::Error::Api(status) if is_conflict(&status) => LedgerError::Lost(name),
        source => LedgerError::Api { verb, name, source: Box::new(source) },
    }
}

fn is_conflict(status: &Status) -> bool {
    status.code == 409 && status.reason == "Conflict"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PlatformComponentStatus;

    #[test]
    fn only_what_changed_is_written() {
        let component = PlatformComponentStatus { name: "api".to_owned(), ..PlatformComponentStatus::default() };
        let old = PlatformStatus {
            summary: Some("was".to_owned()),
            next: vec!["one".to_owned()],
            components: vec![component],
            ..PlatformStatus::default()
        };
        assert_eq!(differences(Some(&old), &old), Map::new());
        let new = PlatformStatus { summary: Some("is".to_owned()), next: vec![], ..old.clone() };
        assert_eq!(Value::Object(differences(Some(&old), &new)), json!({"summary": "is", "next": null}));
        assert_eq!(Value::Object(differences(None, &PlatformStatus::default())), json!({}));
    }
}
