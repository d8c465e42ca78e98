//! The loop of the replica that leads: each install is looked at when anything of it changes, and now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::events::{Events, platform_reference, workload_reference};
use super::holds;
use super::pods::NamespacePods;
use super::revision::{Databases, noted};
use super::skew::skew;
use super::status::{About, Advanced, PodImages, Sight, Told, advance, orphaned};
use super::{Install, Observer};
use crate::api::{Platform, PlatformStatus};
use crate::cluster::fresh::{Calls, Fresh, FreshError};
use crate::cluster::index::SharedIndex;
use crate::cluster::inventory::Inventory;
use crate::cluster::ledger::{Ledger, LedgerError};
use crate::cluster::snapshot::Snapshot;
use crate::domain::policy::{Matcher, Policy};
use crate::domain::view::WorkloadId;

#[cfg(test)]
mod tests;

/// The longest wait for the API server on one thing: the client itself waits far longer.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an install is looked at when nothing happens.
const RESYNC: Duration = Duration::from_mins(1);
/// The time between two looks at one install, however much happens: a rollout changes several objects at once.
const INTERVAL: Duration = Duration::from_millis(350);
/// How often a write that came too late is made anew before it waits its turn again.
const MOST_TRIES: usize = 12;
/// How long the first list of a namespace's pods is waited for: without it a status would come without digests, and
/// once more with them.
const PODS_PATIENCE: Duration = Duration::from_secs(10);
/// The longest wait after a failure, for a backoff that has none to offer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Why an install could not be looked at.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Fresh(#[from] FreshError),
    #[error("no answer within {} seconds", API_TIMEOUT.as_secs())]
    Timeout,
    #[error("others were faster {MOST_TRIES} times")]
    Busy,
}

impl Failure {
    /// Whether there is no namespace for a Platform, or not for long: policies name namespaces that do not exist yet.
    fn is_homeless(&self) -> bool {
        let Self::Ledger(LedgerError::Api { source, .. }) = self else { return false };
        let kube::Error::Api(status) = source.as_ref() else { return false };
        status.code == 404 || (status.code == 403 && status.message.contains("is being terminated"))
    }
}

/// Keeps the `Platform` of every install. Clones are the same controller.
#[derive(Clone)]
pub struct Controller {
    client: Client,
    index: SharedIndex,
    ledger: Ledger,
    fresh: Fresh,
    events: Events,
    observer: Arc<dyn Observer>,
    databases: Option<Databases>,
}

/// Only the calls on the way of a review are counted.
struct Uncounted;

impl Calls for Uncounted {
    fn called(&self, _: &'static str, _: &'static str, _: bool, _: Duration) {}
}

/// What runs for a governed namespace; dropped, it ends.
struct Followed {
    matchers: Vec<Matcher>,
    pods: Arc<NamespacePods>,
    watch: AbortOnDropHandle<()>,
    installs: BTreeMap<Install, AbortOnDropHandle<()>>,
}

impl Controller {
    /// A controller of what `index` knows.
    #[must_use]
    pub fn new(client: Client, index: SharedIndex, events: Events, observer: Arc<dyn Observer>) -> Self {
        let (ledger, fresh) = (Ledger::new(client.clone()), Fresh::new(client.clone(), Arc::new(Uncounted)));
        Self { client, index, ledger, fresh, events, observer, databases: None }
    }

    /// The same, which also reads these databases.
    #[must_use]
    pub fn reading(self, databases: Option<Databases>) -> Self {
        Self { databases, ..self }
    }

    /// Keeps all installs, for ever. Dropped, it writes nothing more.
    pub async fn run(&self) {
        let mut rebuilds = self.index.rebuilds();
        let mut followed = BTreeMap::new();
        let mut backoff = DefaultBackoff::default();
        let mut look_for_orphans = true;
        loop {
            rebuilds.borrow_and_update();
            self.index.synced().await;
            self.follow(&mut followed);
            let mut wait = RESYNC;
            if look_for_orphans {
                let (disowned, went) = (self.disown().await, self.let_go_ungoverned().await);
                match disowned.and(went) {
                    Ok(()) => {
                        look_for_orphans = false;
                        backoff.reset();
                    }
                    Err(error) => {
                        warn!(error, "what no policy governs any more cannot be left in order, trying again");
                        wait = backoff.next().unwrap_or(LONGEST_BACKOFF);
                    }
                }
            }
            tokio::select! {
                // The sender is in the index, so this is a change.
                _ = rebuilds.changed() => look_for_orphans = true,
                () = sleep(wait) => {}
            }
        }
    }

