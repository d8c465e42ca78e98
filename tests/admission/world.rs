//! A cluster made of plain values, and the guard in front of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use upgrade_guard::admission::{Admission, Cluster, Judged, Observer};
use upgrade_guard::api::{PlatformIntent, PlatformRelease, UpgradePolicy, with_releases};
use upgrade_guard::cluster::authorise::Requester;
use upgrade_guard::cluster::inventory::{Inventory, RevisionKind};
use upgrade_guard::cluster::object::WorkloadKind;
use upgrade_guard::cluster::snapshot::Snapshot;
use upgrade_guard::domain::policy::Policy;
use upgrade_guard::domain::view::WorkloadId;

use super::objects::{NAMESPACE, Workload, budget, image};
use super::review::{Reply, Review};

/// The policy that is shipped for the platform.
pub fn shipped_policy() -> Value {
    serde_saphyr::from_str(include_str!("../../manifests/policies/stoa.yaml")).unwrap()
}

/// The same without what the hook has to do first.
pub fn stoa_policy() -> Value {
    let mut policy = shipped_policy();
    policy["spec"]["preconditions"] = json!([]);
    policy["spec"].as_object_mut().unwrap().remove("database");
    for component in policy["spec"]["components"].as_array_mut().unwrap() {
        component["crds"] = json!([]);
    }
    policy
}

/// What stands in the cluster.
#[derive(Clone, Debug)]
pub struct World {
    pub policies: Vec<Policy>,
    pub inventory: Inventory,
    pub view: Sight,
    /// What the API server says to each fresh read, in turn; then the same as the watches.
    pub reads: Vec<Read>,
    /// What becomes of each attempt to leave intents, in turn; then they are left.
    pub writes: Vec<Result<bool, &'static str>>,
    /// Whether the user may override policies.
    pub right: Result<bool, &'static str>,
    replica_sets: BTreeSet<String>,
}

/// How the cluster's view answers.
#[derive(Clone, Debug)]
pub enum Sight {
    Clear,
    Broken(&'static str),
    Never,
}

/// How a fresh read ends.
#[derive(Clone, Debug)]
pub enum Read {
    Shows(Box<World>),
    Fails(&'static str),
    Never,
}

impl World {
    /// The shipped policy over an empty namespace.
    pub fn empty() -> Self {
        Self::of(&stoa_policy())
    }

    /// One policy over an empty namespace.
    pub fn of(policy: &Value) -> Self {
        let policy: UpgradePolicy = serde_json::from_value(policy.clone()).unwrap();
        let policy = Policy::try_from(&policy).unwrap();
        Self {
            policies: vec![policy],
            inventory: Inventory::default(),
            view: Sight::Clear,
            reads: vec![],
            writes: vec![],
            right: Ok(false),
            replica_sets: BTreeSet::new(),
        }
    }

    /// The whole platform, settled, with every workload at `version` and Keycloak at 24.0.0.
    pub fn settled(version: &str) -> Self {
        Self::settled_under(&stoa_policy(), version)
    }

    pub fn settled_under(policy: &Value, version: &str) -> Self {
        let mut world = Self::of(policy);
        for component in ["control-plane-api", "stoa-gateway", "control-plane-ui", "portal"] {
            world = world.with(&Workload::deployment(component, &image(component, version)));
        }
        world.with(&keycloak("24.0.0"))
    }

    /// Puts a workload whose pods are all of its own image, and a budget over them.
    pub fn with(mut self, workload: &Workload) -> Self {
        let image = workload.json["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        let pods = workload.record().pods.unwrap_or_default().total;
        self.inventory.budgets_mut().insert(workload.name(), budget(&workload.name(), 1));
        self.with_pods(workload, &[(&image, pods)])
    }

    /// Puts a workload and how many pods each of its images has.
    pub fn with_pods(mut self, workload: &Workload, pods: &[(&str, u32)]) -> Self {
        self.inventory.put_workload(workload.record());
        if matches!(workload.kind, WorkloadKind::Deployment | WorkloadKind::Rollout) {
            let prefix = format!("{}-", workload.name());
            let old: Vec<_> = self.replica_sets.iter().filter(|name| name.starts_with(&prefix)).cloned().collect();
            for name in old {
                self.inventory.remove_revision(&(RevisionKind::ReplicaSet, name));
            }
            for (image, count) in pods {
                let record = workload.replica_set(image, *count);
                self.replica_sets.insert(record.name.clone());
                self.inventory.put_revision(RevisionKind::ReplicaSet, record);
            }
        }
        self
    }

    /// The release lines.
    pub fn releases(mut self, releases: &[Value]) -> Self {
        let releases: Vec<PlatformRelease> =
            releases.iter().map(|release| serde_json::from_value(release.clone()).unwrap()).collect();
        self.policies = self
            .policies
            .into_iter()
            .map(|policy| {
                let (policy, problems) = with_releases(policy, &releases);
                assert!(problems.is_empty(), "{problems:?}");
                policy
            })
            .collect();
        self
    }

    /// Where the user may override policies, may not, or cannot be told about.
    pub fn where_user_may(mut self, right: Result<bool, &'static str>) -> Self {
        self.right = right;
        self
    }

    /// With these answers to fresh reads and to attempts to leave intents.
    pub fn asked(mut self, reads: Vec<Read>, writes: Vec<Result<bool, &'static str>>) -> Self {
        (self.reads, self.writes) = (reads, writes);
        self
    }

    pub fn seen(mut self, view: Sight) -> Self {
        self.view = view;
        self
    }

    /// What the watches show.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            policies: self.policies.iter().cloned().map(Arc::new).collect(),
            inventory: Arc::new(self.inventory.clone()),
        }
    }

