//! The graph of migrations as real Alembic tells it, as it is read from the files, and as a real PostgreSQL takes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use tokio::sync::OnceCell;
use upgrade_guard::database::graph::{Graph, GraphError, alembic, files};
use upgrade_guard::database::migrator::Migrator;
use upgrade_guard::database::plan::{self, COLUMN, plan};
use upgrade_guard::database::revision::{Noted, Revision, revision};
use upgrade_guard::database::url::DatabaseUrl;

use postgres::Postgres;
use project::{Project, programs};

#[path = "support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/alembic.rs"]
mod project;
#[allow(dead_code, reason = "what other test files use")]
#[path = "support/wait.rs"]
mod wait;

/// Long enough on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The server that all tests of this process share.
async fn shared() -> Result<Option<&'static Postgres>> {
    static SHARED: OnceCell<Result<Option<Postgres>, String>> = OnceCell::const_new();
    let start = async || Postgres::start(None).await.map_err(|error| format!("{error:#}"));
    let server = SHARED.get_or_init(start).await.as_ref().map_err(|error| anyhow!(error.clone()))?;
    Ok(server.as_ref())
}

/// A project of revisions: id, `down_revision`, `branch_labels` and `depends_on` as Python, and the body of `upgrade`.
fn project(revisions: &[[&str; 5]]) -> Result<Project> {
    let project = Project::new()?;
    for [id, down, labels, depends_on, body] in revisions {
        let text = format!(
            "\"\"\"Makes {id}: 100 %s.\n\nRev: none\n\"\"\"\nfrom typing import Sequence, Union\nfrom alembic import op\n\n\
             revision: str = '{id}'  # an id\ndown_revision: Union[str, Sequence[str], None] = {down}\n\
             branch_labels = {labels}\ndepends_on = {depends_on}\n\n\ndef upgrade():\n    {body}\n"
        );
        project.write(&format!("migrations/versions/{id}.py"), &text)?;
    }
    Ok(project)
}

fn versions(project: &Project) -> std::path::PathBuf {
    project.folder().join("migrations/versions")
}

fn migrator(folder: &Path) -> Result<Migrator> {
    let command = vec![programs()?.join("alembic").display().to_string()];
    Ok(Migrator { command, directory: Some(folder.to_owned()), url_variable: "DATABASE_URL".to_owned(), keeper: None })
}

async fn asked(project: &Project) -> Result<Graph, GraphError> {
    alembic::read(&migrator(project.folder()).unwrap(), PATIENCE).await
}

/// Branches, a merge, a second base that depends on a label, and what leaves the transaction.
const BRANCHES: [[&str; 5]; 9] = [
    ["a", "None", "None", "None", "op.execute('CREATE TABLE a ()')"],
    ["b1", "'a'", "('left', 'port')", "None", "op.execute('CREATE TABLE b1 ()')"],
    ["b2", "('b1',)", "None", "None", "op.execute('CREATE TABLE b2 ()')"],
    ["c1", "'a'", "None", "None", "op.execute('CREATE TABLE c1 ()')"],
    ["c2", "'c1'", "None", "['b1']", "op.execute('CREATE TABLE c2 AS TABLE b1')"],
    ["m", "(\n    'b2',\n    'c2',\n)", "None", "None", "op.execute('CREATE TABLE m AS SELECT b2.* FROM b2, c2')"],
    ["x", "None", "'other'", "None", "op.execute('CREATE TABLE x ()')"],
    ["y", "'x'", "None", "('left', 'c1')", "op.execute('CREATE TABLE y AS SELECT x.* FROM x, b1, c1')"],
    ["z", "['m', 'y']", "None", "None", "with op.get_context().autocommit_block():\n        pass"],
];

