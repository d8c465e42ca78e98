//! From a policy's preconditions, freeze windows and CRDs, and a release's breaking changes, to the domain.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::expression;
use super::parse::Reader;
use super::{CRD_CHECKS, PlatformRelease, PreconditionSpec, UpgradePolicySpec};
use crate::domain::freeze::Freeze;
use crate::domain::policy::{ComponentId, Policy, Problem};
use crate::domain::preparation::{BreakingChange, Demands, Precondition};

/// Reads a length of time as policies write it, for example `24h` or `1h30m`.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration > SignedDuration::ZERO => Ok(duration),
        _ => Err(format!("'{text}' is no length of time: write for example 24h, 90m or 1h30m")),
    }
}

impl Reader<'_> {
    pub(super) fn demands(&mut self, spec: &UpgradePolicySpec) -> Demands {
        let valid_for = spec.prepared_for.as_deref().map(|text| self.duration("spec.preparedFor", text));
        let mut demands = Demands { acknowledged: spec.acknowledged.iter().cloned().collect(), ..Demands::default() };
        demands.valid_for = valid_for.flatten().unwrap_or(demands.valid_for);
        let mut names = BTreeSet::new();
        for (index, precondition) in spec.preconditions.iter().enumerate() {
            let path = format!("spec.preconditions[{index}]");
            if !names.insert(&precondition.name) {
                self.problem(format!("{path}.name"), format!("'{}' is used twice", precondition.name));
            }
            demands.preconditions.push(self.precondition(&path, precondition));
        }
        for (index, window) in spec.freeze_windows.iter().enumerate() {
            let path = format!("spec.freezeWindows[{index}]");
            let Some(lasts) = self.duration(format!("{path}.duration"), &window.duration) else { continue };
            let zone = window.time_zone.as_deref().unwrap_or("UTC");
            match Freeze::new(&window.name, &window.cron, zone, lasts) {
                Ok(freeze) => demands.freezes.push(freeze),
                Err(error) => self.problem(format!("{path}.cron"), format!("cannot be read: {error}")),
            }
        }
        for (index, check) in spec.verify.http.iter().enumerate() {
            let path = format!("spec.verify.http[{index}]");
            if let Some(text) = &check.timeout {
                self.duration(format!("{path}.timeout"), text);
            }
            if let Some(text) = &check.expression {
                self.expression(format!("{path}.expression"), text, &["body", "status"]);
            }
        }
        for name in spec.crd_checks.keys().filter(|name| !CRD_CHECKS.contains(&name.as_str())) {
            let message = "is no check of CRDs; 'upgrade-guard crds checks' lists them";
            self.problem(format!("spec.crdChecks.{name}"), message);
        }
        if let Some(database) = &spec.database {
            self.database(database);
        }
        demands
    }

    fn precondition(&mut self, path: &str, spec: &PreconditionSpec) -> Precondition {
        let kinds = [
            spec.object.is_some(),
            spec.cron_job.is_some(),
            spec.job.is_some(),
            spec.volume_snapshot.is_some(),
            spec.cnpg_backup.is_some(),
            spec.cnpg_cluster.is_some(),
            spec.velero_backup.is_some(),
            spec.health.is_some(),
        ];
        if kinds.into_iter().filter(|there| *there).count() != 1 {
            self.problem(path, "must have exactly one of object, cronJob, job, volumeSnapshot, cnpgBackup, cnpgCluster, veleroBackup and health");
        }
        for (field, text) in times(spec) {
            self.duration(format!("{path}.{field}"), text);
        }
        for (field, text) in expressions(spec) {
            self.expression(format!("{path}.{field}"), text, &["object", "now"]);
        }
        let components = self.named_components(&format!("{path}.components"), &spec.components);
        if let Some(health) = &spec.health {
            let _ = self.named_components(&format!("{path}.health.components"), &health.components);
        }
        Precondition { name: spec.name.clone(), components }
    }

    fn named_components(&mut self, path: &str, names: &[String]) -> BTreeSet<ComponentId> {
        names.iter().enumerate().filter_map(|(index, name)| self.peer(format!("{path}[{index}]"), name)).collect()
    }

    fn expression(&mut self, path: String, text: &str, variables: &[&str]) {
        if let Err(message) = expression::check(text, variables) {
            self.problem(path, message);
        }
    }

    pub(super) fn duration(&mut self, path: impl Into<String>, text: &str) -> Option<SignedDuration> {
        duration(text).map_err(|message| self.problem(path, message)).ok()
    }
}

/// The CEL expressions in a precondition, with their fields.
fn expressions(spec: &PreconditionSpec) -> Vec<(&'static str, &str)> {
    let Some(object) = &spec.object else { return vec![] };
    let timestamp = object.timestamp.as_deref().map(|text| ("object.timestamp", text));
    [("object.ready", object.ready.as_str())].into_iter().chain(timestamp).collect()
}

