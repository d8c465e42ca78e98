//! What the catalog of a real PostgreSQL says of changes, and whether that is what becomes of an application that does not
//! know them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::sync::{Mutex, OnceCell};
use upgrade_guard::database::catalog::{Catalog, compare, invalid_indexes, read, sizes};
use upgrade_guard::database::check::{Check, Kind};
use upgrade_guard::database::connection::Connection;
use upgrade_guard::database::finding::Finding;
use upgrade_guard::database::revision::Noted;
use upgrade_guard::database::url::DatabaseUrl;

use cases::{CASES, Case};
use postgres::Postgres;

#[path = "catalog/cases.rs"]
mod cases;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "catalog/random.rs"]
mod random;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;

const SCHEMA: &str = include_str!("catalog/schema.sql");
const QUERIES: &str = include_str!("catalog/queries.sql");
/// Long enough on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server with the database `model`, of which every case gets a copy.
async fn shared() -> Result<Option<&'static Postgres>> {
    static SHARED: OnceCell<Result<Option<Postgres>, String>> = OnceCell::const_new();
    let start = async || {
        let Some(server) = Postgres::start(None).await? else { return Ok(None) };
        server.sql("postgres", "CREATE ROLE app LOGIN; CREATE ROLE other; CREATE ROLE third").await?;
        server.database("model", SCHEMA).await?;
        anyhow::Ok(Some(server))
    };
    let shared = SHARED.get_or_init(|| async { start().await.map_err(|error| format!("{error:#}")) }).await;
    shared.as_ref().map(Option::as_ref).map_err(|error| anyhow!(error.clone()))
}

/// A copy of the model. Two copies at once are refused, as the model is in use then.
async fn copy(server: &Postgres, name: &str) -> Result<()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE model")).await
}

async fn open(server: &Postgres, database: &str) -> Result<Connection> {
    let url: DatabaseUrl = server.url(database, "").parse()?;
    Ok(Connection::open(&url, "test", PATIENCE).await?)
}

/// Also within a transaction, in which the look itself leaves nothing behind.
async fn look(connection: &Connection, within: bool) -> Result<Catalog> {
    if within {
        connection.rows("save", "SAVEPOINT look").await?;
    }
    let catalog = read(connection, &Noted::default()).await?;
    if within {
        connection.rows("roll back", "ROLLBACK TO look").await?;
    }
    Ok(catalog)
}

/// What each query of the application of before comes to, as its role: nothing, or the error.
async fn broken(connection: &Connection, within: bool) -> BTreeMap<&'static str, String> {
    let (begin, end) = if within { ("SAVEPOINT try", "ROLLBACK TO try") } else { ("BEGIN", "ROLLBACK") };
    let mut errors = BTreeMap::new();
    for query in QUERIES.lines() {
        connection.rows("begin", begin).await.unwrap();
        if let Err(error) = connection.rows("try", &format!("SET LOCAL ROLE app; {query}")).await {
            errors.insert(query, error.to_string().split_once("try: ").unwrap().1.to_owned());
        }
        connection.rows("roll back", end).await.unwrap();
    }
    errors
}

/// The revision's steps on a copy of the model, with what was found by each.
async fn steps(connection: &Connection, steps: &[&str], within: bool) -> Result<Vec<Finding>> {
    let first = look(connection, within).await?;
    let (mut before, mut found) = (first.clone(), vec![]);
    for step in steps {
        connection.rows("migrate", step).await?;
        let after = look(connection, within).await?;
        found.extend(compare(&first, &before, &after, None));
        before = after;
    }
    Ok(found)
}

