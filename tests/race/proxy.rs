//! A way through which bytes pass late, or not at all. TLS goes through it untouched.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to the answers that come back, in thousandths of all pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// The piece comes late.
    pub(crate) late: u64,
    /// At most this late, in milliseconds.
    pub(crate) by: u64,
    /// The piece is lost, and the connection with it: for whoever asked, the other side has crashed.
    pub(crate) lost: u64,
}

/// A proxy to one address; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    lost: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(target: String, faults: Faults, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (dice, lost) = (Arc::new(Dice::of(seed)), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&lost);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // The other side may be gone for good; whoever connects sees that.
                let Ok(far) = TcpStream::connect(&target).await else { continue };
                let (dice, counted) = (Arc::clone(&dice), Arc::clone(&counted));
                tokio::spawn(async move {
                    if pass(near, far, faults, &dice).await == End::Lost {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(Self { address, lost, accepting })
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Lost,
}

async fn pass(near: TcpStream, far: TcpStream, faults: Faults, dice: &Dice) -> End {
    let ((mut asked, mut answer), (mut answering, mut asking)) = (near.into_split(), far.into_split());
    let questions = async { tokio::io::copy(&mut asked, &mut asking).await.map(drop) };
    let answers = async {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let length = match answering.read(&mut piece).await {
                Ok(0) | Err(_) => return End::Closed,
                Ok(length) => length,
            };
            let roll = dice.below(1000);
            if roll < faults.lost {
                return End::Lost;
            }
            if roll < faults.lost + faults.late {
                tokio::time::sleep(Duration::from_millis(dice.below(faults.by + 1))).await;
            }
            if answer.write_all(&piece[..length]).await.is_err() {
                return End::Closed;
            }
        }
    };
    tokio::select! {
        end = answers => end,
        _ = questions => End::Closed,
    }
}

/// Numbers that look random, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `end` (the generator called `SplitMix64`).
    pub(crate) fn below(&self, end: u64) -> u64 {
        let mut x = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}
