//! What the linter says of SQL, against what the statements really do to a real PostgreSQL, and what a real Alembic writes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};
use upgrade_guard::database::check::{Check, Kind};
use upgrade_guard::database::finding::Finding;
use upgrade_guard::database::lint::{Context, Script, sql};

use alembic::Project;
use postgres::{PASSWORD, Postgres, USER};

#[allow(dead_code, reason = "what other test files use")]
#[path = "support/alembic.rs"]
mod alembic;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;

/// What the statements are tried on.
const SCHEMA: &str = "
    CREATE TABLE p (id int PRIMARY KEY);
    CREATE TABLE t (id int PRIMARY KEY, c int DEFAULT 1, name varchar(50), amount numeric(10, 2), at timestamp(3), note text);
    CREATE INDEX t_c ON t (c);
    INSERT INTO t (id, name) SELECT n, 'x' FROM generate_series(1, 100) n;
    CREATE TABLE parts (id int) PARTITION BY LIST (id);
    CREATE TABLE part (id int);
    CREATE MATERIALIZED VIEW m AS SELECT 1 AS x;
";

/// The server that all tests of this process share.
async fn shared() -> Result<Option<&'static Postgres>> {
    static SHARED: OnceCell<Result<Option<Postgres>, String>> = OnceCell::const_new();
    let start = || async { Postgres::start(None).await.map_err(|error| format!("{error:#}")) };
    let shared = SHARED.get_or_init(start).await;
    Ok(shared.as_ref().map_err(|error| anyhow!(error.clone()))?.as_ref())
}

async fn connect(server: &Postgres, database: &str) -> Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(server.socket()).port(server.port).user(USER).password(PASSWORD).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn lint_in(text: &str, context: &Context) -> Result<Vec<Finding>> {
    Ok(sql(&Script { text: text.to_owned(), ..Script::default() }, context)?)
}

fn finds(text: &str, check: Check) -> Result<bool> {
    Ok(lint_in(text, &Context { timeouts_set: true, ..Context::default() })?.iter().any(|found| found.check == check))
}

/// The file that a table is in: another one when it was written anew.
async fn file(client: &Client, table: &str) -> Result<u32> {
    Ok(client.query_one(&format!("SELECT pg_relation_filenode('{table}')"), &[]).await?.get(0))
}

/// Runs statements in a transaction, which is undone, and returns the locks on `table` and whether it was written anew.
async fn tried(client: &Client, table: &str, statements: &str) -> Result<(BTreeSet<String>, bool)> {
    let before = file(client, table).await?;
    client.batch_execute("BEGIN").await?;
    client.batch_execute(statements).await.with_context(|| statements.to_owned())?;
    let held = "SELECT mode FROM pg_locks WHERE granted AND pid = pg_backend_pid() AND relation = $1::text::regclass";
    let rows = client.query(held, &[&table]).await?;
    let is_anew = file(client, table).await? != before;
    client.batch_execute("ROLLBACK").await?;
    Ok((rows.iter().map(|row| row.get(0)).collect(), is_anew))
}

