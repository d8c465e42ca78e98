//! Release lines: what decides how far apart two versions are.
//!
//! Without releases a line is a minor inside its major, shared by all components that number alike. With releases
//! their order makes the lines, so that components with version numbers of their own can be compared. Source of
//! every rule here: design section 2, "line".

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::policy::ComponentId;
use super::preparation::BreakingChange;
use super::version::Version;

/// The numbering that a line belongs to; lines of different tracks cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Track {
    /// Positions in the order of the releases.
    Releases,
    /// Minors of one major version.
    Major(u64),
}

/// The lines that a version stands for: one, or several neighbours when several releases list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    track: Track,
    lowest: i64,
    highest: i64,
}

impl Span {
    /// The span that is this one line.
    #[must_use]
    pub fn at(line: Line) -> Self {
        Self { track: line.track, lowest: line.index, highest: line.index }
    }

    /// Whether `line` is one of its lines.
    #[must_use]
    pub fn contains(self, line: Line) -> bool {
        self.track == line.track && (self.lowest..=self.highest).contains(&line.index)
    }

    /// The line at which the version asks for something: its lowest.
    #[must_use]
    pub fn asks(self) -> Line {
        Line { track: self.track, index: self.lowest }
    }

    /// The line at which the version serves others: its highest.
    #[must_use]
    pub fn serves(self) -> Line {
        Line { track: self.track, index: self.highest }
    }

    /// How many lines `other` is above `self`, negative below, counted between their nearest lines; `None` when the
    /// two cannot be compared.
    #[must_use]
    pub fn distance_to(self, other: Self) -> Option<i64> {
        if self.track != other.track {
            return None;
        }
        if other.lowest > self.highest {
            other.lowest.checked_sub(self.highest)
        } else if other.highest < self.lowest {
            other.highest.checked_sub(self.lowest)
        } else {
            Some(0)
        }
    }
}

/// One line of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    track: Track,
    index: i64,
}

impl Line {
    /// Its place among the lines of its own numbering, which says nothing about those of another.
    #[must_use]
    pub fn position(self) -> i64 {
        self.index
    }

    /// This line lowered by `lines`; saturates at the end of the number range.
    #[must_use]
    pub fn lowered(self, lines: u32) -> Self {
        Self { index: self.index.saturating_sub(i64::from(lines)), ..self }
    }

    /// How many lines `self` is above `other`, negative below; `None` when the two cannot be compared.
    #[must_use]
    pub fn above(self, other: Self) -> Option<i64> {
        (self.track == other.track).then(|| self.index.checked_sub(other.index)).flatten()
    }
}

/// Why a version has no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// The version itself is unknown.
    UnknownVersion,
    /// Releases exist, and none lists this version or an earlier patch of its minor.
    Unlisted,
    /// The number is too large to count with.
    OutOfRange,
}

/// A release: one tested set of versions.
#[derive(Clone, Debug, Default)]
pub struct Release {
    /// What people call it, for example `2026.07`.
    pub name: String,
    /// Whether every upgrade has to stop here.
    pub required_stop: bool,
    /// What each component is in this release.
    pub components: BTreeMap<ComponentId, Listed>,
    /// What someone has to have read before going here or past it.
    pub breaking_changes: Vec<BreakingChange>,
    /// Its CRDs by name, with the digest of their content where that is told.
    pub crds: BTreeMap<String, Option<String>>,
    /// The revision of the database's schema that its versions need.
    pub revision: Option<String>,
}

/// What a release says of one component.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The component's version.
    pub version: semver::Version,
    /// Image tags that carry no version but are this one, for example `dev-1f3a9c2`.
    pub tags: Vec<String>,
    /// Image digests (`sha256:...`) that are this version.
    pub digests: Vec<String>,
    /// The least version it needs of a peer, where that is less than the peer's version in the same release.
    pub needs: BTreeMap<ComponentId, semver::Version>,
}

/// Places versions on lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    releases: Vec<Release>,
}

impl Lines {
    /// Makes the lines of `releases`, oldest first. With none, lines are minors.
    #[must_use]
    pub fn new(releases: Vec<Release>) -> Self {
        Self { releases }
    }

    /// The releases, oldest first.
    #[must_use]
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The lines of `version` of `component`.
    ///
    /// # Errors
    /// When the version is unknown or cannot be placed.
    pub fn span(&self, component: ComponentId, version: &Version) -> Result<Span, Unplaced> {
        let version = version.known().ok_or(Unplaced::UnknownVersion)?;
        if self.releases.iter().any(|release| release.components.contains_key(&component)) {
            self.listed_span(component, version).ok_or(Unplaced::Unlisted)
        } else {
            let index = i64::try_from(version.minor).map_err(|_| Unplaced::OutOfRange)?;
            Ok(Span { track: Track::Major(version.major), lowest: index, highest: index })
        }
    }

