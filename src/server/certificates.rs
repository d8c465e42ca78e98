//! The serving certificate: read from a folder, swapped while serving.
//!
//! The folder is a mounted Secret with `tls.crt` and `tls.key`. The kubelet renews such a folder by turning one
//! symbolic link, after which a watch on the old file sees nothing more; so the files are compared by content, at
//! intervals. What cannot be used is refused, and the certificate in use stays.
//!
//! A Secret that is not there yet is waited for: the files may be missing or empty at the start, and every handshake
//! fails until they are there. A folder that is missing, or that holds something wrong at the start, is an error.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;
use x509_parser::parse_x509_certificate;

use super::{metrics::Metrics, readiness::Gate, tls};

/// The certificate chain inside the folder, leaf first, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The private key inside the folder, PEM.
pub const KEY_FILE: &str = "tls.key";

/// How often the files are read by default.
///
/// The kubelet itself needs up to a minute or two to bring a changed Secret into the folder, so this adds little, and
/// two small files are read in microseconds.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// How often the two files are read again when they change in the middle of a look.
const READ_ATTEMPTS: usize = 3;

/// Why certificates could not be read or used. No text holds anything of a private key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The folder is not there or is not a folder.
    #[error("cannot use the certificate folder {}: {reason}; give the folder in which the TLS Secret is mounted", folder.display())]
    Folder {
        /// The folder as given.
        folder: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// A file is missing or empty.
    #[error("{} is not there yet; it comes with the TLS Secret", file.display())]
    Missing {
        /// The missing file.
        file: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// The chain holds no certificate, or something that is none.
    #[error("{} holds no usable certificate chain: {reason}; it must be PEM, leaf first", file.display())]
    Chain {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file holds no private key. Says no more, as parsers quote what they read.
    #[error("{} holds no usable private key; it must be one PEM block: PKCS #8, PKCS #1 or SEC1", file.display())]
    Key {
        /// The file.
        file: PathBuf,
    },
    /// Certificate and key are fine and do not belong together.
    #[error("{} is not the key of the first certificate in {}; both must come from the same Secret", key.display(), chain.display())]
    Mismatch {
        /// The file with the chain.
        chain: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
}

/// What one look at the folder found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The files hold what is in use already.
    Unchanged,
    /// A new certificate is in use from now on.
    Loaded,
}

/// The certificate in use, shared with the TLS configuration. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct ServingCertificate {
    current: Arc<ArcSwapOption<Loaded>>,
    /// Told at each change.
    swapped: watch::Sender<()>,
}

/// Why a chain and a key cannot be served. Says nothing of the key, as parsers quote what they read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The chain holds no certificate, or something that is none.
    Chain(String),
    /// The key is none.
    Key,
    /// They do not belong together.
    Mismatch,
}

/// A chain with its key, as far as one can be served with the other.
#[derive(Debug)]
pub(super) struct Pair {
    key: CertifiedKey,
    /// From when on the leaf is valid, in Unix seconds.
    pub(super) not_before: i64,
    /// Until when the leaf is valid, in Unix seconds.
    pub(super) not_after: i64,
}

/// A folder of certificates, and the certificate in use that it feeds.
#[derive(Debug)]
pub struct CertificateFolder {
    chain_file: PathBuf,
    key_file: PathBuf,
    serving: ServingCertificate,
    /// What was read last and could not be used.
    refused: Option<Files>,
    /// What was complained about last, so that each distinct trouble is logged once.
    complaint: Option<Complaint>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    not_after: i64,
    files: Files,
}

/// What stands in the two files.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    text: String,
    refused: Option<Files>,
}

