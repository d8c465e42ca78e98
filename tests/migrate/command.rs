//! `upgrade-guard migrate`: the same without a cluster.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::process::Command;

use super::alembic::{Project, programs};
use super::case::{Case, Style, project, shared};
use super::postgres::{PASSWORD, PASSWORD_IN_URL};

const FIRST: (&str, &str) = ("a1", "op.execute('CREATE TABLE a (id int, old text)')");
const ADDS: (&str, &str) = ("b2", "op.execute('ALTER TABLE a ADD n text')");
const DROPS: (&str, &str) = ("c3", "op.execute(\"DO $$ BEGIN EXECUTE 'ALTER TABLE a DROP COLUMN ' || 'old'; END $$\")");

/// Writes a policy with `more` in `spec.database.migrations`.
fn policy(project: &Project, more: &Value) -> Result<()> {
    let mut migrations = json!({
        "alembic": [programs()?.join("alembic")], "directory": project.folder(), "shadow": {"from": "Empty"},
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        migrations[name] = value.clone();
    }
    let policy = json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "stoa"},
        "spec": {
            "namespaces": ["stoa"], "components": [{"name": "api", "match": {"images": ["x/api"]}}],
            "database": {"components": ["api"], "migrations": migrations},
        },
    });
    project.write("policy.yaml", &policy.to_string())
}

/// Runs the command, and gives its exit code and what it printed, without what differs from run to run.
async fn migrate(url: Option<&str>, folder: &Path, more: &[&str]) -> Result<(Option<i32>, String)> {
    program(url, folder, &["migrate", "--policy-file"], more).await
}

async fn program(url: Option<&str>, folder: &Path, name: &[&str], more: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upgrade-guard"));
    command.args(name).arg(folder.join("policy.yaml")).args(more);
    command.env_remove("DATABASE_URL").env_remove("PGHOST").env_remove("KUBECONFIG");
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(!text.contains(PASSWORD) && !text.contains(PASSWORD_IN_URL), "{text}");
    let text = text.replace(&folder.display().to_string(), "PROJECT");
    Ok((status.code(), regex::Regex::new(r"\b\d+\.\d s\b")?.replace_all(&text, "N s").into_owned()))
}

#[tokio::test]
async fn it_looks_migrates_and_finds_nothing_more_to_do() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[FIRST, ADDS, DROPS])?;
    policy(&project, &json!({}))?;
    let case = Case::new(server, "c_migrate", project.folder(), &["a1"]).await?;
    case.run().await.0?;
    let run = async |more: &[&str]| migrate(Some(&case.url), project.folder(), more).await;
    let noted = async || case.value("SELECT version_num FROM alembic_version").await;
    // The same answer for CI, in all of its formats.
    let lint = async |more: &[&str]| {
        program(Some(&case.url), project.folder(), &["lint", "--migrations", "--policy"], more).await
    };
    let (code, text) = lint(&[]).await?;
    insta::assert_snapshot!("linted", text);
    assert_eq!((code, noted().await?.as_str()), (Some(1), "a1"));
    let (code, text) = lint(&["-o", "sarif"]).await?;
    let sarif: Value = serde_json::from_str(&text)?;
    let result = &sarif["runs"][0]["results"][0];
    let file = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str();
    assert_eq!((code, result["ruleId"].as_str()), (Some(1), Some("columnDropped")), "{text}");
    assert!(file.is_some_and(|file| file.ends_with("migrations/versions/c3.py")), "{text}");
    let (code, text) = run(&["--to", "b2", "--dry-run"]).await?;
    insta::assert_snapshot!("dry", text);
    assert_eq!((code, noted().await?.as_str()), (Some(0), "a1"));
    let (code, text) = run(&["--to", "b2"]).await?;
    insta::assert_snapshot!("done", text);
    assert_eq!((code, noted().await?.as_str()), (Some(0), "b2"));
    let (code, text) = run(&["--to", "b2"]).await?;
    insta::assert_snapshot!("nothing", text);
    assert_eq!(code, Some(0));
    let (code, text) = run(&[]).await?;
    insta::assert_snapshot!("refused", text);
    assert_eq!((code, noted().await?.as_str()), (Some(2), "b2"));
    // Which pods run, nobody can tell here.
    policy(&project, &json!({"revisions": [{"revision": "c3", "phase": "Contract"}]}))?;
    let (code, text) = run(&[]).await?;
    insta::assert_snapshot!("unseen", text);
    assert_eq!((code, noted().await?.as_str()), (Some(0), "b2"));
    // A database of another image.
    server.sql("c_migrate", "UPDATE alembic_version SET version_num = 'zz'").await?;
    let (code, text) = run(&[]).await?;
    insta::assert_snapshot!("strange", text);
    assert_eq!((code, noted().await?.as_str()), (Some(4), "zz"));
    Ok(())
}

#[tokio::test]
async fn without_a_url_or_a_policy_it_cannot_be_tried() -> Result<()> {
    let project = project(Style::Whole, &[FIRST])?;
    policy(&project, &json!({}))?;
    let (code, text) = migrate(None, project.folder(), &[]).await?;
    insta::assert_snapshot!("nowhere", text);
    assert_eq!(code, Some(1));
    let (code, text) = migrate(None, project.folder(), &["--policy", "other"]).await?;
    insta::assert_snapshot!("no_policy", text);
    assert_eq!(code, Some(1));
    Ok(())
}

#[tokio::test]
async fn the_live_database_says_what_a_statement_means_and_how_long_it_locks() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let table = "op.execute('CREATE TABLE a (id int, code varchar(10)); CREATE INDEX a_code ON a (code); \
                 INSERT INTO a SELECT 1 FROM generate_series(1, 100)')";
    // A wider column and an index that forbids nothing: harmless as long as the types before are known.
    let widens = "op.execute('ALTER TABLE a ALTER COLUMN code TYPE varchar(20)')\nop.execute('DROP INDEX a_code')";
    let locks = "op.execute('CREATE INDEX a_id ON a (id)')";
    let project = project(Style::Whole, &[("a1", table), ("b2", widens), ("c3", locks)])?;
    policy(&project, &json!({"shadow": {"from": "Schema"}}))?;
    let case = Case::new(server, "c_meaning", project.folder(), &["a1"]).await?;
    case.run().await.0?;
    server.sql("c_meaning", "ANALYZE a").await?;
    let lint = async || program(Some(&case.url), project.folder(), &["lint", "--migrations", "--policy"], &[]).await;
    let (code, text) = lint().await?;
    insta::assert_snapshot!("meaning_small", text);
    assert_eq!(code, Some(0));
    policy(&project, &json!({"shadow": {"from": "Schema"}, "largeTable": {"rows": 100, "megabytes": 1000}}))?;
    let (code, text) = lint().await?;
    insta::assert_snapshot!("meaning_large", text);
    assert_eq!(code, Some(1));
    Ok(())
}
