//! A review in, a response out.
//!
//! [`Admission::answer`] takes the bytes of an `AdmissionReview` and gives the response's; nothing that arrives is
//! admitted by accident: what cannot be read is refused with its uid, or with 400 when it has none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::core::admission::{AdmissionResponse, Operation};
use serde::Deserialize;
use tracing::{Instrument, info_span};

use crate::api::{PlatformIntent, PlatformOverride};
use crate::cluster::authorise::Requester;
use crate::cluster::inventory::Inventory;
use crate::cluster::object::WorkloadKind;
use crate::cluster::snapshot::Snapshot;
use crate::domain::change::Change;
use crate::domain::decision::Decision;
use crate::domain::policy::Policy;
use crate::domain::view::WorkloadId;

mod envelope;
mod hold;
mod judge;
mod policy;
pub mod register;
pub mod registration;
mod render;
mod workload;

pub use envelope::BadReview;
use envelope::Request;
pub use render::Caller;

/// Which of the two webhooks a review is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// The validating one, which refuses.
    Validate,
    /// The mutating one, which holds rollouts.
    Mutate,
}

/// The largest review that is read. An update carries the object twice, and etcd holds objects up to 1.5 MiB.
pub const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// The longest time that an answer may take when the API server does not say its own limit.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(4);
/// How long before the API server's limit the guard answers by itself, so that its reason is seen.
const DEADLINE_MARGIN: Duration = Duration::from_millis(500);

/// What admission asks of the cluster.
pub trait Cluster: Send + Sync {
    /// What is known of `namespace`; `None` when no policy governs it.
    ///
    /// # Errors
    /// When it cannot be told, with the reason.
    fn snapshot<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Option<Snapshot>, String>>;

    /// `snapshot` of `namespace` as the API server has it at this moment, but for `own`, of which the request tells.
    ///
    /// # Errors
    /// When any of it cannot be read, with the reason.
    fn fresh<'a>(
        &'a self,
        namespace: &'a str,
        snapshot: &'a Snapshot,
        own: &'a WorkloadId,
    ) -> BoxFuture<'a, Result<Snapshot, String>>;

    /// Leaves `intents` on the install of `policy`, in the state in which it was read, begun at the time with it; false
    /// when somebody else changed it since.
    ///
    /// # Errors
    /// When they cannot be written, with the reason.
    fn intend<'a>(
        &'a self,
        namespace: &'a str,
        policy: &'a Policy,
        read: (&'a Inventory, Timestamp),
        intents: &'a [PlatformIntent],
    ) -> BoxFuture<'a, Result<bool, String>>;

    /// Whether the user may override the policy, as the API server says within `limit`.
    ///
    /// # Errors
    /// When it does not say, with the reason.
    fn may_override<'a>(
        &'a self,
        who: &'a Requester,
        policy: &'a str,
        limit: Duration,
    ) -> BoxFuture<'a, Result<bool, String>>;

    /// The policy with this name.
    fn policy(&self, name: &str) -> Option<Arc<Policy>>;
}

/// What is told of every answer to whoever counts.
pub trait Observer: Send + Sync {
    /// Someone else was faster to change an install; it is read and judged again.
    fn lost_race(&self);
    /// A governed change was judged, and answered as told. It must not wait for anything.
    fn judged(&self, judged: &Judged<'_>);
    /// An answer was given along `path` (`fast`, `governed`, `unavailable`, `policy`, `other`, `bad`, and `mutate`
    /// for all of the mutating webhook) after `elapsed`.
    fn answered(&self, path: &'static str, elapsed: Duration);
}

/// A governed change that was judged.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The workload; its name is empty when the API server is to make one.
    pub workload: &'a WorkloadId,
    /// What the namespace's policies see of it, one change each.
    pub changes: &'a [(&'a Policy, Change)],
    /// What the rules say.
    pub decision: &'a Decision,
    /// The override that let it pass.
    pub overridden: Option<&'a PlatformOverride>,
    /// What the answer was.
    pub outcome: Outcome,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// Who asked.
    pub user: &'a str,
}

/// What became of a governed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was admitted.
    Allowed,
    /// It was admitted with its rollout held back.
    Held,
    /// It was refused.
    Refused,
}

/// The reviews' state: where the cluster is seen, and who counts.
#[derive(Clone)]
pub struct Admission {
    cluster: Arc<dyn Cluster>,
    observer: Arc<dyn Observer>,
}

/// A response and the path that led to it.
struct Answer {
    response: AdmissionResponse,
    path: &'static str,
}

