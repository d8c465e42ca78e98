//! The guard's own certificates against a real API server: rotated under load, damaged, and made by several at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
#[path = "../support/mod.rs"]
mod support;

mod clock;
mod damage;
mod folder;
mod forwarder;
mod load;
mod rotation;
mod scene;
