//! The two ports of a serving process: HTTPS for reviews, plain HTTP for probes and metrics.
//!
//! It knows nothing of what is served: it takes an [`axum::Router`] and gives it TLS with certificates that are renewed
//! while it serves ([`certificates`]), limits on what clients may take ([`Limits`]), readiness by name ([`readiness`]),
//! an orderly end ([`shutdown`]) and numbers ([`metrics`]).
//!
//! Ports are bound and certificates looked at in [`Server::bind`], before anything else of the process starts, so that
//! a wrong flag fails at once; requests are answered in [`Server::serve`].

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use futures::Stream;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub mod certificates;
mod connection;
pub mod devcert;
mod https;
pub mod metrics;
mod ops;
pub mod readiness;
pub mod selfsigned;
pub mod shutdown;
mod tls;
pub mod trust;

pub use self::connection::Limits;
use self::{
    certificates::{CertificateError, CertificateFolder, POLL_INTERVAL, ServingCertificate},
    https::Port,
    metrics::Metrics,
    readiness::{Gate, Readiness},
    shutdown::{Ended, Phases, ShutdownOptions, Signal},
};

/// The name of the gate that opens when the serving certificate is loaded.
pub const CERTIFICATE_GATE: &str = "certificate loaded";

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port could not be bound.
    #[error("cannot listen on {address}: {reason}; choose another address with {flag}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        reason: io::Error,
        /// The flag that sets the address.
        flag: &'static str,
    },
    /// The certificate folder cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}; this build of the program cannot serve")]
    Tls(rustls::Error),
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// A folder with `tls.crt` and `tls.key`, looked at again and again.
    Folder(PathBuf),
    /// Another part of the process feeds this handle, and holds the [`CERTIFICATE_GATE`].
    Given(ServingCertificate),
}

impl From<PathBuf> for Certificates {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address for HTTPS; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address for probes and metrics; port 0 takes a free one.
    pub ops_listen: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificates: Certificates,
    /// How often the folder is looked at.
    pub certificate_poll: Duration,
    /// What clients of the HTTPS port may take.
    pub limits: Limits,
    /// How long an orderly end may take.
    pub shutdown: ShutdownOptions,
}

impl ServerOptions {
    /// Gives the defaults for these addresses and this folder.
    #[must_use]
    pub fn new(listen: SocketAddr, ops_listen: SocketAddr, certificates: impl Into<Certificates>) -> Self {
        Self {
            listen,
            ops_listen,
            certificates: certificates.into(),
            certificate_poll: POLL_INTERVAL,
            limits: Limits::HTTPS,
            shutdown: ShutdownOptions::default(),
        }
    }
}

/// A server with both ports bound and nobody served yet.
#[derive(Debug)]
#[must_use = "call `Server::serve` to answer requests"]
pub struct Server {
    https: Bound,
    ops: Bound,
    tls: Arc<rustls::ServerConfig>,
    serving: ServingCertificate,
    /// Where it comes from a folder.
    folder: Option<(CertificateFolder, Gate)>,
    options: ServerOptions,
    readiness: Readiness,
    metrics: Metrics,
    phases: Phases,
}

#[derive(Debug)]
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds both ports, looks at the certificates and, if they are in a folder, adds [`CERTIFICATE_GATE`] to
    /// `readiness`. A certificate that is not there yet is waited for while serving.
    ///
    /// # Errors
    /// A port cannot be bound, or the certificate folder is missing or holds something unusable.
    pub async fn bind(options: ServerOptions, readiness: Readiness, metrics: Metrics) -> Result<Self, ServerError> {
        let https = Bound::new(options.listen, "--listen").await?;
        let ops = Bound::new(options.ops_listen, "--ops-listen").await?;
        let (serving, folder) = match &options.certificates {
            Certificates::Folder(path) => {
                let folder = CertificateFolder::open(path)?;
                (folder.serving(), Some((folder, readiness.gate(CERTIFICATE_GATE))))
            }
            Certificates::Given(serving) => (serving.clone(), None),
        };
        let tls = tls::server_config(Arc::new(serving.clone())).map_err(ServerError::Tls)?;
        Ok(Self {
            https,
            ops,
            tls: Arc::new(tls),
            serving,
            folder,
            options,
            readiness,
            metrics,
            phases: Phases::default(),
        })
    }

    /// Gives the address of the HTTPS port, with the real port number.
    #[must_use]
    pub const fn https_address(&self) -> SocketAddr {
        self.https.address
    }

    /// Gives the address of the operations port, with the real port number.
    #[must_use]
    pub const fn ops_address(&self) -> SocketAddr {
        self.ops.address
    }

    /// Gives a handle to the certificate in use, for checks against what clients trust.
    #[must_use]
    pub fn certificate(&self) -> ServingCertificate {
        self.serving.clone()
    }

    /// Gives the tokens that tell how far a shutdown has come, for the other parts of the process.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.phases.clone()
    }

    /// Answers HTTPS requests with `router`, and probes and metrics on the operations port, until the first of
    /// `signals` and the orderly end after it. The operations port answers until the very end. Dropping the future
    /// ends everything at once.
    pub async fn serve(self, router: Router, signals: impl Stream<Item = Signal> + Unpin) -> Ended {
        tracing::info!(https = %self.https.address, ops = %self.ops.address, "serving");
        let https = Port {
            router,
            tls: Some(TlsAcceptor::from(self.tls)),
            limits: self.options.limits.clone(),
            phases: self.phases.clone(),
        };
        let ops_phases = Phases::default();
        let ops = Port {
            router: ops::router(self.readiness.clone(), self.metrics.clone()),
            tls: None,
            limits: Limits::OPS,
            phases: ops_phases.clone(),
        };
        // Connections are tasks of their own: whoever drops this future must end them too.
        let _cut = (self.phases.aborted.clone().drop_guard(), ops_phases.aborted.clone().drop_guard());
        let drained = CancellationToken::new();
        let reviews = async {
            https.serve(self.https.listener).await;
            drained.cancel();
        };
        let stop = async {
            let ended =
                shutdown::conduct(signals, &self.options.shutdown, &self.phases, &self.readiness, drained.cancelled())
                    .await;
            ops_phases.closing.cancel();
            ops_phases.aborted.cancel();
            ended
        };
        let fresh = async {
            if let Some((folder, gate)) = self.folder {
                folder.keep_fresh(self.options.certificate_poll, gate, self.metrics).await;
            }
        };
        let fresh = self.phases.aborted.run_until_cancelled(fresh);
        let (ended, (), (), _) = tokio::join!(stop, reviews, ops.serve(self.ops.listener), fresh);
        ended
    }
}

impl Bound {
    async fn new(address: SocketAddr, flag: &'static str) -> Result<Self, ServerError> {
        let error = |reason| ServerError::Listen { address, reason, flag };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { listener, address })
    }
}
