//! What a difference between an installed and a wanted CRD is called, and how strictly it is taken.

use std::collections::BTreeMap;

pub use crate::api::CrdSeverity as Severity;

/// How strictly each check is taken, as a policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Severities(pub BTreeMap<String, Severity>);

/// A difference that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The check's name.
    pub check: &'static str,
    /// How strictly it is taken.
    pub severity: Severity,
    /// The version of the CRD, where it is about one.
    pub version: Option<String>,
    /// The field, for example `spec.endpoints.publicUrl`; of the CRD itself where there is no version.
    pub path: String,
    /// What changes, in one line: `was string, would be integer`.
    pub message: String,
}
