//! Tells a container's version, and how it knew.

use std::collections::BTreeMap;
use std::fmt;

use super::image::ImageRef;
use super::line::Lines;
use super::policy::{Component, ComponentId, VersionSource};
use super::version::{Version, parse};

/// The pod-template annotation that states a version for every governed container of the pod.
/// With `.COMPONENT` appended it states the version of that component alone.
pub const VERSION_ANNOTATION: &str = "guard.gostoa.dev/version";
/// The label that Kubernetes recommends for the version of an application.
pub const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// A version and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The version; [`Version::Unknown`] carries the tag or digest that could not be read.
    pub version: Version,
    /// Where it was read; `None` when no source knew it.
    pub source: Option<KnownBy>,
}

/// How a version was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// A pod-template annotation.
    Annotation,
    /// The label `app.kubernetes.io/version` of the pod template.
    Label,
    /// The image tag.
    Tag,
    /// The release of this name lists the image's tag or digest.
    Release(String),
}

impl fmt::Display for KnownBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation => write!(f, "annotation {VERSION_ANNOTATION}"),
            Self::Label => write!(f, "label {VERSION_LABEL}"),
            Self::Tag => f.write_str("image tag"),
            Self::Release(name) => write!(f, "PlatformRelease {name}"),
        }
    }
}

/// Resolves the version of `component` from its image and the pod template's annotations and labels.
///
/// All of the component's sources are asked. The first that knows a version names it; when another knows a different
/// one (a stale label beside a new tag), the version counts as unknown: believing either could let a change pass.
#[must_use]
pub fn resolve(
    (id, component): (ComponentId, &Component),
    lines: &Lines,
    image: &str,
    annotations: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> Resolved {
    let image = ImageRef::parse(image);
    let from_source = |source: &VersionSource| -> Option<(semver::Version, KnownBy)> {
        match source {
            VersionSource::Annotation => {
                let own = annotations.get(&format!("{VERSION_ANNOTATION}.{}", component.name));
                let stated = own.or_else(|| annotations.get(VERSION_ANNOTATION))?;
                Some((parse(stated)?, KnownBy::Annotation))
            }
            VersionSource::Label => Some((parse(labels.get(VERSION_LABEL)?)?, KnownBy::Label)),
            VersionSource::Tag => Some((component.tag.version(image.tag?)?, KnownBy::Tag)),
            VersionSource::Release => lines
                .listed_image(id, image.tag, image.digest)
                .map(|(version, release)| (version.clone(), KnownBy::Release(release.to_owned()))),
        }
    };
    let known: Vec<_> = component.sources.iter().filter_map(from_source).collect();
    let Some((version, source)) = known.first() else {
        let shown = image.tag.or(image.digest).unwrap_or("latest");
        return Resolved { version: Version::Unknown(shown.to_owned()), source: None };
    };
    match known.iter().find(|(other, _)| other.cmp_precedence(version).is_ne()) {
        Some((other, by)) => {
            Resolved { version: Version::Unknown(format!("{version} ({source}) or {other} ({by})")), source: None }
        }
        None => Resolved { version: Version::Known(version.clone()), source: Some(source.clone()) },
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{Listed, Release};
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn sources_are_asked_in_order() {
        let component = Component::named("ui");
        let listed = Listed {
            version: "1.13.0".parse().unwrap(),
            tags: vec!["dev-1f3a9c2".into()],
            digests: vec!["sha256:aa".into()],
            needs: BTreeMap::new(),
        };
        let lines = Lines::new(vec![Release {
            name: "2026.05".into(),
            required_stop: false,
            components: BTreeMap::from([(ComponentId(0), listed)]),
            ..Release::default()
        }]);
        let release = Some(KnownBy::Release("2026.05".into()));
        for (image, annotations, labels, version, source) in [
            ("ui:latest", map(&[(VERSION_ANNOTATION, "1.4.0")]), map(&[]), "1.4.0", Some(KnownBy::Annotation)),
            (
                "ui:latest",
                map(&[("guard.gostoa.dev/version.ui", "1.5.0"), (VERSION_ANNOTATION, "1.4.0")]),
                map(&[]),
                "1.5.0",
                Some(KnownBy::Annotation),
            ),
            ("ui:1.2.0", map(&[("guard.gostoa.dev/version.api", "1.5.0")]), map(&[]), "1.2.0", Some(KnownBy::Tag)),
            ("ui:1.2.0", map(&[]), map(&[(VERSION_LABEL, "v1.2.0")]), "1.2.0", Some(KnownBy::Label)),
            ("ui:latest", map(&[]), map(&[(VERSION_LABEL, "1.3.0")]), "1.3.0", Some(KnownBy::Label)),
            ("ui:latest", map(&[]), map(&[(VERSION_LABEL, "stable")]), "latest", None),
            ("ui:dev-1f3a9c2", map(&[]), map(&[]), "1.13.0", release.clone()),
            ("ui@sha256:aa", map(&[]), map(&[]), "1.13.0", release.clone()),
            ("ui:dev-0000000@sha256:aa", map(&[]), map(&[]), "1.13.0", release),
            ("ui:dev-0000000", map(&[]), map(&[]), "dev-0000000", None),
            ("ui@sha256:bb", map(&[]), map(&[]), "sha256:bb", None),
            ("ui", map(&[]), map(&[]), "latest", None),
            (
                "ui:1.3.0",
                map(&[]),
                map(&[(VERSION_LABEL, "1.2.0")]),
                "1.2.0 (label app.kubernetes.io/version) or 1.3.0 (image tag)",
                None,
            ),
        ] {
            let resolved = resolve((ComponentId(0), &component), &lines, image, &annotations, &labels);
            assert_eq!((resolved.version.to_string().as_str(), resolved.source), (version, source), "image {image}");
        }
    }
}
