//! The project of `tests/postgres/project` is what its README says: real Alembic takes a real PostgreSQL up and down it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use alembic::{Project, known, programs};
use postgres::Postgres;

#[allow(dead_code, reason = "what other test files use")]
#[path = "support/alembic.rs"]
mod alembic;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;

/// Everything of a schema that a revision could leave behind or forget, one line each.
const SCHEMA: &str = "\
    SELECT 'column ' || table_schema || '.' || table_name || '.' || column_name || ' ' || udt_name || \
        coalesce(character_maximum_length::text, '') || ' ' || is_nullable || ' ' || coalesce(column_default, '') || \
        coalesce(generation_expression, '') FROM information_schema.columns WHERE table_schema IN ('public', 'audit') \
    UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) \
        FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'audit') \
    UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname IN ('public', 'audit') \
    UNION ALL SELECT 'relation ' || oid::regclass || ' ' || relkind::text FROM pg_class \
        WHERE relnamespace::regnamespace::text IN ('public', 'audit') \
    UNION ALL SELECT 'value ' || enumtypid::regtype || ' ' || enumlabel FROM pg_enum \
    UNION ALL SELECT 'type ' || oid::regtype || ' ' || typtype::text FROM pg_type \
        WHERE typnamespace::regnamespace::text IN ('public', 'audit') \
    UNION ALL SELECT 'function ' || oid::regprocedure || ' ' || prosrc FROM pg_proc \
        WHERE pronamespace::regnamespace::text IN ('public', 'audit') \
    UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal \
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace \
    ORDER BY 1";

fn alembic(project: &Project, url: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs()?.join("alembic"));
    Ok(command.args(arguments).current_dir(project.folder()).env("DATABASE_URL", url).output()?)
}

fn done(project: &Project, url: &str, arguments: &[&str]) -> Result<String> {
    let output = alembic(project, url, arguments)?;
    ensure!(output.status.success(), "alembic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The schema, but for the table with the revision that Alembic leaves behind.
async fn schema(server: &Postgres, database: &str) -> Result<Vec<String>> {
    let lines = server.column(database, SCHEMA).await?;
    Ok(lines.into_iter().filter(|line| !line.contains("alembic_version")).collect())
}

#[tokio::test]
async fn every_revision_goes_both_ways() -> Result<()> {
    let Some(server) = Postgres::start(None).await? else { return Ok(()) };
    server.database("project", "").await?;
    let (project, url) = (Project::fixture()?, server.url("project", "?ssl=prefer"));
    let empty = schema(&server, "project").await?;
    // Up in steps, with rows from early on, so that backfills have something to do.
    let stops = [known::SEEDED, known::FORK, known::OLD, known::HEAD];
    let mut seen = Vec::new();
    for stop in stops {
        done(&project, &url, &["upgrade", stop])?;
        if stop == known::SEEDED {
            server.sql("project", &Project::seed()?).await?;
        }
        seen.push((stop, schema(&server, "project").await?));
    }
    let head = seen.pop().context("the head was seen")?.1;
    for (stop, expected) in seen.iter().rev() {
        done(&project, &url, &["downgrade", stop])?;
        assert_eq!(&schema(&server, "project").await?, expected, "{stop}");
    }
    done(&project, &url, &["downgrade", "base"])?;
    assert_eq!(schema(&server, "project").await?, empty);
    done(&project, &url, &["upgrade", "head"])?;
    assert_eq!(schema(&server, "project").await?, head);
    assert_eq!(server.column("project", "SELECT version_num FROM alembic_version").await?, [known::HEAD]);
    Ok(())
}

#[tokio::test]
async fn sql_can_be_rendered_up_to_the_revision_that_inspects_the_connection() -> Result<()> {
    let project = Project::fixture()?;
    let sql = done(&project, "postgresql://nowhere/none", &["upgrade", known::RENDERED, "--sql"])?;
    assert!(sql.contains("CREATE VIEW active_subscriptions") && sql.trim_end().ends_with("COMMIT;"), "{sql}");
    let failed = alembic(&project, "postgresql://nowhere/none", &["upgrade", "head", "--sql"])?;
    let said = String::from_utf8(failed.stderr)?;
    assert!(!failed.status.success() && said.contains("NoInspectionAvailable"), "{said}");
    let later = format!("{}:{}", known::INSPECTS, known::HEAD);
    done(&project, "postgresql://nowhere/none", &["upgrade", &later, "--sql"])?;
    Ok(())
}

#[tokio::test]
async fn the_graph_has_branches_and_one_head() -> Result<()> {
    let project = Project::fixture()?;
    let heads = || done(&project, "", &["heads"]);
    let told = heads()?;
    // The labels of branches stand between, in any order.
    let one = told.lines().count() == 1 && told.starts_with(known::HEAD) && told.trim_end().ends_with("(head)");
    assert!(one, "{told}");
    let history = done(&project, "", &["history"])?;
    assert_eq!(history.lines().count(), known::REVISIONS);
    for (what, count) in [("(branchpoint)", 2), ("(mergepoint)", 2)] {
        let told = history.lines().filter(|line| line.contains(what)).count();
        assert_eq!(told, count, "{what}:\n{history}");
    }
    project.revision("047_another", &format!("'{}'", known::OLD), "pass", "pass")?;
    assert_eq!(heads()?.lines().count(), 2);
    Ok(())
}
