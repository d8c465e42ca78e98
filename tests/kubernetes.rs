//! Tests against a real Kubernetes: one process, so that all of them share one cluster (see `support::cluster`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

#[path = "kubernetes/ask.rs"]
mod ask;
#[path = "kubernetes/controller.rs"]
mod controller;
#[path = "kubernetes/hold.rs"]
mod hold;
#[path = "kubernetes/hook.rs"]
mod hook;
#[path = "kubernetes/index.rs"]
mod index;
#[path = "kubernetes/kinds.rs"]
mod kinds;
#[path = "kubernetes/lifecycle.rs"]
mod lifecycle;
#[path = "kubernetes/metrics.rs"]
mod metrics;
#[path = "kubernetes/order.rs"]
mod order;
#[path = "kubernetes/outage.rs"]
mod outage;
#[path = "kubernetes/overrides.rs"]
mod overrides;
#[path = "kubernetes/platform.rs"]
mod platform;
#[path = "support/prometheus.rs"]
mod prometheus;
#[allow(dead_code, reason = "what other test files use")]
#[path = "prometheus/queries.rs"]
mod queries;
#[path = "kubernetes/readme.rs"]
mod readme;
#[path = "kubernetes/real.rs"]
mod real;
#[path = "kubernetes/scene.rs"]
mod scene;
#[path = "kubernetes/scope.rs"]
mod scope;
#[path = "kubernetes/smoke.rs"]
mod smoke;
#[path = "kubernetes/status.rs"]
mod status;
#[path = "kubernetes/versions.rs"]
mod versions;
#[path = "kubernetes/ways.rs"]
mod ways;
