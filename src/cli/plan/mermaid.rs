//! The plan as a Mermaid flowchart.

use std::io::{self, Write};

use super::report::{InstallReport, Report, StepReport};
use crate::cli::Output;

pub(super) fn print(report: &Report, out: &mut Output<'_>) -> io::Result<()> {
    writeln!(out, "flowchart TD")?;
    for (number, install) in report.installs.iter().enumerate() {
        print_install(number, install, out)?;
    }
    if !report.found {
        writeln!(out, "  classDef blocked stroke:#c00,stroke-dasharray:4")?;
    }
    Ok(())
}

fn print_install(number: usize, install: &InstallReport, out: &mut Output<'_>) -> io::Result<()> {
    let prefix = format!("i{number}");
    let mut before = format!("{prefix}from");
    writeln!(out, "  {before}([\"{}, policy {}\"])", escaped(&install.namespace), escaped(&install.policy))?;
    let mut number = 0;
    for (position, step) in (1..).zip(&install.steps) {
        let node = format!("{prefix}s{position}");
        number += usize::from(!matches!(step, StepReport::Ahead(_)));
        match step {
            StepReport::Ahead(ahead) => {
                writeln!(out, "  {node}[/\"upgrade-guard presync<br/>{}\"/]", escaped(&ahead.target()))?;
            }
            StepReport::Wait { rollouts } => {
                let names = rollouts.iter().map(|one| escaped(one.workload.as_deref().unwrap_or(&one.component)));
                let names: Vec<String> = names.collect();
                writeln!(out, "  {node}[/\"{number}. wait for<br/>{}\"/]", names.join("<br/>"))?;
            }
            StepReport::Move(moved) => {
                let (component, from, to) = (escaped(&moved.component), escaped(&moved.from), escaped(&moved.to));
                writeln!(out, "  {node}[\"{number}. {component}<br/>{from} → {to}\"]")?;
            }
        }
        writeln!(out, "  {before} --> {node}")?;
        before = node;
    }
    if install.found {
        writeln!(out, "  {prefix}to([\"done\"])\n  {before} --> {prefix}to")?;
    }
    for (number, blocked) in (1..).zip(&install.blocked) {
        let codes: Vec<&str> = blocked.reasons.iter().map(|reason| reason.code).collect();
        let (component, from, to) = (escaped(&blocked.component), escaped(&blocked.from), escaped(&blocked.to));
        let node = format!("{prefix}b{number}");
        let text = format!("{component}<br/>{from} → {to}<br/>{}: {}", blocked.verdict, codes.join(", "));
        writeln!(out, "  {node}[\"{text}\"]:::blocked\n  {before} -.-x {node}")?;
    }
    Ok(())
}

/// Text inside of a quoted label: Mermaid's own escapes for what would end or change it.
fn escaped(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}
