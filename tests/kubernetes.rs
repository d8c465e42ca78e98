//! Tests against a real Kubernetes: one process, so that all of them share one cluster (see `support::cluster`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

#[path = "kubernetes/ask.rs"]
mod ask;
#[path = "kubernetes/order.rs"]
mod order;
#[path = "kubernetes/scene.rs"]
mod scene;
#[path = "kubernetes/smoke.rs"]
mod smoke;
