//! How a governed change is judged (design section 5).
//!
//! A refusal, or the answer to a dry run, comes from what the watches show. An Allow is made sure of: it is decided again
//! on fresh reads, and leaves an intent by compare-and-swap, so that of two requests that are legal alone and not
//! together one is judged on what the other leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::{Instant, sleep, timeout_at};

use super::workload::changes;
use super::{Admission, Answer, Judged, Outcome, Request, render};
use crate::api::{PlatformIntent, PlatformWorkload};
use crate::cluster::change::change;
use crate::cluster::inventory::Inventory;
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Decision, Reason, Verdict, decide};
use crate::domain::policy::{ComponentId, OnUnavailable, Policy};
use crate::domain::text::tame;
use crate::domain::view::WorkloadId;

/// How long an intent counts that no workload shows. The API server ends a request after 60 seconds unless it is told
/// otherwise, and stores nothing for it later; the rest is for clocks that differ.
const INTENT_LIFETIME: SignedDuration = SignedDuration::from_secs(90);
/// How long before the end of a review making sure of it is given up, so that the reason can be told.
const MARGIN: Duration = Duration::from_millis(100);
/// How often an install is read again because somebody else was faster.
const MOST_LOST: usize = 20;
/// How long to wait for a revision whose pods are counted and that no watch has shown yet.
const REVISION_WAIT: Duration = Duration::from_millis(50);
/// The most remarks that are kept of one change: the schema's limit.
const MOST_FINDINGS: usize = 16;

/// A workload's change under review.
pub(super) struct Case<'a> {
    pub(super) admission: &'a Admission,
    pub(super) request: &'a Request<'a>,
    /// The workload as it is; `None` when it is to be created.
    pub(super) old: Option<&'a WorkloadRecord>,
    /// The workload as it is to be.
    pub(super) new: &'a WorkloadRecord,
    /// When the review ends.
    pub(super) until: Instant,
}

/// What a change was found to be.
struct Verdicts<'s> {
    changes: Vec<(&'s Policy, Change)>,
    inventory: Inventory,
    decision: Decision,
}

impl Case<'_> {
    /// Judges the change on `snapshot`, and makes sure of an Allow.
    pub(super) async fn answer(&self, snapshot: &Snapshot) -> Answer {
        let Some(found) = self.judge(snapshot, Timestamp::now()) else { return self.nothing() };
        let moves = found.changes.iter().any(|(_, change)| !change.moves.is_empty());
        if found.decision.verdict != Verdict::Allow || self.request.is_dry_run() || !moves {
            return self.conclude(&found, vec![]);
        }
        match self.make_sure().await {
            Ok(answer) => Answer { path: "fresh", ..answer },
            Err(why) => self.not_sure(&found, &why),
        }
    }

    /// The answer to what changes nothing that is governed.
    fn nothing(&self) -> Answer {
        Answer { path: "fast", ..render::allowed(self.request) }
    }

    /// What the policies of `snapshot` make of the change; `None` when it is none to them, which costs no copy.
    fn judge<'s>(&self, snapshot: &'s Snapshot, now: Timestamp) -> Option<Verdicts<'s>> {
        let changes = changes(snapshot, |policy| change(policy, &snapshot.inventory, self.old, self.new));
        if changes.is_empty() {
            return None;
        }
        // The request itself tells the workload's state better than any cache.
        let mut inventory = (*snapshot.inventory).clone();
        match self.old {
            Some(old) => inventory.put_workload(old.clone()),
            None => inventory.remove_workload(&self.new.id()),
        }
        let decision = decide_all(&inventory, &changes, now);
        Some(Verdicts { changes, inventory, decision })
    }

    /// Judges on fresh reads and leaves the intents of an Allow, again as long as others are faster. An error says why
    /// that cannot be done now.
    async fn make_sure(&self) -> Result<Answer, String> {
        let end = self.until.checked_sub(MARGIN).unwrap_or(self.until);
        let mut why = "the API server does not answer in time".to_owned();
        let mut lost = 0;
        while lost < MOST_LOST {
            match timeout_at(end, self.attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Again::Never(why))) => return Err(why),
                Ok(Err(Again::Lost)) => {
                    lost += 1;
                    self.admission.observer.lost_race();
                    "others change the install at the same time".clone_into(&mut why);
                }
                Ok(Err(Again::Unaccounted(workload))) => {
                    why = format!("{workload} has pods of a revision that is not known yet");
                    if timeout_at(end, sleep(REVISION_WAIT)).await.is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        Err(why)
    }

    async fn attempt(&self) -> Result<Answer, Again> {
        let namespace = self.request.namespace.as_deref().unwrap_or_default();
        let cluster = &self.admission.cluster;
        let Some(current) = cluster.snapshot(namespace).await.map_err(Again::Never)? else { return Ok(self.nothing()) };
        // From before the reads: only what is read after an intent expired proves that it was not stored.
        let now = Timestamp::now();
        let fresh = cluster.fresh(namespace, &current, &self.new.id()).await.map_err(Again::Never)?;
        let Some(found) = self.judge(&fresh, now) else { return Ok(self.nothing()) };
        if found.decision.verdict != Verdict::Allow {
            return Ok(self.conclude(&found, vec![]));
        }
        for (policy, change) in &found.changes {
            let peers = peers(policy, change);
            if let Some(workload) = found.inventory.unaccounted(policy, &self.new.id(), &peers) {
                return Err(Again::Unaccounted(workload));
            }
        }
        for (policy, change) in found.changes.iter().filter(|(_, change)| !change.moves.is_empty()) {
            let intents = self.intents(policy, change, &found.decision, now);
            let left = cluster.intend(namespace, policy, (&found.inventory, now), &intents).await;
            if !left.map_err(Again::Never)? {
                return Err(Again::Lost);
            }
        }
        Ok(self.conclude(&found, vec![]))
    }

    /// What is left behind for an admitted change.
    fn intents(&self, policy: &Policy, change: &Change, decision: &Decision, now: Timestamp) -> Vec<PlatformIntent> {
        let workload = PlatformWorkload { kind: change.workload.kind.clone(), name: change.workload.name.clone() };
        let of_move = |step: &Move| {
            let component = &policy.component(step.component).name;
            let found = decision.warnings.iter().chain(&decision.audits);
            let found = found.filter(|reason| reason.component == *component).take(MOST_FINDINGS);
            PlatformIntent {
                component: component.clone(),
                workload: Some(workload.clone()),
                from: step.from.as_ref().map(ToString::to_string),
                to: step.to.to_string(),
                base: self.old.map(|old| old.resource_version.clone()),
                uid: Some(self.request.uid.clone()),
                by: Some(self.request.user_info.username.clone()),
                at: Some(Time(now)),
                expires: Time(now + INTENT_LIFETIME),
                overridden: None,
                findings: found.map(Reason::short).collect(),
            }
        };
        change.moves.iter().map(of_move).collect()
    }

    /// The answer to an Allow that could not be made sure of.
    fn not_sure(&self, found: &Verdicts<'_>, why: &str) -> Answer {
        if found.changes.iter().any(|(policy, _)| policy.on_unavailable == OnUnavailable::Deny) {
            return render::unavailable(self.request, why);
        }
        tracing::warn!(why, "admitted without being made sure of, as the policy says");
        let warning = render::unsure(why);
        Answer { path: "unavailable", ..self.conclude(found, vec![warning]) }
    }

    fn conclude(&self, found: &Verdicts<'_>, warnings: Vec<String>) -> Answer {
        conclude(self.admission, self.request, &found.changes, &found.decision, warnings)
    }
}

