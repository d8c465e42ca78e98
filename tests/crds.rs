//! CRDs: compared, tried out, applied and awaited, on a real API server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[path = "crds/agreement.rs"]
mod agreement;
#[path = "crds/live.rs"]
mod live;
#[path = "crds/objects.rs"]
mod objects;
#[path = "crds/scene.rs"]
mod scene;
#[path = "crds/sources.rs"]
mod sources;
