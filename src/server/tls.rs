//! How the HTTPS port speaks TLS.

use std::{error::Error, io, iter, net::SocketAddr, sync::Arc};

use rustls::{
    AlertDescription, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::ResolvesServerCert,
    version::{TLS12, TLS13},
};

/// HTTP/2 first: API servers keep one such connection open for many reviews at a time.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Gives the one cryptography provider used here, so that no process-wide default has to be set.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Gives a server configuration for TLS 1.2 and 1.3 that asks `certificates` at each handshake and wants no client
/// certificate.
///
/// # Errors
/// The provider supports none of the cipher suites of these versions.
pub fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// Logs why a TLS connection failed. Port scans and TCP probes fail all day, so they are only for debugging; but a
/// client that rejects the certificate is what a wrong `caBundle` looks like from here.
pub(super) fn log_failure(peer: SocketAddr, error: &(dyn Error + 'static)) {
    use AlertDescription::{BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA};
    let rejected = alert(error)
        .filter(|alert| matches!(alert, BadCertificate | CertificateExpired | CertificateUnknown | UnknownCA));
    if let Some(alert) = rejected {
        tracing::warn!(%peer, ?alert, "a client rejects the serving certificate; does its CA bundle fit?");
    } else {
        tracing::debug!(%peer, error, "connection ended");
    }
}

/// Finds the alert that the peer sent. With TLS 1.3 it comes after the handshake, inside an error of the first read.
fn alert(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>()?.get_ref())
        .find_map(|inner| match inner.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_alert_is_found_at_any_depth() {
        let alert_error = || io::Error::other(rustls::Error::AlertReceived(AlertDescription::UnknownCA));
        assert_eq!(alert(&alert_error()), Some(AlertDescription::UnknownCA));

        assert_eq!(alert(&Outer(alert_error())), Some(AlertDescription::UnknownCA));
        assert_eq!(alert(&Outer(io::ErrorKind::UnexpectedEof.into())), None);
    }
}
