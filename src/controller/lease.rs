//! Which replica works: one `Lease`, held by one process at a time.
//!
//! As in client-go, clocks of different machines are never compared: a record that stays the same for its duration,
//! measured here, is nobody's any more. The holder stops well before that. Every write names the version that it was
//! made from, so of two that try at once one loses.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

#[cfg(test)]
mod tests;

/// The name of the Lease.
pub const LEASE_NAME: &str = "upgrade-guard";
/// How long others wait for a holder that says nothing.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// The longest time that the release of a Lease may take at the end of the process.
pub const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose the Lease is to be, and how fast it changes hands.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Who this process is; no two may share it.
    pub identity: String,
    /// How long others wait for a holder that says nothing; whole seconds.
    pub duration: Duration,
    /// How long the holder goes on without a renewal that came through; less than `duration`.
    pub renew_deadline: Duration,
    /// The time between two tries.
    pub retry: Duration,
}

impl LeaseOptions {
    /// The times of client-go for a Lease of 15 s (renewed every 2 s, given up after 10 s), and the same parts of any
    /// other `duration`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, identity: impl Into<String>, duration: Duration) -> Self {
        Self {
            namespace: namespace.into(),
            identity: identity.into(),
            duration,
            renew_deadline: duration * 2 / 3,
            retry: duration * 2 / 15,
        }
    }
}

/// One candidate for the Lease.
pub struct Candidate {
    leases: Api<Lease>,
    options: LeaseOptions,
    /// The Lease as it was seen last, and when it began to look like that.
    seen: Option<(Lease, Instant)>,
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// The Lease is this candidate's, as of the time given.
    Held(Instant),
    /// It is another's.
    Taken,
}

impl Candidate {
    /// A candidate that holds nothing yet.
    #[must_use]
    pub fn new(client: Client, options: LeaseOptions) -> Self {
        Self { leases: Api::namespaced(client, &options.namespace), options, seen: None }
    }

    /// Does `work` while this process holds the Lease, until `shutdown`: then the Lease is released, so that another
    /// takes over at once. `leads` is told of each change.
    ///
    /// `work` is dropped before the Lease could become another's, and made anew when it is held again.
    pub async fn lead<W: Future<Output = ()>>(
        mut self,
        shutdown: &CancellationToken,
        leads: impl Fn(bool),
        work: impl Fn() -> W,
    ) {
        let identity = self.options.identity.clone();
        while let Some(since) = shutdown.run_until_cancelled(self.acquire()).await {
            info!(identity, "leading: the controller runs here");
            leads(true);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = self.hold(since) => warn!(identity, "the lease could not be renewed: the controller stops here"),
                () = work() => warn!(identity, "the controller ended by itself and is started again"),
            }
            leads(false);
            // Without this a controller that cannot even start would turn in circles.
            shutdown.run_until_cancelled(sleep(self.options.retry)).await;
        }
        // Also when it is not known to be held: a try may have been cut off.
        self.release().await;
    }

    /// Waits until the Lease is held; gives when it was asked for.
    async fn acquire(&mut self) -> Instant {
        loop {
            if let Some(since) = self.attempt(self.options.renew_deadline).await {
                return since;
            }
            sleep(self.options.retry).await;
        }
    }

    /// Renews the Lease for as long as that works; `since` is when it was held for certain.
    async fn hold(&mut self, mut since: Instant) {
        loop {
            let left = || (since + self.options.renew_deadline).saturating_duration_since(Instant::now());
            sleep(self.options.retry.min(left())).await;
            match self.attempt(left()).await {
                Some(renewed) => since = renewed,
                None if since.elapsed() >= self.options.renew_deadline || !self.is_mine() => return,
                None => {}
            }
        }
    }

    /// Tries once, within `limit`; an error counts as a try that failed.
    async fn attempt(&mut self, limit: Duration) -> Option<Instant> {
        match timeout(limit, self.acquire_or_renew()).await {
            Ok(Ok(Tried::Held(since))) => Some(since),
            Ok(Ok(Tried::Taken)) => None,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                debug!(lease = LEASE_NAME, "somebody else was faster");
                None
            }
            Ok(Err(error)) => {
                let namespace = &self.options.namespace;
                warn!(lease = LEASE_NAME, namespace, %error, "cannot get or renew the lease, trying again");
                None
            }
            Err(_elapsed) => None,
        }
    }

    async fn acquire_or_renew(&mut self) -> Result<Tried, kube::Error> {
        // What counts is when it was asked for: others count from when they see the answer, which is later.
        let asked = Instant::now();
        let Some(lease) = self.leases.get_opt(LEASE_NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.record(None)),
            };
            let made = self.leases.create(&PostParams::default(), &lease).await?;
            self.seen = Some((made, asked));
            return Ok(Tried::Held(asked));
        };
        let since = match &self.seen {
            Some((seen, since)) if seen.spec == lease.spec => *since,
            _ => Instant::now(),
        };
        let spec = lease.spec.clone().unwrap_or_default();
        self.seen = Some((lease.clone(), since));
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.options.identity && since.elapsed() < self.duration_of(&spec) {
            return Ok(Tried::Taken);
        }
        let own = self.record(Some(&spec));
        let written =
            self.leases.replace(LEASE_NAME, &PostParams::default(), &Lease { spec: Some(own), ..lease }).await?;
        self.seen = Some((written, asked));
        Ok(Tried::Held(asked))
    }

    /// How long a record that stays the same keeps others out: what its holder wrote.
    fn duration_of(&self, spec: &LeaseSpec) -> Duration {
        let written = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        written.filter(|seconds| *seconds > 0).map_or(self.options.duration, Duration::from_secs)
    }

    /// The record of a Lease that is this candidate's from now on, after `before`.
    fn record(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = before.is_some_and(|before| before.holder_identity.as_ref() == Some(&self.options.identity));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.options.duration.as_secs()).unwrap_or(i32::MAX).max(1)),
            acquire_time: before
                .filter(|_| mine)
                .and_then(|before| before.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if before.is_none() || mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    /// Whether the Lease was this candidate's when it was seen last.
    fn is_mine(&self) -> bool {
        let spec = self.seen.as_ref().and_then(|(lease, _)| lease.spec.as_ref());
        spec.is_some_and(|spec| spec.holder_identity.as_ref() == Some(&self.options.identity))
    }

    /// Gives the Lease up, so that another need not wait; when that fails it expires.
    async fn release(self) {
        let release = async {
            // A renewal may have been cut off, so what was seen last may be too old to write.
            let lease = self.leases.get(LEASE_NAME).await?;
            let Some(spec) = lease.spec.clone() else { return Ok(()) };
            if spec.holder_identity.as_ref() != Some(&self.options.identity) {
                return Ok(());
            }
            let now = Some(MicroTime(Timestamp::now()));
            let free = LeaseSpec {
                holder_identity: None,
                lease_duration_seconds: Some(1),
                acquire_time: now.clone(),
                renew_time: now,
                ..spec
            };
            let free = Lease { spec: Some(free), ..lease };
            self.leases.replace(LEASE_NAME, &PostParams::default(), &free).await.map(drop)
        };
        match timeout(RELEASE_TIMEOUT, release).await {
            Ok(Ok(())) => info!(identity = self.options.identity, "the lease is released"),
            Ok(Err(error)) => warn!(%error, "the lease could not be released and has to expire"),
            Err(_elapsed) => warn!("the release of the lease took too long; it has to expire"),
        }
    }
}
