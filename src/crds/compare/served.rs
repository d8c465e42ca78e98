//! The third pass: the served versions of the wanted CRD, each against the others.
//!
//! Without a webhook an object of one version is read in another as it is, so what they do not share is lost or refused.
//! What differed between the same versions of the installed CRD already is not told again.

use super::super::check::{Check, Severities, Severity};
use super::text::{Between, list, short};
use super::{Definition, Finding, Object, is, schema, schema_of};

/// What differs between served versions, and did not before.
pub(super) fn compare(old: &Definition<'_>, new: &Definition<'_>, severities: &Severities) -> Vec<Finding> {
    if new.has_webhook() {
        return vec![];
    }
    let served = |definition: &Definition<'_>, name: &str| {
        definition.version(name).filter(|version| is(version, "served")).map(schema_of)
    };
    let names: Vec<&str> = new.versions.iter().map(|(name, _)| name.as_str()).collect();
    let mut found = Vec::new();
    for (index, one) in names.iter().enumerate() {
        for other in &names[index + 1..] {
            let pair = |definition: &Definition<'_>| {
                let (a, b) = (served(definition, one)?, served(definition, other)?);
                Some(Pair::new((one, &a), (other, &b), severities))
            };
            let Some(wanted) = pair(new) else { continue };
            // What a webhook converted was no risk.
            let before = if old.has_webhook() { None } else { pair(old) };
            found.extend(wanted.beyond(&before.unwrap_or_default()).told(one, other));
        }
    }
    found
}

/// What differs between two versions.
#[derive(Default)]
struct Pair {
    /// From the one that Kubernetes prefers less to the other.
    there: Vec<Finding>,
    /// The way back.
    back: Vec<Finding>,
}

impl Pair {
    fn new(one: (&str, &Object), other: (&str, &Object), severities: &Severities) -> Self {
        let version = format!("{} and {}", one.0, other.0);
        let matters =
            |finding: &Finding| finding.check != Check::Description && severities.of(finding.check) != Severity::Off;
        let there = Between::Versions(one.0, other.0);
        let mut there = schema::compare(&there, Some(&version), one.1, other.1);
        there.retain(matters);
        let back = Between::Versions(other.0, one.0);
        let mut back = schema::compare(&back, Some(&version), other.1, one.1);
        back.retain(matters);
        Self { there, back }
    }

    /// What was not there before; of the way back, only what the way there does not find in the same place.
    fn beyond(mut self, before: &Self) -> Self {
        let there = &self.there;
        self.back
            .retain(|finding| !before.back.contains(finding) && !there.iter().any(|found| found.path == finding.path));
        self.there.retain(|finding| !before.there.contains(finding));
        self
    }

    /// Each difference on the way there, and one line for all that is lost on the way back.
    fn told(self, one: &str, other: &str) -> Vec<Finding> {
        let mut found = self.there;
        let mut paths: Vec<String> = self.back.into_iter().map(|finding| short(&finding.path)).collect();
        paths.dedup();
        if !paths.is_empty() {
            let message =
                format!("the strategy is None, so {one} loses or refuses what {other} allows at {}", list(&paths));
            let version = Some(format!("{one} and {other}"));
            found.push(Finding { check: Check::Conversion, version, path: "spec.conversion".to_owned(), message });
        }
        found
    }
}
