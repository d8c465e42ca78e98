//! Where an upgrade stands, as a person reads it on one screen.

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::Stand;
use crate::api::{
    Direction, MigrationOutcome, Outcome, Platform, PlatformBlock, PlatformComponentStatus, PlatformDatabase,
    PlatformHistoryEntry, PlatformIntent, PlatformOverride, PlatformPreparation, PlatformStatus, PlatformWorkload,
    PreparationOutcome, RevisionSource,
};
use crate::cli::output::{COLUMNS, wrap};
use crate::cli::reasons::{counted, paragraph};
use crate::cli::{Output, Paint};
use crate::domain::decision::Verdict;
use crate::domain::text::tame;
use crate::domain::view::WorkloadId;

/// Where what is said of a thing begins.
const INDENT: usize = 13;
/// How wide the label before it is.
const LABEL: usize = INDENT - 4;
/// How much of the history is shown.
const MOST_HISTORY: usize = 5;
/// How many targets of the hook are shown.
const MOST_PREPARATIONS: usize = 3;

/// How a label is coloured.
type Colour = fn(Paint, &str) -> String;

/// Prints where each of `platforms` stands; ages are as of `now`.
///
/// # Errors
/// When `out` cannot be written to.
pub fn print(platforms: &[Platform], now: Timestamp, out: &mut Output<'_>) -> io::Result<()> {
    for (number, platform) in platforms.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        Screen { now, out }.platform(&without_controls(platform))?;
    }
    Ok(())
}

/// The object with all its texts on one line each: names, reasons and versions are anybody's.
fn without_controls(platform: &Platform) -> Platform {
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => *text = tame(text),
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(fields) => fields.values_mut().for_each(walk),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut value = serde_json::to_value(platform).unwrap_or_default();
    walk(&mut value);
    // What was read before can be read again: times and names have no control characters.
    serde_json::from_value(value).unwrap_or_else(|_| platform.clone())
}

struct Screen<'a, 'b> {
    now: Timestamp,
    out: &'a mut Output<'b>,
}

impl Screen<'_, '_> {
    fn platform(&mut self, platform: &Platform) -> io::Result<()> {
        let paint = self.out.paint;
        let stand = match Stand::of(platform) {
            Stand::Ready => paint.good("ready"),
            Stand::InProgress => paint.caution("in progress"),
            Stand::Stalled => paint.bad("stalled"),
            Stand::Broken => paint.bad("against the rules"),
            Stand::Unknown => paint.caution("not known yet"),
        };
        let nothing = PlatformStatus::default();
        let status = platform.status.as_ref().unwrap_or(&nothing);
        let release = status.release.as_ref().map(|release| format!(", release {release}")).unwrap_or_default();
        let namespace = paint.strong(platform.metadata.namespace.as_deref().unwrap_or_default());
        writeln!(self.out, "{namespace}, policy {}: {stand}{release}", platform.spec.policy)?;
        status.summary.as_ref().map_or(Ok(()), |summary| paragraph(summary, 2, self.out))?;
        self.components(&status.components)?;
        self.violations(status)?;
        self.blocked(&status.blocked)?;
        self.intents(&status.intents)?;
        self.next(status)?;
        self.database(status.database.as_deref())?;
        self.preparations(&status.preparations)?;
        self.history(&status.history)
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n  {text}")
    }

    /// A label and what it is of, wrapped.
    fn line(&mut self, colour: Colour, label: &str, rest: &str) -> io::Result<()> {
        let label = colour(self.out.paint, &format!("{label:LABEL$}"));
        let mut lines = wrap(rest, COLUMNS - INDENT).into_iter();
        writeln!(self.out, "  {label}  {}", lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| writeln!(self.out, "{:INDENT$}{line}", ""))
    }

    fn more(&mut self, text: &str) -> io::Result<()> {
        paragraph(text, INDENT, self.out)
    }

