//! Runs that are killed or stopped: whatever becomes of one, the next ends where one would that was not.

use std::path::Path;

use anyhow::Result;
use upgrade_guard::database::run::Outcome;

use super::case::{Case, Style, project, shared, undone};
use super::together::runner;
use super::wait::eventually;

const REVISIONS: [&str; 4] = ["a1", "b2", "c3", "d4"];

/// Each makes a table, stays where the test holds it, and changes it; the third leaves its transaction.
fn bodies() -> Vec<(&'static str, String)> {
    let held = |id: &str| {
        format!(
            "op.execute(\"SELECT pg_sleep(CASE current_setting('test.hold', true) WHEN '{id}' THEN 300 ELSE 0 END)\")"
        )
    };
    let inside = |id: &'static str, table: &str| {
        let (first, last) = (format!("CREATE TABLE {table} (id int)"), format!("ALTER TABLE {table} ADD n text"));
        (id, format!("op.execute('{first}')\n{}\nop.execute('{last}')", held(id)))
    };
    let outside = format!(
        "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE IF NOT EXISTS c (id int)')\n    {}\n    \
         op.execute('CREATE INDEX CONCURRENTLY IF NOT EXISTS c_id ON c (id)')",
        held("c3")
    );
    vec![inside("a1", "a"), inside("b2", "b"), ("c3", outside), inside("d4", "d")]
}

/// Whether any process works in this folder.
fn at_work(folder: &Path) -> Result<Vec<String>> {
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == folder) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn killed_at_any_point_the_next_run_ends_in_the_same_state() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let bodies = bodies();
    let bodies: Vec<(&str, &str)> = bodies.iter().map(|(id, body)| (*id, body.as_str())).collect();
    for (style, name) in [(Style::Whole, "whole"), (Style::Each, "each")] {
        let project = project(style, &bodies)?;
        let whole = Case::new(server, &format!("k_{name}"), project.folder(), &REVISIONS).await?;
        assert_eq!(whole.run().await.0?.outcome, Outcome::Migrated);
        let expected = whole.digest().await?;
        // Before it has begun, and inside of each revision.
        for hold in ["", "a1", "b2", "c3", "d4"] {
            let database = format!("k_{name}_{hold}");
            let case = Case::new(server, &database, project.folder(), &REVISIONS).await?;
            server.sql("postgres", &format!("ALTER DATABASE {database} SET test.hold = '{hold}'")).await?;
            let mut child = runner(&case)?;
            if !hold.is_empty() {
                case.until_asleep().await?;
            }
            child.kill().await?;
            let gone = async || {
                let found = at_work(project.folder())?;
                Ok(if found.is_empty() { Ok(()) } else { Err(found) })
            };
            eventually("the migrator to go with its runner", gone).await?;
            server.sql("postgres", &format!("ALTER DATABASE {database} RESET test.hold")).await?;
            let ended = case.run().await.0?;
            assert_eq!(ended.outcome, Outcome::Migrated, "{name} {hold}");
            assert_eq!(ended.after, ["d4"]);
            assert_eq!(case.digest().await?, expected, "{name} {hold}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn told_to_stop_it_takes_everything_back() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let slow = ("a1", "op.execute('CREATE TABLE a (id int)')\nop.execute('SELECT pg_sleep(300)')");
    let project = project(Style::Whole, &[slow])?;
    let case = Case::new(server, "k_stop", project.folder(), &["a1"]).await?;
    let stop = async {
        case.until_asleep().await?;
        case.stop.cancel();
        anyhow::Ok(())
    };
    let ((ended, _), stopped) = tokio::join!(case.run(), stop);
    stopped?;
    let ended = ended?;
    let message = undone(&ended);
    assert!(message.contains("was stopped: this run was told to stop. Nothing is left behind"), "{message}");
    assert_eq!(at_work(project.folder())?, Vec::<String>::new());
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    assert_eq!(case.value(left).await?, "0");
    Ok(())
}

#[tokio::test]
async fn what_it_started_goes_with_it() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut case = Case::new(server, "k_group", folder.path(), &["a1"]).await?;
    // A shell that does not end when it is asked to, and has a program of its own.
    case.migrator.command = ["/bin/sh", "-c", "trap '' TERM; echo up > up; tail -f /dev/null > /dev/null 2>&1; true"]
        .map(str::to_owned)
        .to_vec();
    case.calls = vec![vec![]];
    let stop = async {
        let there = async || Ok(std::fs::read_to_string(folder.path().join("up")));
        eventually("the shell to start", there).await?;
        case.stop.cancel();
        anyhow::Ok(())
    };
    let ((ended, _), stopped) = tokio::join!(case.run(), stop);
    stopped?;
    assert!(undone(&ended?).contains("told to stop"));
    let gone = async || {
        let found = at_work(folder.path())?;
        Ok(if found.is_empty() { Ok(()) } else { Err(found) })
    };
    eventually("what it started to go", gone).await
}
