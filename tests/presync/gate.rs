//! A way to the API server through which requests are counted, and at which one of them can be stopped for good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt as _;
use kube::Client;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Where a request is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Before the API server gets it.
    Before(usize),
    /// After the API server did what it asks for, and before the answer comes back.
    After(usize),
}

/// Forwards requests with every right, in plain HTTP on 127.0.0.1; it ends when it is dropped.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    client: Client,
    stop: Option<Stop>,
    seen: AtomicUsize,
    stopped: Notify,
    log: Mutex<Vec<String>>,
}

impl Gate {
    pub(crate) async fn open(client: Client, stop: Option<Stop>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (seen, stopped, log) = (AtomicUsize::new(0), Notify::new(), Mutex::new(vec![]));
        let shared = Arc::new(Shared { client, stop, seen, stopped, log });
        let state = Arc::clone(&shared);
        let router = Router::new().fallback(move |request| forward(Arc::clone(&state), request));
        let serving = tokio::spawn(async move {
            // The task is aborted when the gate is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, serving })
    }

    /// How many requests came.
    pub(crate) fn seen(&self) -> usize {
        self.shared.seen.load(Ordering::SeqCst)
    }

    /// The requests that came, `GET /api/...`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.log.lock().clone()
    }

    /// Waits until the request is there that is to be stopped.
    pub(crate) async fn stopped(&self) {
        self.shared.stopped.notified().await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(shared: Arc<Shared>, request: Request) -> Response {
    let number = shared.seen.fetch_add(1, Ordering::SeqCst) + 1;
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    shared.log.lock().push(format!("{} {path}", request.method()));
    if shared.stop == Some(Stop::Before(number)) {
        shared.stop_here().await;
    }
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let mut onward = hyper::Request::builder().method(parts.method).uri(path);
    for name in ["accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    let answer = shared.client.send(onward.body(kube::client::Body::from(bytes)).unwrap()).await.unwrap();
    if shared.stop == Some(Stop::After(number)) {
        shared.stop_here().await;
    }
    answer.map(axum::body::Body::new)
}

impl Shared {
    async fn stop_here(&self) -> ! {
        self.stopped.notify_one();
        std::future::pending().await
    }
}
