//! What the pod of a hook Job needs, and whether it is there by then.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Lint;
use super::hook::{Dialect, Hook, Object};

/// Kind and name, in the Job's namespace.
type Need<'a> = (&'static str, &'a str);

/// Tells what `job` needs of `objects` that comes after it.
pub(super) fn check(job: &Object<'_>, hook: &Hook<'_>, objects: &[Object<'_>], lint: &mut Lint) {
    let Some(pod) = job.value.pointer("/spec/template/spec") else { return };
    for (kind, name) in needs(pod) {
        let is_it = |object: &&Object<'_>| {
            (object.group, object.kind, object.namespace, object.name) == ("", kind, job.namespace, name)
        };
        match objects.iter().find(is_it) {
            None => {
                lint.taken_as_there.insert(format!("{kind} {name} ({job})"));
            }
            Some(needed) => {
                if let Some(late) = late(job, hook, needed) {
                    let message = format!("needs {needed} ({}), which {late}", needed.origin);
                    let remedy = match hook.dialect {
                        Dialect::ArgoCd => {
                            "make that a hook of the same phase in an earlier wave, or apply it beforehand"
                        }
                        Dialect::Helm => {
                            "make that a hook of the same event with a lower weight, or apply it beforehand"
                        }
                    };
                    lint.add(job, "hook-needs-later-object", message, remedy);
                }
            }
        }
    }
}

/// What the pod cannot start without.
fn needs(pod: &Value) -> BTreeSet<Need<'_>> {
    const SECRET: &str = "Secret";
    const CONFIG_MAP: &str = "ConfigMap";
    // Kind, what may name one, and in which field.
    let mut references: Vec<(&str, Option<&Value>, &str)> = Vec::new();
    references.extend(list(pod, "imagePullSecrets").iter().map(|secret| (SECRET, Some(secret), "name")));
    for volume in list(pod, "volumes") {
        references.push((SECRET, volume.get("secret"), "secretName"));
        references.push((CONFIG_MAP, volume.get("configMap"), "name"));
        for source in volume.get("projected").map(|projected| list(projected, "sources")).unwrap_or_default() {
            references.push((SECRET, source.get("secret"), "name"));
            references.push((CONFIG_MAP, source.get("configMap"), "name"));
        }
    }
    for container in list(pod, "initContainers").iter().chain(list(pod, "containers")) {
        for source in list(container, "envFrom") {
            references.push((SECRET, source.get("secretRef"), "name"));
            references.push((CONFIG_MAP, source.get("configMapRef"), "name"));
        }
        for from in list(container, "env").iter().filter_map(|variable| variable.get("valueFrom")) {
            references.push((SECRET, from.get("secretKeyRef"), "name"));
            references.push((CONFIG_MAP, from.get("configMapKeyRef"), "name"));
        }
    }
    let named = references.into_iter().filter_map(|(kind, reference, field)| {
        let reference = reference?;
        let optional = reference.get("optional").and_then(Value::as_bool) == Some(true);
        let name = reference.get(field)?.as_str()?;
        (!name.is_empty() && !optional).then_some((kind, name))
    });
    let account = ["serviceAccountName", "serviceAccount"].iter().find_map(|field| pod.get(field)?.as_str());
    // Every namespace has a `default` one.
    let account = account.filter(|name| !matches!(*name, "" | "default")).map(|name| ("ServiceAccount", name));
    named.chain(account).collect()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Why `needed` is not there when `job` starts; nothing where it is.
fn late(job: &Object<'_>, hook: &Hook<'_>, needed: &Object<'_>) -> Option<String> {
    match (hook.dialect, &needed.hook) {
        // Whether hooks of the other dialect are looked at at all is another finding.
        (dialect, Some(other)) if other.dialect != dialect => None,
        (Dialect::ArgoCd, _) => late_for_argo(hook, needed),
        (Dialect::Helm, other) => late_for_helm(job, hook, needed, other.as_ref()),
    }
}

/// Argo CD goes by phase, then wave, then kind; what a pod needs comes before Jobs there.
fn late_for_argo(hook: &Hook<'_>, needed: &Object<'_>) -> Option<String> {
    const PHASES: [&str; 3] = ["PreSync", "Sync", "PostSync"];
    let first =
        |events: &[&str]| events.iter().filter_map(|event| PHASES.iter().position(|phase| phase == event)).min();
    let phase = first(&hook.events)?;
    let (needed_phase, is_hook) = match &needed.hook {
        Some(needed) => (first(&needed.events)?, true),
        None => (1, false),
    };
    if (needed_phase, needed.wave()) <= (phase, hook.order) {
        return None;
    }
    let (own, wave) = (PHASES[phase], needed.wave());
    Some(match (needed_phase == phase, is_hook) {
        (true, _) => format!("comes in wave {wave} of {own}, after this Job in wave {}", hook.order),
        (false, true) => format!("is a {} hook and comes after {own}", PHASES[needed_phase]),
        (false, false) => format!("is no hook and comes after {own}"),
    })
}

/// Helm goes by weight, then name (`hookByWeight` in pkg/action/hooks.go), and waits for each hook before the next.
fn late_for_helm(job: &Object<'_>, hook: &Hook<'_>, needed: &Object<'_>, other: Option<&Hook<'_>>) -> Option<String> {
    let Some(other) = other else {
        let event = hook.events.iter().find(|event| matches!(**event, "pre-install" | "pre-upgrade"))?;
        return Some(match *event {
            "pre-install" => "is no hook and comes after pre-install".to_owned(),
            event => format!("is no hook: at {event} it is what the release before left, if there was one"),
        });
    };
    let common = hook.events.iter().find(|event| other.events.contains(event));
    match common {
        Some(event) if other.order > hook.order => {
            Some(format!("has weight {} at {event}, after this Job with weight {}", other.order, hook.order))
        }
        Some(event) if other.order == hook.order && needed.name > job.name => {
            Some(format!("has the same weight, {}, at {event} and comes after this Job by its name", other.order))
        }
        Some(_) => None,
        None => {
            let before = hook.events.contains(&"pre-install");
            let after = other.events.iter().all(|event| event.starts_with("post-"));
            (before && after).then(|| format!("is a hook of {} and comes after pre-install", other.events.join(", ")))
        }
    }
}
