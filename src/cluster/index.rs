//! Everything that is known of the cluster: which policies govern a namespace and what is in it.
//!
//! The index is synchronous and knows nothing of watches. What it keeps depends on the policies, so objects that were
//! dropped are needed when a policy asks for more: each such change starts a new *generation*, and the index is synced
//! when every kind was listed from the start under the current one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use kube::Resource;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::feed::{Feed, Source, Workloads, is_revision_wanted, stripped};
use super::inventory::Inventory;
use super::snapshot::Snapshot;
use crate::api::{PlatformRelease, UpgradePolicy, with_releases};
use crate::domain::policy::Policy;

mod crds;
#[cfg(test)]
mod tests;

/// Which object of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its namespace, empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of `object`.
    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Self {
        let metadata = object.meta();
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        Self { namespace: text(&metadata.namespace), name: text(&metadata.name) }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// Why an object is not used as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectProblem {
    /// The object's kind.
    pub source: Source,
    /// Which object.
    pub key: ObjectKey,
    /// What is wrong with it.
    pub message: String,
}

impl ObjectProblem {
    /// A problem of an object without a namespace.
    fn of(source: Source, name: &str, message: impl Into<String>) -> Self {
        let key = ObjectKey { namespace: String::new(), name: name.to_owned() };
        Self { source, key, message: message.into() }
    }
}

/// A complete list of one kind.
#[derive(Debug)]
pub struct Listed<T> {
    /// What was read.
    pub records: Vec<(ObjectKey, T)>,
    /// The objects that are there but could not be read, and why.
    pub unreadable: BTreeMap<ObjectKey, String>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { records: Vec::new(), unreadable: BTreeMap::new() }
    }
}

/// How far the list of a kind is.
#[derive(Clone, Copy, Debug)]
enum ListState {
    /// Listed under this generation.
    Listed(u64),
    /// The cluster does not have the kind.
    Absent,
}

/// A governed namespace.
#[derive(Debug)]
struct Namespace {
    policies: Arc<[Arc<Policy>]>,
    needles: BTreeSet<Needle>,
    inventory: Arc<Inventory>,
    /// How often anything of the above changed. Closed when the namespace is no longer governed.
    revision: watch::Sender<u64>,
}

impl Namespace {
    /// Tells those who follow the namespace, if there are any, that it changed.
    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }
}

/// One thing by which a policy finds workloads, or the name of a CRD that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needle {
    Image(String),
    Labels(BTreeMap<String, String>),
    Name(String),
    Crd(String),
}

fn needles(policies: &[Arc<Policy>]) -> BTreeSet<Needle> {
    let mut needles = BTreeSet::new();
    for component in policies.iter().flat_map(|policy| &policy.components) {
        let matcher = &component.matcher;
        needles.extend(component.crds.iter().cloned().map(Needle::Crd));
        needles.extend(matcher.images.iter().cloned().map(Needle::Image));
        needles.extend(matcher.names.iter().cloned().map(Needle::Name));
        needles.extend((!matcher.labels.is_empty()).then(|| Needle::Labels(matcher.labels.clone())));
    }
    needles
}

/// The policies, and what is kept of the namespaces that they govern.
#[derive(Debug, Default)]
pub struct Index {
    /// The last good self of each policy, without the lines that releases make.
    policies: BTreeMap<String, Policy>,
    releases: BTreeMap<String, PlatformRelease>,
    /// Policies and releases whose newest self could not be read.
    rejected: BTreeMap<(Source, String), String>,
    problems: BTreeSet<ObjectProblem>,
    namespaces: BTreeMap<String, Namespace>,
    lists: BTreeMap<Source, ListState>,
    generation: u64,
    /// How often the policies in force were put together.
    rebuilds: u64,
}

impl Index {
    /// What a decision about `namespace` is made on; `None` when no policy governs it.
    #[must_use]
    pub fn snapshot(&self, namespace: &str) -> Option<Snapshot> {
        let found = self.namespaces.get(namespace)?;
        Some(Snapshot { policies: Arc::clone(&found.policies), inventory: Arc::clone(&found.inventory) })
    }

