//! What would be migrated, and what stands against it. Nothing of the database is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::settings::Settings;
use crate::api::{MOST_REVISIONS, Phase, PlatformRevision, RevisionNature, RevisionSpec};
use crate::database::catalog::{self, Catalog, Kind, Sizes};
use crate::database::check::{self, Check};
use crate::database::connection::{Connection, DatabaseError};
use crate::database::direct;
use crate::database::finding::{Finding, Place};
use crate::database::gate::{self, GateError};
use crate::database::graph::{self, Graph, GraphError};
use crate::database::judge::{Judged, NO_REVISION, judge_after_run};
use crate::database::lint;
use crate::database::plan::{self, Plan, PlanError};
use crate::database::revision::{self, Noted, Revision, RevisionError};
use crate::database::watch::Proof;
use crate::hook::Exit;
use crate::report::{Report, Stage};

/// What a step of the database is called.
pub const STEP: &str = "schema";
/// How long a question to the database, or to Alembic about its own files, may take.
const ANSWER: Duration = Duration::from_mins(1);

/// What is to be looked at.
pub struct Look<'a> {
    /// How the database is migrated.
    pub settings: &'a Settings,
    /// The revision that the target needs, where a release names it; else the image says it.
    pub wanted: Option<&'a str>,
    /// Whether a revision may run now.
    pub may: &'a (dyn Fn(&RevisionSpec) -> Result<(), String> + Sync),
    /// Whether a database may be at a revision that the image does not have: on the way back, or where it is recorded.
    pub beyond: &'a (dyn Fn(&str) -> bool + Sync),
    /// The time, for waivers that expire.
    pub now: Timestamp,
    /// How long the try on a copy may take.
    pub limit: Duration,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Outlook {
    /// What the database notes.
    pub heads: Vec<String>,
    /// The revision that the target's versions need, where it can be told.
    pub need: Option<String>,
    /// What is to be run; `None` when nothing is.
    pub plan: Option<Plan>,
    /// The migrations of the image; empty where another migrator than Alembic runs.
    pub graph: Graph,
    /// What the try on a copy came to.
    pub tried: gate::Found,
    /// What the checks found, and what the policy makes of it.
    pub judged: Judged,
    /// What each revision of the plan does to versions that do not know it.
    pub natures: BTreeMap<String, RevisionNature>,
}

/// Why it ends here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The exit code.
    pub exit: Exit,
    /// The reasons, one line each.
    pub lines: Vec<String>,
}

impl Refusal {
    fn of(exit: Exit, error: &impl ToString) -> Self {
        Self { exit, lines: vec![error.to_string()] }
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::of(Exit::CouldNot, &error)
    }
}

impl From<RevisionError> for Refusal {
    fn from(error: RevisionError) -> Self {
        Self::of(Exit::CouldNot, &error)
    }
}

impl From<GraphError> for Refusal {
    fn from(error: GraphError) -> Self {
        let asked = matches!(
            error,
            GraphError::Read { .. }
                | GraphError::Alembic { .. }
                | GraphError::NotUnderstood { .. }
                | GraphError::Migrator(_)
        );
        let exit = if asked { Exit::CouldNot } else { Exit::Versions };
        Self::of(exit, &error)
    }
}

impl From<PlanError> for Refusal {
    fn from(error: PlanError) -> Self {
        Self::of(if matches!(error, PlanError::Held { .. }) { Exit::Policy } else { Exit::Versions }, &error)
    }
}

impl From<GateError> for Refusal {
    fn from(error: GateError) -> Self {
        Self::of(if matches!(error, GateError::Fails { .. }) { Exit::Policy } else { Exit::CouldNot }, &error)
    }
}

