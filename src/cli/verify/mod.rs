//! `upgrade-guard verify`: is everything as it should be after an upgrade?

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::input::database::Database;
use super::input::governed::Governed;
use super::input::live;
use super::plan::target::{Asked, Target};
use super::{Outcome, Output};
use crate::api::duration;
use crate::cluster::ledger::Ledger;
use crate::cluster::pod::PodState;
use crate::database::revision::revision;
use crate::database::url::DatabaseUrl;
use crate::domain::version::Version;
use crate::domain::view::View;
use crate::hook::http::check_all;
use crate::hook::verify::record::{Mark, Marked};
use crate::hook::verify::{Pace, Schema, Sight, Verified, Wanted, asked, until_verified};
use crate::hook::{Exit, who};
use crate::report::{News, Report};

pub mod text;

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time before an HTTP request is made again.
const HTTP_PAUSE: Duration = Duration::from_millis(500);
/// How long the controller may take to write down that a move is complete.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);
/// The time between two looks at that.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// Tell whether an upgrade is done and everything is well: versions, rollouts, pods, restarts, HTTP checks of the policy
/// and the revision of the database's schema.
///
/// Argo CD runs it as a `PostSync` hook, Helm as a post-upgrade hook with --wait (Helm's own --wait takes a rollout that
/// the guard holds for a finished one). When all is well it is noted on the Platform. Every check is told, whatever the
/// others say, and what could not be looked at does not count as well.
///
/// Exit code 0: verified. 4: other versions, or another schema revision, than wanted. 2: something else is not as it
/// should be. 1: something could not be asked, and nothing is known to be wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policy, where several govern the namespace.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// The namespace of the install; that of the pod or the kubeconfig, or the only one that is governed.
    #[arg(short, long)]
    namespace: Option<String>,

    /// What should run: a `PlatformRelease`, by its name or its version. Where neither this nor --to is given, it is
    /// what `presync` prepared for last, else what the workloads ask for.
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    release: Option<String>,

    /// What should run, as `plan --to` takes it: a release, COMPONENT=VERSION, or a version for all of its major.
    #[arg(long, value_name = "TARGET", num_args = 1..)]
    to: Vec<Target>,

    /// A component of the target that this install is meant to be without.
    #[arg(long, value_name = "COMPONENT")]
    without: Vec<String>,

    /// Look again until everything is well, for at most --timeout.
    #[arg(long)]
    wait: bool,

    /// How long --wait goes on, for example 10m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: SignedDuration,

    /// How long to watch that no container is restarted; 0s looks once, at crash loops only.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = or_none)]
    settle: SignedDuration,

    #[command(flatten)]
    database: Database,

    /// Do not look at the revision of the database's schema, although the release names one.
    #[arg(long)]
    skip_schema: bool,

    /// Leave the Platform as it is, also when everything is well.
    #[arg(long)]
    no_record: bool,

    /// How to print the answer. What it waits for goes to the standard error.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A length of time, or none.
fn or_none(text: &str) -> Result<SignedDuration, String> {
    match text {
        "0" | "0s" => Ok(SignedDuration::ZERO),
        text => duration(text),
    }
}

/// Says what is waited for where it does not stand between the parts of an answer.
pub(super) struct Progress;

impl Report for Progress {
    fn tell(&mut self, news: News) {
        eprintln!("{}", news.message);
    }
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let told = match told(args) {
        Ok(told) => told,
        // An exit code of its own: what could not be tried is neither well nor wrong.
        Err(error) => text::Told::failed(&format!("{error:#}")),
    };
    match args.output {
        Format::Text => text::print(&told, out)?,
        Format::Json => text::print_json(&told, out)?,
    }
    Ok(Outcome::Hook(told.exit))
}

fn told(args: &Args) -> anyhow::Result<text::Told> {
    // A database that nobody asks for may be named in any way.
    let url = args.database.url().map_err(|error| format!("{error:#}"));
    let cluster = live::Cluster::connect()?;
    cluster.block_on(async |client| {
        let looked_in = RefCell::new(None);
        let look = async || look(args, &cluster, &url, &looked_in).await.map_err(|error| format!("{error:#}"));
        let patience = args.wait.then(|| args.timeout.unsigned_abs());
        let pace = Pace { settle: args.settle.unsigned_abs(), patience };
        let verified = until_verified(look, pace, &mut Progress).await.map_err(|error| anyhow!(error))?;
        let namespace = looked_in.into_inner().unwrap_or_default();
        let mut told = text::Told::of(&namespace, &verified);
        if told.exit == Exit::Done && !args.no_record {
            match record(&client, &namespace, &verified).await {
                Ok(notes) => told.notes = notes,
                Err(error) => told.is_not_noted(&format!("{error:#}")),
            }
        }
        Ok(told)
    })
}

