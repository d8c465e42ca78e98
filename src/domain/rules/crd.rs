//! `UG-CRD`: the CRDs that the new version needs are established and carry the wanted content.
//!
//! The wanted content is what the releases on the new version's lines list, else what the hook recorded when it prepared
//! this version. That of a later release, or of a later run of the hook, serves as well: CRDs go ahead of the components.
//! On the way back only that they are there counts, because newer CRDs serve older versions.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::decision::{Case, Finding, Verdict};
use crate::domain::line::Release;
use crate::domain::preparation::{CrdState, Preparation};

/// More names than this are counted.
const MOST_NAMES: usize = 5;
const REMEDY: &str = "Run upgrade-guard presync (the hook Job), which applies them, then retry.";

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    // What nobody looked at is not judged.
    let Some(live) = &case.view.crds else { return vec![] };
    let mut faults: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in &case.policy.component(case.step.component).crds {
        if let Some(fault) = fault(case, live, name) {
            faults.entry(fault).or_default().push(name);
        }
    }
    // The law does not enforce it on a first install.
    let is_first = case.is_first_install();
    let told = faults.into_iter().map(|(facts, names)| {
        let crds = if names.len() == 1 { "CRD" } else { "CRDs" };
        if is_first {
            return Finding::new(Verdict::Allow, format!("needs {crds} {}", listed(&names)), facts, REMEDY);
        }
        Finding::new(Verdict::NotYet, format!("must wait for {crds} {}", listed(&names)), facts, REMEDY)
    });
    told.collect()
}

/// What is wrong with the CRD called `name`.
fn fault(case: &Case<'_>, live: &BTreeMap<String, CrdState>, name: &str) -> Option<String> {
    let Some(state) = live.get(name) else { return Some("not installed".to_owned()) };
    if !state.established {
        return Some("installed and not established".to_owned());
    }
    if matches!(case.direction(), Some(Ordering::Less | Ordering::Equal)) {
        return None;
    }
    let wanted = Wanted::of(case, name)?;
    (!wanted.contents.contains(state.content.as_str())).then_some(wanted.fault)
}

/// The contents that a CRD may have.
struct Wanted<'a> {
    contents: BTreeSet<&'a str>,
    /// What to say where it has none of them.
    fault: String,
}

impl<'a> Wanted<'a> {
    /// What is known of the contents that the CRD called `name` may have; `None` where any will do.
    fn of(case: &Case<'a>, name: &str) -> Option<Self> {
        let (on, above) = case.to.map(|span| case.policy.lines.on_and_above(span)).unwrap_or_default();
        let of_release = |release: &'a Release| release.crds.get(name)?.as_deref();
        let covers = |run: &Preparation| {
            run.covers(case.step.component, &case.step.to) && run.ended.is_some() && run.crds.contains_key(name)
        };
        let runs = case.view.preparations.as_deref().unwrap_or_default();
        let matched = runs.iter().position(covers);
        let fault = match (on.iter().rev().find(|release| of_release(release).is_some()), matched) {
            (Some(release), _) => format!("without the content of release {}", release.name),
            (None, Some(at)) => format!("changed since presync prepared {}", runs[at].target),
            (None, None) => return None,
        };
        let listed = on.iter().chain(above).filter_map(of_release);
        // Newest first: what comes before ran later.
        let later = matched.map_or(&[][..], |at| &runs[..=at]);
        let applied = later.iter().filter_map(|run| run.crds.get(name)).map(String::as_str);
        Some(Self { contents: listed.chain(applied).collect(), fault })
    }
}

fn listed(names: &[&str]) -> String {
    if names.len() <= MOST_NAMES {
        return names.join(", ");
    }
    let (shown, more) = names.split_at(MOST_NAMES);
    format!("{} and {} more", shown.join(", "), more.len())
}
