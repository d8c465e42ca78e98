//! The policies that a question is answered by, with their release lines.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::{Rules, live};
use crate::api::{PlatformRelease, PolicyProblems, UpgradePolicy, with_releases};
use crate::cluster::files::{Manifests, Source};
use crate::domain::policy::Policy;

/// Policies that can be used, and the releases they were given with.
pub(in crate::cli) struct Loaded {
    pub(in crate::cli) policies: Vec<Policy>,
    pub(in crate::cli) releases: Vec<PlatformRelease>,
}

/// Policies and releases from files and the cluster.
#[derive(Default)]
struct Given {
    policies: Vec<UpgradePolicy>,
    releases: Vec<PlatformRelease>,
    /// Where those from files were found.
    origins: BTreeMap<String, String>,
}

/// Reads the policies. What is wrong in a file is an error; what is wrong in the cluster is a note, because the guard
/// there goes on without it.
pub(in crate::cli) fn load(
    rules: &Rules,
    cluster: Option<&live::Cluster>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Loaded> {
    let given = Given::gather(rules, cluster)?;
    let mut problems = given.named_badly();
    let mut read = Vec::new();
    let mut tell = |key: String, wrong: &PolicyProblems| match given.origins.get(&key) {
        Some(origin) => problems.extend(wrong.0.iter().map(|problem| format!("{origin}, {key}: {problem}"))),
        None => notes.push(format!("{key} in the cluster: {wrong}")),
    };
    for policy in &given.policies {
        match Policy::try_from(policy) {
            Ok(policy) => {
                let (policy, wrong) = with_releases(policy, &given.releases);
                for (name, wrong) in &wrong {
                    tell(format!("PlatformRelease {name}"), wrong);
                }
                read.push(policy);
            }
            Err(wrong) => tell(policy_key(policy), &wrong),
        }
    }
    for release in &given.releases {
        let of = |policy: &UpgradePolicy| policy.metadata.name.as_deref() == Some(&release.spec.policy);
        if !given.policies.iter().any(of) {
            notes.push(format!("{} is of policy '{}', which is not given", release_key(release), release.spec.policy));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(Loaded { policies: read, releases: given.releases })
}

impl Given {
    /// Reads files, then what they leave to the cluster.
    fn gather(rules: &Rules, cluster: Option<&live::Cluster>) -> anyhow::Result<Self> {
        let sources: Vec<Source> = rules.policy.iter().chain(&rules.release).cloned().collect();
        // Namespaced objects beside the policies are of no interest here, so any namespace will do.
        let files = Manifests::load(&sources, Some("default"))?;
        let mut given = Self::default();
        for found in files.policies {
            given.origins.insert(policy_key(&found.object), found.origin.to_string());
            given.policies.push(found.object);
        }
        for found in files.releases {
            given.origins.insert(release_key(&found.object), found.origin.to_string());
            given.releases.push(found.object);
        }
        if let (Some(cluster), true) = (cluster, rules.policy.is_empty()) {
            given.policies.extend(cluster.policies()?);
            let known: BTreeSet<String> = given.releases.iter().map(release_key).collect();
            let more = cluster.releases()?.into_iter().filter(|release| !known.contains(&release_key(release)));
            given.releases.extend(more);
        }
        if given.policies.is_empty() {
            match rules.policy.first() {
                Some(source) => bail!("{source} holds no UpgradePolicy"),
                None => bail!("the cluster has no UpgradePolicy: give one with --policy"),
            }
        }
        Ok(given)
    }

    /// Objects without a name, and two of one name: they cannot both be in a cluster, so nothing tells which is meant.
    fn named_badly(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut problems = Vec::new();
        for key in self.policies.iter().map(policy_key).chain(self.releases.iter().map(release_key)) {
            if key.ends_with(' ') {
                problems.push(format!("{} without metadata.name: give it one", key.trim_end()));
            } else if !seen.insert(key.clone()) {
                problems.push(format!("{key} is given twice: remove one of them"));
            }
        }
        problems
    }
}

fn policy_key(policy: &UpgradePolicy) -> String {
    format!("UpgradePolicy {}", policy.metadata.name.as_deref().unwrap_or_default())
}

fn release_key(release: &PlatformRelease) -> String {
    format!("PlatformRelease {}", release.metadata.name.as_deref().unwrap_or_default())
}