    fn components(&mut self, components: &[PlatformComponentStatus]) -> io::Result<()> {
        if !components.is_empty() {
            writeln!(self.out)?;
        }
        let widest = |of: fn(&PlatformComponentStatus) -> String| {
            components.iter().map(|component| of(component).chars().count()).max().unwrap_or_default()
        };
        let (name_width, running_width) = (widest(|component| component.name.clone()), widest(running));
        for component in components {
            let (colour, label): (Colour, _) = match (component.held, component.settled) {
                _ if component.workloads.is_empty() && component.running.is_empty() => (Paint::caution, "absent"),
                (true, _) => (Paint::caution, "held"),
                (false, true) => (Paint::good, "settled"),
                (false, false) => (Paint::caution, "rolling"),
            };
            let (name, running, asked_for) = (&component.name, running(component), asked_for(component));
            let row = format!("{name:name_width$}  {running:running_width$}  {asked_for}");
            if row.trim_end().chars().count() > COLUMNS - INDENT {
                self.line(colour, label, name)?;
                self.more(&format!("{running} {asked_for}"))?;
            } else {
                let label = colour(self.out.paint, &format!("{label:LABEL$}"));
                writeln!(self.out, "  {label}  {}", row.trim_end())?;
            }
            if let Some(waits_for) = &component.waits_for {
                self.more(&format!("waits for: {waits_for}"))?;
            }
            for version in component.running.iter().filter(|version| version.images.len() > 1) {
                let (count, version) = (version.images.len(), &version.version);
                self.more(&format!("{count} different images run as {version}: a tag was moved"))?;
            }
        }
        Ok(())
    }

    fn violations(&mut self, status: &PlatformStatus) -> io::Result<()> {
        if !status.violations.is_empty() {
            self.heading("Against the rules in what runs now:")?;
        }
        for violation in &status.violations {
            let rest = format!("{}, for {}", violation.component, self.since(&violation.since));
            self.line(Paint::bad, "broken", &rest)?;
            self.more(&format!("[{}] {}", violation.rule, violation.message))?;
        }
        Ok(())
    }

    fn blocked(&mut self, blocked: &[PlatformBlock]) -> io::Result<()> {
        if !blocked.is_empty() {
            self.heading("Blocked:")?;
        }
        for block in blocked {
            let (colour, label): (Colour, _) = match (block.held, block.verdict == Verdict::Never.as_str()) {
                (true, _) => (Paint::caution, "held"),
                (false, true) => (Paint::bad, "never"),
                (false, false) => (Paint::caution, "not yet"),
            };
            let since = self.since(&block.since);
            let since = if block.held {
                format!("for {since}")
            } else {
                format!("for {since}, last asked {} ago", self.since(&block.last_seen))
            };
            let moved = moved(&block.component, block.from.as_deref(), block.to.as_deref());
            self.line(colour, label, &format!("{moved}, {}, {since}", workload(&block.workload)))?;
            self.more(&format!("[{}] {}", block.rule, block.message))?;
        }
        Ok(())
    }

    fn intents(&mut self, intents: &[PlatformIntent]) -> io::Result<()> {
        if !intents.is_empty() {
            self.heading("Admitted and not settled yet:")?;
        }
        for intent in intents {
            let moved = moved(&intent.component, intent.from.as_deref(), Some(&intent.to));
            let place = intent.workload.as_ref().map(|found| format!(", {}", workload(found))).unwrap_or_default();
            let rest = format!("{moved}{place}{}", self.told(intent.at.as_ref(), intent.by.as_deref()));
            self.line(Paint::good, "admitted", &rest)?;
            self.overridden(intent.overridden.as_ref())?;
            for finding in &intent.findings {
                self.more(finding)?;
            }
        }
        Ok(())
    }

    /// The next steps; where there are none, what stands in the way of the way up.
    fn next(&mut self, status: &PlatformStatus) -> io::Result<()> {
        if !status.next.is_empty() {
            self.heading("May be done next:")?;
            return status.next.iter().try_for_each(|step| paragraph(step, 4, self.out));
        }
        let closed: Vec<_> = status.gates.iter().filter(|gate| !gate.open && gate.direction == Direction::Up).collect();
        if !closed.is_empty() {
            self.heading("No component may go up now:")?;
        }
        for gate in closed {
            self.line(Paint::caution, "closed", &format!("{} to {}", gate.component, gate.to))?;
            if let (Some(rule), Some(message)) = (&gate.rule, &gate.message) {
                self.more(&format!("[{rule}] {message}"))?;
            }
        }
        Ok(())
    }

