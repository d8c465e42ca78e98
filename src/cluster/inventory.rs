//! All records of one namespace, and the views made of them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::object::{Container, WorkloadKind};
use super::prepared::preparation;
use super::record::{AutoscalerRecord, BudgetRecord, RevisionRecord, TemplateRecord, WorkloadRecord};
use super::schema::schema;
use crate::api::{Platform, PlatformIntent, PlatformWorkload};
use crate::domain::change::{Budget, Capacity};
use crate::domain::intent::Evidence;
use crate::domain::matching::governed;
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::preparation::CrdState;
use crate::domain::resolver::{Resolved, resolve};
use crate::domain::version::Version;
use crate::domain::view::{ComponentView, Intent, Missing, Rollout, View, WorkloadId, WorkloadView};

/// What stands for the version of pods whose revision is not known.
pub(crate) const UNKNOWN_REVISION: &str = "an unknown revision";
/// Workloads that are remembered after they were deleted, per namespace. Real installs have a handful; the bound
/// keeps a namespace that churns through names from growing for ever.
const REMEMBERED_WORKLOADS: usize = 256;

/// The records of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    workloads: BTreeMap<WorkloadId, Entry>,
    /// What workloads that are gone had completed.
    departed: BTreeMap<WorkloadId, Departed>,
    revisions: BTreeMap<RevisionId, RevisionRecord>,
    budgets: BTreeMap<String, BudgetRecord>,
    autoscalers: BTreeMap<String, AutoscalerRecord>,
    platforms: BTreeMap<String, Platform>,
    /// The CRDs that the policies name, where somebody looked for them.
    crds: Option<BTreeMap<String, CrdState>>,
    /// Whether a `Platform` that is not here is nowhere.
    live: bool,
}

/// A revision's kind and name.
pub type RevisionId = (RevisionKind, String);

/// What a revision is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevisionKind {
    /// A ReplicaSet, which counts its pods.
    ReplicaSet,
    /// A ControllerRevision, which does not.
    ControllerRevision,
}

#[derive(Clone, Debug)]
struct Entry {
    record: WorkloadRecord,
    /// What its pods were made of when its rollout was last complete.
    completed: Option<TemplateRecord>,
}

#[derive(Clone, Debug)]
struct Departed {
    labels: BTreeMap<String, String>,
    completed: TemplateRecord,
}

impl Inventory {
    /// The inventory of a namespace in a cluster: what is not in it does not exist. In the default one, made of
    /// manifests, it was perhaps not given.
    #[must_use]
    pub fn live() -> Self {
        Self { crds: Some(BTreeMap::new()), live: true, ..Self::default() }
    }

    /// Stores a workload, in place of its older self.
    pub fn put_workload(&mut self, record: WorkloadRecord) {
        let id = record.id();
        let settled = record.rollout == Rollout::Settled && record.replicas > 0;
        let before = self.workloads.remove(&id).and_then(|entry| entry.completed);
        let remembered = self.departed.remove(&id).map(|departed| departed.completed);
        let completed = if settled { Some(record.template.clone()) } else { before.or(remembered) };
        self.workloads.insert(id, Entry { record, completed });
    }

    /// Removes a workload, and remembers what it had completed.
    pub fn remove_workload(&mut self, id: &WorkloadId) {
        if let Some(Entry { record, completed: Some(completed) }) = self.workloads.remove(id) {
            self.departed.insert(id.clone(), Departed { labels: record.labels, completed });
            while self.departed.len() > REMEMBERED_WORKLOADS {
                self.departed.pop_first();
            }
        }
    }

    /// Replaces all workloads of `kind`, as a relist does; those that are missing count as deleted.
    pub fn reset_workloads(&mut self, kind: WorkloadKind, records: Vec<WorkloadRecord>) {
        let present: BTreeSet<WorkloadId> = records.iter().map(WorkloadRecord::id).collect();
        let gone: Vec<WorkloadId> =
            (self.workloads.keys()).filter(|id| id.kind == kind.as_str() && !present.contains(id)).cloned().collect();
        for id in &gone {
            self.remove_workload(id);
        }
        for record in records {
            self.put_workload(record);
        }
    }

