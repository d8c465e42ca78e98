//! HTTP requests to what was upgraded, and whether they are answered as a policy says.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::http::{Request, Uri, header};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use serde_json::{Value, json};

use super::cel::Expression;
use crate::api::{HttpCheckSpec, duration};

/// The longest answer that is read, in bytes.
pub const LONGEST_BODY: usize = 1024 * 1024;
/// How long one request may take where the policy does not say.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The check's name in the policy.
    pub name: String,
    /// What was found: as it should be, or not.
    pub found: Result<String, Wrong>,
}

/// Why a check does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The answer is another than it should be, or there is none.
    #[error("{0}")]
    Answer(String),
    /// The request could not be made.
    #[error("{0}")]
    Asking(String),
}

/// Makes all requests of `checks` for the install in `namespace`, at the same time; `pause` is the time before the first
/// repetition, which doubles with each. In the order of the policy.
pub async fn check_all(checks: &[HttpCheckSpec], namespace: &str, pause: Duration) -> Vec<Checked> {
    join_all(checks.iter().map(|spec| check(spec, namespace, pause))).await
}

async fn check(spec: &HttpCheckSpec, namespace: &str, pause: Duration) -> Checked {
    let found = match Asker::new(spec, namespace) {
        Ok(asker) => asker.until_right(spec.retries, pause).await,
        Err(wrong) => Err(Wrong::Asking(wrong)),
    };
    Checked { name: spec.name.clone(), found }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// One check, ready to be made.
struct Asker {
    uri: Uri,
    /// What the answer should be.
    status: u16,
    expression: Option<Expression>,
    timeout: Duration,
    /// One for each set of authorities to trust: the policy's file, then those of the system.
    clients: Vec<HttpClient>,
}

/// What a server answered.
struct Answer {
    status: u16,
    body: Bytes,
}

impl Asker {
    fn new(spec: &HttpCheckSpec, namespace: &str) -> Result<Self, String> {
        let url = spec.url.replace("{namespace}", namespace);
        let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(format!("{url} is no URL of http or https with a host"));
        }
        let expression = spec.expression.as_deref().map(Expression::compile).transpose();
        let timeout = match &spec.timeout {
            Some(text) => duration(text)?.unsigned_abs(),
            None => TIMEOUT,
        };
        Ok(Self {
            clients: clients(uri.scheme_str() == Some("https"), spec.ca_file.as_deref().map(Path::new))?,
            uri,
            status: u16::try_from(spec.status).map_err(|_| format!("{} is no status code", spec.status))?,
            expression: expression.map_err(|error| error.to_string())?,
            timeout,
        })
    }

    /// Asks until the answer is right, and at most `retries` times more.
    async fn until_right(&self, retries: i32, first_pause: Duration) -> Result<String, Wrong> {
        let mut pause = first_pause;
        let mut left = retries.max(0);
        loop {
            match self.ask().await.and_then(|answer| self.judged(&answer)) {
                Ok(found) => return Ok(found),
                Err(wrong) if left == 0 => return Err(Wrong::Answer(format!("{}: {wrong}", self.uri))),
                Err(_) => {
                    left -= 1;
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn ask(&self) -> Result<Answer, String> {
        let mut last = String::new();
        for client in &self.clients {
            match tokio::time::timeout(self.timeout, get(client, &self.uri)).await {
                Err(_) => return Err(format!("no answer within {} s", self.timeout.as_secs_f32())),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    last = chain(error.as_ref());
                    // Only a certificate that these authorities did not sign may be one that others did.
                    if !is_distrust(error.as_ref()) {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    /// Whether the answer is as it should be; either way what was found.
    fn judged(&self, answer: &Answer) -> Result<String, String> {
        if answer.status != self.status {
            return Err(format!("answered {}, wanted {}", answer.status, self.status));
        }
        let Some(expression) = &self.expression else { return Ok(format!("answered {}", answer.status)) };
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("answered {} with a body that is no JSON: {error}", answer.status))?;
        match expression.holds(&[("body", &body), ("status", &json!(answer.status))]) {
            Ok(true) => Ok(format!("answered {}, and the expression holds", answer.status)),
            Ok(false) => Err(format!("answered {}, but the expression does not hold", answer.status)),
            Err(error) => Err(format!("answered {}, but {error}", answer.status)),
        }
    }
}

/// `GET`, without following redirects: what answers elsewhere is not what was asked for.
async fn get(client: &HttpClient, uri: &Uri) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    let agent = concat!("upgrade-guard/", env!("CARGO_PKG_VERSION"));
    let request = Request::get(uri.clone()).header(header::USER_AGENT, agent).header(header::ACCEPT, "*/*");
    let response = client.request(request.body(Empty::new())?).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            format!("the answer is longer than {LONGEST_BODY} bytes").into()
        } else {
            error
        }
    })?;
    Ok(Answer { status, body: body.to_bytes() })
}

fn clients(encrypted: bool, authorities: Option<&Path>) -> Result<Vec<HttpClient>, String> {
    let configs = match (encrypted, authorities) {
        (false, _) => vec![trusting(RootCertStore::empty()).map_err(|error| error.to_string())?],
        (true, None) => vec![of_system().map_err(|error| {
            format!("the system has no certificate authorities ({error}): name a file with caFile")
        })?],
        // A system without authorities is no trouble then.
        (true, Some(file)) => [Some(of_file(file)?), of_system().ok()].into_iter().flatten().collect(),
    };
    let client = |config| {
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        // Each request on a connection of its own: what is asked is whether there is one.
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
    };
    Ok(configs.into_iter().map(client).collect())
}

fn builder() -> io::Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(io::Error::other)
}

fn trusting(roots: RootCertStore) -> io::Result<ClientConfig> {
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

fn of_system() -> io::Result<ClientConfig> {
    Ok(builder()?.with_native_roots()?.with_no_client_auth())
}

fn of_file(file: &Path) -> Result<ClientConfig, String> {
    let told = |error: &dyn std::fmt::Display| format!("cannot read caFile {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| told(&error))? {
        roots.add(certificate.map_err(|error| told(&error))?).map_err(|error| told(&error))?;
    }
    if roots.is_empty() {
        return Err(told(&"it holds no certificate"));
    }
    trusting(roots).map_err(|error| told(&error))
}

/// Every error in the chain, once.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // An I/O error shows what is inside of it and does not count it as its source.
    let next = |error: &&'a (dyn Error + 'static)| match (*error).downcast_ref::<io::Error>() {
        Some(wrapped) => wrapped.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => (*error).source(),
    };
    std::iter::successors(Some(error), next)
}

fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests;
