//! Whether a user may override a policy: only the API server knows.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};

use serde::Deserialize;

use super::error::said;
use crate::api;

/// The verb that a user needs on an `UpgradePolicy` to override its rules.
pub const VERB: &str = "override";

/// Who asks, as the API server has authenticated them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Requester {
    /// The name.
    #[serde(rename = "username")]
    pub user: String,
    /// An id that differs when a name is used again; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else the authenticator tells.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why it cannot be told what a user may.
#[derive(Debug, thiserror::Error)]
pub enum AuthoriseError {
    /// The API server did not answer in time.
    #[error("the API server did not answer a SubjectAccessReview within {} ms", .0.as_millis())]
    Slow(Duration),
    /// It refused to answer, or could not be reached.
    #[error("cannot create a SubjectAccessReview: {}", said(.0))]
    Api(#[source] Box<kube::Error>),
}

/// Whether `who` may override the policy named `policy`, as the API server answers within `limit`.
///
/// # Errors
/// When it does not answer, or not in time. Nothing is allowed then.
pub async fn may_override(
    client: &Client,
    who: &Requester,
    policy: &str,
    limit: Duration,
) -> Result<bool, AuthoriseError> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let (question, params) = (question(who, policy), PostParams::default());
    let answer = tokio::time::timeout(limit, reviews.create(&params, &question));
    let answer = answer.await.map_err(|_| AuthoriseError::Slow(limit))?;
    let answer = answer.map_err(|error| AuthoriseError::Api(Box::new(error)))?;
    Ok(answer.status.is_some_and(|status| status.allowed && !status.denied.unwrap_or(false)))
}

fn question(who: &Requester, policy: &str) -> SubjectAccessReview {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    SubjectAccessReview {
        metadata: ObjectMeta::default(),
        spec: SubjectAccessReviewSpec {
            user: text(&who.user),
            uid: text(&who.uid),
            groups: Some(who.groups.clone()),
            extra: Some(who.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                group: text(api::GROUP),
                version: text(api::VERSION),
                resource: text("upgradepolicies"),
                name: text(policy),
                verb: text(VERB),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        status: None,
    }
}
