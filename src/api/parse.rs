//! From the custom resources to the domain, once: the webhook that guards policies, the index and the command line
//! all come through here, so what is admitted is what can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::demands;
use crate::api::{ComponentSpec, DatabaseSpec, Downgrade, PlatformRelease, ReleaseComponentSpec, UpgradePolicy};
use crate::domain::line::{Lines, Listed, Release};
use crate::domain::policy::{
    Component, ComponentId, Database, Matcher, Mode, Policy, PolicyParts, Problem, Skew, SupportedRange, VersionSource,
};
use crate::domain::rules::Rule;
use crate::domain::version::{TagPattern, Version, parse};

/// Everything that is wrong with a policy or a release; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyProblems(pub Vec<Problem>);

impl fmt::Display for PolicyProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl TryFrom<&UpgradePolicy> for Policy {
    type Error = PolicyProblems;

    /// Reads a policy, with minors as its lines; see [`with_releases`].
    fn try_from(policy: &UpgradePolicy) -> Result<Self, PolicyProblems> {
        let spec = &policy.spec;
        let mut reader = Reader::new(&spec.components);
        let namespaces = reader.namespaces(&spec.namespaces);
        let mut components: Vec<Component> =
            spec.components.iter().enumerate().map(|(index, component)| reader.component(index, component)).collect();
        if components.is_empty() {
            reader.problem("spec.components", "is empty: name at least one component");
        }
        let modes = reader.modes(&spec.modes);
        for id in reader.of_database(spec.database.as_deref()) {
            components[id.0].uses_database = true;
        }
        let parts = PolicyParts {
            name: policy.metadata.name.clone().unwrap_or_default(),
            namespaces,
            max_hop: reader.count("spec.maxHop", spec.max_hop, 1),
            modes,
            on_not_yet: spec.on_not_yet,
            on_unavailable: spec.on_unavailable,
            mode: spec.mode,
            min_replicas: reader.count("spec.zeroDowntime.minReplicas", spec.zero_downtime.min_replicas, 1),
            demands: reader.demands(spec),
            components,
        };
        // The checks between components speak of what could be read, so that one round shows all problems.
        match Self::new(parts) {
            Ok(mut policy) if reader.problems.is_empty() => {
                policy.database = spec.database.as_deref().map(database);
                Ok(policy)
            }
            Ok(_) => Err(PolicyProblems(reader.problems)),
            Err(between) => {
                reader.problems.extend(between);
                Err(PolicyProblems(reader.problems))
            }
        }
    }
}

/// What the rules ask of the database.
fn database(spec: &DatabaseSpec) -> Database {
    let downgrade = spec.migrations.as_ref().is_some_and(|migrations| migrations.downgrade == Downgrade::Allow);
    Database { table: spec.revision_table.clone(), query: spec.revision_query.clone(), downgrade }
}

