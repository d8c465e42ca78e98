//! What the gate finds, and whose it is.

use anyhow::Result;
use upgrade_guard::api::{RevisionNature, ShadowFrom};
use upgrade_guard::database::gate::{self, Errand, GateError, STEPPED};
use upgrade_guard::database::plan::Plan;
use upgrade_guard::database::revision::Noted;

use crate::scene::{LIVE, Scene, address, ask, told};

const ADDS: &str = "op.add_column('apps', sa.Column('tier', sa.Text))";
const HIDDEN: &str = "op.execute(\"DO $$ BEGIN EXECUTE 'ALTER TABLE apps DROP COLUMN owner'; END $$\")";

#[tokio::test]
async fn what_a_block_of_code_drops_is_found_and_is_its_revisions_from_the_schema_and_from_nothing() -> Result<()> {
    let Some(scene) =
        Scene::new(&[("b3", ADDS), ("b4", HIDDEN), ("b5", ADDS.replace("tier", "zone").as_str())]).await?
    else {
        return Ok(());
    };
    let before = scene.holds().await?;
    let from_schema = scene.look(ShadowFrom::Schema).await?;
    let from_empty = scene.look(ShadowFrom::Empty).await?;
    let dropped: Vec<String> =
        told(&from_schema.findings).into_iter().filter(|told| !told.contains("columnAdded")).collect();
    assert_eq!(dropped, ["b4 columnDropped column public.apps.owner"]);
    assert_eq!(from_schema.findings, from_empty.findings);
    let natures: Vec<_> = from_schema.natures.values().copied().collect();
    assert_eq!(natures, [RevisionNature::Additive, RevisionNature::Breaking, RevisionNature::Additive]);
    assert_eq!(from_schema.natures, from_empty.natures);
    assert_eq!(from_schema.digests.len(), 3);
    assert!(from_schema.shadow && from_schema.notes.is_empty() && from_empty.notes.is_empty(), "{from_empty:?}");
    assert_eq!((scene.holds().await?, scene.shadows().await?), (before, vec![]));
    Ok(())
}