    /// The highest listed version at or below `version` within its minor. A pre-release counts as the version it leads
    /// to.
    pub(super) fn listed(&self, component: ComponentId, version: &semver::Version) -> Option<&semver::Version> {
        let base = (version.major, version.minor, version.patch);
        let listed = self.releases.iter().filter_map(|release| release.components.get(&component));
        listed
            .map(|listed| &listed.version)
            .filter(|listed| {
                (listed.major, listed.minor) == (base.0, base.1)
                    && (listed.cmp_precedence(version) != Ordering::Greater || listed.patch <= base.2)
            })
            .max_by(|a, b| a.cmp_precedence(b))
    }

    /// The lines of the listed version that `version` belongs to.
    fn listed_span(&self, component: ComponentId, version: &semver::Version) -> Option<Span> {
        let best = self.listed(component, version)?;
        let listed = (0_i64..)
            .zip(&self.releases)
            .filter_map(|(index, release)| release.components.get(&component).map(|listed| (index, &listed.version)));
        let mut lines =
            listed.filter(|(_, version)| version.cmp_precedence(best) == Ordering::Equal).map(|(index, _)| index);
        let lowest = lines.next()?;
        Some(Span { track: Track::Releases, lowest, highest: lines.last().unwrap_or(lowest) })
    }

    /// The line that `version` of component `downstream` needs its `upstream` to serve: what a release says it
    /// needs, else its own lowest line less the `ahead` lines it may be in front.
    ///
    /// # Errors
    /// When the version cannot be placed.
    pub fn needed(
        &self,
        downstream: ComponentId,
        version: &Version,
        upstream: ComponentId,
        ahead: u32,
    ) -> Result<Line, Unplaced> {
        let own = self.span(downstream, version)?.asks().lowered(ahead);
        let stated = version.known().and_then(|known| self.stated_need(downstream, known, upstream));
        // A stated need that no release lists says nothing; the version's own line is the stricter reading.
        let stated = stated.and_then(|needed| self.span(upstream, &Version::Known(needed.clone())).ok());
        Ok(stated.map_or(own, Span::asks))
    }

    /// The least version of `upstream` that any release asks for that lists the version of `downstream` which this one
    /// is, or is a patch of: a patch is on its line, and has its needs.
    fn stated_need(
        &self,
        downstream: ComponentId,
        version: &semver::Version,
        upstream: ComponentId,
    ) -> Option<&semver::Version> {
        let placed = self.listed(downstream, version)?;
        self.releases
            .iter()
            .filter_map(|release| release.components.get(&downstream))
            .filter(|listed| listed.version.cmp_precedence(placed) == Ordering::Equal)
            .filter_map(|listed| listed.needs.get(&upstream))
            .min_by(|a, b| a.cmp_precedence(b))
    }

    /// What to call `line` when speaking of `component`: the version a release lists there, the release's name when
    /// it lists none, or the first patch of the minor.
    #[must_use]
    pub fn name(&self, component: ComponentId, line: Line) -> String {
        match line.track {
            Track::Major(major) => format!("{major}.{}.0", line.index),
            Track::Releases => {
                let release = usize::try_from(line.index).ok().and_then(|index| self.releases.get(index));
                match release.map(|release| (release, release.components.get(&component))) {
                    Some((_, Some(listed))) => listed.version.to_string(),
                    Some((release, None)) => format!("of release {}", release.name),
                    None => "of an earlier release".to_owned(),
                }
            }
        }
    }

    /// A version of `component` that stands for `line`: the one that the release there lists, or the first patch of the
    /// minor. `None` where no release lists any.
    #[must_use]
    pub fn version_on(&self, component: ComponentId, line: Line) -> Option<semver::Version> {
        match line.track {
            Track::Major(major) => Some(semver::Version::new(major, u64::try_from(line.index).ok()?, 0)),
            Track::Releases => {
                let release = self.releases.get(usize::try_from(line.index).ok()?)?;
                Some(release.components.get(&component)?.version.clone())
            }
        }
    }

