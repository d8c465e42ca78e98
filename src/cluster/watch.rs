//! The watches that keep the index: one task for each kind.
//!
//! A list replaces what is kept of its kind at once, when it is complete; until then readers see the old world. Objects
//! turn into records as they come, so that a list of a large cluster is never in memory as a whole.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::core::ApiResource;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::crds::Crds;
use self::rollouts::{Presence, follow_rollouts};
use self::sink::{Namespaced, Policies, Releases};
use super::crd::Digest;
use super::feed::{Autoscalers, Budgets, ControllerRevisions, Platforms, ReplicaSets, Source, Workloads};
use super::index::{Listed, ObjectKey, ObjectProblem, SharedIndex};
use super::object::WorkloadKind;
use super::raw::RawObject;

mod crds;
mod rollouts;
mod sink;
#[cfg(test)]
mod tests;

/// Objects in one answer to a list: a megabyte or two, and forty requests for ten thousand objects.
const PAGE_SIZE: u32 = 250;
/// The longest wait for one page. The client has no read timeout of its own, and a list that never ends would leave
/// the index as it is without a word.
const PAGE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long nothing may be heard of a watch that failed until it counts as well again: a quiet watch says nothing when it
/// stands. Longer than the client tries to connect, which is 30 seconds.
const RECOVERY: Duration = Duration::from_mins(1);

/// Who wants to know how the watches are doing. `kind` is a plural such as `deployments`, see
/// [`kinds`].
pub trait WatchObserver: Send + Sync + 'static {
    /// `false` when the watch of a kind starts; `true` each time that a list of it is complete. A later restart does
    /// not take it back: what was known stays in use.
    fn synced(&self, kind: &'static str, synced: bool);
    /// An object was created, changed or deleted.
    fn event(&self, kind: &'static str);
    /// An object cannot be used as it is; its last good self stays in force.
    fn invalid(&self, kind: &'static str, object: &str, message: &str);
    /// A list or watch failed; it is tried again. What is known may be old until an event, a complete list or
    /// [`WatchObserver::recovered`].
    fn error(&self, kind: &'static str, message: &str);
    /// A watch that failed stands again, though no event says so.
    fn recovered(&self, kind: &'static str);
}

/// The kinds that [`run`] speaks of, for those who want a readiness gate of each before it starts.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    Source::ALL.into_iter().map(Source::as_str)
}

/// Why the watches ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A watch ended though nobody asked for it.
    #[error("the watch of {kind} ended")]
    Ended {
        /// The plural of the kind.
        kind: &'static str,
    },
    /// A watch panicked.
    #[error("the watch of {kind} panicked")]
    Panicked {
        /// The plural of the kind.
        kind: &'static str,
        /// The panic.
        #[source]
        source: JoinError,
    },
}

/// What all watches share.
#[derive(Clone)]
struct Context {
    client: Client,
    index: SharedIndex,
    observer: Arc<dyn WatchObserver>,
    shutdown: CancellationToken,
}

/// Keeps `index` until `shutdown`. What CRDs say is told apart by `digest`.
///
/// # Errors
/// When a watch ends or panics. Failures of the API server are no errors: the watches try again for ever, and tell the
/// observer.
pub async fn run(
    client: Client,
    index: SharedIndex,
    observer: Arc<dyn WatchObserver>,
    shutdown: CancellationToken,
    digest: Digest,
) -> Result<(), WatchError> {
    let mut tasks = Tasks::default();
    let context = Context { client, index, observer, shutdown: shutdown.clone() };
    tasks.drive(&context, Policies);
    tasks.drive(&context, Releases);
    tasks.drive(&context, Namespaced(Workloads(WorkloadKind::Deployment)));
    tasks.drive(&context, Namespaced(Workloads(WorkloadKind::StatefulSet)));
    tasks.drive(&context, Namespaced(Workloads(WorkloadKind::DaemonSet)));
    tasks.drive(&context, Namespaced(ReplicaSets));
    tasks.drive(&context, Namespaced(ControllerRevisions));
    tasks.drive(&context, Namespaced(Budgets));
    tasks.drive(&context, Namespaced(Autoscalers));
    tasks.drive(&context, Namespaced(Platforms));
    let (rollouts, presence) = tokio::sync::watch::channel(Presence::Unknown);
    tasks.drive(&context, Crds { rollouts, digest });
    tasks.spawn(WorkloadKind::Rollout.plural(), follow_rollouts(context, presence));
    tasks.join(&shutdown).await
}

/// The running watches, by name.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    kinds: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    fn drive<S: Sink>(&mut self, context: &Context, sink: S) {
        let kind = sink.kind().plural;
        context.observer.synced(kind, false);
        self.spawn(kind, Driver { context: context.clone(), sink }.run());
    }

    fn spawn(&mut self, kind: &'static str, watch: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(watch).id();
        self.kinds.insert(id, kind);
    }

    /// Waits for all to end as `shutdown` asks, or for the first that ends by itself.
    async fn join(mut self, shutdown: &CancellationToken) -> Result<(), WatchError> {
        let kind = |id| self.kinds.get(&id).copied().unwrap_or("an unknown kind");
        while let Some(ended) = self.running.join_next_with_id().await {
            match ended {
                Ok(_) if shutdown.is_cancelled() => {}
                Ok((id, ())) => return Err(WatchError::Ended { kind: kind(id) }),
                Err(source) => return Err(WatchError::Panicked { kind: kind(source.id()), source }),
            }
        }
        Ok(())
    }
}

