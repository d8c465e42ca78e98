//! Where the temporary database may be made, and what it begins with.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use upgrade_guard::api::ShadowFrom;
use upgrade_guard::database::address::Address;
use upgrade_guard::database::gate::{self, Errand};
use upgrade_guard::database::revision::Noted;
use upgrade_guard::database::shadow::{Basis, Shadow, ShadowError};

use crate::postgres::Postgres;
use crate::scene::{LIVE, PATIENCE, Scene, address, shadows, told};

const DROPS: &str = "op.drop_column('apps', 'owner')";

#[tokio::test]
async fn a_role_that_may_not_make_databases_is_told_what_to_do() -> Result<()> {
    let Some(scene) = Scene::new(&[("b3", DROPS)]).await? else { return Ok(()) };
    scene.server.sql(LIVE, "CREATE ROLE poor LOGIN PASSWORD 'geheim'").await?;
    let live = address(&format!("postgresql+asyncpg://poor:geheim@127.0.0.1:{}/{LIVE}", scene.server.port))?;
    let refused = Shadow::make(&live, None, ShadowFrom::Auto, &Noted::default(), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, ShadowError::NotAllowed { .. }), "{refused:?}");
    insta::assert_snapshot!(refused.to_string().replace(&scene.server.port.to_string(), "PORT"));
    let off = Shadow::make(&live, None, ShadowFrom::Off, &Noted::default(), PATIENCE).await.unwrap_err();
    assert!(matches!(off, ShadowError::Off), "{off:?}");

    // With a server of its own, or without a try, it goes on.
    let (migrator, plan) = (scene.migrator()?, scene.plan());
    let off = gate::look(&Errand { from: ShadowFrom::Off, ..Scene::errand(&migrator, &live, &plan) }).await?;
    assert!(!off.shadow && off.notes.len() == 1, "{off:?}");
    let other = Postgres::start(None).await?.context("a server")?;
    scene.server.sql(LIVE, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor").await?;
    let server = address(&other.url("postgres", ""))?;
    for from in [ShadowFrom::Schema, ShadowFrom::Empty] {
        let errand = Errand { from, server: Some(&server), ..Scene::errand(&migrator, &live, &plan) };
        let found = gate::look(&errand).await?;
        assert_eq!(told(&found.findings), ["b3 columnDropped column public.apps.owner"], "{from:?}");
        assert_eq!(found.notes, Vec::<String>::new());
    }
    assert_eq!((shadows(&other).await?, scene.shadows().await?), (vec![], vec![]));
    Ok(())
}

#[tokio::test]
async fn it_is_found_by_libpqs_variables_too() -> Result<()> {
    let Some(scene) = Scene::new(&[]).await? else { return Ok(()) };
    let socket = scene.server.socket().display().to_string();
    let port = scene.server.port.to_string();
    let variables = [
        ("PGHOST", socket.as_str()),
        ("PGPORT", &port),
        ("PGUSER", crate::postgres::USER),
        ("PGPASSWORD", crate::postgres::PASSWORD),
        ("PGDATABASE", LIVE),
    ];
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let live = Address::of_environment("DATABASE_URL", variable)?.context("an address")?;
    let shadow = Shadow::make(&live, None, ShadowFrom::Schema, &Noted::default(), PATIENCE).await?;
    let tables =
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";
    let name = shadow.address().to_string().rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(crate::scene::ask(&scene.server, &name, tables).await?, ["alembic_version", "apps", "teams"]);
    let rows = "SELECT count(*) FROM apps UNION ALL SELECT count(*) FROM alembic_version";
    assert_eq!(crate::scene::ask(&scene.server, &name, rows).await?, ["0", "1"]);
    Ok(shadow.remove().await?)
}

#[tokio::test]
async fn without_pg_dump_it_begins_empty_and_says_so() -> Result<()> {
    if let Ok(url) = std::env::var("LIVE_URL") {
        return tell_without_pg_dump(&url).await;
    }
    let Some(scene) = Scene::new(&[("b3", DROPS)]).await? else { return Ok(()) };
    // Other programs are there, and that one is not; and then it is, and fails.
    let path = tempfile::tempdir()?;
    for failing in [false, true] {
        if failing {
            let program = path.path().join("pg_dump");
            std::fs::write(
                &program,
                "#!/bin/sh\necho 'pg_dump: error: aborting: server version mismatch' >&2\nexit 1\n",
            )?;
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        let output = tokio::process::Command::new(std::env::current_exe()?)
            .args(["--exact", "places::without_pg_dump_it_begins_empty_and_says_so", "--nocapture"])
            .env("PATH", path.path())
            .env("LIVE_URL", scene.server.url(LIVE, ""))
            .stdout(Stdio::piped())
            .output()
            .await?;
        let output = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("TOLD ")).collect();
        let told = lines.join("\n").replace(&scene.server.port.to_string(), "PORT");
        insta::assert_snapshot!(if failing { "pg_dump_fails" } else { "no_pg_dump" }, told);
    }
    assert_eq!(scene.shadows().await?, Vec::<String>::new());
    Ok(())
}

/// What the process without `pg_dump` does.
async fn tell_without_pg_dump(url: &str) -> Result<()> {
    let live = address(url)?;
    let shadow = Shadow::make(&live, None, ShadowFrom::Auto, &Noted::default(), PATIENCE).await?;
    assert_eq!(shadow.basis(), Basis::Empty);
    println!("TOLD {}", shadow.notes().join("\nTOLD "));
    shadow.remove().await?;
    let refused = Shadow::make(&live, None, ShadowFrom::Schema, &Noted::default(), PATIENCE).await.unwrap_err();
    println!("TOLD {refused}");
    Ok(())
}
