//! What a difference between an installed and a wanted CRD is called, and how strictly it is taken.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use crate::api::CrdSeverity as Severity;

/// A check's row in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The check.
    pub check: Check,
    /// Its name, by which a policy sets it (`spec.crdChecks`).
    pub name: &'static str,
    /// How strictly it is taken where a policy says nothing.
    pub severity: Severity,
    /// What it finds, in one sentence.
    pub finds: &'static str,
}

/// Makes the enumeration of all checks and the table with their rows, so that there cannot be one without the other.
macro_rules! checks {
    ($($check:ident $name:literal $severity:ident $finds:literal)*) => {
        /// A check. The order is that of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $(#[doc = $finds] $check),*
        }

        /// All checks, in the order of [`Check`].
        pub static ROWS: &[Row] = &[
            $(Row { check: Check::$check, name: $name, severity: Severity::$severity, finds: $finds }),*
        ];
    };
}

checks! {
    Identity "identity" Error
        "Group, kind, plural or name differ: it would be another CRD, and the objects of this one would stay behind."
    Names "names" Warn
        "The singular name or the kind of lists changes, which clients may use."
    Scope "scope" Error
        "The scope changes between Namespaced and Cluster."
    StoredVersionRemoval "storedVersionRemoval" Error
        "A version in which objects may be stored (status.storedVersions) is gone."
    ServedVersionRemoval "servedVersionRemoval" Error
        "A version that is served would be gone or not served any more."
    StorageVersion "storageVersion" Error
        "Objects would be stored in another version that is not the same and has no conversion webhook."
    StorageVersionNew "storageVersionNew" Warn
        "Objects would be stored in a version that the installed CRD does not have: the first one written bars the way back."
    Conversion "conversion" Error
        "What one served version knows is lost or refused in another, because no webhook converts between them."
    ConversionWebhook "conversionWebhook" Warn
        "A webhook would begin to convert objects, or another one than now: it has to run first."
    Deprecation "deprecation" Warn
        "A version would be deprecated: clients that use it are warned."
    StatusSubresource "statusSubresource" Error
        "The status subresource goes away: controllers cannot write the status there any more."
    StatusSubresourceAdded "statusSubresourceAdded" Warn
        "A status subresource begins: a status that is written with the object is ignored from then on."
    ScaleSubresource "scaleSubresource" Error
        "The scale subresource goes away or reads other fields."
    SelectableField "selectableField" Error
        "A field can no longer be selected by."
    ExistingFieldRemoval "existingFieldRemoval" Error
        "A field is gone: what objects have there is dropped."
    Type "type" Error
        "The type of a field changes, or one that could be anything gets a type."
    Format "format" Error
        "A format is added or changed."
    Required "required" Error
        "A field without a default becomes required."
    Enum "enum" Error
        "Only listed values are allowed from now on, or a value is no longer one of them."
    Default "default" Error
        "A default is added, changed or removed: objects that leave the field out mean something else."
    Nullable "nullable" Error
        "A field may no longer be null."
    Minimum "minimum" Error
        "A least value is added or raised."
    Maximum "maximum" Error
        "A greatest value is added or lowered."
    MultipleOf "multipleOf" Error
        "A value has to be a multiple of something that it did not have to be before."
    MinLength "minLength" Error
        "A least length of a text is added or raised."
    MaxLength "maxLength" Error
        "A greatest length of a text is added or lowered."
    Pattern "pattern" Error
        "A pattern is added or changed."
    MinItems "minItems" Error
        "A least number of items is added or raised."
    MaxItems "maxItems" Error
        "A greatest number of items is added or lowered."
    MinProperties "minProperties" Error
        "A least number of keys is added or raised."
    MaxProperties "maxProperties" Error
        "A greatest number of keys is added or lowered."
    ListType "listType" Error
        "What makes items of a list the same changes (x-kubernetes-list-type, x-kubernetes-list-map-keys)."
    MapType "mapType" Error
        "Whether the keys of an object have owners of their own changes (x-kubernetes-map-type)."
    Pruning "pruning" Error
        "Unknown fields were kept and would be dropped."
    EmbeddedResource "embeddedResource" Error
        "Whether a field holds a whole Kubernetes object changes (x-kubernetes-embedded-resource)."
    ValidationRule "validationRule" Error
        "A CEL rule is added or changed."
    TransitionRule "transitionRule" Error
        "A CEL rule that compares with the old object (oldSelf) is added or changed."
    Description "description" Off
        "A description, title, example or link to documentation changes."
    Unhandled "unhandled" Error
        "Something else changes that no check knows."
    LiveObjects "liveObjects" Error
        "Objects in the cluster that are valid would not be any more."
    ConversionUnreachable "conversionUnreachable" Error
        "The conversion webhook does not answer, so objects cannot be read in every version."
}

impl Check {
    /// The check's row in [`ROWS`].
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The check with this name, for example `existingFieldRemoval`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.check)
    }
}

/// How strictly each check is taken, as a policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Severities(pub BTreeMap<String, Severity>);

impl Severities {
    /// Reads `spec.crdChecks` of a policy.
    ///
    /// # Errors
    /// The names that are no checks.
    pub fn read(by_name: &BTreeMap<String, Severity>) -> Result<Self, Vec<String>> {
        let unknown: Vec<String> = by_name.keys().filter(|name| Check::named(name).is_none()).cloned().collect();
        if unknown.is_empty() { Ok(Self(by_name.clone())) } else { Err(unknown) }
    }

    /// How strictly `check` is taken: as the policy says, or by default.
    #[must_use]
    pub fn of(&self, check: Check) -> Severity {
        let row = check.row();
        self.0.get(row.name).copied().unwrap_or(row.severity)
    }
}

/// A difference that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The check's name.
    pub check: &'static str,
    /// How strictly it is taken.
    pub severity: Severity,
    /// The version of the CRD, where it is about one; `v1 and v2` where it is about two that are both served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The field, for example `spec.endpoints.publicUrl`, in lists `[*]` and in maps `*`; of the CRD itself where there
    /// is no version.
    pub path: String,
    /// What changes, in one line: `was string, would be integer`.
    pub message: String,
}

/// `v1alpha1 spec.endpoints.publicUrl: was string, would be integer`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = &self.version {
            write!(f, "{version} ")?;
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_name_that_a_policy_may_use() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names, crate::api::CRD_CHECKS);
        for row in ROWS {
            assert_eq!((row.check.row(), Check::named(row.name)), (row, Some(row.check)));
        }
    }

    #[test]
    fn a_policy_sets_what_it_names_and_nothing_else() {
        let given = BTreeMap::from([("enum".to_owned(), Severity::Warn), ("description".to_owned(), Severity::Error)]);
        let severities = Severities::read(&given).unwrap();
        let of = [Check::Enum, Check::Description, Check::Type].map(|check| severities.of(check));
        assert_eq!(of, [Severity::Warn, Severity::Error, Severity::Error]);
        assert_eq!(Severities::default().of(Check::Description), Severity::Off);
    }

    #[test]
    fn names_that_are_no_checks_are_told() {
        let given = ["enums", "type", "Type"].map(|name| (name.to_owned(), Severity::Off));
        assert_eq!(Severities::read(&BTreeMap::from(given)), Err(vec!["Type".to_owned(), "enums".to_owned()]));
    }
}
