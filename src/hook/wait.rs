//! In front of a pod: waiting until what it needs is there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::time::{Instant, sleep, timeout_at};

use super::Exit;
use crate::crds::content;
use crate::database::revision::{Revision, RevisionError};
use crate::domain::line::Line;
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::schema::{Schema, Standing, standing};
use crate::domain::version::{Version, parse};
use crate::domain::view::View;
use crate::report::{Report, Stage};

/// The time between two looks.
const BETWEEN: Duration = Duration::from_secs(2);

/// A CRD that has to be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrdNeed {
    /// Its name.
    pub name: String,
    /// The digest of its content; any where it is left out.
    pub content: Option<String>,
}

/// The least version that a component has to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentNeed {
    /// The component's name.
    pub name: String,
    /// The version.
    pub least: semver::Version,
}

impl FromStr for CrdNeed {
    type Err = String;

    /// Reads `NAME` or `NAME=DIGEST`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, content) = text.split_once('=').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let is_digest = |digest: &str| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        if name.is_empty() {
            return Err("names no CRD: write NAME or NAME=sha256:...".to_owned());
        }
        match content {
            Some(digest) if !is_digest(digest) => {
                Err(format!("'{digest}' is no digest as 'upgrade-guard crds digest' prints it"))
            }
            content => Ok(Self { name: name.to_owned(), content: content.map(str::to_owned) }),
        }
    }
}

impl FromStr for ComponentNeed {
    type Err = String;

    /// Reads `NAME>=VERSION`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = text.split_once(">=").ok_or("write NAME>=VERSION, quoted for the shell")?;
        let least =
            parse(version.trim()).ok_or_else(|| format!("'{version}' is no version: write for example 2.3.0"))?;
        match name.trim() {
            "" => Err("names no component: write NAME>=VERSION".to_owned()),
            name => Ok(Self { name: name.to_owned(), least }),
        }
    }
}

/// How it stands with one need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is needed.
    pub what: String,
    /// What was found.
    pub found: String,
    /// How it stands.
    pub state: State,
}

/// How it stands with a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is met.
    Met,
    /// It is not.
    Unmet,
    /// Nobody could tell.
    Unknown,
}

impl Need {
    fn new(what: String, met: bool, found: String) -> Self {
        Self { what, found, state: if met { State::Met } else { State::Unmet } }
    }

    /// A need of which nothing is known, for this.
    #[must_use]
    pub fn unknown(what: String, why: String) -> Self {
        Self { what, found: why, state: State::Unknown }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.found)
    }
}

/// Whether the database is at `wanted`, or ahead of it by revisions that `known`, what is recorded of it, has as
/// additive; `Err` says why there is no record to ask, and then only the very same revision can be told to be right.
#[must_use]
pub fn schema(wanted: &str, found: &Result<Revision, RevisionError>, known: Result<&Schema, &str>) -> Need {
    let what = format!("schema revision {wanted}");
    let revision = match found {
        Ok(revision) => revision,
        Err(error) => return Need::unknown(what, error.to_string()),
    };
    let is_it = *revision == Revision::One(wanted.to_owned());
    let known = match (known, revision) {
        // Nothing is recorded of what has no single revision.
        (Ok(known), Revision::One(_)) if !is_it => known,
        (Err(why), Revision::One(_)) if !is_it => {
            return Need::new(what, false, format!("{revision}; only that very one is right, because {why}"));
        }
        _ => return Need::new(what, is_it, revision.to_string()),
    };
    match standing(&known.read_as(revision.heads()), wanted) {
        Standing::Same | Standing::AheadAdditive => {
            Need::new(what, true, format!("{revision}, ahead by revisions that only add"))
        }
        Standing::Behind => Need::new(what, false, format!("{revision}, and migrations are pending")),
        Standing::AheadBreaking(against) => {
            let all: Vec<&str> = against.breaking.union(&against.unknown).map(String::as_str).collect();
            let found = format!("{revision}, ahead by revisions that are not recorded as additive: {}", all.join(", "));
            Need::new(what, false, found)
        }
        Standing::Several => Need::new(what, false, revision.to_string()),
        Standing::Unknown(why) => Need::new(what, false, why),
    }
}

/// Whether a CRD is there, as the API server has it.
#[must_use]
pub fn crd(wanted: &CrdNeed, found: Option<&CustomResourceDefinition>) -> Need {
    let what = format!("CRD {}", wanted.name);
    let Some(found) = found else { return Need::new(what, false, "it is not there".to_owned()) };
    let conditions = found.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is = |kind: &str| conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True");
    if found.metadata.deletion_timestamp.is_some() {
        return Need::new(what, false, "it is being deleted".to_owned());
    }
    if !is("Established") || !is("NamesAccepted") {
        return Need::new(what, false, "it is not established yet".to_owned());
    }
    let digest = content::digest(found);
    match &wanted.content {
        Some(wanted) if *wanted != digest => {
            Need::new(what, false, format!("its content is {digest}, and should be {wanted}"))
        }
        _ => Need::new(what, true, "it is established".to_owned()),
    }
}

