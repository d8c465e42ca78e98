//! Objects as an engine sees them: which of them are hooks, of whom, and when they come.

use std::fmt;

use serde_json::Value;

use crate::cluster::files::{Found, Origin};

/// Whose hook it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Argo CD's.
    ArgoCd,
    /// Helm's.
    Helm,
}

impl Dialect {
    /// The annotation that makes an object a hook.
    pub(super) fn annotation(self) -> &'static str {
        match self {
            Self::ArgoCd => "argocd.argoproj.io/hook",
            Self::Helm => "helm.sh/hook",
        }
    }
}

/// What makes an object a hook.
#[derive(Debug)]
pub(super) struct Hook<'a> {
    pub(super) dialect: Dialect,
    /// Argo CD's phases or Helm's events.
    pub(super) events: Vec<&'a str>,
    /// Argo CD's wave or Helm's weight.
    pub(super) order: i64,
    pub(super) deletes: Vec<&'a str>,
}

impl Hook<'_> {
    /// A test of Helm's, which no engine runs by itself.
    pub(super) fn is_test(&self) -> bool {
        self.events.iter().all(|event| event.starts_with("test"))
    }
}

/// A document.
pub(super) struct Object<'a> {
    pub(super) origin: &'a Origin,
    pub(super) value: &'a Value,
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Where both dialects make it one, Argo CD's.
    pub(super) hook: Option<Hook<'a>>,
    pub(super) has_both: bool,
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states_namespace = self.value.pointer("/metadata/namespace").is_some();
        if states_namespace {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        } else {
            write!(f, "{} {}", self.kind, self.name)
        }
    }
}

impl<'a> Object<'a> {
    /// Reads a document; without a namespace it is of `namespace`.
    pub(super) fn read(found: &'a Found<Value>, namespace: &'a str) -> Self {
        let value = &found.object;
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        let api_version = text("/apiVersion").unwrap_or_default();
        let mut object = Self {
            origin: &found.origin,
            value,
            group: api_version.split_once('/').map_or("", |(group, _)| group),
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace").unwrap_or(namespace),
            name: text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or_default(),
            hook: None,
            has_both: false,
        };
        let argo = object.hook_of(Dialect::ArgoCd, "argocd.argoproj.io/hook-delete-policy", object.wave());
        let helm = object.hook_of(Dialect::Helm, "helm.sh/hook-delete-policy", object.number("helm.sh/hook-weight"));
        object.has_both = argo.is_some() && helm.is_some();
        object.hook = argo.or(helm);
        object
    }

    fn hook_of(&self, dialect: Dialect, deletes: &str, order: i64) -> Option<Hook<'a>> {
        let list = |text: &'a str| text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let mut events = list(self.annotation(dialect.annotation())?);
        // Argo CD leaves out what is skipped, and both engines take a `crd-install` for a plain CRD.
        events.retain(|event| !matches!(*event, "Skip" | "crd-install"));
        if events.is_empty() {
            return None;
        }
        Some(Hook { dialect, events, order, deletes: self.annotation(deletes).map(list).unwrap_or_default() })
    }

    /// An annotation's value.
    pub(super) fn annotation(&self, name: &str) -> Option<&'a str> {
        self.value.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    fn number(&self, annotation: &str) -> i64 {
        self.annotation(annotation).and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Argo CD's wave, of hooks and of plain objects.
    pub(super) fn wave(&self) -> i64 {
        self.number("argocd.argoproj.io/sync-wave")
    }

    pub(super) fn is_job(&self) -> bool {
        (self.group, self.kind) == ("batch", "Job")
    }
}
