//! What the commands that answer questions read: policies with their releases, and states from files or the cluster.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use crate::cluster::files::{Install, Source};
use crate::domain::policy::Policy;

pub(super) mod database;
pub(super) mod governed;
pub(super) mod live;
pub(super) mod policies;

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