    /// Stores a revision; one without pods, of a kind that counts them, is forgotten.
    pub fn put_revision(&mut self, kind: RevisionKind, record: RevisionRecord) {
        let id = (kind, record.name.clone());
        if kind == RevisionKind::ReplicaSet && record.pods == 0 {
            self.revisions.remove(&id);
        } else {
            self.revisions.insert(id, record);
        }
    }

    /// Removes a revision.
    pub fn remove_revision(&mut self, id: &RevisionId) {
        self.revisions.remove(id);
    }

    /// Replaces all revisions of `kind`, as a relist does.
    pub fn reset_revisions(&mut self, kind: RevisionKind, records: Vec<RevisionRecord>) {
        self.revisions.retain(|(other, _), _| *other != kind);
        for record in records {
            self.put_revision(kind, record);
        }
    }

    /// The revision with this kind and name.
    #[must_use]
    pub fn revision(&self, id: &RevisionId) -> Option<&RevisionRecord> {
        self.revisions.get(id)
    }

    /// Forgets the workloads and revisions that are no longer wanted. They were not deleted, so nothing of them is
    /// remembered.
    pub fn retain(&mut self, workload: impl Fn(&WorkloadRecord) -> bool, revision: impl Fn(&RevisionRecord) -> bool) {
        self.workloads.retain(|_, entry| workload(&entry.record));
        self.revisions.retain(|_, record| revision(record));
    }

    /// The disruption budgets by name.
    #[must_use]
    pub fn budgets(&self) -> &BTreeMap<String, BudgetRecord> {
        &self.budgets
    }

    /// The autoscalers by name.
    #[must_use]
    pub fn autoscalers(&self) -> &BTreeMap<String, AutoscalerRecord> {
        &self.autoscalers
    }

    /// The `Platform` objects by name.
    #[must_use]
    pub fn platforms(&self) -> &BTreeMap<String, Platform> {
        &self.platforms
    }

    /// The CRDs by name; `None` where nobody looked for them.
    #[must_use]
    pub fn crds(&self) -> Option<&BTreeMap<String, CrdState>> {
        self.crds.as_ref()
    }

    /// The CRDs by name, which from now on are looked for.
    pub fn crds_mut(&mut self) -> &mut BTreeMap<String, CrdState> {
        self.crds.get_or_insert_default()
    }

    /// Takes over what is known of CRDs; `None` where that cannot be told.
    pub fn set_crds(&mut self, crds: Option<BTreeMap<String, CrdState>>) {
        self.crds = crds;
    }

    /// The disruption budgets by name.
    pub fn budgets_mut(&mut self) -> &mut BTreeMap<String, BudgetRecord> {
        &mut self.budgets
    }

    /// The autoscalers by name.
    pub fn autoscalers_mut(&mut self) -> &mut BTreeMap<String, AutoscalerRecord> {
        &mut self.autoscalers
    }

    /// The `Platform` objects by name.
    pub fn platforms_mut(&mut self) -> &mut BTreeMap<String, Platform> {
        &mut self.platforms
    }

    /// The workload with this id.
    #[must_use]
    pub fn workload(&self, id: &WorkloadId) -> Option<&WorkloadRecord> {
        self.workloads.get(id).map(|entry| &entry.record)
    }

    /// Whether this workload is there.
    #[must_use]
    pub fn has(&self, workload: &PlatformWorkload) -> bool {
        self.workload(&WorkloadId { kind: workload.kind.clone(), name: workload.name.clone() }).is_some()
    }