    /// What to call `line` when speaking of no component: the release's name, or the minor.
    #[must_use]
    pub fn title(&self, line: Line) -> String {
        match line.track {
            Track::Major(major) => format!("{major}.{}", line.index),
            Track::Releases => {
                let release = usize::try_from(line.index).ok().and_then(|index| self.releases.get(index));
                release.map_or_else(|| "an earlier release".to_owned(), |release| release.name.clone())
            }
        }
    }

    /// The nearest line of `component` above `span` (below when not `up`) and the version that stands for it; `None`
    /// where the releases or the minors end.
    #[must_use]
    pub fn beside(&self, component: ComponentId, span: Span, up: bool) -> Option<(Line, semver::Version)> {
        let step = if up { 1 } else { -1 };
        let mut index = if up { span.highest } else { span.lowest };
        let end = i64::try_from(self.releases.len()).ok()?;
        loop {
            index = index.checked_add(step)?;
            if index < 0 || (span.track == Track::Releases && index >= end) {
                return None;
            }
            let line = Line { track: span.track, index };
            if let Some(version) = self.version_on(component, line) {
                return Some((line, version));
            }
        }
    }

    /// The line next to `from` on the way to `to`, at most `hop` lines away.
    #[must_use]
    pub fn step(from: Span, to: Span, hop: u32) -> Option<Line> {
        let distance = from.distance_to(to)?;
        let hop = i64::from(hop);
        let index = if distance > 0 {
            from.highest.checked_add(distance.min(hop))?
        } else {
            from.lowest.checked_add(distance.max(-hop))?
        };
        Some(Line { track: from.track, index })
    }

    /// The name of the first required stop strictly between the two spans, seen from `from`.
    #[must_use]
    pub fn required_stop_between(&self, from: Span, to: Span) -> Option<&Release> {
        if from.track != Track::Releases || to.track != Track::Releases {
            return None;
        }
        let up = to.lowest > from.highest;
        let (after, before) = if up { (from.highest, to.lowest) } else { (to.highest, from.lowest) };
        let mut between = (0_i64..)
            .zip(&self.releases)
            .filter(|(index, release)| *index > after && *index < before && release.required_stop)
            .map(|(_, release)| release);
        if up { between.next() } else { between.last() }
    }

    /// The releases that a move upwards between the two spans comes past, oldest first: those after the first that lists
    /// where it begins, up to the first that lists where it ends. So each release is come past once on a way through all
    /// of them, whatever it lists.
    #[must_use]
    pub fn crossed(&self, from: Span, to: Span) -> &[Release] {
        if from.track != Track::Releases || to.track != Track::Releases {
            return &[];
        }
        let index = |line: i64| usize::try_from(line).ok();
        let (Some(first), Some(last)) = (index(from.lowest.saturating_add(1)), index(to.lowest)) else { return &[] };
        self.releases.get(first..=last).unwrap_or_default()
    }

    /// The releases on the lines of `span`, and those above them; none where releases do not make the lines.
    #[must_use]
    pub fn on_and_above(&self, span: Span) -> (&[Release], &[Release]) {
        let above = span.highest.saturating_add(1);
        (self.between(span.track, span.lowest, span.highest), self.between(span.track, above, i64::MAX - 1))
    }

    /// The releases with these positions, both ends included.
    fn between(&self, track: Track, first: i64, last: i64) -> &[Release] {
        let position = |index: i64| usize::try_from(index).unwrap_or(0).min(self.releases.len());
        let (first, end) = (position(first), position(last.saturating_add(1)));
        self.releases.get(first..end).filter(|_| track == Track::Releases).unwrap_or_default()
    }

