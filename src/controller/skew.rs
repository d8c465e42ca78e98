//! How far the components of an install are from each other.

use jiff::Timestamp;

use crate::domain::policy::Policy;
use crate::domain::view::View;

/// How far a component is from a peer that its policy declares a skew for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkewLines {
    /// The component's name.
    pub component: String,
    /// The peer's name.
    pub peer: String,
    /// Lines that it is behind the peer, negative when it is ahead: the largest distance between what is live of both.
    pub behind: i64,
}

/// The distance of each declared pair of `policy` in `view`, as it counts at `now`. Pairs of which nothing can be
/// compared are left out.
#[must_use]
pub fn skew(policy: &Policy, view: &View, now: Timestamp) -> Vec<SkewLines> {
    let mut found = Vec::new();
    for id in policy.ids() {
        for pair in &policy.component(id).skew {
            let spans = |component| {
                let live = view.component(component).live(now);
                live.filter_map(move |version| policy.lines.span(component, version).ok()).collect::<Vec<_>>()
            };
            let peers = spans(pair.peer);
            let distances =
                spans(id).into_iter().flat_map(|own| peers.iter().filter_map(move |peer| own.distance_to(*peer)));
            if let Some(behind) = distances.max_by_key(|distance| distance.unsigned_abs()) {
                let name = |component| policy.component(component).name.clone();
                found.push(SkewLines { component: name(id), peer: name(pair.peer), behind });
            }
        }
    }
    found
}