    /// The guard in front of this world, and what it was seen to do.
    pub fn guard(&self) -> (Admission, Arc<Witness>) {
        let witness = Arc::new(Witness::default());
        let fake = Fake {
            snapshot: self.snapshot(),
            view: self.view.clone(),
            reads: Mutex::new(self.reads.clone().into()),
            writes: Mutex::new(self.writes.clone().into()),
            right: self.right,
            witness: Arc::clone(&witness),
        };
        (Admission::new(Arc::new(fake), Arc::<Witness>::clone(&witness)), witness)
    }

    /// Sends one review.
    pub async fn ask(&self, review: &Review) -> Reply {
        let (admission, witness) = self.guard();
        let (status, body) = super::review::post(admission, "/validate?timeout=5s", review.bytes()).await;
        Reply::new(status, &body, &witness)
    }
}

/// Keycloak as it is deployed: a StatefulSet.
pub fn keycloak(version: &str) -> Workload {
    Workload::stateful_set("keycloak", &format!("quay.io/keycloak/keycloak:{version}"))
}

/// A release of the shipped policy: its version and what each component is in it.
pub fn release(version: &str, components: &[(&str, &str)]) -> Value {
    let components: Vec<Value> =
        components.iter().map(|(name, version)| json!({"name": name, "version": version})).collect();
    json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1",
        "kind": "PlatformRelease",
        "metadata": {"name": version},
        "spec": {"policy": "stoa", "version": version, "components": components},
    })
}

struct Fake {
    snapshot: Snapshot,
    view: Sight,
    reads: Mutex<VecDeque<Read>>,
    writes: Mutex<VecDeque<Result<bool, &'static str>>>,
    right: Result<bool, &'static str>,
    witness: Arc<Witness>,
}

impl Cluster for Fake {
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>> {
        self.witness.snapshots.fetch_add(1, Ordering::Relaxed);
        let governed = !self.snapshot.policies.is_empty() && namespace == NAMESPACE;
        match self.view {
            Sight::Clear => futures::future::ready(Ok(governed.then(|| self.snapshot.clone()))).boxed(),
            Sight::Broken(why) => futures::future::ready(Err(why.to_owned())).boxed(),
            Sight::Never => futures::future::pending().boxed(),
        }
    }

    fn fresh<'a>(
        &'a self,
        namespace: &'a str,
        snapshot: &'a Snapshot,
        own: &'a WorkloadId,
    ) -> BoxFuture<'a, Result<Snapshot, String>> {
        assert_eq!(namespace, NAMESPACE);
        self.witness.reads.lock().push(own.to_string());
        match self.reads.lock().pop_front() {
            None => futures::future::ready(Ok(snapshot.clone())).boxed(),
            Some(Read::Shows(world)) => futures::future::ready(Ok(world.snapshot())).boxed(),
            Some(Read::Fails(why)) => futures::future::ready(Err(why.to_owned())).boxed(),
            Some(Read::Never) => futures::future::pending().boxed(),
        }
    }

    fn intend<'a>(
        &'a self,
        namespace: &'a str,
        policy: &'a Policy,
        _: (&'a Inventory, Timestamp),
        intents: &'a [PlatformIntent],
    ) -> BoxFuture<'a, Result<bool, String>> {
        assert_eq!(namespace, NAMESPACE);
        let written = self.writes.lock().pop_front().unwrap_or(Ok(true));
        if written == Ok(true) {
            let left = intents.iter().map(|intent| (policy.name.clone(), intent.clone()));
            self.witness.intents.lock().extend(left);
        }
        futures::future::ready(written.map_err(str::to_owned)).boxed()
    }

    fn may_override<'a>(
        &'a self,
        who: &'a Requester,
        policy: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<bool, String>> {
        self.witness.rights.lock().push(format!("{} {policy}", who.user));
        let right = self.right.map_err(str::to_owned);
        futures::future::ready(right).boxed()
    }

    fn policy(&self, name: &str) -> Option<Arc<Policy>> {
        self.snapshot.policies.iter().find(|policy| policy.name == name).cloned()
    }
}

/// What the guard was seen to do.
#[derive(Default)]
pub struct Witness {
    pub snapshots: AtomicUsize,
    /// The workloads whose installs were read anew.
    pub reads: Mutex<Vec<String>>,
    /// What was left behind, with the policy.
    pub intents: Mutex<Vec<(String, PlatformIntent)>>,
    pub lost: AtomicUsize,
    /// Who was asked about for the right to override, with the policy.
    pub rights: Mutex<Vec<String>>,
    pub decided: Mutex<Vec<String>>,
    pub paths: Mutex<Vec<&'static str>>,
}

impl Observer for Witness {
    fn lost_race(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn judged(&self, judged: &Judged<'_>) {
        let (policy, change) = &judged.changes[0];
        let component = change.moves.first().map(|step| step.component);
        let component = component.or_else(|| change.capacity.as_ref().map(|capacity| capacity.component));
        let component = component.map_or("", |id| policy.component(id).name.as_str());
        let dry = if judged.dry_run { " dry" } else { "" };
        self.decided.lock().push(format!("{}/{component} {}{dry}", policy.name, judged.decision.verdict));
    }

    fn answered(&self, path: &'static str, _elapsed: Duration) {
        self.paths.lock().push(path);
    }
}
