//! What a check found, as data: the text and the JSON are made of this.

use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;

use super::lint::{Finding, Lint};
use crate::cli::input::{State, note};
use crate::cli::reasons::ReasonReport;
use crate::cluster::files::Install;
use crate::domain::change::Change;
use crate::domain::planner::{Engine, Prognosis, all_at_once};
use crate::domain::policy::{OnNotYet, Policy};
use crate::domain::view::View;

/// The answer to a check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether everything is allowed.
    pub(super) allowed: bool,
    /// One for each policy in each namespace.
    pub(super) installs: Vec<InstallReport>,
    /// Namespaces that no policy governs: everything is allowed there.
    pub(super) not_governed: Vec<String>,
    /// What engines would make of the hooks in the state after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hooks: Vec<Finding>,
    /// What else a reader should know.
    pub(super) notes: Vec<String>,
}

impl Report {
    /// The answer where there are hooks and no workload.
    pub(super) fn of_hooks(hooks: Lint, notes: Vec<String>) -> Self {
        let allowed = !hooks.refuses();
        Self { allowed, installs: vec![], not_governed: vec![], hooks: hooks.findings, notes }
    }
}

/// The answer for one policy in one namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstallReport {
    pub(super) namespace: String,
    pub(super) policy: String,
    pub(super) on_not_yet: OnNotYet,
    pub(super) allowed: bool,
    /// At which revision the database is, and how old that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
    /// What the hook has to do before all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ahead: Vec<ReasonReport>,
    /// What is not judged because nothing is known of it: notes of the whole report.
    #[serde(skip)]
    pub(super) unseen: Vec<String>,
    /// The steps in their order, then what is refused, the worst first.
    pub(super) changes: Vec<ChangeReport>,
    /// Whether every order was tried; `false` only for a very large set that is refused.
    pub(super) exhaustive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) all_at_once: Option<AllAtOnce>,
    /// Governed workloads that stay as they are.
    pub(super) unchanged: Vec<ChangeReport>,
    /// Governed workloads that are not there any more.
    pub(super) removed: Vec<String>,
    /// How many workloads are no component of the policy.
    pub(super) not_governed: usize,
}

impl InstallReport {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            namespace: String::new(),
            policy: policy.name.clone(),
            on_not_yet: policy.on_not_yet,
            allowed: true,
            database: None,
            ahead: vec![],
            unseen: vec![],
            changes: vec![],
            exhaustive: true,
            all_at_once: None,
            unchanged: vec![],
            removed: vec![],
            not_governed: 0,
        }
    }
}

/// One workload's change and the verdict.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeReport {
    pub(super) workload: String,
    /// Its place in the order, from 1; nothing for what is refused, and where each change is judged alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<usize>,
    pub(super) verdict: &'static str,
    pub(super) moves: Vec<MoveReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) restarts: Vec<RestartReport>,
    /// Pods asked for before and after, where that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas: Option<[u32; 2]>,
    /// Why it is refused, after all steps that are possible.
    pub(super) reasons: Vec<ReasonReport>,
    /// Why it is refused in the state before all steps, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Vec<ReasonReport>>,
    pub(super) warnings: Vec<ReasonReport>,
    pub(super) audits: Vec<ReasonReport>,
}

/// One component's move.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MoveReport {
    pub(super) component: String,
    pub(super) from: Option<String>,
    pub(super) to: String,
    /// Where the new version was read; nothing when no source knew it.
    pub(super) known_by: Option<String>,
}

/// A restart on an image whose version cannot be told.
#[derive(Debug, Serialize)]
pub(super) struct RestartReport {
    pub(super) component: String,
    pub(super) on: String,
}

/// What happens when an engine applies the whole change at once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AllAtOnce {
    /// Workloads that are refused in the first attempt.
    pub(super) refused_at_first: Vec<String>,
    /// Workloads whose rollout is held at first, and goes on by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) held_at_first: Vec<String>,
    /// Argo CD, which retries, and Helm, run again: every object is tried each time.
    pub(super) tries_all: Foretold,
    /// A single Flux Kustomization: it stops at the first refusal.
    pub(super) stops_at_first: Foretold,
}

