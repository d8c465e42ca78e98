//! `upgrade-guard verify` and `upgrade-guard wait` as programs, against a real API server with a running guard.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/ask.rs"]
mod ask;
#[path = "verify/database.rs"]
mod database;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/platform.rs"]
mod platform;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "verify/program.rs"]
mod program;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/scene.rs"]
mod scene;
#[path = "verify/upgraded.rs"]
mod upgraded;
#[path = "verify/waiting.rs"]
mod waiting;
// What `support/postgres.rs` knows beside itself.
use support::wait;
