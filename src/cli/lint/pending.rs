//! The migrations that are pending on a database, tried on a copy.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::report::Report;
use crate::cli::input::migrations::PolicyFile;
use crate::cluster::files::Source;
use crate::hook::migrations::look::{Look, Refusal};
use crate::report::{News, Stage};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_mins(30);

/// What they would do. Revisions that wait for pods are looked at, too; those on hold, and what comes after them, are not.
pub(super) fn report(policy: &Source) -> anyhow::Result<Report> {
    let settings = PolicyFile::of(policy.clone()).settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the asynchronous runtime")?;
    let now = Timestamp::now();
    let look = Look { settings: &settings, wanted: None, may: &|_| Ok(()), beyond: &|_| false, now, limit: LIMIT };
    let mut news: Vec<News> = Vec::new();
    let outlook = match runtime.block_on(look.examine(&mut news)) {
        Ok(outlook) => outlook,
        Err(Refusal { lines, .. }) => bail!("{}", lines.join("\n")),
    };
    let told = news.into_iter().filter(|news| matches!(news.stage, Stage::Warning | Stage::Done));
    Ok(Report { judged: outlook.judged, notes: told.map(|news| news.message).collect() })
}
