//! `upgrade-guard check`: would this change be admitted?

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::bail;
use jiff::Timestamp;

use self::lint::{Lint, lint};
use self::report::Report;
use super::input::{Rules, State, live, only_namespace, policies, standard_input_once, state};
use super::{Outcome, Output};
use crate::cluster::documents::documents;
use crate::cluster::files::{Manifests, Source, with_workloads};
use crate::cluster::inventory::versions;
use crate::cluster::record::WorkloadRecord;
use crate::domain::policy::Policy;

mod ci;
mod judge;
mod lint;
mod report;
mod text;

/// Tell whether a change would be admitted, from manifests or from the cluster as it is.
///
/// Exit code 0: it is allowed, if need be one move after the other. 1: it is refused. 2: that could not be told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    rules: Rules,

    /// The state before: manifests, or what `kubectl get deployments,replicasets -o yaml` printed. /dev/null stands
    /// for a first install.
    #[arg(long, value_name = "PATH", required_unless_present = "live", conflicts_with = "live")]
    before: Option<Source>,

    /// Take the state before from the cluster that the kubeconfig names.
    #[arg(long)]
    live: bool,

    /// The state after: the manifests that are to be applied.
    #[arg(long, value_name = "PATH")]
    after: Source,

    /// The namespace of manifests that name none.
    #[arg(short, long)]
    namespace: Option<String>,

    /// Judge each move against the state before only, as if all were asked for in the same moment.
    #[arg(long)]
    at_once: bool,

    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Also tell the versions of all components and how each was known.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// `JUnit` XML, for test reports of CI.
    Junit,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let inputs = [Some(&args.after), args.before.as_ref()].into_iter().flatten();
    standard_input_once(inputs.chain(&args.rules.policy).chain(&args.rules.release))?;
    let (report, places) = judge(args)?;
    match args.output {
        Format::Text => text::print(&report, args.verbose, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Sarif => writeln!(out, "{:#}", ci::sarif(&report, &places))?,
        Format::Junit => out.write_all(ci::junit(&report, &places).as_bytes())?,
    }
    Ok(if report.allowed { Outcome::Done } else { Outcome::Refused })
}

/// The answer, and where the workloads that it speaks of stand.
fn judge(args: &Args) -> anyhow::Result<(Report, ci::Places)> {
    let cluster = args.live.then(live::Cluster::connect).transpose()?;
    let mut notes = Vec::new();
    let policies = policies::load(&args.rules, cluster.as_ref(), &mut notes)?.policies;
    let namespace = args.namespace.as_deref().or_else(|| only_namespace(&policies));
    let documents = documents(std::slice::from_ref(&args.after));
    let objects: Vec<_> = documents.iter().filter_map(|document| document.as_ref().ok().cloned()).collect();
    let after = Manifests::of(documents, namespace)?;
    let places = lint::places(objects.iter(), namespace);
    let hooks = lint(objects.iter(), namespace, governed(&policies, &after));
    if !hooks.taken_as_there.is_empty() {
        notes.push(taken_as_there(&hooks));
    }
    if after.workloads() == 0 && !hooks.findings.is_empty() {
        return Ok((Report::of_hooks(hooks, notes), places));
    }
    if after.workloads() == 0 {
        bail!("{} holds no workload: there is nothing to judge", args.after);
    }
    let mut given = after.policies.len() + after.releases.len();
    let before: State = match (&cluster, &args.before) {
        (Some(cluster), _) => {
            let governed = policies.iter().flat_map(|policy| &policy.namespaces);
            let wanted = with_workloads(&after).into_iter().chain(args.namespace.as_deref());
            let wanted: BTreeSet<&str> = wanted.collect();
            let mut installs = cluster.installs(governed.map(String::as_str).filter(|name| wanted.contains(name)))?;
            cluster.add_crds(&mut installs, &policies, &mut notes)?;
            installs
        }
        (None, Some(source)) => {
            let before = Manifests::load(std::slice::from_ref(source), namespace)?;
            given += before.policies.len() + before.releases.len();
            state(before)
        }
        (None, None) => bail!("nothing says what the state before is: give --before or --live"),
    };
    if given > 0 {
        let note =
            "policies and releases in --before and --after are not looked at: give them with --policy or --release";
        notes.push(note.to_owned());
    }
    let now = Timestamp::now();
    let mut report = report::report(&policies, &before, &state(after), notes, |policy, before, after| {
        judge::judge(policy, before, after, now, args.at_once)
    })?;
    report.allowed &= !hooks.refuses();
    report.hooks = hooks.findings;
    Ok((report, places))
}

/// Whether a workload of `after`, by namespace, kind and name, is a component of a policy.
fn governed(policies: &[Policy], after: &Manifests) -> impl Fn(&str, &str, &str) -> bool {
    let mut found = BTreeSet::new();
    for (namespace, install) in &after.namespaces {
        let governing: Vec<&Policy> = policies.iter().filter(|policy| policy.namespaces.contains(namespace)).collect();
        let is_component = |record: &&WorkloadRecord| {
            let of = |policy: &&Policy| !versions(policy, &record.name, &record.labels, &record.template).is_empty();
            governing.iter().any(of)
        };
        let components = install.inventory.workloads().filter(is_component);
        found.extend(components.map(|record| (namespace.clone(), record.id().kind, record.name.clone())));
    }
    move |namespace, kind, name| found.contains(&(namespace.to_owned(), kind.to_owned(), name.to_owned()))
}

fn taken_as_there(hooks: &Lint) -> String {
    let names: Vec<&str> = hooks.taken_as_there.iter().map(String::as_str).collect();
    let names = names.join(", ");
    format!("what hook Jobs need and the manifests do not hold is taken to be in the cluster already: {names}")
}
