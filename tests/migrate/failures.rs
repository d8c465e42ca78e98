//! What a run that fails leaves behind, and what is said of it.

use anyhow::Result;
use upgrade_guard::database::revision::Noted;
use upgrade_guard::database::run::{Outcome, RunError};

use super::alembic::programs;
use super::case::{Case, Style, lines, project, shared, undone};

const FIRST: (&str, &str) = ("a1", "op.execute('CREATE TABLE apps (id int, name text)')");

#[tokio::test]
async fn in_one_transaction_nothing_is_left_and_the_password_is_not_told() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let says = "op.execute('CREATE TABLE more (id int)')\nimport os\nprint(os.environ['DATABASE_URL'])\n\
                raise RuntimeError('no way to ' + os.environ['DATABASE_URL'])";
    let project = project(Style::Whole, &[FIRST, ("b2", "op.execute('CREATE TABLE b (id int)')"), ("c3", says)])?;
    let case = Case::new(server, "f_whole", project.folder(), &["a1", "b2", "c3"]).await?;
    let (ended, news) = case.run().await;
    let ended = ended?;
    let message = undone(&ended);
    assert!(message.contains("RuntimeError: no way to postgresql+asyncpg://guard:***@127.0.0.1"), "{message}");
    assert!(message.contains("(at c3.py, line"), "{message}");
    assert!(message.ends_with("Nothing is left behind: the database is at no revision, as before"), "{message}");
    assert_eq!((ended.after, ended.applied), (vec![], vec![]));
    assert_eq!(case.digest().await?, "");
    let told = lines(&news);
    assert!(told.contains("Progress upgrade to c3 (3 of 3): c3\n") && told.contains("| RuntimeError"), "{told}");
    Ok(())
}

#[tokio::test]
async fn outside_of_a_transaction_it_is_half_way_and_names_the_revision() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let half = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE half (id int)')\nop.execute('SELECT 1/0')";
    let project = project(Style::Whole, &[FIRST, ("b2", half)])?;
    let mut case = Case::new(server, "f_half", project.folder(), &["a1"]).await?;
    assert_eq!(case.run().await.0?.outcome, Outcome::Migrated);
    let whole = case.digest().await?;
    case = Case::at(&case.url, project.folder(), &["b2"])?;
    let ended = case.run().await.0?;
    let Outcome::HalfWay { message, remedy } = &ended.outcome else { panic!("{ended:?}") };
    assert!(message.contains("DivisionByZero) division by zero (at b2.py, line"), "{message}");
    assert!(
        message.ends_with(
            "left half-way: the database still notes a1, and its schema is another than before. Something of b2 is there"
        ),
        "{message}"
    );
    assert!(remedy.starts_with("compare the schema with what the revision does"), "{remedy}");
    // Again: nothing more is left, and it says what is in the way. What a1 should be is known by now.
    case.digests = [("a1".to_owned(), whole)].into();
    let (ended, news) = case.run().await;
    let (ended, told) = (ended?, lines(&news));
    let message = undone(&ended);
    assert!(message.contains("relation \"half\" already exists"), "{message}");
    assert!(message.contains("before it began the schema was not that of a1 already"), "{message}");
    assert!(told.contains("Warning before it began the schema was not that of a1"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_transaction_for_each_stops_at_a_whole_revision() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let half = "op.execute('CREATE TABLE c (id int)')\nop.execute('SELECT 1/0')";
    let project = project(Style::Each, &[FIRST, ("b2", "op.execute('CREATE TABLE b (id int)')"), ("c3", half)])?;
    let tried = Case::new(server, "f_each_tried", project.folder(), &["a1", "b2"]).await?;
    assert_eq!(tried.run().await.0?.applied, ["a1", "b2"]);
    let mut case = Case::new(server, "f_each", project.folder(), &["a1", "b2", "c3"]).await?;
    case.digests = [("b2".to_owned(), tried.digest().await?)].into();
    let ended = case.run().await.0?;
    let message = undone(&ended);
    assert!(message.ends_with("The database is at b2, and whole: what comes after that was not applied"), "{message}");
    assert_eq!((ended.after, ended.applied), (vec!["b2".to_owned()], vec!["a1".to_owned(), "b2".to_owned()]));

    // Where nobody knows what b2 comes to, it is not called whole.
    let unknown = Case::new(server, "f_each_unknown", project.folder(), &["a1", "b2", "c3"]).await?;
    let ended = unknown.run().await.0?;
    let Outcome::HalfWay { message, .. } = &ended.outcome else { panic!("{ended:?}") };
    assert!(message.contains("cannot be told: what the schema is at b2 was not tried on a copy"), "{message}");
    Ok(())
}

#[tokio::test]
async fn an_index_that_could_not_be_built_is_told() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let index = "with op.get_context().autocommit_block():\n    \
                 op.execute('CREATE UNIQUE INDEX CONCURRENTLY apps_name ON apps (name)')";
    let rows = ("a1", "op.execute(\"CREATE TABLE apps AS SELECT 1 AS id, 'x' AS name UNION ALL SELECT 2, 'x'\")");
    let project = project(Style::Each, &[rows, ("b2", index)])?;
    let mut case = Case::new(server, "f_index", project.folder(), &["a1"]).await?;
    assert_eq!(case.run().await.0?.outcome, Outcome::Migrated);
    case = Case::at(&case.url, project.folder(), &["b2"])?;
    let (ended, news) = case.run().await;
    let (ended, told) = (ended?, lines(&news));
    let Outcome::HalfWay { message, remedy } = &ended.outcome else { panic!("{ended:?}") };
    assert!(message.contains("could not create unique index"), "{message}");
    assert!(remedy.starts_with("drop the invalid index (DROP INDEX CONCURRENTLY public.apps_name); "), "{remedy}");
    assert_eq!(ended.invalid_indexes, ["public.apps_name"]);
    assert!(told.contains("Warning index public.apps_name is invalid"), "{told}");

    // A second look finds it there already.
    let (ended, news) = case.run().await;
    assert_eq!(ended?.invalid_indexes, Vec::<String>::new());
    assert!(lines(&news).contains("Warning index public.apps_name is invalid already"), "{news:?}");
    Ok(())
}