/// Reads the scalars of a policy and keeps every problem with its path.
pub(super) struct Reader<'a> {
    ids: BTreeMap<&'a str, ComponentId>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(components: &'a [ComponentSpec]) -> Self {
        let mut reader = Self { ids: BTreeMap::new(), problems: vec![] };
        for (index, component) in components.iter().enumerate() {
            if reader.ids.insert(&component.name, ComponentId(index)).is_some() {
                let message = format!("'{}' is used twice: every component needs a name of its own", component.name);
                reader.problem(format!("spec.components[{index}].name"), message);
            }
        }
        reader
    }

    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    pub(super) fn found(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn count(&mut self, path: &str, value: i32, least: u32) -> u32 {
        match u32::try_from(value) {
            Ok(count) if count >= least => count,
            _ => {
                self.problem(path, format!("is {value}, but must be {least} or more"));
                least
            }
        }
    }

    fn namespaces(&mut self, namespaces: &[String]) -> BTreeSet<String> {
        if namespaces.is_empty() {
            self.problem("spec.namespaces", "is empty: name at least one namespace");
        }
        for (index, namespace) in namespaces.iter().enumerate() {
            if namespace == "kube-system" {
                self.problem(format!("spec.namespaces[{index}]"), "kube-system is never governed");
            }
        }
        namespaces.iter().cloned().collect()
    }

    fn modes(&mut self, modes: &BTreeMap<String, Mode>) -> BTreeMap<Rule, Mode> {
        let mut read = BTreeMap::new();
        for (code, mode) in modes {
            match Rule::with_code(code) {
                Some(rule) => _ = read.insert(rule, *mode),
                None => self.problem(format!("spec.modes.{code}"), "is no rule code; 'upgrade-guard rules' lists them"),
            }
        }
        read
    }

    pub(super) fn peer(&mut self, path: String, name: &str) -> Option<ComponentId> {
        let id = self.ids.get(name).copied();
        if id.is_none() {
            let known: Vec<&str> = self.ids.keys().copied().collect();
            self.problem(path, format!("no component is named '{name}'; there are {}", known.join(", ")));
        }
        id
    }

    /// The components that use the database; what is wrong with their names is told elsewhere.
    fn of_database(&self, spec: Option<&DatabaseSpec>) -> Vec<ComponentId> {
        let names = spec.map(|spec| spec.components.as_slice()).unwrap_or_default().iter();
        names.filter_map(|name| self.ids.get(name.as_str()).copied()).collect()
    }

    fn component(&mut self, index: usize, spec: &ComponentSpec) -> Component {
        let path = format!("spec.components[{index}]");
        if spec.name.is_empty() {
            self.problem(format!("{path}.name"), "is empty");
        }
        let matcher = &spec.matcher;
        if matcher.images.is_empty() && matcher.labels.is_empty() && matcher.names.is_empty() {
            self.problem(format!("{path}.match"), "is empty: name at least one image, label or workload name");
        }
        let after = spec.after.iter().enumerate();
        let after = after.filter_map(|(i, name)| self.peer(format!("{path}.after[{i}]"), name)).collect();
        let skew = spec.skew.iter().enumerate();
        let skew = skew
            .filter_map(|(i, skew)| {
                let path = format!("{path}.skew[{i}]");
                let behind = self.count(&format!("{path}.behind"), skew.behind, 0);
                let ahead = self.count(&format!("{path}.ahead"), skew.ahead, 0);
                let peer = self.peer(format!("{path}.component"), &skew.component)?;
                Some(Skew { peer, behind, ahead })
            })
            .collect();
        Component {
            name: spec.name.clone(),
            matcher: Matcher {
                images: matcher.images.clone(),
                labels: matcher.labels.clone(),
                names: matcher.names.clone(),
            },
            after,
            skew,
            supported: self.supported(&path, spec),
            sources: match spec.version.sources.as_slice() {
                [] => VersionSource::ALL.to_vec(),
                sources => sources.to_vec(),
            },
            tag: self.tag(&path, spec),
            uses_database: false,
            crds: spec.crds.clone(),
        }
    }

    fn supported(&mut self, path: &str, spec: &ComponentSpec) -> Vec<SupportedRange> {
        let ranges = spec.supported.iter().enumerate();
        ranges
            .filter_map(|(index, supported)| match supported.range.parse() {
                Ok(range) => Some(SupportedRange { range, warn: supported.warn.clone() }),
                Err(error) => {
                    let message = format!(
                        "'{}' is no version range ({error}); write for example '>=2.0.0, <3.0.0'",
                        supported.range
                    );
                    self.problem(format!("{path}.supported[{index}].range"), message);
                    None
                }
            })
            .collect()
    }

    fn tag(&mut self, path: &str, spec: &ComponentSpec) -> TagPattern {
        let own = format!("{}-", spec.name);
        let prefixes = spec.version.tag_prefixes.iter().cloned().chain([own]).collect();
        TagPattern::new(prefixes, spec.version.tag_pattern.as_deref()).unwrap_or_else(|error| {
            self.problem(format!("{path}.version.tagPattern"), error.to_string());
            TagPattern::default()
        })
    }
}

/// The policy with the lines that `releases` make: those that name it, in the order of their versions.
///
/// Returns the policy and everything that is wrong in its releases, by the release's name. A part that cannot be read
/// is left out, but its release keeps its place in the order: leaving it out would bring its neighbours nearer.
#[must_use]
pub fn with_releases<'a>(
    mut policy: Policy,
    releases: impl IntoIterator<Item = &'a PlatformRelease>,
) -> (Policy, BTreeMap<String, PolicyProblems>) {
    let mut problems = BTreeMap::new();
    let mut ordered: Vec<(Vec<u64>, Release)> = Vec::new();
    let own: Vec<_> = releases.into_iter().filter(|release| release.spec.policy == policy.name).collect();
    for release in &own {
        let name = release.metadata.name.clone().unwrap_or_default();
        let (read, mut found) = read_release(&policy, release);
        if let Some((order, read)) = read {
            if let Some((_, twin)) = ordered.iter().find(|(other, _)| *other == order) {
                let message = format!("'{}' is also the version of release '{}'", release.spec.version, twin.name);
                found.push(Problem::new("spec.version", message));
            }
            ordered.push((order, read));
        }
        if !found.is_empty() {
            problems.insert(name, PolicyProblems(found));
        }
    }
    ordered.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
    policy.lines = Lines::new(carried_forward(ordered.into_iter().map(|(_, release)| release)));
    for release in &own {
        let unlisted = unlisted_needs(&policy, release);
        if !unlisted.is_empty() {
            let name = release.metadata.name.clone().unwrap_or_default();
            problems.entry(name).or_insert_with(|| PolicyProblems(vec![])).0.extend(unlisted);
        }
    }
    (policy, problems)
}

