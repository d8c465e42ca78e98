//! The CRDs that policies name. They belong to no namespace, and each namespace keeps those that its policies name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Index, ListState, Listed, Namespace};
use crate::cluster::feed::Source;
use crate::domain::preparation::CrdState;

impl Namespace {
    fn names_crd(&self, name: &str) -> bool {
        let mut components = self.policies.iter().flat_map(|policy| &policy.components);
        components.any(|component| component.crds.iter().any(|named| named == name))
    }

    fn stored_crd(&self, name: &str) -> Option<&CrdState> {
        self.inventory.crds()?.get(name)
    }
}

impl Index {
    /// Whether any policy in force names CRDs.
    #[must_use]
    pub fn names_crds(&self) -> bool {
        let mut policies = self.namespaces.values().flat_map(|namespace| namespace.policies.iter());
        policies.any(|policy| policy.components.iter().any(|component| !component.crds.is_empty()))
    }

    /// Whether any policy in force names this CRD.
    #[must_use]
    pub fn names_crd(&self, name: &str) -> bool {
        self.namespaces.values().any(|namespace| namespace.names_crd(name))
    }

    /// Stores what is known of a CRD, where it is named.
    pub fn put_crd(&mut self, name: &str, state: &CrdState) {
        for namespace in self.namespaces.values_mut().filter(|namespace| namespace.names_crd(name)) {
            if namespace.stored_crd(name) != Some(state) {
                Arc::make_mut(&mut namespace.inventory).crds_mut().insert(name.to_owned(), state.clone());
                namespace.changed();
            }
        }
    }

    /// Forgets a CRD.
    pub fn remove_crd(&mut self, name: &str) {
        for namespace in self.namespaces.values_mut().filter(|namespace| namespace.stored_crd(name).is_some()) {
            Arc::make_mut(&mut namespace.inventory).crds_mut().remove(name);
            namespace.changed();
        }
    }

    /// Makes `listed` all the CRDs there are; one that could not be read stays what it was. As with other kinds, a list
    /// that was begun under an older generation is ignored; returns whether the list was used.
    pub fn reset_crds(&mut self, generation: u64, listed: &Listed<CrdState>) -> bool {
        if generation != self.generation {
            return false;
        }
        for namespace in self.namespaces.values_mut() {
            let there = listed.records.iter().map(|(key, state)| (&key.name, state));
            let unreadable = listed.unreadable.keys();
            let unreadable = unreadable.filter_map(|key| Some((&key.name, namespace.stored_crd(&key.name)?)));
            let named = there.chain(unreadable).filter(|(name, _)| namespace.names_crd(name));
            let crds: BTreeMap<String, CrdState> = named.map(|(name, state)| (name.clone(), state.clone())).collect();
            if namespace.inventory.crds() != Some(&crds) {
                *Arc::make_mut(&mut namespace.inventory).crds_mut() = crds;
                namespace.changed();
            }
        }
        self.lists.insert(Source::Crds, ListState::Listed(generation));
        true
    }
}
