//! What a real PostgreSQL says of the revision of its schema, over every kind of connection.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use upgrade_guard::controller::Install;
use upgrade_guard::controller::revision::Databases;
use upgrade_guard::database::connection::{Connection, DatabaseError};
use upgrade_guard::database::revision::{Noted, Revision, RevisionError, TABLE, read, revision, width};
use upgrade_guard::database::url::DatabaseUrl;
use upgrade_guard::domain::policy::Database;
use upgrade_guard::server::devcert::{AUTHORITY_FILE, DevelopmentCertificate};

use postgres::{PASSWORD, PASSWORD_IN_URL, Postgres, TLS_ONLY, USER};

#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;

/// Long enough on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const NOTED: &str = "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY);";

/// The server that all tests of this process share, with TLS for `localhost`, and its certificate.
async fn shared() -> Result<Option<(&'static Postgres, &'static DevelopmentCertificate)>> {
    static SHARED: OnceCell<Result<(Option<Postgres>, DevelopmentCertificate), String>> = OnceCell::const_new();
    let start = async || {
        let certificate = DevelopmentCertificate::make(&["localhost".to_owned()], 1)?;
        anyhow::Ok((Postgres::start(Some(&certificate)).await?, certificate))
    };
    let shared = SHARED.get_or_init(|| async { start().await.map_err(|error| format!("{error:#}")) }).await;
    let (server, certificate) = shared.as_ref().map_err(|error| anyhow!(error.clone()))?;
    Ok(server.as_ref().map(|server| (server, certificate)))
}

async fn ask(url: &str, table: &str) -> Result<Revision, RevisionError> {
    let url: DatabaseUrl = url.parse().unwrap_or_else(|error| panic!("{error}"));
    revision(&url, &Noted::Table(table.to_owned()), PATIENCE).await
}

