//! Tests against a real Kubernetes: one process, so that all of them share one cluster (see `support::cluster`).

mod support;

#[path = "kubernetes/index.rs"]
mod index;
#[path = "kubernetes/smoke.rs"]
mod smoke;