    fn database(&mut self, database: Option<&PlatformDatabase>) -> io::Result<()> {
        let Some(database) = database else { return Ok(()) };
        let at = database.observed.as_ref().map(|observed| {
            let heads = if database.heads.is_empty() { "no revision".to_owned() } else { database.heads.join(", ") };
            let live = database.source == RevisionSource::Controller;
            format!("{heads}, {}", observed_ago(live, self.now.duration_since(observed.0)))
        });
        let (colour, label): (Colour, _) = match (&at, database.heads.len(), &database.problem) {
            (Some(_), 0..=1, None) => (Paint::good, "schema"),
            (Some(_), ..) => (Paint::caution, "schema"),
            (None, ..) => (Paint::bad, "schema"),
        };
        self.heading("Database:")?;
        self.line(colour, label, &at.unwrap_or_else(|| "not read yet".to_owned()))?;
        if database.heads.len() > 1 {
            self.more("several heads: branches that nobody merged")?;
        }
        database.problem.as_ref().map_or(Ok(()), |problem| self.more(problem))?;
        let Some(run) = database.migrations.first() else { return Ok(()) };
        let (colour, label): (Colour, _) = match run.outcome {
            MigrationOutcome::Running => (Paint::caution, "running"),
            MigrationOutcome::Migrated => (Paint::good, "migrated"),
            MigrationOutcome::Stopped => (Paint::caution, "stopped"),
            MigrationOutcome::Undone => (Paint::bad, "undone"),
            MigrationOutcome::HalfWay => (Paint::bad, "half-way"),
        };
        let told = self.told(Some(&run.started), run.by.as_deref());
        self.line(colour, label, &format!("{}{told}: {}", run.target, run.message))
    }

    fn preparations(&mut self, preparations: &[PlatformPreparation]) -> io::Result<()> {
        if !preparations.is_empty() {
            self.heading("What the hook did last:")?;
        }
        for (number, run) in preparations.iter().take(MOST_PREPARATIONS).enumerate() {
            let (colour, label): (Colour, _) = match run.outcome {
                PreparationOutcome::Running => (Paint::caution, "running"),
                PreparationOutcome::Prepared => (Paint::good, "prepared"),
                PreparationOutcome::Refused => (Paint::bad, "refused"),
                PreparationOutcome::Failed => (Paint::bad, "failed"),
            };
            let last = run.ended.as_ref().unwrap_or(&run.started);
            let told = self.told(Some(last), run.by.as_deref());
            self.line(colour, label, &format!("{}{told}{}", run.target, evidence(run)))?;
            if let Some(verified) = &run.verified {
                let told = self.told(Some(&verified.at), verified.by.as_deref());
                self.more(&format!("verified{}: {}", told.trim_start_matches(','), verified.message))?;
            }
            if number > 0 {
                continue;
            }
            for found in run.preconditions.iter().filter(|found| !found.held) {
                self.more(&format!("{}: {}", found.name, found.message))?;
            }
            for step in run.steps.iter().filter(|step| !step.done && run.outcome != PreparationOutcome::Running) {
                self.more(&format!("{}: {}", step.name, step.message))?;
            }
        }
        Ok(())
    }

    fn history(&mut self, history: &[PlatformHistoryEntry]) -> io::Result<()> {
        if !history.is_empty() {
            self.heading("Last moves:")?;
        }
        for entry in history.iter().take(MOST_HISTORY) {
            let (colour, label): (Colour, _) = match entry.outcome {
                Outcome::Completed => (Paint::good, "completed"),
                Outcome::Rolling => (Paint::caution, "rolling"),
                Outcome::Partial => (Paint::caution, "partial"),
            };
            let moved = moved(&entry.component, entry.from.as_deref(), Some(&entry.to));
            let last = entry.ended.as_ref().unwrap_or(&entry.started);
            self.line(colour, label, &format!("{moved}{}", self.told(Some(last), entry.by.as_deref())))?;
            self.overridden(entry.overridden.as_ref())?;
        }
        Ok(())
    }

