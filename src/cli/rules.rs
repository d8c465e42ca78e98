//! `upgrade-guard rules`: what the guard demands, from the one table of rules.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::bail;

use super::output::{COLUMNS, wrap};
use super::{Outcome, Output};
use crate::api::OVERRIDE;
use crate::domain::rules::{Page, ROWS, Row, Rule, UNAVAILABLE, Unruled};

/// List the rules, or explain what a refusal means.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The code to explain, for example UG-ORDER: what it demands, why it refuses, and what to do in Argo CD, Flux, Helm
    /// and with kubectl.
    code: Option<String>,

    /// Print all rules as a Markdown page.
    #[arg(long, conflicts_with = "code")]
    markdown: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let text = match &args.code {
        _ if args.markdown => markdown(),
        None => table(),
        Some(code) => match article(&code.to_uppercase()) {
            Some(article) => page(&article),
            None => bail!("there is no code '{code}'; there are {} and {}", codes().join(", "), UNAVAILABLE.code),
        },
    };
    out.write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn article(code: &str) -> Option<Article> {
    let rule = Rule::with_code(code).map(|rule| Article::from(rule.row()));
    rule.or_else(|| (code == UNAVAILABLE.code).then(|| Article::from(&UNAVAILABLE)))
}

fn codes() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.code).collect()
}

/// The mode as a person reads it; a rule that nothing checks has none yet.
fn mode(row: &Row) -> &'static str {
    if row.in_force { row.default_mode.as_str() } else { "reserved" }
}

fn table() -> String {
    let code_width = codes().iter().map(|code| code.len()).max().unwrap_or_default();
    let mode_width = ROWS.iter().map(|row| mode(row).len()).max().unwrap_or_default();
    let indent = code_width + mode_width + 4;
    let mut text = format!("{:code_width$}  {:mode_width$}  DEMANDS\n", "CODE", "MODE");
    for row in &ROWS {
        let mut lines = wrap(row.demands, COLUMNS - indent).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{:code_width$}  {:mode_width$}  {first}", row.code, mode(row));
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text.push_str(
        "\nMODE is what holds where a policy says nothing (spec.modes); nothing checks a reserved rule yet.\n",
    );
    text
}

/// A code as its page shows it: a rule, or what refuses without being one.
struct Article {
    code: &'static str,
    demands: &'static str,
    remedy: &'static str,
    /// Its mode where a policy says nothing; `None` for what has no mode.
    mode: Option<&'static str>,
    page: &'static Page,
}

impl From<&'static Row> for Article {
    fn from(row: &'static Row) -> Self {
        let (code, demands, remedy, page) = (row.code, row.demands, row.remedy, row.page);
        Self { code, demands, remedy, mode: Some(mode(row)), page }
    }
}

impl From<&'static Unruled> for Article {
    fn from(unruled: &'static Unruled) -> Self {
        let Unruled { code, demands, remedy, page } = unruled;
        Self { code, demands, remedy, mode: None, page }
    }
}

impl Article {
    /// How it is taken less strictly.
    fn soften(&self) -> String {
        let modes = format!(
            "spec.modes: {{{}: Warn}} in the UpgradePolicy admits with a warning, Audit only records. spec.mode does that \
             for all rules.",
            self.code
        );
        let parts = [if self.mode.is_some() { modes } else { String::new() }, self.page.soften.to_owned()];
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }

    /// The annotation that sets it aside for one change; `None` for what cannot be set aside.
    fn annotation(&self) -> Option<String> {
        self.mode.map(|_| format!("{OVERRIDE}: \"{}; REASON; until=2030-01-31T18:00:00Z\"", self.code))
    }
}

const WHO_MAY: &str = "For one change that cannot wait: this annotation on the workload, in the same request, by someone \
                       who may override the policy.";
const NO_OVERRIDE: &str = "There is none: an override names rules, and this is no rule.";