impl CertificateFolder {
    /// Opens `folder` and loads the certificate if it is there already.
    ///
    /// # Errors
    /// The folder cannot be read, or its files are there and cannot be used. Missing or empty files are no error:
    /// [`CertificateFolder::look`] finds them later.
    pub fn open(folder: &Path) -> Result<Self, CertificateError> {
        // Listing tells a missing folder, a file and a folder without permission apart from missing files.
        fs::read_dir(folder).map_err(|reason| CertificateError::Folder { folder: folder.to_owned(), reason })?;
        let mut opened = Self {
            chain_file: folder.join(CERTIFICATE_FILE),
            key_file: folder.join(KEY_FILE),
            serving: ServingCertificate::default(),
            refused: None,
            complaint: None,
        };
        match opened.look() {
            Ok(_) => Ok(opened),
            Err(CertificateError::Missing { file }) => {
                tracing::warn!(file = %file.display(), "waiting for the certificate");
                Ok(opened)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a handle to the certificate in use.
    #[must_use]
    pub fn serving(&self) -> ServingCertificate {
        self.serving.clone()
    }

    /// Reads the files, and uses what they hold if it is new and right. Blocks for two small reads.
    ///
    /// # Errors
    /// A file is missing or cannot be used. The certificate in use stays.
    pub fn look(&mut self) -> Result<Look, CertificateError> {
        self.refused = None;
        let files = self.read()?;
        let current = self.serving.current.load();
        if current.as_ref().is_some_and(|loaded| loaded.files == files) {
            return Ok(Look::Unchanged);
        }
        let pair = match Pair::read(&files.chain, &files.key) {
            Ok(pair) => pair,
            Err(reason) => {
                self.refused = Some(files);
                return Err(self.error(reason));
            }
        };
        self.serving.swap(pair, files);
        Ok(Look::Loaded)
    }

    /// Looks every `interval`, for ever: opens `gate` once a certificate is loaded, and tells it what is missing until
    /// then. Trouble is counted in `metrics` at each look and logged once per distinct content.
    pub async fn keep_fresh(mut self, interval: Duration, gate: Gate, metrics: Metrics) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Two small files of a memory file system: not worth another thread.
            let seen = self.look();
            self.report(seen, &gate, &metrics);
        }
    }

    fn report(&mut self, seen: Result<Look, CertificateError>, gate: &Gate, metrics: &Metrics) {
        let loaded = self.serving.not_after();
        if let Some(not_after) = loaded {
            metrics.certificate_not_after(not_after);
            gate.open();
        }
        let Err(error) = seen else {
            self.complaint = None;
            return;
        };
        let loaded = loaded.is_some();
        if !loaded {
            gate.close(error.to_string());
        }
        // Waiting for the first certificate is no trouble yet; the gate says it.
        if loaded || !matches!(error, CertificateError::Missing { .. }) {
            metrics.certificate_reload_error();
        }
        let complaint = Complaint { text: error.to_string(), refused: self.refused.take() };
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::error!(kept = loaded, "certificate refused: {error}");
            self.complaint = Some(complaint);
        }
    }

    /// Reads both files as they stood at one time: if the chain changed while the key was read, reads again.
    fn read(&self) -> Result<Files, CertificateError> {
        let mut chain = read_file(&self.chain_file)?;
        let mut key = read_file(&self.key_file)?;
        for _ in 1..READ_ATTEMPTS {
            let again = read_file(&self.chain_file)?;
            if again == chain {
                break;
            }
            chain = again;
            key = read_file(&self.key_file)?;
        }
        Ok(Files { chain, key })
    }

    fn error(&self, reason: Unusable) -> CertificateError {
        let (chain, key) = (self.chain_file.clone(), self.key_file.clone());
        match reason {
            Unusable::Chain(reason) => CertificateError::Chain { file: chain, reason },
            Unusable::Key => CertificateError::Key { file: key },
            Unusable::Mismatch => CertificateError::Mismatch { chain, key },
        }
    }
}

impl Pair {
    /// Reads a chain, leaf first, and the key of the leaf, both PEM.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub(super) fn read(chain: &[u8], key: &[u8]) -> Result<Self, Unusable> {
        let bad_chain = |reason: String| Unusable::Chain(reason);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_chain(error.to_string()))?;
        for certificate in &chain {
            parse_x509_certificate(certificate).map_err(|error| bad_chain(error.to_string()))?;
        }
        let leaf = chain.first().ok_or_else(|| bad_chain("no certificate in it".to_owned()))?;
        let (_, leaf) = parse_x509_certificate(leaf).map_err(|error| bad_chain(error.to_string()))?;
        let (not_before, not_after) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());

        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_quotes_the_file| Unusable::Key)?;
        let key = CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Unusable::Mismatch,
            rustls::Error::InvalidCertificate(reason) => bad_chain(reason.to_string()),
            _ => Unusable::Key,
        })?;
        Ok(Self { key, not_before, not_after })
    }

    /// The chain, leaf first.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let file = file.to_owned();
    match fs::read(&file) {
        // A Secret can exist before it is filled.
        Ok(content) if content.is_empty() => Err(CertificateError::Missing { file }),
        Ok(content) => Ok(content),
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Err(CertificateError::Missing { file }),
        Err(reason) => Err(CertificateError::Read { file, reason }),
    }
}

