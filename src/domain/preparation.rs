//! What has to be there before an upgrade may begin, and what is known of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::freeze::Freeze;
use super::policy::ComponentId;
use super::version::Version;

/// What a policy asks for before an upgrade.
#[derive(Clone, Debug)]
pub struct Demands {
    /// What the hook has to have found.
    pub preconditions: Vec<Precondition>,
    /// How long what it found counts.
    pub valid_for: SignedDuration,
    /// When no upgrade begins.
    pub freezes: Vec<Freeze>,
    /// The breaking changes that are accepted for every install, by name.
    pub acknowledged: BTreeSet<String>,
}

impl Default for Demands {
    /// Nothing is asked for.
    fn default() -> Self {
        let valid_for = SignedDuration::from_hours(24);
        Self { preconditions: vec![], valid_for, freezes: vec![], acknowledged: BTreeSet::new() }
    }
}

/// Something that the hook has to have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its name.
    pub name: String,
    /// The components whose moves need it; empty means all.
    pub components: BTreeSet<ComponentId>,
}

impl Precondition {
    /// Whether moves of the component at `id` need it.
    #[must_use]
    pub fn concerns(&self, id: ComponentId) -> bool {
        self.components.is_empty() || self.components.contains(&id)
    }
}

/// A change in a release that someone has to have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakingChange {
    /// Its name, by which it is acknowledged.
    pub name: String,
    /// What changes.
    pub message: String,
    /// Where to read more.
    pub url: Option<String>,
    /// The components whose moves need it acknowledged; empty means all.
    pub components: BTreeSet<ComponentId>,
}

/// What is known of a CRD in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdState {
    /// Whether it is established, its names accepted, and it is not on its way out.
    pub established: bool,
    /// The digest of its content.
    pub content: String,
}

/// What the hook found and did for one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    /// What people call the target.
    pub target: String,
    /// The versions of the components in it.
    pub versions: BTreeMap<ComponentId, Version>,
    /// When it ended; `None` while it runs, or when it was killed.
    pub ended: Option<Timestamp>,
    /// Whether everything was there.
    pub prepared: bool,
    /// What it found of each precondition, by name: why it did not hold, or `None` when it did.
    pub preconditions: BTreeMap<String, Option<String>>,
    /// The digest of the content of each CRD that it made sure of.
    pub crds: BTreeMap<String, String>,
}
