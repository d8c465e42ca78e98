//! What is legal, from the words of the law (design section 3) and the generator's numbers, without the crate's rules.

use std::collections::BTreeSet;

use crate::platform::{Platform, Ver};

/// By how many lines the live versions break each pair of the law, added up; 0 is legal. What cannot be read breaks
/// nothing here.
pub fn broken_by(platform: &Platform, live: &[BTreeSet<Ver>]) -> i64 {
    breaches(platform, live).iter().map(|breach| breach.lines).sum()
}

/// One pair of live versions that the law forbids.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "a failing test shows all of it")]
pub struct Breach {
    pub rule: &'static str,
    pub downstream: (usize, Ver),
    pub upstream: (usize, Ver),
    pub lines: i64,
}

pub fn breaches(platform: &Platform, live: &[BTreeSet<Ver>]) -> Vec<Breach> {
    let mut found = Vec::new();
    for (down, part) in platform.parts.iter().enumerate() {
        let upstream = platform.upstream(down);
        let windows = part.skew.iter().map(|window| window.peer);
        for up in upstream.iter().copied().chain(windows).collect::<BTreeSet<usize>>() {
            for (a, b) in live[down].iter().flat_map(|a| live[up].iter().map(move |b| (*a, *b))) {
                let (Some(own), Some(peer)) = (platform.span(down, a), platform.span(up, b)) else { continue };
                let mut add = |rule, lines: i64| {
                    if lines > 0 {
                        found.push(Breach { rule, downstream: (down, a), upstream: (up, b), lines });
                    }
                };
                if upstream.contains(&up) {
                    // Needed is what a release states, else the lowest line less what it may be ahead; served is
                    // the highest.
                    let needed = platform.needed(down, a, up).unwrap();
                    add("ORDER", needed - peer.1);
                }
                for window in part.skew.iter().filter(|window| window.peer == up) {
                    let apart = nearest(own, peer);
                    add("SKEW", apart - i64::from(window.behind));
                    add("SKEW", -apart - i64::from(window.ahead));
                }
            }
        }
    }
    found
}

/// Lines from `a` up to `b` between their nearest ends, negative down.
pub fn nearest(a: (i64, i64), b: (i64, i64)) -> i64 {
    if b.0 > a.1 {
        b.0 - a.1
    } else if b.1 < a.0 {
        b.1 - a.0
    } else {
        0
    }
}
