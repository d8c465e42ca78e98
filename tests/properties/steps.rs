//! What may happen in a cluster, in any order.

use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::platform::{Platform, Ver};

/// One event. Parts and workloads are taken modulo how many there are.
#[derive(Clone, Debug)]
pub enum Step {
    /// Someone asks for a version this many numbers away; it happens if it is admitted.
    Ask { at: (usize, usize), by: i8, patch: u8 },
    /// Someone asks for new versions of both containers of the shared workload at once.
    AskBoth { by: (i8, i8) },
    /// The oldest admitted change of a part reaches its workload.
    Show { part: usize },
    /// It never does: its writer was refused by something else, and the intent expires.
    Lose { part: usize },
    /// One pod is replaced.
    Advance { at: (usize, usize) },
    /// The rollout completes.
    Complete { at: (usize, usize) },
    /// The rollout stops where it is.
    Stick { at: (usize, usize) },
    /// The workload is deleted, which is never refused.
    Delete { at: (usize, usize) },
    /// A deleted workload is asked for again, on this line.
    Create { at: (usize, usize), line: u8 },
}

/// Events; `deletions` says whether workloads may also go and come back.
pub fn steps(deletions: bool) -> impl Strategy<Value = Vec<Step>> {
    let at = || (0..8_usize, 0..2_usize);
    let by = || prop_oneof![6 => Just(1_i8), 4 => Just(-1), 1 => Just(0), 1 => Just(2), 1 => Just(-2)];
    let rare = u32::from(deletions);
    let step = prop_oneof![
        12 => (at(), by(), 0..3_u8).prop_map(|(at, by, patch)| Step::Ask { at, by, patch }),
        2 => (by(), by()).prop_map(|by| Step::AskBoth { by }),
        8 => (0..8_usize).prop_map(|part| Step::Show { part }),
        1 => (0..8_usize).prop_map(|part| Step::Lose { part }),
        3 => at().prop_map(|at| Step::Advance { at }),
        8 => at().prop_map(|at| Step::Complete { at }),
        4 => at().prop_map(|at| Step::Stick { at }),
        rare => at().prop_map(|at| Step::Delete { at }),
        2 * rare => (at(), 0..6_u8).prop_map(|(at, line)| Step::Create { at, line }),
    ];
    prop::collection::vec(step, 0..80)
}

/// How the first state is made: everything on `line`, then each part moved as far as the law lets it.
#[derive(Clone, Debug)]
pub struct Start {
    pub line: u8,
    pub moved: Vec<i8>,
    pub shared: bool,
}

pub fn starts() -> impl Strategy<Value = Start> {
    let moved = prop::collection::vec(prop_oneof![3 => Just(0_i8), 1 => Just(1), 1 => Just(-1)], 8);
    (1..4_u8, moved, prop::bool::weighted(0.2)).prop_map(|(line, moved, shared)| Start { line, moved, shared })
}

impl Start {
    /// A legal settled state.
    pub fn cluster<'a>(&self, platform: &'a Platform) -> Cluster<'a> {
        let mut versions: Vec<Ver> = (0..platform.parts.len()).map(|part| platform.on(part, self.line)).collect();
        for part in 0..versions.len() {
            let before = versions[part];
            versions[part] = platform.on(part, self.line.saturating_add_signed(self.moved[part]));
            if !Cluster::settled(platform, &versions).breaches().is_empty() {
                versions[part] = before;
            }
        }
        Cluster { shared: self.shared, ..Cluster::settled(platform, &versions) }
    }
}

/// Lets one event happen.
pub fn apply(cluster: &mut Cluster<'_>, step: &Step) {
    let place = |cluster: &Cluster<'_>, (part, workload): (usize, usize)| {
        let part = part % cluster.parts.len();
        (part, workload % cluster.parts[part].workloads.len())
    };
    match step {
        Step::Ask { at, by, patch } => {
            let (part, workload) = place(cluster, *at);
            let to = target(cluster, (part, workload), *by, *patch);
            if let Some(to) = to {
                cluster.admit(workload, &[(part, to)]);
            }
        }
        Step::AskBoth { by } => {
            let to = [(0, by.0), (1, by.1)].map(|(part, by)| Some((part, target(cluster, (part, 0), by, 0)?)));
            if let ([Some(first), Some(second)], true) = (to, cluster.shared) {
                cluster.admit(0, &[first, second]);
            }
        }
        Step::Show { part } => cluster.show(part % cluster.parts.len()),
        Step::Lose { part } => {
            let part = part % cluster.parts.len();
            cluster.parts[part].admitted.pop();
        }
        Step::Advance { at } => {
            let (part, workload) = place(cluster, *at);
            if let Some(shown) = cluster.workload_mut(part, workload) {
                shown.advance();
            }
        }
        Step::Complete { at } => {
            let (part, workload) = place(cluster, *at);
            cluster.complete(part, workload);
        }
        Step::Stick { at } => {
            let (part, workload) = place(cluster, *at);
            if let Some(shown) = cluster.workload_mut(part, workload) {
                shown.stuck = !shown.is_settled();
            }
        }
        Step::Delete { at } => {
            let (part, workload) = place(cluster, *at);
            cluster.parts[part].workloads[workload] = None;
        }
        Step::Create { at, line } => {
            let (part, workload) = place(cluster, *at);
            let to = cluster.platform.on(part, *line);
            if cluster.workload(part, workload).is_none() {
                cluster.admit(workload, &[(part, to)]);
            }
        }
    }
}

/// The version `by` numbers away from what a workload asks for, if there is one.
fn target(cluster: &Cluster<'_>, (part, workload): (usize, usize), by: i8, patch: u8) -> Option<Ver> {
    let number = cluster.workload(part, workload)?.desired.number()?.checked_add_signed(by)?;
    (number <= cluster.platform.newest(part)).then_some(Ver::Known { number, patch })
}
