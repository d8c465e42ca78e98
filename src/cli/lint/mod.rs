//! `upgrade-guard lint`: what do migrations do to versions that do not know them, as far as their SQL tells?

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use self::report::{Format, Report};
use super::input::standard_input_once;
use super::{Outcome, Output};
use crate::api::MigrationsSpec;
use crate::cluster::files::{Manifests, Source};
use crate::database::check::Check;
use crate::database::judge::judge;
use crate::database::lint::{Context, Script, attempted_waivers, sql};

mod checks;
mod json;
mod junit;
mod pending;
pub mod report;
mod sarif;
mod text;

pub use checks::markdown;

/// Tell what migrations break for versions that do not know them, and which locks they take.
///
/// SQL is only read. With --migrations those that are pending on a database are tried on a copy of its schema, which is
/// removed again, and their SQL is read where it can be had: as presync does before it migrates.
///
/// Exit code 0: nothing is refused. 1: something is. 2: that could not be told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// SQL: files, or '-' for standard input, for example what `alembic upgrade A:B --sql` prints.
    #[arg(value_name = "FILE", required_unless_present_any = ["checks", "migrations"], conflicts_with = "checks")]
    files: Vec<Source>,

    /// The migrations that are pending on the database that the environment names (`DATABASE_URL`, or what the policy
    /// says), run in the image or folder that has them.
    #[arg(long, requires = "policy", conflicts_with_all = ["files", "checks"])]
    migrations: bool,

    /// The policy that says how each check is taken and what is waived.
    #[arg(long, value_name = "PATH")]
    policy: Option<Source>,

    /// The revision of statements that no mark of Alembic names.
    #[arg(long, value_name = "ID")]
    revision: Option<String>,

    /// The schema of names without one.
    #[arg(long, value_name = "SCHEMA", default_value = "public")]
    schema: String,

    /// The major version of the server.
    #[arg(long, value_name = "VERSION", default_value_t = 15)]
    postgres: u16,

    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// List the checks instead.
    #[arg(long)]
    checks: bool,

    /// Print the checks as a Markdown page.
    #[arg(long, requires = "checks")]
    markdown: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    if args.checks {
        let text = if args.markdown { markdown() } else { checks::table() };
        out.write_all(text.as_bytes())?;
        return Ok(Outcome::Done);
    }
    if let (true, Some(policy)) = (args.migrations, &args.policy) {
        return finish(&pending::report(policy)?, args.output, out);
    }
    standard_input_once(args.files.iter().chain(&args.policy))?;
    let (spec, revision_table) = policy(args.policy.as_ref())?;
    let mut context = Context {
        schema: args.schema.clone(),
        large: spec.large_table.clone(),
        pg_version: args.postgres,
        ..Context::default()
    };
    if let Some(table) = revision_table {
        table.rsplit('.').next().unwrap_or(&table).clone_into(&mut context.version_table);
    }
    let (mut findings, mut notes) = (Vec::new(), Vec::new());
    for source in &args.files {
        let script = script(source, args.revision.clone())?;
        findings.extend(sql(&script, &context)?);
        notes.extend(attempted_waivers(&script));
    }
    let report = Report { judged: judge(findings, &spec, Timestamp::now()), notes };
    finish(&report, args.output, out)
}

fn finish(report: &Report, format: Format, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    report.print(format, out)?;
    Ok(if report.judged.passes() { Outcome::Done } else { Outcome::Refused })
}

fn script(source: &Source, revision: Option<String>) -> anyhow::Result<Script> {
    let (text, file) = match source {
        Source::Stdin => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read SQL from standard input")?;
            (text, PathBuf::from("stdin"))
        }
        Source::Path(path) => {
            let text = std::fs::read_to_string(path);
            (text.with_context(|| format!("cannot read {} as SQL", path.display()))?, path.clone())
        }
    };
    Ok(Script { text, file: Some(file), revision })
}

/// What the policy says of migrations, and in which table they are noted.
fn policy(source: Option<&Source>) -> anyhow::Result<(MigrationsSpec, Option<String>)> {
    let Some(source) = source else { return Ok((MigrationsSpec::default(), None)) };
    let mut given = Manifests::load(std::slice::from_ref(source), Some("default"))?.policies;
    let (Some(found), true) = (given.pop(), given.is_empty()) else {
        bail!("{source} does not hold just one UpgradePolicy: give the one whose checks and waivers are meant");
    };
    let Some(database) = found.object.spec.database else {
        bail!(
            "{}: the policy has no spec.database, so it says nothing of migrations: leave --policy out",
            found.origin
        );
    };
    let spec = database.migrations.clone().unwrap_or_default();
    let named = spec.checks.keys().map(|name| ("checks", name));
    let named = named.chain(spec.waivers.iter().map(|waiver| ("waivers", &waiver.check)));
    for (field, name) in named {
        if Check::named(name).is_none() {
            bail!(
                "{}: spec.database.migrations.{field} names the check '{name}', which there is none of: \
                 `upgrade-guard lint --checks` lists them",
                found.origin
            );
        }
    }
    Ok((spec, database.revision_table.clone()))
}