/// The query that the API server adds to a webhook's URL.
#[derive(Deserialize, Default)]
struct Limits {
    timeout: Option<String>,
}

impl Limits {
    /// How long an answer may take.
    fn deadline(&self) -> Duration {
        let stated = self.timeout.as_deref().and_then(|text| text.strip_suffix('s')?.parse::<u32>().ok());
        stated.map_or(DEFAULT_DEADLINE, |seconds| {
            Duration::from_secs(seconds.into()).saturating_sub(DEADLINE_MARGIN).max(DEADLINE_MARGIN)
        })
    }
}

impl Admission {
    /// Reviews against `cluster`, told to `observer`.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>, observer: Arc<dyn Observer>) -> Self {
        Self { cluster, observer }
    }

    /// The HTTP routes: `POST /validate` and `POST /mutate`.
    pub fn router(self) -> Router {
        let answer = |webhook: Webhook| {
            post(async move |State(admission): State<Self>, Query(limits): Query<Limits>, body: Bytes| {
                respond(&admission, webhook, &limits, &body).await
            })
        };
        let routes = Router::new().route(registration::VALIDATE, answer(Webhook::Validate));
        let routes = routes.route(registration::MUTATE, answer(Webhook::Mutate));
        routes.layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(self)
    }

    /// Answers one review of `webhook` within `deadline`.
    ///
    /// # Errors
    /// When `body` is no review that could be answered.
    pub async fn answer(&self, webhook: Webhook, body: &[u8], deadline: Duration) -> Result<Vec<u8>, BadReview> {
        let started = Instant::now();
        let answer = match envelope::read(body) {
            Ok(request) => {
                let span = info_span!("review", uid = %request.uid, kind = %request.kind.kind,
                    namespace = request.namespace.as_deref().unwrap_or_default(), name = %request.name);
                self.review(webhook, &request, deadline).instrument(span).await
            }
            Err(envelope::Unread::Denied(response)) => Answer { response: *response, path: "bad" },
            Err(envelope::Unread::Bad(error)) => {
                self.observer.answered("bad", started.elapsed());
                return Err(error);
            }
        };
        self.observer.answered(answer.path, started.elapsed());
        envelope::write(answer.response)
    }

    async fn review(&self, webhook: Webhook, request: &Request<'_>, deadline: Duration) -> Answer {
        let until = tokio::time::Instant::now() + deadline;
        match tokio::time::timeout_at(until, self.dispatch(webhook, request, until)).await {
            Ok(answer) => answer,
            // The validating webhook comes after, and says it.
            Err(_) if webhook == Webhook::Mutate => hold::as_it_is(request),
            Err(_) => render::unavailable(request, "the cluster view is not complete yet"),
        }
    }

    /// Answers as what is asked about needs it; what an Allow is made sure of with ends before `until`.
    async fn dispatch(&self, webhook: Webhook, request: &Request<'_>, until: tokio::time::Instant) -> Answer {
        let subresource = request.sub_resource.as_deref().unwrap_or_default();
        // Nothing is held back from being deleted: an object that cannot go is worse than any order.
        let relevant = matches!(request.operation, Operation::Create | Operation::Update);
        let group = request.resource.group.as_str();
        let kind = WorkloadKind::ALL
            .into_iter()
            .find(|kind| kind.plural() == request.resource.resource && kind.api_version().0 == group);
        match (kind, subresource) {
            (Some(kind), "") if relevant && webhook == Webhook::Mutate => {
                hold::mutate(self, request, kind, until).await
            }
            _ if webhook == Webhook::Mutate => hold::as_it_is(request),
            _ if !relevant => render::allowed(request),
            (Some(kind), "") => workload::review(self, request, kind, until).await,
            (Some(kind), "scale") => workload::review_scale(self, request, kind, until).await,
            (None, "") if group == crate::api::GROUP => policy::review(self, request),
            _ => render::allowed(request),
        }
    }
}

async fn respond(admission: &Admission, webhook: Webhook, limits: &Limits, body: &[u8]) -> Response {
    match admission.answer(webhook, body, limits.deadline()).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_before_the_api_server_gives_up() {
        for (timeout, expected) in [
            (None, 4000),
            (Some("5s"), 4500),
            (Some("30s"), 29500),
            (Some("1s"), 500),
            (Some("0s"), 500),
            (Some("x"), 4000),
        ] {
            let limits = Limits { timeout: timeout.map(str::to_owned) };
            assert_eq!(limits.deadline(), Duration::from_millis(expected), "timeout {timeout:?}");
        }
    }
}
