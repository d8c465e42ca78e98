//! Whether those who call the guard trust the certificate that it serves, looked at from inside.
//!
//! A probe of the kubelet proves nothing about it, and a wrong `caBundle` looks like an outage from outside. So the
//! chain that is served is verified against the bundle of the guard's own webhook configurations, for the name that the
//! API server calls, as the API server does it. That decides on readiness once: [`TRUST_GATE`] opens when every
//! configuration that is there trusts what is served. Where there is none yet, nobody calls, and the gate opens too: a
//! configuration is commonly applied after the pods that it calls, and an installer that waits for ready pods first
//! would wait for ever. Once open it stays open. A bundle that is wiped later is repaired, and told by a metric; were
//! all replicas to leave the Service for it, reviews would fail just the same, and the repair would not be quicker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use rustls::{CertificateError, RootCertStore};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use x509_parser::parse_x509_certificate;

use super::certificates::{ServingCertificate, unix_now};
use super::metrics::Metrics;
use super::readiness::Gate;
use super::tls;

/// The name of the gate that opens when the served certificate is trusted.
pub const TRUST_GATE: &str = "certificate trusted";

/// How often it is looked at when nothing changes: certificates expire by themselves.
const LOOK: Duration = Duration::from_secs(10);

/// What is known of the guard's webhook configurations, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live(BTreeMap<&'static str, Seen>);

/// What is known of one webhook configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nobody could look yet, for this reason.
    Unknown(String),
    /// This process has no right to look, for this reason.
    Forbidden(String),
    /// It is not there.
    Absent,
    /// How each of its webhooks is called.
    Called(Vec<Called>),
}

/// How one webhook is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The name that the certificate is verified for.
    pub host: String,
    /// The `caBundle`, PEM; empty where there is none.
    pub bundle: Vec<u8>,
}

/// Whether the live configurations trust a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every webhook that is there trusts it, for so long: when the last of the authorities that it is trusted by
    /// expires, in Unix seconds.
    Trusted(i64),
    /// There is no webhook yet.
    NobodyCalls,
    /// It cannot be told yet, for this reason.
    Unknown(String),
    /// It cannot be told, for want of rights.
    Forbidden(String),
    /// A webhook has no `caBundle`: the API server goes by the authorities of its own system.
    NoBundle(String),
    /// A webhook does not trust it, for this reason.
    Untrusted(String),
}

impl Live {
    /// Nothing is known of the configurations of these kinds.
    #[must_use]
    pub fn unknown(kinds: &[&'static str]) -> Self {
        Self(kinds.iter().map(|kind| (*kind, Seen::Unknown("it was not looked at yet".to_owned()))).collect())
    }

    /// Notes what was seen of a kind; tells whether that is news.
    pub fn note(&mut self, kind: &'static str, seen: Seen) -> bool {
        self.0.insert(kind, seen.clone()) != Some(seen)
    }

    /// Notes that a kind could not be looked at, for want of rights or for now. What was seen before stays known.
    pub fn note_failure(&mut self, kind: &'static str, why: String, forbidden: bool) -> bool {
        let known = self.0.get(kind).is_some_and(|seen| matches!(seen, Seen::Absent | Seen::Called(_)));
        !known && self.note(kind, if forbidden { Seen::Forbidden(why) } else { Seen::Unknown(why) })
    }

    /// Whether every webhook that is there trusts this authority. `false` as long as one kind is unknown.
    #[must_use]
    pub fn trusts(&self, authority: &CertificateDer<'_>) -> bool {
        self.0.values().all(|seen| match seen {
            Seen::Unknown(_) | Seen::Forbidden(_) => false,
            Seen::Absent => true,
            Seen::Called(webhooks) => {
                webhooks.iter().all(|called| certificates(&called.bundle).any(|found| found == *authority))
            }
        })
    }

    /// Judges a chain, leaf first, at `now` in Unix seconds.
    #[must_use]
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: i64) -> Verdict {
        let mut until = None;
        for (kind, seen) in &self.0 {
            let webhooks = match seen {
                Seen::Unknown(why) => return Verdict::Unknown(format!("{kind}: {why}")),
                Seen::Forbidden(why) => return Verdict::Forbidden(format!("{kind}: {why}")),
                Seen::Absent => continue,
                Seen::Called(webhooks) => webhooks,
            };
            for called in webhooks {
                if called.bundle.is_empty() {
                    return Verdict::NoBundle(format!("the {kind} has no caBundle"));
                }
                match called.trusted_until(chain, now) {
                    Ok(end) => until = Some(until.map_or(end, |until: i64| until.min(end))),
                    Err(why) => return Verdict::Untrusted(format!("the caBundle of the {kind}: {why}")),
                }
            }
        }
        until.map_or(Verdict::NobodyCalls, Verdict::Trusted)
    }
}

