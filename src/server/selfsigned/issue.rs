//! Makes what a step writes.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::Contents;
use super::plan::{Step, Wanted};
use super::read::{AUTHORITY_NAME, Authority, Reading, read_key};

/// How far validity reaches into the past, for clients whose clock is behind.
const BACKDATED: i64 = 3600;
/// The year 9999: later moments cannot be written.
const LATEST: i64 = 253_370_764_800;

/// Gives what `step` writes in place of `contents`, or `None` where it writes nothing.
///
/// # Errors
/// A name is neither a DNS name nor an address, or the operating system gives no random numbers.
pub(super) fn contents(
    step: Step,
    contents: &Contents,
    remembered: Option<&Contents>,
    wanted: &Wanted<'_>,
    now: i64,
) -> Result<Option<Contents>, rcgen::Error> {
    let reading = Reading::of(contents, wanted, now);
    let mut made = Contents { bundle: reading.bundle().into_bytes(), ..contents.clone() };
    if reading.signing.is_none() {
        made.authority_key.clear();
    }
    if reading.next.is_none() {
        made.next_key.clear();
    }
    match step {
        Step::Nothing => return Ok(None),
        Step::Tidy(_) => {}
        Step::NewLeaf(_) => sign(&mut made, reading.signing(), wanted, now)?,
        Step::SignWithNext(_) => {
            made.authority_key = std::mem::take(&mut made.next_key);
            sign(&mut made, reading.next(), wanted, now)?;
        }
        Step::NextAuthority(_) => {
            let (authority, key) = authority(wanted, now)?;
            made.bundle.extend(authority.into_bytes());
            made.next_key = key.serialize_pem().into_bytes();
        }
        Step::Restore(_) => {
            let mut restored = remembered.cloned().unwrap_or_default();
            // What was found and is still valid stays trusted: somebody may serve what it signed.
            restored.bundle.extend_from_slice(&made.bundle);
            let bundle = Reading::of(&restored, wanted, now).bundle();
            made = Contents { bundle: bundle.into_bytes(), ..restored };
        }
        Step::Anew(_) => {
            let (authority, key) = authority(wanted, now)?;
            // A replica may serve what nobody remembers here: what was trusted and is still valid stays trusted.
            made.bundle.extend(authority.into_bytes());
            made.authority_key = key.serialize_pem().into_bytes();
            made.next_key.clear();
            let reading = Reading::of(&made, wanted, now);
            sign(&mut made, reading.signing(), wanted, now)?;
        }
    }
    Ok(Some(made))
}

/// Signs a leaf with the key of `authority`, which stands in `made` by now.
fn sign(made: &mut Contents, authority: Option<&Authority>, wanted: &Wanted<'_>, now: i64) -> Result<(), rcgen::Error> {
    let signs = authority.and_then(|authority| Some((authority.not_after, read_key(&made.authority_key)?)));
    let Some((end, key)) = signs else { return Err(rcgen::Error::CouldNotParseKeyPair) };
    let issuer = Issuer::new(authority_params(), key);

    let mut leaf = CertificateParams::new(wanted.names)?;
    // What outlives the one that vouches for it is not trusted, and would be waited for.
    valid(&mut leaf, now, wanted.lifetimes.leaf, end);
    leaf.distinguished_name.push(DnType::CommonName, "upgrade-guard");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    made.chain = leaf.signed_by(&key, &issuer)?.pem().into_bytes();
    made.key = key.serialize_pem().into_bytes();
    Ok(())
}

/// Makes an authority, PEM, and its key: ECDSA on P-256, as everywhere here.
fn authority(wanted: &Wanted<'_>, now: i64) -> Result<(String, KeyPair), rcgen::Error> {
    let mut params = authority_params();
    valid(&mut params, now, wanted.lifetimes.authority, LATEST);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((format!("{}\n", pem.trim_end()), key))
}

/// What is the same of all authorities: it is all that signing with one has to know of it.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Valid from a while ago until `life` seconds from now, and not longer than until `end`.
fn valid(params: &mut CertificateParams, now: i64, life: i64, end: i64) {
    let epoch = date_time_ymd(1970, 1, 1);
    let seconds = |at: i64| Duration::from_secs(u64::try_from(at.clamp(0, LATEST)).unwrap_or(0));
    params.not_before = epoch + seconds(now.saturating_sub(BACKDATED));
    params.not_after = epoch + seconds(now.saturating_add(life).min(end));
}
