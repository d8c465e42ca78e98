//! A running server, a Secret volume and a client.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    http::Request,
    routing::{get, post},
};
use futures::stream;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{interval, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use upgrade_guard::server::{
    Server, ServerOptions,
    devcert::DevelopmentCertificate,
    metrics::Metrics,
    readiness::Readiness,
    shutdown::{Ended, ShutdownOptions, Signal},
};

/// Bounds every wait; a test that meets it has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// A timeout that must not be what ends a wait within [`DEADLINE`].
pub const NEVER: Duration = Duration::from_mins(10);
/// A timeout that the test waits for.
pub const SHORT: Duration = Duration::from_millis(300);

pub type Error = Box<dyn std::error::Error + Send + Sync>;

pub fn certificate() -> DevelopmentCertificate {
    DevelopmentCertificate::make(&["localhost".to_owned()], 1).expect("a certificate")
}

/// Awaits `future` and fails the test when it takes too long.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = timeout(DEADLINE, future).await;
    assert!(outcome.is_ok(), "{what}: not within {DEADLINE:?}");
    outcome.expect("in time")
}

/// Asks until the answer is yes and fails the test when that takes too long.
pub async fn eventually(what: &str, mut question: impl AsyncFnMut() -> bool) {
    within(what, async {
        let mut ticks = interval(Duration::from_millis(5));
        while !question().await {
            ticks.tick().await;
        }
    })
    .await;
}

/// A folder renewed as the kubelet renews a Secret volume: `tls.crt -> ..data/tls.crt`, `..data -> ..1`.
pub struct SecretVolume {
    folder: TempDir,
    version: u32,
}

impl SecretVolume {
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, version: 0 }
    }

    pub fn with(certificate: &DevelopmentCertificate) -> Self {
        let mut volume = Self::empty();
        volume.publish(&certificate.chain, &certificate.key);
        volume
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn publish(&mut self, chain: &str, key: &str) {
        let old = self.path().join(format!("..{}", self.version));
        self.version += 1;
        let new = PathBuf::from(format!("..{}", self.version));
        let inside = self.path().join(&new);
        fs::create_dir(&inside).expect("a new version");
        fs::write(inside.join("tls.crt"), chain).expect("written");
        fs::write(inside.join("tls.key"), key).expect("written");
        let next = self.path().join("..data_tmp");
        symlink(&new, &next).expect("a link");
        fs::rename(&next, self.path().join("..data")).expect("the swap");
        if self.version == 1 {
            for name in ["tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(name), self.path().join(name)).expect("a link");
            }
        } else {
            fs::remove_dir_all(old).expect("the old version");
        }
    }
}

/// Options on free ports with a fast poll, and timeouts that do not end anything by themselves.
pub fn options(folder: &Path) -> ServerOptions {
    let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let mut options = ServerOptions::new(free, free, folder.to_owned());
    options.certificate_poll = Duration::from_millis(10);
    options.limits.handshake = NEVER;
    options.limits.header = NEVER;
    options.limits.idle = NEVER;
    options.limits.request = NEVER;
    options.limits.goodbye = Duration::from_millis(200);
    options.shutdown = ShutdownOptions { propagation_delay: Duration::ZERO, drain_deadline: NEVER };
    options
}

/// A server that answers `/` at once, `/wait` when [`Running::let_go`] is called, and `POST /echo`.
pub struct Running {
    pub https: SocketAddr,
    pub ops: SocketAddr,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub signals: mpsc::UnboundedSender<Signal>,
    pub ended: JoinHandle<Ended>,
    waiting: Arc<Semaphore>,
    begun: mpsc::UnboundedReceiver<()>,
}

impl Running {
    pub async fn start(options: ServerOptions) -> Self {
        let (readiness, metrics) = (Readiness::new(), Metrics::new());
        let server = Server::bind(options, readiness.clone(), metrics.clone()).await.expect("bound");
        let (https, ops) = (server.https_address(), server.ops_address());
        let (signals, mut received) = mpsc::unbounded_channel();
        let waiting = Arc::new(Semaphore::new(0));
        let (at_handler, begun) = mpsc::unbounded_channel();
        let wait = {
            let waiting = Arc::clone(&waiting);
            async move || {
                let _ = at_handler.send(());
                let _permit = waiting.acquire().await;
                "waited"
            }
        };
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/wait", get(wait))
            .route("/echo", post(async |body: Bytes| body));
        let signal_stream = stream::poll_fn(move |cx| received.poll_recv(cx));
        let ended = tokio::spawn(server.serve(router, signal_stream));
        Self { https, ops, readiness, metrics, signals, ended, waiting, begun }
    }

    /// Completes when a request for `/wait` has reached its handler.
    pub async fn one_waits(&mut self) {
        within("a request in flight", self.begun.recv()).await;
    }

    pub fn let_go(&self) {
        self.waiting.add_permits(100);
    }

    pub fn signal(&self) {
        self.signals.send(Signal::Terminate).expect("serving");
    }

    pub async fn end(self) -> Ended {
        within("the end", self.ended).await.expect("no panic")
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.metrics.render().expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a known metric").trim().parse().expect("a number")
    }

    /// Asks the operations port; gives the status and the text.
    pub async fn ops(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.ops).await.expect("the ops port listens");
        ask_http1(stream, path).await.expect("an answer")
    }
}

/// A client that trusts the authorities of some certificates.
#[derive(Clone)]
pub struct Client {
    config: ClientConfig,
}

impl Client {
    pub fn trusting(certificates: &[DevelopmentCertificate]) -> Self {
        Self::with(certificates, &[&TLS13], &[])
    }

    pub fn with(
        certificates: &[DevelopmentCertificate],
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for made in certificates {
            let authority = CertificateDer::from_pem_slice(made.authority.as_bytes());
            roots.add(authority.expect("PEM")).expect("an authority");
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A resumed session shows the certificate of the session before it.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config }
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::new(self.config.clone())
    }

    pub async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>, Error> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost")?;
        let connect = TlsConnector::from(self.config()).connect(name, stream);
        Ok(within("a handshake or a refusal", connect).await?)
    }

    /// One request over HTTP/1.1 on a connection of its own.
    pub async fn get(&self, address: SocketAddr, path: &str) -> Result<String, Error> {
        let (status, text) = ask_http1(self.connect(address).await?, path).await?;
        if status == 200 { Ok(text) } else { Err(format!("{status}: {text}").into()) }
    }

    /// The leaf certificate that the server presents now.
    pub async fn leaf(&self, address: SocketAddr) -> Result<CertificateDer<'static>, Error> {
        let stream = self.connect(address).await?;
        let presented = stream.get_ref().1.peer_certificates();
        Ok(presented.ok_or("no certificate")?[0].clone().into_owned())
    }
}

pub fn leaf_of(certificate: &DevelopmentCertificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("PEM")
}

pub fn request(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Full::default())
        .expect("a valid request")
}

pub async fn ask_http1<I>(io: I, path: &str) -> Result<(u16, String), Error>
where
    I: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    within("a whole answer or none", async { read(sender.send_request(request(path)).await?).await }).await
}

/// Opens an HTTP/2 connection for any number of requests.
pub async fn http2<I>(io: I) -> Result<conn::http2::SendRequest<Full<Bytes>>, Error>
where
    I: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

pub async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<(u16, String), Error> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

/// Reads what is left until the peer closes; an error counts as closed.
pub async fn until_closed(mut io: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = io.read_to_end(&mut rest).await;
    rest
}
