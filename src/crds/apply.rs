//! Bringing about the wanted CRDs: all or none, never an object lost.
//!
//! In this order, and nothing is written before all of it is good: what is installed is read; the API server tries all
//! changes without keeping them; they are compared with what is installed; the objects in the cluster are held against
//! the new schemas. Each step can be run again from the start, so a process that is killed leaves nothing half-done
//! that the next one does not finish.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::check::{Check, Severities, Severity};
pub use super::error::CrdError;
use super::error::{Answer, Refusal, conflict};
use super::objects::{Findings, look};
use super::source::Wanted;
use super::{compare, content, state};
use crate::cluster::ledger::FIELD_MANAGER;
use crate::report::{Report, Stage};

mod conversion;
mod wait;

/// The name of the step.
const STEP: &str = "crds";
/// Requests that are under way at the same time.
const AT_ONCE: usize = 8;

/// How CRDs are applied.
#[derive(Clone, Debug)]
pub struct Options {
    /// How strictly each check is taken.
    pub severities: Severities,
    /// Fields that others own are taken over, instead of a refusal.
    pub take_over: bool,
    /// Everything but writing.
    pub dry_run: bool,
    /// How long the CRDs may take to be served once they are applied.
    pub deadline: Duration,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Every wanted CRD, in the order of their names.
    pub crds: Vec<AppliedCrd>,
    /// What deserves a look, one line each.
    pub warnings: Vec<String>,
}

/// What was done with one CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedCrd {
    /// Its name.
    pub name: String,
    /// The digest of its content, as wanted.
    pub digest: String,
    /// What was done, or would be.
    pub action: Action,
}

/// What is done with a CRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was not there.
    Created,
    /// It said something else.
    Updated,
    /// It says what it should.
    Unchanged,
}

/// A wanted CRD and what is known of it.
struct Change<'a> {
    wanted: &'a Wanted,
    digest: String,
    installed: Option<CustomResourceDefinition>,
    action: Action,
    /// What the API server would make of it.
    answer: Option<CustomResourceDefinition>,
}

impl Change<'_> {
    fn name(&self) -> &str {
        self.wanted.name()
    }

    fn refusal(&self, check: &'static str, message: String) -> Refusal {
        Refusal { crd: self.name().to_owned(), origin: self.wanted.origin.clone(), check, message }
    }

    /// Why it is not there and usable, or `None`.
    fn missing(&self) -> Option<String> {
        match (&self.installed, self.action) {
            (Some(installed), Action::Unchanged) => state::missing(installed),
            _ => Some("it is not applied yet".to_owned()),
        }
    }
}

/// Makes sure that the CRDs of `wanted` are in the cluster, established and served. Nothing is ever removed.
///
/// When all are there already, that takes one read of each and nothing else. With `options.dry_run` everything is
/// looked at and nothing written; the answer then says what would be done.
///
/// # Errors
/// [`CrdError::Refused`] with everything that stands against them, before anything is written: what the API server
/// does not take, fields of others, unsafe differences, objects that would become invalid. [`CrdError::Failed`] when
/// the API server cannot be asked, or they are not served before the deadline.
pub async fn apply(
    client: &Client,
    wanted: &[Wanted],
    options: &Options,
    report: &mut dyn Report,
) -> Result<Applied, CrdError> {
    let mut run = Run { client, api: Api::all(client.clone()), options, report, warnings: vec![], refusals: vec![] };
    let mut changes = run.read(wanted).await?;
    if let Some(done) = in_place(&changes) {
        run.report.say(STEP, Stage::Done, done);
        return Ok(run.applied(&changes));
    }
    for change in changes.iter_mut().filter(|change| change.action != Action::Unchanged) {
        run.try_out(change).await?;
    }
    for change in &changes {
        run.compare(change);
        if run.conversion(change).await? {
            run.objects(change).await?;
        }
    }
    if !run.refusals.is_empty() {
        return Err(CrdError::Refused(run.refusals));
    }
    if options.dry_run {
        run.would_do(&changes);
        return Ok(run.applied(&changes));
    }
    run.write(&changes).await?;
    wait::until_served(&run.api, client, wanted, options.deadline, run.report).await?;
    run.report.say(STEP, Stage::Done, format!("{} established and served", counted(changes.len())));
    Ok(run.applied(&changes))
}

