//! The Helm chart, and the manifests that are made of it: what it renders, what a real API server takes of it, and its
//! whole life with the real Helm.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/kustomize.rs"]
mod kustomize;
#[path = "chart/life.rs"]
mod life;
#[path = "chart/matrix.rs"]
mod matrix;
#[path = "chart/reference.rs"]
mod reference;
#[path = "chart/rendered.rs"]
mod rendered;
#[path = "chart/server.rs"]
mod server;
#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;
