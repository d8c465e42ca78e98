//! A simulated install: admitted moves start rollouts, which advance, complete or stop half-way.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use upgrade_guard::domain::change::{Change, Move};
use upgrade_guard::domain::decision::{Decision, Verdict, decide};
use upgrade_guard::domain::policy::ComponentId;
use upgrade_guard::domain::view::{ComponentView, Intent, Missing, Rollout, View, WorkloadId, WorkloadView};

use crate::oracle;
use crate::platform::{Platform, Ver};

pub const PODS: u32 = 3;

#[derive(Clone, Debug)]
pub struct Workload {
    pub desired: Ver,
    pub pods: BTreeMap<Ver, u32>,
    /// Whether the last change is observed and all pods are available.
    pub ready: bool,
    /// Whether the rollout stands still until the workload is retargeted.
    pub stuck: bool,
}

impl Workload {
    pub fn settled_at(version: Ver) -> Self {
        Self { desired: version, pods: BTreeMap::from([(version, PODS)]), ready: true, stuck: false }
    }

    pub fn is_settled(&self) -> bool {
        self.ready && self.pods.keys().all(|version| *version == self.desired)
    }

    fn rollout(&self) -> Rollout {
        let of: u32 = self.pods.values().sum();
        let updated = self.pods.get(&self.desired).copied().unwrap_or(0);
        if self.is_settled() {
            Rollout::Settled
        } else if self.stuck {
            Rollout::Progressing(Missing::DeadlineExceeded)
        } else if updated < of {
            Rollout::Progressing(Missing::Updated { updated, of })
        } else {
            Rollout::Progressing(Missing::NotObserved)
        }
    }

    /// One pod of an old version gives way to one of the version asked for.
    pub fn advance(&mut self) {
        let old = self.pods.keys().find(|version| **version != self.desired).copied();
        let Some(old) = old.filter(|_| !self.stuck) else { return };
        let left = self.pods.get_mut(&old).unwrap();
        *left -= 1;
        if *left == 0 {
            self.pods.remove(&old);
        }
        *self.pods.entry(self.desired).or_default() += 1;
    }

    fn complete(&mut self) {
        if !self.stuck {
            *self = Self::settled_at(self.desired);
        }
    }
}

/// An admitted change that the workload does not show yet.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub workload: usize,
    pub from: Option<Ver>,
    pub to: Ver,
}

#[derive(Clone, Debug, Default)]
pub struct State {
    /// `None` where it is deleted.
    pub workloads: Vec<Option<Workload>>,
    pub admitted: Vec<Admitted>,
    pub completed: Option<Ver>,
}

#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    pub platform: &'a Platform,
    pub parts: Vec<State>,
    /// Whether the first workloads of the first two parts are one, with a container for each.
    pub shared: bool,
}

impl<'a> Cluster<'a> {
    /// Everything settled at these versions, all workloads of a part alike.
    pub fn settled(platform: &'a Platform, versions: &[Ver]) -> Self {
        let state = |(part, version): (usize, &Ver)| State {
            workloads: vec![Some(Workload::settled_at(*version)); platform.parts[part].workloads],
            admitted: vec![],
            completed: Some(*version),
        };
        Self { platform, parts: versions.iter().enumerate().map(state).collect(), shared: false }
    }

    pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    pub fn id(&self, part: usize, workload: usize) -> WorkloadId {
        let name =
            if self.shared && part < 2 && workload == 0 { "shared".into() } else { format!("c{part}-{workload}") };
        WorkloadId { kind: "Deployment".into(), name }
    }

    pub fn workload(&self, part: usize, workload: usize) -> Option<&Workload> {
        self.parts[part].workloads[workload].as_ref()
    }

    pub fn workload_mut(&mut self, part: usize, workload: usize) -> Option<&mut Workload> {
        self.parts[part].workloads[workload].as_mut()
    }

    pub fn is_settled(&self, part: usize) -> bool {
        self.parts[part].workloads.iter().flatten().all(Workload::is_settled)
    }

    /// Every workload that exists, as part and position.
    pub fn existing(&self) -> Vec<(usize, usize)> {
        let all = self.parts.iter().enumerate();
        let workloads = all.flat_map(|(part, state)| {
            let there = state.workloads.iter().enumerate().filter(|(_, workload)| workload.is_some());
            there.map(move |(position, _)| (part, position))
        });
        workloads.collect()
    }

