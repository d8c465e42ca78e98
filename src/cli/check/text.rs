//! The answer as a person reads it.

use std::io::{self, Write};

use super::lint::{Finding, Severity};
use super::report::{AllAtOnce, ChangeReport, InstallReport, MoveReport, Report};
use crate::cli::reasons::{counted, paragraph, print_reason, print_said};
use crate::cli::{Output, Paint};
use crate::domain::decision::Verdict;
use crate::domain::policy::OnNotYet;

/// Where what is said of a workload begins.
const INDENT: usize = 11;

/// Prints `report`; with `verbose` also versions and how they were known.
pub(super) fn print(report: &Report, verbose: bool, out: &mut Output<'_>) -> io::Result<()> {
    for (number, install) in report.installs.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        print_install(install, verbose, out)?;
    }
    if !report.not_governed.is_empty() {
        writeln!(out)?;
        for namespace in &report.not_governed {
            writeln!(out, "no policy governs namespace {namespace}: everything is allowed there")?;
        }
    }
    print_hooks(&report.hooks, !report.installs.is_empty(), out)?;
    if !report.notes.is_empty() {
        writeln!(out)?;
    }
    for note in &report.notes {
        paragraph(&format!("note: {note}"), 0, out)?;
    }
    Ok(())
}

/// What engines would make of the hooks.
fn print_hooks(findings: &[Finding], apart: bool, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    if findings.is_empty() {
        return Ok(());
    }
    if apart {
        writeln!(out)?;
    }
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let answer = if refused { paint.bad("refused") } else { paint.caution("allowed, with warnings") };
    writeln!(out, "{}: {answer}", paint.strong("hooks"))?;
    for finding in findings {
        let label = match finding.severity {
            Severity::Error => paint.bad("refused"),
            Severity::Warning => paint.caution("warning"),
        };
        writeln!(out)?;
        writeln!(out, "  {label}  {}", finding.object)?;
        paragraph(&format!("in {}", finding.origin.text), INDENT, out)?;
        paragraph(&format!("[{}] {}", finding.code, finding.message), INDENT, out)?;
        paragraph(&format!("-> {}", finding.remedy), INDENT, out)?;
    }
    Ok(())
}

fn print_install(install: &InstallReport, verbose: bool, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    let has_steps = install.changes.iter().any(|change| change.step.is_some());
    let waits = install.all_at_once.as_ref().is_some_and(|foretold| !foretold.is_admitted());
    // Where nothing has to wait for anything, no order is worth telling.
    let in_order = has_steps && (waits || !install.allowed);
    let answer = match (install.allowed, install.changes.is_empty()) {
        (_, true) => paint.good("nothing changes"),
        (true, _) if in_order => paint.good("allowed, in this order"),
        (true, _) => paint.good("allowed"),
        (false, _) => paint.bad("refused"),
    };
    writeln!(out, "{}, policy {}: {answer}", paint.strong(&install.namespace), install.policy)?;
    install.database.as_ref().map_or(Ok(()), |database| paragraph(&format!("database {database}"), 2, out))?;
    print_ahead(install, out)?;
    if !install.changes.is_empty() {
        writeln!(out)?;
    }
    let width = install.changes.iter().map(|change| change.workload.len()).max().unwrap_or_default();
    let last_step = install.changes.iter().filter_map(|change| change.step).max();
    for change in &install.changes {
        print_change(change, width, last_step.filter(|_| in_order), verbose, out)?;
    }
    if in_order && install.allowed {
        writeln!(out)?;
        paragraph("Let each rollout complete before the next step.", 2, out)?;
    }
    if let Some(all_at_once) = &install.all_at_once {
        print_all_at_once(all_at_once, install.on_not_yet, out)?;
    }
    if !install.exhaustive {
        paragraph("Not every order was tried: there are too many.", 2, out)?;
    }
    print_rest(install, verbose, out)
}

/// What the hook has to do before everything else.
fn print_ahead(install: &InstallReport, out: &mut Output<'_>) -> io::Result<()> {
    if install.ahead.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let label = out.paint.caution("before ");
    writeln!(out, "  {label}  run the hook (upgrade-guard presync); without it, now:")?;
    for reason in &install.ahead {
        print_said(reason, INDENT, out)?;
    }
    Ok(())
}

/// What is not a change that is judged: removals, what stays, what is nobody's.
fn print_rest(install: &InstallReport, verbose: bool, out: &mut Output<'_>) -> io::Result<()> {
    let unchanged = install.unchanged.len();
    if !install.removed.is_empty() || unchanged > 0 || (verbose && install.not_governed > 0) {
        writeln!(out)?;
    }
    for removed in &install.removed {
        writeln!(out, "  removed    {removed}: a removal is never refused")?;
    }
    if verbose {
        let width = install.unchanged.iter().map(|change| change.workload.len()).max().unwrap_or_default();
        for change in &install.unchanged {
            let versions: Vec<String> =
                change.moves.iter().map(|one| format!("{} {}", one.component, known(one))).collect();
            writeln!(out, "  unchanged  {:width$}  {}", change.workload, versions.join(", "))?;
        }
        if install.not_governed > 0 {
            writeln!(out, "  not governed: {}", counted(install.not_governed, "workload"))?;
        }
    } else if unchanged > 0 {
        writeln!(out, "  unchanged  {}", counted(unchanged, "workload"))?;
    }
    Ok(())
}