    /// All workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &WorkloadRecord> {
        self.workloads.values().map(|entry| &entry.record)
    }

    /// How many objects are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        let crds = self.crds.as_ref().map_or(0, BTreeMap::len);
        let beside = self.budgets.len() + self.autoscalers.len() + self.platforms.len() + crds;
        self.workloads.len() + self.revisions.len() + beside
    }

    /// Whether nothing is kept, nor remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.departed.is_empty()
    }

    /// The install of `policy` in this namespace, as it counts at `now`.
    #[must_use]
    pub fn view(&self, policy: &Policy, now: Timestamp) -> View {
        let mut view = View::empty(policy);
        for Entry { record, .. } in self.workloads.values() {
            for (id, workload) in self.workload_views(policy, record) {
                view.components[id.0].workloads.push(workload);
            }
        }
        for id in policy.ids() {
            let component = &mut view.components[id.0];
            component.recorded = self.recorded(policy, id, component);
            component.intents = self.intents(policy, id, now);
        }
        view.crds.clone_from(&self.crds);
        self.add_preparations(policy, &mut view);
        self.add_schema(policy, &mut view);
        view
    }

    /// Adds what the hook recorded for the install, and what was accepted for it.
    fn add_preparations(&self, policy: &Policy, view: &mut View) {
        let own = || self.platforms.values().filter(|platform| platform.spec.policy == policy.name);
        view.acknowledged = own().flat_map(|platform| &platform.spec.acknowledged).cloned().collect();
        let recorded = self.of_platform(policy).flat_map(|status| &status.preparations);
        let recorded = recorded.map(|recorded| preparation(policy, recorded));
        view.preparations = (self.live || own().next().is_some()).then(|| recorded.collect());
    }

    /// Adds what is known of the database, where the policy has one.
    fn add_schema(&self, policy: &Policy, view: &mut View) {
        let has_platform = self.platforms.values().any(|platform| platform.spec.policy == policy.name);
        if policy.database.is_some() && (self.live || has_platform) {
            let recorded = self.of_platform(policy).find_map(|status| status.database.as_deref());
            view.schema = Some(schema(policy, recorded));
        }
    }

    /// One workload as each of its components sees it.
    pub(super) fn workload_views(&self, policy: &Policy, record: &WorkloadRecord) -> Vec<(ComponentId, WorkloadView)> {
        let desired = versions(policy, &record.name, &record.labels, &record.template);
        let components: BTreeSet<ComponentId> = desired.iter().map(|(id, _)| *id).collect();
        components
            .into_iter()
            .map(|id| {
                let mine = |versions: &[(ComponentId, Resolved)]| -> Vec<Version> {
                    versions.iter().filter(|(other, _)| *other == id).map(|(_, found)| found.version.clone()).collect()
                };
                let desired = mine(&desired);
                let of_template =
                    |template: &TemplateRecord| mine(&versions(policy, &record.name, &record.labels, template));
                let running = self.running(record, &desired, of_template);
                (id, workload_view(record, desired, running))
            })
            .collect()
    }

    /// Pods of each version of one component in one workload.
    fn running(
        &self,
        record: &WorkloadRecord,
        desired: &[Version],
        versions_of: impl Fn(&TemplateRecord) -> Vec<Version>,
    ) -> BTreeMap<Version, u32> {
        let mut running = BTreeMap::new();
        let mut add = |versions: Vec<Version>, pods: u32| {
            let distinct: BTreeSet<Version> = versions.into_iter().collect();
            for version in distinct.into_iter().filter(|_| pods > 0) {
                let sum: &mut u32 = running.entry(version).or_default();
                *sum = sum.saturating_add(pods);
            }
        };
        let unknown = || vec![Version::Unknown(UNKNOWN_REVISION.to_owned())];
        let Some(counts) = &record.pods else {
            add(desired.to_vec(), record.replicas);
            return running;
        };
        let old_pods = counts.total.saturating_sub(counts.updated);
        // A status that is older than the spec counts the pods of the template before: what was asked for since then
        // runs nowhere yet.
        let observed = record.rollout != Rollout::Progressing(Missing::NotObserved);
        let revisions: Vec<&RevisionRecord> = self.revisions_of(record).collect();
        match record.kind {
            WorkloadKind::Deployment | WorkloadKind::Rollout if !revisions.is_empty() => {
                for revision in &revisions {
                    add(versions_of(&revision.template), revision.pods);
                }
            }
            WorkloadKind::Deployment | WorkloadKind::Rollout => {
                add(if observed { desired.to_vec() } else { unknown() }, counts.updated);
                add(unknown(), old_pods);
            }
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                let newest = revisions.iter().map(|revision| revision.number).max();
                let new = match &counts.new_revision {
                    Some(name) => revisions.iter().find(|revision| revision.name == *name),
                    None => revisions.iter().find(|revision| Some(revision.number) == newest),
                };
                let before = || new.map_or_else(unknown, |revision| versions_of(&revision.template));
                add(if observed { desired.to_vec() } else { before() }, counts.updated);
                let old = match &counts.old_revision {
                    Some(name) => revisions.iter().find(|revision| revision.name == *name),
                    // A DaemonSet does not say which revision its old pods are of: the one before the newest.
                    None => (revisions.iter().filter(|revision| Some(revision.number) != newest))
                        .max_by_key(|revision| revision.number),
                };
                add(old.map_or_else(unknown, |revision| versions_of(&revision.template)), old_pods);
            }
        }
        running
    }

    /// Whether `record` has any pods.
    pub(super) fn has_pods(&self, record: &WorkloadRecord) -> bool {
        record.pods.as_ref().is_some_and(|counts| counts.total > 0)
            || self.revisions_of(record).any(|revision| revision.pods > 0)
    }

    fn revisions_of<'a>(&'a self, record: &'a WorkloadRecord) -> impl Iterator<Item = &'a RevisionRecord> {
        let id = record.id();
        let same_uid = |uid: &str| uid.is_empty() || record.uid.is_empty() || uid == record.uid;
        self.revisions.values().filter(move |revision| revision.owner == id && same_uid(&revision.owner_uid))
    }

    /// What a component last completed: what it runs when all of it is settled, else what the `Platform` says, else
    /// what was seen complete before.
    fn recorded(&self, policy: &Policy, id: ComponentId, component: &ComponentView) -> Option<Version> {
        if component.has_pods() && component.unsettled().is_none() {
            let running = component.workloads.iter().flat_map(|workload| &workload.desired).min().cloned();
            // A version that can be told is not forgotten for one that cannot: it is the way back.
            if running.as_ref().is_some_and(|version| version.known().is_some()) {
                return running;
            }
        }
        self.of_platform(policy)
            .find_map(|status| {
                let own = status.components.iter().find(|component| component.name == policy.component(id).name)?;
                own.completed.as_deref().map(Version::read)
            })
            .or_else(|| {
                // One of several workloads is not the component: while they are all installed, nothing is complete.
                let own = |entry: &&Entry| component.workloads.iter().any(|view| view.id == entry.record.id());
                if self.workloads.values().filter(own).any(|entry| entry.completed.is_none()) {
                    return None;
                }
                let present = self.workloads.values().filter_map(|entry| {
                    let completed = entry.completed.as_ref()?;
                    Some((&entry.record.name, &entry.record.labels, completed))
                });
                let gone = self.departed.iter().map(|(id, gone)| (&id.name, &gone.labels, &gone.completed));
                let seen =
                    present.chain(gone).flat_map(|(name, labels, template)| versions(policy, name, labels, template));
                seen.filter(|(other, _)| *other == id).map(|(_, found)| found.version).min()
            })
    }

    fn intents(&self, policy: &Policy, id: ComponentId, now: Timestamp) -> Vec<Intent> {
        let of_component = |intent: &&PlatformIntent| intent.component == policy.component(id).name;
        let all = self.of_platform(policy).flat_map(|status| status.intents.iter().filter(of_component));
        let counting = all.filter(|intent| self.counts(policy, intent, now));
        // What has not ended counts, however late it is.
        counting.map(|intent| Intent { version: Version::read(&intent.to), expires: Timestamp::MAX }).collect()
    }

    /// Whether `intent` still counts at `now`, by what is known here of its workload. One of a component that the
    /// policy no longer has does not.
    #[must_use]
    pub fn counts(&self, policy: &Policy, intent: &PlatformIntent, now: Timestamp) -> bool {
        let component = policy.component_named(&intent.component);
        component.is_some_and(|id| !self.evidence(policy, id, intent).ends(intent.expires.0, now))
    }

    /// What is known here of the workload of `intent`, a change of the component at `id`.
    #[must_use]
    pub fn evidence(&self, policy: &Policy, id: ComponentId, intent: &PlatformIntent) -> Evidence {
        // An intent that names no workload, which the guard does not write, ends by its time alone.
        let Some(workload) = &intent.workload else { return Evidence::gone(false) };
        let workload = WorkloadId { kind: workload.kind.clone(), name: workload.name.clone() };
        let gone = Evidence::gone(intent.base.is_some());
        let Some(record) = self.workload(&workload) else { return gone };
        let age = age(&record.resource_version, intent.base.as_deref());
        if age == Some(Ordering::Less) {
            // What a request for this workload carries, or a watch shows, may be older than the intent.
            return Evidence::NONE;
        }
        let views = self.workload_views(policy, record);
        let Some((_, view)) = views.iter().find(|(other, _)| *other == id) else { return gone };
        let unknown = Version::Unknown(UNKNOWN_REVISION.to_owned());
        let observed = record.rollout != Rollout::Progressing(Missing::NotObserved);
        Evidence {
            changed: age == Some(Ordering::Greater),
            shown: view.desired.contains(&Version::read(&intent.to)),
            settled: view.is_settled(),
            accounted: observed && !view.running.contains_key(&unknown) && self.pods_known(record),
        }
    }

    /// The first workload other than `own` of one of `components` that has pods of a revision nobody can name.
    #[must_use]
    pub fn unaccounted(
        &self,
        policy: &Policy,
        own: &WorkloadId,
        components: &BTreeSet<ComponentId>,
    ) -> Option<WorkloadId> {
        let others = self.workloads().filter(|record| record.id() != *own && record.rollout != Rollout::Settled);
        let unknown = Version::Unknown(UNKNOWN_REVISION.to_owned());
        let mut unaccounted = others.filter(|record| {
            let views = self.workload_views(policy, record);
            let mut concerned = views.iter().filter(|(id, _)| components.contains(id));
            concerned.any(|(_, view)| view.running.contains_key(&unknown) || !self.pods_known(record))
        });
        unaccounted.next().map(WorkloadRecord::id)
    }

    /// The names of the ReplicaSets of a workload that are known to have pods.
    #[must_use]
    pub fn replica_sets_of(&self, workload: &WorkloadId) -> Vec<String> {
        let own = self
            .revisions
            .iter()
            .filter(|((kind, _), revision)| *kind == RevisionKind::ReplicaSet && revision.owner == *workload);
        own.map(|((_, name), _)| name.clone()).collect()
    }

    /// Whether the pods that the status counts are all of known revisions.
    fn pods_known(&self, record: &WorkloadRecord) -> bool {
        let Some(counts) = &record.pods else { return true };
        let counted = self.revisions_of(record).map(|revision| revision.pods).fold(0, u32::saturating_add);
        match record.kind {
            WorkloadKind::Deployment | WorkloadKind::Rollout => counted >= counts.total,
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => true,
        }
    }

    /// The component and version of a pod's container, by the template of `workload` that the pod was made from; `None`
    /// for a container that is no component's, or of a template that is not known.
    #[must_use]
    pub fn pod_version(
        &self,
        policy: &Policy,
        workload: &WorkloadId,
        container: &str,
        image: &str,
    ) -> Option<(ComponentId, Version)> {
        let record = self.workload(workload)?;
        let older = self.revisions_of(record).map(|revision| &revision.template);
        std::iter::once(&record.template).chain(older).find_map(|template| {
            let own = governed(policy, &record.name, &record.labels, &template.containers);
            let mut own = own.into_iter().map(|(id, position)| (id, &template.containers[position]));
            let (id, found) = own.find(|(_, own)| own.name == container && own.image == image)?;
            Some((id, version_of(policy, id, found, template).version))
        })
    }

    fn of_platform<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = &'a crate::api::PlatformStatus> {
        let own = self.platforms.values().filter(|platform| platform.spec.policy == policy.name);
        own.filter_map(|platform| platform.status.as_ref())
    }

    /// How many pods of `component` keep serving when `record` is as it asks to be; `only_replicas` when nothing but
    /// the number of pods is asked for.
    #[must_use]
    pub fn capacity(
        &self,
        policy: &Policy,
        record: &WorkloadRecord,
        component: ComponentId,
        only_replicas: bool,
    ) -> Capacity {
        let containers = &record.template.containers;
        let own = governed(policy, &record.name, &record.labels, containers);
        let probed = |position: usize| containers.get(position).is_some_and(|container| container.readiness_probe);
        let selecting: Vec<&BudgetRecord> =
            self.budgets.values().filter(|budget| budget.selects(&record.template.labels)).collect();
        let id = record.id();
        let autoscaler = self.autoscalers.values().find(|autoscaler| autoscaler.target == id);
        Capacity {
            component,
            replicas: record.replicas,
            autoscaler: autoscaler.map(|autoscaler| (autoscaler.name.clone(), autoscaler.least)),
            budget: match selecting.iter().find(|budget| !budget.allows_one_of(record.replicas)) {
                Some(budget) => Budget::Blocks(budget.name.clone()),
                None if selecting.is_empty() => Budget::None,
                None => Budget::Allows,
            },
            readiness_probe: own.iter().any(|(id, position)| *id == component && probed(*position)),
            kept_by_strategy: record.kept,
            only_replicas,
        }
    }
}