/// What a release says it needs and no release lists: nothing could tell whether it is there.
fn unlisted_needs(policy: &Policy, release: &PlatformRelease) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, component) in release.spec.components.iter().enumerate() {
        for (position, need) in component.needs.iter().enumerate() {
            let (Some(id), Some(version)) = (policy.component_named(&need.component), parse(&need.version)) else {
                continue;
            };
            if policy.lines.span(id, &Version::Known(version)).is_err() {
                let path = format!("spec.components[{index}].needs[{position}].version");
                let message = format!("no release lists {} {}", need.component, need.version);
                problems.push(Problem::new(path, message));
            }
        }
    }
    problems
}

/// Releases in which a component that one of them leaves out is what it was in the one before.
fn carried_forward(releases: impl Iterator<Item = Release>) -> Vec<Release> {
    let mut carried: BTreeMap<ComponentId, Listed> = BTreeMap::new();
    let each = releases.map(|mut release| {
        carried.extend(release.components.iter().map(|(id, listed)| (*id, listed.clone())));
        release.components.clone_from(&carried);
        release
    });
    each.collect()
}

/// Reads one release of `policy`; `None` for a version that gives it no place in the order.
fn read_release(policy: &Policy, release: &PlatformRelease) -> (Option<(Vec<u64>, Release)>, Vec<Problem>) {
    let spec = &release.spec;
    let mut problems = Vec::new();
    let mut components = BTreeMap::new();
    for (index, component) in spec.components.iter().enumerate() {
        let path = format!("spec.components[{index}]");
        let Some(id) = policy.component_named(&component.name) else {
            let message = format!("policy '{}' has no component '{}'", policy.name, component.name);
            problems.push(Problem::new(format!("{path}.name"), message));
            continue;
        };
        if let Some(listed) = read_listed(policy, &path, component, &mut problems)
            && components.insert(id, listed).is_some()
        {
            problems.push(Problem::new(format!("{path}.name"), format!("'{}' is listed twice", component.name)));
        }
    }
    let order: Option<Vec<u64>> = spec.version.split('.').map(|part| part.parse().ok()).collect();
    if order.is_none() {
        let message = format!("'{}' is not made of numbers and dots, such as 2026.07 or 2.3.0", spec.version);
        problems.push(Problem::new("spec.version", message));
    }
    let breaking_changes = demands::breaking_changes(policy, release, &mut problems);
    let (name, required_stop, crds) = (spec.version.clone(), spec.required_stop, demands::crds(release));
    let revision = spec.schema_revision.clone();
    let read = Release { name, required_stop, components, breaking_changes, crds, revision };
    (order.map(|order| (order, read)), problems)
}

fn read_listed(
    policy: &Policy,
    path: &str,
    component: &ReleaseComponentSpec,
    problems: &mut Vec<Problem>,
) -> Option<Listed> {
    let mut needs = BTreeMap::new();
    for (index, need) in component.needs.iter().enumerate() {
        match (policy.component_named(&need.component), parse(&need.version)) {
            (Some(id), Some(version)) => _ = needs.insert(id, version),
            (None, _) => problems.push(Problem::new(
                format!("{path}.needs[{index}].component"),
                format!("policy '{}' has no component '{}'", policy.name, need.component),
            )),
            (_, None) => problems.push(not_a_version(&format!("{path}.needs[{index}].version"), &need.version)),
        }
    }
    let Some(version) = parse(&component.version) else {
        problems.push(not_a_version(&format!("{path}.version"), &component.version));
        return None;
    };
    Some(Listed { version, tags: component.tags.clone(), digests: component.digests.clone(), needs })
}

