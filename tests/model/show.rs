//! Counterexamples and figures as people read them.

use std::fmt::Write as _;

use stateright::Path;

use crate::step::{Action, Config, Fault, How};
use crate::system::{NAMES, Phase, Request, System};

/// One line for each action of a path, and what is there at its end.
pub fn path(config: &Config, path: Path<System, Action>) -> String {
    let steps = path.into_vec();
    let mut text = format!("     start: {}\n", steps[0].0.show(config.parts));
    for (number, window) in steps.windows(2).enumerate() {
        let (before, Some(action)) = &window[0] else { continue };
        let changed = window[1].0.show(config.parts);
        let _ = write!(text, "{:>4}. {}", number + 1, action_in(config, before, action));
        if changed == before.show(config.parts) {
            text.push('\n');
        } else {
            let _ = writeln!(text, "\n          {changed}");
        }
    }
    text
}

fn name(request: &Request) -> String {
    format!("{} -> {}", NAMES[usize::from(request.part)], request.to)
}

fn action_in(config: &Config, system: &System, action: &Action) -> String {
    let request = |index: &usize| name(&system.requests[*index]);
    match action {
        Action::Ask { part, to, how, replica } => {
            let what = match how {
                How::Plain => "a user asks for",
                How::DryRun => "a dry run asks for",
                How::Held => "a change is to be held:",
                How::Release => "the controller lets go",
            };
            format!("{what} {} -> {to} (replica {})", NAMES[*part], replica + 1)
        }
        Action::UndoHeld(part) => format!("a user takes the held change of {} back", NAMES[*part]),
        Action::ReadPlatform(index) => format!("{}: the guard reads the Platform", request(index)),
        Action::ReadWorkload(index, part) => format!("{}: the guard reads {}", request(index), NAMES[*part]),
        Action::Write(index) if config.fault == Fault::NoIntent => format!("{}: the guard allows it", request(index)),
        Action::Write(index) => format!("{}: the guard writes the intent and allows it", request(index)),
        Action::Store(index) => format!("{}: the API server stores it", request(index)),
        Action::Fail(index) => match system.requests[*index].phase {
            Phase::Answered { .. } => format!("{}: it is allowed and never stored", request(index)),
            _ => format!("{}: it fails", request(index)),
        },
        Action::SweepStarts => "the controller reads the Platform".to_owned(),
        Action::SweepReads(part) => format!("the controller reads {}", NAMES[*part]),
        Action::SweepWrites => "the controller drops the intents that ended".to_owned(),
        Action::SweepFails => "the controller gives up its sweep".to_owned(),
        Action::Expire(part, line) => format!("the time of the intent {} -> {line} is over", NAMES[*part]),
        Action::Observe(part) => format!("{}: its controller sees what is asked for", NAMES[*part]),
        Action::CreatePod(part) => format!("{}: a new pod comes", NAMES[*part]),
        Action::DeletePod(part, line) => format!("{}: a pod of {line} goes", NAMES[*part]),
        Action::Count(part) => format!("{}: its status counts its pods", NAMES[*part]),
        Action::SyncWorkload(replica, part) => format!("replica {} hears of {}", replica + 1, NAMES[*part]),
        Action::SyncPlatform(replica) => format!("replica {} hears of the Platform", replica + 1),
    }
}
