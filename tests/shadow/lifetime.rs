//! Temporary databases go, whatever happens, and those that someone uses stay.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use upgrade_guard::api::ShadowFrom;
use upgrade_guard::database::gate::{self, GateError};
use upgrade_guard::database::revision::Noted;
use upgrade_guard::database::shadow::{Shadow, ShadowError};

use crate::scene::{PATIENCE, Scene, address};
use crate::wait::eventually;

const ADDS: &str = "op.add_column('apps', sa.Column('tier', sa.Text))";

fn name(shadow: &Shadow) -> String {
    shadow.address().to_string().rsplit_once('/').unwrap().1.to_owned()
}

#[tokio::test]
async fn it_is_gone_after_success_failure_and_drop() -> Result<()> {
    let Some(scene) = Scene::new(&[("b3", ADDS), ("b4", "raise RuntimeError('broken')")]).await? else { return Ok(()) };
    let nothing = Vec::<String>::new();
    let live = scene.live()?;
    let noted = Noted::default();
    let shadow = Shadow::make(&live, None, ShadowFrom::Schema, &noted, PATIENCE).await?;
    assert_eq!(scene.shadows().await?, [name(&shadow)]);
    // Also when someone is still connected.
    let (client, other) =
        tokio_postgres::connect(&scene.server.url(&name(&shadow), "").replace("+asyncpg", ""), tokio_postgres::NoTls)
            .await?;
    let other = tokio::spawn(other);
    shadow.remove().await?;
    assert_eq!(scene.shadows().await?, nothing);
    drop(client);
    assert!(other.await?.is_err());

    drop(Shadow::make(&live, None, ShadowFrom::Schema, &noted, PATIENCE).await?);
    assert_eq!(scene.shadows().await?, nothing, "dropped");

    let failed = scene.look(ShadowFrom::Schema).await.unwrap_err();
    assert!(matches!(&failed, GateError::Fails { revision: Some(revision), .. } if revision == "b4"), "{failed}");
    assert_eq!(scene.shadows().await?, nothing, "a failing revision");

    // The revision cannot be read.
    let noted = Noted::Query("SELECT nothing".to_owned());
    let failed = Shadow::make(&live, None, ShadowFrom::Schema, &noted, PATIENCE).await.unwrap_err();
    assert!(matches!(failed, ShadowError::Database(_)), "{failed}");
    assert_eq!(scene.shadows().await?, nothing, "an error");
    Ok(())
}

#[tokio::test]
async fn it_is_gone_when_whoever_waits_for_it_gives_up() -> Result<()> {
    let Some(scene) = Scene::new(&[("b3", ADDS)]).await? else { return Ok(()) };
    let live = scene.live()?;
    let mut late = 0;
    for milliseconds in [1, 5, 10, 20, 40, 80, 160, 320] {
        let limit = Duration::from_millis(milliseconds);
        let made = Shadow::make(&live, None, ShadowFrom::Schema, &Noted::default(), limit).await;
        late += usize::from(made.is_err());
        drop(made);
        assert_eq!(scene.shadows().await?, Vec::<String>::new(), "{milliseconds} ms");
    }
    assert!(late > 0);
    // A gate, while Alembic runs on it.
    let looked = scene.look(ShadowFrom::Schema);
    let seen = eventually("a temporary database", async || Ok(scene.shadows().await?.pop().ok_or("none")));
    tokio::select! {
        found = looked => panic!("{found:?}"),
        name = seen => { name?; }
    }
    assert_eq!(scene.shadows().await?, Vec::<String>::new());
    // And one whose time is up.
    let (migrator, plan) = (scene.migrator()?, scene.plan());
    let late = gate::Errand { limit: Duration::from_millis(700), ..Scene::errand(&migrator, &live, &plan) };
    gate::look(&late).await.unwrap_err();
    assert_eq!(scene.shadows().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_a_killed_run_leaves_is_removed_by_the_next_and_what_is_used_stays() -> Result<()> {
    if let Ok(url) = std::env::var("LIVE_URL") {
        return hold_a_shadow(&url).await;
    }
    let Some(scene) = Scene::new(&[]).await? else { return Ok(()) };
    let live = scene.live()?;
    let (mut used, in_use) = other(&scene).await?;
    let (mut killed, left) = other(&scene).await?;
    scene.server.sql("postgres", "CREATE DATABASE upgrade_guard_shadow_mine").await?;
    killed.kill().await?;
    // The server may notice a little later that it is gone.
    eventually("what was left over to be removed", async || {
        let shadow = Shadow::make(&live, None, ShadowFrom::Empty, &Noted::default(), PATIENCE).await?;
        shadow.remove().await?;
        let there = scene.shadows().await?;
        Ok(if there.contains(&left) { Err(there) } else { Ok(()) })
    })
    .await?;
    // Another role's, of another live database, is used too; and what only looks like one is nobody's business.
    assert_eq!(scene.shadows().await?, [in_use, "upgrade_guard_shadow_mine".to_owned()]);
    used.kill().await?;
    Ok(())
}

#[tokio::test]
async fn two_gates_at_once_do_not_meet() -> Result<()> {
    let Some(scene) = Scene::new(&[("b3", ADDS)]).await? else { return Ok(()) };
    let (one, two) = tokio::join!(scene.look(ShadowFrom::Schema), scene.look(ShadowFrom::Empty));
    assert_eq!(one?.findings, two?.findings);
    assert_eq!(scene.shadows().await?, Vec::<String>::new());
    Ok(())
}

/// A process that has a temporary database, and its name.
async fn other(scene: &Scene) -> Result<(Child, String)> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "lifetime::what_a_killed_run_leaves_is_removed_by_the_next_and_what_is_used_stays",
            "--nocapture",
        ])
        .env("LIVE_URL", scene.server.url("postgres", ""))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, name)) = line.split_once("MADE ") {
            return Ok((child, name.to_owned()));
        }
    }
    anyhow::bail!("the process made nothing")
}

/// What that process does until it is killed.
async fn hold_a_shadow(url: &str) -> Result<()> {
    let shadow = Shadow::make(&address(url)?, None, ShadowFrom::Schema, &Noted::default(), PATIENCE).await?;
    println!("MADE {}", name(&shadow));
    std::future::pending().await
}
