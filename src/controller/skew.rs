//! How far the components of an install are from each other.

use jiff::Timestamp;

use crate::domain::policy::{Policy, Skew};
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
    /// Lines that the peer may still move ahead before the component is too far behind: 0 at the limit, negative when they
    /// are too far apart already, in either direction.
    pub left: i64,
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
            let owns = spans(id);
            let distances = || owns.iter().flat_map(|own| peers.iter().filter_map(|peer| own.distance_to(*peer)));
            if let Some(behind) = distances().max_by_key(|distance| distance.unsigned_abs()) {
                let name = |component| policy.component(component).name.clone();
                let left = distances().map(|distance| left(pair, distance)).min().unwrap_or_default();
                found.push(SkewLines { component: name(id), peer: name(pair.peer), behind, left });
            }
        }
    }
    found
}

/// What is left of the window of a pair at one distance. Being ahead of the peer as far as allowed is no limit for it.
fn left(pair: &Skew, behind: i64) -> i64 {
    let until_too_far_behind = i64::from(pair.behind).saturating_sub(behind);
    let until_too_far_ahead = i64::from(pair.ahead).saturating_add(behind);
    if until_too_far_ahead < 0 { until_too_far_ahead } else { until_too_far_behind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::ComponentId;

    #[test]
    fn what_is_left_ends_at_the_limit() {
        for (allowed, behind, expected) in [
            // "N and N-1": at rest, while the peer is upgraded, and beyond.
            ((1, 0), 0, 1),
            ((1, 0), 1, 0),
            ((1, 0), 2, -1),
            ((1, 0), -1, -1),
            ((2, 1), -1, 3),
            ((2, 1), -3, -2),
            ((0, 0), 0, 0),
        ] {
            let pair = Skew { peer: ComponentId(0), behind: allowed.0, ahead: allowed.1 };
            assert_eq!(left(&pair, behind), expected, "{allowed:?} {behind}");
        }
    }
}