impl Look<'_> {
    /// Looks, and tells `report` what it finds.
    ///
    /// # Errors
    /// Why nothing may be run.
    pub async fn look(&self, report: &mut dyn Report) -> Result<Outlook, Refusal> {
        let outlook = self.examine(report).await?;
        if outlook.plan.is_some() {
            outlook.verdict(report)?;
        }
        Ok(outlook)
    }

    /// Looks, and leaves it to the caller what comes of the findings.
    ///
    /// # Errors
    /// Why it cannot be told what migrations would do, or why there is no way for them.
    pub async fn examine(&self, report: &mut dyn Report) -> Result<Outlook, Refusal> {
        let settings = self.settings;
        let connection = Connection::open(settings.address.url(), "upgrade-guard", ANSWER).await?;
        let revision = revision::read(&connection, &settings.noted).await?;
        let mut outlook = Outlook { heads: revision.heads(), ..Outlook::default() };
        if settings.alembic {
            outlook.graph = self.graph().await?;
            self.planned(&revision, &mut outlook, report)?;
        } else {
            outlook.need = self.wanted.map(str::to_owned);
            outlook.plan = self.of_another(&outlook.heads);
        }
        let Some(plan) = &outlook.plan else {
            report.say(STEP, Stage::Done, format!("{revision}: nothing to migrate"));
            return Ok(outlook);
        };
        plan::fits(&outlook.graph, plan, revision::width(&connection, &settings.noted).await?)?;
        // A copy is kept by a lock, too.
        let direct = direct::check(settings.address.url(), &settings.migrator.url_variable, ANSWER).await;
        direct.map_err(|error| Refusal::of(Exit::CouldNot, &error))?;
        report.say(STEP, Stage::Progress, pending(&revision, plan));
        outlook.tried = self.tried(plan).await?;
        for note in &outlook.tried.notes {
            report.say(STEP, Stage::Warning, note.clone());
        }
        if let Some(proof) = outlook.tried.timeouts {
            report.say(STEP, Stage::Progress, held(proof).to_owned());
        }
        let sizes = catalog::sizes(&connection).await?;
        self.judged(&mut outlook, &sizes, report)?;
        Ok(outlook)
    }

    async fn graph(&self) -> Result<Graph, GraphError> {
        let Settings { spec, migrator, .. } = self.settings;
        match &spec.revision_files {
            Some(folder) => {
                let directory = migrator.directory.as_deref().unwrap_or_else(|| Path::new("."));
                graph::files::read(&directory.join(folder))
            }
            None => graph::alembic::read(migrator, ANSWER).await,
        }
    }

    fn planned(&self, revision: &Revision, outlook: &mut Outlook, report: &mut dyn Report) -> Result<(), Refusal> {
        let specs = &self.settings.spec.revisions;
        let sole = || Some(outlook.graph.heads()).filter(|heads| heads.len() == 1).and_then(|mut heads| heads.pop());
        match plan::plan(&outlook.graph, revision, self.wanted, specs, self.may) {
            Ok(plan) => {
                for revision in &plan.unknown {
                    let message = format!(
                        "the policy speaks of revision {revision}, which this image does not have: with a wrong id nothing is held"
                    );
                    report.say(STEP, Stage::Warning, message);
                }
                for stop in &plan.stops {
                    let message = format!("stops before revision {}: {}", stop.revision, stop.why);
                    report.say(STEP, Stage::Warning, message);
                }
                outlook.need = plan.to.first().cloned();
                outlook.plan = (!plan.steps.is_empty()).then_some(plan);
                Ok(())
            }
            // The way back: whether the older version can do with the schema is for UG-SCHEMA to say.
            Err(PlanError::Ahead { wanted, .. }) => {
                outlook.need = Some(wanted);
                Ok(())
            }
            Err(PlanError::NotInImage { revision }) if (self.beyond)(&revision) => {
                outlook.need = self.wanted.map(str::to_owned).or_else(sole);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What another migrator is run for: it alone knows what is pending, unless a release names the revision.
    fn of_another(&self, heads: &[String]) -> Option<Plan> {
        let to: Vec<String> = self.wanted.map(str::to_owned).into_iter().collect();
        let there = !to.is_empty() && to == heads;
        (!there).then(|| Plan { from: heads.to_vec(), to, ..Plan::default() })
    }

    async fn tried(&self, plan: &Plan) -> Result<gate::Found, GateError> {
        let settings = self.settings;
        gate::look(&gate::Errand {
            migrator: &settings.migrator,
            alembic: settings.alembic,
            live: &settings.address,
            server: settings.shadow_server.as_ref(),
            from: settings.spec.shadow.from,
            noted: &settings.noted,
            plan,
            timeouts: settings.timeouts,
            limit: self.limit,
            exact: false,
            sql: settings.alembic,
        })
        .await
    }

    /// Lets the checks look at what was tried and rendered, and the policy at what they found.
    fn judged(&self, outlook: &mut Outlook, sizes: &Sizes, report: &mut dyn Report) -> Result<(), Refusal> {
        let steps = outlook.plan.as_ref().map(|plan| plan.steps.clone()).unwrap_or_default();
        let mut findings = outlook.tried.findings.clone();
        let linted = outlook.tried.script.as_ref().map(|text| {
            let script = lint::Script { text: text.clone(), ..lint::Script::default() };
            for attempt in lint::attempted_waivers(&script) {
                report.say(STEP, Stage::Warning, attempt);
            }
            lint::sql(&script, &context(outlook.tried.first.as_ref(), sizes, self.settings))
        });
        match linted {
            Some(Ok(found)) => findings.extend(beside(found, &outlook.tried)),
            Some(Err(error)) if outlook.tried.shadow => {
                report.say(STEP, Stage::Warning, format!("the SQL was not looked at: {error}"));
            }
            Some(Err(error)) => return Err(Refusal::of(Exit::Policy, &error)),
            None if outlook.tried.shadow => {}
            None => {
                let why = "what they do cannot be told: there is neither a copy to try them on (migrations.shadow.from) \
                           nor SQL to read";
                return Err(Refusal::of(Exit::Policy, &why));
            }
        }
        placed(&outlook.graph, &mut findings);
        let tried: BTreeSet<String> =
            if outlook.tried.shadow { steps.iter().cloned().collect() } else { BTreeSet::new() };
        outlook.judged = judge_after_run(findings, &self.settings.spec, self.now, &tried);
        self.nobody_left(&mut outlook.judged);
        outlook.natures = outlook.judged.natures(&steps);
        Ok(())
    }

    /// A revision that contracts was planned because nothing runs any more that it could break: what it takes away is only
    /// told. Locks hold up the newer version too, and of what cannot be read nobody knows that it is no more than that.
    fn nobody_left(&self, judged: &mut Judged) {
        let contracts = |finding: &Finding| {
            let own = |spec: &RevisionSpec| finding.revision.as_ref() == Some(&spec.revision);
            self.settings.spec.revisions.iter().any(|spec| spec.phase == Some(Phase::Contract) && own(spec))
        };
        let is_told = |finding: &Finding| {
            finding.check.kind() != check::Kind::Lock && finding.check != Check::Opaque && contracts(finding)
        };
        let (told, refused): (Vec<Finding>, _) = std::mem::take(&mut judged.refused).into_iter().partition(is_told);
        judged.refused = refused;
        judged.warned.splice(0..0, told);
    }
}

/// Who holds the timeouts, as the copy showed.
fn held(proof: Proof) -> &'static str {
    match proof {
        Proof::ByDriver => "shown on the copy: the migrator's own driver holds the timeouts of locks and statements",
        Proof::ByWatchdog => {
            "shown on the copy: the migrator's driver ignores PGOPTIONS, so its statements are cancelled"
        }
    }
}

/// A waiver of a finding, in one line of YAML.
fn waiver(finding: &Finding) -> String {
    let revision = finding.revision.as_deref().unwrap_or(NO_REVISION);
    format!(
        "- {{revision: \"{revision}\", check: {}, hash: \"{}\", reason: \"\"}}",
        finding.check.name(),
        finding.hash()
    )
}

/// Says in which file a revision is, where nobody said it.
fn placed(graph: &Graph, findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.place.is_none()) {
        let migration = finding.revision.as_deref().and_then(|id| graph.get(id));
        let file = migration.and_then(|migration| migration.file.clone());
        finding.place = file.map(|file| Place { file, line: None });
    }
}

