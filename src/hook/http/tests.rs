use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// A server on the loopback that is well, not well, slow, elsewhere, or talks too much.
struct Target {
    address: SocketAddr,
    task: JoinHandle<()>,
    folder: Option<TempDir>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How many requests `/later` gets before it is well.
const LATER: usize = 2;

fn routes() -> Router {
    let asked = Arc::new(AtomicUsize::new(0));
    let later = async move || {
        let before = asked.fetch_add(1, Ordering::SeqCst);
        if before < LATER { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    };
    Router::new()
        .route("/health", get(async || r#"{"status": "ok", "checks": [{"up": true}]}"#))
        .route("/down", get(async || (StatusCode::SERVICE_UNAVAILABLE, r#"{"status": "down"}"#)))
        .route("/text", get(async || "fine"))
        .route("/moved", get(async || Redirect::permanent("/health")))
        .route("/shop", get(async || "the shop"))
        .route("/later", get(later))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/long", get(async || "x".repeat(LONGEST_BODY + 1)))
        .route("/longest", get(async || "x".repeat(LONGEST_BODY)))
}

async fn plain() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, routes()).await.unwrap() });
    Target { address, task, folder: None }
}

/// The same over TLS; its authority is in `ca.crt`.
async fn encrypted() -> Target {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(Encrypted { listener, acceptor }, routes()).await.unwrap() });
    Target { address, task, folder: Some(folder) }
}

struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// The next connection on which the client believes the server.
    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn spec(url: String) -> HttpCheckSpec {
    let timeout = Some("20s".to_owned());
    HttpCheckSpec { name: "health".to_owned(), url, status: 200, timeout, ..HttpCheckSpec::default() }
}

/// What a check finds, without the address that differs from run to run.
async fn found(target: &Target, spec: &HttpCheckSpec) -> Result<String, String> {
    let [checked] = check_all(std::slice::from_ref(spec), "shop", Duration::ZERO).await.try_into().unwrap();
    let anonymous = |text: String| text.replace(&target.address.port().to_string(), "PORT");
    checked.found.map(anonymous).map_err(|wrong| match wrong {
        Wrong::Answer(text) => anonymous(text),
        Wrong::Asking(text) => format!("cannot ask: {}", anonymous(text)),
    })
}

#[tokio::test]
async fn answers_are_judged_by_code_and_expression() {
    let target = plain().await;
    let mut told = Vec::new();
    for (path, status, expression) in [
        ("/health", 200, None),
        ("/health", 200, Some("body.status == 'ok' && body.checks.all(c, c.up)")),
        ("/health", 200, Some("status == 200")),
        ("/health", 204, None),
        ("/health", 200, Some("body.status == 'down'")),
        ("/health", 200, Some("body.version == '2.3.0'")),
        ("/health", 200, Some("body.status")),
        ("/down", 200, None),
        ("/down", 503, Some("body.status == 'down'")),
        ("/text", 200, None),
        ("/text", 200, Some("body == 'fine'")),
        ("/nowhere", 200, None),
        ("/nowhere", 404, None),
        // A redirect is an answer like any other.
        ("/moved", 200, None),
        ("/moved", 308, None),
        ("/long", 200, None),
        ("/longest", 200, None),
        ("/{namespace}", 200, None),
    ] {
        let spec = HttpCheckSpec {
            status,
            expression: expression.map(str::to_owned),
            ..spec(format!("http://{}{path}", target.address))
        };
        let line = match found(&target, &spec).await {
            Ok(found) => format!("ok: {found}"),
            Err(found) => format!("NO: {found}"),
        };
        told.push(format!("{path} {status} {}\n  {line}", expression.unwrap_or("-")));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_request_that_failed_is_made_again_and_a_slow_one_ends() {
    let target = plain().await;
    let later = |retries| HttpCheckSpec { retries, ..spec(format!("http://{}/later", target.address)) };
    assert!(found(&target, &later(1)).await.unwrap_err().contains("answered 503"));
    // Two were made: the third is well.
    assert_eq!(found(&target, &later(0)).await.unwrap(), "answered 200");

    let never = HttpCheckSpec { timeout: Some("50ms".to_owned()), ..spec(format!("http://{}/never", target.address)) };
    assert_eq!(found(&target, &never).await.unwrap_err(), "http://127.0.0.1:PORT/never: no answer within 0.05 s");
}

#[tokio::test]
async fn only_who_is_trusted_is_believed() {
    let target = encrypted().await;
    let authority = target.folder.as_ref().unwrap().path().join("ca.crt").display().to_string();
    let url = format!("https://localhost:{}/health", target.address.port());
    let trusting =
        |file: Option<&str>, url: &str| HttpCheckSpec { ca_file: file.map(str::to_owned), ..spec(url.to_owned()) };
    assert_eq!(found(&target, &trusting(Some(&authority), &url)).await.unwrap(), "answered 200");
    // Nobody else vouches for it, and it is nobody else.
    let other = encrypted().await;
    let stranger = other.folder.as_ref().unwrap().path().join("ca.crt").display().to_string();
    let error = found(&target, &trusting(Some(&stranger), &url)).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let by_address = format!("https://{}/health", target.address);
    let error = found(&target, &trusting(Some(&authority), &by_address)).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert!(found(&target, &trusting(None, &url)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_asked_says_why() {
    let target = plain().await;
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (edit, expected) in [
        (HttpCheckSpec { url: "http://".into(), ..spec(String::new()) }, "cannot ask: http:// is no URL"),
        (HttpCheckSpec { url: "ftp://x/".into(), ..spec(String::new()) }, "cannot ask: ftp://x/ is no URL of http"),
        (HttpCheckSpec { expression: Some("1 +".into()), ..spec("http://x/".into()) }, "cannot ask: '1 +'"),
        (
            HttpCheckSpec { ca_file: Some("/no/such".into()), ..spec("https://x/".into()) },
            "cannot ask: cannot read caFile /no/such",
        ),
        (
            HttpCheckSpec { ca_file: Some(empty.path().display().to_string()), ..spec("https://x/".into()) },
            "cannot ask: cannot read caFile",
        ),
    ] {
        let error = found(&target, &edit).await.unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    assert!(found(&target, &spec(url)).await.unwrap_err().contains("refused"));
}
