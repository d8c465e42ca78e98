//! `upgrade-guard plan`: which steps lead to a target?

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use anyhow::bail;
use jiff::Timestamp;

use self::report::{InstallReport, Report};
use self::target::{Asked, Target};
use super::input::policies::Loaded;
use super::input::{self, Rules, State, live, only_namespace, policies, standard_input_once};
use super::{Outcome, Output};
use crate::cluster::files::{Install, Manifests, Source};
use crate::cluster::inventory::versions;
use crate::domain::ahead::ahead;
use crate::domain::change::Capacity;
use crate::domain::policy::{ComponentId, Policy};
use crate::domain::route::{Question, Step, route};
use crate::domain::view::WorkloadId;

mod mermaid;
mod report;
pub(super) mod target;
mod text;

/// Tell the ordered legal steps from the state of a platform to a target, up or back.
///
/// Exit code 0: there is a plan, or nothing to do. 1: there is no legal way. 2: that could not be told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    rules: Rules,

    /// The state it starts from: manifests, or what `kubectl get deployments,replicasets -o yaml` printed.
    #[arg(long, value_name = "PATH", required_unless_present = "live", conflicts_with = "live")]
    from: Option<Source>,

    /// Start from the cluster that the kubeconfig names.
    #[arg(long)]
    live: bool,

    /// Plan for this namespace only; it is also the namespace of manifests that name none.
    #[arg(short, long)]
    namespace: Option<String>,

    /// Where to go: a release (`2026.07`), COMPONENT=VERSION, or a version for all components of its major (`2.4.0`).
    /// COMPONENT=VERSION beside one of the others is an exception from it.
    #[arg(long, value_name = "TARGET", num_args = 1.., required_unless_present = "to_manifests")]
    to: Vec<Target>,

    /// Where to go: the versions that these manifests ask for.
    #[arg(long, value_name = "PATH")]
    to_manifests: Option<Source>,

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
    /// A flowchart.
    Mermaid,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let inputs = [args.from.as_ref(), args.to_manifests.as_ref()].into_iter().flatten();
    standard_input_once(inputs.chain(&args.rules.policy).chain(&args.rules.release))?;
    let report = planned(args)?;
    match args.output {
        Format::Text => text::print(&report, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Mermaid => mermaid::print(&report, out)?,
    }
    if report.found {
        return Ok(Outcome::Done);
    }
    // One install without any way is an answer; a search that gave up is none.
    match report.installs.iter().find(|install| !install.found && !install.exhaustive) {
        Some(install) => bail!("no way was found within {} states, and there are more", install.states),
        None => Ok(Outcome::Refused),
    }
}

fn planned(args: &Args) -> anyhow::Result<Report> {
    let cluster = args.live.then(live::Cluster::connect).transpose()?;
    let mut notes = Vec::new();
    let Loaded { policies, releases } = policies::load(&args.rules, cluster.as_ref(), &mut notes)?;
    let namespace = args.namespace.as_deref().or_else(|| only_namespace(&policies));
    let state = start(args, cluster.as_ref(), &policies, namespace, &mut notes)?;
    let wanted: State = match &args.to_manifests {
        Some(source) => input::state(Manifests::load(std::slice::from_ref(source), namespace)?),
        None => State::new(),
    };
    let mut report = Report { found: true, installs: vec![], notes };
    let mut problems = Vec::new();
    for (policy, name, install) in installs(&policies, &state, args.namespace.as_deref()) {
        let asked = Asked { texts: &args.to, manifests: wanted.get(name), releases: &releases };
        match planned_for(policy, install, &asked, &mut report.notes) {
            Ok(mut planned) => {
                name.clone_into(&mut planned.namespace);
                report.found &= planned.found;
                report.installs.push(planned);
            }
            Err(problem) => problems.push(format!("{name}, policy {}: {problem}", policy.name)),
        }
    }
    if report.installs.is_empty() {
        if problems.is_empty() {
            let governed: BTreeSet<&str> =
                policies.iter().flat_map(|policy| &policy.namespaces).map(String::as_str).collect();
            let governed: Vec<&str> = governed.into_iter().collect();
            bail!("there is no workload to start from. The governed namespaces are: {}", governed.join(", "));
        }
        bail!("{}", problems.join("\n"));
    }
    report.notes.append(&mut problems);
    Ok(report)
}

