//! Choosing among several objects that could be evidence.

use std::cmp::Reverse;

use jiff::Timestamp;

/// That a precondition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// When what was found became so.
    pub(super) at: Option<Timestamp>,
    /// What was found, in one line.
    pub(super) message: String,
}

/// An object that was looked at.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its name.
    pub(super) name: String,
    /// What it is ordered by where it is no proof: when it was made.
    pub(super) made: Option<Timestamp>,
    /// The proof, or why it is none.
    pub(super) judged: Result<Proof, String>,
}

/// The newest proof among `candidates`, which are all `what`, for example `Backup of cluster pg in namespace shop`; its
/// first word is the kind. Where none is one, what the newest of them lacks.
pub(super) fn newest(what: &str, candidates: Vec<Candidate>) -> Result<Proof, String> {
    let looked_at = candidates.len();
    let kind = what.split(' ').next().unwrap_or(what);
    let (mut proofs, mut others) = (Vec::new(), Vec::new());
    for Candidate { name, made, judged } in candidates {
        match judged {
            Ok(proof) => proofs.push((proof.at.or(made), name, proof)),
            Err(reason) => others.push((made, name, reason)),
        }
    }
    let passing = proofs.len();
    // Of two of the same time the one with the first name, so that the same facts give the same text.
    if let Some((_, name, proof)) = proofs.into_iter().min_by_key(|(at, name, _)| (Reverse(*at), name.clone())) {
        let of = if looked_at > 1 { format!(" ({passing} of {looked_at} pass)") } else { String::new() };
        return Ok(Proof { message: format!("{kind} {name} {}{of}", proof.message), ..proof });
    }
    match others.into_iter().min_by_key(|(made, name, _)| (Reverse(*made), name.clone())) {
        None => Err(format!("there is no {what}")),
        Some((_, name, reason)) if looked_at == 1 => Err(format!("{kind} {name} {reason}")),
        Some((_, name, reason)) => Err(format!("none of {looked_at} passes; the newest, {kind} {name}, {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, hour: u8, passes: bool) -> Candidate {
        let at = Some(format!("2026-07-17T{hour:02}:00:00Z").parse().unwrap());
        let judged = if passes { Ok(Proof { at, message: "is good".to_owned() }) } else { Err("is bad".to_owned()) };
        Candidate { name: name.to_owned(), made: at, judged }
    }

    #[test]
    fn the_newest_that_passes_counts() {
        for (candidates, expected) in [
            (vec![], Err("there is no Backup of cluster pg")),
            (vec![candidate("a", 1, true)], Ok("Backup a is good")),
            (vec![candidate("a", 1, false)], Err("Backup a is bad")),
            (
                vec![candidate("a", 1, true), candidate("b", 2, true), candidate("c", 3, false)],
                Ok("Backup b is good (2 of 3 pass)"),
            ),
            (vec![candidate("b", 1, true), candidate("a", 1, true)], Ok("Backup a is good (2 of 2 pass)")),
            (
                vec![candidate("a", 1, false), candidate("c", 3, false), candidate("b", 2, false)],
                Err("none of 3 passes; the newest, Backup c, is bad"),
            ),
        ] {
            let found = newest("Backup of cluster pg", candidates).map(|proof| proof.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
    }
}