#[tokio::test]
async fn what_comes_inside_the_range_never_counts() -> Result<()> {
    let Some(scene) = Scene::new(&[
        ("b3", "op.execute('CREATE TABLE notes (id int, text text); CREATE VIEW v AS SELECT id FROM notes')"),
        ("b4", "op.execute('DROP VIEW v'); op.alter_column('notes', 'id', type_=sa.SmallInteger, nullable=False)"),
        ("b5", "op.drop_column('notes', 'text')"),
        ("b6", "op.drop_table('notes')"),
    ])
    .await?
    else {
        return Ok(());
    };
    for from in [ShadowFrom::Schema, ShadowFrom::Empty] {
        let found = scene.look(from).await?;
        assert_eq!((told(&found.findings), found.natures.len()), (vec![], 4), "{from:?}");
        assert!(found.natures.values().all(|nature| *nature == RevisionNature::Additive), "{:?}", found.natures);
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_rendered_is_told_and_tried_all_the_same() -> Result<()> {
    let asks = "names = [column['name'] for column in sa.inspect(op.get_bind()).get_columns('apps')]\n\
                if 'owner' in names:\n    op.drop_column('apps', 'owner')";
    let Some(mut scene) = Scene::new(&[("b3", ADDS), ("b4", asks)]).await? else { return Ok(()) };
    let (migrator, live, plan) = (scene.migrator()?, scene.live()?, scene.plan());
    let found = gate::look(&Errand { sql: true, ..Scene::errand(&migrator, &live, &plan) }).await?;
    assert!(told(&found.findings).contains(&"b4 columnDropped column public.apps.owner".to_owned()));
    assert_eq!(found.script, None);
    insta::assert_snapshot!(found.notes.join("\n"));
    // Up to the revision before, it can be.
    scene.steps.pop();
    let plan = scene.plan();
    let found = gate::look(&Errand { sql: true, ..Scene::errand(&migrator, &live, &plan) }).await?;
    let script = found.script.unwrap();
    assert!(script.contains("-- Running upgrade a2 -> b3") && script.contains("ADD COLUMN tier"), "{script}");
    assert!(!script.contains("CREATE TABLE"), "{script}");
    Ok(())
}

#[tokio::test]
async fn what_fails_on_the_real_schema_is_told_before_anything_runs() -> Result<()> {
    let Some(scene) =
        Scene::new(&[("b3", ADDS), ("b4", "op.alter_column('apps', 'size', type_=sa.BigInteger)")]).await?
    else {
        return Ok(());
    };
    // Nobody's migration made it.
    scene.server.sql(LIVE, "CREATE VIEW report AS SELECT size FROM apps").await?;
    let before = scene.holds().await?;
    let refused = scene.look(ShadowFrom::Schema).await.unwrap_err();
    assert!(matches!(&refused, GateError::Fails { revision: Some(revision), .. } if revision == "b4"), "{refused}");
    insta::assert_snapshot!(refused);
    assert_eq!((scene.holds().await?, scene.shadows().await?), (before, vec![]));
    // Nothing does not have it, and says that it is not the same.
    let found = scene.look(ShadowFrom::Empty).await?;
    insta::assert_snapshot!(found.notes.join("\n"));
    Ok(())
}

#[tokio::test]
async fn who_looks_at_another_database_than_told_is_stopped_before_it_migrates() -> Result<()> {
    let Some(scene) = Scene::new(&[("b3", ADDS)]).await? else { return Ok(()) };
    let before = scene.holds().await?;
    let environment = std::fs::read_to_string(scene.project.folder().join("migrations/env.py"))?;
    let elsewhere = environment.replace("\"DATABASE_URL\"", "\"APP_DATABASE\"");
    let elsewhere = elsewhere.replace("postgresql://nowhere/none", &scene.server.url(LIVE, ""));
    scene.project.write("migrations/env.py", &elsewhere)?;
    for from in [ShadowFrom::Schema, ShadowFrom::Empty] {
        let refused = scene.look(from).await.unwrap_err();
        assert!(matches!(refused, GateError::Elsewhere { .. }), "{refused}");
        let text = refused.to_string();
        insta::assert_snapshot!("elsewhere", text.split_once("alembic current").unwrap().1);
    }
    assert_eq!((scene.holds().await?, scene.shadows().await?), (before, vec![]));
    Ok(())
}

#[tokio::test]
async fn branches_and_merges_are_run_one_by_one() -> Result<()> {
    let Some(mut scene) = Scene::new(&[]).await? else { return Ok(()) };
    scene.project.revision("b3", "'a2'", ADDS, "")?;
    scene.project.revision("c3", "'a2'", "op.drop_column('apps', 'owner')", "")?;
    scene.project.revision("m4", "('b3', 'c3')", "op.drop_column('teams', 'name')", "")?;
    scene.steps = ["b3", "c3", "m4"].map(str::to_owned).to_vec();
    let found = scene.look(ShadowFrom::Schema).await?;
    let breaks: Vec<String> = told(&found.findings).into_iter().filter(|told| told.contains("Dropped")).collect();
    assert_eq!(breaks, ["c3 columnDropped column public.apps.owner", "m4 columnDropped column public.teams.name"]);
    Ok(())
}

#[tokio::test]
async fn a_long_range_is_run_at_once_and_one_by_one_only_where_that_tells_more() -> Result<()> {
    let many: Vec<(String, String)> =
        (0..=STEPPED).map(|number| (format!("b{number:02}"), ADDS.replace("tier", &format!("c{number}")))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(id, upgrade)| (id.as_str(), upgrade.as_str())).collect();
    let Some(mut scene) = Scene::new(&many).await? else { return Ok(()) };
    let found = scene.look(ShadowFrom::Schema).await?;
    assert_eq!((found.natures.len(), found.digests.len()), (STEPPED + 1, 1), "{found:?}");
    assert!(found.natures.values().all(|nature| *nature == RevisionNature::Additive));

    // Both together change nothing but the rows.
    let again = [
        ("d1", "op.execute('ALTER TABLE apps DROP COLUMN owner')"),
        ("d2", "op.execute('ALTER TABLE apps ADD COLUMN owner text')"),
    ];
    let mut last = many.last().unwrap().0.to_owned();
    for (id, upgrade) in again {
        scene.project.revision(id, &format!("'{last}'"), upgrade, "")?;
        last = id.to_owned();
        scene.steps.push(last.clone());
    }
    let found = scene.look(ShadowFrom::Schema).await?;
    let breaking = found.natures.iter().filter(|(_, nature)| **nature == RevisionNature::Breaking);
    let breaking: Vec<&str> = breaking.map(|(id, _)| id.as_str()).collect();
    assert_eq!((breaking, found.digests.len()), (vec!["d1"], STEPPED + 3));
    Ok(())
}

#[tokio::test]
async fn any_other_migrator_is_tried_on_the_live_schema_and_its_own_record() -> Result<()> {
    let Some(scene) = Scene::new(&[]).await? else { return Ok(()) };
    scene.server.sql(LIVE, "CREATE TABLE done (step int); INSERT INTO done VALUES (1), (2)").await?;
    let mut migrator = scene.migrator()?;
    // It fails where its own record is not there.
    let script = "import os, psycopg\n\
        url = os.environ['DATABASE_URL'].replace('+asyncpg', '').replace('ssl=', 'sslmode=')\n\
        with psycopg.connect(url) as database:\n    \
            assert database.execute('SELECT max(step) FROM done').fetchone() == (2,)\n    \
            database.execute('ALTER TABLE apps DROP COLUMN owner')\n";
    let python = crate::alembic::programs()?.join("python").display().to_string();
    migrator.command = vec![python, "-c".to_owned(), script.to_owned()];
    let (live, plan) = (scene.live()?, Plan::default());
    let noted = Noted::Query("SELECT max(step) FROM done".to_owned());
    let errand = Errand { alembic: false, noted: &noted, ..Scene::errand(&migrator, &live, &plan) };
    let before = scene.holds().await?;
    let found = gate::look(&errand).await?;
    assert_eq!(told(&found.findings), ["- columnDropped column public.apps.owner"]);
    let found = gate::look(&Errand { from: ShadowFrom::Empty, ..errand }).await?;
    assert!(!found.shadow && found.findings.is_empty());
    insta::assert_snapshot!(found.notes.join("\n"));
    assert_eq!((scene.holds().await?, scene.shadows().await?), (before, vec![]));
    Ok(())
}

#[tokio::test]
async fn settings_owners_and_rights_come_along() -> Result<()> {
    let here = "op.execute('ALTER TABLE apps DROP COLUMN owner')";
    let Some(scene) = Scene::new(&[("b3", here)]).await? else { return Ok(()) };
    // The tables are found by the setting alone.
    scene
        .server
        .sql(
            LIVE,
            "CREATE ROLE reader; CREATE ROLE keeper; CREATE SCHEMA app; ALTER TABLE apps SET SCHEMA app; \
             ALTER TABLE alembic_version SET SCHEMA app; GRANT SELECT ON app.apps TO reader; \
             ALTER TABLE teams OWNER TO keeper; ALTER DATABASE live SET search_path = app, public",
        )
        .await?;
    let found = scene.look(ShadowFrom::Schema).await?;
    assert_eq!((found.natures["b3"], found.notes.len()), (RevisionNature::Breaking, 0), "{found:?}");
    let shadow = upgrade_guard::database::shadow::Shadow::make(
        &scene.live()?,
        None,
        ShadowFrom::Schema,
        &Noted::default(),
        crate::scene::PATIENCE,
    )
    .await?;
    let name = shadow.address().to_string().rsplit_once('/').unwrap().1.to_owned();
    let rights = "SELECT relname || ' ' || relowner::regrole || ' ' || COALESCE(relacl::text, '') FROM pg_class \
                  WHERE relname IN ('apps', 'teams') ORDER BY 1";
    let there = ask(&scene.server, &name, rights).await?;
    assert_eq!(there, ask(&scene.server, LIVE, rights).await?);
    shadow.remove().await?;

    // Who is no superuser, and no member of other owners, gets the schema alone, and is told.
    scene
        .server
        .sql(
            LIVE,
            "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'p'; GRANT ALL ON SCHEMA app, public TO plain; \
        GRANT ALL ON ALL TABLES IN SCHEMA app, public TO plain",
        )
        .await?;
    let live = address(&format!("postgresql://plain:p@127.0.0.1:{}/{LIVE}", scene.server.port))?;
    let (migrator, plan) = (scene.migrator()?, scene.plan());
    let found = gate::look(&Scene::errand(&migrator, &live, &plan)).await?;
    assert_eq!(found.natures["b3"], RevisionNature::Breaking);
    insta::assert_snapshot!(found.notes.join("\n"));
    Ok(())
}
