//! What has to be true before requests may be sent here, by name.
//!
//! Each part that needs time to start holds a [`Gate`]. `/readyz` answers 200 when every gate is open, and says which
//! one is not, and why, when it answers 503.

use std::fmt;

use tokio::sync::watch;

/// The readiness of one process: ready when all gates are open and no shutdown has begun.
///
/// Cloning gives another handle to the same state. Without any gate it is ready, so gates are made before the server
/// starts to answer.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: watch::Sender<State>,
}

/// One condition of a [`Readiness`], closed until [`Gate::open`] is called.
///
/// A gate that is dropped stays as it is: a part that died before it was ready keeps the process not ready.
#[derive(Debug)]
#[must_use = "a gate that nobody opens keeps the process not ready"]
pub struct Gate {
    state: watch::Sender<State>,
    index: usize,
}

/// Why the process is not ready: the name of a gate and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The name the gate was made with, or `shutdown`.
    pub gate: String,
    /// What it waits for, in words for a reader of `/readyz`.
    pub reason: String,
}

#[derive(Debug, Default)]
struct State {
    gates: Vec<GateState>,
    shutting_down: bool,
}

#[derive(Debug)]
struct GateState {
    name: String,
    /// `None` = open.
    closed: Option<String>,
}

impl Readiness {
    /// Gives a readiness without gates.
    #[must_use]
    pub fn new() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }

    /// Adds a closed gate called `name`, for example `"deployments listed"`.
    pub fn gate(&self, name: impl Into<String>) -> Gate {
        let name = name.into();
        let mut index = 0;
        self.state.send_modify(|state| {
            index = state.gates.len();
            state.gates.push(GateState { name, closed: Some("not done yet".to_owned()) });
        });
        Gate { state: self.state.clone(), index }
    }

    /// Tells whether all gates are open and no shutdown has begun. Takes one uncontended read lock.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// Lists what keeps the process from being ready, in the order in which the gates were made; empty when ready.
    #[must_use]
    pub fn not_ready(&self) -> Vec<NotReady> {
        let state = self.state.borrow();
        let shutdown = state
            .shutting_down
            .then(|| NotReady { gate: "shutdown".to_owned(), reason: "this process is shutting down".to_owned() });
        let closed = state
            .gates
            .iter()
            .filter_map(|gate| gate.closed.clone().map(|reason| NotReady { gate: gate.name.clone(), reason }));
        shutdown.into_iter().chain(closed).collect()
    }

    /// Makes the process not ready for good.
    pub fn shut_down(&self) {
        self.state.send_modify(|state| state.shutting_down = true);
    }

    /// Waits until the process is ready. After [`Readiness::shut_down`] this never completes.
    pub async fn ready(&self) {
        let mut state = self.state.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = state.wait_for(State::is_ready).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn is_ready(&self) -> bool {
        !self.shutting_down && self.gates.iter().all(|gate| gate.closed.is_none())
    }
}

impl Gate {
    /// Opens the gate and logs that it did, once.
    pub fn open(&self) {
        let opened = self.set(None);
        if let Some(name) = opened {
            let ready = self.state.borrow().is_ready();
            tracing::info!(gate = name, ready, "readiness gate opened");
        }
    }

    /// Closes the gate, or tells why it is still closed, for example `cannot list rollouts.argoproj.io: 403`.
    pub fn close(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if let Some(name) = self.set(Some(reason.clone())) {
            tracing::warn!(gate = name, reason, "readiness gate closed");
        }
    }

    /// Sets the state and gives the gate's name if that changed anything.
    fn set(&self, closed: Option<String>) -> Option<String> {
        let mut changed = None;
        self.state.send_if_modified(|state| {
            // A gate is never removed, so its index stays valid.
            let Some(gate) = state.gates.get_mut(self.index) else {
                return false;
            };
            if gate.closed == closed {
                return false;
            }
            gate.closed = closed;
            changed = Some(gate.name.clone());
            true
        });
        changed
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.gate, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_gate_is_open() {
        let readiness = Readiness::new();
        let listed = readiness.gate("deployments listed");
        let loaded = readiness.gate("certificate loaded");
        assert!(!readiness.is_ready());
        listed.open();
        assert!(!readiness.is_ready(), "one of two gates is open");
        loaded.open();
        assert!(readiness.is_ready());
        assert_eq!(readiness.not_ready(), []);
    }

    #[test]
    fn a_closed_gate_says_why() {
        let readiness = Readiness::new();
        let gate = readiness.gate("rollouts listed");
        gate.close("cannot list rollouts.argoproj.io: 403");
        let texts: Vec<_> = readiness.not_ready().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["rollouts listed: cannot list rollouts.argoproj.io: 403"]);
        gate.open();
        assert!(readiness.is_ready());
        gate.close("the watch ended");
        assert!(!readiness.is_ready(), "a gate can close again");
    }

    #[test]
    fn a_dropped_gate_stays_closed() {
        let readiness = Readiness::new();
        drop(readiness.gate("index built"));
        assert!(!readiness.is_ready());
    }

    #[test]
    fn shutdown_ends_readiness_whatever_the_gates_say() {
        let readiness = Readiness::new();
        let gate = readiness.gate("certificate loaded");
        gate.open();
        readiness.shut_down();
        assert!(!readiness.is_ready());
        gate.open();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.not_ready()[0].gate, "shutdown");
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_gate_opens() {
        let readiness = Readiness::new();
        let gate = readiness.gate("certificate loaded");
        let mut waiting = Box::pin(readiness.ready());
        assert!(futures::poll!(&mut waiting).is_pending());
        gate.open();
        assert!(futures::poll!(&mut waiting).is_ready());
    }
}