fn page(article: &Article) -> String {
    let page = article.page;
    let mut text = String::new();
    let heading = |text: &mut String, name: &str| {
        let _ = writeln!(text, "\n{name}");
    };
    let prose = |text: &mut String, first: &str, words: &str| {
        for (number, line) in wrap(words, COLUMNS - 2 - first.len()).into_iter().enumerate() {
            let _ = writeln!(text, "  {:width$}{line}", if number == 0 { first } else { "" }, width = first.len());
        }
    };
    let of_mode =
        article.mode.map_or_else(|| "no rule, so it has no mode".to_owned(), |mode| format!("{mode} by default"));
    let _ = writeln!(text, "{} ({of_mode})", article.code);
    heading(&mut text, "DEMANDS");
    prose(&mut text, "", article.demands);
    heading(&mut text, "EXAMPLE");
    prose(&mut text, "", page.example);
    heading(&mut text, "WHY IT HAPPENS");
    for cause in page.causes {
        prose(&mut text, "- ", cause);
    }
    heading(&mut text, "HOW TO LOOK");
    for (command, shows) in page.look {
        let _ = writeln!(text, "  {command}");
        prose(&mut text, "    ", shows);
    }
    heading(&mut text, "WHAT TO DO");
    prose(&mut text, "", article.remedy);
    for (engine, advice) in page.engines {
        prose(&mut text, &format!("{engine:8} "), advice);
    }
    heading(&mut text, "LESS STRICTLY");
    prose(&mut text, "", &article.soften());
    heading(&mut text, "OVERRIDE");
    match article.annotation() {
        Some(annotation) => {
            prose(&mut text, "", WHO_MAY);
            let _ = writeln!(text, "    {annotation}");
        }
        None => prose(&mut text, "", NO_OVERRIDE),
    }
    text
}

/// The page `docs/rules.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `upgrade-guard rules --markdown`; a test compares. -->\n# The rules\n\nA refusal begins with the \
         code of its rule. A policy may set the mode of each in `spec.modes`: `Enforce` refuses,\n`Warn` admits with a \
         warning, `Audit` only records. `upgrade-guard rules CODE` prints the same in a terminal.\n\n| code | default mode \
         | in force |\n|---|---|---|\n",
    );
    for row in &ROWS {
        let in_force = if row.in_force { "yes" } else { "reserved" };
        let _ = writeln!(
            text,
            "| [`{0}`](#{1}) | {2} | {in_force} |",
            row.code,
            row.code.to_lowercase(),
            row.default_mode.as_str()
        );
    }
    let _ = writeln!(text, "| [`{0}`](#{1}) | no rule | yes |", UNAVAILABLE.code, UNAVAILABLE.code.to_lowercase());
    for article in ROWS.iter().map(Article::from).chain([Article::from(&UNAVAILABLE)]) {
        section(&mut text, &article);
    }
    text
}

fn section(text: &mut String, article: &Article) {
    let page = article.page;
    let _ =
        write!(text, "\n## {}\n\n{}\n\n> {}\n\n**Why it happens**\n\n", article.code, article.demands, page.example);
    for cause in page.causes {
        let _ = writeln!(text, "- {cause}");
    }
    // These commands have placeholders.
    text.push_str("\n**How to look**\n\n<!-- run: not here, it has placeholders -->\n```sh\n");
    for (command, shows) in page.look {
        let _ = writeln!(text, "# {shows}\n{command}");
    }
    let _ = write!(text, "```\n\n**What to do:** {}\n\n", article.remedy);
    for (engine, advice) in page.engines {
        let _ = writeln!(text, "- **{engine}:** {advice}");
    }
    let _ = write!(text, "\n**Less strictly:** {}\n\n", article.soften());
    let _ = match article.annotation() {
        Some(annotation) => writeln!(text, "**Override:** {WHO_MAY}\n\n```yaml\n{annotation}\n```"),
        None => writeln!(text, "**Override:** {NO_OVERRIDE}"),
    };
}