#[tokio::test]
async fn alembic_and_its_files_tell_the_same_graph() -> Result<()> {
    let line = [
        ["a", "None", "None", "None", "pass"],
        ["b", "'a'", "None", "None", "pass"],
        ["c", "'b'", "None", "None", "pass"],
    ];
    let heads = [
        ["a", "None", "'one'", "None", "pass"],
        ["b", "'a'", "None", "None", "pass"],
        ["c", "'a'", "None", "None", "pass"],
    ];
    let long = [
        ["a", "None", "None", "None", "pass"],
        ["an_id_of_thirty_nine_characters_in_total", "'a'", "None", "None", "pass"],
    ];
    for (revisions, expected) in [
        (&line as &[_], "c"),
        (&heads, "b c"),
        (&long, "an_id_of_thirty_nine_characters_in_total"),
        (&BRANCHES, "z"),
        (&BRANCHES[..8], "m y"),
    ] {
        let project = project(revisions)?;
        let asked = asked(&project).await?;
        assert_eq!(asked, files::read(&versions(&project))?);
        assert_eq!((asked.heads().join(" "), asked.migrations().count()), (expected.to_owned(), revisions.len()));
    }
    let project = project(&BRANCHES)?;
    let graph = asked(&project).await?;
    let y = graph.get("y").unwrap();
    assert_eq!((y.depends_on.join(" "), y.title.as_str()), ("b1 c1".to_owned(), "Makes y: 100 %s."));
    assert_eq!(graph.migrations().filter(|migration| migration.autocommit).count(), 1);
    Ok(())
}

#[tokio::test]
async fn what_files_do_not_say_alembic_does() -> Result<()> {
    let project = project(&[["a", "None", "None", "None", "pass"]])?;
    project.write(
        "migrations/versions/b.py",
        "revision = 'b' * 2\ndown_revision = chr(97)\ndef upgrade():\n    # autocommit\n    pass\nprint('loaded')\n",
    )?;
    assert!(matches!(files::read(&versions(&project)), Err(GraphError::Computed { line: 1, .. })));
    // Where env.py is run, what it prints is no revision.
    project.write("alembic.ini", "[alembic]\nscript_location = migrations\nrevision_environment = true\n")?;
    project.write(
        "migrations/env.py",
        "from alembic import context\nfrom sqlalchemy import create_engine\nprint('settings')\n\
         with create_engine('sqlite://').connect() as connection:\n    context.configure(connection=connection)\n    context.run_migrations()\n",
    )?;
    let graph = asked(&project).await?;
    assert_eq!(graph.heads(), ["bb"]);
    let bb = graph.get("bb").unwrap();
    assert_eq!((bb.down.join(" "), bb.autocommit, bb.digest.is_some()), ("a".to_owned(), true, true));
    Ok(())
}

#[tokio::test]
async fn no_revisions_are_told_from_a_failure() -> Result<()> {
    assert_eq!(asked(&Project::new()?).await?, Graph::default());
    let a = ["a", "None", "None", "None", "pass"];
    let mut told = vec![];
    for (name, revisions, file) in [
        ("broken chain", &[a, ["c", "'b'", "None", "None", "pass"]] as &[_], None),
        ("missing dependency", &[a, ["b", "'a'", "None", "('lost',)", "pass"]], None),
        ("cycle", &[a, ["b", "'c'", "None", "None", "pass"], ["c", "'b'", "None", "None", "pass"]], None),
        ("twins", &[a], Some(("migrations/versions/copy.py", "revision = 'a'\ndown_revision = None\n"))),
        ("two labels", &[a, ["b", "'a'", "'x'", "None", "pass"], ["c", "'b'", "'x'", "None", "pass"]], None),
        ("module fails", &[a], Some(("migrations/versions/b.py", "raise RuntimeError('no settings')\n"))),
        ("no id", &[a], Some(("migrations/versions/help_me.py", "pass\n"))),
        ("no configuration", &[a], Some(("alembic.ini", "[other]\n"))),
        (
            "prints in between",
            &[a],
            Some((
                "migrations/versions/b.py",
                "import atexit\natexit.register(print, 'bye')\nrevision = 'b'\ndown_revision = 'a'\n",
            )),
        ),
    ] {
        let project = project(revisions)?;
        if let Some((path, text)) = file {
            project.write(path, text)?;
        }
        let error = asked(&project).await.unwrap_err().to_string();
        let error = error.replace(&project.folder().display().to_string(), "/app");
        told.push(format!("{name}\n  {}", error.replace(&programs()?.display().to_string(), "/venv")));
    }
    insta::assert_snapshot!(told.join("\n"));
    Ok(())
}