impl Called {
    fn trusted_until(&self, chain: &[CertificateDer<'_>], now: i64) -> Result<i64, String> {
        let authorities: Vec<_> = certificates(&self.bundle).collect();
        let names = std::slice::from_ref(&self.host);
        trusted_until(&authorities, chain, names, now)
            .map_err(|error| format!("it does not verify what is served for {}: {error}", self.host))
    }
}

/// Tells until when an authority among `authorities` stands for `chain`, leaf first, under all of `names`: the last such
/// moment, in Unix seconds.
///
/// As in Go, which API servers are written in, an authority counts only while it is valid itself.
///
/// # Errors
/// None of them does at `now`, with the reason of the last one, or there is none, or no name.
pub(super) fn trusted_until(
    authorities: &[CertificateDer<'_>],
    chain: &[CertificateDer<'_>],
    names: &[String],
    now: i64,
) -> Result<i64, Distrust> {
    let mut why = Distrust { names: false, text: "no authority in it is valid now".to_owned() };
    let mut until = None;
    for authority in authorities {
        let Ok((_, parsed)) = parse_x509_certificate(authority) else { continue };
        let (begin, end) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        if now < begin || end < now {
            continue;
        }
        match verify(authority, chain, names, now) {
            Ok(()) => until = until.max(Some(end)),
            Err(error) => why = error,
        }
    }
    until.ok_or(why)
}

/// Why a chain is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Distrust {
    /// Only for the names that it is valid for.
    pub(super) names: bool,
    text: String,
}

impl Distrust {
    fn because(error: impl std::fmt::Display) -> Self {
        Self { names: false, text: error.to_string() }
    }
}

fn verify(
    authority: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    names: &[String],
    now: i64,
) -> Result<(), Distrust> {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    let Some((leaf, intermediates)) = chain.split_first().filter(|_| !names.is_empty()) else {
        return Err(Distrust::because("there is no certificate, or no name"));
    };
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned()).map_err(Distrust::because)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider());
    let verifier = verifier.build().map_err(Distrust::because)?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    for name in names {
        let name = ServerName::try_from(name.as_str()).map_err(Distrust::because)?;
        verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map_err(|error| Distrust {
            names: matches!(error, rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })),
            text: error.to_string(),
        })?;
    }
    Ok(())
}

/// The certificates of a PEM text, as far as they can be read.
pub(super) fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> + '_ {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

