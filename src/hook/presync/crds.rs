//! The fourth step: the CRDs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;

use super::{Log, Way, Work};
use crate::api::PlatformCrd;
use crate::cluster::error::said;
use crate::crds::apply::{self, Action, Applied, Options};
use crate::crds::check::Severities;
use crate::crds::content::digest;
use crate::crds::error::CrdError;
use crate::crds::source::{self, Wanted};
use crate::domain::policy::Mode;
use crate::domain::rules::Rule;
use crate::hook::Exit;
use crate::report::Stage;

pub(super) const STEP: &str = "crds";

/// Why it ends here, one line each.
pub(super) struct Problem {
    pub(super) exit: Exit,
    pub(super) lines: Vec<String>,
    /// Whether whoever looks on was told already.
    pub(super) told: bool,
}

impl Problem {
    fn of(exit: Exit, line: String) -> Self {
        Self { exit, lines: vec![line], told: false }
    }
}

impl From<CrdError> for Problem {
    fn from(error: CrdError) -> Self {
        match error {
            CrdError::Refused(refusals) => {
                let lines = refusals.iter().map(ToString::to_string).collect();
                Self { exit: Exit::Policy, lines, told: true }
            }
            CrdError::Input(lines) => Self { exit: Exit::CouldNot, lines, told: false },
            CrdError::Failed(line) => Self::of(Exit::CouldNot, line),
        }
    }
}

impl Work<'_> {
    /// Brings the CRDs about and returns those that it made sure of.
    pub(super) async fn crds(&self, log: &mut Log<'_>) -> Result<Vec<PlatformCrd>, Problem> {
        let mut wanted = self.wanted().await?;
        self.are_of_the_release(&wanted)?;
        let needed = self.needed();
        if wanted.is_empty() && needed.is_empty() {
            log.end(STEP, Stage::Done, "the policy names none, and none are given".to_owned());
            return Ok(vec![]);
        }
        let given: BTreeSet<String> = wanted.iter().filter_map(|crd| crd.definition.metadata.name.clone()).collect();
        let back = self.way == Way::Back;
        let mut absent = BTreeSet::new();
        for name in needed.union(&given).filter(|name| back || !given.contains(*name)) {
            if self.live(name).await?.is_none() {
                absent.insert(name.clone());
            }
        }
        if back {
            wanted.retain(|crd| crd.definition.metadata.name.as_ref().is_some_and(|name| absent.contains(name)));
        }
        let missing: Vec<&str> = absent.difference(&given).map(String::as_str).collect();
        if !missing.is_empty() {
            let message = format!("not installed, and not given with --crds: {}", missing.join(", "));
            match self.errand.policy.mode_of(Rule::Crd) {
                Mode::Enforce => return Err(Problem::of(Exit::Policy, message)),
                Mode::Warn | Mode::Audit => log.end(STEP, Stage::Warning, message),
            }
        }
        if wanted.is_empty() {
            let why = if back { "stay as they are: going back takes nothing away" } else { "are installed" };
            log.end(STEP, Stage::Done, why.to_owned());
            return Ok(vec![]);
        }
        self.apply(&wanted, log).await
    }

    async fn wanted(&self) -> Result<Vec<Wanted>, Problem> {
        let loaded = source::load(self.errand.crds, Some(self.client), self.errand.namespace).await;
        loaded.map_err(Problem::from)
    }

    /// The CRDs that the policy says the target's components need.
    fn needed(&self) -> BTreeSet<String> {
        let policy = self.errand.policy;
        let components = self.errand.target.versions.keys().map(|id| policy.component(*id));
        components.flat_map(|component| component.crds.iter().cloned()).collect()
    }

    async fn live(&self, name: &str) -> Result<Option<CustomResourceDefinition>, Problem> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let found = api.get_opt(name).await;
        found.map_err(|error| {
            Problem::of(Exit::CouldNot, format!("cannot read CustomResourceDefinition {name}: {}", said(&error)))
        })
    }

    /// The CRDs that were given are those that the release lists; else hook and release do not belong together.
    fn are_of_the_release(&self, wanted: &[Wanted]) -> Result<(), Problem> {
        let Some(release) = self.errand.release.filter(|_| !self.errand.crds.is_empty()) else { return Ok(()) };
        let given: BTreeMap<&str, &Wanted> =
            wanted.iter().filter_map(|crd| Some((crd.definition.metadata.name.as_deref()?, crd))).collect();
        let mut wrong = Vec::new();
        for (name, content) in &release.crds {
            match (given.get(name.as_str()), content) {
                (None, _) => wrong.push(format!("{name} is not among the given")),
                (Some(crd), Some(content)) if digest(&crd.definition) != *content => {
                    wrong.push(format!(
                        "{name} in {} is {}, and should be {content}",
                        crd.origin,
                        digest(&crd.definition)
                    ));
                }
                (Some(_), _) => {}
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let name = &release.name;
        let lines = wrong.iter().map(|wrong| format!("not the CRDs of release {name}: {wrong}")).collect();
        Err(Problem { exit: Exit::Versions, lines, told: false })
    }

    async fn apply(&self, wanted: &[Wanted], log: &mut Log<'_>) -> Result<Vec<PlatformCrd>, Problem> {
        let severities = Severities(self.errand.spec.crd_checks.clone());
        let Self { errand, client, .. } = self;
        let options =
            Options { severities, dry_run: errand.dry_run, take_over: errand.take_over, deadline: errand.deadline };
        let applied = apply::apply(client, wanted, &options, log).await?;
        log.note(STEP, true, summary(&applied));
        let mut recorded = Vec::new();
        for crd in applied.crds {
            // Others may own more of it than was given: what is there now is what counts from here on.
            let live =
                if errand.dry_run || crd.action == Action::Unchanged { None } else { self.live(&crd.name).await? };
            let content = live.as_ref().map_or(crd.digest, digest);
            recorded.push(PlatformCrd { name: crd.name, content });
        }
        Ok(recorded)
    }
}

fn summary(applied: &Applied) -> String {
    let count = |action| applied.crds.iter().filter(|crd| crd.action == action).count();
    let (created, updated, unchanged) = (count(Action::Created), count(Action::Updated), count(Action::Unchanged));
    format!("{created} created, {updated} updated, {unchanged} unchanged")
}
