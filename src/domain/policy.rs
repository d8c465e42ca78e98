//! A platform's rules as a domain value: components, their order, skew windows and modes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::ImageRef;
use super::line::{Line, Lines, Unplaced};
use super::preparation::Demands;
use super::rules::Rule;
use super::version::{TagPattern, Version};

/// The position of a component in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(pub usize);

/// The rules of one platform.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The policy's name.
    pub name: String,
    /// The namespaces it governs, one install each.
    pub namespaces: BTreeSet<String>,
    /// Its components; [`ComponentId`] is the position here.
    pub components: Vec<Component>,
    /// How many lines one move of a component may cross.
    pub max_hop: u32,
    /// What a rule's violation leads to, where it differs from [`Mode::Enforce`] or the rule's own default.
    pub modes: BTreeMap<Rule, Mode>,
    /// What happens to a change that only has to wait.
    pub on_not_yet: OnNotYet,
    /// What happens to a change that would be allowed and cannot be made sure of.
    pub on_unavailable: OnUnavailable,
    /// The strictest that any rule may be.
    pub mode: Mode,
    /// The least number of replicas that `UG-ZERODOWNTIME` asks for.
    pub min_replicas: u32,
    /// What has to be there before an upgrade.
    pub demands: Demands,
    /// Its database, where it has one.
    pub database: Option<Database>,
    /// The release lines.
    pub lines: Lines,
    relations: Relations,
}

/// The database of a platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// The table in which the revision is noted, where it is not the usual one.
    pub table: Option<String>,
    /// The query whose rows are the revisions, where there is no such table.
    pub query: Option<String>,
    /// Whether the hook may undo migrations.
    pub downgrade: bool,
}

/// One versioned part of a platform.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name, unique in the policy.
    pub name: String,
    /// How its workloads are found.
    pub matcher: Matcher,
    /// The components that are upgraded before it.
    pub after: Vec<ComponentId>,
    /// How far it may be from its peers.
    pub skew: Vec<Skew>,
    /// The versions it may have; empty means any.
    pub supported: Vec<SupportedRange>,
    /// Where its version is read, in this order.
    pub sources: Vec<VersionSource>,
    /// How its tags carry a version.
    pub tag: TagPattern,
    /// Whether its new versions need a database schema.
    pub uses_database: bool,
    /// The CRDs that it needs, by name.
    pub crds: Vec<String>,
}

impl Component {
    /// A component with this name, found by it, and nothing else set.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            matcher: Matcher { names: vec![name.to_owned()], ..Matcher::default() },
            after: vec![],
            skew: vec![],
            supported: vec![],
            sources: VersionSource::ALL.to_vec(),
            tag: TagPattern::default(),
            uses_database: false,
            crds: vec![],
        }
    }
}

/// How the workloads and containers of a component are found: by image first, then by label, then by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Image repositories; `*/name` stands for any registry.
    pub images: Vec<String>,
    /// Workload labels that must all be there.
    pub labels: BTreeMap<String, String>,
    /// Workload names.
    pub names: Vec<String>,
}

/// How a workload was recognised as a component's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchedBy {
    /// By the image repository of one of its containers.
    Image,
    /// By its labels.
    Label,
    /// By its name.
    Name,
}

impl Matcher {
    /// Whether `image` is of one of the component's repositories.
    #[must_use]
    pub fn has_image(&self, image: ImageRef<'_>) -> bool {
        self.images.iter().any(|pattern| image.is_from(pattern))
    }

    /// Whether a workload with these labels and this name is the component's.
    #[must_use]
    pub fn has_workload(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<MatchedBy> {
        if !self.labels.is_empty() && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            Some(MatchedBy::Label)
        } else {
            self.names.iter().any(|candidate| candidate == name).then_some(MatchedBy::Name)
        }
    }
}

/// How many lines a component may be from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// The component it is measured against.
    pub peer: ComponentId,
    /// Lines it may be behind the peer.
    pub behind: u32,
    /// Lines it may be ahead of the peer.
    pub ahead: u32,
}

/// A range of versions that a component may have.
#[derive(Clone, Debug)]
pub struct SupportedRange {
    /// The range.
    pub range: semver::VersionReq,
    /// What to say of versions in it; `None` when there is nothing to say.
    pub warn: Option<String>,
}

