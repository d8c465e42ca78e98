//! The clock on the wall jumps, forward and back: what stands in the Secret follows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::watch;
use upgrade_guard::server::certificates::ServingCertificate;
use upgrade_guard::server::metrics::Metrics;
use upgrade_guard::server::readiness::Readiness;
use upgrade_guard::server::selfsigned::{Lifetimes, Options, SelfSigned};
use upgrade_guard::server::trust::{Live, Seen};
use x509_parser::parse_x509_certificate;

use crate::support::cluster::{Cluster, Shape};
use crate::support::wait::eventually;

/// The time that the test begins at.
const BEGAN: i64 = 1_900_000_000;
const LIFE: Lifetimes = Lifetimes { authority: 600, leaf: 20, skew: 5 };

fn is_valid(certificate: &CertificateDer<'_>, now: i64) -> bool {
    let (_, parsed) = parse_x509_certificate(certificate).unwrap();
    parsed.validity().not_before.timestamp() <= now && now < parsed.validity().not_after.timestamp()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_follow_a_clock_that_jumps() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let namespace = cluster.namespace("clock").await?;
    let now = Arc::new(AtomicI64::new(BEGAN));
    let clock = Arc::clone(&now);
    let mut options = Options::new(namespace.name.clone(), &[]);
    options.lifetimes = LIFE;
    options.settle = Duration::from_millis(100);
    options.clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let (readiness, metrics, serving) = (Readiness::new(), Metrics::new(), ServingCertificate::default());
    let mut nobody = Live::unknown(&["ValidatingWebhookConfiguration"]);
    nobody.note("ValidatingWebhookConfiguration", Seen::Absent);
    let (_live, live) = watch::channel(nobody);
    let gate = readiness.gate("certificate loaded");
    let own = SelfSigned::new(cluster.client().await?, options, serving.clone(), (gate, metrics.clone()), live);
    let bundle = own.bundle();
    let keeping = tokio::spawn(own.keep());
    readiness.ready().await;

    // To where the leaf is due, the authority is due, all has expired, and then far back and forth.
    for jump in [0, 15, 400, 10_000, -20_000, -3000, 3000, 1_000_000] {
        let before = serving.chain();
        let at = now.fetch_add(jump, Ordering::Relaxed) + jump;
        eventually(&format!("what is valid after {jump}"), async || {
            let leaf = serving.chain();
            let trusted = bundle.read().await?.unwrap_or_default();
            let trusted: Vec<_> = CertificateDer::pem_slice_iter(&trusted).collect::<Result<_, _>>()?;
            let good = is_valid(&leaf[0], at) && trusted.iter().any(|authority| is_valid(authority, at));
            // Small jumps leave what is backdated valid; all others need another leaf.
            let another = leaf != before || matches!(jump, 0 | -3000 | 3000);
            let rotated = jump != 400 || metrics.render()?.contains("sign-with-next");
            Ok(if good && another && rotated { Ok(()) } else { Err((good, another, rotated)) })
        })
        .await?;
        assert!(readiness.is_ready(), "it serves throughout");
    }
    let text = metrics.render()?;
    for wanted in [
        r#"{reason="missing",step="anew"} 1"#,
        r#"{reason="due",step="next-authority"}"#,
        r#"{reason="announced",step="sign-with-next"}"#,
        r#"{reason="not-yet-valid""#,
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    keeping.abort();
    cluster.stop().await
}