/// That everything is there, when it is.
fn in_place(changes: &[Change<'_>]) -> Option<String> {
    if changes.iter().any(|change| change.missing().is_some()) {
        return None;
    }
    let names: Vec<&str> = changes.iter().map(Change::name).collect();
    Some(format!("{} in place, nothing to do: {}", counted(names.len()), names.join(", ")))
}

fn counted(crds: usize) -> String {
    if crds == 1 { "1 CRD is".to_owned() } else { format!("{crds} CRDs are") }
}

struct Run<'a> {
    client: &'a Client,
    api: Api<CustomResourceDefinition>,
    options: &'a Options,
    report: &'a mut dyn Report,
    warnings: Vec<String>,
    refusals: Vec<Refusal>,
}

impl Run<'_> {
    /// Reads what is installed of `wanted`, with one call for each.
    async fn read<'w>(&mut self, wanted: &'w [Wanted]) -> Result<Vec<Change<'w>>, CrdError> {
        let reads = futures::stream::iter(wanted).map(|wanted| {
            let api = &self.api;
            async move {
                let installed = api.get_opt(wanted.name()).await;
                installed.map_err(|error| CrdError::failed(&format!("read the CRD {}", wanted.name()), &error))
            }
        });
        let installed: Vec<Option<CustomResourceDefinition>> = reads.buffered(AT_ONCE).try_collect().await?;
        let mut changes = Vec::new();
        for (wanted, installed) in wanted.iter().zip(installed) {
            if installed.as_ref().is_some_and(state::is_terminating) {
                let name = wanted.name();
                return Err(CrdError::Failed(format!(
                    "cannot apply the CRD {name}: it is being deleted, with its objects. Wait until it is gone, or find \
                     out what holds it with `kubectl get crd {name} -o yaml`, and run this again"
                )));
            }
            let digest = content::digest(&wanted.definition);
            let action = match &installed {
                None => Action::Created,
                Some(installed) if content::digest(installed) == digest => Action::Unchanged,
                Some(_) => Action::Updated,
            };
            changes.push(Change { wanted, digest, installed, action, answer: None });
        }
        Ok(changes)
    }

    /// Lets the API server try a change without keeping it.
    async fn try_out(&mut self, change: &mut Change<'_>) -> Result<(), CrdError> {
        let mut answer = self.patch(change, false, true).await;
        if let (true, Err(kube::Error::Api(status))) = (self.options.take_over, &answer)
            && let Answer::Conflict(managers) = Answer::of(status)
        {
            for (manager, fields) in &managers {
                self.warn(format!("{}: takes over {} from {manager}", change.name(), fields.join(", ")));
            }
            answer = self.patch(change, true, true).await;
        }
        match answer {
            Ok(answer) => {
                if content::digest(&answer) != change.digest {
                    self.warn(format!(
                        "{}: with the file applied, the CRD still says more than the file: others own the rest",
                        change.name()
                    ));
                }
                change.answer = Some(answer);
            }
            Err(error) => {
                let refusal = refused(change, &error)?;
                self.refuse(refusal);
            }
        }
        Ok(())
    }

    async fn patch(
        &self,
        change: &Change<'_>,
        force: bool,
        dry_run: bool,
    ) -> Result<CustomResourceDefinition, kube::Error> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), force, dry_run, ..<_>::default() };
        self.api.patch(change.name(), &params, &Patch::Apply(body(&change.wanted.definition))).await
    }

    /// Holds what would be against what is installed.
    fn compare(&mut self, change: &Change<'_>) {
        let (Some(installed), Some(answer)) = (&change.installed, &change.answer) else { return };
        for difference in compare::compare(installed, answer, &self.options.severities) {
            let version = difference.version.map(|version| format!("{version} ")).unwrap_or_default();
            let message = format!("{version}{}: {}", difference.path, difference.message);
            match difference.severity {
                Severity::Error => self.refuse(change.refusal(difference.check, message)),
                Severity::Warn => self.warn(format!("{}: {}: {message}", change.name(), difference.check)),
                Severity::Off => {}
            }
        }
    }

    /// Holds the objects in the cluster against the new schemas.
    async fn objects(&mut self, change: &Change<'_>) -> Result<(), CrdError> {
        let severity = self.options.severities.of(Check::LiveObjects);
        let (Some(installed), Some(answer)) = (&change.installed, &change.answer) else { return Ok(()) };
        if severity == Severity::Off {
            return Ok(());
        }
        if let Some(missing) = state::missing(installed) {
            self.warn(format!("{}: its objects cannot be read to hold them against it: {missing}", change.name()));
            return Ok(());
        }
        let Some(findings) = look(self.client, installed, answer, self.report).await? else { return Ok(()) };
        let name = change.name();
        for what in &findings.unchecked {
            self.warn(format!("{name}: not checked on objects: {what}"));
        }
        if let Some(first) = &findings.first_pruned {
            let pruned = findings.pruned;
            self.warn(format!(
                "{name}: {pruned} objects lose unknown fields when they are next written, first {first}"
            ));
        }
        if findings.already > 0 {
            self.warn(format!("{name}: {} objects are invalid already, by the installed schema", findings.already));
        }
        if findings.invalid > 0 {
            let message = offenders(&findings);
            match severity {
                Severity::Error => self.refuse(change.refusal(Check::LiveObjects.row().name, message)),
                _ => self.warn(format!("{name}: {}: {message}", Check::LiveObjects.row().name)),
            }
        }
        Ok(())
    }

    fn would_do(&mut self, changes: &[Change<'_>]) {
        for change in changes {
            let what = match change.action {
                Action::Created => "create",
                Action::Updated => "update",
                Action::Unchanged => continue,
            };
            self.report.say(STEP, Stage::WouldDo, format!("{what} {} ({})", change.name(), change.wanted.origin));
        }
    }

    /// Applies what the API server has said it takes.
    async fn write(&mut self, changes: &[Change<'_>]) -> Result<(), CrdError> {
        let mut written: Vec<&str> = Vec::new();
        for change in changes.iter().filter(|change| change.action != Action::Unchanged) {
            let answer = self.patch(change, self.options.take_over, false).await;
            if let Err(error) = answer {
                // It took the same a moment ago, so someone else was at it; what is written already stays.
                let name = change.name();
                let before = if written.is_empty() { "nothing".to_owned() } else { written.join(", ") };
                let what = format!("apply the CRD {name} ({before} was applied before it; run this again)");
                return Err(CrdError::failed(&what, &error));
            }
            written.push(change.name());
            let what = if change.action == Action::Created { "created" } else { "updated" };
            self.report.say(STEP, Stage::Progress, format!("{what} {}", change.name()));
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.report.say(STEP, Stage::Refused, refusal.to_string());
        self.refusals.push(refusal);
    }

    fn warn(&mut self, message: String) {
        self.report.say(STEP, Stage::Warning, message.clone());
        self.warnings.push(message);
    }

    fn applied(self, changes: &[Change<'_>]) -> Applied {
        let crds = changes.iter().map(|change| AppliedCrd {
            name: change.name().to_owned(),
            digest: change.digest.clone(),
            action: change.action,
        });
        Applied { crds: crds.collect(), warnings: self.warnings }
    }
}

/// Why the API server does not take a change; an error when it says nothing about the change.
fn refused(change: &Change<'_>, error: &kube::Error) -> Result<Refusal, CrdError> {
    let answer = match error {
        kube::Error::Api(status) => Answer::of(status),
        _ => Answer::Failed,
    };
    match answer {
        Answer::Refused(message) => Ok(change.refusal("apiServer", message)),
        Answer::Conflict(managers) => Ok(change.refusal("conflict", conflict(&managers))),
        Answer::Failed => Err(CrdError::failed(&format!("try out the CRD {}", change.name()), error)),
    }
}

/// How many objects would be invalid, and the first of them.
fn offenders(findings: &Findings) -> String {
    let Findings { invalid, read, .. } = findings;
    let first = findings.offenders.iter().map(|offender| {
        let place = if offender.path.is_empty() { "the object" } else { &offender.path };
        format!("{}: {} {place}: {}", offender.object, offender.version, offender.message)
    });
    let first = first.collect::<Vec<_>>().join("; ");
    let more = invalid - findings.offenders.len();
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!("{invalid} of {read} objects would be invalid. Correct them first: {first}{more}")
}

/// What is applied: everything that a CRD says of itself. Parts that others could have set and the file leaves out are
/// named too, as they would be without a word, because an apply leaves alone what it does not name.
fn body(definition: &CustomResourceDefinition) -> Value {
    let mut spec = json!(definition.spec);
    for (field, value) in [("conversion", json!({"strategy": "None"})), ("preserveUnknownFields", json!(false))] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    for field in ["shortNames", "categories"] {
        if spec["names"][field].is_null() {
            spec["names"][field] = json!([]);
        }
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": definition.name_any(),
            "labels": definition.metadata.labels,
            "annotations": definition.metadata.annotations,
        },
        "spec": spec,
    })
}
