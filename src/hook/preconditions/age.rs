//! How old evidence is, told in one unit.

use jiff::{SignedDuration, Timestamp};

use crate::api::duration;

/// How far clocks may differ before a time in the future is no evidence.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
const UNITS: [(&str, i64, i64); 4] = [("days", 86_400, 3), ("h", 3_600, 2), ("min", 60, 2), ("s", 1, 0)];

/// How old something may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    at_most: SignedDuration,
    unit: &'static str,
    seconds: i64,
}

impl Limit {
    /// Reads a limit as policies write it; what is wrong with it as the error.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let at_most = duration(text)?;
        let whole = |seconds: i64| at_most.as_secs() % seconds == 0 && at_most.subsec_nanos() == 0;
        // The largest unit in which the limit is a whole number and not just one: an age below it says something, too.
        let unit = UNITS.iter().find(|(_, seconds, least)| whole(*seconds) && at_most.as_secs() / seconds >= *least);
        let (unit, seconds, _) = unit.copied().unwrap_or(("s", 1, 0));
        Ok(Self { at_most, unit, seconds })
    }

    /// How old `at` is at `now`, as the error when that is too old: `3 h old, at most 24 h`.
    pub(super) fn check(&self, at: Timestamp, now: Timestamp) -> Result<String, String> {
        let age = now.duration_since(at);
        if age < -SKEW {
            return Err(format!("of {at}, which is in the future: is a clock wrong?"));
        }
        let seconds = age.as_secs().max(0);
        let is_old = age > self.at_most;
        // What is too old is never told as if it were not.
        let whole = if is_old { seconds / self.seconds + 1 } else { seconds / self.seconds };
        let age = if whole == 0 { "less than 1".to_owned() } else { whole.to_string() };
        let text = format!("{age} {} old, at most {self}", self.unit);
        if is_old { Err(text) } else { Ok(text) }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.at_most.as_secs() / self.seconds, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_unit_of_their_limit() {
        let now: Timestamp = "2026-07-17T12:00:00Z".parse().unwrap();
        for (limit, age, expected) in [
            ("24h", "3h", Ok("3 h old, at most 24 h")),
            ("24h", "3h59m", Ok("3 h old, at most 24 h")),
            ("24h", "59m", Ok("less than 1 h old, at most 24 h")),
            ("24h", "24h", Ok("24 h old, at most 24 h")),
            ("24h", "24h1s", Err("25 h old, at most 24 h")),
            ("24h", "400h", Err("401 h old, at most 24 h")),
            ("1h", "20m", Ok("20 min old, at most 60 min")),
            ("1h30m", "2h", Err("121 min old, at most 90 min")),
            ("168h", "26h", Ok("1 days old, at most 7 days")),
            ("90s", "10s", Ok("10 s old, at most 90 s")),
            // A clock that is a little fast is no reason to wait.
            ("24h", "-4m", Ok("less than 1 h old, at most 24 h")),
            ("24h", "-6m", Err("of 2026-07-17T12:06:00Z, which is in the future: is a clock wrong?")),
        ] {
            let age: SignedDuration = age.parse().unwrap();
            let found = Limit::read(limit).unwrap().check(now - age, now);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{age} of {limit}");
        }
        assert!(Limit::read("soon").unwrap_err().contains("'soon' is no length of time"));
    }
}
