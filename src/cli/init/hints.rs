//! What tells something about an order: never taken for it, only offered, with what it was read from.
//!
//! A caller is upgraded after what it calls, so a container that names another component's Service hints at that
//! component as upstream; so does a sync wave below its own, and a Flux object that it depends on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::survey::{Container, Survey, Workload, texts};

/// For each component, by position, those that seem to be upstream of it, with what tells so.
pub(super) type Hints = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

/// What is read from a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// What can be read as an order.
    pub(super) upstream: Hints,
    /// What goes in a circle, so that no order can be read from it.
    pub(super) circular: Hints,
}

const WAVE: &str = "argocd.argoproj.io/sync-wave";
/// The kinds of Flux that may depend on others, with their groups, which are the prefixes of the labels that they leave.
const FLUX: [(&str, &str); 2] =
    [("Kustomization", "kustomize.toolkit.fluxcd.io"), ("HelmRelease", "helm.toolkit.fluxcd.io")];
/// Endings of variables that hold a host and nothing else.
const HOST_VARIABLES: [&str; 7] = ["HOST", "HOSTNAME", "ADDR", "ADDRESS", "SERVER", "SERVICE", "ENDPOINT"];

/// Reads what `objects`, those of the survey and Flux's, tell about an order in `namespace`.
pub(super) fn order(survey: &Survey, objects: &[Value], namespace: &str) -> Order {
    let mut hints = Hints::new();
    let mut add = |of: usize, upstream: usize, why: String| {
        if of != upstream {
            hints.entry(of).or_default().entry(upstream).or_default().insert(why);
        }
    };
    services(survey, objects, namespace, &mut add);
    waves(survey, &mut add);
    flux(survey, objects, &mut add);
    apart(&hints)
}

/// Takes apart what goes in a circle.
fn apart(hints: &Hints) -> Order {
    let reaches = |from: usize, to: usize| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            if seen.insert(at) {
                next.extend(hints.get(&at).into_iter().flat_map(BTreeMap::keys));
            }
        }
        seen.contains(&to)
    };
    let mut order = Order::default();
    for (of, upstream) in hints {
        for (peer, why) in upstream {
            let side = if reaches(*peer, *of) { &mut order.circular } else { &mut order.upstream };
            side.entry(*of).or_default().insert(*peer, why.clone());
        }
    }
    order
}

/// Containers that name the Service of another component.
fn services(survey: &Survey, objects: &[Value], namespace: &str, add: &mut impl FnMut(usize, usize, String)) {
    let serving: Vec<(String, usize)> = objects.iter().filter_map(|object| serves(survey, object)).collect();
    for workload in &survey.workloads {
        let own = survey.components_of(workload);
        for container in &workload.containers {
            // What an init container waits for, the pod's components wait for.
            let of: BTreeSet<usize> = match (container.is_init, survey.component_of(container)) {
                (false, Some(component)) => BTreeSet::from([component]),
                (false, None) => BTreeSet::new(),
                (true, _) => own.clone(),
            };
            for (service, upstream) in &serving {
                if let Some(what) = names_service(workload, container, service, namespace) {
                    for of in &of {
                        add(*of, *upstream, what.clone());
                    }
                }
            }
            for (upstream, what) in waits_for(survey, workload, container) {
                for of in &of {
                    add(*of, upstream, what.clone());
                }
            }
        }
    }
}

/// The Service that `object` is, with the one component whose pods it selects.
fn serves(survey: &Survey, object: &Value) -> Option<(String, usize)> {
    (object.get("apiVersion")?.as_str()? == "v1" && object.get("kind")?.as_str()? == "Service").then_some(())?;
    let selector = texts(object.pointer("/spec/selector"));
    let selects = |workload: &&Workload| {
        !selector.is_empty() && selector.iter().all(|(key, value)| workload.pod_labels.get(key) == Some(value))
    };
    let behind = survey.workloads.iter().filter(selects);
    // The first container that is a component is what a pod is there for.
    let main = behind.filter_map(|workload| {
        let mut running = workload.containers.iter().filter(|container| !container.is_init);
        running.find_map(|container| survey.component_of(container))
    });
    let main: BTreeSet<usize> = main.collect();
    let component = main.first().copied().filter(|_| main.len() == 1)?;
    Some((object.pointer("/metadata/name")?.as_str()?.to_owned(), component))
}

/// Where `container` names `service`, if it does. Values are not told: they may hold passwords.
fn names_service(workload: &Workload, container: &Container, service: &str, namespace: &str) -> Option<String> {
    let shown = &workload.shown;
    if container.is_init {
        let command = container.command.join(" ");
        let value = container.env.iter().any(|(name, value)| is_host(name, value, service, namespace));
        return (value || has_host(&command, service, namespace, true))
            .then(|| format!("init container {} of {shown} names Service {service}", container.name));
    }
    let variable = container.env.iter().find(|(name, value)| is_host(name, value, service, namespace))?;
    Some(format!("variable {} of {shown} names Service {service}", variable.0))
}

fn is_host(variable: &str, value: &str, service: &str, namespace: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    let of_host = HOST_VARIABLES.iter().any(|end| upper == *end || upper.ends_with(&format!("_{end}")));
    (of_host && value == service) || has_host(value, service, namespace, false)
}

