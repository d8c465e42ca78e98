//! The guard's own authority: `serve --self-signed`.
//!
//! Everything stands in one Secret, `upgrade-guard-tls` of the guard's namespace: the leaf that is served (`tls.crt`,
//! `tls.key`), every authority to be trusted (`ca.crt`), the key of the one that signs (`ca.key`), and during a rotation
//! the key of the next one (`next-ca.key`). [`plan`] decides, from what stands there and the time, what to write;
//! [`issue`] makes it; [`keep`] watches, writes and serves. Each step is one write, a create or a compare-and-swap by
//! resourceVersion, so any replica may take any step, the others see it and go on from there, and no leader is needed. A
//! leaf is served only once it is stored: one that lost a race is never seen by anybody.
//!
//! # Rotation without a failed review
//!
//! API servers go by the `caBundle` of the webhook configurations, which `admission::register` keeps equal to `ca.crt`.
//! They learn of a change by their own watches, some moments after us and each by itself. So:
//!
//! 1. A leaf is renewed under the same authority: nobody has to learn anything.
//! 2. The next authority is put into the bundle and signs nothing yet.
//! 3. It signs a leaf only after this replica has seen it in both configurations for [`SETTLE`] without a break. The
//!    wait is for the API servers' watches, which lag by well under a second, by seconds on a busy cluster. One that is
//!    cut off from its storage for longer could not store what a review lets pass. Whoever waited first takes the step;
//!    a replica that was restarted begins to wait anew, which delays and breaks nothing. A configuration that is not
//!    there has no calls that could fail, one that cannot be read is waited for.
//! 4. The old authority leaves the bundle when it has itself expired, and [`Lifetimes::skew`] more. No leaf outlives
//!    what signed it (they are cut to that), so nothing that it signed is valid anywhere then: a replica that still
//!    served such a leaf could not be trusted under any bundle. That needs no word between replicas and no memory. Its
//!    key is gone from step 3 on. Its part of the bundle costs some hundred bytes for a third of its life, which is what
//!    others (the service CA of `OpenShift`, Kyverno) keep expired authorities for too.
//!
//! When nothing else is left, as when the authority has expired while all replicas were down, it is made anew at once:
//! what is served is of no use then in any case.
//!
//! # Damage
//!
//! The Secret may be deleted, emptied, restored from a backup or filled with something else. A replica remembers the last
//! contents that could be served and puts them back, so nothing fails meanwhile; without memory everything is made
//! anew. Every such write says why in the log and in a metric. To be rid of keys that somebody else has seen, scale the
//! guard to zero, delete the Secret, and scale it up again; to rotate both without a pause, take `ca.key` out of it.
//!
//! # Clocks
//!
//! Validity is compared with the clock on the wall at every tick, because a monotonic one stands still while a machine
//! sleeps; the wait of step 3 is monotonic, as API servers' watches need running time. Certificates begin an hour in the
//! past for clocks that are behind. What is not valid yet, because it was made by a clock that was ahead, counts as
//! unusable, like what has expired. Replicas whose clocks are far apart would each replace what the other made, so a
//! replica writes no more often than a budget lets it.

mod issue;
mod keep;
mod plan;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use keep::{SelfSigned, StoredBundle};

/// The name of the Secret.
pub const SECRET: &str = "upgrade-guard-tls";

/// How long the next authority must have been in both webhook configurations before it signs.
///
/// Watches lag by seconds at the worst; ten minutes cost nothing when four months are left.
pub const SETTLE: Duration = Duration::from_mins(10);

/// How long certificates live. The last third of each life is for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The authority's, in seconds.
    pub authority: i64,
    /// The leaf's, in seconds.
    pub leaf: i64,
    /// How long an authority stays in the bundle after it has expired, in seconds, for clocks that are behind.
    pub skew: i64,
}

impl Lifetimes {
    /// What is used: a year for the authority, as Kyverno and most webhooks have it, so that a third of it, four months,
    /// is left to notice that the bundle cannot be written; a week for the leaf, whose last third is a long week-end
    /// without a replica that could renew it; an hour for clocks, as much as certificates are backdated.
    pub const DEFAULT: Self = Self { authority: 365 * 86_400, leaf: 7 * 86_400, skew: 3600 };
}

/// Gives the time on the wall, in Unix seconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the guard's own certificates shall be.
#[derive(Clone)]
pub struct Options {
    /// The namespace of the Secret.
    pub namespace: String,
    /// What the leaf must be valid for: DNS names and IP addresses.
    pub names: Vec<String>,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// How long the next authority must have been seen in both webhook configurations before it signs.
    pub settle: Duration,
    /// The clock that validity is compared with.
    pub clock: Clock,
}

impl Options {
    /// The defaults for a guard in `namespace`: the names of its Service, and `more` names.
    #[must_use]
    pub fn new(namespace: String, more: &[String]) -> Self {
        let service = format!("upgrade-guard.{namespace}.svc");
        let mut names = vec![service.clone(), format!("{service}.cluster.local")];
        names.extend_from_slice(more);
        let clock = Arc::new(super::certificates::unix_now);
        Self { namespace, names, lifetimes: Lifetimes::DEFAULT, settle: SETTLE, clock }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("names", &self.names)
            .field("lifetimes", &self.lifetimes)
            .finish_non_exhaustive()
    }
}

/// What stands in the Secret; PEM throughout, empty where there is nothing.
#[derive(Clone, Default, PartialEq, Eq)]
struct Contents {
    /// `tls.crt`: the leaf.
    chain: Vec<u8>,
    /// `tls.key`: its key.
    key: Vec<u8>,
    /// `ca.crt`: the authorities to be trusted.
    bundle: Vec<u8>,
    /// `ca.key`: the key of the authority that signs.
    authority_key: Vec<u8>,
    /// `next-ca.key`: the key of the authority that will sign next.
    next_key: Vec<u8>,
}

impl fmt::Debug for Contents {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}
