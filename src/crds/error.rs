//! Why CRDs are not applied.

use std::fmt;

use kube::core::Status;
use kube::core::response::StatusCause;

use crate::cluster::documents::FileErrors;
use crate::cluster::error::said;

/// The option that takes fields over from others, as users write it.
pub const TAKE_OVER: &str = "--take-over";

/// Why CRDs are not applied, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// What is wanted could not be read: no such file, no YAML, no CRD in it. One line for each fault.
    #[error("{}", .0.join("\n"))]
    Input(Vec<String>),
    /// Something stands against them, and nothing was changed.
    #[error("no CRD was applied:\n{}", lines(.0))]
    Refused(Vec<Refusal>),
    /// It could not be done, or not be seen to its end: no connection, no permission, no time left.
    #[error("{0}")]
    Failed(String),
}

impl CrdError {
    /// That `what` was attempted ("read the CRD x") and failed with `error`.
    pub(super) fn failed(what: &str, error: &kube::Error) -> Self {
        let hint = match error {
            kube::Error::Api(status) if status.is_forbidden() => {
                ". Give the account that runs this the permission, see `upgrade-guard recipe`"
            }
            _ => "",
        };
        Self::Failed(format!("cannot {what}: {}{hint}", said(error)))
    }
}

impl From<FileErrors> for CrdError {
    fn from(errors: FileErrors) -> Self {
        Self::Input(errors.0.iter().map(ToString::to_string).collect())
    }
}

fn lines(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What stands against one CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The CRD's name.
    pub crd: String,
    /// Where it was read from.
    pub origin: String,
    /// The check that it fails: one of `upgrade-guard crds checks`, `apiServer` or `conflict`.
    pub check: &'static str,
    /// What is wrong, in one line, and what to do.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}: {}", self.crd, self.origin, self.check, self.message)
    }
}

/// What the API server makes of an apply that it does not take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The object is wrong, or an admission webhook is against it.
    Refused(String),
    /// Others own fields that would change: their names and the fields.
    Conflict(Vec<(String, Vec<String>)>),
    /// It says nothing about the object.
    Failed,
}

impl Answer {
    /// What `status` says.
    pub(super) fn of(status: &Status) -> Self {
        let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
        let conflicts: Vec<&StatusCause> =
            causes.iter().filter(|cause| cause.reason == "FieldManagerConflict").collect();
        if !conflicts.is_empty() {
            return Self::Conflict(by_manager(&conflicts));
        }
        // A document that does not fit the API's own schema is, oddly, an internal error.
        let unreadable = status.message.contains("typed patch object");
        let denied = status.code == 403 && status.message.contains("denied the request");
        if !(matches!(status.code, 400 | 422) || unreadable || denied) {
            return Self::Failed;
        }
        let told: Vec<String> = causes.iter().map(cause).collect();
        Self::Refused(if told.is_empty() { plain(&status.message) } else { told.join("; ") })
    }
}

/// The fields of each manager, in the order in which they come.
fn by_manager(conflicts: &[&StatusCause]) -> Vec<(String, Vec<String>)> {
    let mut managers: Vec<(String, Vec<String>)> = Vec::new();
    for conflict in conflicts {
        // conflict with "helm" using apiextensions.k8s.io/v1
        let manager = conflict.message.split('"').nth(1).unwrap_or(&conflict.message).to_owned();
        let field = conflict.field.trim_start_matches('.').to_owned();
        match managers.iter_mut().find(|(known, _)| *known == manager) {
            Some((_, fields)) => fields.push(field),
            None => managers.push((manager, vec![field])),
        }
    }
    managers
}

fn cause(cause: &StatusCause) -> String {
    // The API server's own form has one schema for all versions that share it; files have one in each.
    let field = match cause.field.strip_prefix("spec.validation.") {
        Some(rest) => format!("spec.versions[*].schema.{rest}"),
        None => cause.field.clone(),
    };
    let message = plain(&cause.message);
    if field.is_empty() { message } else { format!("{field}: {message}") }
}

