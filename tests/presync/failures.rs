//! Why the hook does not migrate, or not to the end: its exit code says which.

use anyhow::Result;
use serde_json::json;

use crate::base::{ADDS, Base};
use crate::database::texts;

/// The lock of migrations, as any other tool would take it.
pub(crate) const LOCK: &str = "SELECT pg_advisory_lock(hashtext('upgrade-guard:' || current_database())::bigint)";
/// Fails where there is a row, and a copy of the schema has none.
const FAILS: &str = "op.execute('SELECT 1 / (1 - count(*)) FROM apps')";

#[tokio::test]
async fn while_another_one_migrates_it_is_busy() -> Result<()> {
    let Some(base) = Base::open("db-busy", &[ADDS], json!({"lockWait": "1s"})).await? else { return Ok(()) };
    let other = base.session().await?;
    other.rows("lock", LOCK).await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!(ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(5), texts(&["r1"])));
    drop(other);
    assert_eq!((base.run(&[]).await?.code, base.noted().await?), (Some(0), texts(&["r2"])));
    let recorded = base.recorded().await?;
    assert_eq!(recorded["migrations"].as_array().map(Vec::len), Some(1), "{recorded:#}");
    Ok(())
}

#[tokio::test]
async fn what_fails_in_its_transaction_leaves_nothing() -> Result<()> {
    let fails = ("r2", &*format!("{}\n{FAILS}", ADDS.1), "");
    let Some(base) = Base::open("db-undone", &[fails], json!({})).await? else { return Ok(()) };
    base.sql("INSERT INTO apps VALUES (1)").await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!(ran.text);
    assert_eq!((ran.code, base.columns().await?), (Some(6), texts(&["id", "legacy", "name"])));
    let recorded = base.recorded().await?;
    assert_eq!((&recorded["heads"], &recorded["migrations"][0]["outcome"]), (&json!(["r1"]), &json!("Undone")));
    // Mended, it goes on.
    base.sql("DELETE FROM apps").await?;
    assert_eq!((base.run(&[]).await?.code, base.noted().await?), (Some(0), texts(&["r2"])));
    Ok(())
}

#[tokio::test]
async fn what_fails_after_it_left_its_transaction_is_half_way() -> Result<()> {
    let half = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE half (id int PRIMARY KEY)')";
    let fails = ("r2", &*format!("{half}\n{FAILS}"), "");
    let Some(base) = Base::open("db-half", &[fails], json!({})).await? else { return Ok(()) };
    base.sql("INSERT INTO apps VALUES (1)").await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!(ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(7), texts(&["r1"])));
    assert_eq!(base.recorded().await?["migrations"][0]["outcome"], "HalfWay");
    Ok(())
}

#[tokio::test]
async fn several_heads_are_no_image_to_migrate_from() -> Result<()> {
    let Some(base) = Base::open("db-heads", &[ADDS], json!({})).await? else { return Ok(()) };
    base.project.revision("r2b", "'r1'", "op.add_column('apps', sa.Column('b', sa.Text()))", "")?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!(ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(4), texts(&["r1"])));
    Ok(())
}

#[tokio::test]
async fn a_database_that_the_image_does_not_know_is_left_alone() -> Result<()> {
    let Some(base) = Base::open("db-strange", &[ADDS], json!({})).await? else { return Ok(()) };
    base.sql("UPDATE alembic_version SET version_num = 'zz'").await?;
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!(ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(4), texts(&["zz"])));
    assert!(base.scene.crd("tools").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn without_a_url_it_cannot_be_tried() -> Result<()> {
    let Some(mut base) = Base::open("db-nowhere", &[ADDS], json!({})).await? else { return Ok(()) };
    base.scene.environment.clear();
    let ran = base.run(&[]).await?;
    insta::assert_snapshot!("nowhere", ran.text);
    assert_eq!(ran.code, Some(1));
    let ran = base.run(&["--skip-migrations"]).await?;
    insta::assert_snapshot!("skipped", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r1"])));
    Ok(())
}