/// What the SQL says beside what was seen on a copy: what both say is said once.
fn beside(linted: Vec<Finding>, tried: &gate::Found) -> impl Iterator<Item = Finding> {
    let seen: BTreeSet<(Check, Option<String>)> =
        tried.findings.iter().map(|finding| (finding.check, finding.revision.clone())).collect();
    linted.into_iter().filter(move |finding| !seen.contains(&(finding.check, finding.revision.clone())))
}

/// What the linter is told of the database.
fn context(catalog: Option<&Catalog>, sizes: &Sizes, settings: &Settings) -> lint::Context {
    let known = lint::Context::default();
    let objects = |kind| {
        catalog.into_iter().flat_map(move |catalog| {
            let of_kind = catalog.objects().filter(move |object| object.kind == kind);
            of_kind.filter_map(|object| Some((catalog.parent(object)?.full.clone(), object)))
        })
    };
    let version_table = match &settings.noted {
        Noted::Table(table) => table.rsplit('.').next().unwrap_or(table).to_owned(),
        Noted::Query(_) => known.version_table.clone(),
    };
    let unsigned = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let size = |size: &catalog::Size| lint::Size { rows: size.rows.map_or(0, unsigned), bytes: unsigned(size.bytes) };
    lint::Context {
        version_table,
        types: objects(Kind::Column)
            .map(|(table, column)| ((table, column.name.clone()), column.fact("type").to_owned()))
            .collect(),
        constraints: objects(Kind::Constraint)
            .filter_map(|(table, object)| Some(((table, object.name.clone()), object.fact("type").chars().next()?)))
            .collect(),
        indexes: objects(Kind::Index)
            .map(|(table, index)| {
                let schema = table.split('.').next().unwrap_or_default();
                let name = format!("{schema}.{}", index.name);
                (name, lint::Index { table, is_unique: index.fact("unique") == "t" })
            })
            .collect(),
        sizes: sizes.iter().map(|(table, found)| (table.clone(), size(found))).collect(),
        large: settings.spec.large_table.clone(),
        timeouts_set: true,
        ..known
    }
}

