//! Waiting until applied CRDs can be used.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::{Client, Error};
use tokio::time::Instant;

use super::super::error::CrdError;
use super::super::source::Wanted;
use super::super::state;
use super::STEP;
use crate::cluster::error::said;
use crate::report::{Report, Stage};

/// The time between two looks.
const BETWEEN: Duration = Duration::from_millis(200);
/// The time after which the same news is told again.
const AGAIN: Duration = Duration::from_secs(10);

/// Waits until each of `wanted` is established and its versions are in discovery, at most for `deadline`. Tells what it
/// waits for.
pub(super) async fn until_served(
    api: &Api<CustomResourceDefinition>,
    client: &Client,
    wanted: &[Wanted],
    deadline: Duration,
    report: &mut dyn Report,
) -> Result<(), CrdError> {
    let began = Instant::now();
    let mut told: Option<(String, Instant)> = None;
    for wanted in wanted {
        loop {
            // An API server that restarts is no reason to give up before the time.
            let missing = match missing(api, client, wanted).await {
                Ok(None) => break,
                Ok(Some(missing)) => missing,
                Err(error) if is_lasting(&error) => {
                    return Err(CrdError::failed(&format!("see whether {} is served", wanted.name()), &error));
                }
                Err(error) => said(&error),
            };
            let message = format!("waits for {}: {missing}", wanted.name());
            if began.elapsed() >= deadline {
                return Err(CrdError::Failed(format!(
                    "{message}; it is applied, but not served after {deadline:?}. See `kubectl describe crd {}`, and \
                     run this again when it is mended",
                    wanted.name()
                )));
            }
            if told.as_ref().is_none_or(|(last, at)| *last != message || at.elapsed() >= AGAIN) {
                report.say(STEP, Stage::Progress, message.clone());
                told = Some((message, Instant::now()));
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }
    Ok(())
}

/// Whether waiting cannot help: the permission is not there.
fn is_lasting(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_forbidden() || status.code == 401)
}

/// What `wanted` lacks to be used.
async fn missing(
    api: &Api<CustomResourceDefinition>,
    client: &Client,
    wanted: &Wanted,
) -> Result<Option<String>, Error> {
    let Some(installed) = api.get_opt(wanted.name()).await? else { return Ok(Some("it is gone".to_owned())) };
    if let Some(missing) = state::missing(&installed) {
        return Ok(Some(missing));
    }
    for version in installed.spec.versions.iter().filter(|version| version.served) {
        let group_version = format!("{}/{}", installed.spec.group, version.name);
        let listed = match client.list_api_group_resources(&group_version).await {
            Ok(list) => list.resources.iter().any(|resource| resource.name == installed.spec.names.plural),
            Err(Error::Api(status)) if status.is_not_found() => false,
            Err(error) => return Err(error),
        };
        if !listed {
            return Ok(Some(format!("{group_version} is not in discovery yet")));
        }
    }
    Ok(None)
}
