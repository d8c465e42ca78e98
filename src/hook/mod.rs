//! What runs beside a sync: before it (`presync`), after it (`verify`), and in front of a pod (`wait`).

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};

pub mod cel;
pub mod http;
pub mod migrations;
pub mod preconditions;
pub mod presync;
pub mod recipe;
pub mod verify;
pub mod wait;

/// Who runs this: the user that the API server knows, and the pod's or machine's name.
pub async fn who(client: &Client) -> Option<String> {
    let host = std::env::var("HOSTNAME").ok();
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    // Whoever is not told is not recorded: that is no reason to do nothing.
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok();
    let user = review.and_then(|review| review.status?.user_info?.username);
    match (user, host) {
        (Some(user), Some(host)) => Some(format!("{user} ({host})")),
        (user, host) => user.or(host),
    }
}

/// The digest of the image that this process runs in, as its pod tells it; `None` outside of a pod, where the pod has
/// several containers, or may not be read. It is a remark of the record, and nothing depends on it alone.
pub async fn own_image(client: &Client) -> Option<String> {
    let pods: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &ApiResource::erase::<Pod>(&()));
    let pod = pods.get_opt(&std::env::var("HOSTNAME").ok()?).await.ok()??;
    let [only] = pod.data.pointer("/status/containerStatuses")?.as_array()?.as_slice() else { return None };
    only.get("imageID")?.as_str()?.split_once('@').map(|(_, digest)| digest.to_owned())
}

/// What a command of the hook came to. The numbers are its exit codes (design section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done, or there was nothing to do.
    Done = 0,
    /// It could not be tried: no API server, no such release, a command line that cannot be read.
    CouldNot = 1,
    /// A rule, a breaking change or a change of a CRD stands against it.
    Policy = 2,
    /// A precondition does not hold.
    Evidence = 3,
    /// What was asked for and what was found are of different versions.
    Versions = 4,
    /// Someone else is at it; try again.
    Busy = 5,
    /// A migration failed and left nothing behind.
    MigrationUndone = 6,
    /// A migration failed half-way.
    MigrationHalfWay = 7,
}
