//! What is checked: configurations, how far, and how a run is told.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::show;
use crate::step::{Action, Config, Fault};
use crate::system::{PARTS, System};

/// All are on the middle line.
const MIDDLE: [u8; PARTS] = [1, 1, 1];
/// How long one configuration may take in `make model`.
const PATIENCE: Duration = Duration::from_secs(150);

/// A configuration and how far it is explored: to the end, or to this depth.
pub struct Run {
    pub config: Config,
    pub depth: Option<usize>,
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

/// The configurations: small enough for every test run, or as large as `make model` has time for.
pub fn all(full: bool) -> Vec<Run> {
    let run = |config: Config, bounded: Option<usize>, whole: Option<usize>| Run {
        config,
        depth: if full { whole } else { bounded },
    };
    let one = |config: Config, name| Config { name, requests: 1, ..config };
    vec![
        run(one(three(), "API, gateway and UI, two lines, one request at a time"), None, None),
        run(one(pair(), "API and gateway, three lines, one request at a time"), Some(24), None),
        run(two_lines(), Some(16), None),
        run(pair(), Some(16), None),
        run(
            Config { name: "API and gateway, two lines, with the controller", sweeps: true, ..two_lines() },
            Some(13),
            None,
        ),
        run(
            Config { name: "API and gateway, two lines, two pods each", replicas_of_workload: 2, ..two_lines() },
            Some(11),
            None,
        ),
        run(three(), Some(14), None),
        run(
            Config { name: "API and gateway, two lines, replicas with caches", caches: 2, ..two_lines() },
            Some(8),
            None,
        ),
        run(Config { name: "Hold: API and gateway, two lines", hold: true, ..two_lines() }, Some(10), None),
        run(Config { name: "API and gateway, two lines, three requests", requests: 3, ..two_lines() }, Some(11), None),
    ]
}

/// What a run found against the properties, as text; empty when nothing.
pub fn check(run: &Run, threads: usize) -> String {
    let started = Instant::now();
    let config = &run.config;
    let mut builder = config.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    builder = builder.timeout(PATIENCE);
    if let Some(depth) = run.depth {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    let took = started.elapsed();
    let (deepest, found) = (checker.max_depth(), failures(config, &checker));
    let extent = if !found.is_empty() {
        "broken".to_owned()
    } else if took >= PATIENCE {
        format!("bounded by {} s", PATIENCE.as_secs())
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