fn start(
    args: &Args,
    cluster: Option<&live::Cluster>,
    policies: &[Policy],
    namespace: Option<&str>,
    notes: &mut Vec<String>,
) -> anyhow::Result<State> {
    match (cluster, &args.from) {
        (Some(cluster), _) => {
            let governed: BTreeSet<&str> =
                policies.iter().flat_map(|policy| &policy.namespaces).map(String::as_str).collect();
            let asked = |name: &&str| args.namespace.as_deref().is_none_or(|only| only == *name);
            let mut installs = cluster.installs(governed.into_iter().filter(asked))?;
            cluster.add_crds(&mut installs, policies, notes)?;
            Ok(installs)
        }
        (None, Some(source)) => Ok(input::state(Manifests::load(std::slice::from_ref(source), namespace)?)),
        (None, None) => bail!("nothing says where it starts: give --from or --live"),
    }
}

/// Every namespace with workloads, by every policy that governs it.
fn installs<'a>(
    policies: &'a [Policy],
    state: &'a State,
    only: Option<&'a str>,
) -> impl Iterator<Item = (&'a Policy, &'a str, &'a Install)> {
    let named = move |name: &str| only.is_none_or(|only| only == name);
    let there =
        state.iter().filter(move |(name, install)| named(name) && install.inventory.workloads().next().is_some());
    there.flat_map(move |(name, install)| {
        let governing = policies.iter().filter(move |policy| policy.namespaces.contains(name));
        governing.map(move |policy| (policy, name.as_str(), install))
    })
}

/// Plans for one policy in one namespace.
fn planned_for(
    policy: &Policy,
    install: &Install,
    asked: &Asked<'_>,
    notes: &mut Vec<String>,
) -> Result<InstallReport, String> {
    let now = Timestamp::now();
    let view = install.inventory.view(policy, now);
    let targets = asked.versions(policy, &view)?;
    for (id, version) in &targets {
        if view.component(*id).workloads.is_empty() {
            let name = &policy.component(*id).name;
            notes.push(format!("{name} has no workload: nothing there moves to {version}"));
        }
    }
    for id in policy.ids().filter(|id| !targets.contains_key(id)) {
        let mut unread = view.component(id).workloads.iter().flat_map(|workload| &workload.desired);
        if let Some(version) = unread.find(|version| version.known().is_none()) {
            let name = &policy.component(id).name;
            notes.push(format!(
                "{name} asks for '{version}', which names no version: say where to go with {name}=VERSION"
            ));
        }
    }
    let capacities = &capacities(policy, install);
    input::note(notes, input::unseen(policy, &view));
    // What has to be done ahead of it stands in no step's way: it is told before the step.
    let (free, prepared) = (policy.without_demands(), view.prepared());
    let question = Question { policy: &free, view: &prepared, targets: &targets, capacities, now };
    let route = route(&question);
    let steps: Vec<Step> = route.first.iter().chain(&route.steps).cloned().collect();
    let mut report = InstallReport::of(policy, &targets, &route, &ahead(policy, &view, &steps, now));
    report.database = input::database(&view, now);
    Ok(report)
}

fn capacities(policy: &Policy, install: &Install) -> BTreeMap<(ComponentId, WorkloadId), Capacity> {
    let inventory = &install.inventory;
    let mut all = BTreeMap::new();
    for record in inventory.workloads() {
        for (id, _) in versions(policy, &record.name, &record.labels, &record.template) {
            all.insert((id, record.id()), inventory.capacity(policy, record, id, false));
        }
    }
    all
}
