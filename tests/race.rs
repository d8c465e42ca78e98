//! Requests at the same moment, answered by two guards over a real API server, with answers that are late or lost.
//!
//! Requests that are each legal and not all together: whatever the guards admit, no observed state of the cluster may
//! break the order or the distance of versions. What is legal is said by `race/oracle.rs`, from the words of the law.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/ask.rs"]
mod ask;
#[path = "race/install.rs"]
mod install;
#[path = "race/oracle.rs"]
mod oracle;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/platform.rs"]
mod platform;
#[path = "race/proxy.rs"]
mod proxy;
#[path = "race/replicas.rs"]
mod replicas;
#[path = "race/rounds.rs"]
mod rounds;
