//! What the commands that answer questions read: policies with their releases, and states from files or the cluster.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use jiff::Timestamp;
use kube::ResourceExt;

use super::status::observed_ago;
use crate::cluster::crd;
use crate::cluster::files::{Install, Manifests, Source};
use crate::crds::content;
use crate::domain::policy::Policy;
use crate::domain::view::View;

pub(super) mod database;
pub(super) mod governed;
pub(super) mod live;
pub(super) mod migrations;
pub(super) mod policies;
pub(super) mod values;

/// Where the rules come from.
#[derive(Debug, clap::Args)]
pub struct Rules {
    /// Policies (and releases): a file, a folder or '-' for standard input. With --live the cluster's are taken where
    /// this is left out.
    #[arg(long, value_name = "PATH", required_unless_present = "live")]
    pub(super) policy: Vec<Source>,

    /// More releases, where they are kept apart from the policies.
    #[arg(long, value_name = "PATH")]
    pub(super) release: Vec<Source>,
}

/// A state of the world: what is known of each namespace.
pub(super) type State = BTreeMap<String, Install>;

/// What `manifests` hold of each namespace. Their CRDs are in all of them.
pub(super) fn state(manifests: Manifests) -> State {
    let mut state = manifests.namespaces;
    for install in state.values_mut() {
        for crd in manifests.crds.iter().map(|found| &found.object) {
            install.inventory.crds_mut().insert(crd.name_any(), crd::state(crd, content::digest));
        }
    }
    state
}

/// What is not judged because nothing is known of it.
pub(super) fn unseen(policy: &Policy, view: &View) -> Vec<String> {
    let mut notes = Vec::new();
    if view.crds.is_none() && policy.components.iter().any(|component| !component.crds.is_empty()) {
        notes.push("no CRDs are given: whether those that the policy names are there is not judged".to_owned());
    }
    if view.preparations.is_none() && !policy.demands.preconditions.is_empty() {
        notes.push("no Platform is given: whether the hook found every precondition to hold is not judged".to_owned());
    }
    if view.schema.is_none() && policy.database.is_some() {
        notes.push("no Platform is given: whether the database fits is not judged".to_owned());
    }
    notes
}

/// At which revision the database is, how that is known and how old it is.
pub(super) fn database(view: &View, now: Timestamp) -> Option<String> {
    let schema = view.schema.as_ref()?;
    let heads = match &schema.at {
        Ok(heads) if heads.is_empty() => "at no revision".to_owned(),
        Ok(heads) => format!("at {}", heads.join(", ")),
        Err(why) => format!("not known: {why}"),
    };
    let age = schema.observed.map(|observed| observed_ago(schema.live, now.duration_since(observed)));
    Some(age.map_or_else(|| heads.clone(), |age| format!("{heads}, {age}")))
}

/// Adds the notes that are not among them.
pub(super) fn note(notes: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for note in more {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// Refuses to read the standard input twice.
pub(super) fn standard_input_once<'a>(sources: impl Iterator<Item = &'a Source>) -> anyhow::Result<()> {
    if sources.filter(|source| **source == Source::Stdin).count() > 1 {
        bail!("standard input can be read once only: use '-' in one place, and files in the others");
    }
    Ok(())
}

/// The only namespace that all policies govern, where there is just one: it is what manifests without one mean.
pub(super) fn only_namespace(policies: &[Policy]) -> Option<&str> {
    let all: BTreeSet<&str> =
        policies.iter().flat_map(|policy| &policy.namespaces).map(std::string::String::as_str).collect();
    all.first().copied().filter(|_| all.len() == 1)
}