    /// The governed namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.keys().map(String::as_str)
    }

    /// The policies that govern `namespace`.
    #[must_use]
    pub fn policies(&self, namespace: &str) -> Option<Arc<[Arc<Policy>]>> {
        self.namespaces.get(namespace).map(|found| Arc::clone(&found.policies))
    }

    /// How often `namespace` changed, to follow it by: its policies, or what is in it. It closes when no policy governs
    /// the namespace any more; `None` when none does now.
    #[must_use]
    pub fn revisions(&self, namespace: &str) -> Option<watch::Receiver<u64>> {
        self.namespaces.get(namespace).map(|found| found.revision.subscribe())
    }

    /// The policy with this name.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<Arc<Policy>> {
        let all = self.namespaces.values().flat_map(|namespace| namespace.policies.iter());
        all.into_iter().find(|policy| policy.name == name).map(Arc::clone)
    }

    /// What is wrong with policies and releases now.
    #[must_use]
    pub fn problems(&self) -> Vec<ObjectProblem> {
        self.problems.iter().cloned().collect()
    }

    /// How often the policies asked for more than before; 0 until they were listed for the first time.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether every kind was listed under the current generation.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.unsynced().next().is_none()
    }

    /// Whether what is known of `namespace` is complete.
    fn is_settled(&self, namespace: &str) -> bool {
        if self.namespaces.contains_key(namespace) {
            self.is_synced()
        } else {
            self.lists.contains_key(&Source::Policies)
        }
    }

    /// The kinds whose lists are still to come.
    pub fn unsynced(&self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(|source| match self.lists.get(source) {
            None => true,
            Some(ListState::Absent) => false,
            Some(ListState::Listed(generation)) => source.is_selected() && *generation != self.generation,
        })
    }

    /// How many objects are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        let kept: usize = self.namespaces.values().map(|namespace| namespace.inventory.len()).sum();
        self.policies.len() + self.releases.len() + kept
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // --- policies and releases: each returns the problems that were not there before ---

    /// Stores a policy. One that cannot be read leaves its last good self in force.
    pub fn put_policy(&mut self, policy: &UpgradePolicy) -> Vec<ObjectProblem> {
        self.read_policy(policy);
        self.rebuild()
    }

    /// Forgets a policy.
    pub fn remove_policy(&mut self, name: &str) -> Vec<ObjectProblem> {
        self.policies.remove(name);
        self.rejected.remove(&(Source::Policies, name.to_owned()));
        self.rebuild()
    }

    /// Makes `listed` all the policies there are; one that could not be read stays what it was.
    pub fn reset_policies(&mut self, listed: Listed<UpgradePolicy>) -> Vec<ObjectProblem> {
        let present = present(&listed);
        self.policies.retain(|name, _| present.contains(name));
        self.reject(Source::Policies, listed.unreadable);
        listed.records.iter().for_each(|(_, policy)| self.read_policy(policy));
        let problems = self.rebuild();
        self.lists.insert(Source::Policies, ListState::Listed(self.generation));
        self.generation = self.generation.max(1);
        problems
    }

    /// Stores a release.
    pub fn put_release(&mut self, release: PlatformRelease) -> Vec<ObjectProblem> {
        self.read_release(release);
        self.rebuild()
    }

    /// Forgets a release.
    pub fn remove_release(&mut self, name: &str) -> Vec<ObjectProblem> {
        self.releases.remove(name);
        self.rejected.remove(&(Source::Releases, name.to_owned()));
        self.rebuild()
    }

    /// Makes `listed` all the releases there are; one that could not be read stays what it was.
    pub fn reset_releases(&mut self, listed: Listed<PlatformRelease>) -> Vec<ObjectProblem> {
        let present = present(&listed);
        self.releases.retain(|name, _| present.contains(name));
        self.reject(Source::Releases, listed.unreadable);
        listed.records.into_iter().for_each(|(_, release)| self.read_release(release));
        self.lists.insert(Source::Releases, ListState::Listed(self.generation));
        self.rebuild()
    }

    /// Notes that the newest self of a policy or release cannot be read: the last good one stays in force.
    pub fn unreadable(&mut self, source: Source, name: &str, message: &str) -> Vec<ObjectProblem> {
        self.rejected.insert((source, name.to_owned()), message.to_owned());
        self.rebuild()
    }

    fn reject(&mut self, source: Source, unreadable: BTreeMap<ObjectKey, String>) {
        self.rejected.retain(|(other, _), _| *other != source);
        self.rejected.extend(unreadable.into_iter().map(|(key, message)| ((source, key.name), message)));
    }

    fn read_policy(&mut self, policy: &UpgradePolicy) {
        let name = policy.metadata.name.clone().unwrap_or_default();
        match Policy::try_from(policy) {
            Ok(read) => {
                self.rejected.remove(&(Source::Policies, name.clone()));
                self.policies.insert(name, read);
            }
            Err(problems) => _ = self.rejected.insert((Source::Policies, name), problems.to_string()),
        }
    }

    fn read_release(&mut self, release: PlatformRelease) {
        let name = release.metadata.name.clone().unwrap_or_default();
        self.rejected.remove(&(Source::Releases, name.clone()));
        self.releases.insert(name, stripped(release));
    }

    /// Puts policies and releases together, anew after each change: there are few of them and they change rarely.
    fn rebuild(&mut self) -> Vec<ObjectProblem> {
        let rejected = self.rejected.iter();
        let mut problems: BTreeSet<ObjectProblem> =
            rejected.map(|((source, name), message)| ObjectProblem::of(*source, name, message)).collect();
        let mut governing: BTreeMap<String, Vec<Arc<Policy>>> = BTreeMap::new();
        for policy in self.policies.values() {
            let (policy, found) = with_releases(policy.clone(), self.releases.values());
            let found = found.iter();
            problems.extend(found.map(|(name, found)| ObjectProblem::of(Source::Releases, name, found.to_string())));
            let policy = Arc::new(policy);
            for namespace in &policy.namespaces {
                governing.entry(namespace.clone()).or_default().push(Arc::clone(&policy));
            }
        }
        self.govern(governing);
        let fresh = problems.difference(&self.problems).cloned().collect();
        self.problems = problems;
        fresh
    }

    /// Puts `governing` into force: forgets what nobody asks for any more, and starts a new generation when more is
    /// asked for than before.
    fn govern(&mut self, governing: BTreeMap<String, Vec<Arc<Policy>>>) {
        self.rebuilds += 1;
        let mut old = std::mem::take(&mut self.namespaces);
        let mut grown = false;
        for (name, policies) in governing {
            let policies: Arc<[Arc<Policy>]> = policies.into();
            let needles = needles(&policies);
            let before = old.remove(&name);
            grown |= before.as_ref().is_none_or(|before| !needles.is_subset(&before.needles));
            let kept = before.map(|before| {
                let shrunk = !before.needles.is_subset(&needles);
                let wanted = if shrunk { still_wanted(before.inventory, &policies) } else { before.inventory };
                (wanted, before.revision)
            });
            let (inventory, revision) = kept.unwrap_or_else(|| (Arc::new(Inventory::live()), watch::Sender::default()));
            let namespace = Namespace { policies, needles, inventory, revision };
            namespace.changed();
            self.namespaces.insert(name, namespace);
        }
        // Until the policies were listed nothing was asked for, so nothing was dropped.
        if grown && self.generation > 0 {
            self.generation += 1;
        }
    }

    // --- what is in the namespaces ---

    /// Stores an object, or forgets it when it is no longer wanted.
    pub fn put<F: Feed>(&mut self, feed: F, namespace: &str, record: F::Record) {
        let Some(found) = self.namespaces.get_mut(namespace) else { return };
        if feed.is_wanted(&record, &found.policies) {
            feed.put(Arc::make_mut(&mut found.inventory), record);
            found.changed();
        } else if feed.stored(&found.inventory, feed.name(&record)).is_some() {
            feed.remove(Arc::make_mut(&mut found.inventory), feed.name(&record));
            found.changed();
        }
    }

    /// Forgets an object.
    pub fn remove<F: Feed>(&mut self, feed: F, key: &ObjectKey) {
        let Some(found) = self.namespaces.get_mut(&key.namespace) else { return };
        // Without this a deletion of something that was never kept would copy an inventory that somebody reads.
        if feed.stored(&found.inventory, &key.name).is_some() {
            feed.remove(Arc::make_mut(&mut found.inventory), &key.name);
            found.changed();
        }
    }

    /// Makes `listed` all there is of a kind, in all namespaces at once; an object that could not be read stays what
    /// it was.
    ///
    /// A list that was begun under an older generation is ignored, because it lacks what nobody asked for then; returns
    /// whether the list was used.
    pub fn reset<F: Feed>(&mut self, feed: F, generation: u64, listed: Listed<F::Record>) -> bool {
        if generation != self.generation {
            return false;
        }
        let mut by_namespace: BTreeMap<String, Vec<F::Record>> = BTreeMap::new();
        for (key, record) in listed.records {
            by_namespace.entry(key.namespace).or_default().push(record);
        }
        for key in listed.unreadable.into_keys() {
            let found = self.namespaces.get(&key.namespace);
            if let Some(record) = found.and_then(|found| feed.stored(&found.inventory, &key.name)) {
                by_namespace.entry(key.namespace).or_default().push(record.clone());
            }
        }
        for (name, namespace) in &mut self.namespaces {
            let mut records = by_namespace.remove(name).unwrap_or_default();
            // The policies may ask for less than when the list was begun.
            records.retain(|record| feed.is_wanted(record, &namespace.policies));
            feed.reset(Arc::make_mut(&mut namespace.inventory), records);
            namespace.changed();
        }
        self.lists.insert(feed.source(), ListState::Listed(generation));
        true
    }

    /// Notes that the cluster does not have this kind, so that nothing waits for it.
    pub fn absent<F: Feed>(&mut self, feed: F) {
        self.reset(feed, self.generation, Listed::default());
        self.lists.insert(feed.source(), ListState::Absent);
    }

    /// Notes that the cluster has this kind again, so that its list is waited for.
    pub fn expect(&mut self, source: Source) {
        self.lists.remove(&source);
    }
}

