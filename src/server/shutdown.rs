//! The order in which a process stops: not ready, stop accepting, wait for what is in flight, end.

use std::{future::Future, io, task::Poll, time::Duration};

use futures::{Stream, StreamExt as _, future, stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::readiness::Readiness;

/// How long new connections are still accepted after the first signal.
///
/// The endpoint is taken out of the Service while the pod is told to stop, not before, and the API servers go on
/// connecting until they have seen that. A few seconds cover it.
pub const PROPAGATION_DELAY: Duration = Duration::from_secs(5);

/// How long requests in flight may take once no new connection is accepted.
///
/// With [`PROPAGATION_DELAY`] this stays below the 30 s that a pod gets by default before it is killed, and is twice
/// the 10 s a webhook call may take by default.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// The two durations of an orderly stop.
#[derive(Clone, Debug)]
pub struct ShutdownOptions {
    /// From the first signal until no new connection is accepted; [`PROPAGATION_DELAY`] by default.
    pub propagation_delay: Duration,
    /// From then until open connections are cut; [`DRAIN_DEADLINE`] by default.
    pub drain_deadline: Duration,
}

impl Default for ShutdownOptions {
    fn default() -> Self {
        Self { propagation_delay: PROPAGATION_DELAY, drain_deadline: DRAIN_DEADLINE }
    }
}

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, from the kubelet.
    Terminate,
    /// SIGINT, from a terminal.
    Interrupt,
}

/// How a stop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// Every request in flight was answered.
    Drained,
    /// The deadline came first; open connections were cut.
    DeadlinePassed,
    /// A second signal came first; open connections were cut.
    Aborted,
}

/// How far a stop has come, for every part that has something to end. Cloning gives another handle.
///
/// Each token stays cancelled once it is.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// The first signal came: give up leases, start nothing new.
    pub leaving: CancellationToken,
    /// No new connection is accepted any more.
    pub closing: CancellationToken,
    /// Time is up: drop what is left.
    pub aborted: CancellationToken,
}

/// Installs handlers for SIGTERM and SIGINT and gives them as a stream that never ends.
///
/// # Errors
/// The operating system refuses the handler.
pub fn signals() -> io::Result<impl Stream<Item = Signal> + Send + Unpin> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(stream::poll_fn(move |cx| {
        if terminate.poll_recv(cx).is_ready() {
            return Poll::Ready(Some(Signal::Terminate));
        }
        interrupt.poll_recv(cx).map(|_| Some(Signal::Interrupt))
    }))
}

/// Conducts one stop: waits for the first of `signals`, then moves `phases` on until `drained` completes, the deadline
/// passes or a second signal comes. When it returns, all three tokens of `phases` are cancelled.
///
/// A stream that ends sends no more signals; it does not stop the process.
pub async fn conduct(
    mut signals: impl Stream<Item = Signal> + Unpin,
    options: &ShutdownOptions,
    phases: &Phases,
    readiness: &Readiness,
    drained: impl Future<Output = ()>,
) -> Ended {
    let first = next(&mut signals).await;
    tracing::info!(signal = ?first, delay = ?options.propagation_delay, "shutting down: not ready from now on");
    readiness.shut_down();
    phases.leaving.cancel();

    let ended = tokio::select! {
        biased;
        _ = next(&mut signals) => Ended::Aborted,
        ended = drain(options, phases, drained) => ended,
    };
    match ended {
        Ended::Drained => tracing::info!("every request in flight was answered"),
        Ended::DeadlinePassed => {
            tracing::warn!(deadline = ?options.drain_deadline, "connections still open are cut");
        }
        Ended::Aborted => tracing::warn!("second signal: connections still open are cut"),
    }
    phases.closing.cancel();
    phases.aborted.cancel();
    ended
}

async fn drain(options: &ShutdownOptions, phases: &Phases, drained: impl Future<Output = ()>) -> Ended {
    tokio::time::sleep(options.propagation_delay).await;
    tracing::info!(deadline = ?options.drain_deadline, "no new connections; waiting for requests in flight");
    phases.closing.cancel();
    match tokio::time::timeout(options.drain_deadline, drained).await {
        Ok(()) => Ended::Drained,
        Err(_elapsed) => Ended::DeadlinePassed,
    }
}