/// A kind as RBAC rules name it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    plural: &'static str,
    group: &'static str,
}

/// Where the objects of a watch go. What comes back are the problems to report.
trait Sink: Send + Sync + 'static {
    type Object: DeserializeOwned;
    /// What a list keeps of an object until it is complete.
    type Record: Send;

    fn kind(&self) -> Kind;
    fn resource(&self) -> ApiResource;
    /// Which objects are watched.
    fn config(&self, _index: &SharedIndex) -> watcher::Config {
        watcher::Config::default().page_size(PAGE_SIZE)
    }
    /// Whether the policies say what is kept, so that a new generation needs a new list.
    fn is_selected(&self) -> bool;
    /// What is kept of a listed object.
    fn select(&self, index: &SharedIndex, key: &ObjectKey, object: Self::Object) -> Option<Self::Record>;
    /// An object was created or changed.
    fn apply(&self, index: &SharedIndex, key: &ObjectKey, object: Self::Object) -> Vec<ObjectProblem>;
    /// An object was created or changed, and cannot be read.
    fn unreadable(&self, index: &SharedIndex, key: ObjectKey, message: String) -> Vec<ObjectProblem>;
    /// An object was deleted.
    fn delete(&self, index: &SharedIndex, key: &ObjectKey) -> Vec<ObjectProblem>;
    /// A list is complete; `None` when it came too late for its generation.
    fn reset(&self, index: &SharedIndex, generation: u64, listed: Listed<Self::Record>) -> Option<Vec<ObjectProblem>>;
}

/// The watch of one kind.
struct Driver<S> {
    context: Context,
    sink: S,
}