/// What is wrong with a case: nothing, or in words. What was found is told to `said`.
async fn judge(connection: &Connection, case: &Case, within: bool, said: &mut String) -> Result<()> {
    let found = steps(connection, case.ddl, within).await?;
    writeln!(said, "{} {}", case.row, case.ddl.join(" || "))?;
    for finding in &found {
        writeln!(said, "  {}: {} {}", finding.check.name(), finding.object, finding.message)?;
    }
    let checks: BTreeSet<Check> = found.iter().map(|finding| finding.check).collect();
    let expected: BTreeSet<Check> = case.checks.iter().copied().collect();
    ensure!(checks == expected, "found {checks:?}, and not {expected:?}");
    let breaking = checks.iter().any(|check| check.kind() == Kind::Breaking);
    let errors = broken(connection, within).await;
    match (breaking, errors.is_empty(), case.silent) {
        (false, false, _) => Err(anyhow!("nothing breaking was found, and this fails: {errors:#?}")),
        (true, true, "") => Err(anyhow!("{checks:?} was found, and nothing fails")),
        (true, false, silent) if !silent.is_empty() => Err(anyhow!("'{silent}', and yet this fails: {errors:#?}")),
        (false, true, silent) if !silent.is_empty() => Err(anyhow!("nothing breaking has no reason to be silent")),
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_what_breaks() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    copy(server, "cases").await?;
    let connection = open(server, "cases").await?;
    assert_eq!(broken(&connection, false).await, BTreeMap::new(), "the application of before works");
    let (mut said, mut wrong) = (String::new(), String::new());
    for (number, case) in CASES.iter().enumerate() {
        // What needs no database of its own is rolled back, which is faster by far.
        let alone = case.ddl.iter().any(|ddl| ddl.contains("CONCURRENTLY"));
        let judged = if alone {
            copy(server, &format!("case_{number}")).await?;
            judge(&open(server, &format!("case_{number}")).await?, case, false, &mut said).await
        } else {
            connection.rows("begin", "BEGIN").await?;
            let judged = judge(&connection, case, true, &mut said).await;
            connection.rows("roll back", "ROLLBACK").await?;
            judged
        };
        if let Err(error) = judged {
            writeln!(wrong, "{} {}: {error:#}", case.row, case.ddl.join(" || "))?;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let rows: BTreeSet<&str> = CASES.iter().map(|case| case.row).collect();
    // C26 is about rows, which no catalog shows.
    let all = (1..=27)
        .filter(|row| *row != 26)
        .map(|row| format!("C{row:02}"))
        .chain((1..=6).map(|row| format!("S{row:02}")));
    assert!(all.into_iter().all(|row| rows.contains(row.as_str())), "{rows:?}");
    insta::assert_snapshot!("findings", said);
    Ok(())
}

/// S03 and S04: who holds a prepared statement on the table is told so once.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_fail_once() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    for (number, (query, ddl, check)) in [
        ("SELECT what FROM app.jobs", "ALTER TABLE app.jobs ALTER what TYPE varchar", Check::TypeWidened),
        ("SELECT * FROM app.jobs", "ALTER TABLE app.jobs ADD more text", Check::ColumnAdded),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("prepared_{number}");
        copy(server, &name).await?;
        let (migrator, application) = (open(server, &name).await?, open(server, &name).await?);
        application.rows("prepare", &format!("PREPARE q AS {query}; EXECUTE q")).await?;
        let found = steps(&migrator, &[ddl], false).await?;
        assert_eq!(found.iter().map(|finding| finding.check).collect::<Vec<_>>(), [check]);
        let error = application.rows("execute", "EXECUTE q").await.unwrap_err().to_string();
        assert!(error.contains("cached plan must not change result type"), "{error}");
        assert_eq!(broken(&migrator, false).await, BTreeMap::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_schema_is_the_same_in_two_databases() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    // Other OIDs for everything.
    server.database("twin", &format!("CREATE TABLE x (); DROP TABLE x; {SCHEMA}")).await?;
    copy(server, "one").await?;
    let (model, twin) = (open(server, "one").await?, open(server, "twin").await?);
    let (one, other) = (look(&model, false).await?, look(&twin, false).await?);
    drop(model);
    let names =
        |catalog: &Catalog| catalog.objects().map(|object| format!("{object} {:?}", object.facts)).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    assert_eq!((&one, one.digest()), (&other, other.digest()));
    assert!(one.objects().count() > 150, "{}", one.objects().count());
    assert_eq!(compare(&one, &one, &other, None), []);
    // The table with the revision is none of the schema, wherever it is and whoever may read it.
    twin.rows(
        "note",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); GRANT SELECT ON alembic_version TO app",
    )
    .await?;
    assert_eq!(look(&twin, false).await?, other);
    assert_eq!(twin.value("look", "SHOW search_path").await?.as_deref(), Some("\"$user\", public"), "as it was");
    twin.rows("change", "SET search_path = app; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'").await?;
    let moved = read(&twin, &Noted::Table("public.alembic_version".to_owned())).await?;
    assert_eq!(moved, other, "whatever the session has set");
    twin.rows("change", "ALTER TABLE public.apps DROP COLUMN owner CASCADE").await?;
    let changed = read(&twin, &Noted::Table("public.alembic_version".to_owned())).await?;
    assert_ne!((&changed, changed.digest()), (&other, other.digest()));
    let found: Vec<Check> = compare(&one, &one, &changed, None).iter().map(|finding| finding.check).collect();
    assert!(found.contains(&Check::ColumnDropped), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_indexes_and_sizes() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    copy(server, "sized").await?;
    let connection = open(server, "sized").await?;
    assert_eq!(invalid_indexes(&connection).await?, Vec::<String>::new());
    let error = connection.rows("build", "CREATE UNIQUE INDEX CONCURRENTLY doubles ON kinds (code)").await.unwrap_err();
    assert!(error.to_string().contains("could not create unique index"), "{error}");
    assert_eq!(invalid_indexes(&connection).await?, ["public.doubles"]);
    connection.rows("fill", "INSERT INTO kinds SELECT 'k', repeat('x', 1000) FROM generate_series(1, 998)").await?;
    connection.rows("count", "ANALYZE kinds").await?;
    let sizes = sizes(&connection).await?;
    let kinds = sizes.get("public.kinds").context("kinds")?;
    assert_eq!(kinds.rows, Some(1000));
    assert!((1_000_000..2_000_000).contains(&kinds.bytes), "{kinds:?}");
    let jobs = sizes.get("app.jobs").context("jobs")?;
    assert_eq!(jobs.rows, None, "nobody counted");
    Ok(())
}

/// A figure rather than a demand; what it must not do is grow with the square of the tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_two_hundred_tables() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let mut sql = String::new();
    for number in 0..200 {
        write!(
            sql,
            "CREATE TABLE t{number} (id serial PRIMARY KEY, a text NOT NULL DEFAULT 'x', b int CHECK (b > 0), c jsonb, \
             d timestamptz DEFAULT now(), e int REFERENCES t0, f varchar(50) UNIQUE, g numeric(8,2), h boolean, i uuid); \
             CREATE INDEX ON t{number} (d); GRANT SELECT, INSERT ON t{number} TO third;"
        )?;
    }
    server.database("large", &sql).await?;
    let connection = open(server, "large").await?;
    let began = std::time::Instant::now();
    let catalog = look(&connection, false).await?;
    let took = began.elapsed();
    let began = std::time::Instant::now();
    assert_eq!(compare(&catalog, &catalog, &catalog, None), []);
    println!("{} objects: read in {took:?}, compared in {:?}", catalog.objects().count(), began.elapsed());
    assert!(catalog.objects().count() > 4000);
    assert!(took < Duration::from_secs(30), "{took:?}");
    Ok(())
}
