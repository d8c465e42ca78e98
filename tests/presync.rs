//! `upgrade-guard presync` against a real API server: what it does, records and refuses, and that it may be killed at any
//! moment.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what other test files use")]
mod support;

#[path = "presync/account.rs"]
mod account;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/alembic.rs"]
mod alembic;
#[path = "presync/back.rs"]
mod back;
#[path = "presync/base.rs"]
mod base;
#[path = "presync/database.rs"]
mod database;
#[path = "presync/failures.rs"]
mod failures;
#[path = "presync/gate.rs"]
mod gate;
#[path = "presync/kill.rs"]
mod kill;
#[path = "presync/kill_migrations.rs"]
mod kill_migrations;
#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/platform.rs"]
mod platform;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/postgres.rs"]
mod postgres;
#[path = "presync/scene.rs"]
mod scene;
#[path = "presync/steps.rs"]
mod steps;

#[allow(dead_code, reason = "what other test files use")]
#[path = "kubernetes/ask.rs"]
mod ask;

use support::wait;
