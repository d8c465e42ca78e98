//! The preconditions of an upgrade, looked at on a real API server: built-in objects with their controllers, custom
//! resources of the operators' groups, kinds that do not exist and rights that are missing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[path = "preconditions/backups.rs"]
mod backups;
#[path = "preconditions/cron_jobs.rs"]
mod cron_jobs;
#[path = "preconditions/objects.rs"]
mod objects;
#[path = "preconditions/scene.rs"]
mod scene;
