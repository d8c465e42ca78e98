//! Someone who drives a cluster on with nothing but admitted moves and rollouts that complete.

use std::fmt::Write as _;

use crate::cluster::Cluster;
use crate::platform::Ver;

/// How a stuck rollout is cured first; the other way is tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// By another patch of the line asked for.
    Patch,
    /// By going back to the last completed version.
    Undo,
}

/// Upwards or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Back,
}

/// Everything that was admitted is shown, and what is not stuck completes.
pub fn let_go_on(cluster: &mut Cluster<'_>) {
    for part in 0..cluster.parts.len() {
        while !cluster.parts[part].admitted.is_empty() {
            cluster.show(part);
        }
    }
    for (part, workload) in cluster.existing() {
        cluster.complete(part, workload);
    }
}

/// Cures every stuck rollout, again and again until none is left: one may have to wait for another. The ones that
/// nothing helps are returned.
pub fn unstick(cluster: &mut Cluster<'_>, cure: Cure) -> Vec<(usize, usize)> {
    loop {
        let unsettled: Vec<(usize, usize)> = unsettled(cluster);
        let cured = unsettled.iter().filter(|at| unstick_one(cluster, **at, cure)).count();
        if cured == 0 {
            return unsettled;
        }
    }
}

fn unsettled(cluster: &Cluster<'_>) -> Vec<(usize, usize)> {
    let all = cluster.existing().into_iter();
    all.filter(|at| cluster.workload(at.0, at.1).is_some_and(|shown| !shown.is_settled())).collect()
}

fn unstick_one(cluster: &mut Cluster<'_>, (part, workload): (usize, usize), cure: Cure) -> bool {
    let desired = cluster.workload(part, workload).unwrap().desired;
    let undo = cluster.parts[part].completed.filter(|completed| *completed != desired);
    let ways = if cure == Cure::Patch { [desired.patched(), undo] } else { [undo, desired.patched()] };
    ways.into_iter().flatten().any(|to| cluster.roll(part, workload, to))
}

/// Moves single workloads by one version until everything is on `line` at least (or at most), in whatever order the
/// guard admits; false when it admits no more before that.
pub fn drive(cluster: &mut Cluster<'_>, way: Way, line: i64) -> Result<usize, String> {
    let mut moves = 0;
    loop {
        let left: Vec<(usize, usize)> =
            cluster.existing().into_iter().filter(|at| next(cluster, *at, way, line).is_some()).collect();
        if left.is_empty() {
            return Ok(moves);
        }
        let stepped = left.iter().any(|at| {
            let to = next(cluster, *at, way, line).unwrap();
            cluster.roll(at.0, at.1, to)
        });
        if !stepped {
            return Err(refusals(cluster, &left, way, line));
        }
        moves += 1;
    }
}

/// The neighbouring version of a workload on its way to `line`, unless it is there.
fn next(cluster: &Cluster<'_>, (part, workload): (usize, usize), way: Way, line: i64) -> Option<Ver> {
    let desired = cluster.workload(part, workload)?.desired;
    let (lowest, highest) = cluster.platform.span(part, desired)?;
    let number = desired.number()?;
    match way {
        Way::Up if highest < line => Some(Ver::first_patch(number + 1)),
        Way::Back if lowest > line => Some(Ver::first_patch(number - 1)),
        Way::Up | Way::Back => None,
    }
}

fn refusals(cluster: &Cluster<'_>, left: &[(usize, usize)], way: Way, line: i64) -> String {
    let mut text = String::from("nothing is admitted:");
    for at in left {
        let to = next(cluster, *at, way, line).unwrap();
        for reason in cluster.ask(at.1, &[(at.0, to)]).reasons {
            let _ = write!(text, "\n  {reason}");
        }
    }
    text
}

/// Whether everything is settled.
pub fn all_settled(cluster: &Cluster<'_>) -> bool {
    (0..cluster.parts.len()).all(|part| cluster.is_settled(part))
}
