//! CRDs and a real API server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[path = "crds/content.rs"]
mod content;
#[path = "crds/diff.rs"]
mod diff;
