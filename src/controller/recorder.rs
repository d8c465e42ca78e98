//! What the reviews said, kept where people look after the answer is gone: in the `Platform` and in Events.
//!
//! Every replica records its own answers. A review never waits for that: what comes faster than it can be written is
//! dropped and counted.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::events::{Events, platform_reference, workload_reference};
use super::run::API_TIMEOUT;
use super::{Install, Observer};
use crate::api::{PlatformBlock, PlatformStatus, PlatformWorkload};
use crate::cluster::index::SharedIndex;
use crate::cluster::ledger::{Ledger, LedgerError};
use crate::domain::decision::Reason;
use crate::domain::text::tame;
use crate::domain::view::WorkloadId;

/// Notices that may wait to be written.
const QUEUE: usize = 256;
/// How old `lastSeen` of a block may become before it is written again.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Blocks of one install, as many as the CRD lets through.
const MOST_BLOCKS: usize = 32;

/// What became of the change that a [`Notice`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was refused, for these reasons.
    Refused,
    /// It was admitted, with these warnings.
    Warned,
    /// Nothing was said of these findings.
    Audited,
}

/// Something that a review said of a change that was no dry run.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The install.
    pub install: Install,
    /// The workload; its name is empty when the API server is to make one.
    pub workload: WorkloadId,
    /// What became of the change.
    pub heard: Heard,
    /// What the rules said; never empty.
    pub reasons: Vec<Reason>,
    /// The text of a refusal.
    pub denial: String,
}

/// Where reviews leave their notices. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder {
    notices: mpsc::Sender<Notice>,
    observer: Arc<dyn Observer>,
}

impl Recorder {
    /// Leaves a notice, without waiting for anything.
    pub fn hear(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            self.observer.dropped();
        }
    }
}

/// What writes the notices down.
pub struct Writer {
    notices: mpsc::Receiver<Notice>,
    index: SharedIndex,
    ledger: Ledger,
    events: Events,
    observer: Arc<dyn Observer>,
}

/// A recorder, and what has to run for it.
#[must_use]
pub fn recorder(client: Client, index: SharedIndex, events: Events, observer: Arc<dyn Observer>) -> (Recorder, Writer) {
    let (sender, notices) = mpsc::channel(QUEUE);
    let writer = Writer { notices, index, ledger: Ledger::new(client), events, observer: Arc::clone(&observer) };
    (Recorder { notices: sender, observer }, writer)
}

impl Writer {
    /// Writes what is left, for as long as there is a [`Recorder`].
    pub async fn run(mut self) {
        while let Some(notice) = self.notices.recv().await {
            self.write(&notice).await;
        }
    }

    async fn write(&self, notice: &Notice) {
        if notice.heard == Heard::Refused {
            let failure = match timeout(API_TIMEOUT, self.block(notice)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_elapsed) => Some("no answer".to_owned()),
            };
            if let Some(error) = failure {
                let Install { namespace, policy } = &notice.install;
                tracing::warn!(namespace, policy, error, "a refusal could not be recorded");
                self.observer.dropped();
            }
        }
        self.tell(notice).await;
    }

    /// Keeps a refusal in the status of the `Platform`.
    async fn block(&self, notice: &Notice) -> Result<(), LedgerError> {
        let Install { namespace, policy } = &notice.install;
        // Engines ask again every few seconds: the index knows what is written, without a request.
        let snapshot = self.index.snapshot(namespace);
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.inventory.platforms().get(policy)?.status.clone());
        if known.is_some_and(|mut status| !record(&mut status, notice, Timestamp::now())) {
            return Ok(());
        }
        let mut tries = 0;
        let written = self.ledger.update(namespace, policy, |status| {
            tries += 1;
            record(status, notice, Timestamp::now())
        });
        if written.await? {
            self.observer.wrote();
        }
        self.observer.lost_races(tries - 1);
        Ok(())
    }

    async fn tell(&self, notice: &Notice) {
        let Notice { install, workload, .. } = notice;
        let snapshot = self.index.snapshot(&install.namespace);
        let inventory = snapshot.as_ref().map(|snapshot| &snapshot.inventory);
        let known = inventory.and_then(|inventory| inventory.platforms().get(&install.policy)?.metadata.uid.clone());
        let uid = if known.is_some() {
            known
        } else {
            // Without its uid `kubectl describe` does not find the Event.
            let read = timeout(API_TIMEOUT, self.ledger.read(&install.namespace, &install.policy)).await;
            read.ok().and_then(Result::ok).and_then(|platform| platform.metadata.uid)
        };
        let platform = platform_reference(install, uid);
        let uid = inventory.and_then(|inventory| Some(inventory.workload(workload)?.uid.clone())).unwrap_or_default();
        let workload = Some(workload).filter(|workload| !workload.name.is_empty());
        let workload = workload.map(|workload| workload_reference(&install.namespace, workload, &uid));
        let texts = || notice.reasons.iter().map(ToString::to_string);
        let (warning, reason, texts): (_, _, Vec<String>) = match notice.heard {
            Heard::Refused => (true, "UpgradeRefused", vec![notice.denial.clone()]),
            Heard::Warned => (true, "UpgradeWarned", texts().collect()),
            Heard::Audited => (false, "UpgradeAudited", texts().collect()),
        };
        let on_workload = workload.as_ref().filter(|_| notice.heard != Heard::Audited);
        for text in &texts {
            for regarding in on_workload.into_iter().chain([&platform]) {
                self.events.say(regarding, warning, reason, text).await;
            }
        }
    }
}

