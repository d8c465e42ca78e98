//! A request on its way through the guard: the protocol, step by step.

use upgrade_guard::domain::decision::Verdict;

use crate::guard::{self, Step, ended_of, verdict};
use crate::step::{Action, Config, Fault, How};
use crate::system::{Intent, Ledger, Line, Object, Phase, Reads, Request, Slots, System, slots};

impl Config {
    /// What users ask for, and the controller for what is held.
    pub fn asked(&self, system: &System, actions: &mut Vec<Action>) {
        let replicas = 0..u8::try_from(self.caches.max(1)).unwrap();
        for (part, workload) in system.workloads.iter().enumerate().take(self.parts) {
            let Object { desired, held, .. } = workload.object;
            actions.extend(held.then_some(Action::UndoHeld(part)));
            if system.requests.len() == self.requests {
                continue;
            }
            let (low, high) = self.lines;
            let down = (desired.0 > low).then(|| Line(desired.0 - 1));
            let up = (desired.0 < high).then(|| Line(desired.0 + 1));
            for replica in replicas.clone() {
                if held {
                    actions.push(Action::Ask { part, to: desired, how: How::Release, replica });
                    continue;
                }
                for to in down.into_iter().chain(up) {
                    let mut ask = |how| actions.push(Action::Ask { part, to, how, replica });
                    ask(How::Plain);
                    if self.dry_runs {
                        ask(How::DryRun);
                    }
                    // In the middle of its own rollout nothing is held.
                    if self.hold && workload.object.is_settled() {
                        ask(How::Held);
                    }
                }
            }
        }
    }

    /// A new request after the guard judged it on its cache; `None` when that was the answer.
    pub fn asks(&self, system: &System, part: usize, to: Line, how: How, replica: u8) -> Option<Request> {
        let dry = how == How::DryRun;
        if dry && self.fault != Fault::DryRunGoesOn {
            return None;
        }
        let own = system.workloads[part].object;
        let phase = if how == How::Held { Phase::Answered { held: true } } else { Phase::asked(own) };
        let part = u8::try_from(part).unwrap();
        let mut request = Request { part, to, dry, replica, outdated: false, phase };
        let Some(cache) = system.caches.get(usize::from(replica)) else { return Some(request) };
        let mut seen = Reads::default();
        for (seen, object) in seen.iter_mut().zip(cache.objects).take(self.parts) {
            *seen = Some(object);
        }
        seen[usize::from(part)] = Some(own);
        let ended = guard::ended(&cache.ledger, &seen, self.fault);
        if judge(&request, &seen, &cache.ledger, &ended) != Verdict::Allow {
            return None;
        }
        if self.fault == Fault::CacheAlone {
            request.phase = Phase::Decided { own, ended: Slots::default(), ledger: Ledger::default() };
        }
        Some(request)
    }

    /// What comes next for a request.
    pub fn answered(&self, index: usize, request: &Request, actions: &mut Vec<Action>) {
        match request.phase {
            Phase::Reading { platform, reads, .. } => {
                let workloads_first = self.fault == Fault::WorkloadsFirst;
                if (!workloads_first && !platform) || (workloads_first && self.is_complete(&reads)) {
                    actions.push(Action::ReadPlatform(index));
                } else {
                    let unread = (0..self.parts).filter(|part| reads[*part].is_none());
                    actions.extend(unread.map(|part| Action::ReadWorkload(index, part)));
                }
            }
            Phase::Decided { .. } => actions.push(Action::Write(index)),
            Phase::Answered { .. } => actions.push(Action::Store(index)),
        }
    }

    pub fn read_platform(&self, system: &mut System, index: usize) {
        let current = system.ledger;
        let request = &mut system.requests[index];
        let part = usize::from(request.part);
        let Phase::Reading { platform, own, reads, ledger, ended } = &mut request.phase else { return };
        (*platform, *ledger) = (true, current);
        if self.fault == Fault::OwnObjectIsEvidence {
            ended[part] = ended_of(&current[part], own, self.fault);
            (reads[part], ledger[part]) = (Some(*own), Default::default());
        } else if current[part].iter().all(|intent| *intent == Intent::None) && !self.judges_late() {
            // What a read of its own workload would show is asked of no one.
            reads[part] = Some(*own);
        }
        self.conclude(system, index);
    }