/// How the resource version of a workload stands to the one that a request found, where that can be told: Kubernetes
/// makes them comparable as numbers (KEP-5504).
fn age(version: &str, base: Option<&str>) -> Option<Ordering> {
    let number = |text: &str| text.parse::<u64>().ok();
    match base {
        // The request found nothing, and now there is something.
        None => Some(Ordering::Greater),
        Some(base) => Some(number(version)?.cmp(&number(base)?)),
    }
}

/// A workload as one of its components sees it: what the guard holds back has no effect.
fn workload_view(record: &WorkloadRecord, desired: Vec<Version>, running: BTreeMap<Version, u32>) -> WorkloadView {
    let id = record.id();
    let goes_back = !desired.iter().all(|version| running.contains_key(version)) || running.len() > desired.len();
    if record.held && goes_back {
        let in_effect = running.keys().cloned().collect();
        let missing = match &record.rollout {
            Rollout::Progressing(missing @ Missing::Available { .. }) => missing.clone(),
            _ => Missing::Held(desired),
        };
        return WorkloadView { id, desired: in_effect, running, rollout: Rollout::Progressing(missing) };
    }
    WorkloadView { id, desired, running, rollout: record.rollout.clone() }
}

/// The versions of the governed containers of a template, with how they are known.
pub(crate) fn versions(
    policy: &Policy,
    workload: &str,
    labels: &BTreeMap<String, String>,
    template: &TemplateRecord,
) -> Vec<(ComponentId, Resolved)> {
    governed(policy, workload, labels, &template.containers)
        .into_iter()
        .map(|(id, position)| (id, version_of(policy, id, &template.containers[position], template)))
        .collect()
}

/// The version of one container of a template. The template's label speaks for its first container: beside a foreign
/// main container a sidecar has nothing to do with it.
pub(crate) fn version_of(
    policy: &Policy,
    id: ComponentId,
    container: &Container,
    template: &TemplateRecord,
) -> Resolved {
    let component = policy.component(id);
    let is_first = template.containers.first().is_some_and(|first| first.name == container.name);
    let labels = if is_first { &template.labels } else { &BTreeMap::new() };
    resolve((id, component), &policy.lines, &container.image, &template.annotations, labels)
}