/// In one line, and in words that no engine takes for a reason to delete and create an object again.
fn plain(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    message.replace("field is immutable", "cannot be changed once the CRD is there")
}

/// That other managers own fields that would change, and what to do about each.
pub(super) fn conflict(managers: &[(String, Vec<String>)]) -> String {
    let told = managers.iter().map(|(manager, fields)| {
        let fields = fields.join(", ");
        format!("{manager} owns {fields}, and the file says otherwise: {}", advice(manager))
    });
    told.collect::<Vec<_>>().join("; ")
}

fn advice(manager: &str) -> String {
    match manager {
        "helm" => format!(
            "Helm installs the CRDs of a chart once and never upgrades them, so take them over with {TAKE_OVER}"
        ),
        "argocd-controller" | "kustomize-controller" | "helm-controller" => format!(
            "it would set them back on its next sync, so leave this CRD out of what it applies, and then take it over \
             with {TAKE_OVER}"
        ),
        _ if manager.starts_with("kubectl") || manager == "before-first-apply" => {
            format!("someone applied the CRD by hand; take it over with {TAKE_OVER}")
        }
        _ => format!("when {manager} does not apply this CRD any more, take it over with {TAKE_OVER}"),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::*;

    fn status(code: u16, causes: &[(&str, &str, &str)]) -> Status {
        let cause = |&(reason, message, field): &(&str, &str, &str)| StatusCause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: field.to_owned(),
        };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: causes.iter().map(cause).collect(),
            retry_after_seconds: 0,
        };
        Status::failure("it says no", "Whatever").with_code(code).with_details(details)
    }

    #[test]
    fn a_refusal_names_the_field_as_files_have_it() {
        let message = "Forbidden: additionalProperties and properties are mutual exclusive";
        let cause = ("FieldValueForbidden", message, "spec.validation.openAPIV3Schema.properties[spec]");
        let told = Answer::of(&status(422, &[cause]));
        let expected = format!("spec.versions[*].schema.openAPIV3Schema.properties[spec]: {message}");
        assert_eq!(told, Answer::Refused(expected));
    }

    #[test]
    fn no_message_speaks_of_immutable_fields() {
        let cause = ("FieldValueInvalid", "Invalid value: \"Cluster\": field is immutable", "spec.scope");
        let Answer::Refused(told) = Answer::of(&status(422, &[cause])) else { panic!("it is refused") };
        assert_eq!(told, "spec.scope: Invalid value: \"Cluster\": cannot be changed once the CRD is there");
    }

    #[test]
    fn what_says_nothing_of_the_object_is_a_failure() {
        for code in [401, 403, 404, 409, 429, 500, 503] {
            assert_eq!(Answer::of(&status(code, &[])), Answer::Failed, "{code}");
        }
        let denied = Status::failure("admission webhook \"x\" denied the request: no", "Forbidden").with_code(403);
        assert!(matches!(Answer::of(&denied), Answer::Refused(_)));
        let unreadable = Status::failure("failed to create typed patch object (...)", "").with_code(500);
        assert!(matches!(Answer::of(&unreadable), Answer::Refused(_)));
    }

    #[test]
    fn a_conflict_tells_who_owns_what_and_what_to_do() {
        let of = |manager: &str, field| {
            let message = format!("conflict with \"{manager}\" using apiextensions.k8s.io/v1");
            ("FieldManagerConflict".to_owned(), message, field)
        };
        let causes =
            [of("helm", ".spec.versions"), of("argocd-controller", ".spec.names.shortNames"), of("helm", ".x")];
        let causes: Vec<(&str, &str, &str)> = causes.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), *c)).collect();
        let Answer::Conflict(managers) = Answer::of(&status(409, &causes)) else { panic!("it is a conflict") };
        let managers_expected = [
            ("helm".to_owned(), vec!["spec.versions".to_owned(), "x".to_owned()]),
            ("argocd-controller".to_owned(), vec!["spec.names.shortNames".to_owned()]),
        ];
        assert_eq!(managers, managers_expected);
        insta::assert_snapshot!(conflict(&managers));
    }
}
