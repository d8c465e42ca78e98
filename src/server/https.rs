//! The accept loop: one task per connection, its handshake included.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{
    connection::{self, Limits},
    shutdown::Phases,
    tls,
};

/// How long the loop rests when no connection can be accepted, for example for want of file descriptors: long enough
/// not to burn a core, short enough that nobody notices once some are free again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// Where connections come from; a trait so that tests can let it fail.
pub(super) trait Accept: Send + 'static {
    /// Waits for the next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

/// What every connection of one port gets.
#[derive(Clone)]
pub(super) struct Port {
    /// Answers the requests.
    pub router: Router,
    /// Nothing for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// What clients may take.
    pub limits: Limits,
    /// When to stop accepting, and when to drop what is left.
    pub phases: Phases,
}

impl Port {
    /// Accepts from `listener` until the phase `closing`, and completes when every connection has ended; at the latest
    /// right after the phase `aborted`. The listener is closed at `closing`, so new connections are refused.
    pub async fn serve(self, mut listener: impl Accept) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let connections = TaskTracker::new();
        let closing = self.phases.closing.clone();
        let port = Arc::new(self);
        let accepting = async {
            loop {
                let place = Arc::clone(&places).acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                let (stream, peer) = next(&mut listener).await;
                connections.spawn(Arc::clone(&port).connection(stream, peer, place));
            }
        };
        closing.run_until_cancelled(accepting).await;
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    /// Serves one connection, and gives its place back at the end whatever happens.
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let serve = async {
            // Answers are small and complete: waiting to fill a packet only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
            }
            match &self.tls {
                None => self.http(stream, peer).await,
                Some(tls) => self.encrypted(tls, stream, peer).await,
            }
        };
        self.phases.aborted.run_until_cancelled(serve).await;
        drop(place);
    }

    async fn encrypted(&self, tls: &TlsAcceptor, stream: TcpStream, peer: SocketAddr) {
        let give_up = async {
            self.phases.closing.cancelled().await;
            sleep(self.limits.goodbye).await;
        };
        let handshake = tokio::select! {
            handshake = timeout(self.limits.handshake, tls.accept(stream)) => handshake,
            () = give_up => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.http(stream, peer).await,
            Ok(Err(error)) => tls::log_failure(peer, &error),
            Err(_elapsed) => {
                tracing::debug!(%peer, after = ?self.limits.handshake, "no TLS handshake in time");
            }
        }
    }

    async fn http<I>(&self, io: I, peer: SocketAddr)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connection::serve(io, peer, self.router.clone(), &self.limits, &self.phases).await;
    }
}

/// Gives the next connection, however often accepting fails before.
async fn next(listener: &mut impl Accept) -> (TcpStream, SocketAddr) {
    let mut failing = false;
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        // The peer went before it was its turn: nothing is wrong here.
        if is_of_one_peer(&error) {
            continue;
        }
        // Once until it works again: these come in thousands.
        if !failing {
            tracing::error!(%error, "cannot accept connections; trying on");
            failing = true;
        }
        sleep(ACCEPT_BACKOFF).await;
    }
}

fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Fails with the given errors before it accepts, and counts the calls.
    struct Failing {
        errors: Vec<io::Error>,
        listener: TcpListener,
    }

    impl Accept for Failing {
        async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
            match self.errors.pop() {
                Some(error) => Err(error),
                None => TcpListener::accept(&self.listener).await,
            }
        }
    }

    #[tokio::test]
    async fn errors_of_accept_neither_end_the_loop_nor_lose_a_client() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let emfile = 24;
        let errors = vec![
            io::Error::from_raw_os_error(emfile),
            io::ErrorKind::ConnectionAborted.into(),
            io::Error::from_raw_os_error(emfile),
        ];
        let phases = Phases::default();
        let port = Port {
            router: Router::new().route("/", get(async || "here")),
            tls: None,
            limits: Limits::OPS,
            phases: phases.clone(),
        };
        let served = tokio::spawn(port.serve(Failing { errors, listener }));
        let mut client = TcpStream::connect(address).await.expect("the queue takes it");
        let ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(ask).await.expect("sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        phases.closing.cancel();
        served.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_error_does_not_spin() {
        struct Never(usize);
        impl Accept for &'static parking_lot::Mutex<Never> {
            async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
                self.lock().0 += 1;
                Err(io::Error::from_raw_os_error(24))
            }
        }
        let calls: &'static _ = Box::leak(Box::new(parking_lot::Mutex::new(Never(0))));
        let mut accept = calls;
        let waited = timeout(ACCEPT_BACKOFF * 10, next(&mut accept)).await;
        assert!(waited.is_err());
        let calls = calls.lock().0;
        assert!((9..=11).contains(&calls), "{calls} calls in ten intervals");
    }
}