async fn next(signals: &mut (impl Stream<Item = Signal> + Unpin)) -> Signal {
    match signals.next().await {
        Some(signal) => signal,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        sync::{Notify, mpsc},
        task::JoinHandle,
        time::{Instant, advance},
    };

    use super::*;

    const OPTIONS: ShutdownOptions =
        ShutdownOptions { propagation_delay: Duration::from_secs(5), drain_deadline: Duration::from_secs(20) };

    /// A stop under way: signals are sent by hand, and so is the end of the last request.
    struct Stop {
        signals: mpsc::UnboundedSender<Signal>,
        drained: Arc<Notify>,
        phases: Phases,
        readiness: Readiness,
        ended: JoinHandle<Ended>,
    }

    impl Stop {
        fn begin() -> Self {
            let (signals, mut received) = mpsc::unbounded_channel();
            let drained = Arc::new(Notify::new());
            let phases = Phases::default();
            let readiness = Readiness::new();
            let ended = tokio::spawn({
                let (drained, phases, readiness) = (Arc::clone(&drained), phases.clone(), readiness.clone());
                async move {
                    let signals = stream::poll_fn(move |cx| received.poll_recv(cx));
                    conduct(signals, &OPTIONS, &phases, &readiness, drained.notified()).await
                }
            });
            Self { signals, drained, phases, readiness, ended }
        }

        async fn signal(&self) {
            self.signals.send(Signal::Terminate).expect("the stop is under way");
            settle().await;
        }
    }

    /// Lets every task run until it waits; with paused time nothing else happens.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn not_ready_at_once_and_closing_after_the_delay() {
        let stop = Stop::begin();
        settle().await;
        assert!(stop.readiness.is_ready(), "nothing happens before a signal");
        stop.signal().await;
        assert!(!stop.readiness.is_ready());
        assert!(stop.phases.leaving.is_cancelled());
        assert!(!stop.phases.closing.is_cancelled());
        let tick = Duration::from_millis(1);
        advance(OPTIONS.propagation_delay.saturating_sub(tick)).await;
        settle().await;
        assert!(!stop.phases.closing.is_cancelled(), "one millisecond early");
        advance(2 * tick).await;
        settle().await;
        assert!(stop.phases.closing.is_cancelled());
        assert!(!stop.phases.aborted.is_cancelled());
        stop.drained.notify_one();
        assert_eq!(stop.ended.await.expect("no panic"), Ended::Drained);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_cuts_what_hangs() {
        let stop = Stop::begin();
        let start = Instant::now();
        stop.signal().await;
        assert_eq!(stop.ended.await.expect("no panic"), Ended::DeadlinePassed);
        assert!(stop.phases.aborted.is_cancelled());
        let wanted = OPTIONS.propagation_delay + OPTIONS.drain_deadline;
        let took = start.elapsed();
        assert!(took >= wanted && took < wanted + Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_aborts_in_either_phase() {
        for advanced in [Duration::ZERO, OPTIONS.propagation_delay + Duration::from_secs(1)] {
            let stop = Stop::begin();
            stop.signal().await;
            advance(advanced).await;
            settle().await;
            let start = Instant::now();
            stop.signal().await;
            assert_eq!(stop.ended.await.expect("no panic"), Ended::Aborted, "after {advanced:?}");
            assert_eq!(start.elapsed(), Duration::ZERO, "after {advanced:?}");
            assert!(stop.phases.closing.is_cancelled() && stop.phases.aborted.is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_stops_nothing() {
        let phases = Phases::default();
        let readiness = Readiness::new();
        let mut stop =
            Box::pin(async { conduct(stream::empty(), &OPTIONS, &phases, &readiness, future::ready(())).await });
        assert!(futures::poll!(&mut stop).is_pending());
        advance(Duration::from_hours(1)).await;
        assert!(futures::poll!(&mut stop).is_pending());
        assert!(readiness.is_ready());
    }
}
