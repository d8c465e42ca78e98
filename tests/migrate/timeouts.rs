//! Timeouts hold, whether the driver takes them or not.

use std::time::Duration;

use anyhow::Result;
use upgrade_guard::database::connection::Connection;
use upgrade_guard::database::run::{self, Outcome};
use upgrade_guard::database::watch::{Proof, prove};
use upgrade_guard::report::{News, Report};

use super::alembic::Project;
use super::case::{Case, PATIENCE, Style, lines, project, shared, undone};

const ALTER: (&str, &str) = ("b2", "op.execute('ALTER TABLE a ADD n text')");
const FIRST: (&str, &str) = ("a1", "op.execute('CREATE TABLE a (id int)')");

/// A database at a1, whose table somebody uses.
async fn used(name: &str, style: Style, revisions: &[(&str, &str)]) -> Result<Option<(Case, Connection, Project)>> {
    let Some(server) = shared().await? else { return Ok(None) };
    let project = project(style, revisions)?;
    let case = Case::new(server, name, project.folder(), &["a1"]).await?;
    let ended = case.run().await;
    assert_eq!(ended.0.as_ref().map(|ended| &ended.outcome).ok(), Some(&Outcome::Migrated), "{ended:?}");
    let mut case = Case::at(&case.url, project.folder(), &["b2"])?;
    case.timeouts.lock = Duration::from_millis(300);
    let user = Connection::open(case.address.url(), "the-app", PATIENCE).await?;
    user.rows("use it", "BEGIN; SELECT * FROM a").await?;
    Ok(Some((case, user, project)))
}

#[tokio::test]
async fn a_lock_that_nobody_gives_is_waited_for_four_times() -> Result<()> {
    let Some((case, _user, _project)) = used("o_lock", Style::Whole, &[FIRST, ALTER]).await? else { return Ok(()) };
    let (ended, news) = case.run().await;
    let (ended, told) = (ended?, lines(&news));
    let message = undone(&ended);
    assert!(message.contains("LockNotAvailable) canceling statement due to lock timeout"), "{message}");
    assert!(message.ends_with("Nothing is left behind: the database is at a1, as before"), "{message}");
    for retry in 1..=3 {
        assert!(told.contains(&format!("it is tried again ({retry} of 3)")), "{told}");
    }
    assert_eq!(told.matches("upgrade to b2").count(), 4, "{told}");
    Ok(())
}

/// Gives the lock free when it hears that another attempt is made.
struct Gives {
    user: Option<Connection>,
    news: Vec<News>,
}

impl Report for Gives {
    fn tell(&mut self, news: News) {
        if news.message.contains("it is tried again") {
            drop(self.user.take());
        }
        self.news.push(news);
    }
}

#[tokio::test]
async fn a_lock_that_comes_free_in_between_is_taken() -> Result<()> {
    for (name, style) in [("o_free", Style::Whole), ("o_free_asyncpg", Style::Asyncpg)] {
        let Some((case, user, _project)) = used(name, style, &[FIRST, ALTER]).await? else { return Ok(()) };
        let mut report = Gives { user: Some(user), news: vec![] };
        let ended = run::run(&case.errand(), &mut report).await?;
        assert_eq!(ended.outcome, Outcome::Migrated, "{:?}", report.news);
        let cancelled = lines(&report.news).contains("cancelled: it waited longer than 0.3 s for a lock on a that");
        assert_eq!(cancelled, style == Style::Asyncpg, "{:?}", report.news);
    }
    Ok(())
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_and_not_tried_again() -> Result<()> {
    let slow = ("b2", "op.execute('CREATE TABLE b (id int)')\nop.execute('SELECT pg_sleep(300)')");
    let expected = [
        (Style::Whole, "canceling statement due to statement timeout"),
        (Style::Asyncpg, "a statement took longer than 0.4 s"),
    ];
    for (name, (style, expected)) in ["o_slow", "o_slow_asyncpg"].into_iter().zip(expected) {
        let Some((mut case, _user, _project)) = used(name, style, &[FIRST, slow]).await? else { return Ok(()) };
        case.timeouts.statement = Duration::from_millis(400);
        let (ended, news) = case.run().await;
        let ended = ended?;
        assert!(undone(&ended).contains(expected), "{ended:?}");
        assert_eq!(lines(&news).matches("upgrade to b2").count(), 1, "{news:?}");
    }
    Ok(())
}

#[tokio::test]
async fn others_are_left_alone() -> Result<()> {
    let slow = ("b2", "op.execute('SELECT pg_sleep(2)')");
    let Some((mut case, user, _project)) = used("o_others", Style::Asyncpg, &[FIRST, slow]).await? else {
        return Ok(());
    };
    case.timeouts.statement = PATIENCE;
    // It waits for a lock longer than the migrator may, and was there before.
    let waiter = Connection::open(case.address.url(), "waiter", PATIENCE).await?;
    let waits = waiter.rows("lock", "BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE; COMMIT");
    let run = async {
        let ended = case.run().await;
        drop(user);
        ended
    };
    let (locked, (ended, _)) = tokio::join!(waits, run);
    locked?;
    assert_eq!(ended?.outcome, Outcome::Migrated);
    Ok(())
}

#[tokio::test]
async fn who_holds_the_timeouts_is_shown() -> Result<()> {
    for (name, style, expected) in
        [("o_driver", Style::Whole, Proof::ByDriver), ("o_watchdog", Style::Asyncpg, Proof::ByWatchdog)]
    {
        let Some((case, _user, _project)) = used(name, style, &[FIRST, ALTER]).await? else { return Ok(()) };
        assert_eq!(prove(&case.migrator, &case.address, &case.noted, PATIENCE).await?, expected, "{name}");
    }
    let Some(server) = shared().await? else { return Ok(()) };
    server.database("o_unproven", "CREATE TABLE alembic_version (version_num text)").await?;
    let mut case = Case::at(&server.url("o_unproven", ""), std::path::Path::new("/"), &[])?;
    case.migrator.command = vec!["true".to_owned()];
    let error = prove(&case.migrator, &case.address, &case.noted, PATIENCE).await.unwrap_err().to_string();
    assert!(error.ends_with("the migrator read a table that was locked"), "{error}");
    Ok(())
}
