//! Freeze windows: times at which no upgrade begins.

use std::str::FromStr;

use cronexpr::Crontab;
use jiff::{SignedDuration, Timestamp};

/// A time that comes again and again, at which no upgrade begins.
#[derive(Clone, Debug)]
pub struct Freeze {
    /// Its name.
    pub name: String,
    begins: Crontab,
    lasts: SignedDuration,
}

impl Freeze {
    /// A window that begins whenever `cron` (five fields) says in `time_zone`, and lasts for `lasts`.
    ///
    /// # Errors
    /// What is wrong with the expression or the zone.
    pub fn new(name: &str, cron: &str, time_zone: &str, lasts: SignedDuration) -> Result<Self, String> {
        let begins = Crontab::from_str(&format!("{cron} {time_zone}"));
        let begins = begins.map_err(|error| {
            let text = error.to_string();
            // The parser draws the place on a line of its own; what is wrong comes after that.
            let why = text.rsplit_once('^').map_or(text.as_str(), |(_, why)| why);
            format!("'{cron}' in {time_zone}: {}", why.trim().replace('\n', " "))
        })?;
        Ok(Self { name: name.to_owned(), begins, lasts })
    }

    /// When the window that `now` is in ends; `None` outside of it.
    #[must_use]
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        // The first beginning of which the window is not over yet: one that is still to come means that none is open.
        let earliest = now.checked_sub(self.lasts).ok()?;
        let begins = self.begins.find_next(cronexpr::MakeTimestamp(earliest)).ok()?.timestamp();
        (begins <= now).then(|| begins.checked_add(self.lasts).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_from_its_beginning_until_its_end() {
        // Friday 18:00 in Paris is 16:00 UTC in summer and 17:00 UTC in winter.
        let weekend = Freeze::new("weekend", "0 18 * * FRI", "Europe/Paris", SignedDuration::from_hours(62)).unwrap();
        for (now, ends) in [
            ("2026-07-17T15:59:59Z", None),
            ("2026-07-17T16:00:00Z", Some("2026-07-20T06:00:00Z")),
            ("2026-07-20T05:59:59Z", Some("2026-07-20T06:00:00Z")),
            ("2026-07-20T06:00:00Z", None),
            ("2026-11-20T16:30:00Z", None),
            ("2026-11-20T17:00:00Z", Some("2026-11-23T07:00:00Z")),
        ] {
            let ends: Option<Timestamp> = ends.map(|ends| ends.parse().unwrap());
            assert_eq!(weekend.ends(now.parse().unwrap()), ends, "{now}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let hour = SignedDuration::from_hours(1);
        for (cron, zone) in [("0 18 * *", "UTC"), ("61 * * * *", "UTC"), ("0 18 * * FRI", "Europe/Atlantis")] {
            let error = Freeze::new("x", cron, zone, hour).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
        }
    }
}
