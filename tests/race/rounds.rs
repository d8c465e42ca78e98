//! Rounds of requests at the same moment.

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};

use crate::install::Install;
use crate::platform::{API, GATEWAY, PORTAL, UI, set};
use crate::replicas::Replicas;
use crate::support::cluster::Shape;

/// Moves that are sent at the same moment, each with the version to come back to.
type Moves = &'static [(&'static str, &'static str, &'static str)];

/// What became of the rounds of one install.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    /// Rounds in which something was admitted.
    moved: usize,
    versions_seen: usize,
}

/// One install plays `rounds`; `together` says which of the moves may be admitted in one round, by their positions.
async fn play(install: Install, moves: Moves, rounds: usize, together: fn(&[usize]) -> bool) -> Result<Tally> {
    let mut tally = Tally::default();
    let wanted: Vec<_> = moves.iter().map(|(component, to, _)| (*component, *to)).collect();
    for round in 0..rounds {
        install.ready_for(&wanted).await?;
        let asks: Vec<_> = wanted.iter().map(|(component, to)| set(component, to)).collect();
        let answers = join_all(asks.iter().map(|ask| install.send(ask))).await;
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let admitted: Vec<usize> = (0..moves.len()).filter(|index| answers[*index].is_allowed()).collect();
        ensure!(together(&admitted), "round {round}: admitted {admitted:?} of {moves:?}: {answers:?}");
        for (index, answer) in answers.iter().enumerate().filter(|(_, answer)| answer.code >= 500) {
            // The guard may have left an intent before its answer was lost. It ends when the workload changes.
            install.touch(moves[index].0).await.with_context(|| format!("after {answer:?}"))?;
        }
        tally.moved += usize::from(!admitted.is_empty());
        for index in &admitted {
            let (component, to, _) = moves[*index];
            install.rolled_out(component, to).await?;
        }
        for index in admitted {
            let (component, _, back) = moves[index];
            install.passes(component, back).await?;
        }
        tally.rounds += 1;
    }
    let (versions, breaches) = install.breaches();
    ensure!(breaches.is_empty(), "{breaches:#?}");
    tally.versions_seen = versions;
    Ok(tally)
}

/// Plays `rounds` in each of `installs` namespaces at once, and says what it saw.
async fn race(
    shape: Shape,
    state: &'static [(&'static str, &'static str)],
    moves: Moves,
    (installs, rounds): (usize, usize),
    together: fn(&[usize]) -> bool,
) -> Result<()> {
    let Some(replicas) = Replicas::start(shape).await? else { return Ok(()) };
    let controlled = shape == Shape::Whole;
    let play = async || {
        let install = Install::of(&replicas.cluster, controlled, state).await?;
        let namespace = install.namespace.clone();
        play(install, moves, rounds, together).await.with_context(|| replicas.logs(&namespace))
    };
    let tallies: Vec<Tally> = try_join_all((0..installs).map(|_| play())).await?;
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let (rounds, admitted) = (sum(|tally| tally.rounds), sum(|tally| tally.moved));
    let (lost, races) = replicas.counts().await?;
    eprintln!(
        "{rounds} rounds: something admitted in {admitted}, {} states seen, {lost} answers lost, {races} races lost",
        sum(|tally| tally.versions_seen)
    );
    // A guard that refuses everything, or that is never late, would show nothing.
    ensure!(admitted * 2 > rounds, "too little was admitted: {admitted} of {rounds}");
    ensure!(lost > 0, "no answer was lost");
    replicas.stop().await
}

/// The API goes one line back while the gateway goes one line forward. The test says what the controllers would, so that
/// a thousand rounds take no hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_back_and_the_gateway_forward() -> Result<()> {
    race(
        Shape::ApiServer,
        &[(API, "2.3.0"), (GATEWAY, "2.2.0")],
        &[(API, "2.2.0", "2.3.0"), (GATEWAY, "2.3.0", "2.2.0")],
        (8, 125),
        |admitted| admitted.len() <= 1,
    )
    .await
}

/// The gateway goes one line back while console and portal go one line forward, with real rollouts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_components_at_once() -> Result<()> {
    race(
        Shape::Whole,
        &[(API, "2.3.0"), (GATEWAY, "2.3.0"), (UI, "2.2.0"), (PORTAL, "2.2.0")],
        &[(GATEWAY, "2.2.0", "2.3.0"), (UI, "2.3.0", "2.2.0"), (PORTAL, "2.3.0", "2.2.0")],
        (4, 6),
        |admitted| !admitted.contains(&0) || admitted.len() == 1,
    )
    .await
}
