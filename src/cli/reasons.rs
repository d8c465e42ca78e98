//! The reasons of a decision, as data and as a person reads them.

use std::io::{self, Write};

use serde::Serialize;

use super::Output;
use super::output::{COLUMNS, wrap};
use crate::domain::decision::Reason;

/// One reason of a rule.
#[derive(Debug, Serialize)]
pub(super) struct ReasonReport {
    pub(super) code: &'static str,
    pub(super) verdict: &'static str,
    pub(super) mode: &'static str,
    pub(super) component: String,
    pub(super) what: String,
    pub(super) facts: String,
    pub(super) remedy: String,
    /// All of it on one line, as the guard says it.
    pub(super) text: String,
}

/// The reasons as data.
pub(super) fn reasons(reasons: &[Reason]) -> Vec<ReasonReport> {
    let told = |reason: &Reason| ReasonReport {
        code: reason.rule.row().code,
        verdict: reason.verdict.as_str(),
        mode: reason.mode.as_str(),
        component: reason.component.clone(),
        what: reason.what.clone(),
        facts: reason.facts.clone(),
        remedy: reason.remedy.clone(),
        text: reason.to_string(),
    };
    reasons.iter().map(told).collect()
}

/// Prints a reason and its remedy, `indent` characters from the edge.
pub(super) fn print_reason(reason: &ReasonReport, prefix: &str, indent: usize, out: &mut Output<'_>) -> io::Result<()> {
    let text = format!("[{}] {}: {}", reason.code, reason.what, reason.facts);
    let prefix_width = if prefix.is_empty() { 0 } else { "warning ".len() };
    for (number, line) in wrap(&text, COLUMNS - indent - prefix_width).into_iter().enumerate() {
        writeln!(out, "{:indent$}{}{line}", "", if number == 0 { prefix } else { "" })?;
    }
    if !reason.remedy.is_empty() {
        paragraph(&format!("-> {}", reason.remedy), indent, out)?;
    }
    Ok(())
}

/// Prints a reason without its remedy, `indent` characters from the edge.
pub(super) fn print_said(reason: &ReasonReport, indent: usize, out: &mut Output<'_>) -> io::Result<()> {
    paragraph(&format!("[{}] {}: {}", reason.code, reason.what, reason.facts), indent, out)
}

/// `1 step`, `2 steps`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints `text` wrapped, `indent` characters from the edge.
pub(super) fn paragraph(text: &str, indent: usize, out: &mut Output<'_>) -> io::Result<()> {
    for line in wrap(text, COLUMNS - indent) {
        writeln!(out, "{:indent$}{line}", "")?;
    }
    Ok(())
}
