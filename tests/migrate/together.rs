//! Several runs at once, from processes of their own.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use tokio::process::{Child, Command};
use upgrade_guard::database::run::{self, Outcome};
use upgrade_guard::report::{News, Report};

use super::case::{Case, Style, project, shared};

/// Tells at once, on standard output.
struct Aloud;

impl Report for Aloud {
    fn tell(&mut self, news: News) {
        println!("\nTOLD {}", news.message);
    }
}

/// A run in a process of its own: the other half of what kills it or starts many of it.
pub(crate) fn runner(case: &Case) -> Result<Child> {
    let directory = case.migrator.directory.as_ref().context("a folder")?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "together::of_four_at_once_one_migrates_and_all_end_well", "--nocapture"])
        .env("MIGRATE_URL", &case.url)
        .env("MIGRATE_FOLDER", directory)
        .env("MIGRATE_TO", case.revisions.join(" "))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// What the process of [`runner`] does.
async fn migrate(url: &str) -> Result<()> {
    let (folder, to) = (std::env::var("MIGRATE_FOLDER")?, std::env::var("MIGRATE_TO")?);
    let revisions: Vec<&str> = to.split(' ').collect();
    let case = Case::at(url, folder.as_ref(), &revisions)?;
    let ended = run::run(&case.errand(), &mut Aloud).await?;
    println!("\nENDED {:?}", ended.outcome);
    Ok(())
}

#[tokio::test]
async fn of_four_at_once_one_migrates_and_all_end_well() -> Result<()> {
    if let Ok(url) = std::env::var("MIGRATE_URL") {
        return migrate(&url).await;
    }
    let Some(server) = shared().await? else { return Ok(()) };
    let slow = "op.execute('CREATE TABLE b (id int)')\nop.execute('SELECT pg_sleep(0.5)')";
    let project = project(
        Style::Each,
        &[
            ("a1", "op.execute('CREATE TABLE a (id int)')"),
            ("b2", slow),
            ("c3", "op.execute('CREATE TABLE c (id int)')"),
        ],
    )?;
    let case = Case::new(server, "t_four", project.folder(), &["a1", "b2", "c3"]).await?;
    let runners = (0..4).map(|_| runner(&case)).collect::<Result<Vec<_>>>()?;
    let outputs = try_join_all(runners.into_iter().map(Child::wait_with_output)).await?;
    let mut ends: Vec<String> = vec![];
    for output in &outputs {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        ends.push(text.lines().find_map(|line| line.strip_prefix("ENDED ")).context(text.clone())?.to_owned());
    }
    ends.sort();
    assert_eq!(ends, ["Migrated", "NothingToDo", "NothingToDo", "NothingToDo"]);
    assert_eq!(case.value("SELECT string_agg(version_num, ' ') FROM alembic_version").await?, "c3");
    // Other tests have locks of their own on this server, and a session that ends gives its lock back a moment later.
    let free = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    case.until("the lock to be free", free).await?;
    Ok(())
}

#[tokio::test]
async fn an_empty_database_is_migrated_and_told_revision_by_revision() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[("a1", "op.execute('CREATE TABLE a (id int)')"), ("b2", "")])?;
    let case = Case::new(server, "t_empty", project.folder(), &["a1", "b2"]).await?;
    let (ended, news) = case.run().await;
    let ended = ended?;
    assert_eq!((ended.outcome, ended.before, ended.after), (Outcome::Migrated, vec![], vec!["b2".to_owned()]));
    assert_eq!(ended.applied, ["a1", "b2"]);
    let told: Vec<&str> = news.iter().map(|news| news.message.as_str()).collect();
    assert_eq!(told, ["upgrade to a1 (1 of 2): a1", "upgrade to b2 (2 of 2): b2"]);
    let (ended, news) = case.run().await;
    assert_eq!((ended?.outcome, news), (Outcome::NothingToDo, vec![]));
    Ok(())
}
