//! `Ready`, `Reconciling` and `Stalled`, as kstatus reads them: engines wait on `Ready`, go on waiting while
//! `Reconciling` and give up on `Stalled`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{LONGEST_TEXT, Scene, clip, is_enforced};
use crate::api::{PlatformBlock, PlatformStatus};
use crate::domain::decision::Verdict;

/// What the three conditions say together.
enum Stand {
    Ready(String),
    /// Waiting is all that it takes.
    Reconciling(&'static str, String),
    /// It does not go on by itself.
    Stalled(&'static str, String),
}

pub(super) fn all(scene: &Scene<'_>, status: &PlatformStatus, generation: i64) -> Vec<Condition> {
    written(stand(scene, status), &scene.old.conditions, Some(generation), scene.now)
}

/// The conditions of an install whose policy is gone.
pub(super) fn of_orphan(old: &PlatformStatus, now: Timestamp) -> Vec<Condition> {
    let stand = Stand::Stalled("PolicyGone", "its UpgradePolicy is gone: nothing governs it".to_owned());
    written(stand, &old.conditions, old.observed_generation, now)
}

fn stand(scene: &Scene<'_>, status: &PlatformStatus) -> Stand {
    let unsettled = || scene.policy.ids().filter_map(|id| Some((id, scene.view.component(id).unsettled()?)));
    if let Some((id, (_, missing))) = unsettled().find(|(_, (_, missing))| !missing.goes_on()) {
        return Stand::Stalled("RolloutStuck", format!("{}: {missing}", scene.name(id)));
    }
    let never = |block: &&PlatformBlock| block.held && block.verdict == Verdict::Never.as_str();
    if let Some(block) = status.blocked.iter().find(never) {
        return Stand::Stalled("HeldForEver", format!("{} {}", block.component, block.message));
    }
    let names = |held: bool| {
        let own = status.components.iter().filter(|component| !component.settled && component.held == held);
        own.map(|component| component.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (rolling, held) = (names(false), names(true));
    if !rolling.is_empty() {
        return Stand::Reconciling("RollingOut", format!("rolling out: {rolling}"));
    }
    if !held.is_empty() {
        return Stand::Reconciling("Held", format!("held until it may go on: {held}"));
    }
    if let Some(intent) = status.intents.first() {
        return Stand::Reconciling("Admitted", format!("admitted: {} {}", intent.component, intent.to));
    }
    let mut broken = status.violations.iter().filter(|violation| is_enforced(scene.policy, &violation.rule));
    if let Some(violation) = broken.next() {
        let message = format!("[{}] {} {}", violation.rule, violation.component, violation.message);
        return Stand::Stalled("RulesBroken", message);
    }
    Stand::Ready("all rollouts are complete".to_owned())
}

fn written(stand: Stand, old: &[Condition], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let no = |reason: &'static str| ("False", reason, String::new());
    let (ready, reconciling, stalled) = match stand {
        Stand::Ready(message) => (("True", "Settled", message), no("Settled"), no("Settled")),
        Stand::Reconciling(reason, message) => {
            (("False", reason, message.clone()), ("True", reason, message), no("GoesOn"))
        }
        Stand::Stalled(reason, message) => (("False", reason, message.clone()), no(reason), ("True", reason, message)),
    };
    let each = [("Ready", ready), ("Reconciling", reconciling), ("Stalled", stalled)];
    let conditions = each.into_iter().map(|(type_, (status, reason, message))| {
        let same = old.iter().find(|old| old.type_ == type_ && old.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: clip(&message, LONGEST_TEXT),
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
        }
    });
    conditions.collect()
}
