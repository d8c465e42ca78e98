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

/// Nothing asks the cluster while a copy is there: without one it takes half the time.
async fn base(server: &Arc<Postgres>, number: usize) -> Result<Option<Base>> {
    let name = format!("db-kill-{number}");
    Base::on(Arc::clone(server), &name, &[ADDS], json!({"shadow": {"from": "Off"}}), json!({})).await
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
    // Before one that only reads is as after the one before it.
    let log = gate.log();
    let writes = |number: &usize| !log[number - 1].starts_with("GET");
    let before = (1..=requests).filter(writes).map(Stop::Before);
    let stops: Vec<Stop> = before.chain((1..=requests).map(Stop::After)).collect();
    let server = &server;
    let runs: Vec<(Stop, Option<Value>)> =
        futures::stream::iter(stops.into_iter().enumerate().map(|(index, stop)| async move {
            let ended = tokio::time::timeout(DEADLINE * 2, killed(server, index + 1, stop)).await;
            let left = ended.with_context(|| format!("{stop:?} does not end"))?.with_context(|| format!("{stop:?}"))?;
            anyhow::Ok((stop, left))
        }))
        .buffer_unordered(4)
        .try_collect()
        .await?;
    println!("{requests} requests, killed at each: {} runs", runs.len());
    for (stop, left) in runs {
        assert_eq!(left.as_ref(), Some(&whole), "{stop:?}\n{}", gate.log().join("\n"));
    }
    Ok(())
}

/// What a slow revision sleeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Midst {
    Copy,
    Database,
}

#[tokio::test]
async fn killed_in_the_midst_of_a_revision_the_next_run_ends_well() -> Result<()> {
    for midst in [Midst::Copy, Midst::Database] {
        let Some(server) = server().await? else { return Ok(()) };
        let here = if midst == Midst::Copy { "" } else { "NOT " };
        let sleeps = format!("SELECT pg_sleep(300) WHERE current_database() {here}LIKE 'upgrade_guard_shadow_%'");
        let slow = ("r2", &*format!("{}\nop.execute(\"{sleeps}\")", ADDS.1), "");
        let Some(base) = Base::on(server, "db-kill-slow", &[slow], json!({}), json!({})).await? else { return Ok(()) };
        let (gate, mut child) = base.scene.start(&base.args(&[]), None).await?;
        eventually("the revision to sleep", async || {
            let asleep = "SELECT datname FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            let found = base.column(asleep).await?;
            Ok(if found.is_empty() { Err(found) } else { Ok(()) })
        })
        .await?;
        let shadows = usize::from(midst == Midst::Copy);
        assert_eq!(base.column(SHADOWS).await?.len(), shadows, "{midst:?}");
        let recorded = base.recorded().await?;
        let outcome = if midst == Midst::Copy { json!(null) } else { json!("Running") };
        assert_eq!(recorded["migrations"][0]["outcome"], outcome, "{midst:?}: {recorded:#}");
        child.kill().await?;
        drop(gate);
        eventually("the migrator to go with the hook", async || {
            let found = at_work(&base)?;
            Ok(if found.is_empty() { Ok(()) } else { Err(found) })
        })
        .await?;
        base.project.revision(ADDS.0, "'r1'", ADDS.1, ADDS.2)?;
        let ran = base.run(&[]).await?;
        assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r2"])), "{midst:?}: {}", ran.text);
        assert_eq!(base.columns().await?, texts(&["id", "legacy", "name", "note"]));
        assert_eq!(base.column(SHADOWS).await?, Vec::<String>::new(), "{midst:?}");
        let recorded = base.recorded().await?;
        assert_eq!(recorded["migrations"].as_array().map(Vec::len), Some(1), "{midst:?}: {recorded:#}");
        assert_eq!(recorded["migrations"][0]["outcome"], "Migrated");
    }
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
