use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::http::{Method, Request, Response, StatusCode};
use futures::future::pending;
use http_body_util::BodyExt as _;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;

/// An API server that keeps one Lease.
#[derive(Clone, Default)]
struct Store {
    lease: Arc<Mutex<Option<Value>>>,
    writes: Arc<AtomicUsize>,
    /// Whether it answers at all.
    silent: Arc<AtomicBool>,
}

impl Store {
    fn client(&self) -> Client {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let store = self.clone();
        tokio::spawn(async move {
            while let Some((request, respond)) = handle.next_request().await {
                let store = store.clone();
                tokio::spawn(async move {
                    if store.silent.load(Ordering::SeqCst) {
                        pending::<()>().await;
                    }
                    respond.send_response(store.answer(request).await);
                });
            }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let mut stored = self.lease.lock();
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let fail = |code: u16, reason: &str| {
            let status =
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason});
            (code, status)
        };
        let (code, body) = match (&parts.method, stored.as_ref()) {
            (&Method::GET, None) => fail(404, "NotFound"),
            (&Method::GET, Some(lease)) => (200, lease.clone()),
            (&Method::POST, Some(_)) => fail(409, "AlreadyExists"),
            (method, _) => {
                let mut new: Value = serde_json::from_slice(&body).expect("JSON");
                if method == Method::PUT && stored.as_ref().and_then(version) != version(&new) {
                    fail(409, "Conflict")
                } else {
                    let write = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
                    new["metadata"]["resourceVersion"] = json!(write.to_string());
                    *stored = Some(new.clone());
                    (200, new)
                }
            }
        };
        let response = Response::builder().status(StatusCode::from_u16(code).expect("a code"));
        response.body(Body::from(serde_json::to_vec(&body).expect("JSON"))).expect("a response")
    }

    fn spec(&self) -> LeaseSpec {
        let lease = self.lease.lock().clone().expect("a lease");
        serde_json::from_value(lease["spec"].clone()).expect("a spec")
    }

    fn holder(&self) -> Option<String> {
        self.spec().holder_identity
    }
}

/// A candidate that runs: whether it leads, and its end.
struct Running {
    leads: Arc<AtomicBool>,
    /// How many times its work is under way: never more than once.
    working: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(store: &Store, identity: &str) -> Self {
        let candidate = Candidate::new(store.client(), LeaseOptions::new("guard", identity, LEASE_DURATION));
        let (leads, working) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let (leads, working, shutdown) = (Arc::clone(&leads), Arc::clone(&working), shutdown.clone());
            async move {
                let tell = |is: bool| leads.store(is, Ordering::SeqCst);
                let work = || async {
                    working.fetch_add(1, Ordering::SeqCst);
                    let _at_the_end = Ended(&working);
                    pending::<()>().await;
                };
                candidate.lead(&shutdown, tell, work).await;
            }
        });
        Self { leads, working, shutdown, task }
    }

    fn leads(&self) -> bool {
        let leads = self.leads.load(Ordering::SeqCst);
        assert_eq!(self.working.load(Ordering::SeqCst), usize::from(leads), "works exactly while it leads");
        leads
    }
}

struct Ended<'a>(&'a AtomicUsize);
impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets `time` pass in small steps, so that whoever sleeps wakes on its own time.
async fn pass(time: Duration) {
    let step = Duration::from_millis(100);
    let end = Instant::now() + time;
    while Instant::now() < end {
        advance(step).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_waits() {
    let store = Store::default();
    let first = Running::start(&store, "first");
    pass(SECOND).await;
    let second = Running::start(&store, "second");
    pass(60 * SECOND).await;
    assert!(first.leads() && !second.leads());
    let spec = store.spec();
    assert_eq!(spec.holder_identity.as_deref(), Some("first"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert!(spec.acquire_time < spec.renew_time || store.writes.load(Ordering::SeqCst) > 25, "it is renewed");
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_waited_for_as_long_as_it_asked() {
    let store = Store::default();
    let first = Running::start(&store, "first");
    pass(SECOND).await;
    let second = Running::start(&store, "second");
    pass(3 * SECOND).await;
    first.task.abort();
    pass(12 * SECOND).await;
    assert!(!second.leads(), "too early: the last renewal was at most 2 s before");
    pass(8 * SECOND).await;
    assert!(second.leads());
    assert_eq!((store.holder().as_deref(), store.spec().lease_transitions), (Some("second"), Some(1)));
}

/// Two clocks that differ by an hour: only the time that passes here counts.
#[tokio::test(start_paused = true)]
async fn a_record_with_a_wrong_clock_is_neither_taken_early_nor_kept_for_ever() {
    for renewed in ["2001-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"] {
        let store = Store::default();
        let spec =
            json!({"holderIdentity": "gone", "leaseDurationSeconds": 15, "leaseTransitions": 4, "renewTime": renewed});
        *store.lease.lock() = Some(json!({"metadata": {"name": LEASE_NAME, "resourceVersion": "0"}, "spec": spec}));
        let candidate = Running::start(&store, "candidate");
        pass(14 * SECOND).await;
        assert!(!candidate.leads(), "renewed at {renewed}");
        pass(4 * SECOND).await;
        assert!(candidate.leads(), "renewed at {renewed}");
        assert_eq!(store.spec().lease_transitions, Some(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_lets_another_in_at_once() {
    let store = Store::default();
    let first = Running::start(&store, "first");
    pass(SECOND).await;
    let second = Running::start(&store, "second");
    pass(5 * SECOND).await;
    first.shutdown.cancel();
    pass(SECOND / 5).await;
    assert!(first.task.is_finished() && !first.leads());
    assert!(store.holder().is_none_or(|holder| holder == "second"));
    pass(2 * SECOND).await;
    assert!(second.leads());
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_renew_stops_before_another_may_begin() {
    let store = Store::default();
    let first = Running::start(&store, "first");
    pass(5 * SECOND).await;
    assert!(first.leads());
    store.silent.store(true, Ordering::SeqCst);
    pass(7 * SECOND).await;
    assert!(first.leads(), "one renewal that fails is no reason yet");
    pass(4 * SECOND).await;
    assert!(!first.leads(), "10 s without a renewal");
    store.silent.store(false, Ordering::SeqCst);
    pass(15 * SECOND).await;
    assert!(first.leads(), "it goes on when it can");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_away_is_given_up() {
    let store = Store::default();
    let first = Running::start(&store, "first");
    pass(SECOND).await;
    if let Some(lease) = store.lease.lock().as_mut() {
        lease["spec"]["holderIdentity"] = json!("thief");
        lease["metadata"]["resourceVersion"] = json!("stolen");
    }
    pass(3 * SECOND).await;
    assert!(!first.leads());
    let mut end = pin!(first.task);
    first.shutdown.cancel();
    pass(SECOND).await;
    assert!(futures::poll!(&mut end).is_ready());
    assert_eq!(store.holder().as_deref(), Some("thief"), "what is another's is not released");
}
