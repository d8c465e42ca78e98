//! The plan as a person reads it.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::report::{AheadReport, BlockedReport, InstallReport, MoveReport, Report, StepReport, WaitReport};
use crate::cli::Output;
use crate::cli::reasons::{counted, paragraph, print_reason, print_said};
use crate::domain::decision::Verdict;

/// Where what is said of a step begins.
const INDENT: usize = 11;

pub(super) fn print(report: &Report, out: &mut Output<'_>) -> io::Result<()> {
    for (number, install) in report.installs.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        print_install(install, out)?;
    }
    if !report.notes.is_empty() {
        writeln!(out)?;
    }
    for note in &report.notes {
        paragraph(&format!("note: {note}"), 0, out)?;
    }
    Ok(())
}

fn print_install(install: &InstallReport, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    let answer = match (install.found, install.counted()) {
        (true, 0) => paint.good("nothing to do, everything is at its target"),
        (true, steps) => paint.good(&counted(steps, "step")),
        (false, _) if install.exhaustive => paint.bad("no legal way"),
        (false, _) => paint.bad(&format!("no way found within {} states", install.states)),
    };
    writeln!(out, "{}, policy {}: {answer}", paint.strong(&install.namespace), install.policy)?;
    install.database.as_ref().map_or(Ok(()), |database| paragraph(&format!("database {database}"), 2, out))?;
    if !install.found && !install.steps.is_empty() {
        writeln!(out)?;
        paragraph("This is as far as it goes:", 2, out)?;
    }
    if !install.steps.is_empty() {
        writeln!(out)?;
    }
    print_steps(install, out)?;
    if !install.found {
        writeln!(out)?;
        paragraph(if install.steps.is_empty() { "In the way:" } else { "Then in the way:" }, 2, out)?;
        writeln!(out)?;
        for blocked in &install.blocked {
            print_blocked(blocked, out)?;
        }
    }
    print_rest(install, out)
}

fn print_steps(install: &InstallReport, out: &mut Output<'_>) -> io::Result<()> {
    let width = install.moves().map(|moved| moved.component.len()).max().unwrap_or_default();
    let versions = |moved: &MoveReport| moved.from.len() + moved.to.len();
    let versions_width = install.moves().map(versions).max().unwrap_or_default() + " -> ".len();
    let mut told = BTreeSet::new();
    let last = install.counted();
    let mut number = 0;
    for step in &install.steps {
        if let StepReport::Ahead(ahead) = step {
            print_ahead(ahead, out)?;
            continue;
        }
        number += 1;
        let label = out.paint.good(&format!("{:7}", format!("step {number}")));
        match step {
            StepReport::Ahead(_) => {}
            StepReport::Wait { rollouts } => {
                writeln!(out, "  {label}  wait until what has begun is complete")?;
                for rollout in rollouts {
                    print_wait(rollout, out)?;
                }
            }
            StepReport::Move(moved) => {
                let versions = format!("{} -> {}", moved.from, moved.to);
                let along = if moved.named { "" } else { ", not named" };
                writeln!(
                    out,
                    "  {label}  {:width$}  {versions:versions_width$}  {}{along}",
                    moved.component,
                    moved.workloads.join(", ")
                )?;
                for warning in &moved.warnings {
                    // The same one at every hop is told once.
                    if told.insert((warning.code, moved.component.clone(), warning.what.clone())) {
                        print_reason(warning, &out.paint.caution("warning "), INDENT, out)?;
                    }
                }
                if number < last {
                    paragraph("wait until its rollout is complete", INDENT, out)?;
                }
            }
        }
    }
    Ok(())
}

/// What has to be done before the steps that follow.
fn print_ahead(ahead: &AheadReport, out: &mut Output<'_>) -> io::Result<()> {
    let run = match &ahead.release {
        Some(release) => format!("run the hook: upgrade-guard presync --release {release}"),
        None => format!("run the hook: upgrade-guard presync, for {}", ahead.target()),
    };
    writeln!(out, "  {}  {run}", out.paint.caution("before "))?;
    for reason in &ahead.missing {
        print_said(reason, INDENT, out)?;
        // To run the hook is the step itself.
        if !reason.remedy.contains("upgrade-guard presync") {
            paragraph(&format!("-> {}", reason.remedy), INDENT, out)?;
        }
    }
    Ok(())
}

fn print_wait(rollout: &WaitReport, out: &mut Output<'_>) -> io::Result<()> {
    let of = rollout.workload.as_deref().unwrap_or("a change that no workload shows yet");
    let text = format!("{of}, {} to {}: {}", rollout.component, rollout.to.join(" and "), rollout.missing);
    paragraph(&text, INDENT, out)?;
    rollout.remedy.map_or(Ok(()), |remedy| paragraph(&format!("-> {remedy}"), INDENT, out))
}

fn print_blocked(blocked: &BlockedReport, out: &mut Output<'_>) -> io::Result<()> {
    let paint = out.paint;
    let label = if blocked.verdict == Verdict::Never.as_str() {
        paint.bad("never  ")
    } else if blocked.verdict == Verdict::NotYet.as_str() {
        paint.caution("not yet")
    } else {
        paint.good("allowed")
    };
    let along = if blocked.named { "" } else { ", not named" };
    writeln!(out, "  {label}  {} {} -> {}  {}{along}", blocked.component, blocked.from, blocked.to, blocked.workload)?;
    blocked.reasons.iter().try_for_each(|reason| print_reason(reason, "", INDENT, out))
}

/// What is to be known of the steps as a whole.
fn print_rest(install: &InstallReport, out: &mut Output<'_>) -> io::Result<()> {
    let along: BTreeSet<&str> =
        install.moves().filter(|moved| !moved.named).map(|moved| moved.component.as_str()).collect();
    let hops = install.moves().any(|moved| moved.named && moved.intermediate);
    if !along.is_empty() || hops {
        writeln!(out)?;
    }
    if !along.is_empty() {
        let names: Vec<&str> = along.into_iter().collect();
        let text = format!("Moves along although not named, so that the others can: {}.", names.join(", "));
        paragraph(&text, 2, out)?;
    }
    if hops {
        paragraph("A version on the way stands for its line: another patch of it does as well.", 2, out)?;
    }
    Ok(())
}