/// Looks at everything once; the namespace goes to `looked_in`.
async fn look(
    args: &Args,
    cluster: &live::Cluster,
    url: &Result<Option<DatabaseUrl>, String>,
    looked_in: &RefCell<Option<String>>,
) -> anyhow::Result<Sight> {
    let governed = Governed::read(cluster, args.policy.as_deref(), args.namespace.as_deref()).await?;
    looked_in.replace(Some(governed.namespace.clone()));
    let view = governed.install.inventory.view(&governed.policy, Timestamp::now());
    let wanted = wanted(args, &governed, &view)?;
    let mut checks = governed.spec.verify.http.clone();
    if args.wait {
        // The next look comes soon enough.
        for check in &mut checks {
            check.retries = 0;
        }
    }
    let (pods, http, schema) = tokio::join!(
        cluster.pods(&governed.namespace),
        check_all(&checks, &governed.namespace, HTTP_PAUSE),
        schema(args, url, &wanted),
    );
    let pods = pods?.iter().filter_map(PodState::read).collect();
    Ok(Sight { policy: governed.policy, view, pods, wanted, http, schema })
}

async fn schema(args: &Args, url: &Result<Option<DatabaseUrl>, String>, wanted: &Wanted) -> Schema {
    match (&wanted.revision, url) {
        (None, _) => Schema::NotWanted,
        _ if args.skip_schema => Schema::Skipped,
        (_, Err(error)) => Schema::NotLooked(error.clone()),
        (_, Ok(None)) => Schema::NotLooked(format!("{}; set it, or say --skip-schema", args.database.remedy())),
        (_, Ok(Some(url))) => Schema::Read(revision(url, &args.database.noted(), DATABASE_TIMEOUT).await),
    }
}

/// What should run, by what was given, by what was prepared, or by what is asked for.
fn wanted(args: &Args, governed: &Governed, view: &View) -> anyhow::Result<Wanted> {
    let mut wanted = given(args, governed, view)?;
    for name in &args.without {
        let id = governed.policy.component_named(name);
        let id = id.with_context(|| format!("policy {} has no component {name}", governed.policy.name))?;
        if !view.component(id).workloads.is_empty() {
            bail!("{name} is here: --without is for what is not");
        }
        wanted.versions.remove(&id);
    }
    Ok(wanted)
}

fn given(args: &Args, governed: &Governed, view: &View) -> anyhow::Result<Wanted> {
    let policy = &governed.policy;
    let texts = match &args.release {
        Some(name) if governed.release(name).is_none() => {
            bail!("policy {} has no PlatformRelease {name}", policy.name)
        }
        Some(name) => vec![Target::All(name.clone())],
        None => args.to.clone(),
    };
    if !texts.is_empty() {
        let asked = Asked { texts: &texts, manifests: None, releases: &governed.releases };
        let versions = asked.versions(policy, view).map_err(|error| anyhow!(error))?;
        let release = texts.iter().find_map(|text| match text {
            Target::All(name) => governed.release(name),
            Target::Component(..) => None,
        });
        return Ok(Wanted {
            target: Some(texts.iter().map(written).collect::<Vec<_>>().join(", ")),
            versions: versions.into_iter().map(|(id, version)| (id, BTreeSet::from([version]))).collect(),
            revision: release.and_then(|release| release.spec.schema_revision.clone()),
        });
    }
    let platform = governed.install.inventory.platforms().get(&policy.name);
    let status = platform.and_then(|platform| platform.status.as_ref());
    if let Some(prepared) = status.and_then(|status| status.preparations.first()) {
        let known = prepared.components.iter();
        let known = known.filter_map(|component| Some((policy.component_named(&component.name)?, &component.version)));
        return Ok(Wanted {
            target: Some(prepared.target.clone()),
            versions: known.map(|(id, version)| (id, BTreeSet::from([Version::read(version)]))).collect(),
            revision: governed.release(&prepared.target).and_then(|release| release.spec.schema_revision.clone()),
        });
    }
    let here = policy.ids().filter(|id| !view.component(*id).workloads.is_empty());
    let versions = here.map(|id| (id, asked(view, id).into_iter().cloned().collect())).collect();
    Ok(Wanted { target: None, versions, revision: None })
}

fn written(target: &Target) -> String {
    match target {
        Target::All(text) => text.clone(),
        Target::Component(component, version) => format!("{component} {version}"),
    }
}

/// Notes on the Platform that all is well; what is to be said of that.
async fn record(client: &Client, namespace: &str, verified: &Verified) -> anyhow::Result<Vec<String>> {
    let Sight { policy, wanted, .. } = &verified.sight;
    let mark = Mark { policy, wanted, by: who(client).await, message: verified.table.summary() };
    let ledger = Ledger::new(client.clone());
    let noted = async {
        loop {
            let note = ledger.update(namespace, &policy.name, |status| mark.note(status, Timestamp::now())).await;
            match note? {
                Marked { open, .. } if open.is_empty() => return anyhow::Ok(()),
                _ => tokio::time::sleep(RECORD_PAUSE).await,
            }
        }
    };
    match tokio::time::timeout(RECORD_PATIENCE, noted).await {
        Ok(done) => done.map(|()| vec![]),
        Err(_) => Ok(vec!["the guard has not written down every move as complete yet: is it running?".to_owned()]),
    }
}
