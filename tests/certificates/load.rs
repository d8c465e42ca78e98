//! Reviews without pause: several at once through the API server, each round over new connections, and a handshake with
//! each replica by the bundle that the API server has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::ParsedExtension;
use x509_parser::parse_x509_certificate;

use crate::scene::Scene;
use crate::support::wait::eventually;

/// How many reviews are under way at once.
const AT_ONCE: usize = 8;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    stop: AtomicBool,
    rounds: AtomicUsize,
    reviews: AtomicUsize,
    handshakes: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// The leaves that were served, and the key identifiers of the authorities that had signed them.
    served: Mutex<[BTreeSet<Vec<u8>>; 2]>,
    replicas: Mutex<Vec<String>>,
}

impl Tally {
    /// How many leaves and how many authorities were seen.
    pub(crate) fn served(&self) -> (usize, usize) {
        let [leaves, authorities] = &*self.served.lock();
        (leaves.len(), authorities.len())
    }

    /// Waits until `count` more rounds have passed as a whole.
    pub(crate) async fn rounds(&self, count: usize) -> Result<()> {
        // The one under way may have begun before.
        let until = self.rounds.load(Ordering::Relaxed) + count + 1;
        eventually("more rounds", async || {
            let rounds = self.rounds.load(Ordering::Relaxed);
            Ok(if rounds >= until { Ok(()) } else { Err(rounds) })
        })
        .await
    }

    /// Handshakes are made with these.
    pub(crate) fn watch(&self, replicas: &[&str]) {
        *self.replicas.lock() = replicas.iter().map(|address| (*address).to_owned()).collect();
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) {
        self.failures.lock().push(format!("round {}: {what}: {error}", self.rounds.load(Ordering::Relaxed)));
    }
}

/// Runs `body` under load, which makes handshakes with the replicas that it names; nothing may have failed then.
pub(crate) async fn under_load(scene: &Scene, body: impl AsyncFnOnce(&Tally) -> Result<()>) -> Result<String> {
    let tally = Arc::new(Tally::default());
    let failed_before = scene.failed_calls().await?;
    let connections = scene.forwarder.connections();
    let work = async {
        let done = body(&tally).await;
        tally.stop.store(true, Ordering::Relaxed);
        done
    };
    let (load, done) = tokio::join!(rounds(scene, &tally), work);
    let failures = tally.failures.lock().clone();
    ensure!(failures.is_empty(), "{} failed, first {:?}; then {:?}", failures.len(), failures[0], failures.last());
    done?;
    load?;
    ensure!(scene.failed_calls().await? == failed_before, "the API server counted: {:?}", scene.failed_calls().await?);
    let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
    let (leaves, authorities) = tally.served();
    Ok(format!(
        "{} reviews in {} rounds over {} connections, {} more handshakes, {leaves} leaves by {authorities} authorities: \
         0 failed",
        count(&tally.reviews),
        count(&tally.rounds),
        scene.forwarder.connections() - connections,
        count(&tally.handshakes),
    ))
}

async fn rounds(scene: &Scene, tally: &Tally) -> Result<()> {
    while !tally.stop.load(Ordering::Relaxed) {
        let first = tally.reviews.fetch_add(AT_ONCE, Ordering::Relaxed);
        for answer in join_all((first..first + AT_ONCE).map(|number| scene.review(number))).await {
            if let Err(error) = answer {
                tally.failed("a review", &error);
            }
        }
        // The bundle first: what is served now must be trusted by what was known before.
        let bundle = scene.bundles().await?.into_iter().next().context("a webhook")?;
        let replicas = tally.replicas.lock().clone();
        for replica in replicas {
            tally.handshakes.fetch_add(1, Ordering::Relaxed);
            match handshake(&bundle, &replica).await {
                Ok(leaf) => note(tally, &leaf)?,
                Err(error) => tally.failed("a handshake", &error),
            }
        }
        scene.forwarder.cut().await?;
        tally.rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn note(tally: &Tally, leaf: &CertificateDer<'_>) -> Result<()> {
    let (_, parsed) = parse_x509_certificate(leaf)?;
    let signer = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => Some(found.key_identifier.as_ref()?.0.to_vec()),
        _ => None,
    });
    let [leaves, authorities] = &mut *tally.served.lock();
    leaves.insert(leaf.to_vec());
    authorities.insert(signer.context("an authority key identifier")?);
    Ok(())
}

/// A new TLS connection by this bundle; gives the leaf that was served.
pub(crate) async fn handshake(bundle: &[u8], address: &str) -> Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(bundle) {
        roots.add(authority?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let presented = stream.get_ref().1.peer_certificates().context("a certificate")?;
    Ok(presented.first().context("a leaf")?.clone().into_owned())
}