fn print_change(
    change: &ChangeReport,
    width: usize,
    last_step: Option<usize>,
    verbose: bool,
    out: &mut Output<'_>,
) -> io::Result<()> {
    let paint = out.paint;
    let step = change.step.filter(|_| last_step.is_some());
    let (label, colour): (String, fn(Paint, &str) -> String) = match (step, change.verdict) {
        (Some(step), _) => (format!("step {step}"), Paint::good),
        (None, verdict) if verdict == Verdict::Allow.as_str() => ("allowed".to_owned(), Paint::good),
        (None, verdict) if verdict == Verdict::NotYet.as_str() => ("not yet".to_owned(), Paint::caution),
        (None, _) => ("never".to_owned(), Paint::bad),
    };
    let mut whats: Vec<String> = change.moves.iter().map(|one| moved(one, verbose)).collect();
    whats.extend(change.restarts.iter().map(|one| format!("{} restarts on '{}'", one.component, one.on)));
    whats.extend(change.replicas.map(|[from, to]| format!("{from} -> {to} replicas")));
    let label_width = INDENT - 4;
    for (number, what) in whats.iter().enumerate() {
        if number == 0 {
            let label = colour(paint, &format!("{label:label_width$}"));
            writeln!(out, "  {label}  {:width$}  {what}", change.workload)?;
        } else {
            writeln!(out, "{:1$}{what}", "", INDENT + width + 2)?;
        }
    }
    let refused = change.step.is_none() && !change.reasons.is_empty();
    if let (true, Some(step)) = (refused && change.before.is_some(), last_step) {
        paragraph(&format!("also after step {step}:"), INDENT, out)?;
    }
    for reason in &change.reasons {
        print_reason(reason, "", INDENT, out)?;
    }
    for warning in &change.warnings {
        print_reason(warning, &paint.caution("warning "), INDENT, out)?;
    }
    Ok(())
}

/// `api 2.2.0 -> 2.3.0`, with how the new version was known for those who ask.
fn moved(one: &MoveReport, verbose: bool) -> String {
    let to = if verbose { known(one) } else { one.to.clone() };
    match &one.from {
        Some(from) => format!("{} {from} -> {to}", one.component),
        None => format!("{} {to}, new", one.component),
    }
}

fn known(one: &MoveReport) -> String {
    match &one.known_by {
        Some(source) => format!("{} ({source})", one.to),
        None => format!("{} (no source tells a version)", one.to),
    }
}

fn print_all_at_once(foretold: &AllAtOnce, on_not_yet: OnNotYet, out: &mut Output<'_>) -> io::Result<()> {
    let AllAtOnce { refused_at_first, tries_all, stops_at_first, .. } = foretold;
    writeln!(out)?;
    let mode = match on_not_yet {
        OnNotYet::Deny => "Deny",
        OnNotYet::Hold => "Hold",
    };
    if foretold.is_admitted() {
        return paragraph(&format!("Applied all at once (onNotYet: {mode}), everything is admitted."), 2, out);
    }
    if on_not_yet == OnNotYet::Hold {
        return print_held(foretold, out);
    }
    let names = refused_at_first.join(", ");
    paragraph(&format!("Applied all at once (onNotYet: Deny), refused at first: {names}."), 2, out)?;
    let retried = match &tries_all.stuck_at {
        None => format!(
            "Argo CD retries and Helm can be run again: everything is in place after {}, if each rollout completes \
             before the next.",
            counted(tries_all.attempts, "attempt")
        ),
        Some(stuck) => format!("Argo CD and Helm never get past {stuck}: apply the steps one by one."),
    };
    paragraph(&retried, 2, out)?;
    let flux = match &stops_at_first.stuck_at {
        None => format!("A single Flux Kustomization gets there in {}.", counted(stops_at_first.attempts, "attempt")),
        Some(stuck) => format!(
            "A single Flux Kustomization stops at the first refusal in alphabetical order, {stuck}, for ever: split it \
             into several with dependsOn."
        ),
    };
    paragraph(&flux, 2, out)
}

/// What becomes of one apply under `onNotYet: Hold`.
fn print_held(foretold: &AllAtOnce, out: &mut Output<'_>) -> io::Result<()> {
    let AllAtOnce { refused_at_first: refused, held_at_first: held, tries_all, .. } = foretold;
    if !held.is_empty() {
        let end = match &tries_all.stuck_at {
            None if refused.is_empty() => "Each goes on by itself, in order, when it may: one apply is enough.",
            None => "Each goes on by itself, in order, when it may.",
            Some(_) => "What can goes on by itself, in order.",
        };
        let names = held.join(", ");
        paragraph(&format!("Applied all at once (onNotYet: Hold), held at first: {names}. {end}"), 2, out)?;
    }
    if !refused.is_empty() {
        let names = refused.join(", ");
        paragraph(
            &format!("Refused, because it cannot be held: {names}. Apply again when its turn has come."),
            2,
            out,
        )?;
    }
    match &tries_all.stuck_at {
        Some(_) => paragraph("What waits for that stays held until then.", 2, out),
        None => Ok(()),
    }
}
