//! One install of the cluster, with all that says what it should be.

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow, bail};
use kube::ResourceExt as _;

use super::live;
use crate::api::{PlatformRelease, UpgradePolicy, UpgradePolicySpec, with_releases};
use crate::cluster::files::Install;
use crate::domain::policy::Policy;

/// An install under its policy.
pub(in crate::cli) struct Governed {
    /// The policy, with the lines of its releases.
    pub(in crate::cli) policy: Policy,
    /// The policy as it was written.
    pub(in crate::cli) spec: UpgradePolicySpec,
    /// The releases of the policy.
    pub(in crate::cli) releases: Vec<PlatformRelease>,
    /// The install's namespace.
    pub(in crate::cli) namespace: String,
    /// What is there.
    pub(in crate::cli) install: Install,
}

impl Governed {
    /// Reads the install that is meant: of the policy of this name, else of the only one that governs the namespace; in
    /// this namespace, else in that of the kubeconfig or the pod where a policy governs it, else in the only one there is.
    pub(in crate::cli) async fn read(
        cluster: &live::Cluster,
        policy: Option<&str>,
        namespace: Option<&str>,
    ) -> anyhow::Result<Self> {
        let (policies, releases) = cluster.rules().await?;
        let (given, namespace) = chosen(&policies, policy, namespace, &cluster.default_namespace())?;
        let name = given.name_any();
        let read = Policy::try_from(given).map_err(|error| anyhow!(error));
        let read = read.with_context(|| format!("UpgradePolicy {name} cannot be read"))?;
        let (policy, _) = with_releases(read, &releases);
        let releases = releases.into_iter().filter(|release| release.spec.policy == name).collect();
        let install = cluster.install(&namespace).await?;
        Ok(Self { policy, spec: given.spec.clone(), releases, namespace, install })
    }

    /// The release of this name or version.
    pub(in crate::cli) fn release(&self, name: &str) -> Option<&PlatformRelease> {
        let named = self.releases.iter().find(|release| release.name_any() == name);
        named.or_else(|| self.releases.iter().find(|release| release.spec.version == name))
    }
}

/// The policy and the namespace that are meant.
fn chosen<'a>(
    policies: &'a [UpgradePolicy],
    policy: Option<&str>,
    namespace: Option<&str>,
    own: &str,
) -> anyhow::Result<(&'a UpgradePolicy, String)> {
    let candidates: Vec<&UpgradePolicy> =
        policies.iter().filter(|candidate| policy.is_none_or(|name| candidate.name_any() == name)).collect();
    let names = |of: &[&UpgradePolicy]| of.iter().map(|policy| policy.name_any()).collect::<Vec<_>>().join(", ");
    if candidates.is_empty() {
        match policy {
            Some(name) => bail!("there is no UpgradePolicy {name} in the cluster"),
            None => bail!("there is no UpgradePolicy in the cluster"),
        }
    }
    let namespaces: BTreeSet<&str> =
        candidates.iter().flat_map(|policy| &policy.spec.namespaces).map(String::as_str).collect();
    let namespace = match namespace {
        Some(namespace) => namespace,
        None if namespaces.contains(own) => own,
        None if namespaces.len() == 1 => namespaces.first().copied().unwrap_or(own),
        None => {
            let all: Vec<&str> = namespaces.into_iter().collect();
            bail!("which namespace is meant? name one with -n: {}", all.join(", "));
        }
    };
    let governs = |policy: &&UpgradePolicy| policy.spec.namespaces.iter().any(|name| name == namespace);
    let governing: Vec<&UpgradePolicy> = candidates.iter().copied().filter(governs).collect();
    match governing.as_slice() {
        [only] => Ok((only, namespace.to_owned())),
        [] => bail!("no such UpgradePolicy governs the namespace {namespace}: there are {}", names(&candidates)),
        several => bail!("several UpgradePolicies govern {namespace}; name one with --policy: {}", names(several)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(name: &str, namespaces: &[&str]) -> UpgradePolicy {
        let spec = json!({"namespaces": namespaces, "components": [{"name": "api", "match": {"names": ["api"]}}]});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_install_that_is_meant_is_found_or_asked_for() {
        let one = [policy("a", &["x"])];
        let two = [policy("a", &["x", "y"]), policy("b", &["y"])];
        for (policies, name, namespace, own, expected) in [
            (&one[..], None, None, "default", "a in x"),
            (&one[..], Some("a"), Some("x"), "default", "a in x"),
            (&one[..], Some("b"), None, "default", "there is no UpgradePolicy b in the cluster"),
            (&one[..], None, Some("z"), "default", "no such UpgradePolicy governs the namespace z: there are a"),
            (&[][..], None, None, "default", "there is no UpgradePolicy in the cluster"),
            (&two[..], None, None, "x", "a in x"),
            (&two[..], None, None, "default", "which namespace is meant? name one with -n: x, y"),
            (&two[..], None, Some("y"), "x", "several UpgradePolicies govern y; name one with --policy: a, b"),
            (&two[..], Some("b"), None, "x", "b in y"),
        ] {
            let found = chosen(policies, name, namespace, own);
            let found =
                found.map_or_else(|error| error.to_string(), |(policy, n)| format!("{} in {n}", policy.name_any()));
            assert_eq!(found, expected);
        }
    }
}