impl<S: Sink> Driver<S> {
    /// Watches until shutdown, anew for each generation.
    async fn run(self) {
        let mut generations = self.context.index.generations();
        loop {
            let generation = *generations.borrow_and_update();
            // Before the policies are known nothing could be kept of a list.
            let is_early = self.sink.is_selected() && generation == 0;
            tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return,
                Ok(()) = generations.changed(), if self.sink.is_selected() => {}
                () = self.follow(generation), if !is_early => return,
            }
        }
    }

    fn stream(&self) -> impl Stream<Item = watcher::Result<Event<RawObject>>> + Send + use<S> {
        watcher(
            Api::all_with(self.context.client.clone(), &self.sink.resource()),
            self.sink.config(&self.context.index),
        )
    }

    /// Watches under one generation, for ever.
    async fn follow(&self, generation: u64) {
        // The stream's own backoff adapter starts over at each `Init`, which comes before a list is even asked for.
        let mut backoff = DefaultBackoff::default();
        let mut listed: Option<Listed<S::Record>> = None;
        let mut failed = false;
        let mut stream = pin!(self.stream());
        loop {
            let limit = if listed.is_some() { PAGE_TIMEOUT } else { RECOVERY };
            let event = if listed.is_none() && !failed {
                stream.next().await
            } else if let Ok(event) = tokio::time::timeout(limit, stream.next()).await {
                event
            } else if listed.take().is_some() {
                failed = true;
                self.failed(&format!("no answer to a list within {} seconds", PAGE_TIMEOUT.as_secs()));
                stream.set(self.stream());
                continue;
            } else {
                failed = false;
                self.context.observer.recovered(self.sink.kind().plural);
                continue;
            };
            match event {
                Some(Ok(event)) => {
                    let is_progress = !matches!(event, Event::Init | Event::InitApply(_));
                    self.handle(event, generation, &mut listed);
                    if is_progress {
                        failed = false;
                        backoff.reset();
                    }
                }
                Some(Err(error)) => {
                    (listed, failed) = (None, true);
                    self.explain(&error);
                    tokio::time::sleep(backoff.next().unwrap_or(PAGE_TIMEOUT)).await;
                }
                None => return,
            }
        }
    }

    fn handle(&self, event: Event<RawObject>, generation: u64, listed: &mut Option<Listed<S::Record>>) {
        let Context { index, observer, .. } = &self.context;
        let kind = self.sink.kind().plural;
        let problems = match event {
            Event::Init => {
                *listed = Some(Listed::default());
                return;
            }
            Event::InitApply(object) => {
                self.collect(object, listed.get_or_insert_with(Listed::default));
                return;
            }
            Event::InitDone => match self.sink.reset(index, generation, listed.take().unwrap_or_default()) {
                Some(problems) => {
                    debug!(kind, generation, "listed");
                    observer.synced(kind, true);
                    problems
                }
                None => return,
            },
            Event::Apply(object) => {
                let key = ObjectKey::of(&object);
                let problems = match object.read() {
                    Ok(object) => self.sink.apply(index, &key, object),
                    Err(error) => self.sink.unreadable(index, key, error.to_string()),
                };
                observer.event(kind);
                problems
            }
            Event::Delete(object) => {
                let problems = self.sink.delete(index, &ObjectKey::of(&object));
                observer.event(kind);
                problems
            }
        };
        self.report(&problems);
    }

    fn collect(&self, object: RawObject, listed: &mut Listed<S::Record>) {
        let key = ObjectKey::of(&object);
        match object.read() {
            Ok(object) => {
                let record = self.sink.select(&self.context.index, &key, object);
                listed.records.extend(record.map(|record| (key, record)));
            }
            Err(error) => _ = listed.unreadable.insert(key, error.to_string()),
        }
    }

    fn report(&self, problems: &[ObjectProblem]) {
        for ObjectProblem { source, key, message } in problems {
            let (kind, object) = (source.as_str(), key.to_string());
            warn!(kind, object, message, "cannot be used as it is: what was known of it stays in force");
            self.context.observer.invalid(kind, &object, message);
        }
    }

    /// Says what went wrong and what to do about it.
    fn explain(&self, error: &watcher::Error) {
        let Kind { plural, group } = self.sink.kind();
        let (verb, status) = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status)) => ("list", Some(status)),
            watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => {
                ("watch", Some(status))
            }
            _ => ("watch", None),
        };
        let Some(status) = status else { return self.failed(&error.to_string()) };
        match status.code {
            // The API server forgets old versions all the time; the watcher lists anew.
            410 => debug!(kind = plural, "the watch is too old and starts over"),
            403 => self.failed(&format!(
                "may not {verb} {plural}: grant the guard's service account the verbs list and watch on resource \
                 '{plural}' in API group '{group}'"
            )),
            404 => {
                self.failed(&format!("the cluster does not serve {plural} of API group '{group}': install their CRD"));
            }
            code => self.failed(&format!("the {verb} failed: {} ({code} {})", status.message, status.reason)),
        }
    }

    fn failed(&self, message: &str) {
        let kind = self.sink.kind().plural;
        warn!(kind, message, "watch failed, trying again");
        self.context.observer.error(kind, message);
    }
}
