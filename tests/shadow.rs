//! Migrations tried on a temporary database of a real PostgreSQL by a real Alembic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "what other test files use")]
#[path = "support/alembic.rs"]
mod alembic;
#[path = "shadow/gate.rs"]
mod gate;
#[path = "shadow/lifetime.rs"]
mod lifetime;
#[path = "shadow/places.rs"]
mod places;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/postgres.rs"]
mod postgres;
#[path = "shadow/scene.rs"]
mod scene;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;
