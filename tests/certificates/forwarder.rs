//! One address for several guards, as a Service has: each connection goes to the next one. TLS goes through untouched.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to notice that its connection was cut.
const CUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    targets: Vec<String>,
    connections: usize,
    open: Open,
}

/// The connections since the last cut.
#[derive(Clone, Debug, Default)]
struct Open {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Forwarder {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut state = shared.lock();
                let (number, count) = (state.connections, state.targets.len());
                let Some(target) = number.checked_rem(count).map(|index| state.targets[index].clone()) else {
                    continue;
                };
                state.connections += 1;
                let cut = state.open.cut.clone();
                state.open.tasks.spawn(pass(near, target, cut));
            }
        });
        Ok(Self { address, state, accepting })
    }

    /// Connections go to these from now on.
    pub(crate) fn lead_to(&self, targets: &[&str]) {
        self.state.lock().targets = targets.iter().map(|target| (*target).to_owned()).collect();
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().connections
    }

    /// Ends all connections, and waits until those who opened them know it: their next request makes a handshake.
    pub(crate) async fn cut(&self) -> Result<()> {
        let open = std::mem::take(&mut self.state.lock().open);
        open.cut.cancel();
        open.tasks.close();
        tokio::time::timeout(CUT, open.tasks.wait()).await.context("a client keeps a connection that was cut")
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.lock().open.cut.cancel();
    }
}

async fn pass(mut near: TcpStream, target: String, cut: CancellationToken) {
    let Ok(mut far) = TcpStream::connect(&target).await else { return };
    let passing = tokio::io::copy_bidirectional(&mut near, &mut far);
    if cut.run_until_cancelled(passing).await.is_none() {
        let _ = near.shutdown().await;
        let mut rest = [0; 1024];
        while near.read(&mut rest).await.is_ok_and(|length| length > 0) {}
    }
}