/// Where a version can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionSource {
    /// The pod template's annotation `guard.gostoa.dev/version`.
    Annotation,
    /// The pod template's label `app.kubernetes.io/version`.
    Label,
    /// The image tag.
    Tag,
    /// A release that lists the tag or digest.
    Release,
}

impl VersionSource {
    /// All sources, in the order in which they are asked unless a policy says otherwise.
    pub const ALL: [Self; 4] = [Self::Annotation, Self::Label, Self::Tag, Self::Release];
}

/// What a violation of a rule leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// The change is refused.
    Enforce,
    /// The change is admitted with a warning.
    Warn,
    /// The change is admitted; the violation is only recorded.
    Audit,
}

impl Mode {
    /// The name used in policies and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "Enforce",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }
}

/// What happens to a change that only has to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNotYet {
    /// It is refused.
    #[default]
    Deny,
    /// It is stored, and its rollout is held back until it may go on.
    Hold,
}

/// What happens to a change that would be allowed, when that cannot be made sure of in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnavailable {
    /// It is refused.
    #[default]
    Deny,
    /// It is admitted with a warning.
    Allow,
}

/// Something wrong in a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, for example `spec.components[2].after[0]`.
    pub path: String,
    /// What is wrong there and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What a policy is made of before its parts are checked against each other.
#[derive(Clone, Debug)]
pub struct PolicyParts {
    /// See [`Policy::name`].
    pub name: String,
    /// See [`Policy::namespaces`].
    pub namespaces: BTreeSet<String>,
    /// See [`Policy::components`].
    pub components: Vec<Component>,
    /// See [`Policy::max_hop`].
    pub max_hop: u32,
    /// See [`Policy::modes`].
    pub modes: BTreeMap<Rule, Mode>,
    /// See [`Policy::on_not_yet`].
    pub on_not_yet: OnNotYet,
    /// See [`Policy::on_unavailable`].
    pub on_unavailable: OnUnavailable,
    /// See [`Policy::mode`].
    pub mode: Mode,
    /// See [`Policy::min_replicas`].
    pub min_replicas: u32,
    /// See [`Policy::demands`].
    pub demands: Demands,
}

impl PolicyParts {
    /// What a policy says that says no more than its name and its components.
    #[must_use]
    pub fn new(name: impl Into<String>, components: Vec<Component>) -> Self {
        Self {
            name: name.into(),
            namespaces: BTreeSet::new(),
            components,
            max_hop: 1,
            modes: BTreeMap::new(),
            on_not_yet: OnNotYet::Deny,
            on_unavailable: OnUnavailable::Deny,
            mode: Mode::Enforce,
            min_replicas: 2,
            demands: Demands::default(),
        }
    }
}

impl Policy {
    /// Checks the parts against each other and makes a policy of them, with minors as its lines.
    ///
    /// # Errors
    /// All problems: cycles in `after`, overlapping matches, windows that leave no legal first move.
    pub fn new(parts: PolicyParts) -> Result<Self, Vec<Problem>> {
        let problems = super::policy_check::problems(&parts.components);
        if !problems.is_empty() {
            return Err(problems);
        }
        let relations = Relations::of(&parts.components);
        Ok(Self {
            name: parts.name,
            namespaces: parts.namespaces,
            components: parts.components,
            max_hop: parts.max_hop,
            modes: parts.modes,
            on_not_yet: parts.on_not_yet,
            on_unavailable: parts.on_unavailable,
            mode: parts.mode,
            min_replicas: parts.min_replicas,
            demands: parts.demands,
            database: None,
            lines: Lines::default(),
            relations,
        })
    }

    /// The policy without what has to be there before an upgrade: what a planner goes by, which tells that apart.
    #[must_use]
    pub fn without_demands(&self) -> Self {
        let releases = self.lines.releases().iter();
        let names = releases.flat_map(|release| &release.breaking_changes).map(|change| change.name.clone());
        let demands = Demands { acknowledged: names.collect(), ..Demands::default() };
        let mut free = Self { demands, ..self.clone() };
        for component in &mut free.components {
            component.crds.clear();
        }
        free
    }

    /// The component with this name.
    #[must_use]
    pub fn component_named(&self, name: &str) -> Option<ComponentId> {
        self.components.iter().position(|component| component.name == name).map(ComponentId)
    }

    /// The component at `id`.
    #[must_use]
    pub fn component(&self, id: ComponentId) -> &Component {
        &self.components[id.0]
    }