/// The names in a list, readable or not.
fn present<T>(listed: &Listed<T>) -> BTreeSet<String> {
    let read = listed.records.iter().map(|(key, _)| key);
    read.chain(listed.unreadable.keys()).map(|key| key.name.clone()).collect()
}

/// The inventory without what `policies` do not ask for.
fn still_wanted(mut inventory: Arc<Inventory>, policies: &[Arc<Policy>]) -> Arc<Inventory> {
    Arc::make_mut(&mut inventory).retain(
        |record| Workloads(record.kind).is_wanted(record, policies),
        |record| is_revision_wanted(record, policies),
    );
    inventory
}

/// The index as the watches write it and everybody reads it. Clones are the same index.
#[derive(Clone, Debug, Default)]
pub struct SharedIndex(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: RwLock<Index>,
    generation: watch::Sender<u64>,
    synced: watch::Sender<bool>,
    rebuilds: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            index: RwLock::default(),
            generation: watch::Sender::new(0),
            synced: watch::Sender::new(false),
            rebuilds: watch::Sender::new(0),
        }
    }
}

impl SharedIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the index. Nothing slow belongs into `read`: writers wait for it.
    pub fn read<R>(&self, read: impl FnOnce(&Index) -> R) -> R {
        read(&self.0.index.read())
    }

    /// Changes the index; whoever reads sees all of the change or nothing.
    pub fn write<R>(&self, write: impl FnOnce(&mut Index) -> R) -> R {
        let mut index = self.0.index.write();
        let result = write(&mut index);
        // Still under the lock, so that the last to write is the last to tell.
        publish(&self.0.generation, index.generation());
        publish(&self.0.synced, index.is_synced());
        publish(&self.0.rebuilds, index.rebuilds);
        result
    }

    /// What is known of `namespace` now; `None` when no policy governs it.
    #[must_use]
    pub fn snapshot(&self, namespace: &str) -> Option<Snapshot> {
        self.read(|index| index.snapshot(namespace))
    }

    /// Whether every kind was listed under the current generation.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// What is known of `namespace` once that is complete. This may be never: put a timeout on it. A namespace that no
    /// policy governs waits for the first list of the policies and for nothing else.
    pub async fn settled_snapshot(&self, namespace: &str) -> Option<Snapshot> {
        let mut synced = self.0.synced.subscribe();
        loop {
            // Asked and taken under one lock: a policy that asks for more cannot come in between.
            let settled = self.read(|index| index.is_settled(namespace).then(|| index.snapshot(namespace)));
            if let Some(snapshot) = settled {
                return snapshot;
            }
            // The sender is in `self`, so this only ends by a change.
            _ = synced.changed().await;
        }
    }

    /// The generation, for those who list anew when it changes.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    /// How often the policies in force were put together, to follow which namespaces they govern.
    #[must_use]
    pub fn rebuilds(&self) -> watch::Receiver<u64> {
        self.0.rebuilds.subscribe()
    }

    /// Waits until every kind was listed under the current generation.
    pub async fn synced(&self) {
        // The sender is in `self`, so this does not end by an error.
        _ = self.0.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// What is kept of `object`; `None` when that is nothing.
    pub fn select<F: Feed>(&self, feed: F, namespace: &str, object: F::Object) -> Option<F::Record> {
        let policies = self.read(|index| index.policies(namespace))?;
        feed.read(object).filter(|record| feed.is_wanted(record, &policies))
    }

    /// Stores an object that was created or changed.
    pub fn apply<F: Feed>(&self, feed: F, key: &ObjectKey, object: F::Object) {
        match self.select(feed, &key.namespace, object) {
            Some(record) => self.write(|index| index.put(feed, &key.namespace, record)),
            None => self.remove(feed, key),
        }
    }

    /// Forgets an object. What was never kept, which is most of a cluster, takes no write lock.
    pub fn remove<F: Feed>(&self, feed: F, key: &ObjectKey) {
        let kept = self.read(|index| {
            let found = index.namespaces.get(&key.namespace);
            found.is_some_and(|found| feed.stored(&found.inventory, &key.name).is_some())
        });
        if kept {
            self.write(|index| index.remove(feed, key));
        }
    }
}

fn publish<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|current| {
        let changed = *current != value;
        *current = value;
        changed
    });
}
