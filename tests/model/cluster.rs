//! What goes on by itself: rollouts, the controller's sweep, and time.

use crate::guard::ended_of;
use crate::step::{Action, Config, Fault};
use crate::system::{Intent, Line, Phase, Sweep, System, Workload, lines_of};
use crate::webhook::drop_ended;

impl Config {
    /// What a workload's controller may do next. A new pod comes before an old one goes.
    pub fn rolled_out(&self, part: usize, workload: &Workload, actions: &mut Vec<Action>) {
        let Workload { object, target, pods } = workload;
        let total: u8 = pods.iter().sum();
        let replicas = self.replicas_of_workload;
        actions.extend((!object.observed).then_some(Action::Observe(part)));
        if pods[target.index()] < replicas && total <= replicas {
            actions.push(Action::CreatePod(part));
        }
        if total > replicas {
            let old = lines_of(pods).filter(|line| line != target);
            actions.extend(old.map(|line| Action::DeletePod(part, line)));
        }
        actions.extend((object.counted != *pods).then_some(Action::Count(part)));
    }

    pub fn roll(&self, workload: &mut Workload, action: &Action) {
        let Workload { object, target, pods } = workload;
        match action {
            Action::Observe(_) => {
                object.observed = true;
                // A paused Deployment is observed and goes nowhere.
                if !object.held {
                    *target = object.desired;
                }
            }
            Action::CreatePod(_) => pods[target.index()] += 1,
            Action::DeletePod(_, line) => pods[line.index()] -= 1,
            _ => object.counted = *pods,
        }
        if self.fault != Fault::CountsLate {
            object.counted = *pods;
        }
        if object.is_settled() {
            object.completed = object.desired;
        }
    }

    /// Whether the time of an intent may be over: only when the API server can no longer store its change.
    pub fn may_expire(&self, system: &System, part: usize, line: Line) -> bool {
        let mut own = system.requests.iter().filter(|request| usize::from(request.part) == part);
        let may_be_stored = own.any(|request| request.to == line && matches!(request.phase, Phase::Answered { .. }));
        system.ledger[part][line.index()] == Intent::Fresh && (!may_be_stored || self.fault == Fault::ExpiresEarly)
    }

    /// What the controller may do to drop ended intents: read the Platform, then the workloads of its intents, and
    /// write.
    pub fn swept(&self, system: &System, actions: &mut Vec<Action>) {
        match &system.sweep {
            None if self.sweeps && self.to_read(system).next().is_some() => actions.push(Action::SweepStarts),
            None => {}
            Some(Sweep::Reading { read, .. }) => {
                actions.push(Action::SweepFails);
                let unread = self.to_read(system).filter(|part| !read[*part]);
                actions.extend(unread.map(Action::SweepReads));
            }
            Some(Sweep::Decided(_)) => actions.extend([Action::SweepFails, Action::SweepWrites]),
        }
    }

    /// The components with intents.
    fn to_read<'a>(&self, system: &'a System) -> impl Iterator<Item = usize> + use<'a> {
        let with_intents = |part: &usize| system.ledger[*part].iter().any(|intent| *intent != Intent::None);
        (0..self.parts).filter(with_intents)
    }

    /// Reads a workload; in the end nothing is written where nothing ended.
    pub fn sweep_reads(&self, system: &mut System, part: usize) {
        let Some(Sweep::Reading { mut ledger, mut read, mut ended }) = system.sweep else { return };
        ended[part] = ended_of(&ledger[part], &system.workloads[part].object, self.fault);
        (read[part], ledger[part]) = (true, Default::default());
        system.sweep = if self.to_read(system).all(|part| read[part]) {
            ended.iter().flatten().any(|ended| *ended).then_some(Sweep::Decided(ended))
        } else {
            Some(Sweep::Reading { ledger, read, ended })
        };
    }

    pub fn sweep_writes(&self, system: &mut System) {
        let Some(Sweep::Decided(ended)) = system.sweep else { return };
        drop_ended(&mut system.ledger, &ended);
        system.sweep = None;
        self.lose(system, None);
    }
}
