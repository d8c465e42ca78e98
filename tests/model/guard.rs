//! The guard's judgement: the crate's own `decide` and `Evidence::ends` on what a replica read.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use upgrade_guard::api::UpgradePolicy;
use upgrade_guard::domain::change::{Change, Move};
use upgrade_guard::domain::decision::{Verdict, decide};
use upgrade_guard::domain::intent::Evidence;
use upgrade_guard::domain::policy::{ComponentId, Policy};
use upgrade_guard::domain::route::{Question, route};
use upgrade_guard::domain::version::Version;
use upgrade_guard::domain::view::{
    ComponentView, Intent as ViewIntent, Missing, Rollout, View, WorkloadId, WorkloadView,
};

use crate::step::Fault;
use crate::system::{Intent, LINES, Ledger, Line, Object, PARTS, Reads, Slots, lines_of, slots};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const LATER: SignedDuration = SignedDuration::from_secs(60);

/// The shipped policy. Components that a configuration does not install are absent from its views.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let shipped: UpgradePolicy = serde_saphyr::from_str(include_str!("../../manifests/policies/stoa.yaml")).unwrap();
    Policy::try_from(&shipped).unwrap()
});

/// A move of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    pub part: usize,
    pub from: Line,
    pub to: Line,
}

/// What the workload of an intent for `line` shows of it.
fn evidence(object: &Object, line: Line, intent: Intent) -> Evidence {
    Evidence {
        shown: object.in_effect().contains(&line),
        changed: intent == Intent::Changed,
        settled: object.is_settled(),
        accounted: object.observed,
    }
}

fn ends(intent: Intent, evidence: Evidence, fault: Fault) -> bool {
    let expires = match intent {
        Intent::None => return false,
        Intent::Fresh | Intent::Changed => NOW + LATER,
        Intent::Expired => NOW,
    };
    match fault {
        Fault::NeverEnds => false,
        Fault::EndsWhenShown => evidence.shown || evidence.ends(expires, NOW),
        Fault::EndsByTimeAlone => evidence.ends(expires, NOW) || expires <= NOW,
        _ => evidence.ends(expires, NOW),
    }
}

/// Which intents of one component no longer count in the face of its workload.
pub fn ended_of(intents: &[Intent; LINES], object: &Object, fault: Fault) -> [bool; LINES] {
    let mut ended = [false; LINES];
    for line in Line::all() {
        let intent = intents[line.index()];
        ended[line.index()] = ends(intent, evidence(object, line, intent), fault);
    }
    ended
}

/// Which intents of `ledger` no longer count in the face of what was read.
pub fn ended(ledger: &Ledger, reads: &Reads, fault: Fault) -> Slots {
    let mut ended = Slots::default();
    for part in 0..PARTS {
        if let Some(object) = &reads[part] {
            ended[part] = ended_of(&ledger[part], object, fault);
        }
    }
    ended
}

/// The verdict over `step`, where the intents count that are in `ledger` and not in `ended`.
pub fn verdict(step: Step, reads: &Reads, ledger: &Ledger, ended: &Slots) -> Verdict {
    thread_local! {
        static KNOWN: RefCell<HashMap<(Step, Reads, Slots), Verdict>> = RefCell::default();
    }
    let counting = counting(ledger, ended);
    KNOWN.with_borrow_mut(|known| {
        *known.entry((step, *reads, counting)).or_insert_with(|| {
            let change = Change {
                workload: workload(step.part),
                moves: vec![Move::new(ComponentId(step.part), Some(version(step.from)), version(step.to))],
                restarts: vec![],
                capacity: None,
            };
            decide(&POLICY, &view(reads, &counting), &change, NOW).verdict
        })
    })
}

/// The first step of a route that brings everything installed to `goal`, if there is such a route; `None` also where
/// everything is there.
pub fn first_step(reads: &Reads, ledger: &Ledger, ended: &Slots, goal: Line) -> Option<Step> {
    thread_local! {
        static KNOWN: RefCell<HashMap<(Reads, Slots, Line), Option<Step>>> = RefCell::default();
    }
    let counting = counting(ledger, ended);
    KNOWN.with_borrow_mut(|known| {
        *known.entry((*reads, counting, goal)).or_insert_with(|| {
            let view = view(reads, &counting);
            let installed = reads.iter().enumerate().filter(|(_, object)| object.is_some());
            let targets: BTreeMap<_, _> = installed.map(|(part, _)| (ComponentId(part), version(goal))).collect();
            let question =
                Question { policy: &POLICY, view: &view, targets: &targets, capacities: &BTreeMap::new(), now: NOW };
            let route = route(&question);
            let step = route.steps.first().filter(|_| route.found && route.waits.is_empty())?;
            let part = step.component.0;
            let to = Line::all().find(|line| version(*line) == step.to)?;
            Some(Step { part, from: reads[part]?.desired, to })
        })
    })
}

fn counting(ledger: &Ledger, ended: &Slots) -> Slots {
    let mut counting = Slots::default();
    for (part, line) in slots() {
        let at = line.index();
        counting[part][at] = ledger[part][at] != Intent::None && !ended[part][at];
    }
    counting
}

fn view(reads: &Reads, counting: &Slots) -> View {
    let mut view = View::empty(&POLICY);
    for (part, component) in view.components.iter_mut().enumerate().take(PARTS) {
        if let Some(object) = &reads[part] {
            *component = component_view(part, object);
        }
        let intents = Line::all().filter(|line| counting[part][line.index()]);
        component.intents =
            intents.map(|line| ViewIntent { version: version(line), expires: Timestamp::MAX }).collect();
    }
    view
}

fn component_view(part: usize, object: &Object) -> ComponentView {
    let running = lines_of(&object.counted).map(|line| (version(line), u32::from(object.counted[line.index()])));
    let workload = WorkloadView {
        id: workload(part),
        desired: object.in_effect().into_iter().map(version).collect(),
        running: running.collect(),
        rollout: rollout(object),
    };
    ComponentView { workloads: vec![workload], intents: vec![], recorded: Some(version(object.completed)) }
}

fn rollout(object: &Object) -> Rollout {
    let total: u32 = object.counted.iter().map(|pods| u32::from(*pods)).sum();
    let updated = u32::from(object.counted[object.desired.index()]);
    if object.is_settled() {
        Rollout::Settled
    } else if object.held {
        Rollout::Progressing(Missing::Held(vec![version(object.desired)]))
    } else if !object.observed {
        Rollout::Progressing(Missing::NotObserved)
    } else {
        Rollout::Progressing(Missing::OldPods(total - updated))
    }
}

fn version(line: Line) -> Version {
    thread_local! {
        static KNOWN: [Version; LINES] =
            std::array::from_fn(|line| Version::read(&format!("{}.0", Line(u8::try_from(line).unwrap()))));
    }
    KNOWN.with(|known| known[line.index()].clone())
}

fn workload(part: usize) -> WorkloadId {
    WorkloadId { kind: "Deployment".to_owned(), name: POLICY.component(ComponentId(part)).name.clone() }
}