impl AllAtOnce {
    /// Whether nothing has to wait.
    pub(super) fn is_admitted(&self) -> bool {
        self.refused_at_first.is_empty() && self.held_at_first.is_empty()
    }
}

/// What an engine ends up with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Foretold {
    /// Attempts that admit something.
    pub(super) attempts: usize,
    /// The workload at which it stops for ever, if it does.
    pub(super) stuck_at: Option<String>,
}

/// Foretells what engines make of `changes`; nothing for fewer than two.
pub(super) fn ran_at_once(policy: &Policy, view: &View, changes: &[Change], now: Timestamp) -> Option<AllAtOnce> {
    if changes.len() < 2 {
        return None;
    }
    let name = |index: usize| changes[index].workload.to_string();
    let foretold =
        |prognosis: &Prognosis| Foretold { attempts: prognosis.rounds.len(), stuck_at: prognosis.stuck_at.map(name) };
    let holds = policy.on_not_yet == OnNotYet::Hold;
    // Under Hold no engine has to try again, and none stops.
    let engines = if holds { [Engine::Holds; 2] } else { [Engine::TriesAll, Engine::StopsAtFirst] };
    let [all, stops] = engines.map(|engine| all_at_once(policy, view, changes, now, engine));
    let first = all.rounds.first();
    let waits = (0..changes.len()).filter(|index| first.is_none_or(|round| !round.contains(index)));
    let (held, refused): (Vec<usize>, Vec<usize>) = waits.partition(|index| holds && !all.refused.contains(index));
    Some(AllAtOnce {
        refused_at_first: refused.into_iter().map(name).collect(),
        held_at_first: held.into_iter().map(name).collect(),
        tries_all: foretold(&all),
        stops_at_first: foretold(&stops),
    })
}

/// Judges every namespace by every policy that governs it.
///
/// # Errors
/// When no policy governs any namespace that the change has workloads in: then the question makes no sense.
pub(super) fn report(
    policies: &[Policy],
    before: &State,
    after: &State,
    notes: Vec<String>,
    judge: impl Fn(&Policy, &Install, &Install) -> InstallReport,
) -> anyhow::Result<Report> {
    let has_workloads = |install: &&Install| install.inventory.workloads().next().is_some();
    let mut namespaces: Vec<&String> = before.keys().chain(after.keys()).collect();
    namespaces.sort();
    namespaces.dedup();
    let nothing = Install::default();
    let mut report = Report { allowed: true, installs: vec![], not_governed: vec![], hooks: vec![], notes };
    for namespace in namespaces {
        let (old, new) = (before.get(namespace), after.get(namespace));
        if [old, new].into_iter().flatten().filter(has_workloads).count() == 0 {
            continue;
        }
        let mut governed = policies.iter().filter(|policy| policy.namespaces.contains(namespace)).peekable();
        if governed.peek().is_none() {
            report.not_governed.push(namespace.clone());
        }
        for policy in governed {
            let mut install = judge(policy, old.unwrap_or(&nothing), new.unwrap_or(&nothing));
            install.namespace.clone_from(namespace);
            report.allowed &= install.allowed;
            note(&mut report.notes, std::mem::take(&mut install.unseen));
            report.installs.push(install);
        }
    }
    if !report.installs.iter().any(|install| after.get(&install.namespace).is_some_and(|new| has_workloads(&new))) {
        let of = |policy: &Policy| policy.namespaces.iter().cloned().collect::<Vec<_>>().join(", ");
        let governed: Vec<String> = policies.iter().map(|policy| format!("{} ({})", policy.name, of(policy))).collect();
        bail!(
            "no policy governs {}. The policies and their namespaces are: {}",
            report.not_governed.join(", "),
            governed.join("; ")
        );
    }
    Ok(report)
}
