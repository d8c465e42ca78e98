//! The versions that the values of a Helm chart ask for: every image in them, wherever it stands.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

use crate::cluster::documents::Source;
use crate::domain::image::ImageRef;
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::resolver::resolve;
use crate::domain::version::Version;

/// Reads the values in `source`: one YAML or JSON document.
///
/// # Errors
/// When it cannot be read, or is none.
pub(in crate::cli) fn read(source: &Source) -> anyhow::Result<Value> {
    let text = match source {
        Source::Stdin => std::io::read_to_string(std::io::stdin()),
        Source::Path(path) => std::fs::read_to_string(path),
    };
    let text = text.with_context(|| format!("cannot read {source}"))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{source} is not valid YAML"))
}

/// The versions of `policy`'s components in the values of a chart. An image is a text such as `ghcr.io/x/api:2.3.0`, or a
/// map with `repository` and `tag` or `digest`, and `registry` where that is apart.
///
/// # Errors
/// When a component's image names no version, or two of them name different ones.
pub(in crate::cli) fn versions(policy: &Policy, values: &Value) -> Result<BTreeMap<ComponentId, Version>, String> {
    let mut images = Vec::new();
    collect(values, "", &mut images);
    let mut found: BTreeMap<ComponentId, (Version, String)> = BTreeMap::new();
    for (path, image) in images {
        let Some(id) = policy.ids().find(|id| policy.component(*id).matcher.has_image(ImageRef::parse(&image))) else {
            continue;
        };
        let component = policy.component(id);
        let nothing = BTreeMap::new();
        let version = resolve((id, component), &policy.lines, &image, &nothing, &nothing).version;
        if version.known().is_none() {
            return Err(format!(
                "{path} asks for {} '{version}', which names no version: set its tag, or list it in a PlatformRelease",
                component.name
            ));
        }
        match found.insert(id, (version.clone(), path.clone())) {
            Some((other, earlier)) if other != version => {
                return Err(format!("{earlier} asks for {} {other}, and {path} for {version}", component.name));
            }
            _ => {}
        }
    }
    Ok(found.into_iter().map(|(id, (version, _))| (id, version)).collect())
}

/// Every image below `value`, with its path.
fn collect(value: &Value, path: &str, images: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => {
            if let Some(image) = of_map(value) {
                images.push((path.to_owned(), image));
            }
            for (key, value) in fields {
                match value {
                    Value::String(image) if key.to_lowercase().ends_with("image") => {
                        images.push((below(key), image.clone()));
                    }
                    _ => collect(value, &below(key), images),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{path}[{index}]"), images);
            }
        }
        _ => {}
    }
}

fn of_map(value: &Value) -> Option<String> {
    let text = |field: &str| match value.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        // A tag such as 2.3 is a number unless someone quotes it.
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let mut image = text("repository")?;
    if let Some(registry) = text("registry") {
        image = format!("{registry}/{image}");
    }
    if let Some(tag) = text("tag") {
        image = format!("{image}:{tag}");
    }
    if let Some(digest) = text("digest") {
        image = format!("{image}@{digest}");
    }
    Some(image)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::mk_policy;

    fn told(values: &Value) -> Result<Vec<String>, String> {
        let components = [("api", "*/stoa/api"), ("ui", "*/stoa/ui")];
        let policy = Policy::try_from(&mk_policy("p", &["ns"], &components)).map_err(|error| error.to_string())?;
        let versions = versions(&policy, values)?;
        Ok(versions.iter().map(|(id, version)| format!("{} {version}", policy.component(*id).name)).collect())
    }

    #[test]
    fn images_are_found_wherever_they_stand() {
        let values = json!({
            "api": {"image": {"registry": "ghcr.io", "repository": "stoa/api", "tag": "v2.3.0", "pullPolicy": "Always"}},
            "jobs": [{"migrateImage": "ghcr.io/stoa/api:2.3.0"}],
            "ui": {"image": "mirror.example:5000/stoa/ui:2.2.1@sha256:aa"},
            "postgres": {"image": {"repository": "postgres", "tag": 15}},
        });
        assert_eq!(told(&values).unwrap(), ["api 2.3.0", "ui 2.2.1"]);
        assert_eq!(told(&json!({"replicas": 2})).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_names_no_version_is_told_with_its_place() {
        let empty = json!({"api": {"image": {"repository": "ghcr.io/stoa/api", "tag": ""}}});
        assert_eq!(
            told(&empty).unwrap_err(),
            "api.image asks for api 'latest', which names no version: set its tag, or list it in a PlatformRelease"
        );
        let two = json!({"a": {"image": "x/stoa/api:2.3.0"}, "b": {"image": "x/stoa/api:2.4.0"}});
        assert_eq!(told(&two).unwrap_err(), "a.image asks for api 2.3.0, and b.image for 2.4.0");
    }
}
