//! Following the changes.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};

use super::{Args, chosen, outcome, show};
use crate::api::Platform;
use crate::cli::input::live;
use crate::cli::{Outcome, Output, Paint};
use crate::cluster::index::ObjectKey;
use crate::cluster::raw::RawObject;

/// Ages go on while nothing changes: a terminal is drawn again after this time.
const REDRAWN_AFTER: Duration = Duration::from_secs(10);
/// Moves to the upper left corner and clears what is below.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";
/// What stands between two answers where they are not drawn over each other; YAML has the same.
const BETWEEN: &str = "---";

/// Prints, and prints again after each change, until Ctrl-C; the exit code is that of the last answer.
pub(super) fn run(args: &Args, paint: Paint) -> anyhow::Result<Outcome> {
    let cluster = live::Cluster::connect()?;
    // A watch would try for ever where a list says at once that there is no cluster.
    cluster.platforms(args.namespace.as_deref())?;
    cluster.block_on(async |client| follow(client, args, paint).await)
}

async fn follow(client: Client, args: &Args, paint: Paint) -> anyhow::Result<Outcome> {
    let kind = ApiResource::erase::<Platform>(&());
    let api: Api<RawObject> = match &args.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind),
        None => Api::all_with(client, &kind),
    };
    let mut events = pin!(watcher(api, Config::default()).default_backoff());
    let mut redraw = tokio::time::interval(REDRAWN_AFTER);
    let mut known = Known::default();
    let mut screen = Screen { args, paint, shown: None, terminal: io::stdout().is_terminal() };
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        let open = tokio::select! {
            stopped = &mut stop => {
                stopped.context("cannot listen for Ctrl-C")?;
                return outcome(&known.platforms(args), args);
            }
            event = events.next() => match event {
                Some(Ok(event)) => match known.take(event) {
                    Ok(whole) => !whole || screen.draw(&known.platforms(args), false)?,
                    Err(error) => {
                        eprintln!("{error:#}");
                        true
                    }
                },
                Some(Err(error)) => {
                    eprintln!("the API server does not tell of changes now: {error}");
                    true
                }
                None => false,
            },
            _ = redraw.tick() => !screen.goes_stale() || screen.draw(&known.platforms(args), true)?,
        };
        if !open {
            return outcome(&known.platforms(args), args);
        }
    }
}

/// The Platforms that are known, and those of a list that is not complete yet.
#[derive(Default)]
struct Known {
    all: BTreeMap<ObjectKey, Platform>,
    listed: BTreeMap<ObjectKey, Platform>,
}

impl Known {
    /// Takes in an event, and returns whether the whole is known after it.
    fn take(&mut self, event: Event<RawObject>) -> anyhow::Result<bool> {
        let read = |object: RawObject| -> anyhow::Result<(ObjectKey, Platform)> {
            let key = ObjectKey::of(&object);
            let platform = object.read().with_context(|| format!("cannot read Platform {key}"))?;
            Ok((key, platform))
        };
        let whole = !matches!(event, Event::Init | Event::InitApply(_));
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => self.listed.extend([read(object)?]),
            Event::InitDone => self.all = std::mem::take(&mut self.listed),
            Event::Apply(object) => self.all.extend([read(object)?]),
            Event::Delete(object) => drop(self.all.remove(&ObjectKey::of(&object))),
        }
        Ok(whole)
    }

    fn platforms(&self, args: &Args) -> Vec<Platform> {
        chosen(self.all.values().cloned().collect(), args)
    }
}

struct Screen<'a> {
    args: &'a Args,
    paint: Paint,
    /// What was drawn last, with all ages as of one time, so that time alone is no change.
    shown: Option<Vec<u8>>,
    terminal: bool,
}

impl Screen<'_> {
    /// Whether ages on it can be drawn over.
    fn goes_stale(&self) -> bool {
        self.terminal && self.shown.is_some()
    }

    /// Draws what is new, and returns whether anybody still reads.
    fn draw(&mut self, platforms: &[Platform], again: bool) -> anyhow::Result<bool> {
        let content = self.rendered(platforms, Timestamp::UNIX_EPOCH)?;
        let first = self.shown.is_none();
        if !again && self.shown.as_ref() == Some(&content) {
            return Ok(true);
        }
        self.shown = Some(content);
        let mut text = match (self.terminal, first) {
            (true, _) => CLEAR.as_bytes().to_vec(),
            (false, true) => Vec::new(),
            (false, false) => format!("{BETWEEN}\n").into_bytes(),
        };
        text.extend(self.rendered(platforms, Timestamp::now())?);
        // Not through the command's output, which hides that a reader has gone: then nothing is left to do here.
        let mut stdout = io::stdout();
        match stdout.write_all(&text).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).context("cannot write"),
        }
    }

    fn rendered(&self, platforms: &[Platform], now: Timestamp) -> anyhow::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut out = Output::new(&mut text, self.paint);
        show(platforms, self.args.output, now, &mut out)?;
        if platforms.is_empty() {
            writeln!(out, "no Platform yet")?;
        }
        Ok(text)
    }
}
