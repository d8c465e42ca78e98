//! Runs of migrations on a real PostgreSQL, by real Alembic and by other programs: one at a time, with timeouts that hold,
//! killed, stopped and failing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "what other test files use")]
#[path = "support/alembic.rs"]
mod alembic;
#[path = "migrate/case.rs"]
mod case;
#[path = "migrate/command.rs"]
mod command;
#[path = "migrate/failures.rs"]
mod failures;
#[path = "migrate/killed.rs"]
mod killed;
#[path = "migrate/locks.rs"]
mod locks;
#[path = "support/pgbouncer.rs"]
mod pgbouncer;
#[path = "migrate/pooler.rs"]
mod pooler;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/postgres.rs"]
mod postgres;
#[path = "migrate/timeouts.rs"]
mod timeouts;
#[path = "migrate/together.rs"]
mod together;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;
