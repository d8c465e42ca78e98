//! The hook and a database: what it migrates, refuses and holds back.

use anyhow::Result;
use serde_json::json;

use crate::base::{ADDS, Base, HIDDEN_DROP, pasted, server};

const SHADOWS: &str = "SELECT datname FROM pg_database WHERE datname LIKE 'upgrade_guard_shadow_%'";

#[tokio::test]
async fn what_only_adds_is_run_and_recorded_once() -> Result<()> {
    let Some(server) = server().await? else { return Ok(()) };
    let Some(base) = Base::on(server, "db-adds", &[ADDS], json!({}), json!({})).await? else { return Ok(()) };
    // A look changes nothing.
    let (ran, gate) = base.scene.run_counted(&base.args(&["--dry-run"])).await?;
    insta::assert_snapshot!("dry", ran.text);
    assert_eq!(ran.code, Some(0));
    let writes: Vec<String> = gate.log().into_iter().filter(|line| line.contains("/platforms/")).collect();
    assert!(writes.iter().all(|line| line.starts_with("GET")), "{writes:?}");
    assert_eq!((base.noted().await?, base.columns().await?), (vec!["r1".to_owned()], texts(&["id", "legacy", "name"])));
    assert_eq!(base.column(SHADOWS).await?, Vec::<String>::new());
    assert_eq!(base.recorded().await?, json!(null), "nothing is recorded");
    // The run itself.
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("run", ran.text);
    assert_eq!(ran.code, Some(0));
    assert_eq!(base.columns().await?, texts(&["id", "legacy", "name", "note"]));
    assert_eq!(base.column(SHADOWS).await?, Vec::<String>::new());
    let recorded = base.recorded_text().await?;
    insta::assert_snapshot!("recorded", recorded);
    // Whoever holds the lock of migrations hinders nobody who has nothing to migrate.
    let other = base.session().await?;
    other.rows("lock", crate::failures::LOCK).await?;
    let ran = base.run(&[]).await?;
    assert!(ran.code == Some(0) && ran.text.contains("the database is at r2: nothing to migrate"), "{ran:?}");
    assert_eq!(base.recorded_text().await?, recorded, "no new entry");
    Ok(())
}

#[tokio::test]
async fn what_takes_away_is_refused_until_it_is_waived() -> Result<()> {
    let Some(base) = Base::open("db-drops", &[("r2", HIDDEN_DROP, "")], json!({})).await? else { return Ok(()) };
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("refused", ran.text);
    assert_eq!(ran.code, Some(2));
    assert_eq!((base.noted().await?, base.columns().await?), (vec!["r1".to_owned()], texts(&["id", "legacy", "name"])));
    assert!(base.scene.crd("tools").await?.is_none(), "the CRDs come after it");
    let waivers = pasted(&ran.text);
    base.policy(json!({"waivers": waivers})).await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("waived", ran.text);
    assert_eq!((ran.code, base.columns().await?), (Some(0), texts(&["id", "name"])));
    let recorded = base.recorded().await?;
    let entry = &recorded["migrations"][0];
    assert_eq!((&entry["waivers"][0], &entry["outcome"]), (&waivers[0]["hash"], &json!("Migrated")), "{recorded:#}");
    assert!(entry["findings"][0].as_str().is_some_and(|text| text.starts_with("[columnDropped] r2")), "{recorded:#}");
    Ok(())
}