#[tokio::test]
async fn a_revision_is_told_from_none_and_from_several() -> Result<()> {
    let Some((server, _)) = shared().await? else { return Ok(()) };
    let heads = |heads: &[&str]| heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
    for (name, statements, table, expected) in [
        ("r_empty", String::new(), TABLE, Revision::Empty),
        // What only looks at tables is none.
        ("r_view", "CREATE SCHEMA stoa; CREATE VIEW stoa.v AS SELECT 1 AS x".to_owned(), TABLE, Revision::Empty),
        ("r_untracked", "CREATE TABLE users (id int)".to_owned(), TABLE, Revision::Untracked),
        ("r_base", NOTED.to_owned(), TABLE, Revision::Base),
        (
            "r_one",
            format!("{NOTED} INSERT INTO alembic_version VALUES ('4f1c')"),
            TABLE,
            Revision::One("4f1c".to_owned()),
        ),
        (
            "r_several",
            format!("{NOTED} INSERT INTO alembic_version VALUES ('b2'), ('a1')"),
            TABLE,
            Revision::Several(heads(&["a1", "b2"])),
        ),
        (
            "r_schema",
            "CREATE SCHEMA \"Sto'a\"; CREATE TABLE \"Sto'a\".alembic_version AS SELECT 'x' AS version_num".to_owned(),
            "Sto'a.alembic_version",
            Revision::One("x".to_owned()),
        ),
        ("r_elsewhere", NOTED.to_owned(), "stoa.alembic_version", Revision::Untracked),
    ] {
        server.database(name, &statements).await?;
        assert_eq!(ask(&server.url(name, ""), table).await, Ok(expected), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn tls_is_what_the_mode_says() -> Result<()> {
    let Some((server, certificate)) = shared().await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    certificate.write(folder.path())?;
    let stranger = tempfile::tempdir()?;
    DevelopmentCertificate::make(&["localhost".to_owned()], 1)?.write(stranger.path())?;
    let authority = |folder: &Path| folder.join(AUTHORITY_FILE).display().to_string();
    let (own, other) = (authority(folder.path()), authority(stranger.path()));
    for (host, parameters, expected) in [
        // The certificate is for localhost, and not for this address.
        ("127.0.0.1", "?ssl=disable".to_owned(), "pg_hba.conf rejects connection"),
        ("127.0.0.1", "?ssl=prefer".to_owned(), ""),
        ("127.0.0.1", "?sslmode=require".to_owned(), ""),
        ("127.0.0.1", format!("?sslmode=verify-ca&sslrootcert={own}"), ""),
        ("127.0.0.1", format!("?sslmode=verify-ca&sslrootcert={other}"), "invalid peer certificate"),
        ("127.0.0.1", format!("?sslmode=require&sslrootcert={other}"), "invalid peer certificate"),
        ("127.0.0.1", format!("?sslmode=verify-full&sslrootcert={own}"), "invalid peer certificate"),
        ("localhost", format!("?sslmode=verify-full&sslrootcert={own}"), ""),
        ("localhost", format!("?sslmode=verify-full&sslrootcert={other}"), "invalid peer certificate"),
        ("localhost", "?sslmode=verify-ca".to_owned(), "needs sslrootcert"),
        ("localhost", "?sslmode=verify-full&sslrootcert=/no/such".to_owned(), "cannot read sslrootcert /no/such"),
    ] {
        let url = server.url(TLS_ONLY, &parameters).replace("127.0.0.1", host);
        match ask(&url, TABLE).await {
            Ok(_) => assert!(expected.is_empty(), "{host}{parameters} connects"),
            Err(error) => {
                let text = error.to_string();
                assert!(!expected.is_empty() && text.contains(expected), "{host}{parameters}: {text}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_tls_is_not_asked_for_more_than_it_has() -> Result<()> {
    let Some(server) = Postgres::start(None).await? else { return Ok(()) };
    assert_eq!(ask(&server.url("postgres", ""), TABLE).await, Ok(Revision::Empty));
    assert_eq!(ask(&server.url("postgres", "?ssl=disable"), TABLE).await, Ok(Revision::Empty));
    let error = ask(&server.url("postgres", "?ssl=require"), TABLE).await.unwrap_err().to_string();
    assert!(error.contains("does not support TLS"), "{error}");
    Ok(())
}

#[tokio::test]
async fn it_is_found_by_socket_and_by_environment() -> Result<()> {
    let Some((server, _)) = shared().await? else { return Ok(()) };
    let (socket, port) = (server.socket().display(), server.port);
    let url = format!("postgresql://{USER}:{PASSWORD_IN_URL}@/postgres?host={socket}&port={port}&sslmode=require");
    assert_eq!(ask(&url, TABLE).await, Ok(Revision::Empty));
    let variables =
        [("PGHOST", "127.0.0.1"), ("PGPORT", &port.to_string()), ("PGUSER", USER), ("PGPASSWORD", PASSWORD)];
    let mut environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.insert("PGDATABASE".to_owned(), "postgres".to_owned());
    let url = DatabaseUrl::of_environment(&environment)?.unwrap();
    assert_eq!(revision(&url, &Noted::default(), PATIENCE).await, Ok(Revision::Empty));
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_password() -> Result<()> {
    let Some((server, _)) = shared().await? else { return Ok(()) };
    server.database("w_denied", &format!("{NOTED} CREATE ROLE reader LOGIN PASSWORD 'hunter2'")).await?;
    let reader =
        |password: &str, database: &str| format!("postgresql://reader:{password}@127.0.0.1:{}/{database}", server.port);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    for (url, table, expected) in [
        (reader("hunter2", "w_denied"), TABLE, "permission denied for table alembic_version (42501)"),
        (reader("hunter3", "w_denied"), TABLE, "password authentication failed for user \"reader\" (28P01)"),
        (reader("hunter2", "nowhere"), TABLE, "database \"nowhere\" does not exist (3D000)"),
        (reader("hunter2", "w_denied"), "a.b.c", "'a.b.c' is no name of a table"),
        (format!("postgresql://reader:hunter2@127.0.0.1:{closed}/x"), TABLE, "refused"),
    ] {
        let error = ask(&url, table).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected) && !text.contains("hunter"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn the_longest_id_is_told() -> Result<()> {
    let Some((server, _)) = shared().await? else { return Ok(()) };
    server.sql("postgres", "CREATE DATABASE widths").await?;
    let url: DatabaseUrl = server.url("widths", "").parse()?;
    let connection = Connection::open(&url, "test", PATIENCE).await?;
    for (ddl, table, expected) in [
        ("SELECT 1", "alembic_version", Some(32)),
        (NOTED, "alembic_version", Some(32)),
        ("ALTER TABLE alembic_version ALTER version_num TYPE varchar(128)", "alembic_version", Some(128)),
        ("ALTER TABLE alembic_version ALTER version_num TYPE text", "public.alembic_version", None),
    ] {
        server.sql("widths", ddl).await?;
        assert_eq!(width(&connection, &Noted::Table(table.to_owned())).await, Ok(expected), "{ddl}");
    }
    let query = Noted::Query("SELECT 'a'".to_owned());
    assert_eq!(width(&connection, &query).await, Ok(None));
    assert_eq!(read(&connection, &query).await, Ok(Revision::One("a".to_owned())));
    let several = Noted::Query("SELECT unnest(ARRAY['b', 'a'])".to_owned());
    assert_eq!(read(&connection, &several).await, Ok(Revision::Several(vec!["a".to_owned(), "b".to_owned()])));
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() -> Result<()> {
    // Connections are taken and nothing is said.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url: DatabaseUrl = format!("postgresql://u:p@{}/x", listener.local_addr()?).parse()?;
    let asked = revision(&url, &Noted::default(), Duration::from_millis(50)).await;
    assert!(matches!(asked, Err(RevisionError::Database(DatabaseError::Timeout { .. }))), "{asked:?}");
    Ok(())
}

/// What the controller does at each look. The file is read anew, as a Secret changes under it.
#[tokio::test]
async fn the_controller_reads_the_database_that_the_folder_names() -> Result<()> {
    let Some((server, _)) = shared().await? else { return Ok(()) };
    let other = "CREATE TABLE other (version text); INSERT INTO other VALUES ('o9')";
    server.database("c_live", &format!("{NOTED} INSERT INTO alembic_version VALUES ('a1'); {other}")).await?;
    let folder = tempfile::tempdir()?;
    let databases = Databases { folder: folder.path().to_owned(), every: PATIENCE };
    let install = Install { namespace: "stoa-system".to_owned(), policy: "stoa".to_owned() };
    let alembic = Database::default();
    assert_eq!(databases.look(&install, &alembic).await, None, "no URL is at hand");

    let url = server.url("c_live", "");
    let put = |text: &str| std::fs::write(folder.path().join("stoa-system"), text);
    put(&format!("{url}\n"))?;
    assert_eq!(databases.look(&install, &alembic).await, Some(Ok(Revision::One("a1".to_owned()))));
    server.sql("c_live", "UPDATE alembic_version SET version_num = 'b2'").await?;
    assert_eq!(databases.look(&install, &alembic).await, Some(Ok(Revision::One("b2".to_owned()))));
    let query = Database { query: Some("SELECT version FROM other".to_owned()), ..Database::default() };
    assert_eq!(databases.look(&install, &query).await, Some(Ok(Revision::One("o9".to_owned()))));

    put(&url.replace(PASSWORD_IN_URL, "not-this"))?;
    let why = databases.look(&install, &alembic).await.unwrap().unwrap_err();
    assert!(!why.contains("not-this") && why.contains("c_live"), "{why}");
    Ok(())
}
