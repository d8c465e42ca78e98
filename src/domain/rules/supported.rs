//! `UG-SUPPORTED`: the version is in a range that the policy supports.

use semver::{Comparator, Op, VersionReq};

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::policy::SupportedRange;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    find(case).into_iter().collect()
}

fn find(case: &Case<'_>) -> Option<Finding> {
    let ranges = &case.policy.component(case.step.component).supported;
    let to = case.step.to.known()?;
    if !is_outside(ranges, to) {
        let inside = ranges.iter().filter(|range| position(&range.range, to) == Position::Inside);
        // One range without a warning is enough to say nothing.
        let warnings: Option<Vec<&String>> = inside.map(|range| range.warn.as_ref()).collect();
        return warnings?.first().map(|text| Finding::new(Verdict::Allow, "is supported, but", *text, ""));
    }
    let before = case.step.from.as_ref().and_then(|from| from.known());
    let verdict = match before {
        // Out of the range before, and not further out now: nothing is lost, and the cure may take several hops.
        Some(from) if ranges.iter().any(|range| comes_nearer(&range.range, from, to)) => Verdict::Allow,
        _ => Verdict::Never,
    };
    Some(Finding::new(
        verdict,
        "is not a supported version",
        format!("supported is {}", describe(ranges)),
        "Choose a supported version, or extend the range in the policy.",
    ))
}

/// Whether there are ranges, and `version` is in none of them.
pub(crate) fn is_outside(ranges: &[SupportedRange], version: &semver::Version) -> bool {
    !ranges.is_empty() && ranges.iter().all(|range| position(&range.range, version) != Position::Inside)
}

/// The ranges as people read them.
pub(crate) fn describe(ranges: &[SupportedRange]) -> String {
    ranges.iter().map(|range| range.range.to_string()).collect::<Vec<_>>().join(" or ")
}

/// Where a version lies relative to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Below,
    Inside,
    Above,
}

/// Where `version` lies. A pre-release counts as the version it leads to: `3.4.0-rc.1` is not below 3.4.0.
fn position(range: &VersionReq, version: &semver::Version) -> Position {
    let plain = semver::Version::new(version.major, version.minor, version.patch);
    let outside = range.comparators.iter().find(|comparator| !comparator.matches(&plain));
    match outside {
        None => Position::Inside,
        Some(comparator) if is_below(comparator, &plain) => Position::Below,
        Some(_) => Position::Above,
    }
}

/// Whether a version that fails `comparator` fails it from below.
fn is_below(comparator: &Comparator, version: &semver::Version) -> bool {
    match comparator.op {
        Op::Greater | Op::GreaterEq => true,
        Op::Less | Op::LessEq => false,
        _ => {
            let base = (comparator.major, comparator.minor.unwrap_or(0), comparator.patch.unwrap_or(0));
            (version.major, version.minor, version.patch) < base
        }
    }
}

/// Whether a move between two versions outside of `range` is towards it, or stays on its side of it in the same minor.
fn comes_nearer(range: &VersionReq, from: &semver::Version, to: &semver::Version) -> bool {
    let (before, after) = (position(range, from), position(range, to));
    if before == Position::Inside || before != after {
        return false;
    }
    let same_minor = (from.major, from.minor) == (to.major, to.minor);
    same_minor || if before == Position::Above { to < from } else { to > from }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_below_inside_or_above() {
        for (range, version, expected) in [
            (">=2.0.0, <3.4.0", "1.9.0", Position::Below),
            (">=2.0.0, <3.4.0", "2.0.0", Position::Inside),
            (">=2.0.0, <3.4.0", "3.4.0", Position::Above),
            (">=2.0.0, <3.4.0", "3.4.0-rc.1", Position::Above),
            (">=2.0.0, <3.4.0", "2.0.0-rc.1", Position::Inside),
            ("24.*", "23.0.0", Position::Below),
            ("24.*", "25.0.0", Position::Above),
            ("^1.2", "1.9.0", Position::Inside),
            ("~1.2", "1.1.0", Position::Below),
        ] {
            let range: VersionReq = range.parse().unwrap();
            assert_eq!(position(&range, &version.parse().unwrap()), expected, "{version} in {range}");
        }
    }
}
