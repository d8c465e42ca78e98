//! The first pass: what is not about the content of one version.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, WebhookClientConfig,
};
use serde_json::Value;

use super::super::check::Check;
use super::super::content::ca_bundle;
use super::text::{Between, list, short, value};
use super::{Definition, Finding, Object, is, keys, schema, schema_of};

/// Everything but what makes it another CRD, and the versions' content.
pub(super) fn compare(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let mut found = names(old, new);
    found.extend(stored(old, new));
    found.extend(not_served(old, new));
    found.extend(storage(old, new));
    found.extend(conversion(old, new));
    found.extend(others(old, new));
    found
}

/// What makes it another CRD.
pub(super) fn identity(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let name = |crd: &CustomResourceDefinition| crd.metadata.name.clone().map(Value::String);
    let of_name = told(Check::Identity, "metadata.name", name(old.crd).as_ref(), name(new.crd).as_ref());
    let fields = ["group", "names.kind", "names.plural"];
    of_name.into_iter().chain(fields.into_iter().filter_map(|field| named(Check::Identity, field, old, new))).collect()
}

/// What it is called beside that, and where its objects are.
fn names(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let fields = [(Check::Names, "names.listKind"), (Check::Names, "names.singular"), (Check::Scope, "scope")];
    fields.into_iter().filter_map(|(check, field)| named(check, field, old, new)).collect()
}

/// A field of the spec, or one of an object in it, that is not the same.
fn named(check: Check, field: &str, old: &Definition<'_>, new: &Definition<'_>) -> Option<Finding> {
    let of = |definition: &'_ Definition<'_>| {
        let (object, field) = field.split_once('.').unwrap_or((field, ""));
        let value = definition.spec.get(object)?;
        if field.is_empty() { Some(value.clone()) } else { value.get(field).cloned() }
    };
    told(check, &format!("spec.{field}"), of(old).as_ref(), of(new).as_ref())
}

fn told(check: Check, path: &str, old: Option<&Value>, new: Option<&Value>) -> Option<Finding> {
    (old != new).then(|| Finding::whole(check, path, Between::Now.changed(&plain(old), &plain(new))))
}

/// A name without quotes.
fn plain(name: Option<&Value>) -> String {
    name.and_then(Value::as_str).map_or_else(|| value(name), short)
}

/// Versions in which objects may be stored, and which are gone.
fn stored(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let recorded = old.crd.status.as_ref().and_then(|status| status.stored_versions.clone());
    // A file has no status: objects are stored at least in the storage version.
    let in_file = || old.storage().map(|(name, _)| name.to_owned()).into_iter().collect();
    let stored: Vec<String> = recorded.filter(|stored| !stored.is_empty()).unwrap_or_else(in_file);
    let gone = stored.into_iter().filter(|name| new.version(name).is_none());
    gone.map(|name| {
        let message = format!("has {name}, which would be gone: objects that are stored in it could not be read");
        Finding::whole(Check::StoredVersionRemoval, "status.storedVersions", message)
    })
    .collect()
}

/// Versions that are served and would not be any more.
fn not_served(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let served = old.versions.iter().filter(|(_, version)| is(version, "served"));
    let found = served.filter_map(|(name, _)| {
        let message = match new.version(name) {
            None => "was served, would be gone",
            Some(version) if !is(version, "served") => "was served, would not be served any more",
            Some(_) => return None,
        };
        Some(Finding::whole(Check::ServedVersionRemoval, format!("spec.versions[{name}]"), message))
    });
    found.collect()
}

/// Another version in which objects are stored.
fn storage(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let (Some((was, version)), Some((becomes, wanted))) = (old.storage(), new.storage()) else { return vec![] };
    if was == becomes {
        return vec![];
    }
    let mut found = Vec::new();
    let path = format!("spec.versions[{becomes}].storage");
    // Without a webhook what is stored is read as it is.
    let differing = if new.has_webhook() {
        vec![]
    } else {
        let differences = schema::compare(&Between::Now, None, &schema_of(version), &schema_of(wanted));
        let unsafe_ones = differences.into_iter().filter(|finding| finding.check != Check::Description);
        unsafe_ones.map(|finding| short(&finding.path)).collect::<Vec<String>>()
    };
    if !differing.is_empty() {
        let message = format!(
            "objects were stored in {was}, would be in {becomes} without conversion, and these are not the same: {}",
            list(&differing)
        );
        found.push(Finding::whole(Check::StorageVersion, path.clone(), message));
    }
    if old.version(becomes).is_none() {
        let message = format!("objects would be stored in {becomes}, which the installed CRD does not have");
        found.push(Finding::whole(Check::StorageVersionNew, path, message));
    }
    found
}

