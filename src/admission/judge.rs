//! How a governed change is judged (design section 5).
//!
//! A refusal, or the answer to a dry run, comes from what the watches show. An Allow is made sure of: it is decided again
//! on fresh reads, and leaves an intent by compare-and-swap, so that of two requests that are legal alone and not
//! together one is judged on what the other leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::workload::changes;
use super::{Admission, Answer, Judged, Outcome, Request, render};
use crate::api::{PlatformIntent, PlatformOverride, PlatformWorkload};
use crate::cluster::change::change;
use crate::cluster::inventory::Inventory;
use crate::cluster::record::WorkloadRecord;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::{Change, Move};
use crate::domain::decision::{Decision, Reason, Verdict, decide};
use crate::domain::overrides::{NotOverridden, Override};
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

/// What a workload's change is judged with.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) admission: &'a Admission,
    pub(super) request: &'a Request<'a>,
    /// The workload as it is; `None` when it is to be created.
    pub(super) old: Option<&'a WorkloadRecord>,
    /// The override that is asked for, as it is written.
    pub(super) wish: Option<&'a str>,
    /// When the review ends.
    pub(super) until: Instant,
}

impl<'a> Asked<'a> {
    /// The case of a change to `new`.
    pub(super) fn about(self, new: &'a WorkloadRecord) -> Case<'a> {
        Case { asked: self, new, rights: Mutex::default() }
    }
}

/// A workload's change under review.
pub(super) struct Case<'a> {
    asked: Asked<'a>,
    /// The workload as it is to be.
    new: &'a WorkloadRecord,
    /// Whether the requesting user may override a policy, as far as the API server was asked.
    rights: Mutex<BTreeMap<String, bool>>,
}

/// What a change was found to be.
pub(super) struct Found<'s> {
    /// What each policy sees of it.
    pub(super) changes: Vec<(&'s Policy, Change)>,
    /// What each of them decides.
    pub(super) decisions: Vec<Decision>,
    /// All decisions as one.
    pub(super) decision: Decision,
    /// The override that let it pass.
    pub(super) overridden: Option<PlatformOverride>,
    /// Why an override did not count.
    pub(super) note: Option<String>,
    inventory: Inventory,
}

