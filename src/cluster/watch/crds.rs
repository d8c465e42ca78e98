//! The CRDs that policies name, and that of Argo Rollouts.
//!
//! CRDs are large and a cluster may have hundreds. All are watched only while a policy names any, in small pages, and of
//! each no more is kept than a few dozen bytes; else only that of Argo Rollouts is.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::ApiResource;
use kube::runtime::watcher;
use tokio::sync::watch;

use super::rollouts::{Presence, ROLLOUT_CRD};
use super::{Kind, Sink};
use crate::cluster::crd::{Digest, state};
use crate::cluster::feed::Source;
use crate::cluster::index::{Index, Listed, ObjectKey, ObjectProblem, SharedIndex};
use crate::domain::preparation::CrdState;

/// Objects in one answer to a list: some CRDs are a megabyte.
const PAGE_SIZE: u32 = 10;

/// CRDs.
pub(super) struct Crds {
    /// Whether there is one of Argo Rollouts.
    pub(super) rollouts: watch::Sender<Presence>,
    pub(super) digest: Digest,
}

impl Crds {
    fn rollouts_are(&self, presence: Presence) {
        self.rollouts.send_if_modified(|current| {
            let changed = *current != presence;
            *current = presence;
            changed
        });
    }
}

impl Sink for Crds {
    type Object = CustomResourceDefinition;
    /// `None` for one that only has to be there.
    type Record = Option<CrdState>;

    fn kind(&self) -> Kind {
        Source::Crds.into()
    }
    fn resource(&self) -> ApiResource {
        ApiResource::erase::<CustomResourceDefinition>(&())
    }
    fn config(&self, index: &SharedIndex) -> watcher::Config {
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        if index.read(Index::names_crds) { config } else { config.fields(&format!("metadata.name={ROLLOUT_CRD}")) }
    }
    fn is_selected(&self) -> bool {
        true
    }
    fn select(&self, index: &SharedIndex, key: &ObjectKey, crd: CustomResourceDefinition) -> Option<Option<CrdState>> {
        let named = index.read(|index| index.names_crd(&key.name)).then(|| state(&crd, self.digest));
        (named.is_some() || key.name == ROLLOUT_CRD).then_some(named)
    }
    fn apply(&self, index: &SharedIndex, key: &ObjectKey, crd: CustomResourceDefinition) -> Vec<ObjectProblem> {
        if key.name == ROLLOUT_CRD {
            self.rollouts_are(Presence::Present);
        }
        if let Some(Some(state)) = self.select(index, key, crd) {
            index.write(|index| index.put_crd(&key.name, &state));
        }
        vec![]
    }
    fn unreadable(&self, index: &SharedIndex, key: ObjectKey, message: String) -> Vec<ObjectProblem> {
        if key.name == ROLLOUT_CRD {
            self.rollouts_are(Presence::Present);
        }
        problem(index, key, message).into_iter().collect()
    }
    fn delete(&self, index: &SharedIndex, key: &ObjectKey) -> Vec<ObjectProblem> {
        if key.name == ROLLOUT_CRD {
            self.rollouts_are(Presence::Absent);
        }
        if index.read(|index| index.names_crd(&key.name)) {
            index.write(|index| index.remove_crd(&key.name));
        }
        vec![]
    }
    fn reset(
        &self,
        index: &SharedIndex,
        generation: u64,
        listed: Listed<Option<CrdState>>,
    ) -> Option<Vec<ObjectProblem>> {
        let mut keys = listed.records.iter().map(|(key, _)| key).chain(listed.unreadable.keys());
        let is_there = keys.any(|key| key.name == ROLLOUT_CRD);
        self.rollouts_are(if is_there { Presence::Present } else { Presence::Absent });
        let records = listed.records.into_iter().filter_map(|(key, state)| Some((key, state?)));
        let listed = Listed { records: records.collect(), unreadable: listed.unreadable };
        if !index.write(|index| index.reset_crds(generation, &listed)) {
            return None;
        }
        Some(listed.unreadable.into_iter().filter_map(|(key, message)| problem(index, key, message)).collect())
    }
}

/// What to report of a CRD that cannot be read: nothing where no policy names it.
fn problem(index: &SharedIndex, key: ObjectKey, message: String) -> Option<ObjectProblem> {
    let source = Source::Crds;
    index.read(|index| index.names_crd(&key.name)).then_some(ObjectProblem { source, key, message })
}