    /// All component ids, in the policy's order.
    pub fn ids(&self) -> impl Iterator<Item = ComponentId> + use<> {
        (0..self.components.len()).map(ComponentId)
    }

    /// The components that are upgraded before `id`, directly or not, in the policy's order.
    #[must_use]
    pub fn upstream(&self, id: ComponentId) -> &[ComponentId] {
        &self.relations.upstream[id.0]
    }

    /// The components that are upgraded after `id`, directly or not, in the policy's order.
    #[must_use]
    pub fn downstream(&self, id: ComponentId) -> &[ComponentId] {
        &self.relations.downstream[id.0]
    }

    /// How many lines `downstream` may be ahead of `upstream`; 0 where the policy says nothing.
    #[must_use]
    pub fn ahead(&self, downstream: ComponentId, upstream: ComponentId) -> u32 {
        let skew = &self.component(downstream).skew;
        skew.iter().find(|skew| skew.peer == upstream).map_or(0, |skew| skew.ahead)
    }

    /// The line that `version` of `downstream` needs `upstream` to serve; see [`Lines::needed`].
    ///
    /// # Errors
    /// When the version cannot be placed.
    pub fn needed(&self, downstream: ComponentId, version: &Version, upstream: ComponentId) -> Result<Line, Unplaced> {
        self.lines.needed(downstream, version, upstream, self.ahead(downstream, upstream))
    }

    /// The mode of `rule`: what the policy says of it, else the rule's own default; never stricter than the policy's.
    #[must_use]
    pub fn mode_of(&self, rule: Rule) -> Mode {
        // Modes are ordered from the strictest to the laxest.
        self.modes.get(&rule).copied().unwrap_or_else(|| rule.row().default_mode).max(self.mode)
    }
}

/// Who is before and after whom, transitively.
#[derive(Clone, Debug)]
struct Relations {
    upstream: Vec<Vec<ComponentId>>,
    downstream: Vec<Vec<ComponentId>>,
}

impl Relations {
    fn of(components: &[Component]) -> Self {
        let ids = || (0..components.len()).map(ComponentId);
        let upstream: Vec<Vec<ComponentId>> = ids().map(|id| closure(components, id)).collect();
        let downstream = ids().map(|id| ids().filter(|other| upstream[other.0].contains(&id)).collect()).collect();
        Self { upstream, downstream }
    }
}

/// Everything reachable from `start` over `after`, in the order of the ids, without `start` unless it is in a cycle.
pub(super) fn closure(components: &[Component], start: ComponentId) -> Vec<ComponentId> {
    let mut found = BTreeSet::new();
    let mut todo = components[start.0].after.clone();
    while let Some(id) = todo.pop() {
        if found.insert(id) {
            todo.extend(&components[id.0].after);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_as_strict_as_it_says_and_never_stricter_than_its_policy() {
        use Mode::{Audit, Enforce, Warn};
        let policy = |mode, of_rule: Option<Mode>| {
            let parts = PolicyParts {
                modes: of_rule.into_iter().flat_map(|mode| [(Rule::Order, mode), (Rule::ZeroDowntime, mode)]).collect(),
                mode,
                ..PolicyParts::new("modes", vec![Component::named("api")])
            };
            Policy::new(parts).unwrap_or_else(|problems| unreachable!("{problems:?}"))
        };
        // The policy's mode, what it says of the rules, and what UG-ORDER (enforced by default) and UG-ZERODOWNTIME
        // (which warns by default) then are.
        for (mode, of_rule, order, zero_downtime) in [
            (Enforce, None, Enforce, Warn),
            (Enforce, Some(Enforce), Enforce, Enforce),
            (Enforce, Some(Warn), Warn, Warn),
            (Enforce, Some(Audit), Audit, Audit),
            (Warn, None, Warn, Warn),
            (Warn, Some(Enforce), Warn, Warn),
            (Warn, Some(Audit), Audit, Audit),
            (Audit, None, Audit, Audit),
            (Audit, Some(Enforce), Audit, Audit),
        ] {
            let policy = policy(mode, of_rule);
            let found = (policy.mode_of(Rule::Order), policy.mode_of(Rule::ZeroDowntime));
            assert_eq!(found, (order, zero_downtime), "policy {mode:?}, rules {of_rule:?}");
        }
    }
}
