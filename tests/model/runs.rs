//! What is checked: configurations, how far, and how a run is told.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::show;
use crate::step::{Action, Config, Fault};
use crate::system::{PARTS, System};

/// All are on the middle line.
const MIDDLE: [u8; PARTS] = [1, 1, 1];

/// A configuration and how far it is explored: to the end, or to this depth, and no longer than this.
pub struct Run {
    pub config: Config,
    pub depth: Option<usize>,
    pub patience: Duration,
}

impl Run {
    /// To the end, however long that takes.
    pub fn whole(config: Config) -> Self {
        Self { config, depth: None, patience: Duration::MAX }
    }
}

/// API and gateway on all three lines: every move up and back, and the window of SKEW.
pub fn pair() -> Config {
    Config {
        name: "API and gateway, three lines",
        parts: 2,
        lines: (0, 2),
        starts: vec![MIDDLE],
        replicas_of_workload: 1,
        requests: 2,
        sweeps: false,
        caches: 0,
        hold: false,
        dry_runs: true,
        fault: Fault::None,
    }
}

/// API and gateway on two lines, from every settled and legal state.
pub fn two_lines() -> Config {
    Config { name: "API and gateway, two lines", lines: (1, 2), starts: vec![MIDDLE, [2, 1, 1], [2, 2, 1]], ..pair() }
}

/// API, gateway and UI on two lines.
pub fn three() -> Config {
    Config { name: "API, gateway and UI, two lines", parts: 3, lines: (1, 2), ..pair() }
}

/// The configurations: small enough for every test run, or as large as `make model` has time for. The first two
/// are exhausted each time.
pub fn all(full: bool) -> Vec<Run> {
    let one = |name, config: Config| Run::whole(Config { name, requests: 1, ..config });
    let run = |name, config: Config, depth: usize, seconds: u64| Run {
        config: Config { name, ..config },
        depth: (!full).then_some(depth),
        patience: Duration::from_secs(seconds),
    };
    let with_controller = || Config { sweeps: true, ..two_lines() };
    let with_hold = || Config { hold: true, ..two_lines() };
    let with_caches = || Config { caches: 2, ..two_lines() };
    let two_pods = || Config { replicas_of_workload: 2, ..two_lines() };
    let three_requests = || Config { requests: 3, ..two_lines() };
    let one_held = || Config { requests: 1, ..with_hold() };
    vec![
        one("one request at a time; API, gateway and UI, two lines", three()),
        one("one request at a time; API and gateway, three lines", pair()),
        run("one request at a time; API and gateway, two lines, with Hold", one_held(), 18, 60),
        run("API and gateway, two lines, with Hold", with_hold(), 10, 60),
        run("API and gateway, two lines, replicas with caches", with_caches(), 9, 60),
        run("API and gateway, two lines, with the controller", with_controller(), 12, 60),
        run("API and gateway, two lines, two pods each", two_pods(), 12, 60),
        run("API and gateway, two lines, three requests", three_requests(), 10, 60),
        run("API, gateway and UI, two lines", three(), 13, 60),
        run("API and gateway, three lines", pair(), 15, 120),
        run("API and gateway, two lines", two_lines(), 15, 600),
    ]
}

/// What a run found against the properties, as text; empty when nothing.
pub fn check(run: &Run, threads: usize) -> String {
    let started = Instant::now();
    let config = &run.config;
    let mut builder = config.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if run.patience < Duration::MAX {
        builder = builder.timeout(run.patience);
    }
    if let Some(depth) = run.depth {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    let took = started.elapsed();
    let (deepest, found) = (checker.max_depth(), failures(config, &checker));
    let extent = if !found.is_empty() {
        "broken".to_owned()
    } else if took >= run.patience {
        format!("bounded by {} s", run.patience.as_secs())
    } else if run.depth.is_some_and(|depth| deepest >= depth) {
        "bounded by depth".to_owned()
    } else {
        let missing: Vec<&str> = sometimes(config).filter(|name| checker.discovery(name).is_none()).collect();
        assert!(missing.is_empty(), "{}: never seen: {missing:?}", config.name);
        "exhausted".to_owned()
    };
    println!(
        "{}: {extent}: {} states, {} of them different, depth {deepest}, {:.1} s",
        config.name,
        checker.state_count(),
        checker.unique_state_count(),
        took.as_secs_f64(),
    );
    let shown = found.into_iter().map(|(name, path)| format!("{name}\n{}", show::path(config, path)));
    shown.collect::<Vec<_>>().join("\n")
}

/// The properties that are broken, each with the way there.
fn failures(config: &Config, checker: &impl Checker<Config>) -> Vec<(&'static str, Path<System, Action>)> {
    let properties = config.properties();
    let mut found: Vec<_> = checker.discoveries().into_iter().collect();
    found.retain(|(name, _)| {
        properties.iter().any(|property| property.name == *name && property.expectation.discovery_is_failure())
    });
    found.sort_by_key(|(name, path)| (path.clone().into_vec().len(), *name));
    found
}

fn sometimes(config: &Config) -> impl Iterator<Item = &'static str> {
    let properties = config.properties().into_iter();
    properties.filter(|property| !property.expectation.discovery_is_failure()).map(|property| property.name)
}
