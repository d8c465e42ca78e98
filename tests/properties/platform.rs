//! Random platforms, made so that nearly every one of them is a sound policy as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proptest::prelude::*;
use upgrade_guard::domain::line::{Lines, Listed, Release};
use upgrade_guard::domain::policy::{Component, ComponentId, Policy, PolicyParts, Problem, Skew};
use upgrade_guard::domain::version::Version;

/// How many lines a platform has, counted from 0.
pub const LINES: u8 = 6;

/// A component's version as the generator counts: the how-manieth version, and which patch of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ver {
    Known { number: u8, patch: u8 },
    Unknown,
}

/// Short, because a counterexample shows many.
impl fmt::Debug for Ver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { number, patch } => write!(f, "v{number}.{patch}"),
            Self::Unknown => f.write_str("latest"),
        }
    }
}

impl Ver {
    pub const fn first_patch(number: u8) -> Self {
        Self::Known { number, patch: 0 }
    }

    pub fn number(self) -> Option<u8> {
        match self {
            Self::Known { number, .. } => Some(number),
            Self::Unknown => None,
        }
    }

    /// Another patch of the same number.
    pub fn patched(self) -> Option<Self> {
        match self {
            Self::Known { number, patch } => Some(Self::Known { number, patch: (patch + 1) % 10 }),
            Self::Unknown => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub peer: usize,
    pub behind: u32,
    pub ahead: u32,
}

/// How a component writes its numbers as versions.
#[derive(Clone, Copy, Debug)]
pub enum Numbering {
    Minors,
    Majors,
    Patches,
}

#[derive(Clone, Debug)]
pub struct Part {
    pub after: Vec<usize>,
    pub skew: Vec<Window>,
    /// The number of its version on each line; a repeated one spans lines.
    pub numbers: Vec<u8>,
    pub numbering: Numbering,
    pub workloads: usize,
    /// Peers that its releases say it needs this many lines less of.
    pub lowered: BTreeMap<usize, u8>,
}

/// A platform in the generator's own numbers, and the policy made of it.
#[derive(Clone)]
pub struct Platform {
    pub parts: Vec<Part>,
    pub max_hop: u32,
    /// Whether releases make the lines; otherwise the minors of one major do.
    pub listed: bool,
    pub policy: Policy,
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "max_hop {}, listed {}", self.max_hop, self.listed)?;
        for (index, part) in self.parts.iter().enumerate() {
            writeln!(f, "  {index}: {part:?}")?;
        }
        Ok(())
    }
}

impl Platform {
    /// Makes the policy; the problems when the parts contradict each other.
    pub fn new(parts: Vec<Part>, max_hop: u32, listed: bool) -> Result<Self, Vec<Problem>> {
        let components = parts.iter().enumerate().map(|(index, part)| Component {
            after: part.after.iter().copied().map(ComponentId).collect(),
            skew: (part.skew.iter())
                .map(|w| Skew { peer: ComponentId(w.peer), behind: w.behind, ahead: w.ahead })
                .collect(),
            ..Component::named(&format!("c{index}"))
        });
        let mut policy = Policy::new(PolicyParts { max_hop, ..PolicyParts::new("random", components.collect()) })?;
        if listed {
            policy.lines = Lines::new((0..LINES).map(|line| release(&parts, line)).collect());
        }
        Ok(Self { parts, max_hop, listed, policy })
    }

    pub fn version(&self, part: usize, version: Ver) -> Version {
        written(&self.parts[part], version)
    }

    /// The first and last line of a version, from the generator's numbers alone.
    pub fn span(&self, part: usize, version: Ver) -> Option<(i64, i64)> {
        let number = version.number()?;
        let numbers = &self.parts[part].numbers;
        let on = || (0_i64..).zip(numbers).filter(|(_, listed)| **listed == number).map(|(line, _)| line);
        Some((on().next()?, on().last()?))
    }

    /// The line that `version` of `part` needs `upstream` to serve.
    pub fn needed(&self, part: usize, version: Ver, upstream: usize) -> Option<i64> {
        let own = self.span(part, version)?.0;
        if let Some(lowered) = self.parts[part].lowered.get(&upstream) {
            let oldest = stated(&self.parts[upstream], u8::try_from(own).unwrap(), *lowered);
            return Some(self.span(upstream, oldest)?.0);
        }
        let window = self.parts[part].skew.iter().find(|window| window.peer == upstream);
        Some(own - window.map_or(0, |window| i64::from(window.ahead)))
    }

    /// The version of `part` on `line`.
    pub fn on(&self, part: usize, line: u8) -> Ver {
        Ver::first_patch(self.parts[part].numbers[usize::from(line.min(LINES - 1))])
    }

    /// The newest number that `part` has.
    pub fn newest(&self, part: usize) -> u8 {
        self.parts[part].numbers.last().copied().unwrap()
    }

    /// Everything that `part` is after, directly or not.
    pub fn upstream(&self, part: usize) -> BTreeSet<usize> {
        let direct = &self.parts[part].after;
        direct.iter().flat_map(|peer| self.upstream(*peer).into_iter().chain([*peer])).collect()
    }
}

