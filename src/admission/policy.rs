//! Reviews of policies and releases: what cannot be used is refused with all its problems.

use kube::core::DynamicObject;
use kube::core::admission::AdmissionResponse;
use serde::de::DeserializeOwned;

use super::{Admission, Answer, Request, render};
use crate::api::{PlatformRelease, PolicyProblems, UpgradePolicy, with_releases};
use crate::domain::policy::Policy;
use crate::domain::text::tame;

pub(super) fn review(admission: &Admission, request: &Request) -> Answer {
    let response = match request.resource.resource.as_str() {
        "upgradepolicies" => review_policy(request),
        "platformreleases" => review_release(admission, request),
        _ => return render::allowed(request),
    };
    Answer { response, path: "policy" }
}

fn review_policy(request: &Request) -> AdmissionResponse {
    match read::<UpgradePolicy>(request.object.as_ref()) {
        Err(error) => unreadable(request, &error),
        Ok(policy) => match Policy::try_from(&policy) {
            Ok(_) => AdmissionResponse::from(request),
            Err(problems) => refused(request, &problems),
        },
    }
}

fn review_release(admission: &Admission, request: &Request) -> AdmissionResponse {
    let release = match read::<PlatformRelease>(request.object.as_ref()) {
        Err(error) => return unreadable(request, &error),
        Ok(release) => release,
    };
    let Some(policy) = admission.cluster.policy(&release.spec.policy) else {
        let mut response = AdmissionResponse::from(request);
        let text = format!("no UpgradePolicy '{}' yet: checked when used", release.spec.policy);
        response.warnings = Some(vec![tame(&text)]);
        return response;
    };
    let (_, mut problems) = with_releases((*policy).clone(), [&release]);
    match problems.pop_first() {
        None => AdmissionResponse::from(request),
        Some((_, problems)) => refused(request, &problems),
    }
}

fn read<T: DeserializeOwned>(object: Option<&DynamicObject>) -> Result<T, String> {
    let object = object.ok_or("the request carries no object")?;
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn unreadable(request: &Request, error: &str) -> AdmissionResponse {
    render::refused(request, &format!("{} '{}' cannot be read: {error}", request.kind.kind, request.name))
}

fn refused(request: &Request, problems: &PolicyProblems) -> AdmissionResponse {
    render::refused(request, &format!("{} '{}' cannot be used: {problems}", request.kind.kind, request.name))
}