impl Outlook {
    /// Tells what was found, and whether it keeps the migrations from running.
    fn verdict(&self, report: &mut dyn Report) -> Result<(), Refusal> {
        let Judged { refused, warned, waived, expired, .. } = &self.judged;
        for finding in warned {
            report.say(STEP, Stage::Warning, finding.to_string());
        }
        for (finding, waiver) in waived {
            report.say(STEP, Stage::Warning, format!("{finding} Waived: {}", waiver.reason));
        }
        for waiver in expired {
            let message = format!("the waiver of {} for {} has run out", waiver.check, waiver.revision);
            report.say(STEP, Stage::Warning, message);
        }
        if refused.is_empty() {
            let steps = self.plan.as_ref().map_or(0, |plan| plan.steps.len());
            report.say(STEP, Stage::Done, format!("{}: nothing stands against them", counted(steps)));
            return Ok(());
        }
        let mut lines: Vec<String> = refused.iter().map(ToString::to_string).collect();
        lines.push(
            "what was looked at is accepted by these lines, with a reason, in spec.database.migrations.waivers of the policy:"
                .to_owned(),
        );
        lines.extend(refused.iter().map(waiver));
        Err(Refusal { exit: Exit::Policy, lines })
    }

    /// What the checks found, in one line each, worst first.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let waived = self.judged.waived.iter().map(|(finding, _)| finding);
        self.judged.refused.iter().chain(waived).chain(&self.judged.warned).map(ToString::to_string).collect()
    }

    /// The newest revisions of the image, newest first, as a `Platform` keeps them.
    #[must_use]
    pub fn recorded(&self, specs: &[RevisionSpec]) -> Vec<PlatformRevision> {
        let phases: BTreeMap<&str, Phase> =
            specs.iter().filter_map(|spec| Some((spec.revision.as_str(), spec.phase?))).collect();
        let nature = |id: &str| {
            let told = self.natures.get(id).copied().unwrap_or(RevisionNature::Unknown);
            match (told, phases.get(id)) {
                (_, Some(Phase::Contract)) => RevisionNature::Breaking,
                (RevisionNature::Unknown, Some(Phase::Expand)) => RevisionNature::Additive,
                (told, _) => told,
            }
        };
        let all = self.graph.between(&[], &self.graph.heads());
        let newest = all.into_iter().rev().take(MOST_REVISIONS);
        let one = |migration: &graph::Migration| PlatformRevision {
            revision: migration.id.clone(),
            down: migration.parents().map(str::to_owned).collect(),
            nature: nature(&migration.id),
        };
        newest.map(one).collect()
    }
}

fn pending(revision: &Revision, plan: &Plan) -> String {
    let to = plan.to.join(", ");
    match (plan.steps.len(), to.as_str()) {
        (0, "") => format!("{revision}: the migrator is tried on a copy"),
        (0, to) => format!("{revision}, and should be at {to}: the migrator is tried on a copy"),
        (steps, to) => format!("{revision}: {} up to {to}, tried on a copy", counted(steps)),
    }
}

/// `2 migrations`; `migrations` where nobody knows how many.
#[must_use]
pub fn counted(steps: usize) -> String {
    match steps {
        0 => "migrations".to_owned(),
        1 => "1 migration".to_owned(),
        several => format!("{several} migrations"),
    }
}
