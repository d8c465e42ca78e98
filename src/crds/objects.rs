//! Whether the objects in the cluster fit the new schemas of their CRD.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;

use super::error::CrdError;
use super::validation::{Validator, Verdict, Violation};
use crate::report::{Report, Stage};

/// Objects that are read at once. One page is in memory at a time.
pub const PAGE: u32 = 250;
/// Objects that are named; all are counted.
pub const MOST_NAMED: usize = 5;
/// How often a list begins again when the API server lost the place.
const MOST_RESTARTS: usize = 3;
/// Characters of a violation's message that are kept.
const LONGEST_MESSAGE: usize = 200;

/// What was found of the objects of one CRD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Objects that were looked at.
    pub read: usize,
    /// Objects that are valid now and would not be.
    pub invalid: usize,
    /// The first of them.
    pub offenders: Vec<Offender>,
    /// Objects that are invalid already, and in the same way.
    pub already: usize,
    /// Objects that would lose fields, which the new schema does not know.
    pub pruned: usize,
    /// The first such field.
    pub first_pruned: Option<String>,
    /// What could not be looked at, and why.
    pub unchecked: BTreeSet<String>,
}

/// An object that would be invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// `namespace/name`, or the name alone where there are no namespaces.
    pub object: String,
    /// The version whose schema forbids it.
    pub version: String,
    /// The field: `spec.servers[0].port`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// The schemas of one version, now and then.
struct Judge {
    version: String,
    new: Validator,
    /// By which the objects are valid now.
    old: Option<Validator>,
}

/// Looks at every object of `installed` with the eyes of `wanted`, which is the same CRD as it would be. `None` when no
/// schema changes, or when objects cannot exist. Tells its progress after each page.
///
/// # Errors
/// [`CrdError::Failed`] when the objects cannot be read or a schema cannot be understood.
pub async fn look(
    client: &Client,
    installed: &CustomResourceDefinition,
    wanted: &CustomResourceDefinition,
    report: &mut dyn Report,
) -> Result<Option<Findings>, CrdError> {
    let Some(listed) = listed_version(installed, wanted) else { return Ok(None) };
    let judges = judges(installed, wanted, listed)?;
    if judges.is_empty() {
        return Ok(None);
    }
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let mut findings = Findings::default();
    for judge in &judges {
        findings.unchecked.extend(judge.new.unchecked().iter().map(|what| format!("{} {what}", judge.version)));
    }
    let mut pages = Pages::new(client, installed, &listed.name);
    while let Some(page) = pages.next().await? {
        if pages.first {
            // Begun again: what was counted comes once more.
            findings = Findings { unchecked: std::mem::take(&mut findings.unchecked), ..Findings::default() };
        }
        for object in page.items {
            findings.object(&judges, &object);
        }
        let (read, invalid) = (findings.read, findings.invalid);
        let left = page.metadata.remaining_item_count.and_then(|left| usize::try_from(left).ok()).unwrap_or(0);
        let of = if left == 0 { String::new() } else { format!(" of about {}", read + left) };
        report.say("crds", Stage::Progress, format!("{name}: {read}{of} objects read, {invalid} would be invalid"));
    }
    Ok(Some(findings))
}

/// The version to read the objects in: the one that they will be stored in, when it is served already.
fn listed_version<'a>(
    installed: &'a CustomResourceDefinition,
    wanted: &CustomResourceDefinition,
) -> Option<&'a CustomResourceDefinitionVersion> {
    let served = || installed.spec.versions.iter().filter(|version| version.served);
    let stored = wanted.spec.versions.iter().find(|version| version.storage)?;
    served()
        .find(|version| version.name == stored.name)
        .or_else(|| served().find(|version| version.storage))
        .or_else(|| served().next())
}

