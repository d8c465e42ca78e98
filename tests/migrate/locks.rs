//! The lock of migrations: who has it, who still works for one that is gone, and what happens when it is lost.

use std::time::Duration;

use anyhow::Result;
use upgrade_guard::database::connection::Connection;
use upgrade_guard::database::migrator::APPLICATION;
use upgrade_guard::database::run::{Ended, Outcome};

use super::case::{Case, PATIENCE, Style, lines, project, shared, undone};

const LOCK: &str = "SELECT pg_advisory_lock(hashtext('upgrade-guard:' || current_database()))";

fn busy(ended: &Ended) -> &str {
    match &ended.outcome {
        Outcome::Busy { message } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_has_the_lock_is_told_and_waited_for_so_long() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[("a1", "")])?;
    let mut case = Case::new(server, "l_busy", project.folder(), &["a1"]).await?;
    case.lock_wait = Duration::from_millis(600);
    let other = Connection::open(case.address.url(), "other-hook", PATIENCE).await?;
    let process = other.value("tell", "SELECT pg_backend_pid()").await?.unwrap();
    other.rows("lock", LOCK).await?;
    let (ended, news) = case.run().await;
    let (ended, told) = (ended?, lines(&news));
    let who = format!(
        "the lock of migrations is held by process {process} (other-hook of guard from 127.0.0.1), connected since 20"
    );
    assert!(busy(&ended).contains(&who), "{ended:?}");
    assert!(told.starts_with("Progress waiting for at most 1 s: the lock") && told.contains(&who), "{told}");
    assert_eq!(news.len(), 1, "{told}");
    drop(other);
    case.lock_wait = PATIENCE;
    assert_eq!(case.run().await.0?.outcome, Outcome::Migrated);
    Ok(())
}

#[tokio::test]
async fn what_a_run_that_was_killed_left_at_work_is_waited_for() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[("a1", ""), ("b2", "")])?;
    let case = Case::new(server, "l_left", project.folder(), &["a1"]).await?;
    assert_eq!(case.run().await.0?.outcome, Outcome::Migrated);
    let mut case = Case::at(&case.url, project.folder(), &["b2"])?;
    case.lock_wait = Duration::from_millis(400);
    // By its name, and by what it holds when its driver tells no name.
    for (name, statement) in [(APPLICATION, "SELECT 1"), ("", "BEGIN; UPDATE alembic_version SET version_num = 'zz'")] {
        let left = Connection::open(case.address.url(), name, PATIENCE).await?;
        left.rows("work", statement).await?;
        let ended = case.run().await.0?;
        assert!(busy(&ended).contains("is still at work, for a run of migrations that is gone"), "{ended:?}");
    }
    // Who only looked at the revision, and forgot to end its transaction, hinders nobody.
    let reader = case.open().await?;
    reader.rows("read", "BEGIN; SELECT * FROM alembic_version").await?;
    case.lock_wait = PATIENCE;
    assert_eq!(case.run().await.0?.outcome, Outcome::Migrated);
    Ok(())
}

#[tokio::test]
async fn when_the_lock_is_lost_the_migrator_is_stopped() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let slow = ("a1", "op.execute('CREATE TABLE a (id int)')\nop.execute('SELECT pg_sleep(300)')");
    let project = project(Style::Whole, &[slow])?;
    let case = Case::new(server, "l_lost", project.folder(), &["a1"]).await?;
    let lose = async {
        case.until_asleep().await?;
        let holder = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(case.value(holder).await?, "t");
        anyhow::Ok(())
    };
    let ((ended, _), done) = tokio::join!(case.run(), lose);
    done?;
    let ended = ended?;
    let message = undone(&ended);
    assert!(message.contains("was stopped: the lock is lost: "), "{message}");
    assert!(message.contains("Nothing is left behind"), "{message}");
    assert_eq!(case.digest().await?, "");
    Ok(())
}