#[tokio::test]
async fn what_contracts_waits_for_the_last_pod_that_uses_it() -> Result<()> {
    let contracts = ("r3", "op.drop_column('apps', 'legacy')", "");
    let more = json!({"revisions": [{"revision": "r3", "phase": "Contract"}]});
    let Some(base) = Base::open("db-contracts", &[ADDS, contracts], more).await? else { return Ok(()) };
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("before", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r2"])));
    let recorded = base.recorded().await?;
    assert_eq!(
        (&recorded["needs"][0]["revision"], &recorded["migrations"][0]["outcome"]),
        (&json!("r2"), &json!("Stopped"))
    );
    // The same again while the older version runs; then the newer one alone.
    assert_eq!((base.run(&[]).await?.code, base.noted().await?), (Some(0), texts(&["r2"])));
    base.roll("2.3.0", 2).await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("after", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r3"])));
    assert_eq!(base.columns().await?, texts(&["id", "name", "note"]));
    let recorded = base.recorded().await?;
    assert_eq!(recorded["migrations"][0]["outcome"], "Migrated");
    assert_eq!(
        (&recorded["needs"][0]["revision"], &recorded["revisions"][0]["nature"]),
        (&json!("r3"), &json!("Breaking"))
    );
    Ok(())
}

#[tokio::test]
async fn a_contracting_migration_that_fails_leaves_the_need_of_the_version_that_runs() -> Result<()> {
    let contracts = ("r3", "op.drop_column('apps', 'legacy')\nop.execute('SELECT 1 / (1 - count(*)) FROM apps')", "");
    let more = json!({"revisions": [{"revision": "r3", "phase": "Contract"}]});
    let Some(base) = Base::open("db-contract-fails", &[ADDS, contracts], more).await? else { return Ok(()) };
    assert_eq!(base.run(&[]).await?.code, Some(0));
    base.roll("2.3.0", 2).await?;
    base.sql("INSERT INTO apps VALUES (1)").await?;
    let ran = base.run(&[]).await?;
    assert_eq!((ran.code, base.noted().await?), (Some(6), texts(&["r2"])), "{}", ran.text);
    assert_eq!(base.recorded().await?["needs"][0]["revision"], "r2", "its pods start on r2");
    Ok(())
}

#[tokio::test]
async fn what_is_held_is_stopped_before() -> Result<()> {
    let next = ("r3", "op.add_column('apps', sa.Column('more', sa.Text()))", "");
    let more = json!({"revisions": [{"revision": "r3", "hold": "until the audit is done"}]});
    let Some(base) = Base::open("db-holds", &[ADDS, next], more).await? else { return Ok(()) };
    // What a release needs has to come whole.
    base.needs("2.3.0", "r3").await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("needed", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(2), texts(&["r1"])));
    assert!(base.scene.crd("tools").await?.is_none());
    base.needs("2.3.0", "r2").await?;
    assert_eq!((base.run(&[]).await?.code, base.noted().await?), (Some(0), texts(&["r2"])));
    Ok(())
}

#[tokio::test]
async fn what_comes_after_a_hold_is_left_and_what_comes_before_is_run() -> Result<()> {
    let next = ("r3", "op.add_column('apps', sa.Column('more', sa.Text()))", "");
    let more = json!({"revisions": [{"revision": "r3", "hold": "until the audit is done"}]});
    let Some(base) = Base::open("db-hold", &[ADDS, next], more).await? else { return Ok(()) };
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("held", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r2"])));
    assert_eq!(base.recorded().await?["needs"][0]["revision"], "r2");
    base.policy(json!({"revisions": []})).await?;
    assert_eq!((base.run(&[]).await?.code, base.noted().await?), (Some(0), texts(&["r3"])));
    assert_eq!(base.recorded().await?["needs"][0]["revision"], "r3");
    Ok(())
}

#[tokio::test]
async fn of_three_hooks_at_once_one_migrates_and_it_is_recorded_once() -> Result<()> {
    let Some(base) = Base::open("db-three", &[ADDS], json!({})).await? else { return Ok(()) };
    let (first, second, third) = tokio::try_join!(base.run(&[]), base.run(&[]), base.run(&[]))?;
    let texts: Vec<String> = [first, second, third]
        .into_iter()
        .map(|ran| {
            assert_eq!(ran.code, Some(0), "{}", ran.text);
            ran.text
        })
        .collect();
    let did = texts.iter().filter(|text| text.contains("1 migration applied")).count();
    assert_eq!(did, 1, "{texts:#?}");
    let recorded = base.recorded().await?;
    let entries = recorded["migrations"].as_array().map(Vec::len);
    assert_eq!((entries, &recorded["migrations"][0]["seconds"]), (Some(1), &json!("ANY")), "{recorded:#}");
    Ok(())
}

pub(crate) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
