//! `upgrade-guard crds diff`: what would CRDs change, and is that safe?

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use kube::ResourceExt as _;
use serde::Serialize;

use super::checks::severity;
use crate::api::UpgradePolicy;
use crate::cli::input::{live, standard_input_once};
use crate::cli::output::{COLUMNS, wrap};
use crate::cli::{Outcome, Output};
use crate::cluster::files::{Manifests, Source};
use crate::crds::check::{Difference, Severities, Severity};
use crate::crds::compare::compare;
use crate::crds::content;

/// Tell what CRDs would change where others are installed, and what of that is unsafe.
///
/// Exit code 0: nothing is unsafe. 1: a check says so. 2: that could not be told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The wanted CRDs: files, folders or '-' for standard input.
    #[arg(value_name = "WANTED", required = true)]
    wanted: Vec<Source>,

    /// The installed CRDs, for example what `kubectl get crds -o yaml` printed. Without this, those of the cluster
    /// that the kubeconfig names.
    #[arg(long, value_name = "PATH")]
    installed: Vec<Source>,

    /// The policy that says how strictly each check is taken; the only one of the cluster where the cluster is asked.
    #[arg(long, value_name = "PATH")]
    policy: Option<Source>,

    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Whether no difference is an `Error`.
    safe: bool,
    crds: Vec<CrdReport>,
    /// What else a reader should know.
    notes: Vec<String>,
}

/// The answer for one CRD.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CrdReport {
    name: String,
    state: State,
    /// The digest of the wanted one.
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_content: Option<String>,
    differences: Vec<Difference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    New,
    Same,
    Changed,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    standard_input_once(args.wanted.iter().chain(&args.installed).chain(&args.policy))?;
    let report = report(args)?;
    match args.output {
        Format::Text => print(&report, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(if report.safe { Outcome::Done } else { Outcome::Refused })
}

fn report(args: &Args) -> anyhow::Result<Report> {
    let wanted = super::wanted(&args.wanted)?;
    let installed = super::read(&args.installed)?;
    let cluster = args.installed.is_empty().then(live::Cluster::connect).transpose();
    let cluster = cluster.context("without --installed the cluster is asked")?;
    let mut notes = Vec::new();
    let severities = severities(args, cluster.as_ref(), &mut notes)?;
    let mut crds = Vec::new();
    for found in &wanted {
        let (name, wanted) = (found.object.name_any(), &found.object);
        let installed = match &cluster {
            Some(cluster) => cluster.definition(&name)?,
            None => installed.iter().find(|found| found.object.name_any() == name).map(|found| found.object.clone()),
        };
        let (state, differences) = match &installed {
            None => (State::New, vec![]),
            Some(installed) if content::is_installed(wanted, installed) => (State::Same, vec![]),
            Some(installed) => (State::Changed, compare(installed, wanted, &severities)),
        };
        let (content, installed_content) = (content::digest(wanted), installed.as_ref().map(content::digest));
        crds.push(CrdReport { name, state, content, installed_content, differences });
    }
    let refused = |crd: &CrdReport| crd.differences.iter().any(|found| found.severity == Severity::Error);
    Ok(Report { safe: !crds.iter().any(refused), crds, notes })
}

/// How strictly each check is taken, as the policy says that is given or that the cluster has.
fn severities(args: &Args, cluster: Option<&live::Cluster>, notes: &mut Vec<String>) -> anyhow::Result<Severities> {
    let policies = match (&args.policy, cluster) {
        (Some(source), _) => {
            let given = Manifests::load(std::slice::from_ref(source), Some("default"))?.policies;
            if given.len() != 1 {
                bail!("{source} holds {} UpgradePolicies: give the one whose checks are meant", given.len());
            }
            given.into_iter().map(|found| found.object).collect()
        }
        (None, Some(cluster)) => cluster.policies()?,
        (None, None) => vec![],
    };
    match policies.as_slice() {
        [] => Ok(Severities::default()),
        [policy] => of_policy(policy),
        several => {
            let names: Vec<String> = several.iter().map(UpgradePolicy::name_any).collect();
            let note =
                "the cluster has several policies, so every check is taken as by default: give one with --policy";
            notes.push(format!("{note} ({})", names.join(", ")));
            Ok(Severities::default())
        }
    }
}

fn of_policy(policy: &UpgradePolicy) -> anyhow::Result<Severities> {
    let read = Severities::read(&policy.spec.crd_checks);
    read.or_else(|unknown| {
        let fields: Vec<String> = unknown.iter().map(|name| format!("spec.crdChecks.{name}")).collect();
        let (name, fields) = (policy.name_any(), fields.join(", "));
        bail!("UpgradePolicy {name}: {fields}: is no check of CRDs; 'upgrade-guard crds checks' lists them")
    })
}

fn print(report: &Report, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    for crd in &report.crds {
        let count = |severity| crd.differences.iter().filter(|found| found.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warn));
        let verdict = match crd.state {
            State::New => paint.good("not installed yet"),
            State::Same => paint.good("as installed"),
            State::Changed if errors > 0 => paint.bad(&format!("changes, {errors} unsafe")),
            State::Changed if warnings > 0 => paint.caution("changes, nothing unsafe, but see"),
            State::Changed => paint.good("changes, nothing unsafe"),
        };
        writeln!(out, "{}: {verdict}", paint.strong(&crd.name))?;
        for found in &crd.differences {
            print_difference(found, out)?;
        }
    }
    for note in &report.notes {
        for (number, line) in wrap(note, COLUMNS - 6).into_iter().enumerate() {
            writeln!(out, "{}{line}", if number == 0 { "note: " } else { "      " })?;
        }
    }
    if !report.safe {
        writeln!(out, "\nA check is set by its name, in brackets, in spec.crdChecks of the policy.")?;
    }
    Ok(())
}

fn print_difference(found: &Difference, out: &mut Output<'_>) -> io::Result<()> {
    let label = format!("{:5}", severity(found.severity));
    let label = if found.severity == Severity::Error { out.paint.bad(&label) } else { out.paint.caution(&label) };
    for (number, line) in wrap(&format!("{found} [{}]", found.check), COLUMNS - 9).into_iter().enumerate() {
        if number == 0 {
            writeln!(out, "  {label}  {line}")?;
        } else {
            writeln!(out, "{:9}{line}", "")?;
        }
    }
    Ok(())
}
