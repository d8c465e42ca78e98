//! What is legal, from the words of the law, without the crate's rules. The numbers are those of
//! `manifests/policies/stoa.yaml`, written out by hand.

use crate::system::{Line, PARTS, Workload};

/// "d after u", transitively: gateway after API, UI after gateway and so after API. Nothing may be ahead of what it
/// comes after.
const AFTER: [(usize, usize); 3] = [(1, 0), (2, 1), (2, 0)];
/// "compatible with Control Plane API N and N-1": who, with whom, lines behind, lines ahead.
const SKEW: [(usize, usize, i16, i16); 2] = [(1, 0, 1, 0), (2, 0, 1, 0)];

fn position(line: Line) -> i16 {
    i16::from(line.0)
}

/// The live lines of two components, each with each.
fn pairs(workloads: &[Workload; PARTS], one: usize, other: usize) -> impl Iterator<Item = (i16, i16)> {
    let (one, other) = (workloads[one].live(), workloads[other].live());
    one.into_iter().flat_map(move |a| other.clone().into_iter().map(move |b| (position(a), position(b))))
}

/// Whether nothing runs or is asked for that needs more of an upstream component than all of that serves.
pub fn is_in_order(workloads: &[Workload; PARTS], parts: usize) -> bool {
    let installed = AFTER.iter().filter(|(down, up)| *down < parts && *up < parts);
    installed.copied().all(|(down, up)| pairs(workloads, down, up).all(|(own, upstream)| own <= upstream))
}

/// Whether every pair is within its window.
pub fn is_within_skew(workloads: &[Workload; PARTS], parts: usize) -> bool {
    let installed = SKEW.iter().filter(|(down, up, ..)| *down < parts && *up < parts);
    installed.copied().all(|(down, up, behind, ahead)| {
        pairs(workloads, down, up).all(|(own, peer)| -ahead <= peer - own && peer - own <= behind)
    })
}
