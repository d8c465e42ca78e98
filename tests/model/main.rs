//! Model check.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::step::{Config, Fault};

mod cluster;
mod guard;
mod oracle;
mod progress;
mod show;
mod step;
mod system;
mod webhook;

fn pair() -> Config {
    Config {
        name: "two components",
        parts: 2,
        lines: (0, 2),
        starts: vec![[1, 1, 0]],
        replicas_of_workload: 1,
        requests: 2,
        sweeps: true,
        caches: 0,
        hold: false,
        lag: false,
        short_requests: false,
        dry_runs: false,
        fault: Fault::None,
    }
}

#[test]
fn explore() {
    let mut config = pair();
    let var = |name: &str| std::env::var(name).ok();
    if let Some(v) = var("M_REQ") { config.requests = v.parse().unwrap() }
    if let Some(v) = var("M_PODS") { config.replicas_of_workload = v.parse().unwrap() }
    if let Some(v) = var("M_PARTS") { config.parts = v.parse().unwrap() }
    if let Some(v) = var("M_LOW") { config.lines.0 = v.parse().unwrap() }
    if let Some(v) = var("M_HIGH") { config.lines.1 = v.parse().unwrap() }
    if var("M_LAG").is_some() { config.lag = true }
    if var("M_SHORT").is_some() { config.short_requests = true }
    if var("M_HOLD").is_some() { config.hold = true }
    if var("M_NOSWEEP").is_some() { config.sweeps = false }
    if let Some(v) = var("M_CACHES") { config.caches = v.parse().unwrap() }
    if config.lines.0 == 1 { config.starts = vec![[1, 1, 1]] }
    if config.parts == 3 { config.starts = vec![[1, 1, 1]] }
    if let Some(v) = var("M_FAULT") {
        config.fault = [Fault::None, Fault::NoIntent, Fault::WorkloadsFirst, Fault::EndsWhenShown, Fault::EndsByTimeAlone, Fault::ExpiresEarly, Fault::PlainWrite, Fault::CacheAlone, Fault::DryRunGoesOn, Fault::OwnObjectIsEvidence, Fault::ClockAfterReads][v.parse::<usize>().unwrap()];
        config.dry_runs = true;
    }
    let started = Instant::now();
    let shown = config.clone();
    let mut builder = config.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    if let Some(v) = var("M_DEPTH") { builder = builder.target_max_depth(v.parse().unwrap()) }
    builder = builder.timeout(std::time::Duration::from_secs(var("M_TIMEOUT").map_or(60, |v| v.parse().unwrap())));
    let checker = builder.spawn_bfs().join();
    println!("{} states, {} unique, depth {}, {:?}, done {}", checker.state_count(), checker.unique_state_count(), checker.max_depth(), started.elapsed(), checker.is_done());
    for (name, path) in checker.discoveries() {
        if name.starts_with("all get") || name.starts_with("a workload is") { println!("({name})"); continue }
        println!("{name}:\n{}", show::path(&shown, path));
    }
}
