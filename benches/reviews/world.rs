//! A view of many namespaces, and the two reviews that are asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use upgrade_guard::admission::{Admission, Cluster, Judged, Observer};
use upgrade_guard::api::PlatformIntent;
use upgrade_guard::cluster::authorise::Requester;
use upgrade_guard::cluster::inventory::Inventory;
use upgrade_guard::cluster::snapshot::Snapshot;
use upgrade_guard::domain::policy::Policy;
use upgrade_guard::domain::view::WorkloadId;

use crate::fixtures::objects::{NAMESPACE, Workload, image};
use crate::fixtures::review::Review;
use crate::fixtures::world;

/// Workloads of one namespace elsewhere.
const PER_NAMESPACE: usize = 10;

/// The platform at 2.2.0, and others like it in other namespaces.
pub struct World {
    snapshots: HashMap<String, Snapshot>,
}

impl World {
    /// With this many governed workloads in other namespaces.
    pub fn with_elsewhere(workloads: usize) -> Self {
        let platform = world::World::settled("2.2.0");
        let policies: Arc<[Arc<Policy>]> = platform.policies.iter().cloned().map(Arc::new).collect();
        let snapshot = |world: &world::World| Snapshot {
            policies: Arc::clone(&policies),
            inventory: Arc::new(world.inventory.clone()),
        };
        let mut snapshots = HashMap::from([(NAMESPACE.to_owned(), snapshot(&platform))]);
        for number in 0..workloads / PER_NAMESPACE {
            let others = (0..PER_NAMESPACE).fold(world::World::empty(), |world, index| {
                world.with(&Workload::deployment(&format!("gateway-{index}"), &image("stoa-gateway", "2.2.0")))
            });
            snapshots.insert(format!("team-{number}"), snapshot(&others));
        }
        Self { snapshots }
    }

    /// The guard in front of it.
    pub fn admission(&self) -> Admission {
        let seen = Seen { snapshots: self.snapshots.clone() };
        Admission::new(Arc::new(seen), Arc::new(Unheard))
    }
}

struct Seen {
    snapshots: HashMap<String, Snapshot>,
}

impl Cluster for Seen {
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>> {
        futures::future::ready(Ok(self.snapshots.get(namespace).cloned())).boxed()
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
        futures::future::ready(Ok(true)).boxed()
    }

    fn may_override<'a>(&'a self, _: &'a Requester, _: &'a str, _: Duration) -> BoxFuture<'a, Result<bool, String>> {
        futures::future::ready(Ok(false)).boxed()
    }

    fn policy(&self, _name: &str) -> Option<Arc<Policy>> {
        None
    }
}

struct Unheard;

impl Observer for Unheard {
    fn lost_race(&self) {}
    fn judged(&self, _: &Judged<'_>) {}
    fn answered(&self, _path: &'static str, _elapsed: Duration) {}
}

fn gateway() -> Workload {
    Workload::deployment("stoa-gateway", &image("stoa-gateway", "2.2.0"))
}

/// An update that moves no version.
pub fn fast_review() -> Vec<u8> {
    Review::update(&gateway(), &gateway().set("/metadata/annotations/team", "edge")).bytes()
}

/// An update before upstream.
pub fn refused_review() -> Vec<u8> {
    Review::image(&gateway(), &image("stoa-gateway", "2.3.0")).bytes()
}
