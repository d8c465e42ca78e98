//! Least privilege, by the API server's own account of it: a guard with the rights of the chart, and nothing else, does all
//! that a guard does; what it did is held against what it may. The same for the accounts of the hooks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/ask.rs"]
mod ask;
#[path = "rights/audit.rs"]
mod audit;
#[path = "rights/guard.rs"]
mod guard;
#[allow(dead_code, reason = "what other test files use")]
#[path = "chart/helm.rs"]
mod helm;
#[path = "rights/hooks.rs"]
mod hooks;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/platform.rs"]
mod platform;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/scene.rs"]
mod scene;
#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;
