//! What `--to` means for one install.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;

use jiff::Timestamp;

use crate::api::PlatformRelease;
use crate::cluster::files::Install;
use crate::domain::line::{Listed, Release};
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::version::{Version, parse};
use crate::domain::view::View;

/// One target as it was written.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Target {
    /// One component's version.
    Component(String, String),
    /// A release, or a version for all that number alike.
    All(String),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once('=') {
            Some((component, version)) => Self::Component(component.trim().to_owned(), version.trim().to_owned()),
            None => Self::All(text.trim().to_owned()),
        })
    }
}

/// All that says where to go.
pub(in crate::cli) struct Asked<'a> {
    pub(in crate::cli) texts: &'a [Target],
    pub(in crate::cli) manifests: Option<&'a Install>,
    pub(in crate::cli) releases: &'a [PlatformRelease],
}

type Versions = BTreeMap<ComponentId, Version>;

impl Asked<'_> {
    /// The version of each component that is meant; what cannot be understood is told.
    pub(in crate::cli) fn versions(&self, policy: &Policy, view: &View) -> Result<Versions, String> {
        let mut all = Versions::new();
        if let Some(install) = self.manifests {
            all.extend(of_manifests(policy, install)?);
        }
        for target in self.texts {
            if let Target::All(text) = target {
                all.extend(self.of_all(policy, view, text)?);
            }
        }
        let mut named = Versions::new();
        for target in self.texts {
            if let Target::Component(component, version) = target {
                let (id, version) = of_component(policy, component, version)?;
                if named.insert(id, version.clone()).is_some_and(|other| other != version) {
                    return Err(format!("{component} is given two versions: one of them only"));
                }
            }
        }
        all.extend(named);
        if all.is_empty() {
            return Err("the manifests hold no workload of this install".to_owned());
        }
        Ok(all)
    }

    fn of_all(&self, policy: &Policy, view: &View, text: &str) -> Result<Versions, String> {
        let same_name = |release: &&PlatformRelease| {
            release.spec.policy == policy.name && release.metadata.name.as_deref() == Some(text)
        };
        let version = self.releases.iter().find(same_name).map_or(text, |release| release.spec.version.as_str());
        if let Some(release) = policy.lines.releases().iter().find(|release| release.name == version) {
            return Ok(of_release(policy, view, release));
        }
        let Some(version) = parse(text) else {
            return Err(format!(
                "'{text}' is no release and no version. {} Write a version as 2.4.0, or COMPONENT=VERSION",
                known_releases(policy)
            ));
        };
        let alike = |id: &ComponentId| {
            let mut desired = view.component(*id).workloads.iter().flat_map(|workload| &workload.desired);
            desired.any(|found| found.known().is_some_and(|known| known.major == version.major))
        };
        let found: Versions = policy.ids().filter(alike).map(|id| (id, Version::Known(version.clone()))).collect();
        if found.is_empty() {
            return Err(format!(
                "no component runs a version {}.x, so nothing tells what {text} is meant for. {} Name components with \
                 COMPONENT=VERSION",
                version.major,
                known_releases(policy)
            ));
        }
        Ok(found)
    }
}

fn known_releases(policy: &Policy) -> String {
    let names: Vec<&str> = policy.lines.releases().iter().map(|release| release.name.as_str()).collect();
    if names.is_empty() {
        "There are no releases.".to_owned()
    } else {
        format!("The releases are {}.", names.join(", "))
    }
}

fn of_component(policy: &Policy, component: &str, version: &str) -> Result<(ComponentId, Version), String> {
    let Some(id) = policy.component_named(component) else {
        let names: Vec<&str> = policy.components.iter().map(|component| component.name.as_str()).collect();
        return Err(format!("there is no component '{component}'; there are {}", names.join(", ")));
    };
    match parse(version) {
        Some(version) => Ok((id, Version::Known(version))),
        None => Err(format!("'{version}' is no version of {component}: write for example 2.4.0")),
    }
}

/// The versions of a release. A patch of what it lists is on its line already and stays.
fn of_release(policy: &Policy, view: &View, release: &Release) -> Versions {
    let of = |(id, listed): (&ComponentId, &Listed)| {
        let target = Version::Known(listed.version.clone());
        let span = policy.lines.span(*id, &target);
        let mut desired = view.component(*id).workloads.iter().flat_map(|workload| &workload.desired);
        let first = desired.next().filter(|first| desired.all(|other| other == *first));
        let is_patch = |first: &&Version| span.is_ok() && policy.lines.span(*id, first) == span && **first > target;
        (*id, first.filter(is_patch).cloned().unwrap_or(target))
    };
    release.components.iter().map(of).collect()
}

/// The versions that manifests ask for.
fn of_manifests(policy: &Policy, install: &Install) -> Result<Versions, String> {
    let view = install.inventory.view(policy, Timestamp::now());
    let mut all = Versions::new();
    for id in policy.ids() {
        let name = &policy.component(id).name;
        for version in view.component(id).workloads.iter().flat_map(|workload| &workload.desired) {
            if version.known().is_none() {
                return Err(format!("the manifests ask for {name} '{version}', which names no version"));
            }
            if let Some(other) = all.insert(id, version.clone()).filter(|other| other != version) {
                return Err(format!("the manifests ask for {name} {other} and {version}: a plan leads to one of them"));
            }
        }
    }
    Ok(all)
}