#[tokio::test]
async fn another_program_makes_no_graph() -> Result<()> {
    let project = project(&[["a", "None", "None", "None", "pass"]])?;
    let mut told = vec![];
    for (command, limit) in
        [("echo", PATIENCE), ("no-such-program", PATIENCE), ("sh -c exec yes>/dev/null", Duration::from_millis(50))]
    {
        let command = command.splitn(3, ' ').map(str::to_owned).collect();
        let migrator = Migrator { command, ..migrator(project.folder())? };
        told.push(alembic::read(&migrator, limit).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(told.join("\n"));
    Ok(())
}

/// What Alembic says when it upgrades the database `name` to `to`: `Err` are its last words.
async fn upgrade(server: &Postgres, project: &Project, name: &str, to: &str) -> Result<Result<(), String>> {
    let mut command = Command::new(programs()?.join("alembic"));
    command.args(["upgrade", to]).current_dir(project.folder()).env("DATABASE_URL", server.url(name, ""));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) })
}

async fn noted(server: &Postgres, name: &str) -> Result<Revision> {
    let url: DatabaseUrl = server.url(name, "").parse()?;
    Ok(revision(&url, &Noted::default(), PATIENCE).await?)
}

#[tokio::test]
async fn real_alembic_runs_the_steps_in_this_order_and_notes_what_we_say() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let project = project(&BRANCHES)?;
    let graph = asked(&project).await?;
    for (name, first) in [("way_from_nothing", None), ("way_from_c1", Some("c1"))] {
        server.database(name, "").await?;
        if let Some(first) = first {
            upgrade(server, &project, name, first).await?.map_err(|words| anyhow!(words))?;
        }
        let begin = noted(server, name).await?.heads();
        let mut ran = graph.ancestors(&begin);
        for step in graph.between(&begin, &graph.heads()) {
            upgrade(server, &project, name, &step.id).await?.map_err(|words| anyhow!("{}: {words}", step.id))?;
            ran.insert(&step.id);
            let revision = noted(server, name).await?;
            assert_eq!(revision.heads(), graph.noted(&ran), "{name}, after {}", step.id);
            // Stopped here, whatever is left is what the next run plans.
            let plan = plan(&graph, &revision, None, &[], &|_| Ok(()))?;
            let all: BTreeSet<&str> = graph.migrations().map(|migration| migration.id.as_str()).collect();
            let left: BTreeSet<&str> = all.difference(&ran).copied().collect();
            assert_eq!(plan.steps.iter().map(String::as_str).collect::<BTreeSet<_>>(), left);
            assert_eq!(plan.to, ["z"]);
        }
        assert_eq!(noted(server, name).await?, Revision::One("z".to_owned()));
    }
    Ok(())
}

#[tokio::test]
async fn an_id_that_does_not_fit_is_told_before_the_database_refuses_it() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    let long = "an_id_of_forty_characters_that_is_long_x";
    let wide = "op.execute('ALTER TABLE alembic_version ALTER COLUMN version_num TYPE VARCHAR(128)')";
    for (name, body, fits) in [("narrow", "pass", false), ("widened", wide, true)] {
        let project = project(&[["a", "None", "None", "None", body], [long, "'a'", "None", "None", "pass"]])?;
        server.database(name, "").await?;
        let graph = asked(&project).await?;
        let plan = plan(&graph, &noted(server, name).await?, None, &[], &|_| Ok(()))?;
        let said = plan::fits(&graph, &plan, Some(COLUMN)).map_err(|error| error.to_string());
        let really = upgrade(server, &project, name, "head").await?;
        assert_eq!((said.is_ok(), really.is_ok()), (fits, fits), "{said:?} {really:?}");
        if let (Err(said), Err(really)) = (said, really) {
            ensure!(said.contains(long) && said.contains("40 characters"), "{said}");
            ensure!(really.contains("value too long for type character varying(32)"), "{really}");
        }
    }
    Ok(())
}
