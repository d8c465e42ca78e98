//! What can happen next: the protocol of the webhook and of the controller, the API server, rollouts and time.

use stateright::{Model, Property};

use crate::oracle;
use crate::progress::can_go_on;
use crate::system::{Cache, Intent, Ledger, Line, PARTS, Phase, Reads, Slots, Sweep, System, Workload, slots};
use crate::webhook::change;

/// What is broken on purpose, to see that the checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// An Allow leaves no intent.
    NoIntent,
    /// The workloads are read before the Platform.
    WorkloadsFirst,
    /// What a workload shows of an intent is told by the old object of a request for it.
    OwnObjectIsEvidence,
    /// Whether an intent expired is asked when the workloads have been read.
    ClockAfterReads,
    /// An intent ends as soon as its workload asks for the version.
    EndsWhenShown,
    /// An intent ends when its time is over, whatever the workload shows.
    EndsByTimeAlone,
    /// An intent expires while its request may still be stored.
    ExpiresEarly,
    /// The Platform is written without its resource version.
    PlainWrite,
    /// An Allow is given from the cache.
    CacheAlone,
    /// A workload's status counts a pod any time after it came, and after its controller saw the next change. Not a
    /// fault of the guard but a limit of what it can see: ReplicaSets count their pods a moment later.
    CountsLate,
    /// No intent ever ends.
    NeverEnds,
    /// A dry run goes the way of a request that is to be stored.
    DryRunGoesOn,
}

/// What a run looks at.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    /// How many components are installed.
    pub parts: usize,
    /// The lines that users ask for, from and to.
    pub lines: (u8, u8),
    /// Where each component starts, all settled.
    pub starts: Vec<[u8; PARTS]>,
    pub replicas_of_workload: u8,
    /// How many requests may be on their way at once.
    pub requests: usize,
    /// Whether the controller drops ended intents too; the webhook does with each intent that it writes.
    pub sweeps: bool,
    /// Replicas with a cache; without, a refusal from the cache is one of the ways in which a request fails.
    pub caches: usize,
    pub hold: bool,
    pub dry_runs: bool,
    pub fault: Fault,
}

impl Config {
    pub fn is_complete(&self, reads: &Reads) -> bool {
        reads.iter().take(self.parts).all(Option::is_some)
    }
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Plain,
    DryRun,
    /// The cache says `NotYet`, rightly or not, and the change is to be stored with its workload held.
    Held,
    /// A held rollout is to go on.
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The API server gives a request to the guard, which judges it on its cache first.
    Ask {
        part: usize,
        to: Line,
        how: How,
        replica: u8,
    },
    /// A held change that is taken back changes no pod: nothing is asked.
    UndoHeld(usize),
    ReadPlatform(usize),
    ReadWorkload(usize, usize),
    Write(usize),
    Store(usize),
    Fail(usize),
    SweepStarts,
    SweepReads(usize),
    SweepWrites,
    SweepFails,
    Expire(usize, Line),
    Observe(usize),
    CreatePod(usize),
    DeletePod(usize, Line),
    Count(usize),
    SyncWorkload(usize, usize),
    SyncPlatform(usize),
}

impl Model for Config {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        let system = |start: &[u8; PARTS]| {
            let workloads = start.map(|line| Workload::settled(Line(line), self.replicas_of_workload));
            let cache = Cache { objects: workloads.map(|workload| workload.object), ledger: Ledger::default() };
            System {
                workloads,
                ledger: Ledger::default(),
                requests: vec![],
                sweep: None,
                caches: vec![cache; self.caches],
                dry_run_wrote: false,
            }
        };
        self.starts.iter().map(system).collect()
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        self.asked(system, actions);
        for (index, request) in system.requests.iter().enumerate() {
            self.answered(index, request, actions);
            actions.push(Action::Fail(index));
        }
        self.swept(system, actions);
        let fresh = slots().filter(|(part, line)| self.may_expire(system, *part, *line));
        actions.extend(fresh.map(|(part, line)| Action::Expire(part, line)));
        for (part, workload) in system.workloads.iter().enumerate().take(self.parts) {
            self.rolled_out(part, workload, actions);
        }
        for (replica, cache) in system.caches.iter().enumerate() {
            let stale = |part: &usize| cache.objects[*part] != system.workloads[*part].object;
            actions.extend((0..self.parts).filter(stale).map(|part| Action::SyncWorkload(replica, part)));
            actions.extend((cache.ledger != system.ledger).then_some(Action::SyncPlatform(replica)));
        }
    }

    fn next_state(&self, before: &System, action: Action) -> Option<System> {
        let mut system = before.clone();
        match action {
            Action::Ask { part, to, how, replica } => system.requests.push(self.asks(before, part, to, how, replica)?),
            Action::UndoHeld(part) => {
                let target = system.workloads[part].target;
                change(&mut system, part, target, false);
            }
            Action::ReadPlatform(index) => self.read_platform(&mut system, index),
            Action::ReadWorkload(index, part) => self.read_workload(&mut system, index, part),
            Action::Write(index) => self.write(&mut system, index),
            Action::Store(index) => {
                let request = system.requests.remove(index);
                let held = matches!(request.phase, Phase::Answered { held: true });
                change(&mut system, usize::from(request.part), request.to, held);
            }
            Action::Fail(index) => {
                system.requests.remove(index);
            }
            Action::SweepStarts => {
                let (ledger, read, ended) = (system.ledger, [false; PARTS], Slots::default());
                system.sweep = Some(Sweep::Reading { ledger, read, ended });
            }
            Action::SweepReads(part) => self.sweep_reads(&mut system, part),
            Action::SweepWrites => self.sweep_writes(&mut system),
            Action::SweepFails => system.sweep = None,
            Action::Expire(part, line) => system.ledger[part][line.index()] = Intent::Expired,
            Action::SyncWorkload(replica, part) => {
                system.caches[replica].objects[part] = system.workloads[part].object;
            }
            Action::SyncPlatform(replica) => system.caches[replica].ledger = system.ledger,
            Action::Observe(part) | Action::CreatePod(part) | Action::DeletePod(part, _) | Action::Count(part) => {
                self.roll(&mut system.workloads[part], &action);
            }
        }
        system.requests.sort_unstable();
        Some(system)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always("ORDER", |config: &Self, system: &System| {
                oracle::is_in_order(&system.workloads, config.parts)
            }),
            Property::always("SKEW", |config: &Self, system: &System| {
                oracle::is_within_skew(&system.workloads, config.parts)
            }),
            Property::always("an upgrade can go on", can_go_on),
            Property::always("a dry run writes nothing", |_: &Self, system: &System| !system.dry_run_wrote),
            Property::sometimes("all get to the newest line", |config: &Self, system: &System| {
                let newest = Workload::settled(Line(config.lines.1), config.replicas_of_workload);
                system.workloads[..config.parts].iter().all(|workload| *workload == newest)
            }),
            Property::sometimes("all get to the oldest line", |config: &Self, system: &System| {
                let oldest = Workload::settled(Line(config.lines.0), config.replicas_of_workload);
                system.workloads[..config.parts].iter().all(|workload| *workload == oldest)
            }),
        ];
        if self.hold {
            let held = |_: &Self, system: &System| system.workloads.iter().any(|workload| workload.object.held);
            all.push(Property::sometimes("a workload is held", held));
        }
        all
    }
}
