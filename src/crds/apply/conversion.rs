//! Whether the conversion webhook of a CRD answers: the API server itself is asked to convert an object with it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::core::{ObjectList, Request};
use kube::{Client, Error};
use serde_json::Value;

use super::{Change, CrdError, Run};
use crate::cluster::error::said;
use crate::crds::check::{Check, Severity};
use crate::crds::state;

impl Run<'_> {
    /// Lets one object be read in each version that is served. With a webhook that does not answer, objects can be read in
    /// no version but the one that they are stored in, and a new version makes that worse. Where there is no object,
    /// nothing has to be converted. Returns whether they can be read.
    pub(super) async fn conversion(&mut self, change: &Change<'_>) -> Result<bool, CrdError> {
        let severity = self.options.severities.of(Check::ConversionUnreachable);
        let Some(installed) = change.installed.as_ref().filter(|installed| by_webhook(installed)) else {
            return Ok(true);
        };
        if !change.answer.as_ref().is_some_and(by_webhook) || state::missing(installed).is_some() {
            return Ok(true);
        }
        for version in installed.spec.versions.iter().filter(|version| version.served) {
            let Some(said) = failure(self.client, installed, &version.name).await? else { continue };
            let message = format!("{}: objects cannot be read: {said}. Mend the webhook first", version.name);
            let check = Check::ConversionUnreachable.row().name;
            match severity {
                Severity::Error => self.refuse(change.refusal(check, message)),
                // Also where nobody wants to know of the webhook: the objects cannot be held against the new schemas.
                Severity::Warn | Severity::Off => self.warn(format!("{}: {check}: {message}", change.name())),
            }
            return Ok(false);
        }
        Ok(true)
    }
}

fn by_webhook(definition: &CustomResourceDefinition) -> bool {
    definition.spec.conversion.as_ref().is_some_and(|conversion| conversion.strategy == "Webhook")
}

/// What the API server says of the webhook when it has to convert an object to `version`; `None` when it can.
async fn failure(
    client: &Client,
    definition: &CustomResourceDefinition,
    version: &str,
) -> Result<Option<String>, CrdError> {
    let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
    let request = Request::new(format!("/apis/{group}/{version}/{plural}")).list(&ListParams::default().limit(1));
    let listed = match request {
        Ok(request) => client.request::<ObjectList<Value>>(request).await,
        Err(error) => Err(Error::BuildRequest(error)),
    };
    match listed {
        Ok(_) => Ok(None),
        Err(error @ Error::Api(_)) if said(&error).contains("conversion webhook") => Ok(Some(said(&error))),
        Err(error) => Err(CrdError::failed(&format!("list the {plural}.{version}.{group} of all namespaces"), &error)),
    }
}