pub(super) fn not_a_version(path: &str, text: &str) -> Problem {
    Problem::new(path, format!("'{text}' is no version such as 2.3.0"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(spec: &Value) -> UpgradePolicy {
        let policy = json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "p"}, "spec": spec
        });
        serde_json::from_value(policy).unwrap()
    }

    fn problems(spec: &Value) -> Vec<String> {
        Policy::try_from(&policy(spec)).map_or_else(|p| p.0.iter().map(ToString::to_string).collect(), |_| vec![])
    }

    fn release(name: &str, components: &Value) -> PlatformRelease {
        let release = json!({
            "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "PlatformRelease", "metadata": {"name": name},
            "spec": {"policy": "p", "version": name, "components": components}
        });
        serde_json::from_value(release).unwrap()
    }

    fn two_components() -> Policy {
        let spec = json!({"namespaces": ["x"], "components": [
            {"name": "api", "match": {"names": ["api"]}},
            {"name": "ui", "match": {"names": ["ui"]}, "after": ["api"]},
        ]});
        Policy::try_from(&policy(&spec)).unwrap()
    }

    #[test]
    fn every_problem_is_told_with_its_path() {
        let spec = json!({
            "namespaces": ["x", "kube-system"],
            "maxHop": 0,
            "modes": {"UG-FOO": "Warn"},
            "crdChecks": {"type": "Warn", "enums": "Off"},
            "components": [
                {"name": "api", "match": {}, "supported": [{"range": "two"}]},
                {"name": "ui", "match": {"names": ["ui"], "images": ["*/ui"]}, "after": ["apy"],
                 "skew": [{"component": "api", "behind": -1}], "version": {"tagPattern": "^v(.*)$"}},
                {"name": "ui", "match": {"names": ["ui"], "images": ["r.example/x/ui"]}},
            ]
        });
        insta::assert_snapshot!(problems(&spec).join("\n"));
    }

    #[test]
    fn cycles_and_deadlocks_are_told() {
        let component = |name: &str, after: &[&str], skew: Value| json!({"name": name, "match": {"names": [name]}, "after": after, "skew": skew});
        let of = |components: &[Value]| problems(&json!({"namespaces": ["x"], "components": components}));
        let ring = of(&[
            component("a", &["c"], json!([])),
            component("b", &["a"], json!([])),
            component("c", &["b"], json!([])),
        ]);
        let stuck = of(&[
            component("a", &[], json!([])),
            component("b", &["a"], json!([{"component": "a", "behind": 0, "ahead": 0}])),
        ]);
        let lockstep = of(&[
            component("a", &[], json!([])),
            component("b", &["a"], json!([])),
            component("c", &["b"], json!([{"component": "a", "behind": 0, "ahead": 1}])),
        ]);
        insta::assert_snapshot!([ring, stuck, lockstep].concat().join("\n"));
    }

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        let listing = |version: &str| json!([{"name": "api", "version": version}]);
        let releases = [
            release("2026.10", &listing("3.0.0")),
            release("2026.9", &listing("2.0.0")),
            release("2025.12", &listing("1.0.0")),
        ];
        let (policy, problems) = with_releases(two_components(), &releases);
        assert_eq!(problems, BTreeMap::new());
        let names: Vec<&str> = policy.lines.releases().iter().map(|release| release.name.as_str()).collect();
        assert_eq!(names, ["2025.12", "2026.9", "2026.10"]);
    }

    #[test]
    fn a_component_that_a_release_leaves_out_is_what_it_was() {
        let releases = [
            release("1", &json!([{"name": "api", "version": "1.0.0"}, {"name": "ui", "version": "5.0.0"}])),
            release("2", &json!([{"name": "api", "version": "2.0.0"}])),
            release("3", &json!([{"name": "api", "version": "3.0.0"}, {"name": "ui", "version": "6.0.0"}])),
        ];
        let (policy, _) = with_releases(two_components(), &releases);
        let span = |version: &str| policy.lines.span(ComponentId(1), &Version::read(version)).unwrap();
        assert_eq!(span("5.0.0").distance_to(span("6.0.0")), Some(1));
    }

    #[test]
    fn what_is_wrong_in_a_release_is_told_and_the_release_keeps_its_place() {
        let releases = [
            release("1", &json!([{"name": "api", "version": "1.0.0"}])),
            release("2", &json!([{"name": "api", "version": "latest"}, {"name": "portal", "version": "1.0.0"}])),
            release(
                "3",
                &json!([{"name": "ui", "version": "1.0.0", "needs": [
                {"component": "api", "version": "9.0.0"}, {"component": "db", "version": "1.0.0"}]}]),
            ),
            release("v4", &json!([{"name": "api", "version": "4.0.0"}])),
            release("3.0", &json!([{"name": "api", "version": "3.0.0"}])),
        ];
        let (policy, problems) = with_releases(two_components(), &releases);
        assert_eq!(policy.lines.releases().len(), 4);
        let told: Vec<String> = problems.iter().map(|(name, problems)| format!("{name}: {problems}")).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
