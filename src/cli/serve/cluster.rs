//! What the reviews ask of the cluster: the watches and the API server, or manifests.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use jiff::Timestamp;

use crate::admission::Cluster;
use crate::api::{PlatformIntent, PolicyProblems, with_releases};
use crate::cli::input::state;
use crate::cluster::authorise::Requester;
use crate::cluster::files::{Manifests, Source};
use crate::cluster::fresh::Fresh;
use crate::cluster::index::SharedIndex;
use crate::cluster::inventory::Inventory;
use crate::cluster::snapshot::Snapshot;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

/// The cluster as the watches see it, and the API server where more than that is needed.
pub(super) struct WatchedCluster {
    pub(super) index: SharedIndex,
    pub(super) fresh: Fresh,
}

impl Cluster for WatchedCluster {
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>> {
        self.index.settled_snapshot(namespace).map(Ok).boxed()
    }

    fn fresh<'a>(
        &'a self,
        namespace: &'a str,
        snapshot: &'a Snapshot,
        own: &'a WorkloadId,
    ) -> BoxFuture<'a, Result<Snapshot, String>> {
        self.fresh.read(namespace, snapshot, Some(own)).map_err(|error| error.to_string()).boxed()
    }

    fn intend<'a>(
        &'a self,
        namespace: &'a str,
        policy: &'a Policy,
        read: (&'a Inventory, Timestamp),
        intents: &'a [PlatformIntent],
    ) -> BoxFuture<'a, Result<bool, String>> {
        self.fresh.intend(namespace, policy, read, intents).map_err(|error| error.to_string()).boxed()
    }

    fn may_override<'a>(
        &'a self,
        who: &'a Requester,
        policy: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<bool, String>> {
        self.fresh.may_override(who, policy, limit).map_err(|error| error.to_string()).boxed()
    }

    fn policy(&self, name: &str) -> Option<Arc<Policy>> {
        self.index.read(|index| index.policy(name))
    }
}

/// The cluster as manifests say, for demonstrations: read anew for each review, so that there is nothing to wait for.
pub(super) struct ManifestCluster {
    pub(super) source: Source,
}

impl ManifestCluster {
    pub(super) fn load(&self) -> Result<(Manifests, Vec<Arc<Policy>>), String> {
        let manifests =
            Manifests::load(std::slice::from_ref(&self.source), None).map_err(|errors| errors.to_string())?;
        let releases: Vec<_> = manifests.releases.iter().map(|found| &found.object).collect();
        let policies = manifests.policies.iter().map(|found| {
            let at = |problems: PolicyProblems| format!("{}: {problems}", found.origin);
            let policy = Policy::try_from(&found.object).map_err(at)?;
            let (policy, mut problems) = with_releases(policy, releases.iter().copied());
            match problems.pop_first() {
                None => Ok(Arc::new(policy)),
                Some((release, problems)) => Err(format!("PlatformRelease {release}: {problems}")),
            }
        });
        let policies = policies.collect::<Result<_, String>>()?;
        Ok((manifests, policies))
    }
}

impl Cluster for ManifestCluster {
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>> {
        let snapshot = self.load().map(|(manifests, policies)| {
            let governing: Arc<[_]> =
                policies.into_iter().filter(|policy| policy.namespaces.contains(namespace)).collect();
            let inventory = state(manifests).remove(namespace).unwrap_or_default().inventory;
            (!governing.is_empty()).then(|| Snapshot { policies: governing, inventory: Arc::new(inventory) })
        });
        futures::future::ready(snapshot).boxed()
    }

    fn fresh<'a>(
        &'a self,
        _: &'a str,
        snapshot: &'a Snapshot,
        _: &'a WorkloadId,
    ) -> BoxFuture<'a, Result<Snapshot, String>> {
        futures::future::ready(Ok(snapshot.clone())).boxed()
    }

    fn intend<'a>(
        &'a self,
        _: &'a str,
        _: &'a Policy,
        _: (&'a Inventory, Timestamp),
        _: &'a [PlatformIntent],
    ) -> BoxFuture<'a, Result<bool, String>> {
        // Nothing is stored in manifests, so nothing has to be seen before it is.
        futures::future::ready(Ok(true)).boxed()
    }

    fn may_override<'a>(&'a self, _: &'a Requester, _: &'a str, _: Duration) -> BoxFuture<'a, Result<bool, String>> {
        // Manifests have no users.
        futures::future::ready(Ok(false)).boxed()
    }

    fn policy(&self, name: &str) -> Option<Arc<Policy>> {
        let (_, policies) = self.load().ok()?;
        policies.into_iter().find(|policy| policy.name == name)
    }
}