/// The lengths of time in a precondition, with their fields.
fn times(spec: &PreconditionSpec) -> Vec<(&'static str, &str)> {
    let optional = [
        ("object.maxAge", spec.object.as_ref().and_then(|object| object.max_age.as_deref())),
        ("cronJob.maxAge", spec.cron_job.as_ref().map(|job| job.max_age.as_str())),
        ("cronJob.timeout", spec.cron_job.as_ref().and_then(|job| job.timeout.as_deref())),
        ("job.maxAge", spec.job.as_ref().and_then(|job| job.max_age.as_deref())),
        ("volumeSnapshot.maxAge", spec.volume_snapshot.as_ref().map(|snapshot| snapshot.max_age.as_str())),
        ("cnpgBackup.maxAge", spec.cnpg_backup.as_ref().map(|backup| backup.max_age.as_str())),
        ("veleroBackup.maxAge", spec.velero_backup.as_ref().map(|backup| backup.max_age.as_str())),
    ];
    optional.into_iter().filter_map(|(field, text)| Some((field, text?))).collect()
}

/// The breaking changes of a release of `policy`; what is wrong with them goes to `problems`.
pub(super) fn breaking_changes(
    policy: &Policy,
    release: &PlatformRelease,
    problems: &mut Vec<Problem>,
) -> Vec<BreakingChange> {
    let mut read = Vec::new();
    for (index, change) in release.spec.breaking_changes.iter().enumerate() {
        let mut components = BTreeSet::new();
        for (position, name) in change.components.iter().enumerate() {
            if let Some(id) = policy.component_named(name) {
                components.insert(id);
            } else {
                let path = format!("spec.breakingChanges[{index}].components[{position}]");
                problems.push(Problem::new(path, format!("policy '{}' has no component '{name}'", policy.name)));
            }
        }
        let (name, message, url) = (change.name.clone(), change.message.clone(), change.url.clone());
        read.push(BreakingChange { name, message, url, components });
    }
    read
}

/// The CRDs of a release.
pub(super) fn crds(release: &PlatformRelease) -> BTreeMap<String, Option<String>> {
    release.spec.crds.iter().map(|crd| (crd.name.clone(), crd.content.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::UpgradePolicy;

    fn problems(demands: &Value) -> Vec<String> {
        let mut spec = json!({"namespaces": ["x"], "components": [{"name": "api", "match": {"names": ["api"]}}]});
        spec.as_object_mut().unwrap().extend(demands.as_object().unwrap().clone());
        let policy = json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "p"}, "spec": spec,
        });
        let policy: UpgradePolicy = serde_json::from_value(policy).unwrap();
        let problems = Policy::try_from(&policy).map_or_else(|problems| problems.0, |_| vec![]);
        problems.iter().map(ToString::to_string).collect()
    }

    fn object(ready: &str, timestamp: &str, max_age: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "ready": ready, "timestamp": timestamp, "maxAge": max_age,
        })
    }

    #[test]
    fn every_problem_of_a_demand_is_told_with_its_path() {
        insta::assert_snapshot!(
            problems(&json!({
                "preparedFor": "a while",
                "preconditions": [
                    {"name": "a", "object": object("object.status.phase = 'x'", "object.status.", "24 hours")},
                    {"name": "a", "object": object("objekt.ready", "completed", "24h")},
                    {"name": "b", "components": ["portal"], "health": {"components": ["ui"]}},
                    {"name": "c"},
                    {"name": "d", "cronJob": {"name": "x", "maxAge": "-1h", "timeout": "0s"}, "job": {"name": "x"}},
                ],
                "freezeWindows": [
                    {"name": "weekend", "cron": "0 18 * *", "duration": "62h"},
                    {"name": "night", "cron": "0 20 * * *", "duration": "ten hours"},
                    {"name": "moon", "cron": "0 20 * * *", "duration": "10h", "timeZone": "Moon/Sea"},
                ],
                "verify": {"http": [
                    {"name": "health", "url": "http://x/health", "expression": "object.status == 'ok'", "timeout": "soon"},
                ]},
            }))
            .join("\n")
        );
    }

    #[test]
    fn what_can_be_asked_for_is_no_problem() {
        let ready = "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
        let asked = json!({
            "preparedFor": "24h",
            "preconditions": [
                {"name": "a", "components": ["api"], "object": object(ready, "object.status.ended", "1h30m")},
                {"name": "b", "health": {"components": ["api"]}},
            ],
            "freezeWindows": [{"name": "weekend", "cron": "0 18 * * FRI", "duration": "62h", "timeZone": "Europe/Paris"}],
            "verify": {"http": [{"name": "health", "url": "http://x/health", "expression": "status == 200 && body.ok"}]},
        });
        assert_eq!(problems(&asked), Vec::<String>::new());
    }
}