/// Whether `text` has the host of `service` in it: in a URL, with a port, or with its namespace; in a command also
/// with a port as the next word.
fn has_host(text: &str, service: &str, namespace: &str, is_command: bool) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.match_indices(service).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + service.len()..]);
        if before.ends_with(part) {
            return false;
        }
        let host = before.ends_with("://") || (before.ends_with('@') && before.contains("://"));
        let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let port = after.strip_prefix(':').is_some_and(digit);
        let word = is_command && after.strip_prefix(' ').is_some_and(digit);
        let qualified = after.strip_prefix('.').and_then(|rest| rest.strip_prefix(namespace));
        match qualified {
            Some(rest) => !rest.starts_with(part) || rest.starts_with(".svc"),
            None => (host || port || word) && !after.starts_with(part),
        }
    })
}

/// The components that `upgrade-guard wait` in an init container waits for.
fn waits_for(survey: &Survey, workload: &Workload, container: &Container) -> Vec<(usize, String)> {
    if !container.is_init || !container.command.iter().any(|word| word == "wait") {
        return vec![];
    }
    let named = |word: &String| {
        let name = word.rsplit_once(">=")?.0.trim_start_matches("--component=");
        let peer = survey.components.iter().position(|part| part.group.name == name)?;
        Some((peer, format!("init container {} of {} waits for {name}", container.name, workload.shown)))
    };
    container.command.iter().filter_map(named).collect()
}

/// Argo CD applies a lower wave first. A workload without one is in wave 0.
fn waves(survey: &Survey, add: &mut impl FnMut(usize, usize, String)) {
    let mut of_wave: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
    for workload in &survey.workloads {
        let wave = workload.annotations.get(WAVE).map_or(Some(0), |wave| wave.parse().ok());
        let Some(wave) = wave else { continue };
        of_wave.entry(wave).or_default().extend(survey.components_of(workload));
    }
    of_wave.retain(|_, components| !components.is_empty());
    let waves: Vec<(&i64, &BTreeSet<usize>)> = of_wave.iter().collect();
    for pair in waves.windows(2) {
        let [(lower, first), (higher, then)] = pair else { continue };
        for component in *then {
            let why = format!("sync-wave {lower} of Argo CD comes before its {higher}, and without one it is 0");
            for upstream in *first {
                add(*component, *upstream, why.clone());
            }
        }
    }
}

/// Namespace and name of an object of Flux.
type Key = (String, String);

/// Flux applies what an object depends on first.
fn flux(survey: &Survey, objects: &[Value], add: &mut impl FnMut(usize, usize, String)) {
    for (kind, group) in FLUX {
        let mut holds: BTreeMap<Key, BTreeSet<usize>> = BTreeMap::new();
        for workload in &survey.workloads {
            let label = |what: &str| workload.labels.get(&format!("{group}/{what}")).cloned();
            if let (Some(namespace), Some(name)) = (label("namespace"), label("name")) {
                holds.entry((namespace, name)).or_default().extend(survey.components_of(workload));
            }
        }
        let depends: BTreeMap<Key, Vec<Key>> =
            objects.iter().filter_map(|object| depends_on(object, kind, group)).collect();
        for (own, components) in &holds {
            // Through those that hold nothing of this namespace.
            let (mut seen, mut next) = (BTreeSet::new(), depends.get(own).cloned().unwrap_or_default());
            while let Some(key) = next.pop() {
                if !seen.insert(key.clone()) {
                    continue;
                }
                match holds.get(&key) {
                    Some(upstream) => {
                        let why = format!("{kind} {} of Flux depends on {}", own.1, key.1);
                        for component in components {
                            for upstream in upstream {
                                add(*component, *upstream, why.clone());
                            }
                        }
                    }
                    None => next.extend(depends.get(&key).cloned().unwrap_or_default()),
                }
            }
        }
    }
}

/// An object of Flux, by namespace and name, with what it depends on.
fn depends_on(object: &Value, kind: &str, group: &str) -> Option<(Key, Vec<Key>)> {
    let is_it = object.get("kind")?.as_str()? == kind && object.get("apiVersion")?.as_str()?.starts_with(group);
    is_it.then_some(())?;
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    let list = object.pointer("/spec/dependsOn").and_then(Value::as_array).into_iter().flatten();
    let needs = list
        .filter_map(|item| Some((text(item, "/namespace").unwrap_or_else(|| namespace.clone()), text(item, "/name")?)));
    let needs = needs.collect();
    Some(((namespace, text(object, "/metadata/name")?), needs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_a_word_like_it() {
        for (text, is_command, expected) in [
            ("http://api:8080/v1", false, true),
            ("https://api", false, true),
            ("postgresql://user:secret@api/db", false, true),
            ("api.shop.svc.cluster.local", false, true),
            ("api.shop", false, true),
            ("api:8080", false, true),
            ("api", false, false),
            ("the api is slow", false, false),
            ("http://api-next:8080", false, false),
            ("http://old-api:8080", false, false),
            ("api.shopping", false, false),
            ("http://api.example.com", false, false),
            ("until nc -z api 8080; do sleep 1; done", true, true),
            ("api 8080", false, false),
        ] {
            assert_eq!(has_host(text, "api", "shop", is_command), expected, "{text}");
        }
        assert!(is_host("API_HOST", "api", "api", "shop") && !is_host("ROLE", "api", "api", "shop"));
    }

    #[test]
    fn circles_are_no_order() {
        let edge = |peer: usize| BTreeMap::from([(peer, BTreeSet::from(["why".to_owned()]))]);
        let hints = Hints::from([(0, edge(1)), (1, edge(0)), (2, edge(0))]);
        let order = apart(&hints);
        assert_eq!(order.upstream.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(order.circular.keys().copied().collect::<Vec<_>>(), [0, 1]);
    }
}
