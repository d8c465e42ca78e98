//! `--rollback`: what is undone, and when.

use anyhow::Result;
use serde_json::json;

use crate::base::{ADDS, Base, server, shown};
use crate::database::texts;
use crate::scene::Ran;

async fn back(base: &Base) -> Result<Ran> {
    let args = ["--release", "2.2.0", "--rollback", "--timeout", "5m"].map(str::to_owned);
    let ran = base.scene.run(&args).await?;
    Ok(Ran { text: shown(&ran.text), ..ran })
}

#[tokio::test]
async fn migrations_are_undone_when_all_allow_it() -> Result<()> {
    let Some(server) = server().await? else { return Ok(()) };
    let dump = json!({"name": "dump", "object": {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "dump", "ready": "object.data.of == 'today'"}});
    let made =
        |of: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dump"}, "data": {"of": of}});
    let rest = json!({"preconditions": [dump]});
    let Some(base) = Base::on(server, "db-back", &[ADDS], json!({}), rest).await? else { return Ok(()) };
    base.needs("2.2.0", "r1").await?;
    base.scene.apply(&made("today")).await?;
    assert_eq!((base.run(&[]).await?.code, base.noted().await?), (Some(0), texts(&["r2"])));
    base.roll("2.3.0", 2).await?;
    // The policy says never, where it says nothing.
    let ran = back(&base).await?;
    insta::assert_snapshot!("forbidden", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(2), texts(&["r2"])));
    base.policy(json!({"downgrade": "Allow"})).await?;
    // A backup is asked for as before an upgrade.
    base.scene.apply(&made("yesterday")).await?;
    let ran = back(&base).await?;
    assert_eq!((ran.code, base.noted().await?), (Some(3), texts(&["r2"])), "{}", ran.text);
    base.scene.apply(&made("today")).await?;
    let ran = back(&base).await?;
    insta::assert_snapshot!("running", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(2), texts(&["r2"])));
    base.roll("2.3.0", 0).await?;
    let ran = back(&base).await?;
    insta::assert_snapshot!("undone", ran.text);
    assert_eq!((ran.code, base.noted().await?), (Some(0), texts(&["r1"])));
    assert_eq!(base.columns().await?, texts(&["id", "legacy", "name"]));
    insta::assert_snapshot!("recorded", base.recorded_text().await?);
    // Again there is nothing to undo.
    let ran = back(&base).await?;
    assert!(ran.code == Some(0) && ran.text.contains("nothing to undo"), "{}", ran.text);
    Ok(())
}
