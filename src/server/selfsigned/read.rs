//! What the contents of the Secret are worth at a time.

use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::Contents;
use super::plan::{Reason, Wanted};
use crate::server::certificates::{Pair, Unusable};
use crate::server::trust::trusted_until;

/// The common name of the guard's authorities; another one's is foreign.
pub(super) const AUTHORITY_NAME: &str = "upgrade-guard CA";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// One authority of the guard.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// As it stands in the bundle, with a newline.
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
    /// Its public key (`SubjectPublicKeyInfo`, DER).
    public: Vec<u8>,
    not_before: i64,
    pub(super) not_after: i64,
}

/// What the contents are worth.
#[derive(Debug)]
pub(super) struct Reading {
    /// The authorities that must stay in the bundle.
    pub(super) kept: Vec<Authority>,
    /// Why the rest of the bundle, or a key, does not stay.
    pub(super) untidy: Option<Reason>,
    /// Which of `kept` signs.
    pub(super) signing: Option<usize>,
    /// Which of `kept` signs next.
    pub(super) next: Option<usize>,
    /// Until when the leaf can be served, in Unix seconds, or why it cannot.
    pub(super) leaf: Result<i64, Reason>,
}

impl Reading {
    pub(super) fn of(contents: &Contents, wanted: &Wanted<'_>, now: i64) -> Self {
        let (kept, mut untidy) = authorities(&contents.bundle, wanted.lifetimes.skew, now);
        let signs = |key: &[u8]| {
            let key = read_key(key)?;
            let public = key.subject_public_key_info();
            kept.iter().position(|authority| authority.public == public && authority.is_valid(now))
        };
        let (signing, next) = (signs(&contents.authority_key), signs(&contents.next_key));
        if next.is_none() && !contents.next_key.is_empty() {
            untidy = untidy.or(Some(Reason::Unreadable));
        }
        let leaf = leaf(contents, &kept, wanted.names, now);
        Self { kept, untidy, signing, next, leaf }
    }

    /// The authority that signs.
    pub(super) fn signing(&self) -> Option<&Authority> {
        self.kept.get(self.signing?)
    }

    /// The authority that signs next.
    pub(super) fn next(&self) -> Option<&Authority> {
        self.kept.get(self.next?)
    }

    /// The bundle as it should be written.
    pub(super) fn bundle(&self) -> String {
        self.kept.iter().map(|authority| authority.pem.as_str()).collect()
    }
}

impl Authority {
    fn is_valid(&self, now: i64) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Reads one certificate, or says why it is none of the guard's authorities.
    fn read(pem: &str) -> Result<Self, Reason> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_not_pem| Reason::Unreadable)?;
        let (rest, parsed) = parse_x509_certificate(&der).map_err(|_not_der| Reason::Unreadable)?;
        if !rest.is_empty() {
            return Err(Reason::Unreadable);
        }
        let named = parsed.subject().iter_common_name().any(|name| name.as_str() == Ok(AUTHORITY_NAME));
        let self_issued = parsed.subject() == parsed.issuer();
        if !(named && self_issued && parsed.is_ca()) {
            return Err(Reason::Foreign);
        }
        let (public, validity) = (parsed.public_key().raw.to_vec(), parsed.validity());
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(Self { pem: format!("{pem}\n"), public, not_before, not_after, der: der.clone() })
    }
}

/// Reads a private key; `None` where it is none.
pub(super) fn read_key(pem: &[u8]) -> Option<KeyPair> {
    KeyPair::from_pem(std::str::from_utf8(pem).ok()?).ok()
}

/// The guard's authorities that are still of use, and why something else does not stay.
fn authorities(bundle: &[u8], skew: i64, now: i64) -> (Vec<Authority>, Option<Reason>) {
    let (mut kept, mut untidy) = (Vec::<Authority>::new(), None);
    let text = String::from_utf8_lossy(bundle);
    for piece in pieces(&text) {
        let authority = match Authority::read(piece) {
            Ok(authority) => authority,
            Err(reason) => {
                untidy = untidy.or(Some(reason));
                continue;
            }
        };
        if authority.not_after.saturating_add(skew) <= now {
            untidy = untidy.or(Some(Reason::Expired));
        } else if authority.not_before > now {
            untidy = untidy.or(Some(Reason::NotYetValid));
        } else if kept.iter().all(|known| known.der != authority.der) {
            kept.push(authority);
        }
    }
    let written: String = kept.iter().map(|authority| authority.pem.as_str()).collect();
    // Comments, other newlines, a certificate twice: harmless, and yet not what was written.
    let untidy = untidy.or_else(|| (written.as_bytes() != bundle).then_some(Reason::Unreadable));
    (kept, untidy)
}

/// The certificates of a PEM text, each from its first to its last dash.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(start, _)| {
        let length = text[start..].find(END)? + END.len();
        Some(&text[start..start + length])
    })
}

fn leaf(contents: &Contents, kept: &[Authority], names: &[String], now: i64) -> Result<i64, Reason> {
    if contents.chain.is_empty() || contents.key.is_empty() {
        return Err(Reason::Missing);
    }
    let pair = Pair::read(&contents.chain, &contents.key).map_err(|unusable| match unusable {
        Unusable::Chain(_) | Unusable::Key => Reason::Unreadable,
        Unusable::Mismatch => Reason::Mismatched,
    })?;
    if pair.not_after <= now {
        return Err(Reason::Expired);
    }
    if pair.not_before > now {
        return Err(Reason::NotYetValid);
    }
    let trusted: Vec<_> = kept.iter().map(|authority| authority.der.clone()).collect();
    match trusted_until(&trusted, pair.chain(), names, now) {
        Ok(_) => Ok(pair.not_after),
        Err(why) => Err(if why.names { Reason::Names } else { Reason::Foreign }),
    }
}