/// How objects are converted between versions.
fn conversion(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let between = Between::Now;
    match (old.has_webhook(), new.has_webhook()) {
        (false, false) => {}
        (true, false) => {
            // Where there is one version only, there is nothing to convert.
            if new.versions.len() > 1 {
                let message = between.changed("Webhook", "None: what is stored in one version is read as it is");
                found.push(Finding::whole(Check::Conversion, "spec.conversion.strategy", message));
            }
        }
        (false, true) => {
            let message = between.changed("None", &format!("Webhook: {} has to run first", address(new.crd)));
            found.push(Finding::whole(Check::ConversionWebhook, "spec.conversion.strategy", message));
        }
        (true, true) => {
            let (was, becomes) = (address(old.crd), address(new.crd));
            let path = "spec.conversion.webhook";
            if was != becomes {
                let message = between.changed(&was, &becomes);
                found.push(Finding::whole(Check::ConversionWebhook, format!("{path}.clientConfig"), message));
            }
            let reviews = |definition: &Definition<'_>| {
                let webhook = definition.spec.get("conversion").and_then(|conversion| conversion.get("webhook"));
                webhook.and_then(|webhook| webhook.get("conversionReviewVersions")).cloned()
            };
            let (was, becomes) = (reviews(old), reviews(new));
            if was != becomes {
                let message = between.changed(&value(was.as_ref()), &value(becomes.as_ref()));
                found.push(Finding::whole(
                    Check::ConversionWebhook,
                    format!("{path}.conversionReviewVersions"),
                    message,
                ));
            }
            // One that is not stated is put there in the cluster, and stays.
            if let (Some(was), Some(becomes)) = (ca_bundle(old.crd), ca_bundle(new.crd))
                && was != becomes
            {
                let path = format!("{path}.clientConfig.caBundle");
                found.push(Finding::whole(Check::ConversionWebhook, path, "would be another one"));
            }
        }
    }
    found
}

/// Where the conversion webhook is asked.
fn address(crd: &CustomResourceDefinition) -> String {
    let conversion = crd.spec.conversion.as_ref();
    let config = conversion.and_then(|conversion| conversion.webhook.as_ref()?.client_config.as_ref());
    match config {
        Some(WebhookClientConfig { url: Some(url), .. }) => short(url),
        Some(WebhookClientConfig { service: Some(service), .. }) => {
            let path = service.path.as_deref().unwrap_or_default();
            let port = service.port.unwrap_or(443);
            format!("service {}/{}:{port}{path}", service.namespace, service.name)
        }
        _ => "nowhere".to_owned(),
    }
}

/// Pruning of the whole object, and what no check knows.
fn others(old: &Definition<'_>, new: &Definition<'_>) -> Vec<Finding> {
    const KNOWN: [&str; 5] = ["conversion", "group", "names", "preserveUnknownFields", "scope"];
    const KNOWN_NAMES: [&str; 6] = ["categories", "kind", "listKind", "plural", "shortNames", "singular"];
    let mut found = Vec::new();
    if is(&old.spec, "preserveUnknownFields") && !is(&new.spec, "preserveUnknownFields") {
        let message = Between::Now.changed("keeping unknown fields", "dropping them");
        found.push(Finding::whole(Check::Pruning, "spec.preserveUnknownFields", message));
    }
    let mut unhandled = |path: &str, known: &[&str], old: &Object, new: &Object| {
        for key in keys(old, new).filter(|key| !known.contains(key) && old.get(*key) != new.get(*key)) {
            let message = Between::Now.changed(&value(old.get(key)), &value(new.get(key)));
            found.push(Finding::whole(Check::Unhandled, format!("{path}.{key}"), message));
        }
    };
    unhandled("spec", &KNOWN, &old.spec, &new.spec);
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old.spec.get("names"), new.spec.get("names")) {
        unhandled("spec.names", &KNOWN_NAMES, old, new);
    }
    found
}
