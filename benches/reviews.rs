//! Reviews per second over TLS, next to a bare server that gives the same bytes.
//!
//! Both run in this process, one after the other, on loopback, and are asked by the same clients over HTTP/1.1
//! connections that are kept. The ratio says what the guard adds to what any webhook pays; figures alone say more of
//! the machine. Nothing is asserted but that the answers are the ones meant.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are for whoever runs it")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use futures::stream;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use upgrade_guard::admission::Webhook;
use upgrade_guard::server::devcert::DevelopmentCertificate;
use upgrade_guard::server::metrics::Metrics;
use upgrade_guard::server::readiness::Readiness;
use upgrade_guard::server::{Server, ServerOptions};

#[allow(dead_code, reason = "made for the tests, which use all of it")]
#[path = "reviews/fixtures.rs"]
mod fixtures;
#[path = "reviews/world.rs"]
mod world;

/// How long each figure is measured, and for how long before that the server is warmed up.
const MEASURED: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(300);
/// The most requests of one connection in one measurement; bounds memory for the latencies.
const MOST: usize = 100_000;

/// Latencies of one measurement, sorted, and the time that it took.
struct Measured {
    sorted: Vec<Duration>,
    took: Duration,
}

impl Measured {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.took.as_secs_f64()
    }

    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.sorted.len() * percent / 100).min(self.sorted.len() - 1);
        self.sorted[at].as_secs_f64() * 1e6
    }
}

struct Tls {
    made: DevelopmentCertificate,
}

impl Tls {
    fn client(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.made.authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    fn server(&self) -> TlsAcceptor {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(self.made.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.made.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    async fn connect(&self, address: SocketAddr) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = self.client().connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// The guard as it is served. Dropping the future ends it.
async fn guard(folder: &std::path::Path, router: Router) -> (SocketAddr, impl Future<Output = ()> + Send + use<>) {
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions::new(free, free, folder.to_owned());
    let server = Server::bind(options, Readiness::new(), Metrics::new()).await.unwrap();
    let address = server.https_address();
    (address, async move { _ = server.serve(router, Box::pin(stream::pending())).await })
}

/// The least that can answer over TLS: it reads the body and gives `answer`.
async fn bare(tls: &Tls, answer: Bytes) -> (SocketAddr, impl Future<Output = ()> + Send + use<>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.server();
    let reply = async move |_: Bytes| ([("content-type", "application/json")], answer);
    let router = Router::new().route("/validate", post(reply));
    let serve = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = TowerToHyperService::new(router);
                _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    };
    (address, serve)
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, body: &Bytes) -> Bytes {
    let request = hyper::Request::post("/validate?timeout=5s")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body.clone()))
        .unwrap();
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Asks over `connections` at once, each one request after the other.
async fn measure(tls: &Arc<Tls>, address: SocketAddr, connections: usize, body: &Bytes, expected: &Bytes) -> Measured {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(tls.connect(address).await);
    }
    let warm = Instant::now();
    let mut took = Duration::ZERO;
    let tasks = clients.into_iter().map(|mut client| {
        let (body, expected) = (body.clone(), expected.clone());
        tokio::spawn(async move {
            while warm.elapsed() < WARM_UP {
                // As long as the one meant: the order of its annotations differs from answer to answer.
                assert_eq!(ask(&mut client, &body).await.len(), expected.len());
            }
            let begun = Instant::now();
            let mut latencies = Vec::new();
            while begun.elapsed() < MEASURED && latencies.len() < MOST {
                let sent = Instant::now();
                let answer = ask(&mut client, &body).await;
                latencies.push(sent.elapsed());
                assert_eq!(answer.len(), expected.len());
            }
            (latencies, begun.elapsed())
        })
    });
    let mut sorted = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        let (latencies, elapsed) = task.await.unwrap();
        sorted.extend(latencies);
        took = took.max(elapsed);
    }
    sorted.sort_unstable();
    Measured { sorted, took }
}

/// Runs `server` while `clients` ask it.
async fn while_serving<T>(server: impl Future<Output = ()> + Send + 'static, clients: impl Future<Output = T>) -> T {
    let server = tokio::spawn(server);
    let measured = clients.await;
    server.abort();
    measured
}

fn line(what: &str, connections: usize, who: &str, measured: &Measured) {
    println!(
        "{what:<28} {connections:>3} conn  {who:<6} {:>9.0} reviews/s  p50 {:>7.0} us  p99 {:>7.0} us",
        measured.per_second(),
        measured.percentile(50),
        measured.percentile(99)
    );
}

/// Both servers, one after the other, and the ratio.
async fn compare(tls: &Arc<Tls>, folder: &std::path::Path, what: &str, world: &world::World, body: &Bytes) {
    let expected =
        Bytes::from(world.admission().answer(Webhook::Validate, body, Duration::from_secs(4)).await.unwrap());
    for connections in [1, 16] {
        let (address, serve) = bare(tls, expected.clone()).await;
        let base = while_serving(serve, measure(tls, address, connections, body, &expected)).await;
        let (address, serve) = guard(folder, world.admission().router()).await;
        let guarded = while_serving(serve, measure(tls, address, connections, body, &expected)).await;
        line(what, connections, "bare", &base);
        line(what, connections, "guard", &guarded);
        println!(
            "{what:<28} {connections:>3} conn  guard / bare: reviews/s {:.2}, p50 {:.2}, p99 {:.2}",
            guarded.per_second() / base.per_second(),
            guarded.percentile(50) / base.percentile(50),
            guarded.percentile(99) / base.percentile(99)
        );
    }
}

/// The fast path without a network, by the number of governed workloads elsewhere.
async fn by_cluster_size(body: &Bytes) {
    for elsewhere in [10, 1_000, 5_000] {
        let admission = world::World::with_elsewhere(elsewhere).admission();
        let mut latencies = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < MEASURED && latencies.len() < MOST {
            let sent = Instant::now();
            admission.answer(Webhook::Validate, body, Duration::from_secs(4)).await.unwrap();
            latencies.push(sent.elapsed());
        }
        let took = begun.elapsed();
        latencies.sort_unstable();
        let measured = Measured { sorted: latencies, took };
        println!(
            "fast path, {elsewhere:>5} workloads elsewhere        {:>9.0} reviews/s  p50 {:>7.1} us  p99 {:>7.1} us",
            measured.per_second(),
            measured.percentile(50),
            measured.percentile(99)
        );
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs it too: there is nothing to test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let made = DevelopmentCertificate::make(&["localhost".to_owned()], 1).unwrap();
    made.write(folder.path()).unwrap();
    let tls = Arc::new(Tls { made });
    let world = world::World::with_elsewhere(0);
    let (fast, refused) = (Bytes::from(world::fast_review()), Bytes::from(world::refused_review()));
    println!("review of {} bytes (fast), {} bytes (refused)", fast.len(), refused.len());
    compare(&tls, folder.path(), "fast path", &world, &fast).await;
    compare(&tls, folder.path(), "governed and refused", &world, &refused).await;
    by_cluster_size(&fast).await;
}
