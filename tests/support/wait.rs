//! Waiting for what a real cluster does: by watch, never by sleeping, and always with a deadline.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use kube::runtime::{WatchStreamExt as _, watcher::Config};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a test waits for one thing: seconds on an idle machine, but test machines are busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The time between two looks at what cannot be watched.
const BETWEEN: Duration = Duration::from_millis(50);

/// Asks again until the answer is `Ok`, for what cannot be watched; an error of the inner result is an answer that may
/// change, one of the outer result is final.
pub(crate) async fn eventually<T, E: Debug>(
    what: &str,
    question: impl AsyncFn() -> Result<std::result::Result<T, E>>,
) -> Result<T> {
    let began = tokio::time::Instant::now();
    loop {
        match question().await? {
            Ok(found) => return Ok(found),
            Err(last) if began.elapsed() > DEADLINE => {
                return Err(anyhow!("waited {DEADLINE:?} for {what}; the last answer was: {last:?}"));
            }
            Err(_) => tokio::time::sleep(BETWEEN).await,
        }
    }
}

/// Everything a watched kind must be.
pub(crate) trait Watched: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static {}
impl<K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static> Watched for K {}

/// Waits until the object exists and `holds` says true of it; `what` names the wait in the error, which shows the
/// last state seen.
pub(crate) async fn wait_for<K: Watched>(
    api: &Api<K>,
    name: &str,
    what: &str,
    holds: impl Fn(&K) -> bool,
) -> Result<K> {
    let found = wait_until(api, name, what, |object| object.is_some_and(&holds)).await?;
    found.with_context(|| format!("{name} vanished while waiting for {what}"))
}

/// Waits until the object is gone.
pub(crate) async fn wait_gone<K: Watched>(api: &Api<K>, name: &str) -> Result<()> {
    wait_until(api, name, "it to be gone", |object| object.is_none()).await?;
    Ok(())
}

async fn wait_until<K: Watched>(
    api: &Api<K>,
    name: &str,
    what: &str,
    holds: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>> {
    let mut last = None;
    let waiting = async {
        // With backoff an API server that restarts is only a delay.
        let mut states = pin!(watch_object(api.clone(), name).default_backoff());
        while let Some(state) = states.next().await {
            match state {
                Ok(object) if holds(object.as_ref()) => return Ok(object),
                Ok(object) => last = Some(Ok(object)),
                Err(error) => last = Some(Err(error)),
            }
        }
        Err(anyhow!("the watch ended"))
    };
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(done) => done,
        Err(_) => Err(anyhow!(
            "waited {DEADLINE:?} for {what} of {kind} {name}; {seen}",
            kind = std::any::type_name::<K>(),
            seen = describe(last),
        )),
    }
}

/// Waits until `holds` says true of all the objects that the label selector chooses, in the order of their names.
pub(crate) async fn wait_for_all<K: Watched>(
    api: &Api<K>,
    labels: &str,
    what: &str,
    holds: impl Fn(&[K]) -> bool,
) -> Result<Vec<K>> {
    let mut all = BTreeMap::new();
    let waiting = async {
        let config = Config::default().labels(labels);
        let mut events = pin!(watcher(api.clone(), config).default_backoff());
        let mut listing = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing.clear(),
                Ok(Event::InitApply(object)) => {
                    listing.insert(object.name_any(), object);
                    continue;
                }
                Ok(Event::InitDone) => all = std::mem::take(&mut listing),
                Ok(Event::Apply(object)) => {
                    all.insert(object.name_any(), object);
                }
                Ok(Event::Delete(object)) => {
                    all.remove(&object.name_any());
                }
                // The backoff tries again; a lasting error ends at the deadline.
                Err(_) => continue,
            }
            let objects: Vec<K> = all.values().cloned().collect();
            if holds(&objects) {
                return Ok(objects);
            }
        }
        Err(anyhow!("the watch ended"))
    };
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(done) => done,
        Err(_) => Err(anyhow!(
            "waited {DEADLINE:?} for {what} of all {kind} with {labels}; last seen: {seen}",
            kind = std::any::type_name::<K>(),
            seen = all.into_values().map(show).collect::<Vec<_>>().join("\n"),
        )),
    }
}

fn describe<K: Watched>(last: Option<Result<Option<K>, watcher::Error>>) -> String {
    match last {
        None => "the API server never answered".to_owned(),
        Some(Err(error)) => format!("the last answer was an error: {error}"),
        Some(Ok(None)) => "it does not exist".to_owned(),
        Some(Ok(Some(object))) => format!("last seen: {}", show(object)),
    }
}

/// The object as JSON, without the part that nobody reads.
fn show<K: Watched>(mut object: K) -> String {
    object.managed_fields_mut().clear();
    serde_json::to_string_pretty(&object).unwrap_or_else(|error| error.to_string())
}
