//! Reviews of policies and releases: what cannot be used is refused with all its problems.

use kube::core::admission::AdmissionResponse;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Admission, Answer, Request, render};
use crate::api::{PlatformRelease, PolicyProblems, UpgradePolicy, with_releases};
use crate::cluster::object;
use crate::domain::policy::Policy;
use crate::domain::text::tame;

pub(super) fn review(admission: &Admission, request: &Request<'_>) -> Answer {
    let response = match request.resource.resource.as_str() {
        "upgradepolicies" => review_policy(request),
        "platformreleases" => review_release(admission, request),
        _ => return render::allowed(request),
    };
    Answer { response, path: "policy" }
}

fn review_policy(request: &Request<'_>) -> AdmissionResponse {
    match read::<UpgradePolicy>(request.object) {
        Err(error) => unreadable(request, &error),
        Ok(policy) => match Policy::try_from(&policy) {
            Ok(_) => render::admitted(request),
            Err(problems) => refused(request, &problems),
        },
    }
}

fn review_release(admission: &Admission, request: &Request<'_>) -> AdmissionResponse {
    let release = match read::<PlatformRelease>(request.object) {
        Err(error) => return unreadable(request, &error),
        Ok(release) => release,
    };
    let Some(policy) = admission.cluster.policy(&release.spec.policy) else {
        let mut response = render::admitted(request);
        let text = format!("no UpgradePolicy '{}' yet: checked when used", release.spec.policy);
        response.warnings = Some(vec![tame(&text)]);
        return response;
    };
    let (_, mut problems) = with_releases((*policy).clone(), [&release]);
    match problems.pop_first() {
        None => render::admitted(request),
        Some((_, problems)) => refused(request, &problems),
    }
}

fn read<T: DeserializeOwned>(object: Option<&RawValue>) -> Result<T, String> {
    let object = object.ok_or("the request carries no object")?;
    object::read(object).map_err(|error| error.to_string())
}

fn unreadable(request: &Request<'_>, error: &str) -> AdmissionResponse {
    render::refused(request, &format!("{} '{}' cannot be read: {error}", request.kind.kind, request.name))
}

fn refused(request: &Request<'_>, problems: &PolicyProblems) -> AdmissionResponse {
    render::refused(request, &format!("{} '{}' cannot be used: {problems}", request.kind.kind, request.name))
}