/// Writes a refusal at `now` into `status`; whether anything changed.
fn record(status: &mut PlatformStatus, notice: &Notice, now: Timestamp) -> bool {
    let WorkloadId { kind, name } = notice.workload.clone();
    let workload = PlatformWorkload { kind, name };
    let mut changed = false;
    for reason in &notice.reasons {
        let text = |version: &crate::domain::version::Version| tame(&version.to_string());
        let fresh = PlatformBlock {
            component: reason.component.clone(),
            workload: workload.clone(),
            from: reason.from.as_ref().map(text),
            to: reason.to.as_ref().map(text),
            rule: reason.rule.row().code.to_owned(),
            verdict: reason.verdict.as_str().to_owned(),
            message: tame(&format!("{}: {}. {}", reason.what, reason.facts, reason.remedy)),
            held: false,
            since: Time(now),
            last_seen: Time(now),
        };
        let same = |block: &&mut PlatformBlock| {
            (&block.workload, &block.component, &block.to, &block.rule)
                == (&fresh.workload, &fresh.component, &fresh.to, &fresh.rule)
        };
        match status.blocked.iter_mut().find(same) {
            Some(block) if now.duration_since(block.last_seen.0) <= SEEN_WITHIN => {}
            Some(block) => {
                *block = PlatformBlock { since: block.since.clone(), held: block.held, ..fresh };
                changed = true;
            }
            None => {
                make_room(&mut status.blocked);
                status.blocked.push(fresh);
                changed = true;
            }
        }
    }
    changed
}

/// Forgets the refusals that were seen longest ago, never what is held.
fn make_room(blocked: &mut Vec<PlatformBlock>) {
    while blocked.len() >= MOST_BLOCKS {
        let refused = blocked.iter().enumerate().filter(|(_, block)| !block.held);
        let oldest = refused.min_by_key(|(_, block)| block.last_seen.0).map_or(0, |(position, _)| position);
        blocked.remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::decision::Verdict;
    use crate::domain::policy::Mode;
    use crate::domain::rules::Rule;
    use crate::domain::version::Version;

    fn refusal(workload: &str, to: &str, facts: &str) -> Notice {
        let reason = Reason {
            rule: Rule::Order,
            verdict: Verdict::NotYet,
            mode: Mode::Enforce,
            component: "gateway".to_owned(),
            from: Some(Version::read("2.2.0")),
            to: Some(Version::read(to)),
            what: "must wait for api 2.3.0".to_owned(),
            facts: facts.to_owned(),
            remedy: "Upgrade api first".to_owned(),
        };
        Notice {
            install: Install { namespace: "stoa".to_owned(), policy: "stoa".to_owned() },
            workload: WorkloadId { kind: "Deployment".to_owned(), name: workload.to_owned() },
            heard: Heard::Refused,
            denial: reason.to_string(),
            reasons: vec![reason],
        }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_same_refusal_is_one_block_that_is_refreshed_once_a_minute() {
        let mut status = PlatformStatus::default();
        assert!(record(&mut status, &refusal("gateway", "2.3.0", "no pod runs"), after(0)));
        assert_eq!(status.blocked.len(), 1);
        assert_eq!(status.blocked[0].message, "must wait for api 2.3.0: no pod runs. Upgrade api first");
        let before = status.clone();
        assert!(!record(&mut status, &refusal("gateway", "2.3.0", "other facts"), after(60)));
        assert_eq!(status, before);
        assert!(record(&mut status, &refusal("gateway", "2.3.0", "other facts"), after(61)));
        let [block] = status.blocked.as_slice() else { panic!("{:?}", status.blocked) };
        assert_eq!((block.since.0, block.last_seen.0), (after(0), after(61)));
        assert!(block.message.contains("other facts"), "{}", block.message);
        assert!(record(&mut status, &refusal("gateway", "2.4.0", "no pod runs"), after(61)));
        assert!(record(&mut status, &refusal("gateway-2", "2.3.0", "no pod runs"), after(61)));
        assert_eq!(status.blocked.len(), 3);
    }

    #[test]
    fn the_oldest_refusal_makes_room_and_what_is_held_stays() {
        let mut status = PlatformStatus::default();
        for (second, number) in (0_i64..).zip(0..40) {
            record(&mut status, &refusal(&format!("gateway-{number}"), "2.3.0", "no pod runs"), after(second));
            status.blocked[0].held = true;
        }
        assert_eq!(status.blocked.len(), MOST_BLOCKS);
        assert_eq!(status.blocked[0].workload.name, "gateway-0");
        assert_eq!(status.blocked[1].workload.name, "gateway-9");
    }
}