    fn overridden(&mut self, overridden: Option<&PlatformOverride>) -> io::Result<()> {
        let Some(PlatformOverride { rules, reason, until }) = overridden else { return Ok(()) };
        let text = format!("{} overridden until {until}: {reason}", rules.join(", "));
        for line in wrap(&text, COLUMNS - INDENT) {
            writeln!(self.out, "{:INDENT$}{}", "", self.out.paint.caution(&line))?;
        }
        Ok(())
    }

    /// When and by whom, as far as that is known: `, 5m ago by jane`.
    fn told(&self, at: Option<&Time>, by: Option<&str>) -> String {
        let at = at.map(|at| format!("{} ago", self.since(at)));
        let by = by.map(|by| format!("by {by}"));
        let told: Vec<String> = [at, by].into_iter().flatten().collect();
        if told.is_empty() { String::new() } else { format!(", {}", told.join(" ")) }
    }

    fn since(&self, time: &Time) -> String {
        age(self.now.duration_since(time.0).as_secs())
    }
}

/// What the hook has to show for it: `: 3 of 3 preconditions, 5 CRDs`.
fn evidence(run: &PlatformPreparation) -> String {
    let mut parts = Vec::new();
    if !run.preconditions.is_empty() {
        let held = run.preconditions.iter().filter(|found| found.held).count();
        parts.push(format!("{held} of {}", counted(run.preconditions.len(), "precondition")));
    }
    if !run.crds.is_empty() {
        parts.push(counted(run.crds.len(), "CRD"));
    }
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

/// How it is known, and how old it is: `read 12s ago`, `recorded by the hook 3h ago`.
pub(in crate::cli) fn observed_ago(live: bool, since: SignedDuration) -> String {
    let age = age(since.as_secs());
    if live { format!("read {age} ago") } else { format!("recorded by the hook {age} ago") }
}

/// A time span as kubectl writes it, in one unit: `90s`, `5m`, `3h`, `2d`. What lies ahead is `0s`.
fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match () {
        () if minutes < 2 => format!("{seconds}s"),
        () if hours < 2 => format!("{minutes}m"),
        () if hours < 48 => format!("{hours}h"),
        () => format!("{}d", hours / 24),
    }
}

/// `2.3.0 (1/2 pods), 2.2.0 (1/2)`.
fn running(component: &PlatformComponentStatus) -> String {
    let total: i64 = component.running.iter().map(|version| i64::from(version.pods)).sum();
    let mut parts = Vec::new();
    for version in component.running.iter().filter(|version| version.pods > 0) {
        let unit = if parts.is_empty() { " pods" } else { "" };
        parts.push(format!("{} ({}/{total}{unit})", version.version, version.pods));
    }
    match &component.completed {
        _ if !parts.is_empty() => parts.join(", "),
        Some(completed) => format!("no pod runs, last complete {completed}"),
        None => "no pod runs".to_owned(),
    }
}

/// What is asked for, where it is something else than what runs.
fn asked_for(component: &PlatformComponentStatus) -> String {
    let runs = component.running.iter().filter(|version| version.pods > 0).map(|version| &version.version);
    if component.desired.is_empty() || runs.eq(&component.desired) {
        String::new()
    } else {
        format!("asks for {}", component.desired.join(" and "))
    }
}

fn moved(component: &str, from: Option<&str>, to: Option<&str>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{component} {from} -> {to}"),
        (None, Some(to)) => format!("{component} {to}, new"),
        (_, None) => component.to_owned(),
    }
}

fn workload(workload: &PlatformWorkload) -> String {
    WorkloadId { kind: workload.kind.clone(), name: workload.name.clone() }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let (minute, hour, day) = (60, 3600, 24 * 3600);
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (2 * minute - 1, "119s"),
            (2 * minute, "2m"),
            (2 * hour - 1, "119m"),
            (2 * hour, "2h"),
            (2 * day - 1, "47h"),
            (2 * day, "2d"),
            (400 * day, "400d"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