fn written(part: &Part, version: Ver) -> Version {
    let Ver::Known { number, patch } = version else { return Version::read("latest") };
    let (number, patch) = (u64::from(number), u64::from(patch));
    Version::Known(match part.numbering {
        Numbering::Minors => semver::Version::new(2, number, patch),
        Numbering::Majors => semver::Version::new(1 + number / 2, number % 2, patch),
        Numbering::Patches => semver::Version::new(0, 9, number * 10 + patch),
    })
}

/// The oldest version of `peer` that a release on `line` says it works with, `lowered` lines below.
fn stated(peer: &Part, line: u8, lowered: u8) -> Ver {
    Ver::first_patch(peer.numbers[usize::from(line.saturating_sub(lowered))])
}

fn release(parts: &[Part], line: u8) -> Release {
    let plain = |part: &Part, version| written(part, version).known().unwrap().clone();
    let listed = |part: &Part| {
        let version = plain(part, Ver::first_patch(part.numbers[usize::from(line)]));
        let needs = part.lowered.iter().map(|(peer, lowered)| {
            let peer_part = &parts[*peer];
            (ComponentId(*peer), plain(peer_part, stated(peer_part, line, *lowered)))
        });
        Listed { version, tags: vec![], digests: vec![], needs: needs.collect() }
    };
    Release {
        name: format!("r{line}"),
        required_stop: false,
        components: parts.iter().enumerate().map(|(index, part)| (ComponentId(index), listed(part))).collect(),
        ..Release::default()
    }
}

/// What a part is made of before it is known which other parts there are.
#[derive(Clone, Debug)]
struct RawPart {
    after: Vec<bool>,
    /// Windows towards earlier parts, as `(behind, ahead)`.
    windows: Vec<Option<(u32, u32)>>,
    /// Windows towards later parts. They leave room on both sides, so that no first move is taken away.
    against_the_order: Vec<Option<u32>>,
    /// How many lines less it needs of earlier parts where releases say so.
    lowered: Vec<Option<u8>>,
    repeats: Vec<bool>,
    numbering: Numbering,
    workloads: usize,
}

const MOST: usize = 8;

fn raw_part() -> impl Strategy<Value = RawPart> {
    let window = prop_oneof![
        6 => Just(None),
        3 => (1..=2_u32, 0..=1_u32).prop_map(Some),
        1 => Just(Some((0, 1))),
    ];
    let against = prop_oneof![20 => Just(None), 1 => (1..=2_u32).prop_map(Some)];
    (
        prop::collection::vec(prop::bool::weighted(0.35), MOST),
        prop::collection::vec(window, MOST),
        prop::collection::vec(against, MOST),
        prop::collection::vec(prop_oneof![9 => Just(None), 1 => (1..3_u8).prop_map(Some)], MOST),
        prop::collection::vec(prop::bool::weighted(0.3), usize::from(LINES) - 1),
        prop_oneof![Just(Numbering::Minors), Just(Numbering::Majors), Just(Numbering::Patches)],
        prop_oneof![3 => Just(1_usize), 1 => Just(2)],
    )
        .prop_map(|(after, windows, against_the_order, lowered, repeats, numbering, workloads)| RawPart {
            after,
            windows,
            against_the_order,
            lowered,
            repeats,
            numbering,
            workloads,
        })
}

/// Platforms of 2 to 8 components. A part is after and measured against earlier parts, with all positions turned
/// round in half of the platforms; the few whose windows leave no first move get wider ones.
pub fn platforms() -> impl Strategy<Value = Platform> {
    let raw = prop::collection::vec(raw_part(), 2..=MOST);
    (raw, 1..=2_u32, any::<bool>(), any::<bool>()).prop_map(|(raw, max_hop, listed, turned)| {
        let last = raw.len() - 1;
        let place = |index: usize| if turned { last - index } else { index };
        let mut parts: Vec<Part> = (0..raw.len()).map(|index| part(&raw, index, listed, place)).collect();
        if turned {
            parts.reverse();
        }
        Platform::new(parts.clone(), max_hop, listed).unwrap_or_else(|_| {
            for window in parts.iter_mut().flat_map(|part| &mut part.skew) {
                window.behind = window.behind.max(1);
            }
            Platform::new(parts, max_hop, listed).unwrap()
        })
    })
}

fn part(raw: &[RawPart], index: usize, listed: bool, place: impl Fn(usize) -> usize) -> Part {
    let own = &raw[index];
    let to = |peer: usize, (behind, ahead)| Window { peer: place(peer), behind, ahead };
    let along = (0..index).filter_map(|peer| own.windows[peer].map(|window| to(peer, window)));
    let against =
        (index + 1..raw.len()).filter_map(|peer| own.against_the_order[peer].map(|behind| to(peer, (behind, 1))));
    let mut number = 0;
    let later = own.repeats.iter().map(|repeat| {
        number += u8::from(!(listed && *repeat));
        number
    });
    Part {
        after: (0..index).filter(|peer| own.after[*peer]).map(&place).collect(),
        skew: along.chain(against).collect(),
        numbers: std::iter::once(0).chain(later).collect(),
        numbering: if listed { own.numbering } else { Numbering::Minors },
        workloads: own.workloads,
        lowered: (0..index).filter_map(|peer| Some((place(peer), own.lowered[peer].filter(|_| listed)?))).collect(),
    }
}
