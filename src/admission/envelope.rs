//! The envelope of a review: bytes to request, response to bytes.

use kube::core::admission::{AdmissionResponse, Operation};
use kube::core::{GroupVersionKind, GroupVersionResource};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::render;
use crate::cluster::authorise::Requester;

/// The only version of reviews.
const API_VERSION: &str = "admission.k8s.io/v1";

/// Why there is no answer to a body.
#[derive(Debug, thiserror::Error)]
pub enum BadReview {
    /// The body is no `AdmissionReview` with a request and its uid.
    #[error("the body is no admission.k8s.io/v1 AdmissionReview with a request and its uid: {0}")]
    NotAReview(String),
    /// The answer could not be written.
    #[error("the answer could not be written as JSON: {0}")]
    Unwritable(#[source] serde_json::Error),
}

/// What is left of a body that holds no request that can be judged.
pub(super) enum Unread {
    /// It has a uid, so it gets a refusal.
    Denied(Box<AdmissionResponse>),
    /// It has none.
    Bad(BadReview),
}

/// A review, as far as it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "R: Deserialize<'de>"))]
struct Review<R> {
    api_version: String,
    request: R,
}

/// A request as the reviews see it. The objects stay text until it is known what to read them as, and what of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    /// What the answer is to.
    pub(super) uid: String,
    /// The object's kind.
    pub(super) kind: GroupVersionKind,
    /// Its resource.
    pub(super) resource: GroupVersionResource,
    /// The part of it that is asked for, such as `scale`.
    #[serde(default)]
    pub(super) sub_resource: Option<String>,
    /// Its name; empty when the API server is to make one.
    #[serde(default)]
    pub(super) name: String,
    /// Its namespace.
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// What is to be done.
    pub(super) operation: Operation,
    /// The object as it is to be.
    #[serde(borrow, default)]
    pub(super) object: Option<&'a RawValue>,
    /// The object as it is.
    #[serde(borrow, default)]
    pub(super) old_object: Option<&'a RawValue>,
    /// Whether nothing is to be stored.
    #[serde(default)]
    pub(super) dry_run: Option<bool>,
    /// Who asks.
    #[serde(default)]
    pub(super) user_info: Requester,
    /// How it is to be done.
    #[serde(borrow, default)]
    pub(super) options: Option<&'a RawValue>,
}

impl Request<'_> {
    /// Whether nothing is to be stored.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }
}

/// The least that a request must have to be answered.
#[derive(Deserialize)]
struct Subject {
    uid: String,
}

/// Reads the request of a review.
pub(super) fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    let error = match serde_json::from_slice::<Review<Request<'_>>>(body) {
        Ok(review) if review.api_version == API_VERSION && !review.request.uid.is_empty() => return Ok(review.request),
        Ok(review) => format!("apiVersion '{}', uid '{}'", review.api_version, review.request.uid),
        Err(error) => error.to_string(),
    };
    match serde_json::from_slice::<Review<Subject>>(body) {
        Ok(review) if review.api_version == API_VERSION && !review.request.uid.is_empty() => {
            let text = format!("the review cannot be read: {error}");
            Err(Unread::Denied(Box::new(render::unreadable(&review.request.uid, &text))))
        }
        _ => Err(Unread::Bad(BadReview::NotAReview(error))),
    }
}

/// Writes the review that carries `response`.
pub(super) fn write(response: AdmissionResponse) -> Result<Vec<u8>, BadReview> {
    serde_json::to_vec(&response.into_review()).map_err(BadReview::Unwritable)
}
