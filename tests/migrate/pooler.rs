//! Connection poolers: one that lends its connections by transaction is refused, one that lends them by session is not.

use anyhow::Result;
use upgrade_guard::database::connection::Connection;
use upgrade_guard::database::direct;
use upgrade_guard::database::run::{Outcome, RunError};

use super::case::{Case, PATIENCE, Style, address, project, shared};
use super::pgbouncer::PgBouncer;

const LOCKS: &str = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Makes the pool open so many connections to the server.
async fn warm(url: &str, connections: usize) -> Result<()> {
    let mut all = vec![];
    for _ in 0..connections {
        let one = Connection::open(address(url)?.url(), "warm", PATIENCE).await?;
        one.rows("begin", "BEGIN").await?;
        all.push(one);
    }
    for one in &all {
        one.rows("end", "COMMIT").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pool_that_lends_by_transaction_is_refused() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[("a1", "")])?;
    for (name, mode, settings, warmed, proof) in [
        ("p_last", "transaction", "", 0, "two connections have the same server process"),
        ("p_turn", "transaction", "server_round_robin = 1", 8, "a connection moved to another server process"),
        ("p_turn_few", "transaction", "server_round_robin = 1", 2, ""),
        ("p_one", "transaction", "default_pool_size = 1", 0, "two connections have the same server process"),
        ("p_statement", "statement", "", 0, "it takes no transactions: it is in statement mode"),
    ] {
        let direct = Case::new(server, name, project.folder(), &["a1"]).await?;
        let pool = PgBouncer::start(server, mode, settings).await?;
        warm(&pool.url(name), warmed).await?;
        let pooled = Case::at(&pool.url(name), project.folder(), &["a1"])?;
        let error = pooled.run().await.0.unwrap_err();
        assert!(matches!(error, RunError::Direct(_)), "{name}: {error:?}");
        let text = error.to_string();
        let says = "in transaction mode (";
        assert!(text.contains(says) && text.contains(proof), "{name}: {text}");
        assert!(
            text.contains("Set DATABASE_URL to the URL of PostgreSQL itself, or of a pool in session mode"),
            "{text}"
        );
        // The look itself leaves no lock in the pool.
        direct.until("the lock of the look to be gone", LOCKS).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_server_and_a_pool_that_lends_by_session_are_not() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(Style::Whole, &[("a1", "")])?;
    let own = Case::new(server, "p_session", project.folder(), &["a1"]).await?;
    let pool = PgBouncer::start(server, "session", "").await?;
    let pooled = Case::at(&pool.url("p_session"), project.folder(), &["a1"])?;
    for _ in 0..10 {
        direct::check(pooled.address.url(), "DATABASE_URL", PATIENCE).await?;
        direct::check(own.address.url(), "DATABASE_URL", PATIENCE).await?;
    }
    assert_eq!(pooled.run().await.0?.outcome, Outcome::Migrated);
    Ok(())
}