/// Judges what `serving` serves by `live` whenever one of them changes, for ever: opens `gate` once, and keeps the
/// metrics. With `ours` nothing but this process writes the bundle; where others do, a configuration without a bundle,
/// or one that must not be looked at, is their business and keeps nobody from being ready.
pub async fn watch(
    mut live: watch::Receiver<Live>,
    serving: ServingCertificate,
    gate: Gate,
    ours: bool,
    metrics: Metrics,
) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut swapped, mut opened, mut told) = (serving.swapped(), false, None);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = live.changed() => {}
            Ok(()) = swapped.changed() => {}
        }
        let verdict = live.borrow_and_update().judge(&serving.chain(), unix_now());
        metrics.bundle_trusted(matches!(verdict, Verdict::Trusted(_)));
        if let Verdict::Trusted(until) = verdict {
            metrics.authority_not_after(until);
        }
        if told.as_ref() != Some(&verdict) {
            if let Verdict::NoBundle(why) | Verdict::Untrusted(why) = &verdict {
                tracing::warn!(why, "the API server cannot trust the serving certificate");
            }
            told = Some(verdict.clone());
        }
        if opened {
            continue;
        }
        match verdict {
            Verdict::Trusted(_) | Verdict::NobodyCalls => opened = true,
            Verdict::NoBundle(_) | Verdict::Forbidden(_) if !ours => opened = true,
            Verdict::NoBundle(why) | Verdict::Untrusted(why) | Verdict::Unknown(why) | Verdict::Forbidden(why) => {
                gate.close(why);
            }
        }
        if opened {
            gate.open();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::devcert::DevelopmentCertificate;
    use crate::server::readiness::Readiness;

    const BOTH: [&str; 2] = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

    fn made() -> DevelopmentCertificate {
        DevelopmentCertificate::make(&["guard.ns.svc".to_owned()], 1).expect("a certificate")
    }

    fn called(host: &str, bundle: &str) -> Seen {
        Seen::Called(vec![Called { host: host.to_owned(), bundle: bundle.as_bytes().to_vec() }])
    }

    fn live(seen: [Seen; 2]) -> Live {
        let mut live = Live::unknown(&BOTH);
        for (kind, seen) in BOTH.into_iter().zip(seen) {
            live.note(kind, seen);
        }
        live
    }

    #[test]
    fn what_is_served_is_judged_by_what_is_live() {
        let (mine, other) = (made(), made());
        let both = mine.authority.clone() + &other.authority;
        let trusting = |bundle: &str| called("guard.ns.svc", bundle);
        let unknown = || Seen::Unknown("refused".to_owned());
        let rows = [
            ("both", [trusting(&mine.authority), trusting(&mine.authority)], "Trusted"),
            ("among others", [trusting(&both), trusting(&mine.authority)], "Trusted"),
            ("with rubbish", [trusting(&format!("rubbish\n{both}")), Seen::Absent], "Trusted"),
            ("one is missing", [Seen::Absent, trusting(&mine.authority)], "Trusted"),
            ("none", [Seen::Absent, Seen::Absent], "NobodyCalls"),
            ("no webhooks", [Seen::Called(vec![]), Seen::Absent], "NobodyCalls"),
            ("another authority", [trusting(&mine.authority), trusting(&other.authority)], "Untrusted"),
            ("another name", [called("guard.other.svc", &mine.authority), Seen::Absent], "Untrusted"),
            ("rubbish", [trusting("rubbish"), Seen::Absent], "Untrusted"),
            ("empty", [trusting(""), trusting(&mine.authority)], "NoBundle"),
            ("unknown", [trusting(&mine.authority), unknown()], "Unknown"),
            ("forbidden", [trusting(&mine.authority), Seen::Forbidden("403".to_owned())], "Forbidden"),
        ];
        let chain: Vec<_> = certificates(mine.chain.as_bytes()).collect();
        for (name, seen, wanted) in rows {
            let verdict = live(seen).judge(&chain, unix_now());
            assert!(format!("{verdict:?}").starts_with(wanted), "{name}: {verdict:?}");
        }
        let trusting = live([trusting(&mine.authority), Seen::Absent]);
        for (name, now) in [("expired", unix_now() + 90_000), ("not yet valid", unix_now() - 7200), ("odd", i64::MIN)] {
            let verdict = trusting.judge(&chain, now);
            assert!(matches!(verdict, Verdict::Untrusted(_)), "{name}: {verdict:?}");
        }
        assert!(matches!(trusting.judge(&[], unix_now()), Verdict::Untrusted(_)));
    }

    #[test]
    fn a_failed_look_forgets_nothing() {
        let mut live = Live::unknown(&BOTH);
        assert!(live.note_failure(BOTH[0], "403".to_owned(), true));
        assert!(live.note(BOTH[0], Seen::Absent));
        assert!(!live.note_failure(BOTH[0], "500".to_owned(), false));
        assert!(!live.note(BOTH[0], Seen::Absent), "no news");
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("in time");
    }

    #[tokio::test]
    async fn the_gate_opens_once_and_stays_open() {
        let (mine, other) = (made(), made());
        let serving = ServingCertificate::default();
        serving.serve(mine.chain.as_bytes(), mine.key.as_bytes()).expect("usable");
        for ours in [true, false] {
            let (readiness, metrics) = (Readiness::new(), Metrics::new());
            let (sender, receiver) = watch::channel(Live::unknown(&BOTH));
            let gate = readiness.gate(TRUST_GATE);
            let task = tokio::spawn(super::watch(receiver, serving.clone(), gate, ours, metrics.clone()));
            let says = |text: &str| readiness.not_ready().iter().any(|gate| gate.reason.contains(text));
            let shows = |number: u8| metrics.render().expect("text").contains(&format!("_trusted {number}\n"));
            let wrong = || live([called("guard.ns.svc", &other.authority), Seen::Absent]);
            until(|| says("not looked at yet")).await;
            sender.send_replace(wrong());
            until(|| says("does not verify")).await;
            sender.send_replace(live([called("guard.ns.svc", &mine.authority), Seen::Absent]));
            until(|| readiness.is_ready() && shows(1)).await;
            sender.send_replace(wrong());
            until(|| shows(0)).await;
            assert!(readiness.is_ready(), "it stays ready");
            task.abort();
        }
    }

    #[tokio::test]
    async fn what_others_write_or_hide_keeps_nobody_from_being_ready() {
        for (seen, ours, opens) in [
            (called("guard.ns.svc", ""), false, true),
            (called("guard.ns.svc", ""), true, false),
            (Seen::Forbidden("403".to_owned()), false, true),
            (Seen::Forbidden("403".to_owned()), true, false),
            (Seen::Unknown("refused".to_owned()), false, false),
            (Seen::Absent, true, true),
        ] {
            let readiness = Readiness::new();
            let (_sender, receiver) = watch::channel(live([seen.clone(), Seen::Absent]));
            let gate = readiness.gate(TRUST_GATE);
            let serving = ServingCertificate::default();
            let task = tokio::spawn(super::watch(receiver, serving, gate, ours, Metrics::new()));
            let first = readiness.not_ready();
            until(|| readiness.not_ready() != first).await;
            assert_eq!(readiness.is_ready(), opens, "{seen:?}, ours: {ours}");
            task.abort();
        }
    }
}