    /// The version that a release gives to this image tag or digest of `component`, newest release first, with the
    /// release's name.
    #[must_use]
    pub fn listed_image(
        &self,
        component: ComponentId,
        tag: Option<&str>,
        digest: Option<&str>,
    ) -> Option<(&semver::Version, &str)> {
        let has = |list: &[String], wanted: Option<&str>| wanted.is_some_and(|w| list.iter().any(|entry| entry == w));
        self.releases.iter().rev().find_map(|release| {
            let listed = release.components.get(&component)?;
            (has(&listed.digests, digest) || has(&listed.tags, tag)).then_some((&listed.version, release.name.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: ComponentId = ComponentId(1);

    fn releases(versions: &[&str]) -> Lines {
        Lines::new(
            versions
                .iter()
                .enumerate()
                .map(|(index, version)| Release {
                    name: format!("r{index}"),
                    required_stop: false,
                    components: BTreeMap::from([(
                        GATEWAY,
                        Listed {
                            version: version.parse().unwrap(),
                            tags: vec![],
                            digests: vec![],
                            needs: BTreeMap::new(),
                        },
                    )]),
                    ..Release::default()
                })
                .collect(),
        )
    }

    fn lines_of(lines: &Lines, version: &str) -> Result<(i64, i64), Unplaced> {
        lines.span(GATEWAY, &Version::read(version)).map(|span| (span.lowest, span.highest))
    }

    #[test]
    fn without_releases_minors_are_lines() {
        let lines = Lines::default();
        assert_eq!(lines_of(&lines, "2.3.9"), Ok((3, 3)));
        assert_eq!(lines_of(&lines, "latest"), Err(Unplaced::UnknownVersion));
        assert_eq!(lines_of(&lines, "1.18446744073709551615.0"), Err(Unplaced::OutOfRange));
        let (two, three) = (Version::read("2.9.0"), Version::read("3.0.0"));
        let distance = lines.span(GATEWAY, &two).unwrap().distance_to(lines.span(GATEWAY, &three).unwrap());
        assert_eq!(distance, None, "a major step is not arithmetic");
    }

    #[test]
    fn releases_make_lines() {
        let lines = releases(&["0.9.25", "0.10.0", "0.10.2", "0.10.2", "1.0.0"]);
        for (version, expected) in [
            ("0.9.25", Ok((0, 0))),
            ("0.9.26", Ok((0, 0))),
            ("0.9.24", Err(Unplaced::Unlisted)),
            ("0.10.0", Ok((1, 1))),
            ("0.10.1", Ok((1, 1))),
            ("0.10.2", Ok((2, 3))),
            ("0.10.9", Ok((2, 3))),
            ("0.11.0", Err(Unplaced::Unlisted)),
            ("1.0.0-rc.1", Ok((4, 4))),
        ] {
            assert_eq!(lines_of(&lines, version), expected, "version {version}");
        }
    }

    #[test]
    fn distance_is_between_the_nearest_lines() {
        let lines = releases(&["0.9.0", "0.10.0", "0.10.0", "0.11.0"]);
        let span = |text| lines.span(GATEWAY, &Version::read(text)).unwrap();
        assert_eq!(span("0.9.0").distance_to(span("0.10.0")), Some(1));
        assert_eq!(span("0.11.0").distance_to(span("0.10.0")), Some(-1));
        assert_eq!(span("0.9.0").distance_to(span("0.11.0")), Some(3));
        assert_eq!(span("0.10.0").distance_to(span("0.10.0")), Some(0));
    }

    #[test]
    fn the_line_beside_is_the_next_one_that_lists_the_component() {
        let mut releases = releases(&["0.9.0", "0.10.0", "0.10.0", "0.11.0", "0.12.0"]).releases;
        releases[3].components.clear();
        let lines = Lines::new(releases);
        let beside = |lines: &Lines, from: &str, up| {
            let span = lines.span(GATEWAY, &Version::read(from)).unwrap();
            lines.beside(GATEWAY, span, up).map(|(line, version)| format!("{} {version}", lines.title(line)))
        };
        for (from, up, expected) in [
            ("0.9.0", true, Some("r1 0.10.0")),
            ("0.9.0", false, None),
            ("0.10.0", true, Some("r4 0.12.0")),
            ("0.10.0", false, Some("r0 0.9.0")),
            ("0.12.0", true, None),
            ("0.12.0", false, Some("r2 0.10.0")),
        ] {
            assert_eq!(beside(&lines, from, up).as_deref(), expected, "from {from}, up {up}");
        }
        let minors = Lines::default();
        assert_eq!(beside(&minors, "2.0.4", true).as_deref(), Some("2.1 2.1.0"));
        assert_eq!(beside(&minors, "2.0.4", false), None);
    }

    #[test]
    fn a_required_stop_is_found_between_and_not_at_the_ends() {
        let mut releases = releases(&["0.1.0", "0.2.0", "0.3.0", "0.4.0"]).releases;
        releases[1].required_stop = true;
        releases[2].required_stop = true;
        let lines = Lines::new(releases);
        let span = |text| lines.span(GATEWAY, &Version::read(text)).unwrap();
        let stop = |from, to| lines.required_stop_between(span(from), span(to)).map(|release| release.name.as_str());
        assert_eq!(stop("0.1.0", "0.4.0"), Some("r1"));
        assert_eq!(stop("0.4.0", "0.1.0"), Some("r2"));
        assert_eq!(stop("0.1.0", "0.2.0"), None);
        assert_eq!(stop("0.2.0", "0.3.0"), None);
    }
}
