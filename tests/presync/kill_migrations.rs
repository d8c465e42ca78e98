//! Killed at any request, or in the midst of a revision, and run again, the hook leaves the database where one that was
//! never killed does.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::base::{ADDS, Base, server};
use crate::database::texts;
use crate::gate::Stop;
use crate::postgres::Postgres;
use crate::support::wait::{DEADLINE, eventually};

const SHADOWS: &str = "SELECT datname FROM pg_database WHERE datname LIKE 'upgrade_guard_shadow_%'";

async fn base(server: &Arc<Postgres>, number: usize) -> Result<Option<Base>> {
    let name = format!("db-kill-{number}");
    Base::on(Arc::clone(server), &name, &[ADDS], json!({"shadow": {}}), json!({})).await
}

/// What is left behind.
async fn left(base: &Base) -> Result<Value> {
    let mut recorded = base.recorded().await?;
    for entry in recorded["migrations"].as_array_mut().context("a list")? {
        // Who was killed after its work is done tells less of it.
        entry["seconds"].take();
        entry["message"].take();
    }
    Ok(json!({"recorded": recorded, "noted": base.noted().await?, "columns": base.columns().await?}))
}

/// Kills a run at `stop`, runs it again to its end, and tells what is left.
async fn killed(server: &Arc<Postgres>, number: usize, stop: Stop) -> Result<Option<Value>> {
    let Some(base) = base(server, number).await? else { return Ok(None) };
    let (gate, mut child) = base.scene.start(&base.args(&[]), Some(stop)).await?;
    tokio::select! {
        () = gate.stopped() => child.kill().await?,
        status = child.wait() => ensure!(status?.success(), "it ended by itself, badly"),
    }
    drop(gate);
    let ran = base.run(&[]).await?;
    ensure!(ran.code == Some(0), "run again after {stop:?}: {}", ran.text);
    let left = left(&base).await?;
    base.scene.close().await?;
    Ok(Some(left))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_the_database_ends_in_the_same_state() -> Result<()> {
    let Some(server) = server().await? else { return Ok(()) };
    let Some(whole) = base(&server, 0).await? else { return Ok(()) };
    let (ran, gate) = whole.scene.run_counted(&whole.args(&[])).await?;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let whole = left(&whole).await?;
    let requests = gate.seen();
    let stops = (1..=requests).flat_map(|number| [Stop::Before(number), Stop::After(number)]);
    let server = &server;
    let runs: Vec<_> = futures::stream::iter(stops.enumerate().map(|(index, stop)| async move {
        let ended = tokio::time::timeout(DEADLINE * 2, killed(server, index + 1, stop)).await;
        let left = ended.with_context(|| format!("{stop:?} does not end"))?.with_context(|| format!("{stop:?}"))?;
        anyhow::Ok((stop, left))
    }))
    .buffer_unordered(4)
    .try_collect()
    .await?;
    println!("{requests} requests, killed before and after each: {} runs", runs.len());
    for (stop, left) in runs {
        assert_eq!(left.as_ref(), Some(&whole), "{stop:?}\n{}", gate.log().join("\n"));
    }
    assert_eq!(server.column("postgres", SHADOWS).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn killed_in_the_midst_of_a_revision_the_next_run_ends_well() -> Result<()> {
    // It takes its time where there is a row, and a copy of the schema has none.
    let slow = ("r2", &*format!("{}\nop.execute('SELECT pg_sleep(300 * count(*)) FROM apps')", ADDS.1), "");
    let Some(server) = server().await? else { return Ok(()) };
    let Some(base) = Base::on(server, "db-kill-slow", &[slow], json!({}), json!({})).await? else { return Ok(()) };
    base.sql("INSERT INTO apps VALUES (1)").await?;
    let (_gate, mut child) = base.scene.start(&base.args(&[]), None).await?;
    let asleep = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("the revision to sleep", async || {
        let found = base.column(asleep).await?;
        Ok(if found.is_empty() { Err(found) } else { Ok(()) })
    })
    .await?;
    assert_eq!(base.recorded().await?["migrations"][0]["outcome"], "Running");
    child.kill().await?;
    eventually("the migrator to go with the hook", async || {
        let found = at_work(&base)?;
        Ok(if found.is_empty() { Ok(()) } else { Err(found) })
    })
    .await?;
    base.sql("DELETE FROM apps").await?;
    let ran = base.run(&[]).await?;
    assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r2"])), "{}", ran.text);
    let recorded = base.recorded().await?;
    assert_eq!(recorded["migrations"].as_array().map(Vec::len), Some(1), "{recorded:#}");
    assert_eq!(recorded["migrations"][0]["outcome"], "Migrated");
    Ok(())
}

/// The processes in the project's folder.
fn at_work(base: &Base) -> Result<Vec<String>> {
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == base.project.folder()) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}
