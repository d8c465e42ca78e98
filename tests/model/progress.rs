//! Liveness: where nothing is on its way, the way goes on.

use upgrade_guard::domain::decision::Verdict;

use crate::guard::{Step, ended, first_step, verdict};
use crate::step::Config;
use crate::system::{Intent, Line, Reads, System, Workload, lines_of};

/// Whether a state in which nothing is left to happen but new requests lets everything get to the newest and to the
/// oldest line: the planner finds a way, and the protocol admits its first step. The state after that step is one of
/// those that are checked too.
///
/// Every state leads to such a state: requests end, rollouts complete, intents expire.
pub fn can_go_on(config: &Config, system: &System) -> bool {
    if !is_quiet(config, system) {
        return true;
    }
    let mut reads = Reads::default();
    for (read, workload) in reads.iter_mut().zip(&system.workloads).take(config.parts) {
        *read = Some(workload.object);
    }
    let ended = ended(&system.ledger, &reads, config.fault);
    let admits = |step: Step| verdict(step, &reads, &system.ledger, &ended) == Verdict::Allow;
    if system.workloads.iter().any(|workload| workload.object.held) {
        return held_can_go_on(config, system, admits);
    }
    [config.lines.0, config.lines.1].into_iter().all(|goal| {
        let all_there = system.workloads[..config.parts].iter().all(|workload| workload.object.desired == Line(goal));
        all_there || first_step(&reads, &system.ledger, &ended, Line(goal)).is_some_and(admits)
    })
}

/// Whether some held rollout may go on, or some component may move so that one gets nearer to it.
fn held_can_go_on(config: &Config, system: &System, admits: impl Fn(Step) -> bool) -> bool {
    let workloads = || system.workloads.iter().enumerate().take(config.parts);
    workloads().any(|(part, Workload { object, .. })| {
        let (from, up) = (object.desired, Line(object.desired.0 + 1));
        if object.held {
            lines_of(&object.counted).all(|from| admits(Step { part, from, to: object.desired }))
        } else {
            let down = from.0.checked_sub(1).map(Line).filter(|line| line.0 >= config.lines.0);
            let steps = down.into_iter().chain((up.0 <= config.lines.1).then_some(up));
            steps.map(|to| Step { part, from, to }).any(&admits)
        }
    })
}

fn is_quiet(config: &Config, system: &System) -> bool {
    let at_rest = |workload: &Workload| {
        let Workload { object, pods, .. } = workload;
        object.counted == *pods && object.observed && (object.held || object.is_settled())
    };
    system.requests.is_empty()
        && system.sweep.is_none()
        && system.workloads[..config.parts].iter().all(at_rest)
        && system.ledger.iter().flatten().all(|intent| *intent != Intent::Fresh)
}