/// Why an attempt to make sure came to nothing.
enum Again {
    /// Another attempt would not help.
    Never(String),
    /// Somebody else was faster.
    Lost,
    /// A peer has pods of a revision that no watch has shown yet.
    Unaccounted(WorkloadId),
}

/// The components whose versions count for the moves of `change`.
fn peers(policy: &Policy, change: &Change) -> BTreeSet<ComponentId> {
    let own: BTreeSet<ComponentId> = change.moves.iter().map(|step| step.component).collect();
    let ordered = own.iter().flat_map(|id| policy.upstream(*id).iter().chain(policy.downstream(*id)).copied());
    let pairs = policy.ids().flat_map(|id| policy.component(id).skew.iter().map(move |skew| (id, skew.peer)));
    let skewed = pairs.filter_map(|(id, peer)| match (own.contains(&id), own.contains(&peer)) {
        (true, _) => Some(peer),
        (_, true) => Some(id),
        _ => None,
    });
    ordered.chain(skewed).collect()
}

/// The decision over the changes that the policies see, on the install in `inventory`.
pub(super) fn decide_all(inventory: &Inventory, changes: &[(&Policy, Change)], now: Timestamp) -> Decision {
    let decisions = changes.iter().map(|(policy, change)| decide(policy, &inventory.view(policy, now), change, now));
    Decision::of_all(decisions)
}

/// The answer with this decision, told to whoever counts.
pub(super) fn conclude(
    admission: &Admission,
    request: &Request<'_>,
    changes: &[(&Policy, Change)],
    decision: &Decision,
    warnings: Vec<String>,
) -> Answer {
    let moves = changes.iter().flat_map(|(policy, change)| {
        change.moves.iter().map(|step| {
            let from = step.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
            format!("{} {from}{}", policy.component(step.component).name, step.to)
        })
    });
    let moves = tame(&moves.collect::<Vec<_>>().join(", "));
    tracing::info!(verdict = %decision.verdict, moves = moves, dry_run = request.is_dry_run(), reason = decision.denial(), "decided");
    let mut response = render::decision(request, decision, &moves);
    if !warnings.is_empty() {
        response.warnings.get_or_insert_default().extend(warnings);
    }
    if let Some((_, change)) = changes.first() {
        admission.observer.judged(&Judged {
            namespace: request.namespace.as_deref().unwrap_or_default(),
            workload: &change.workload,
            changes,
            decision,
            outcome: if response.allowed { Outcome::Allowed } else { Outcome::Refused },
            dry_run: request.is_dry_run(),
            user: &request.user_info.username,
        });
    }
    Answer { response, path: "governed" }
}