    /// Starts what is governed now and does not run, and ends what is no longer governed.
    fn follow(&self, followed: &mut BTreeMap<String, Followed>) {
        let governed: BTreeMap<String, Arc<[Arc<Policy>]>> = self.index.read(|index| {
            index.namespaces().filter_map(|name| Some((name.to_owned(), index.policies(name)?))).collect()
        });
        let left: Vec<String> = followed.keys().filter(|name| !governed.contains_key(*name)).cloned().collect();
        for name in left {
            let installs = followed.remove(&name).map(|found| found.installs).unwrap_or_default();
            for install in installs.keys() {
                self.observer.gone(install);
            }
        }
        for (name, policies) in governed {
            let components = policies.iter().flat_map(|policy| &policy.components);
            let matchers: Vec<Matcher> = components.map(|component| component.matcher.clone()).collect();
            let same = |found: &Followed| found.matchers == matchers && !found.watch.is_finished();
            if !followed.get(&name).is_some_and(same) {
                // What was not asked for before was not kept.
                let pods = Arc::<NamespacePods>::default();
                let watch = Arc::clone(&pods).follow(self.client.clone(), name.clone(), Arc::clone(&policies));
                let watch = AbortOnDropHandle::new(tokio::spawn(watch));
                let fresh = Followed { matchers, pods, watch, installs: BTreeMap::new() };
                followed.insert(name.clone(), fresh);
            }
            if let Some(found) = followed.get_mut(&name) {
                self.follow_installs(found, &name, &policies);
            }
        }
    }

    fn follow_installs(&self, followed: &mut Followed, namespace: &str, policies: &[Arc<Policy>]) {
        let is_governed = |install: &Install| policies.iter().any(|policy| policy.name == install.policy);
        followed.installs.retain(|install, task| {
            let stays = is_governed(install);
            if !stays {
                self.observer.gone(install);
            }
            // One that ended by itself panicked, and is started again.
            stays && !task.is_finished()
        });
        for policy in policies {
            let install = Install { namespace: namespace.to_owned(), policy: policy.name.clone() };
            followed.installs.entry(install.clone()).or_insert_with(|| {
                let (controller, pods) = (self.clone(), Arc::clone(&followed.pods));
                AbortOnDropHandle::new(tokio::spawn(async move {
                    // Neither ends, and a database that does not answer keeps nothing else waiting.
                    tokio::join!(controller.keep(&install, &pods), controller.keep_revision(&install));
                }))
            });
        }
    }

    /// Keeps one install, for ever.
    async fn keep(&self, install: &Install, pods: &NamespacePods) {
        let mut digests = pods.revisions();
        if timeout(PODS_PATIENCE, digests.wait_for(|revision| *revision > 0)).await.is_err() {
            warn!(namespace = install.namespace, "the pods are not listed yet: their digests come later");
        }
        let mut changes = self.revisions(&install.namespace).await;
        let mut backoff = DefaultBackoff::default();
        let mut failures = 0_u32;
        loop {
            changes.borrow_and_update();
            digests.borrow_and_update();
            let Ok(wake) = self.look(install, pods, failures == 0).await else {
                failures = failures.saturating_add(1);
                sleep(backoff.next().unwrap_or(LONGEST_BACKOFF)).await;
                continue;
            };
            failures = 0;
            backoff.reset();
            self.let_go(install).await;
            sleep(INTERVAL).await;
            tokio::select! {
                change = changes.changed() => if change.is_err() {
                    changes = self.revisions(&install.namespace).await;
                },
                // The sender is in `pods`.
                _ = digests.changed() => {}
                () = sleep(wake) => {}
            }
        }
    }

    /// Keeps the revision of the install's database on its Platform, for ever.
    async fn keep_revision(&self, install: &Install) {
        let Some(databases) = &self.databases else { return };
        let mut failed = false;
        loop {
            let looked = self.note_revision(databases, install).await;
            match &looked {
                Err(error) if !failed => {
                    let Install { namespace, policy } = install;
                    warn!(namespace, policy, error, "the database's revision cannot be noted, trying again");
                }
                _ => {}
            }
            failed = looked.is_err();
            sleep(databases.every).await;
        }
    }

