//! One connection, from its first request to its end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, StatusCode, Version, header::CONNECTION},
    response::{IntoResponse as _, Response},
};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{sleep, timeout},
};
use tower::Service as _;

use super::shutdown::Phases;
use super::tls;

/// What clients may take of a port. Every duration ends a connection that would otherwise hold its place for ever.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at a time; more wait in the operating system's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a request's head, and so for the first request to begin. On HTTP/1.1 also for the next one to begin.
    pub header: Duration,
    /// For a connection without any request in flight.
    pub idle: Duration,
    /// For a request, from its head to its answer, its body included.
    pub request: Duration,
    /// For a connection without a request to close itself when it is told to.
    pub goodbye: Duration,
    /// Between HTTP/2 pings, and for the answer to one: finds peers that are gone.
    pub ping: Duration,
}

impl Limits {
    /// For the webhook port. An API server keeps a handful of connections, so a thousand is a wide margin that still
    /// bounds memory and stays below the usual limit on open files.
    pub const HTTPS: Self = Self {
        connections: 1000,
        // Milliseconds in a cluster; the API server itself gives up after 10 s.
        handshake: Duration::from_secs(10),
        header: Duration::from_secs(30),
        // Longer than the 90 s after which API servers close idle connections themselves: a request is then never
        // sent into a connection that is being closed here.
        idle: Duration::from_mins(2),
        // The longest timeout that a webhook configuration may have: past it nobody waits for the answer.
        request: Duration::from_secs(30),
        // A round trip or two.
        goodbye: Duration::from_secs(1),
        ping: Duration::from_secs(20),
    };

    /// For the operations port: a kubelet and some scrapers.
    pub const OPS: Self = Self { connections: 64, ..Self::HTTPS };
}

/// Serves HTTP/1.1 and HTTP/2 on `io` until the peer goes, is too slow or idle for `limits`, or the phase `closing` has
/// come and the requests in flight are answered. From the phase `leaving` on, an HTTP/1.1 peer is told with each answer to
/// ask elsewhere: an API server, which speaks HTTP/1.1 to webhooks, would else send on an idle connection just when it is
/// closed, and that review fails. Does not fail: what a peer does wrong ends its connection only.
pub(super) async fn serve<I>(io: I, peer: SocketAddr, router: Router, limits: &Limits, phases: &Phases)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::default();
    let service = service_fn({
        let (activity, longest, leaving) = (activity.clone(), limits.request, phases.leaving.clone());
        move |request: Request<Incoming>| {
            let (router, busy, leaving) = (router.clone(), activity.begin(), leaving.clone());
            async move {
                let has_close = request.version() == Version::HTTP_11;
                let mut response = answer(router, request, longest).await;
                if has_close && leaving.is_cancelled() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                drop(busy);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let log_end = |ended: Result<(), Box<dyn std::error::Error + Send + Sync>>| {
        if let Err(error) = ended {
            tls::log_failure(peer, &*error);
        }
    };
    let builder = builder(limits);
    let graceful = GracefulShutdown::new();
    let mut connection = std::pin::pin!(graceful.watch(builder.serve_connection(TokioIo::new(io), service)));

    tokio::select! {
        ended = &mut connection => return log_end(ended),
        // A client that has just connected is about to ask: it gets its answer.
        () = async { phases.closing.cancelled().await; activity.begun(limits.goodbye).await } => {}
        () = activity.idle(limits.header, limits.idle) => {}
    }
    // From here on the peer is told to go. It may ignore that, or be in the middle of sending something, so a
    // connection on which nothing is in flight is dropped after a moment.
    tokio::select! {
        ended = &mut connection => log_end(ended),
        () = graceful.shutdown() => {}
        () = activity.idle(limits.goodbye, limits.goodbye) => {}
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(limits.ping).keep_alive_timeout(limits.ping);
    builder
}

async fn answer(mut router: Router, request: Request<Incoming>, longest: Duration) -> Response {
    // A router is always ready: its `poll_ready` says so without any condition.
    match timeout(longest, router.call(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_elapsed) => {
            let text = format!("no answer within {longest:?}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// The requests of one connection.
#[derive(Clone, Debug, Default)]
struct Activity(Arc<watch::Sender<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    any_begun: bool,
    in_flight: usize,
}

/// One request in flight, until it is dropped.
struct Busy(Arc<watch::Sender<Requests>>);

impl Activity {
    fn begin(&self) -> Busy {
        self.0.send_modify(|requests| {
            requests.any_begun = true;
            requests.in_flight += 1;
        });
        Busy(Arc::clone(&self.0))
    }

    /// Completes when a request has begun, at the latest after `patience`.
    async fn begun(&self, patience: Duration) {
        let mut requests = self.0.subscribe();
        // Either outcome is fine, and the sender lives in `self`.
        let _ = timeout(patience, requests.wait_for(|requests| requests.any_begun)).await;
    }

    /// Completes when nothing was in flight for `first` before the first request, or for `later` after one.
    async fn idle(&self, first: Duration, later: Duration) {
        let mut requests = self.0.subscribe();
        let mut patience = first;
        loop {
            let quiet = requests.borrow_and_update().in_flight == 0;
            tokio::select! {
                // The sender lives in `self`, so this cannot fail.
                _ = requests.changed() => patience = later,
                () = sleep(patience), if quiet => return,
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|requests| requests.in_flight -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    const FIRST: Duration = Duration::from_secs(3);
    const LATER: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_nothing_is_idle_sooner() {
        let start = Instant::now();
        Activity::default().idle(FIRST, LATER).await;
        assert_eq!(start.elapsed(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_request_ends_when_one_came() {
        let activity = Activity::default();
        let start = Instant::now();
        activity.begun(FIRST).await;
        assert_eq!(start.elapsed(), FIRST);
        drop(activity.begin());
        activity.begun(FIRST).await;
        assert_eq!(start.elapsed(), FIRST, "one came already");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_is_never_idle() {
        let activity = Activity::default();
        let busy = activity.begin();
        let mut idle = Box::pin(activity.idle(FIRST, LATER));
        assert!(futures::poll!(&mut idle).is_pending());
        advance(LATER * 10).await;
        assert!(futures::poll!(&mut idle).is_pending());
        let start = Instant::now();
        drop(busy);
        idle.await;
        assert_eq!(start.elapsed(), LATER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_request_gives_the_longer_patience() {
        let activity = Activity::default();
        let mut idle = Box::pin(activity.idle(FIRST, LATER));
        assert!(futures::poll!(&mut idle).is_pending());
        let start = Instant::now();
        drop(activity.begin());
        idle.await;
        assert_eq!(start.elapsed(), LATER);
    }
}