#[tokio::test]
async fn a_lock_that_is_told_is_taken() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    server.database("l_locks", SCHEMA).await?;
    let client = connect(server, "l_locks").await?;
    for (statement, table, mode, check) in [
        ("CREATE INDEX i ON t (c)", "t", "ShareLock", Check::IndexLocks),
        ("REINDEX TABLE t", "t", "ShareLock", Check::IndexLocks),
        ("DROP INDEX t_c", "t", "AccessExclusiveLock", Check::IndexLocks),
        ("ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0)", "t", "AccessExclusiveLock", Check::ConstraintScans),
        (
            "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (c) REFERENCES p (id) NOT VALID",
            "p",
            "ShareRowExclusiveLock",
            Check::ForeignKeyAdded,
        ),
        ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", "t", "AccessExclusiveLock", Check::ConstraintScans),
        ("LOCK TABLE t", "t", "AccessExclusiveLock", Check::HeavyLock),
        ("ALTER TABLE parts ATTACH PARTITION part DEFAULT", "part", "AccessExclusiveLock", Check::HeavyLock),
        ("REFRESH MATERIALIZED VIEW m", "m", "AccessExclusiveLock", Check::HeavyLock),
        (
            "ALTER TABLE t ADD COLUMN n int; UPDATE t SET n = 1 WHERE id < 50",
            "t",
            "AccessExclusiveLock",
            Check::BackfillUnderLock,
        ),
    ] {
        let (held, _) = tried(&client, table, statement).await?;
        assert!(held.contains(mode), "{statement}: {held:?}");
        assert!(finds(&format!("BEGIN; {statement}; COMMIT"), check)?, "{statement}");
    }
    // And what is not told, is not.
    for statement in ["ALTER TABLE t VALIDATE CONSTRAINT k", "COMMENT ON TABLE t IS 'x'", "ANALYZE t"] {
        let set_up = "ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0) NOT VALID";
        client.batch_execute(set_up).await?;
        let (held, _) = tried(&client, "t", statement).await?;
        assert!(!held.contains("AccessExclusiveLock") && !held.contains("ShareLock"), "{statement}: {held:?}");
        let locks = lint_in(statement, &Context { timeouts_set: true, ..Context::default() })?;
        assert!(locks.iter().all(|found| found.check.kind() != Kind::Lock), "{statement}: {locks:#?}");
        client.batch_execute("ALTER TABLE t DROP CONSTRAINT k").await?;
    }
    // The server refuses what is told to fail.
    client.batch_execute("BEGIN").await?;
    for statement in ["CREATE INDEX CONCURRENTLY i ON t (c)", "DROP INDEX CONCURRENTLY t_c"] {
        client.batch_execute("SAVEPOINT s").await?;
        let error = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("25001"), "{statement}");
        client.batch_execute("ROLLBACK TO s").await?;
        assert!(finds(&format!("BEGIN; {statement}; COMMIT"), Check::ConcurrentlyInTransaction)?, "{statement}");
    }
    client.batch_execute("ROLLBACK").await?;
    let timeout: String = client.query_one("SHOW lock_timeout", &[]).await?.get(0);
    let found = lint_in("ALTER TABLE t ADD COLUMN x int", &Context::default())?;
    assert!(timeout == "0" && found.iter().any(|found| found.check == Check::NoLockTimeout));
    Ok(())
}

/// The types of the columns of `t`, as the server tells them.
async fn types(client: &Client) -> Result<BTreeMap<(String, String), String>> {
    let query = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
                 WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped";
    let rows = client.query(query, &[]).await?;
    Ok(rows.iter().map(|row| (("public.t".to_owned(), row.get(0)), row.get(1))).collect())
}

#[tokio::test]
async fn a_table_is_written_anew_where_that_is_told() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    server.database("l_rewrites", SCHEMA).await?;
    let client = connect(server, "l_rewrites").await?;
    let context = Context { timeouts_set: true, types: types(&client).await?, ..Context::default() };
    for (statement, expected) in [
        ("ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid()", true),
        ("ALTER TABLE t ADD COLUMN x timestamptz DEFAULT now()", false),
        ("ALTER TABLE t ADD COLUMN x text DEFAULT 'd' NOT NULL", false),
        ("ALTER TABLE t ADD COLUMN x int", false),
        ("ALTER TABLE t ADD COLUMN x int GENERATED ALWAYS AS (c + 1) STORED", true),
        ("ALTER TABLE t ADD COLUMN x int GENERATED ALWAYS AS IDENTITY", true),
        ("ALTER TABLE t ADD COLUMN x bigserial", true),
        ("ALTER TABLE t SET UNLOGGED", true),
        ("CLUSTER t USING t_pkey", true),
        ("ALTER TABLE t ALTER c TYPE smallint", true),
        ("ALTER TABLE t ALTER c TYPE bigint", true),
        ("ALTER TABLE t ALTER c TYPE text", true),
        ("ALTER TABLE t ALTER name TYPE varchar(100)", false),
        ("ALTER TABLE t ALTER name TYPE text", false),
        ("ALTER TABLE t ALTER name TYPE varchar", false),
        ("ALTER TABLE t ALTER name TYPE varchar(10)", true),
        ("ALTER TABLE t ALTER note TYPE varchar", false),
        ("ALTER TABLE t ALTER amount TYPE numeric(12, 2)", false),
        ("ALTER TABLE t ALTER amount TYPE numeric", false),
        ("ALTER TABLE t ALTER amount TYPE numeric(12, 3)", true),
        ("ALTER TABLE t ALTER at TYPE timestamp", false),
        ("ALTER TABLE t ALTER at TYPE timestamp(1)", true),
    ] {
        let (_, is_anew) = tried(&client, "t", statement).await?;
        let told = lint_in(statement, &context)?.iter().any(|found| found.check == Check::TableRewritten);
        assert_eq!((is_anew, told), (expected, expected), "{statement}: written anew, told");
    }
    // Not in a transaction.
    let before = file(&client, "t").await?;
    client.batch_execute("VACUUM FULL t").await?;
    assert!(file(&client, "t").await? != before && finds("VACUUM FULL t", Check::TableRewritten)?);
    Ok(())
}

