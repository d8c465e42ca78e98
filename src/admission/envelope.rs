//! The envelope of a review: bytes to request, response to bytes.

use kube::core::DynamicObject;
use kube::core::admission::{AdmissionResponse, AdmissionReview};
use serde::Deserialize;

use super::{Request, render};

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

/// The least that a review must have to be answered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    api_version: String,
    request: Subject,
}

#[derive(Deserialize)]
struct Subject {
    uid: String,
}

/// Reads the request of a review.
pub(super) fn read(body: &[u8]) -> Result<Request, Unread> {
    let review = serde_json::from_slice::<AdmissionReview<DynamicObject>>(body);
    let error = match review.map(TryInto::<Request>::try_into) {
        Ok(Ok(request)) if request.types.api_version == "admission.k8s.io/v1" && !request.uid.is_empty() => {
            return Ok(request);
        }
        Ok(Ok(request)) => format!("apiVersion '{}', uid '{}'", request.types.api_version, request.uid),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    match serde_json::from_slice::<Outline>(body) {
        Ok(outline) if outline.api_version == "admission.k8s.io/v1" && !outline.request.uid.is_empty() => {
            let text = format!("the review cannot be read: {error}");
            Err(Unread::Denied(Box::new(render::unreadable(outline.request.uid, &text))))
        }
        _ => Err(Unread::Bad(BadReview::NotAReview(error))),
    }
}

/// Writes the review that carries `response`.
pub(super) fn write(response: AdmissionResponse) -> Result<Vec<u8>, BadReview> {
    serde_json::to_vec(&response.into_review()).map_err(BadReview::Unwritable)
}
