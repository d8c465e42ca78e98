//! `upgrade-guard metrics`: what `/metrics` shows, from the one table of metrics.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::bail;

use super::output::{COLUMNS, wrap};
use super::{Outcome, Output};
use crate::server::metrics::{DESCRIPTORS, Descriptor, LABELS, Label};

/// List the metrics that 'serve' shows at /metrics, or explain one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The metric to explain, for example `upgrade_guard_reviews_total`.
    name: Option<String>,

    /// Print all metrics as a Markdown page.
    #[arg(long, conflicts_with = "name")]
    markdown: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let text = match &args.name {
        _ if args.markdown => markdown(),
        None => table(),
        Some(name) => match DESCRIPTORS.iter().find(|metric| metric.name == name) {
            Some(metric) => page(metric),
            None => bail!("there is no metric '{name}'; 'upgrade-guard metrics' lists them"),
        },
    };
    out.write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

/// The labels of a metric, in the order of the table.
fn labels(metric: &Descriptor) -> impl Iterator<Item = &'static Label> {
    LABELS.iter().filter(|label| metric.labels.contains(&label.name))
}

fn table() -> String {
    let mut text = String::new();
    for metric in DESCRIPTORS {
        let labels = if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
        let _ = writeln!(text, "{}{labels}  {}", metric.name, metric.kind.name());
        for line in wrap(metric.help, COLUMNS - 4) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push_str("\nWith a name, 'upgrade-guard metrics' explains its labels and gives a query.\n");
    text
}

fn page(metric: &Descriptor) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        for (number, line) in wrap(value, COLUMNS - 14).into_iter().enumerate() {
            let _ = writeln!(text, "{:12}  {line}", if number == 0 { name } else { "" });
        }
    };
    add("Metric", metric.name);
    add("Type", metric.kind.name());
    add("Meaning", metric.help);
    for (number, label) in labels(metric).enumerate() {
        // Marks are for the page.
        let meaning = format!("{}: {}{}", label.name, label.meaning, values(label)).replace('`', "");
        add(if number == 0 { "Labels" } else { "" }, &meaning);
    }
    // A query is one line, however long: it is to be copied.
    let _ = writeln!(text, "{:12}  {}", "Query", metric.example);
    text
}

/// The values that the meaning does not name yet, as a sentence of their own.
fn values(label: &Label) -> String {
    let unnamed = !label.values.iter().all(|value| label.meaning.contains(&format!("`{value}`")));
    if label.values.is_empty() || !unnamed {
        return String::new();
    }
    let values: Vec<String> = label.values.iter().map(|value| format!("`{value}`")).collect();
    format!(" One of {}.", values.join(", "))
}

/// The page `docs/metrics.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `upgrade-guard metrics --markdown`; a test compares. -->\n# The metrics\n\nEvery replica shows \
         them at `/metrics` on port 9080. What is only from the leader comes from one replica at a time, so\nqueries \
         take `max` or `min` over the replicas, as the examples do. `namespace` is that of the install: a scrape needs\n\
         `honor_labels: true` (`honorLabels` in a ServiceMonitor), which the chart's has.\n\nAlerts and a dashboard \
         made of them are in `charts/upgrade-guard/files`.\n\n| metric | type | labels | meaning | example |\n\
         |---|---|---|---|---|\n",
    );
    // A bar would end the cell.
    let cell = |value: &str| value.replace('|', "\\|");
    for metric in DESCRIPTORS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | `{}` |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            cell(metric.help),
            cell(metric.example)
        );
    }
    text.push_str("\n## The labels\n\n| label | meaning |\n|---|---|\n");
    for label in LABELS {
        let _ = writeln!(text, "| `{}` | {}{} |", label.name, cell(label.meaning), values(label));
    }
    text.push_str(
        "\nNames of components, policies, namespaces and versions are bounded: beyond 100 components and 1000 of the \
         others, what\ncomes is counted as `other`.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_find_all_of_a_metric() {
        insta::assert_snapshot!("list", table());
        let page = |name: &str| page(DESCRIPTORS.iter().find(|metric| metric.name == name).unwrap());
        insta::assert_snapshot!(
            "page",
            page("upgrade_guard_migration_state") + "\n" + &page("upgrade_guard_reviews_total")
        );
    }
}