/// The clock on the wall, in Unix seconds.
pub(super) fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl ServingCertificate {
    /// Uses a chain and the key of its leaf, both PEM, from now on; does nothing when they are in use already.
    ///
    /// # Errors
    /// They cannot be served; what is in use stays.
    pub(super) fn serve(&self, chain: &[u8], key: &[u8]) -> Result<(), Unusable> {
        let files = Files { chain: chain.to_vec(), key: key.to_vec() };
        if self.current.load().as_ref().is_some_and(|loaded| loaded.files == files) {
            return Ok(());
        }
        self.swap(Pair::read(chain, key)?, files);
        Ok(())
    }

    fn swap(&self, pair: Pair, files: Files) {
        let Pair { key, not_after, .. } = pair;
        tracing::info!(not_after, chain = key.cert.len(), "serving certificate loaded");
        if not_after <= unix_now() {
            tracing::warn!(not_after, "the serving certificate has expired: clients will refuse it");
        }
        self.current.store(Some(Arc::new(Loaded { key: Arc::new(key), not_after, files })));
        self.swapped.send_replace(());
    }

    /// Tells when the certificate in use is another.
    #[must_use]
    pub fn swapped(&self) -> watch::Receiver<()> {
        self.swapped.subscribe()
    }

    /// Gives when the certificate in use expires, in Unix seconds; nothing while none is loaded.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.current.load().as_ref().map(|loaded| loaded.not_after)
    }

    /// Gives the chain in use, leaf first, for a check against the bundle that clients trust; empty while none is
    /// loaded.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().as_ref().map(|loaded| loaded.key.cert.clone()).unwrap_or_default()
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().as_ref().map(|loaded| Arc::clone(&loaded.key))
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parking_lot::Mutex;
    use tempfile::TempDir;

    use super::*;
    use crate::server::{devcert::DevelopmentCertificate, readiness::Readiness};

    fn certificate() -> DevelopmentCertificate {
        DevelopmentCertificate::make(&["localhost".to_owned()], 1).expect("a certificate")
    }

    fn folder_with(certificate: &DevelopmentCertificate) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        certificate.write(folder.path()).expect("written");
        folder
    }

    /// What is logged while it is the subscriber.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn of(work: impl FnOnce()) -> String {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, work);
            let text = String::from_utf8(log.0.lock().clone());
            text.expect("text")
        }
    }

    #[test]
    fn each_distinct_trouble_is_logged_once_and_counted_each_time() {
        let (old, other) = (certificate(), certificate());
        let folder = folder_with(&old);
        let (gate, metrics) = (Readiness::new().gate("certificate"), Metrics::new());
        let log = Log::of(|| {
            let mut opened = CertificateFolder::open(folder.path()).expect("usable");
            let mut look = |times| {
                for _ in 0..times {
                    let seen = opened.look();
                    opened.report(seen, &gate, &metrics);
                }
            };
            for key in [&other.key, &certificate().key] {
                fs::write(folder.path().join(KEY_FILE), key).expect("written");
                look(3);
            }
            fs::remove_file(folder.path().join(KEY_FILE)).expect("removed");
            look(3);
            old.write(folder.path()).expect("written");
            look(3);
            fs::write(folder.path().join(KEY_FILE), &other.key).expect("written");
            look(1);
        });
        assert_eq!(log.matches("certificate refused").count(), 4, "{log}");
        let text = metrics.render().expect("text");
        assert!(text.contains("upgrade_guard_certificate_reload_errors_total 10\n"), "{text}");
    }

    #[test]
    fn no_text_holds_anything_of_a_key() {
        let (one, other) = (certificate(), certificate());
        let folder = folder_with(&one);
        let secret = "bm90IGEga2V5IGJ1dCBzZWNyZXQ";
        let broken = [
            format!("-----BEGIN {secret}\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE KEY-----\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"),
            secret.to_owned(),
            other.key.clone(),
        ];
        let mut texts = Vec::new();
        let log = Log::of(|| {
            let mut opened = CertificateFolder::open(folder.path()).expect("usable");
            let (gate, metrics) = (Readiness::new().gate("certificate"), Metrics::new());
            for key in &broken {
                fs::write(folder.path().join(KEY_FILE), key).expect("written");
                let seen = opened.look();
                texts.push(format!("{seen:?} {opened:?}"));
                assert!(seen.is_err(), "{seen:?}");
                opened.report(seen, &gate, &metrics);
            }
        });
        texts.push(log);
        let of_a_key = other.key.lines().nth(1).expect("a line of base64");
        for text in texts {
            assert!(!text.contains(secret) && !text.contains(of_a_key), "{text}");
        }
    }

    #[test]
    fn an_unchanged_folder_changes_nothing() {
        let folder = folder_with(&certificate());
        let mut opened = CertificateFolder::open(folder.path()).expect("usable");
        let before = opened.serving().chain();
        assert_eq!(opened.look().expect("usable"), Look::Unchanged);
        assert_eq!(opened.serving().chain(), before);
        certificate().write(folder.path()).expect("written");
        assert_eq!(opened.look().expect("usable"), Look::Loaded);
        assert_ne!(opened.serving().chain(), before);
    }
}
