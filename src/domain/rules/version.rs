//! `UG-VERSION`: what cannot be told is never mistaken for right.

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::line::{Span, Unplaced};
use crate::domain::policy::ComponentId;
use crate::domain::version::Version;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let own = own_version(case);
    // Where the moving version itself cannot be placed, nothing can be said of its peers.
    if own.iter().any(|finding| finding.verdict == Verdict::Never) || case.to.is_err() {
        return own;
    }
    own.into_iter().chain(peers(case)).collect()
}

/// What to say of a restart on `tag`, which tells no version.
pub(crate) fn on_restart(tag: &str) -> Finding {
    Finding::new(
        Verdict::Allow,
        format!("restarts on '{tag}'"),
        "what this tag holds now may be another version",
        "Pin a version tag or a digest.",
    )
}

fn own_version(case: &Case<'_>) -> Vec<Finding> {
    let to = match case.to {
        Ok(to) => to,
        Err(why) => {
            let verdict = if case.is_first_install() { Verdict::Allow } else { Verdict::Never };
            let (what, facts, remedy) = explain(&case.step.to, why);
            return vec![Finding::new(verdict, what, facts, remedy)];
        }
    };
    let mut found = Vec::new();
    if let Some(Err(_)) = case.from {
        let facts = "how far the move goes cannot be told";
        found.push(Finding::new(Verdict::Allow, "replaces a version that cannot be told", facts, ""));
    }
    let origin = case.completed().or(case.step.from.as_ref());
    let origin_span = origin.and_then(|version| case.policy.lines.span(case.step.component, version).ok());
    if let (Some(origin), Some(span)) = (origin, origin_span)
        && !case.stays_on_line()
        && span.distance_to(to).is_none()
    {
        found.push(Finding::new(
            Verdict::Never,
            "is a major step that cannot be measured",
            format!("the last completed version is {origin}, and no PlatformRelease orders the two"),
            "List both versions in PlatformRelease objects; their order makes the lines.",
        ));
    }
    found
}

/// What is said of a version without a line, what is known of it, and what to do.
pub(crate) fn explain(version: &Version, why: Unplaced) -> (&'static str, String, &'static str) {
    match why {
        Unplaced::UnknownVersion => (
            "names no version",
            format!("nothing tells which version '{version}' is"),
            "Use a version tag that no label or annotation contradicts, set the annotation guard.gostoa.dev/version on \
             the pod template, or list the tag or digest in a PlatformRelease.",
        ),
        Unplaced::Unlisted => (
            "is on no known release line",
            format!("no PlatformRelease lists {version} or an earlier patch of its minor"),
            "List it in a PlatformRelease, or use a patch of a listed minor.",
        ),
        Unplaced::OutOfRange => (
            "has a number that is too large",
            format!("{version} cannot be counted with"),
            "Use a smaller version number.",
        ),
    }
}

/// Peers whose versions cannot be told, where the move depends on them.
fn peers(case: &Case<'_>) -> Vec<Finding> {
    if case.stays_on_line() {
        return vec![];
    }
    let Ok(to) = case.to else { return vec![] };
    case.policy
        .ids()
        .filter(|peer| *peer != case.step.component && depends_on(case, to, *peer))
        .filter_map(|peer| unreadable_peer(case, to, peer))
        .collect()
}

/// Whether a rule would look at `peer` for this move.
fn depends_on(case: &Case<'_>, to: Span, peer: ComponentId) -> bool {
    let own = case.step.component;
    let before = case.from.as_ref().and_then(|from| from.ok());
    let rises = before.is_none_or(|from| to.asks().above(from.asks()).is_none_or(|lines| lines > 0));
    let falls = before.is_none_or(|from| to.serves().above(from.serves()).is_none_or(|lines| lines < 0));
    let windowed = |a: ComponentId, b: ComponentId| case.policy.component(a).skew.iter().any(|skew| skew.peer == b);
    (rises && case.policy.upstream(own).contains(&peer))
        || (falls && case.policy.downstream(own).contains(&peer))
        || windowed(own, peer)
        || windowed(peer, own)
}

fn unreadable_peer(case: &Case<'_>, to: Span, peer: ComponentId) -> Option<Finding> {
    let unreadable = |(version, span): (&'_ Version, Result<Span, Unplaced>)| match span {
        Ok(span) => to.distance_to(span).is_none().then(|| version.to_string()),
        Err(_) => Some(version.to_string()),
    };
    let version = case.live(peer).into_iter().find_map(unreadable)?;
    // Both were unreadable before: naming one of them takes nothing away, and is the only way out.
    let was_unreadable = matches!(case.from, Some(Err(_))) || case.is_first_install();
    let verdict = if was_unreadable { Verdict::Allow } else { Verdict::NotYet };
    let name = case.name(peer);
    Some(Finding::new(
        verdict,
        format!("cannot be compared with {name} {version}"),
        format!("{name} {}", case.view.component(peer).describe()),
        format!("Give {name} a version that can be told, or list it in a PlatformRelease, then retry."),
    ))
}
