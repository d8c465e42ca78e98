//! Asks the guard as the API server does: an `AdmissionReview` over HTTPS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use kube::core::DynamicObject;
use kube::core::admission::AdmissionReview;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::admission::registration::VALIDATE;
use crate::domain::decision::Verdict;

/// What the guard said.
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) verdict: Verdict,
    /// What the first reason says and found.
    pub(super) reason: String,
    /// What to do instead.
    pub(super) remedy: String,
    pub(super) warnings: Vec<String>,
}

/// A client of one guard.
pub(super) struct Reviewer {
    address: String,
    tls: TlsConnector,
}

impl Reviewer {
    /// A client that trusts the CA certificates in `authority` alone.
    pub(super) fn new(address: &str, authority: &Path) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let read = || format!("cannot read {}", authority.display());
        for certificate in CertificateDer::pem_file_iter(authority).with_context(read)? {
            roots.add(certificate.with_context(read)?).with_context(read)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address: address.to_owned(), tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends one review and reads the answer.
    pub(super) async fn ask(&self, review: &Value) -> anyhow::Result<Answer> {
        let asked = || format!("cannot ask the guard at {}", self.address);
        let stream = TcpStream::connect(&self.address).await.with_context(asked)?;
        let name = ServerName::try_from("127.0.0.1").context("the address as a server name")?;
        let stream = self.tls.connect(name, stream).await.with_context(asked)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(asked)?;
        let request = Request::post(VALIDATE)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(review)?)))?;
        let (response, _) = tokio::join!(
            async {
                let response = sender.send_request(request).await?;
                let status = response.status();
                // Without a sender the connection ends by itself.
                drop(sender);
                Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
            },
            connection
        );
        let (status, body) = response.with_context(asked)?;
        ensure!(status.is_success(), "the guard answered {status}: {}", String::from_utf8_lossy(&body));
        read(&body)
    }
}

fn read(body: &[u8]) -> anyhow::Result<Answer> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).context("cannot read the guard's answer")?;
    let response = review.response.context("the guard's answer holds no response")?;
    let verdict = match response.audit_annotations.get("verdict").map(String::as_str) {
        Some("NotYet") => Verdict::NotYet,
        Some("Never") => Verdict::Never,
        _ if response.allowed => Verdict::Allow,
        _ => Verdict::Never,
    };
    let note = |key: &str| response.audit_annotations.get(key).cloned().unwrap_or_default();
    Ok(Answer {
        allowed: response.allowed,
        verdict,
        // The denial is one line; its parts stand in the audit annotations.
        reason: note("reason"),
        remedy: note("remedy"),
        warnings: response.warnings.unwrap_or_default(),
    })
}
