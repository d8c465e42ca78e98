//! Fresh reads of one install, and the intents that are left on it: what an Allow is made sure of with (design
//! section 5).
//!
//! The Platform is read before the workloads. Whatever is admitted by someone else after that changes the Platform, and
//! the compare-and-swap that leaves the intent fails; whatever was admitted before is either among its intents or shown
//! by the workloads, which are read later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use jiff::Timestamp;
use kube::{Api, Client};

use super::authorise::{AuthoriseError, Requester, may_override};
use super::error::said;
use super::inventory::{Inventory, RevisionKind};
use super::ledger::{Ledger, LedgerError};
use super::object::{WorkloadKind, WorkloadObject};
use super::record::{RevisionRecord, WorkloadRecord};
use super::snapshot::Snapshot;
use crate::api::{Platform, PlatformIntent, PlatformStatus, PlatformWorkload};
use crate::domain::policy::Policy;
use crate::domain::view::{Rollout, WorkloadId};

/// The most intents that an install can carry: the schema's limit.
const MOST_INTENTS: usize = 64;

/// Who counts the calls on the way of a review.
pub trait Calls: Send + Sync {
    /// An API call ended.
    fn called(&self, verb: &'static str, resource: &'static str, ok: bool, elapsed: Duration);
}

/// Why an install could not be read or written in time.
#[derive(Debug, thiserror::Error)]
pub enum FreshError {
    /// Its Platform.
    #[error(transparent)]
    Platform(#[from] LedgerError),
    /// One of its workloads.
    #[error("cannot get {kind} {namespace}/{name}: {}", said(.source))]
    Workload {
        /// The object's kind.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// More changes were admitted than can be kept account of.
    #[error("{count} admitted changes are under way in Platform {platform}; wait until some have settled")]
    TooMany {
        /// Which Platform.
        platform: String,
        /// How many.
        count: usize,
    },
}

/// Reads installs from the API server, by name, and leaves intents on them.
#[derive(Clone)]
pub struct Fresh {
    client: Client,
    ledger: Ledger,
    calls: Arc<dyn Calls>,
}

impl Fresh {
    /// Reads with `client`, told to `calls`.
    #[must_use]
    pub fn new(client: Client, calls: Arc<dyn Calls>) -> Self {
        Self { ledger: Ledger::new(client.clone()), client, calls }
    }

    /// `snapshot` with the Platforms and the workloads of the install as the API server has them now. Everything else
    /// in it, such as disruption budgets, stays what it was. `own` is not read: a request for it tells what it is.
    ///
    /// # Errors
    /// When anything of it cannot be read: half an install is no ground for an Allow.
    pub async fn read(
        &self,
        namespace: &str,
        snapshot: &Snapshot,
        own: Option<&WorkloadId>,
    ) -> Result<Snapshot, FreshError> {
        let mut inventory = (*snapshot.inventory).clone();
        let platforms = snapshot.policies.iter().map(|policy| self.platform(namespace, &policy.name));
        for platform in try_join_all(platforms).await? {
            let name = platform.metadata.name.clone().unwrap_or_default();
            inventory.platforms_mut().insert(name, platform);
        }
        let names = names(&inventory, own);
        let workloads = try_join_all(names.iter().map(|(kind, name)| self.workload(namespace, *kind, name))).await?;
        for ((kind, name), found) in names.iter().zip(workloads) {
            match found {
                Some(record) => inventory.put_workload(record),
                None => {
                    inventory.remove_workload(&WorkloadId { kind: kind.as_str().to_owned(), name: name.clone() });
                }
            }
        }
        self.revisions(namespace, &mut inventory, own).await?;
        Ok(Snapshot { policies: Arc::clone(&snapshot.policies), inventory: Arc::new(inventory) })
    }

    /// Whether the user may override the policy, as the API server says within `limit`.
    ///
    /// # Errors
    /// When it does not say, or not in time.
    pub async fn may_override(&self, who: &Requester, policy: &str, limit: Duration) -> Result<bool, AuthoriseError> {
        let started = Instant::now();
        let may = may_override(&self.client, who, policy, limit).await;
        self.calls.called("create", "subjectaccessreviews", may.is_ok(), started.elapsed());
        may
    }

    /// Leaves `intents` on the Platform of `policy` as it is in `inventory`, which must come from a [`Fresh::read`]
    /// begun at `now` or later. Gives false when somebody else wrote the Platform since.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn intend(
        &self,
        namespace: &str,
        policy: &Policy,
        (inventory, now): (&Inventory, Timestamp),
        intents: &[PlatformIntent],
    ) -> Result<bool, FreshError> {
        let Some(platform) = inventory.platforms().get(&policy.name) else { return Ok(false) };
        let old = platform.status.clone().unwrap_or_default();
        let status = with_intents(policy, inventory, old, intents, now);
        if status.intents.len() > MOST_INTENTS {
            let platform = format!("{namespace}/{}", policy.name);
            return Err(FreshError::TooMany { platform, count: status.intents.len() });
        }
        let started = Instant::now();
        let written = self.ledger.write(platform, &status).await;
        let lost = written.as_ref().is_err_and(LedgerError::is_lost);
        self.calls.called("patch", "platforms", written.is_ok() || lost, started.elapsed());
        match written {
            Ok(_) => Ok(true),
            Err(_) if lost => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn platform(&self, namespace: &str, policy: &str) -> Result<Platform, LedgerError> {
        let started = Instant::now();
        let read = self.ledger.read(namespace, policy).await;
        self.calls.called("get", "platforms", read.is_ok(), started.elapsed());
        read
    }

    /// The workload as it is now; `None` when it is gone.
    async fn workload(
        &self,
        namespace: &str,
        kind: WorkloadKind,
        name: &str,
    ) -> Result<Option<WorkloadRecord>, FreshError> {
        let api = Api::<WorkloadObject>::namespaced_with(self.client.clone(), namespace, &kind.api_resource());
        let found = self.get(&api, namespace, (kind.as_str(), kind.plural()), name).await?;
        Ok(found.and_then(|object| WorkloadRecord::read(kind, &object)))
    }

    /// Brings the ReplicaSets of rollouts under way up to date, and drops those of complete ones: all their pods are
    /// of the version asked for.
    async fn revisions(
        &self,
        namespace: &str,
        inventory: &mut Inventory,
        own: Option<&WorkloadId>,
    ) -> Result<(), FreshError> {
        let others: Vec<(WorkloadId, bool)> = (inventory.workloads().map(|record| (record.id(), record)))
            .filter(|(id, _)| Some(id) != own)
            .map(|(id, record)| (id, record.rollout == Rollout::Settled && !record.held))
            .collect();
        for (id, settled) in others {
            let known = inventory.replica_sets_of(&id);
            let resource = WorkloadKind::replica_sets();
            let api = Api::<WorkloadObject>::namespaced_with(self.client.clone(), namespace, &resource);
            for name in known {
                let found = if settled {
                    None
                } else {
                    self.get(&api, namespace, ("ReplicaSet", "replicasets"), &name).await?
                };
                match found.as_ref().and_then(RevisionRecord::of_replica_set) {
                    Some(record) => inventory.put_revision(RevisionKind::ReplicaSet, record),
                    None => inventory.remove_revision(&(RevisionKind::ReplicaSet, name)),
                }
            }
        }
        Ok(())
    }

    async fn get(
        &self,
        api: &Api<WorkloadObject>,
        namespace: &str,
        (kind, plural): (&'static str, &'static str),
        name: &str,
    ) -> Result<Option<WorkloadObject>, FreshError> {
        let started = Instant::now();
        let got = api.get_opt(name).await;
        self.calls.called("get", plural, got.is_ok(), started.elapsed());
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        got.map_err(|source| FreshError::Workload { kind, namespace, name, source: Box::new(source) })
    }
}

/// The workloads to read: those that the watches show, those that the Platforms know and those that intents name. A
/// workload that no watch has shown yet was admitted, so one of the Platforms names it.
fn names(inventory: &Inventory, own: Option<&WorkloadId>) -> BTreeSet<(WorkloadKind, String)> {
    let of = |workload: &PlatformWorkload| Some((WorkloadKind::named(&workload.kind)?, workload.name.clone()));
    let mut names: BTreeSet<_> = inventory.workloads().map(|record| (record.kind, record.name.clone())).collect();
    for status in inventory.platforms().values().filter_map(|platform| platform.status.as_ref()) {
        names.extend(status.components.iter().flat_map(|component| &component.workloads).filter_map(of));
        names.extend(status.intents.iter().filter_map(|intent| intent.workload.as_ref()).filter_map(of));
    }
    names.retain(|(kind, name)| own.is_none_or(|own| kind.as_str() != own.kind || *name != own.name));
    names
}

/// `status` with `intents`. One takes the place of an earlier one of the same workload and version: it is the same
/// change, asked for again. Those that have ended are left for the controller, which makes history of them, as long as
/// there is room.
fn with_intents(
    policy: &Policy,
    inventory: &Inventory,
    mut status: PlatformStatus,
    intents: &[PlatformIntent],
    now: Timestamp,
) -> PlatformStatus {
    let same = |a: &PlatformIntent, b: &PlatformIntent| {
        a.component == b.component && a.workload == b.workload && a.to == b.to && a.base == b.base
    };
    // Until the Platform lists a workload, only its intent tells those of it whose watches lag.
    let listed: BTreeSet<_> = status.components.iter().flat_map(|component| &component.workloads).cloned().collect();
    let has_room = status.intents.len() + intents.len() <= MOST_INTENTS;
    let is_needed = |old: &PlatformIntent| {
        let unlisted = |workload: &PlatformWorkload| !listed.contains(workload) && inventory.has(workload);
        // Of its own workload the request tells, which may be older than what others did to it.
        let own = intents.iter().any(|new| new.workload == old.workload);
        has_room || own || inventory.counts(policy, old, now) || old.workload.as_ref().is_some_and(unlisted)
    };
    status.intents.retain(|old| is_needed(old) && !intents.iter().any(|new| same(old, new)));
    status.intents.extend(intents.iter().cloned());
    status
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::cluster::testing::{deployment_json, mk_policy, read};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn policy() -> Policy {
        Policy::try_from(&mk_policy("p", &["ns"], &[("api", "x/api")])).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn inventory(version: &str, resource_version: &str) -> Inventory {
        let mut object = deployment_json("ns", "api", &format!("x/api:{version}"));
        object["metadata"]["resourceVersion"] = resource_version.into();
        let mut inventory = Inventory::default();
        inventory.put_workload(
            WorkloadRecord::read(WorkloadKind::Deployment, &read(object)).unwrap_or_else(|| unreachable!()),
        );
        inventory
    }

    fn intent(to: &str, base: Option<&str>) -> PlatformIntent {
        PlatformIntent {
            component: "api".to_owned(),
            workload: Some(PlatformWorkload { kind: "Deployment".to_owned(), name: "api".to_owned() }),
            from: None,
            to: to.to_owned(),
            base: base.map(str::to_owned),
            uid: None,
            by: None,
            at: None,
            expires: Time(NOW + SignedDuration::from_secs(90)),
            overridden: None,
            findings: vec![],
        }
    }

    #[test]
    fn what_is_older_than_an_intent_says_nothing_of_it() {
        let policy = policy();
        for (what, shows, resource_version, base, counts) in [
            ("settled on it", "2.2.0", "7", "5", false),
            ("from before it, when it was the same", "2.2.0", "4", "5", true),
            ("what the request found", "2.1.0", "5", "5", true),
            ("changed to something else since", "2.1.0", "6", "5", false),
            ("nothing that can be compared", "2.1.0", "x", "5", true),
        ] {
            let inventory = inventory(shows, resource_version);
            assert_eq!(inventory.counts(&policy, &intent("2.2.0", Some(base)), NOW), counts, "{what}");
        }
        assert!(Inventory::default().counts(&policy, &intent("2.2.0", None), NOW), "it may be created yet");
        assert!(!Inventory::default().counts(&policy, &intent("2.2.0", Some("5")), NOW), "it is gone");
    }

    #[test]
    fn an_intent_takes_the_place_of_the_same_and_of_no_other() {
        let (policy, inventory) = (policy(), inventory("2.1.0", "5"));
        let left = |old: &[PlatformIntent], new: &[PlatformIntent]| {
            let status = PlatformStatus { intents: old.to_vec(), ..PlatformStatus::default() };
            with_intents(&policy, &inventory, status, new, NOW).intents.len()
        };
        let new = [intent("2.2.0", Some("5"))];
        assert_eq!(left(&[], &new), 1);
        assert_eq!(left(&new, &new), 1);
        assert_eq!(left(&[intent("2.3.0", Some("5"))], &new), 2);
        assert_eq!(left(&[intent("2.2.0", Some("4"))], &new), 2, "from another state");
        let mut ended = intent("2.2.0", Some("4"));
        ended.workload = Some(PlatformWorkload { kind: "Deployment".to_owned(), name: "gone".to_owned() });
        assert_eq!(left(&[ended.clone()], &new), 2, "the controller makes history of it");
        assert_eq!(left(&vec![ended; MOST_INTENTS], &new), 1, "unless there is no room");
    }
}
