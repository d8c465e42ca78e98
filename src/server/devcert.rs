//! Certificates for demonstrations, tests and clusters without an issuer: one authority, one leaf.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::certificates::{CERTIFICATE_FILE, KEY_FILE};

/// The certificate of the authority inside the folder, PEM: what a client must trust.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// How far validity reaches into the past, for clients whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// Why certificates could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentCertificateError {
    /// A name is neither a DNS name nor an address, or the key could not be made.
    #[error("cannot make a certificate for {names:?}: {reason}; give DNS names or IP addresses")]
    Make {
        /// The names asked for.
        names: Vec<String>,
        /// What is wrong.
        reason: rcgen::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {reason}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
}

/// A leaf certificate with its key and its authority, all PEM. The authority's key is thrown away once it has signed.
#[derive(Clone)]
pub struct DevelopmentCertificate {
    /// The certificate of the authority.
    pub authority: String,
    /// The leaf, followed by the authority.
    pub chain: String,
    /// The private key of the leaf.
    pub key: String,
}

impl std::fmt::Debug for DevelopmentCertificate {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevelopmentCertificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl DevelopmentCertificate {
    /// Makes an authority and a leaf for `names` (DNS names or IP addresses), valid for `days` days from now.
    ///
    /// # Errors
    /// A name is neither, or the operating system gives no random numbers.
    pub fn make(names: &[String], days: u32) -> Result<Self, DevelopmentCertificateError> {
        Self::sign(names, days).map_err(|reason| DevelopmentCertificateError::Make { names: names.to_vec(), reason })
    }

    fn sign(names: &[String], days: u32) -> Result<Self, rcgen::Error> {
        let mut authority = valid(CertificateParams::default(), days);
        authority.distinguished_name.push(DnType::CommonName, "upgrade-guard development CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let mut leaf = valid(CertificateParams::new(names)?, days);
        leaf.distinguished_name.push(DnType::CommonName, "upgrade-guard development certificate");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&key, &authority)?;
        Ok(Self { authority: authority.pem(), chain: leaf.pem() + &authority.pem(), key: key.serialize_pem() })
    }

    /// Writes `tls.crt`, `tls.key` (mode 0600) and `ca.crt` into `folder`, which is made if it is missing. Each file
    /// is replaced as a whole.
    ///
    /// # Errors
    /// The folder cannot be made or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), DevelopmentCertificateError> {
        std::fs::create_dir_all(folder)
            .map_err(|reason| DevelopmentCertificateError::Write { file: folder.to_owned(), reason })?;
        for (name, content, mode) in [
            (AUTHORITY_FILE, &self.authority, 0o644),
            (KEY_FILE, &self.key, 0o600),
            (CERTIFICATE_FILE, &self.chain, 0o644),
        ] {
            let file = folder.join(name);
            replace(&file, folder, content, mode)
                .map_err(|reason| DevelopmentCertificateError::Write { file, reason })?;
        }
        Ok(())
    }
}

/// Writes a new file next to `file` and renames it, so that no reader sees half of it and a key is never readable by
/// others, not even for a moment.
fn replace(file: &Path, folder: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    new.write_all(content.as_bytes())?;
    new.as_file().set_permissions(Permissions::from_mode(mode))?;
    new.persist(file)?;
    Ok(())
}

fn valid(mut params: CertificateParams, days: u32) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + Duration::from_secs(u64::from(days) * 24 * 3600);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::certificates::CertificateFolder;

    #[test]
    fn what_is_written_can_be_served_and_the_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("made/on/demand");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = DevelopmentCertificate::make(&names, 3).expect("a certificate");
        made.write(&inside).expect("written");
        made.write(&inside).expect("written over");

        let permissions = std::fs::metadata(inside.join(KEY_FILE)).expect("the key").permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
        let serving = CertificateFolder::open(&inside).expect("usable").serving();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let left = serving.not_after().expect("loaded") - i64::try_from(now).expect("small");
        assert!((3 * 86_400 - 60..=3 * 86_400).contains(&left), "{left} s left");
        assert_eq!(serving.chain().len(), 2);
    }

    #[test]
    fn the_key_is_not_in_the_debug_text() {
        let made = DevelopmentCertificate::make(&["localhost".to_owned()], 1).expect("a certificate");
        assert!(!format!("{made:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn a_bad_name_is_named() {
        let error = DevelopmentCertificate::make(&["b\u{e4}d".to_owned()], 1).expect_err("not ASCII");
        assert!(error.to_string().contains("DNS names or IP addresses"), "{error}");
    }
}
