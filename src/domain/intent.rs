//! How long a change that was admitted counts before anything shows it (design section 5).
//!
//! Between the answer to a request and the moment its workload shows the change, nothing else tells of it; and after
//! that moment the workload may be changed again while pods of the version still come up. So an intent counts until
//! its workload has settled on it, or until the workload proves that it was not stored and no longer can be: because it
//! is no longer what the request found, so that the API server would ask again, or because the intent expired.

use jiff::Timestamp;

use super::version::Version;

/// A change that was admitted and is not settled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The version it goes to.
    pub version: Version,
    /// When it stops to count, if the workload does not show it by then. It must be later than the last moment at
    /// which the API server may store the change.
    pub expires: Timestamp,
}

/// What a workload shows of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Evidence {
    /// The workload asks for the version.
    pub shown: bool,
    /// It is no longer what the request found: the API server stores a change only on the very state that was reviewed,
    /// and reviews it again on any other.
    pub changed: bool,
    /// Its rollout is complete, so that no other version has pods.
    pub settled: bool,
    /// Every pod is of a known revision, and none of a change that its controller has not seen yet. True of a
    /// workload that is gone.
    pub accounted: bool,
}

impl Evidence {
    /// What a look at a workload shows that is older than the request: nothing.
    pub const NONE: Self = Self { shown: false, changed: false, settled: false, accounted: false };

    /// What the absence of a workload shows; `existed` when the request found one.
    #[must_use]
    pub fn gone(existed: bool) -> Self {
        Self { shown: false, changed: existed, settled: false, accounted: true }
    }

    /// Whether an intent that expires at `expires` no longer counts, in the face of this evidence, read at `now`.
    #[must_use]
    pub fn ends(self, expires: Timestamp, now: Timestamp) -> bool {
        if self.shown { self.settled } else { (self.changed || expires <= now) && (self.settled || self.accounted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_ends_when_it_is_settled_or_proven_not_stored() {
        let (before, at, after) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + EXPIRY, Timestamp::MAX);
        for (shown, changed, settled, accounted, now, ends) in [
            (false, false, false, false, before, false),
            (false, false, true, true, before, false),
            (false, false, false, true, at, true),
            (false, false, true, false, at, true),
            (false, true, true, true, before, true),
            (false, true, false, true, before, true),
            // It was not stored or is no longer asked for, but its pods may be among those that nobody can name.
            (false, true, false, false, after, false),
            (false, false, false, false, after, false),
            (true, true, false, true, after, false),
            (true, false, true, true, before, true),
            (true, true, true, true, before, true),
        ] {
            let evidence = Evidence { shown, changed, settled, accounted };
            assert_eq!(evidence.ends(at, now), ends, "{evidence:?} at {now}");
        }
        assert!(!Evidence::gone(false).ends(at, before), "it may be created yet");
        assert!(Evidence::gone(false).ends(at, at));
        assert!(Evidence::gone(true).ends(at, before), "what was to be changed is gone");
    }

    const EXPIRY: jiff::SignedDuration = jiff::SignedDuration::from_secs(90);
}