/// Whether the component runs at least the version that is needed, and is settled.
#[must_use]
pub fn component(policy: &Policy, view: &View, wanted: &ComponentNeed) -> Need {
    let what = format!("{} {} or later", wanted.name, wanted.least);
    let Some(id) = policy.component_named(&wanted.name) else {
        let names: Vec<&str> = policy.components.iter().map(|component| component.name.as_str()).collect();
        return Need::unknown(
            what,
            format!("policy {} has no such component; there are {}", policy.name, names.join(", ")),
        );
    };
    running(view, id, what, |version| {
        version.known().is_some_and(|version| version.cmp_precedence(&wanted.least).is_ge())
    })
}

/// What a version of the component at `own` needs of those upstream of it, as `UG-ORDER` has it; of those that this
/// install does not have nothing is needed.
#[must_use]
pub fn upstream(policy: &Policy, view: &View, own: ComponentId, version: &Version) -> Vec<Need> {
    let present = policy.upstream(own).iter().filter(|id| !view.component(**id).is_absent());
    let needs = present.map(|id| {
        let name = &policy.component(*id).name;
        match policy.needed(own, version, *id) {
            Err(_) => {
                let own = &policy.component(own).name;
                Need::unknown(format!("{name} for {own} {version}"), "no release lists that version".to_owned())
            }
            Ok(line) => {
                let what = format!("{name} {} or later", policy.lines.name(*id, line));
                running(view, *id, what, |version| serves(policy, *id, version, line))
            }
        }
    });
    needs.collect()
}

fn serves(policy: &Policy, id: ComponentId, version: &Version, line: Line) -> bool {
    let served = policy.lines.span(id, version).ok().map(crate::domain::line::Span::serves);
    served.and_then(|served| served.above(line)).is_some_and(|lines| lines >= 0)
}

/// Whether pods of the component at `id` run, of nothing but versions that are `enough`, and its rollout is complete. One
/// that the guard holds has not begun: its pods are what counts.
fn running(view: &View, id: ComponentId, what: String, enough: impl Fn(&Version) -> bool) -> Need {
    let component = view.component(id);
    let described = component.describe();
    let met = component.has_pods()
        && component.running().iter().filter(|(_, pods)| **pods > 0).all(|(version, _)| enough(version));
    match component.unsettled() {
        Some((workload, missing)) => Need::new(what, false, format!("{described}, {workload}: {missing}")),
        None => Need::new(what, met, described),
    }
}

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The exit code: met, not met in time, or nothing could be told in time.
    pub exit: Exit,
    /// What was found last.
    pub message: String,
}

/// Looks by `look` until every need is met, for at most `patience`. What cannot be looked at now may be later: a pod must
/// not fall because the API server is started again.
pub async fn until_met(
    look: impl AsyncFn() -> Result<Vec<Need>, String>,
    patience: Duration,
    report: &mut dyn Report,
) -> Waited {
    let began = Instant::now();
    let deadline = began + patience;
    let mut last = (Exit::CouldNot, "nothing was seen".to_owned());
    loop {
        let Ok(seen) = timeout_at(deadline, look()).await else { break };
        let now = match seen {
            Ok(needs) if needs.iter().all(|need| need.state == State::Met) => {
                let met: Vec<String> = needs.iter().map(ToString::to_string).collect();
                return Waited { exit: Exit::Done, message: met.join("; ") };
            }
            Ok(needs) => open(&needs),
            Err(error) => (Exit::CouldNot, error),
        };
        if now != last {
            report.say("wait", Stage::Progress, format!("waiting: {}", now.1));
            last = now;
        }
        if Instant::now() + BETWEEN >= deadline {
            break;
        }
        sleep(BETWEEN).await;
    }
    let (exit, found) = last;
    Waited { exit, message: format!("not there within {} s: {found}", patience.as_secs()) }
}

/// What is not met, and what that comes to when it stays so.
fn open(needs: &[Need]) -> (Exit, String) {
    let open: Vec<&Need> = needs.iter().filter(|need| need.state != State::Met).collect();
    let texts: Vec<String> = open.iter().map(ToString::to_string).collect();
    let unmet = open.iter().any(|need| need.state == State::Unmet);
    (if unmet { Exit::Versions } else { Exit::CouldNot }, texts.join("; "))
}

#[cfg(test)]
mod tests;
