//! `upgrade-guard presync` against a real API server: what it does, records and refuses, and that it may be killed at any
//! moment.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[path = "presync/account.rs"]
mod account;
#[path = "presync/gate.rs"]
mod gate;
#[path = "presync/kill.rs"]
mod kill;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/platform.rs"]
mod platform;
#[path = "presync/scene.rs"]
mod scene;
#[path = "presync/steps.rs"]
mod steps;

#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/ask.rs"]
mod ask;