impl Case<'_> {
    /// Judges the change on `snapshot`, and makes sure of an Allow.
    pub(super) async fn answer(&self, snapshot: &Snapshot) -> Answer {
        let Some(found) = self.judge(snapshot, Timestamp::now()).await else { return self.nothing() };
        if found.decision.verdict != Verdict::Allow || !self.must_be_sure(&found) {
            return self.conclude(&found, vec![]);
        }
        match self.make_sure().await {
            Ok(answer) => Answer { path: "fresh", ..answer },
            Err(why) => self.not_sure(&found, &why),
        }
    }

    /// The answer to what changes nothing that is governed.
    fn nothing(&self) -> Answer {
        Answer { path: "fast", ..render::allowed(self.asked.request) }
    }

    /// Whether an Allow moves versions for good, so that what the watches show is not enough.
    fn must_be_sure(&self, found: &Found<'_>) -> bool {
        !self.asked.request.is_dry_run() && found.changes.iter().any(|(_, change)| !change.moves.is_empty())
    }

    /// What the policies of `snapshot` make of the change; `None` when it is none to them, which costs no copy.
    pub(super) async fn judge<'s>(&self, snapshot: &'s Snapshot, now: Timestamp) -> Option<Found<'s>> {
        let Asked { old, .. } = self.asked;
        let changes = changes(snapshot, |policy| change(policy, &snapshot.inventory, old, self.new));
        if changes.is_empty() {
            return None;
        }
        // The request itself tells the workload's state better than any cache.
        let mut inventory = (*snapshot.inventory).clone();
        match old {
            Some(old) => inventory.put_workload(old.clone()),
            None => inventory.remove_workload(&self.new.id()),
        }
        let decide = |(policy, change): &(&Policy, Change)| decide(policy, &inventory.view(policy, now), change, now);
        let mut decisions: Vec<Decision> = changes.iter().map(decide).collect();
        let overruled = self.overrule(&changes, &mut decisions, now).await;
        let (overridden, note) = overruled.map_or_else(|note| (None, Some(note)), |overridden| (overridden, None));
        let decision = Decision::of_all(decisions.iter().cloned());
        Some(Found { changes, decisions, decision, overridden, note, inventory })
    }

    /// The install as it is when it is read anew, for an Allow in `found` that comes from what the watches show. `None` where
    /// that is not needed or not possible.
    pub(super) async fn fresh(&self, found: &Found<'_>) -> Option<Snapshot> {
        if found.decision.verdict != Verdict::Allow || !self.must_be_sure(found) {
            return None;
        }
        let Asked { admission, request, until, .. } = self.asked;
        let namespace = request.namespace.as_deref()?;
        let reading = async {
            let current = admission.cluster.snapshot(namespace).await.ok()??;
            admission.cluster.fresh(namespace, &current, &self.new.id()).await.ok()
        };
        timeout_at(until.checked_sub(MARGIN).unwrap_or(until), reading).await.ok()?
    }

    /// Sets rules aside as the workload's override asks for. Gives what was set aside, or why nothing was.
    async fn overrule(
        &self,
        changes: &[(&Policy, Change)],
        decisions: &mut [Decision],
        now: Timestamp,
    ) -> Result<Option<PlatformOverride>, String> {
        let Some(wish) = self.asked.wish.filter(|_| decisions.iter().any(|one| !one.reasons.is_empty())) else {
            return Ok(None);
        };
        let by = Override::parse(wish).map_err(|error| NotOverridden::Malformed(&error).to_string())?;
        if by.has_expired(now) {
            return Err(NotOverridden::Expired(&by).to_string());
        }
        let mut after = Vec::new();
        for ((policy, _), decision) in changes.iter().zip(decisions.iter()) {
            if decision.reasons.is_empty() {
                after.push(decision.clone());
                continue;
            }
            let left = decision.overridden(&by).ok_or_else(|| not_covered(&by, decision))?;
            self.may_override(&policy.name).await?;
            if left.verdict != Verdict::Allow {
                return Err(not_covered(&by, &left));
            }
            after.push(left);
        }
        decisions.clone_from_slice(&after);
        let rules = by.codes().map(str::to_owned).collect();
        Ok(Some(PlatformOverride { rules, reason: by.reason.clone(), until: by.until.to_string() }))
    }

    /// Whether the user may override the policy; an error says why it does not count.
    async fn may_override(&self, policy: &str) -> Result<(), String> {
        let Asked { admission, request, until, .. } = self.asked;
        let known = self.rights.lock().get(policy).copied();
        let may = if let Some(may) = known {
            may
        } else {
            let limit = until.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
            let asked = admission.cluster.may_override(&request.user_info, policy, limit).await;
            let may = asked.map_err(|error| {
                tracing::warn!(policy, error, "cannot tell whether a user may override");
                NotOverridden::Unknown.to_string()
            })?;
            self.rights.lock().insert(policy.to_owned(), may);
            may
        };
        let user = request.user_info.user.as_str();
        if may { Ok(()) } else { Err(NotOverridden::Forbidden { user, policy }.to_string()) }
    }

    /// Judges on fresh reads and leaves the intents of an Allow, again as long as others are faster. An error says why
    /// that cannot be done now.
    async fn make_sure(&self) -> Result<Answer, String> {
        let Asked { admission, until, .. } = self.asked;
        let end = until.checked_sub(MARGIN).unwrap_or(until);
        let mut why = "the API server does not answer in time".to_owned();
        let mut lost = 0;
        while lost < MOST_LOST {
            match timeout_at(end, self.attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Again::Never(why))) => return Err(why),
                Ok(Err(Again::Lost)) => {
                    lost += 1;
                    admission.observer.lost_race();
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
        let Asked { admission, request, .. } = self.asked;
        let (namespace, cluster) = (request.namespace.as_deref().unwrap_or_default(), &admission.cluster);
        let Some(current) = cluster.snapshot(namespace).await.map_err(Again::Never)? else { return Ok(self.nothing()) };
        // From before the reads: only what is read after an intent expired proves that it was not stored.
        let now = Timestamp::now();
        let own = self.new.id();
        let fresh = cluster.fresh(namespace, &current, &own).await.map_err(Again::Never)?;
        let Some(found) = self.judge(&fresh, now).await else { return Ok(self.nothing()) };
        if found.decision.verdict != Verdict::Allow {
            return Ok(self.conclude(&found, vec![]));
        }
        for (policy, change) in &found.changes {
            if let Some(workload) = found.inventory.unaccounted(policy, &own, &peers(policy, change)) {
                return Err(Again::Unaccounted(workload));
            }
        }
        for (policy, change) in found.changes.iter().filter(|(_, change)| !change.moves.is_empty()) {
            let intents = self.intents(policy, change, &found, now);
            let left = cluster.intend(namespace, policy, (&found.inventory, now), &intents).await;
            if !left.map_err(Again::Never)? {
                return Err(Again::Lost);
            }
        }
        Ok(self.conclude(&found, vec![]))
    }

    /// What is left behind for an admitted change.
    fn intents(&self, policy: &Policy, change: &Change, found: &Found<'_>, now: Timestamp) -> Vec<PlatformIntent> {
        let Asked { request, old, .. } = self.asked;
        let workload = PlatformWorkload { kind: change.workload.kind.clone(), name: change.workload.name.clone() };
        let of_move = |step: &Move| {
            let component = &policy.component(step.component).name;
            let remarks = found.decision.warnings.iter().chain(&found.decision.audits);
            let remarks = remarks.filter(|reason| reason.component == *component).take(MOST_FINDINGS);
            PlatformIntent {
                component: component.clone(),
                workload: Some(workload.clone()),
                from: step.from.as_ref().map(ToString::to_string),
                to: step.to.to_string(),
                base: old.map(|old| old.resource_version.clone()),
                uid: Some(request.uid.clone()),
                by: Some(request.user_info.user.clone()),
                at: Some(Time(now)),
                expires: Time(now + INTENT_LIFETIME),
                overridden: found.overridden.clone(),
                findings: remarks.map(Reason::short).collect(),
            }
        };
        change.moves.iter().map(of_move).collect()
    }

    /// The answer to an Allow that could not be made sure of.
    fn not_sure(&self, found: &Found<'_>, why: &str) -> Answer {
        if found.changes.iter().any(|(policy, _)| policy.on_unavailable == OnUnavailable::Deny) {
            return render::unavailable(self.asked.request, why);
        }
        tracing::warn!(why, "admitted without being made sure of, as the policy says");
        let warning = render::unsure(why);
        Answer { path: "unavailable", ..self.conclude(found, vec![warning]) }
    }

    /// The answer to what was found, told to whoever counts.
    fn conclude(&self, found: &Found<'_>, warnings: Vec<String>) -> Answer {
        let Asked { request, .. } = self.asked;
        let Found { decision, .. } = found;
        let moves = found.moves();
        tracing::info!(verdict = %decision.verdict, moves, dry_run = request.is_dry_run(), reason = decision.denial(), "decided");
        let mut response = render::decision(request, found);
        if !warnings.is_empty() {
            response.warnings.get_or_insert_default().extend(warnings);
        }
        self.tell(found, if response.allowed { Outcome::Allowed } else { Outcome::Refused });
        Answer { response, path: "governed" }
    }

    /// Tells whoever counts what became of it.
    pub(super) fn tell(&self, found: &Found<'_>, outcome: Outcome) {
        let Asked { admission, request, .. } = self.asked;
        admission.observer.judged(&Judged {
            namespace: request.namespace.as_deref().unwrap_or_default(),
            workload: &self.new.id(),
            changes: &found.changes,
            decision: &found.decision,
            overridden: found.overridden.as_ref(),
            outcome,
            dry_run: request.is_dry_run(),
            user: &request.user_info.user,
        });
    }
}

fn not_covered(by: &Override, left: &Decision) -> String {
    NotOverridden::NotCovered { by, left }.to_string()
}

impl Found<'_> {
    /// A decision without anything that it was made on.
    #[cfg(test)]
    pub(super) fn of(decision: Decision) -> Self {
        let (changes, decisions, inventory) = (vec![], vec![], Inventory::default());
        Self { changes, decisions, decision, overridden: None, note: None, inventory }
    }

    /// The moves, as the log and the audit log have them.
    pub(super) fn moves(&self) -> String {
        let moves = self.changes.iter().flat_map(|(policy, change)| {
            change.moves.iter().map(|step| {
                let from = step.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
                format!("{} {from}{}", policy.component(step.component).name, step.to)
            })
        });
        tame(&moves.collect::<Vec<_>>().join(", "))
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
