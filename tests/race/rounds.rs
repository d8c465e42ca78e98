//! Rounds of requests at the same moment.

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};

use crate::ask::Answer;
use crate::install::Install;
use crate::oracle::{Live, breaches};
use crate::platform::{API, GATEWAY, PORTAL, UI, set};
use crate::replicas::Replicas;
use crate::support::cluster::Shape;

/// A race: what runs before each round, and what is asked for at the same moment.
#[derive(Clone, Copy)]
struct Race {
    start: &'static [(&'static str, &'static str)],
    moves: &'static [(&'static str, &'static str)],
}

const API_BACK_GATEWAY_FORWARD: Race =
    Race { start: &[(API, "2.3.0"), (GATEWAY, "2.2.0")], moves: &[(API, "2.2.0"), (GATEWAY, "2.3.0")] };
const GATEWAY_BACK_CONSOLE_AND_PORTAL_FORWARD: Race = Race {
    start: &[(API, "2.3.0"), (GATEWAY, "2.3.0"), (UI, "2.2.0"), (PORTAL, "2.2.0")],
    moves: &[(GATEWAY, "2.2.0"), (UI, "2.3.0"), (PORTAL, "2.3.0")],
};

impl Race {
    /// Where a component starts.
    fn before(&self, component: &str) -> Result<&'static str> {
        let found = self.start.iter().find(|(name, _)| *name == component);
        found.map(|(_, version)| *version).context("what moves was there before")
    }

    /// What is illegal in what a round admitted: while the rollouts go on, old and new versions all count.
    fn illegal(&self, answers: &[Answer]) -> Vec<String> {
        let admitted = self.moves.iter().zip(answers).filter(|(_, answer)| answer.is_allowed()).map(|(one, _)| one);
        let mut live = Live::new();
        for (component, version) in self.start.iter().chain(admitted) {
            live.entry(component).or_default().insert((*version).to_owned());
        }
        breaches(&live)
    }
}

/// What became of the rounds of one install.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    /// Rounds in which something was admitted.
    moved: usize,
    states: usize,
}

/// One install plays this many rounds.
async fn play(install: Install, race: Race, rounds: usize) -> Result<Tally> {
    let mut tally = Tally { rounds, ..Tally::default() };
    for round in 0..rounds {
        install.ready_for(race.moves).await?;
        let asks: Vec<_> = race.moves.iter().map(|(component, to)| set(component, to)).collect();
        let answers = join_all(asks.iter().map(|ask| install.send(ask))).await;
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let illegal = race.illegal(&answers);
        ensure!(illegal.is_empty(), "round {round} admitted {illegal:?}: {answers:?}");
        let mut admitted = Vec::new();
        for ((component, to), answer) in race.moves.iter().zip(&answers) {
            if answer.code >= 500 {
                // The guard may have left an intent before its answer was lost. It ends when the workload changes.
                install.touch(component).await.with_context(|| format!("after {answer:?}"))?;
            } else if answer.is_allowed() {
                install.rolled_out(component).await.with_context(|| format!("{component} {to}"))?;
                admitted.push(*component);
            }
        }
        tally.moved += usize::from(!admitted.is_empty());
        for component in admitted {
            install.passes(component, race.before(component)?).await?;
        }
    }
    let (states, breaches) = install.breaches();
    ensure!(breaches.is_empty(), "{breaches:#?}");
    Ok(Tally { states, ..tally })
}

/// Plays `rounds` in each of `installs` namespaces at once, and says what it saw.
async fn run(shape: Shape, race: Race, installs: usize, rounds: usize) -> Result<()> {
    let Some(replicas) = Replicas::start(shape).await? else { return Ok(()) };
    let play = async || {
        let install = Install::of(&replicas.cluster, shape == Shape::Whole, race.start).await?;
        let namespace = install.namespace.clone();
        play(install, race, rounds).await.with_context(|| replicas.logs(&namespace))
    };
    let tallies: Vec<Tally> = try_join_all((0..installs).map(|_| play())).await?;
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let (rounds, admitted) = (sum(|tally| tally.rounds), sum(|tally| tally.moved));
    let (lost, races) = replicas.counts().await?;
    eprintln!(
        "{rounds} rounds: something admitted in {admitted}, {} states seen, {lost} answers lost, {races} races lost",
        sum(|tally| tally.states)
    );
    // A guard that refuses everything, or that is never late, would show nothing.
    ensure!(admitted * 2 > rounds, "too little was admitted: {admitted} of {rounds}");
    ensure!(lost > 0, "no answer was lost");
    replicas.stop().await
}

// Hundreds of rounds: the test says what the controllers would, so that they take minutes.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_back_and_the_gateway_forward() -> Result<()> {
    run(Shape::ApiServer, API_BACK_GATEWAY_FORWARD, 8, 125).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_components_at_once() -> Result<()> {
    run(Shape::ApiServer, GATEWAY_BACK_CONSOLE_AND_PORTAL_FORWARD, 8, 32).await
}

/// With real controllers and pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_components_that_really_roll_out() -> Result<()> {
    run(Shape::Whole, GATEWAY_BACK_CONSOLE_AND_PORTAL_FORWARD, 4, 6).await
}
