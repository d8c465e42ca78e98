//! `UG-SKEW`: no pair of live versions further apart than its window.
//!
//! For a pair (d, u): `-ahead <= line(u) - line(d) <= behind`, between the nearest lines (design section 3).

use std::fmt::Write as _;

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::line::Span;
use crate::domain::policy::{ComponentId, Skew};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let own = case.step.component;
    let to_peers = case.policy.component(own).skew.iter().map(|skew| (skew.peer, Window::of_downstream(*skew)));
    let from_peers = case.policy.ids().flat_map(|id| {
        let pairs = case.policy.component(id).skew.iter().filter(move |skew| skew.peer == own);
        pairs.map(move |skew| (id, Window::of_upstream(*skew)))
    });
    to_peers.chain(from_peers).filter_map(|(peer, window)| against(case, peer, window)).collect()
}

/// The window as the moving component sees it: how many lines the peer may be above and below.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    above: i64,
    below: i64,
    peer_is_upstream: bool,
}

impl Window {
    pub(crate) fn of_downstream(skew: Skew) -> Self {
        Self { above: skew.behind.into(), below: skew.ahead.into(), peer_is_upstream: true }
    }

    fn of_upstream(skew: Skew) -> Self {
        Self { above: skew.ahead.into(), below: skew.behind.into(), peer_is_upstream: false }
    }

    /// Lines by which `peer` is outside the window of `own`; 0 inside or when they cannot be compared, which is
    /// `UG-VERSION`'s to report.
    pub(crate) fn excess(self, own: Span, peer: Span) -> i64 {
        let above = own.distance_to(peer).unwrap_or(0);
        above.saturating_sub(self.above).max(above.saturating_neg().saturating_sub(self.below)).max(0)
    }

    fn describe(self, own: &str, peer: &str) -> String {
        let (downstream, upstream, behind, ahead) = if self.peer_is_upstream {
            (own, peer, self.above, self.below)
        } else {
            (peer, own, self.below, self.above)
        };
        let mut text = format!("{downstream} may be {behind} {} behind {upstream}", lines(behind));
        if ahead > 0 {
            let _ = write!(text, " or {ahead} {} ahead", lines(ahead));
        }
        text
    }
}

/// `line` for one, else `lines`.
pub(crate) fn lines(count: i64) -> &'static str {
    if count == 1 { "line" } else { "lines" }
}

fn against(case: &Case<'_>, peer: ComponentId, window: Window) -> Option<Finding> {
    let to = *case.to.as_ref().ok()?;
    let from = case.before_span();
    let mut worst: Option<(Verdict, String)> = None;
    for (version, span) in case.live(peer) {
        let Ok(span) = span else { continue };
        let after = window.excess(to, span);
        if after == 0 {
            continue;
        }
        let verdict = match from.map(|from| window.excess(from, span)) {
            Some(before) if before == after => continue,
            Some(before) if before > after => Verdict::Allow,
            _ => Verdict::NotYet,
        };
        if worst.as_ref().is_none_or(|(current, _)| verdict > *current) {
            worst = Some((verdict, version.to_string()));
        }
    }
    let (verdict, version) = worst?;
    let name = case.name(peer);
    let facts = format!(
        "{name} {}; {}",
        case.view.component(peer).describe(),
        window.describe(case.name(case.step.component), name)
    );
    let (what, remedy) = match verdict {
        Verdict::Allow => {
            (format!("is nearer to {name} {version}, still too far"), format!("Go on until {name} fits."))
        }
        _ => (
            format!("is too far from {name} {version}"),
            format!("Bring {name} nearer first and let its old pods go, then retry."),
        ),
    };
    Some(Finding::new(verdict, what, facts, remedy))
}