#[tokio::test]
async fn rows_go_where_that_is_told() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    server.database("l_rows", SCHEMA).await?;
    let client = connect(server, "l_rows").await?;
    let intact = "SELECT count(*) FROM t WHERE c = 1";
    for (statement, expected) in [
        ("TRUNCATE t", true),
        ("TRUNCATE p, t", true),
        ("DELETE FROM t", true),
        ("DELETE FROM t WHERE true", true),
        ("UPDATE t SET c = 0", true),
        ("WITH gone AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM gone", true),
        ("DELETE FROM t WHERE id < 0", false),
        ("ALTER TABLE t ADD COLUMN fresh int; UPDATE t SET fresh = 1", false),
        ("CREATE TABLE n AS SELECT * FROM t; TRUNCATE n", false),
    ] {
        client.batch_execute("BEGIN").await?;
        client.batch_execute(statement).await?;
        let rest: i64 = client.query_one(intact, &[]).await?.get(0);
        client.batch_execute("ROLLBACK").await?;
        assert_eq!(
            (rest == 0, finds(statement, Check::DataRemoved)?),
            (expected, expected),
            "{statement}: {rest} rows"
        );
    }
    Ok(())
}

/// A project with a branch and a merge, an `autocommit_block`, a `DO` block, and transactions by hand.
fn project() -> Result<Project> {
    let project = Project::new()?;
    project.revision(
        "a1",
        "None",
        "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True), sa.Column('old', sa.Text))",
        "",
    )?;
    project.revision(
        "b2",
        "'a1'",
        "op.add_column('t', sa.Column('c', sa.Text))\nop.execute('-- squawk-ignore-file')",
        "",
    )?;
    let concurrently = "with op.get_context().autocommit_block():\n    op.create_index('t_c', 't', ['c'], postgresql_concurrently=True)";
    project.revision("c3", "'b2'", concurrently, "")?;
    project.revision("d4", "'c3'", "op.create_table('n', sa.Column('x', sa.Integer))\nop.execute('''DO $$ BEGIN EXECUTE 'ALTER TABLE t DROP COLUMN old'; END $$''')", "")?;
    project.revision("e5", "'b2'", "op.drop_column('t', 'old')\nop.execute('COMMIT')", "")?;
    project.revision(
        "f6",
        "('d4', 'e5')",
        "op.alter_column('t', 'id', new_column_name='key')\nop.drop_column('n', 'x')",
        "",
    )?;
    Ok(project)
}

#[test]
fn what_alembic_writes_is_of_the_revisions_that_do_it() -> Result<()> {
    if std::env::var("UPGRADE_GUARD_SKIP_POSTGRES").is_ok_and(|value| value == "1") {
        return Ok(());
    }
    let project = project()?;
    for per_migration in ["0", "1"] {
        let mut command = Command::new(alembic::programs()?.join("alembic"));
        command.current_dir(project.folder()).args(["upgrade", "a1:f6", "--sql"]).env("PER_MIGRATION", per_migration);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let script = Script { text: String::from_utf8(output.stdout)?, ..Script::default() };
        let found = sql(&script, &Context { timeouts_set: true, ..Context::default() })?;
        let breaking = found.iter().filter(|found| found.check.kind() == Kind::Breaking);
        let told: BTreeSet<(&str, &str, &str)> = breaking
            .map(|found| (found.revision.as_deref().unwrap_or_default(), found.check.name(), found.object.as_str()))
            .collect();
        let expected = BTreeSet::from([
            ("d4", "opaque", "DO block"),
            ("e5", "columnDropped", "column public.t.old"),
            ("e5", "transactionControl", "transaction"),
            ("f6", "columnRenamed", "column public.t.id"),
        ]);
        assert_eq!(told, expected, "PER_MIGRATION={per_migration}: {}", script.text);
    }
    Ok(())
}