    pub fn view(&self) -> View {
        let version = |part, version: &Ver| self.platform.version(part, *version);
        let expires = Self::NOW + SignedDuration::from_secs(30);
        let components = self.parts.iter().enumerate().map(|(part, state)| ComponentView {
            workloads: (state.workloads.iter().enumerate())
                .filter_map(|(position, workload)| Some((position, workload.as_ref()?)))
                .map(|(position, workload)| WorkloadView {
                    id: self.id(part, position),
                    desired: vec![version(part, &workload.desired)],
                    running: workload.pods.iter().map(|(pod, count)| (version(part, pod), *count)).collect(),
                    rollout: workload.rollout(),
                })
                .collect(),
            intents: (state.admitted.iter())
                .map(|admitted| Intent { version: version(part, &admitted.to), expires })
                .collect(),
            recorded: state.completed.as_ref().map(|completed| version(part, completed)),
        });
        View { components: components.collect(), ..View::default() }
    }

    /// What counts as live, for the oracle.
    pub fn live(&self) -> Vec<BTreeSet<Ver>> {
        let live = self.parts.iter().map(|state| {
            let workloads = state.workloads.iter().flatten();
            let shown = workloads.flat_map(|workload| workload.pods.keys().chain([&workload.desired]).copied());
            shown.chain(state.admitted.iter().map(|admitted| admitted.to)).collect()
        });
        live.collect()
    }

    /// A line for each part, for a failing test to show.
    pub fn show_all(&self) -> String {
        let lines = self.parts.iter().enumerate().map(|(part, state)| format!("{part}: {state:?}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The lines of everything live.
    pub fn spans(&self) -> Vec<(i64, i64)> {
        let mut spans = Vec::new();
        for (part, live) in self.live().iter().enumerate() {
            spans.extend(live.iter().filter_map(|version| self.platform.span(part, *version)));
        }
        spans
    }

    pub fn breaches(&self) -> Vec<oracle::Breach> {
        oracle::breaches(self.platform, &self.live())
    }

    /// What the guard says of one change of one workload, `moves` being parts and their new versions.
    pub fn ask(&self, workload: usize, moves: &[(usize, Ver)]) -> Decision {
        let step = |(part, to): &(usize, Ver)| {
            Move::new(
                ComponentId(*part),
                self.workload(*part, workload).map(|shown| self.platform.version(*part, shown.desired)),
                self.platform.version(*part, *to),
            )
        };
        let change = Change {
            workload: self.id(moves[0].0, workload),
            moves: moves.iter().map(step).filter(|step| step.from.as_ref() != Some(&step.to)).collect(),
            restarts: vec![],
            capacity: None,
        };
        decide(&self.platform.policy, &self.view(), &change, Self::NOW)
    }

    /// Asks, and leaves intents when the change is admitted; whether it was.
    pub fn admit(&mut self, workload: usize, moves: &[(usize, Ver)]) -> bool {
        let admitted = self.ask(workload, moves).verdict == Verdict::Allow;
        for (part, to) in moves.iter().filter(|_| admitted) {
            let from = self.workload(*part, workload).map(|shown| shown.desired);
            self.parts[*part].admitted.push(Admitted { workload, from, to: *to });
        }
        admitted
    }

    /// The oldest admitted change of `part` reaches its workload, unless that changed in between: the API server
    /// refuses such a write, and the request is judged anew.
    pub fn show(&mut self, part: usize) {
        let state = &mut self.parts[part];
        if state.admitted.is_empty() {
            return;
        }
        let Admitted { workload, from, to } = state.admitted.remove(0);
        let place = &mut state.workloads[workload];
        if place.as_ref().map(|shown| shown.desired) != from || from == Some(to) {
            return;
        }
        let pods = place.take().map(|shown| shown.pods).unwrap_or_default();
        *place = Some(Workload { desired: to, pods, ready: false, stuck: false });
    }

    /// The rollout completes unless it is stuck; once every workload of the part is settled that is recorded. What
    /// cannot be read is no record: the last one stays.
    pub fn complete(&mut self, part: usize, workload: usize) {
        let Some(shown) = self.workload_mut(part, workload) else { return };
        shown.complete();
        let workloads = &self.parts[part].workloads;
        let lowest = workloads.iter().flatten().map(|shown| shown.desired).min();
        if self.is_settled(part) && lowest != Some(Ver::Unknown) {
            self.parts[part].completed = lowest;
        }
    }

    /// Asks for one version of one workload; admitted, it is shown and rolled out at once.
    pub fn roll(&mut self, part: usize, workload: usize, to: Ver) -> bool {
        let admitted = self.admit(workload, &[(part, to)]);
        if admitted {
            while !self.parts[part].admitted.is_empty() {
                self.show(part);
            }
            self.complete(part, workload);
        }
        admitted
    }
}
