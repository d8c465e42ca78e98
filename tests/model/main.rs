//! The admission protocol of design section 5, explored state by state over the real `decide` and the real
//! `Evidence::ends`: no interleaving of requests, rollouts, crashes, stale caches and dry runs breaks ORDER or SKEW,
//! and from everywhere an upgrade can go on.
//!
//! What is modelled (`webhook`, `cluster`):
//! - Requests of users for any move of one line, dry runs, and the controller's requests to let a held rollout go on.
//!   Each carries its workload's object as the API server had it; it may be long out of date when it is judged.
//! - The guard's reads, one by one: the Platform first, then the workloads in any order; then `decide`; then the
//!   compare-and-swap that adds the intent and drops what ended; then the answer. The API server stores what was
//!   allowed only if the workload still asks for what it did, at any time before the intent's expiry, or never.
//! - A request may fail at every point, for any reason: a refusal from a stale cache, a crash, another webhook, a lost
//!   connection, too many lost races. What it wrote stays. A conflict that the API server judges again is a new request.
//! - Rollouts: the workload's controller sees a change some time later, and goes on with the one before until then;
//!   new pods come one by one, each before an old one goes.
//! - The leader's controller, which drops ended intents in the same way. It may stop at every point.
//! - What an intent's request found: once the workload was changed, the request can no longer be stored.
//! - Time as an event: an intent expires any time after its change can no longer be stored. Clocks that differ are in
//!   that: a replica that takes an intent for not yet expired only refuses more and drops less.
//! - Hold: any change of a settled workload may be stored without effect, because a stale cache may say `NotYet` at any
//!   time.
//!
//! How it is kept small, without losing behaviour: a Platform has no resource version, but who read it before a write
//! starts again at once, because until its own write fails nobody sees what it does; of what a read shows of an intent
//! only is kept whether it ended; requests are sorted. Replicas are their requests; where they have caches of their own
//! these are explicit.
//!
//! What is not: StatefulSets and DaemonSets (their status tells versions otherwise), several workloads of a component,
//! creation and deletion, pods that are on their way out, rollouts that get stuck, two reads for a Deployment and its
//! ReplicaSets, and statuses that count pods late. That last one breaks ORDER in a narrow case, which
//! `the_limit_of_what_a_status_tells` shows.
//!
//! Two demands on the guard came out of this check, and are faults below: what a workload shows of an intent must not be
//! older than the intent, for the request's own workload neither (`OwnObjectIsEvidence`; the model reads it again, the
//! guard looks at the resource versions); and whether an intent expired must be asked at a time from before the reads
//! (`ClockAfterReads`).
//!
//! `make model` explores more than the test run does; both print how far they came.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "how large these are depends on how many lines there are")]

use crate::runs::{Run, all, check, pair, two_lines};
use crate::step::{Config, Fault};
use crate::system::PARTS;

mod cluster;
mod guard;
mod oracle;
mod progress;
mod runs;
mod show;
mod step;
mod system;
mod webhook;

fn is_full() -> bool {
    std::env::var("UPGRADE_GUARD_MODEL").is_ok_and(|effort| effort == "full")
}

#[test]
fn no_interleaving_breaks_order_or_skew_and_an_upgrade_can_go_on() {
    for run in all(is_full()) {
        let found = check(&run, 2);
        assert!(found.is_empty(), "{}: {found}", run.config.name);
    }
}

/// Explores `config` with `fault` until something is broken, and tells how; one of `broken` must be.
fn finds(config: Config, fault: Fault, broken: &[&str]) {
    let run = Run::whole(Config { fault, ..config });
    let found = check(&run, 1);
    println!("{fault:?}: {found}");
    assert!(broken.iter().any(|name| found.starts_with(name)), "{fault:?} goes unnoticed: {found}");
}

/// Where a fault needs many steps, it is looked for from a start that is near.
fn from(start: [u8; PARTS]) -> Config {
    Config { starts: vec![start], dry_runs: false, ..two_lines() }
}

const LAW: [&str; 2] = ["ORDER", "SKEW"];

#[test]
fn without_intents_two_legal_moves_break_the_law() {
    finds(pair(), Fault::NoIntent, &LAW);
}

#[test]
fn workloads_read_before_the_platform_break_the_law() {
    finds(pair(), Fault::WorkloadsFirst, &LAW);
}

/// What was undone may still get pods, until its controller has seen that.
#[test]
fn an_intent_that_ends_when_it_is_shown_breaks_the_law() {
    finds(pair(), Fault::EndsWhenShown, &LAW);
}

#[test]
fn an_intent_that_ends_by_time_alone_breaks_the_law() {
    finds(from([2, 1, 1]), Fault::EndsByTimeAlone, &LAW);
}

#[test]
fn an_intent_that_expires_before_its_request_breaks_the_law() {
    finds(pair(), Fault::ExpiresEarly, &LAW);
}

#[test]
fn a_platform_written_without_its_resource_version_breaks_the_law() {
    finds(pair(), Fault::PlainWrite, &LAW);
}

#[test]
fn an_allow_from_the_cache_breaks_the_law() {
    finds(Config { caches: 2, ..pair() }, Fault::CacheAlone, &LAW);
}

/// The old object may be older than another request's intent, which it seems to show as settled.
#[test]
fn a_requests_own_object_as_evidence_breaks_the_law() {
    finds(from([1, 1, 1]), Fault::OwnObjectIsEvidence, &LAW);
}

/// A workload that was read before the expiry may have been changed until then.
#[test]
fn a_clock_that_is_read_after_the_workloads_breaks_the_law() {
    finds(pair(), Fault::ClockAfterReads, &LAW);
}

#[test]
fn intents_that_never_end_wedge_the_upgrade() {
    finds(pair(), Fault::NeverEnds, &["an upgrade can go on"]);
}

#[test]
fn a_dry_run_that_is_treated_like_any_request_writes() {
    finds(pair(), Fault::DryRunGoesOn, &["a dry run writes nothing"]);
}

/// A pod that came just before its change was undone, more than an intent's time after that was admitted, and that no
/// ReplicaSet has counted when the Deployment's controller has already seen the undoing.
#[test]
fn the_limit_of_what_a_status_tells() {
    finds(from([2, 1, 1]), Fault::CountsLate, &LAW);
}