#[tokio::test]
async fn one_that_works_on_another_database_is_found_out() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[FIRST])?;
    let mut case = Case::new(server, "f_elsewhere", project.folder(), &["a1"]).await?;
    // It ends well, and does nothing there.
    case.migrator.command = vec!["true".to_owned()];
    case.calls = vec![vec![]];
    let ended = case.run().await.0?;
    let message = undone(&ended);
    assert!(
        message.contains("'true' ended well, but a1 was expected. Does it read the database from DATABASE_URL"),
        "{message}"
    );

    case.migrator.command = vec!["/no/such/program".to_owned()];
    case.migrator.keeper = None;
    let error = case.run().await.0.unwrap_err();
    assert!(error.to_string().contains("has to be in this container"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_plan_that_is_out_of_date_is_not_run() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[FIRST, ("b2", "")])?;
    let case = Case::new(server, "f_moved", project.folder(), &["a1"]).await?;
    assert_eq!(case.run().await.0?.outcome, Outcome::Migrated);
    let case = Case::at(&case.url, project.folder(), &["b2"])?;
    let mut errand = case.errand();
    errand.planned_from = Some(vec![]);
    let error = upgrade_guard::database::run::run(&errand, &mut vec![]).await.unwrap_err();
    assert!(matches!(error, RunError::Moved { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("the database was at no revision when this was planned and checked, and is at a1 now")
    );
    Ok(())
}

#[tokio::test]
async fn any_program_migrates() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let script = "import os, psycopg\nurl = os.environ['DATABASE_URL'].replace('+asyncpg', '')\n\
                  with psycopg.connect(url) as c:\n    c.execute('CREATE TABLE IF NOT EXISTS steps (at text)')\n    \
                  c.execute(\"INSERT INTO steps VALUES ('s' || (SELECT count(*) + 1 FROM steps))\")\n    print('moved on')\n";
    std::fs::write(folder.path().join("go.py"), script)?;
    server.database("f_any", "CREATE TABLE steps (at text)").await?;
    let mut case = Case::at(&server.url("f_any", ""), folder.path(), &[])?;
    let python = programs()?.join("python").display().to_string();
    case.migrator.command =
        ["/bin/sh", "-c", "\"$1\" go.py && echo done >&2", "sh", &python].map(str::to_owned).to_vec();
    case.calls = vec![vec![]];
    case.noted = Noted::Query("SELECT at FROM steps ORDER BY at DESC LIMIT 1".to_owned());
    let ended = case.run().await.0?;
    assert_eq!(
        (&ended.outcome, ended.after, ended.applied),
        (&Outcome::Migrated, vec!["s1".to_owned()], vec!["s1".to_owned()])
    );
    // Where it should be: it is not started.
    case.expected = Some(vec!["s1".to_owned()]);
    assert_eq!(case.run().await.0?.outcome, Outcome::NothingToDo);
    assert_eq!(case.value("SELECT count(*) FROM steps").await?, "1");
    Ok(())
}