/// Those who judge: one for each new schema that the objects have to fit and that is not the old one.
fn judges(
    installed: &CustomResourceDefinition,
    wanted: &CustomResourceDefinition,
    listed: &CustomResourceDefinitionVersion,
) -> Result<Vec<Judge>, CrdError> {
    let crd = wanted.metadata.name.as_deref().unwrap_or_default();
    let webhook = wanted.spec.conversion.as_ref().is_some_and(|conversion| conversion.strategy == "Webhook");
    let mut judges = Vec::new();
    for version in &wanted.spec.versions {
        // What a webhook would make of them is not known; without one only `apiVersion` is exchanged.
        let concerned = if webhook { version.name == listed.name } else { version.served || version.storage };
        let Some(new) = schema(version).filter(|_| concerned) else { continue };
        let before = installed.spec.versions.iter().find(|before| before.name == version.name);
        let old = schema(before.unwrap_or(listed));
        if before.is_some() && old.is_some_and(|old| plain(old) == plain(new)) {
            continue;
        }
        let validator = |schema| {
            Validator::new(schema).map_err(|error| {
                let version = &version.name;
                CrdError::Failed(format!("cannot judge objects by the schema of {crd}, version {version}: {error}"))
            })
        };
        // An installed schema that cannot be read is no reason against a new one.
        let old = old.and_then(|old| Validator::new(old).ok());
        judges.push(Judge { version: version.name.clone(), new: validator(new)?, old });
    }
    Ok(judges)
}

fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// A schema without what no object is judged by.
fn plain(schema: &JSONSchemaProps) -> Value {
    let mut schema = serde_json::to_value(schema).unwrap_or(Value::Null);
    strip(&mut schema);
    schema
}

fn strip(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.retain(|key, _| !["description", "title", "example", "externalDocs"].contains(&key.as_str()));
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("properties", Value::Object(named)) => named.values_mut().for_each(strip),
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => schemas.iter_mut().for_each(strip),
            ("items" | "additionalProperties" | "not", schema) => strip(schema),
            _ => {}
        }
    }
}

impl Findings {
    fn object(&mut self, judges: &[Judge], object: &Value) {
        self.read += 1;
        let (mut invalid, mut already, mut pruned) = (None, false, false);
        for judge in judges {
            let verdict = judge.new.judge(&mut object.clone());
            pruned |= !verdict.pruned.is_empty();
            if let (Some(path), None) = (verdict.pruned.first(), &self.first_pruned) {
                self.first_pruned = Some(format!("{path} of {}", name_of(object)));
            }
            self.unchecked.extend(verdict.unchecked.iter().map(|what| format!("{} {what}", judge.version)));
            if verdict.violations.is_empty() {
                continue;
            }
            match judge.is_new(&verdict, object) {
                Some(violation) => invalid = invalid.or_else(|| Some(offender(object, &judge.version, violation))),
                None => already = true,
            }
        }
        self.pruned += usize::from(pruned);
        self.already += usize::from(already && invalid.is_none());
        if let Some(offender) = invalid {
            self.invalid += 1;
            if self.offenders.len() < MOST_NAMED {
                self.offenders.push(offender);
            }
        }
    }
}

impl Judge {
    /// The first violation that the old schema does not find too.
    fn is_new<'a>(&self, verdict: &'a Verdict, object: &Value) -> Option<&'a Violation> {
        let before = self.old.as_ref().map(|old| old.judge(&mut object.clone()).violations).unwrap_or_default();
        verdict.violations.iter().find(|violation| !before.contains(violation))
    }
}

fn offender(object: &Value, version: &str, violation: &Violation) -> Offender {
    Offender {
        object: name_of(object),
        version: version.to_owned(),
        path: violation.path.clone(),
        message: violation.message.chars().take(LONGEST_MESSAGE).collect(),
    }
}

fn name_of(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    match text("namespace") {
        "" => text("name").to_owned(),
        namespace => format!("{namespace}/{}", text("name")),
    }
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<Value>,
}

/// A list, page by page.
struct Pages<'a> {
    client: &'a Client,
    what: String,
    request: Request,
    /// Where to go on; `None` at the end.
    next: Option<String>,
    /// Whether the page that was read last is the first one.
    first: bool,
    restarts: usize,
}

