//! What must hold for every platform, not only for the ones in the cases: design section 10 as properties.
//!
//! `platform` makes random platforms, `oracle` says what is legal straight from the law's words and from the
//! generator's own numbers, `cluster` is a world in which moves are asked for and rollouts go on, stop or complete.
//! `PROPTEST_CASES` raises or lowers the number of cases of every property.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::test_runner::Config;

mod cluster;
mod cure;
mod driver;
mod found;
mod hook;
mod liveness;
mod mirror;
mod oracle;
mod platform;
mod route;
mod safety;
mod state;
mod steps;
mod texts;

/// `cases` cases unless the environment says otherwise; a counterexample becomes a test of its own, never a file.
fn config(cases: u32) -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..default }
}