    /// Reads a workload. The request's own old object stands for its workload, but what the workload shows of an
    /// intent is told by a read of it after the Platform: the old object may be older than the intent.
    pub fn read_workload(&self, system: &mut System, index: usize, part: usize) {
        let object = system.workloads[part].object;
        let request = &mut system.requests[index];
        let Phase::Reading { own, reads, ledger, ended, .. } = &mut request.phase else { return };
        if self.judges_late() {
            reads[part] = Some(object);
        } else {
            // What expired is asked at the time of the Platform's read: a read of the workload that is older than the
            // expiry does not prove that nothing was stored until then.
            ended[part] = ended_of(&ledger[part], &object, self.fault);
            reads[part] = Some(if part == usize::from(request.part) { *own } else { object });
            if self.fault != Fault::PlainWrite {
                ledger[part] = Default::default();
            }
        }
        self.conclude(system, index);
    }

    /// Whether it is asked only in the end which intents ended.
    fn judges_late(&self) -> bool {
        matches!(self.fault, Fault::ClockAfterReads | Fault::WorkloadsFirst)
    }

    /// The guard decides when everything is read.
    fn conclude(&self, system: &mut System, index: usize) {
        let request = system.requests[index];
        let Phase::Reading { platform, own, reads, ledger, mut ended } = request.phase else { return };
        if !platform || !self.is_complete(&reads) {
            return;
        }
        if self.judges_late() {
            ended = guard::ended(&system.ledger, &reads, self.fault);
        }
        // Nobody wrote the Platform since it was read, else the request would have had to read it again: its intents
        // are those that were read.
        let seen = if self.fault == Fault::PlainWrite { ledger } else { system.ledger };
        if judge(&request, &reads, &seen, &ended) == Verdict::Allow {
            let ledger = if self.fault == Fault::PlainWrite { ledger } else { Ledger::default() };
            system.requests[index].phase = Phase::Decided { own, ended, ledger };
        } else {
            system.requests.remove(index);
        }
    }

    /// The compare-and-swap that adds the intent and drops what ended. Who comes too late is at `Reading` again.
    pub fn write(&self, system: &mut System, index: usize) {
        let request = system.requests[index];
        let Phase::Decided { ended, ledger, .. } = request.phase else { return };
        if self.fault != Fault::NoIntent {
            if self.fault == Fault::PlainWrite {
                system.ledger = ledger;
            }
            drop_ended(&mut system.ledger, &ended);
            let intent = &mut system.ledger[usize::from(request.part)][request.to.index()];
            *intent = intent.with(request.outdated);
            self.lose(system, Some(index));
            system.dry_run_wrote |= request.dry;
        }
        if request.outdated || request.dry {
            system.requests.remove(index);
        } else {
            system.requests[index].phase = Phase::Answered { held: false };
        }
    }

    /// The Platform was written: who read it before has to read again. They may come to know of it only when they
    /// write, but nothing that they do until then is seen by anyone.
    pub fn lose(&self, system: &mut System, winner: Option<usize>) {
        if matches!(self.fault, Fault::PlainWrite | Fault::CacheAlone) {
            return;
        }
        for (_, request) in system.requests.iter_mut().enumerate().filter(|(index, _)| Some(*index) != winner) {
            if let Phase::Reading { platform: true, own, .. } | Phase::Decided { own, .. } = request.phase {
                request.phase = Phase::asked(own);
            }
        }
        system.sweep = None;
    }
}

/// What `decide` says of a request.
fn judge(request: &Request, reads: &Reads, ledger: &Ledger, ended: &Slots) -> Verdict {
    let part = usize::from(request.part);
    let Some(own) = reads[part] else { return Verdict::Never };
    // What is let go moves from the versions of its pods.
    let froms = own.in_effect().into_iter().filter(|from| *from != request.to);
    let verdicts = froms.map(|from| verdict(Step { part, from, to: request.to }, reads, ledger, ended));
    verdicts.max().unwrap_or(Verdict::Allow)
}

/// Takes intents that ended off the Platform.
pub fn drop_ended(ledger: &mut Ledger, ended: &Slots) {
    for (part, line) in slots().filter(|(part, line)| ended[*part][line.index()]) {
        ledger[part][line.index()] = Intent::None;
    }
}

/// The API server stores a change of `part`: requests that were made from the object before it are judged in vain.
pub fn change(system: &mut System, part: usize, to: Line, held: bool) {
    let object = &mut system.workloads[part].object;
    (object.desired, object.held, object.observed) = (to, held, false);
    for intent in system.ledger[part].iter_mut().filter(|intent| **intent != Intent::None) {
        *intent = Intent::Changed;
    }
    let own = |request: &Request| usize::from(request.part) == part;
    system.requests.retain(|request| !own(request) || !matches!(request.phase, Phase::Answered { .. }));
    system.requests.iter_mut().filter(|request| own(request)).for_each(|request| request.outdated = true);
}