impl<'a> Pages<'a> {
    /// The objects of `definition` in all namespaces, in the version `version`.
    fn new(client: &'a Client, definition: &CustomResourceDefinition, version: &str) -> Self {
        let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
        Self {
            client,
            what: format!(
                "list the {plural}.{version}.{group} of all namespaces, to hold them against their new schema"
            ),
            request: Request::new(format!("/apis/{group}/{version}/{plural}")),
            next: Some(String::new()),
            first: true,
            restarts: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<Page>, CrdError> {
        while let Some(token) = self.next.take() {
            self.first = token.is_empty();
            let mut params = ListParams::default().limit(PAGE);
            params.continue_token = (!token.is_empty()).then_some(token);
            let page: Result<Page, kube::Error> = match self.request.list(&params) {
                Ok(request) => self.client.request(request).await,
                Err(error) => Err(kube::Error::BuildRequest(error)),
            };
            match page {
                Ok(page) => {
                    self.next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
                    return Ok(Some(page));
                }
                // The list is older than what the API server remembers. It says where to go on among newer objects;
                // without that it begins again.
                Err(kube::Error::Api(status)) if status.code == 410 && self.restarts < MOST_RESTARTS => {
                    self.restarts += 1;
                    let place = status.metadata.and_then(|metadata| metadata.continue_);
                    self.next = Some(place.unwrap_or_default());
                }
                Err(error) => return Err(CrdError::failed(&self.what, &error)),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A CRD whose versions are told by name, whether they are served and stored, and their greatest size.
    fn definition(versions: &[(&str, bool, bool, i64)], strategy: &str) -> CustomResourceDefinition {
        let versions = versions.iter().map(|(name, served, storage, most)| {
            let size = json!({"size": {"type": "integer", "maximum": most}});
            let schema = json!({"openAPIV3Schema": {"type": "object", "properties": size}});
            json!({"name": name, "served": served, "storage": storage, "schema": schema})
        });
        let definition = json!({
            "metadata": {"name": "ants.example.com"},
            "spec": {
                "group": "example.com", "scope": "Cluster", "names": {"kind": "Ant", "plural": "ants"},
                "conversion": {"strategy": strategy}, "versions": versions.collect::<Vec<_>>(),
            },
        });
        serde_json::from_value(definition).unwrap()
    }

    fn judging(installed: &CustomResourceDefinition, wanted: &CustomResourceDefinition) -> (String, Vec<String>) {
        let listed = listed_version(installed, wanted).unwrap();
        let judges = judges(installed, wanted, listed).unwrap();
        (listed.name.clone(), judges.into_iter().map(|judge| judge.version).collect())
    }

    #[test]
    fn objects_are_read_as_they_will_be_stored_where_that_is_served_already() {
        let installed = definition(&[("v1", true, true, 5), ("v2", true, false, 5), ("v3", false, false, 5)], "None");
        let stored_in = |name: &str| {
            let of = |version| (version, true, version == name, 6);
            definition(&[of("v1"), of("v2"), of("v3")], "None")
        };
        let all = || ["v1", "v2", "v3"].map(str::to_owned).to_vec();
        assert_eq!(judging(&installed, &stored_in("v1")), ("v1".to_owned(), all()));
        assert_eq!(judging(&installed, &stored_in("v2")), ("v2".to_owned(), all()));
        assert_eq!(judging(&installed, &stored_in("v3")), ("v1".to_owned(), all()));
    }

    #[test]
    fn what_a_webhook_makes_of_objects_is_not_guessed() {
        let installed = definition(&[("v1", true, true, 5), ("v2", true, false, 5)], "Webhook");
        let wanted = definition(&[("v1", true, false, 6), ("v2", true, true, 6)], "Webhook");
        assert_eq!(judging(&installed, &wanted), ("v2".to_owned(), vec!["v2".to_owned()]));
    }

    #[test]
    fn only_schemas_that_change_are_looked_at() {
        let installed = definition(&[("v1", true, true, 5), ("v2", true, false, 5)], "None");
        let wanted = definition(&[("v1", true, true, 5), ("v2", true, false, 6)], "None");
        assert_eq!(judging(&installed, &wanted), ("v1".to_owned(), vec!["v2".to_owned()]));
        let none_served = definition(&[("v1", false, true, 5)], "None");
        assert!(listed_version(&none_served, &wanted).is_none());
    }
}