    async fn note_revision(&self, databases: &Databases, install: &Install) -> Result<(), String> {
        let Some(snapshot) = self.index.settled_snapshot(&install.namespace).await else { return Ok(()) };
        let policy = snapshot.policies.iter().find(|policy| policy.name == install.policy);
        let Some(rules) = policy.and_then(|policy| policy.database.as_ref()) else { return Ok(()) };
        let Some(seen) = databases.look(install, rules).await else { return Ok(()) };
        let now = Timestamp::now();
        let known = snapshot.inventory.platforms().get(&install.policy).and_then(|platform| platform.status.as_ref());
        // What the index knows may be old: then it changes, and the next look tells.
        if known.is_some_and(|status| noted(status.database.as_deref(), &seen, now).is_none()) {
            return Ok(());
        }
        let written = self.ledger.update(&install.namespace, &install.policy, |status| {
            let new = noted(status.database.as_deref(), &seen, now);
            let is_new = new.is_some();
            status.database = new.map(Box::new).or_else(|| status.database.take());
            is_new
        });
        match timeout(API_TIMEOUT, written).await {
            Ok(Ok(true)) => self.observer.wrote(),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_elapsed) => return Err(Failure::Timeout.to_string()),
        }
        Ok(())
    }

    /// Lets go what is held in the install's namespace and may go on by now.
    async fn let_go(&self, install: &Install) {
        let Some(snapshot) = self.index.settled_snapshot(&install.namespace).await else { return };
        let going = holds::let_go(&self.client, &snapshot, &install.namespace, Timestamp::now());
        match timeout(API_TIMEOUT, going).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(namespace = install.namespace, %error, "what is held cannot be let go, trying again");
            }
            Err(_elapsed) => warn!(namespace = install.namespace, "what is held cannot be let go: no answer"),
        }
    }

    /// Lets go what is held and no longer any policy's.
    async fn let_go_ungoverned(&self) -> Result<(), String> {
        let governed = |namespace: &str, workload: &WorkloadId| {
            self.index.snapshot(namespace).is_some_and(|snapshot| snapshot.inventory.workload(workload).is_some())
        };
        let going = holds::let_go_ungoverned(&self.client, governed);
        let went = timeout(API_TIMEOUT, going).await.map_err(|_elapsed| "no answer".to_owned())?;
        went.map(drop).map_err(|error| error.to_string())
    }

    /// The changes of a namespace, as soon as it is governed.
    async fn revisions(&self, namespace: &str) -> watch::Receiver<u64> {
        let mut rebuilds = self.index.rebuilds();
        loop {
            rebuilds.borrow_and_update();
            if let Some(revisions) = self.index.read(|index| index.revisions(namespace)) {
                return revisions;
            }
            _ = rebuilds.changed().await;
        }
    }

    /// Looks at an install once, and tells the observer; gives how long nothing is due if nothing changes.
    async fn look(&self, install: &Install, pods: &NamespacePods, is_news: bool) -> Result<Duration, Failed> {
        // What is not listed yet is no failure, however long that takes.
        let Some(snapshot) = self.index.settled_snapshot(&install.namespace).await else { return Ok(RESYNC) };
        let began = Instant::now();
        let result = self.reconcile(install, &snapshot, pods).await;
        let homeless = result.as_ref().is_err_and(Failure::is_homeless);
        self.observer.reconciled(began.elapsed(), result.is_err() && !homeless);
        result.map_err(|error| {
            let Install { namespace, policy } = install;
            if homeless || !is_news {
                debug!(namespace, policy, %error, "the Platform cannot be kept, trying again");
            } else {
                warn!(namespace, policy, %error, "the Platform cannot be kept, trying again");
            }
            Failed
        })
    }

    async fn reconcile(
        &self,
        install: &Install,
        snapshot: &Snapshot,
        pods: &NamespacePods,
    ) -> Result<Duration, Failure> {
        let Some(policy) = snapshot.policies.iter().find(|policy| policy.name == install.policy) else {
            return Ok(RESYNC);
        };
        let inventory = snapshot.inventory.as_ref();
        let images = pods.images(policy, inventory);
        let platform = inventory.platforms().get(&install.policy);
        let known = platform.filter(|platform| platform.spec.policy == policy.name);
        let now = Timestamp::now();
        // What the index knows is enough to see that there is nothing to write. It may be old: then it changes, and
        // this is done again.
        let settled = known.and_then(|platform| {
            let status = platform.status.as_ref()?;
            let sight = Sight { policy, inventory, images: &images, generation: generation(Some(platform)), now };
            (advance(&sight, status).status == *status).then(|| status.clone())
        });
        let status = match settled {
            Some(status) => status,
            None => self.write(install, policy, snapshot, &images).await?,
        };
        self.observer.install(install, &status, &skew(policy, &inventory.view(policy, now), now));
        Ok(until_next_expiry(&status, now).min(RESYNC))
    }

    /// Writes the next status of an install and tells people of it.
    async fn write(
        &self,
        install: &Install,
        policy: &Policy,
        snapshot: &Snapshot,
        images: &PodImages,
    ) -> Result<PlatformStatus, Failure> {
        for tried in 0..MOST_TRIES {
            let attempt = timeout(API_TIMEOUT, self.attempt(install, policy, snapshot, images)).await;
            match attempt.map_err(|_elapsed| Failure::Timeout)? {
                Ok((status, told)) => {
                    self.observer.lost_races(tried);
                    for told in told {
                        self.tell(install, &snapshot.inventory, &told).await;
                    }
                    return Ok(status);
                }
                Err(Failure::Ledger(error)) if error.is_lost() => {}
                Err(error) => return Err(error),
            }
        }
        self.observer.lost_races(MOST_TRIES);
        Err(Failure::Busy)
    }

    /// One try to write: the Platform is read first, and the write fails when somebody else wrote it since. Only fresh
    /// reads that come after tell whether an intent has ended.
    async fn attempt(
        &self,
        install: &Install,
        policy: &Policy,
        snapshot: &Snapshot,
        images: &PodImages,
    ) -> Result<(PlatformStatus, Vec<Told>), Failure> {
        let now = Timestamp::now();
        let mut platform = self.ledger.read(&install.namespace, &install.policy).await?;
        let has_intents = platform.status.as_ref().is_some_and(|status| !status.intents.is_empty());
        let fresh = if has_intents {
            let fresh = self.fresh.read(&install.namespace, snapshot, None).await?;
            if let Some(read) = fresh.inventory.platforms().get(&install.policy) {
                platform.clone_from(read);
            }
            Some(fresh)
        } else {
            None
        };
        let inventory = fresh.as_ref().map_or(&snapshot.inventory, |fresh| &fresh.inventory);
        let generation = platform.metadata.generation.unwrap_or(1);
        let old = platform.status.clone().unwrap_or_default();
        let Advanced { status, told } = advance(&Sight { policy, inventory, images, generation, now }, &old);
        if status == old {
            return Ok((status, vec![]));
        }
        self.ledger.write(&platform, &status).await?;
        self.observer.wrote();
        Ok((status, told))
    }

    async fn tell(&self, install: &Install, inventory: &Inventory, told: &Told) {
        let regarding = match &told.about {
            About::Platform => {
                let platform = inventory.platforms().get(&install.policy);
                platform_reference(install, platform.and_then(|platform| platform.metadata.uid.clone()))
            }
            About::Workload(id) => {
                let uid = inventory.workload(id).map(|record| record.uid.as_str());
                workload_reference(&install.namespace, id, uid.unwrap_or_default())
            }
        };
        self.events.say(&regarding, told.warning, told.reason, &told.note).await;
    }

    /// Says in each Platform that no policy governs any more that it is so, with what went wrong last.
    async fn disown(&self) -> Result<(), String> {
        let api: Api<Platform> = Api::all(self.client.clone());
        let listed = timeout(API_TIMEOUT, api.list(&ListParams::default())).await;
        let listed = listed.map_err(|_elapsed| "no answer".to_owned())?.map_err(|error| error.to_string())?;
        let mut failed = Ok(());
        for platform in listed {
            let namespace = platform.namespace().unwrap_or_default();
            let policies = self.index.read(|index| index.policies(&namespace));
            let is_governed = policies.is_some_and(|all| all.iter().any(|policy| policy.name == platform.spec.policy));
            if is_governed || platform.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let old = platform.status.clone().unwrap_or_default();
            let status = orphaned(&old, Timestamp::now());
            match timeout(API_TIMEOUT, self.ledger.write(&platform, &status)).await {
                Ok(Ok(_)) if status != old => self.observer.wrote(),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => failed = Err(error.to_string()),
                Err(_elapsed) => failed = Err(Failure::Timeout.to_string()),
            }
        }
        failed
    }
}

/// The failure was told already.
struct Failed;

/// The generation of `platform`. One that is still to be made begins with 1, and its spec never changes.
fn generation(platform: Option<&Platform>) -> i64 {
    platform.and_then(|platform| platform.metadata.generation).unwrap_or(1)
}

/// How long until the next intent of `status` expires.
fn until_next_expiry(status: &PlatformStatus, now: Timestamp) -> Duration {
    let left = status.intents.iter().map(|intent| intent.expires.0.duration_since(now));
    let next = left.filter_map(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero()).min();
    next.unwrap_or(Duration::MAX)
}
