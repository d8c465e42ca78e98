//! A server, a live database on it and a project whose migrations it has had, up to a revision.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use upgrade_guard::api::ShadowFrom;
use upgrade_guard::database::address::Address;
use upgrade_guard::database::connection::Connection;
use upgrade_guard::database::finding::Finding;
use upgrade_guard::database::gate::{self, Errand, Found, GateError};
use upgrade_guard::database::migrator::{Migrator, Timeouts};
use upgrade_guard::database::plan::Plan;
use upgrade_guard::database::revision::{Noted, TABLE};
use upgrade_guard::database::shadow::PREFIX;

use crate::alembic::{self, Project};
use crate::postgres::Postgres;

/// Long enough on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// The live database.
pub(crate) const LIVE: &str = "live";

pub(crate) struct Scene {
    pub(crate) server: Postgres,
    pub(crate) project: Project,
    /// The pending revisions.
    pub(crate) steps: Vec<String>,
}

impl Scene {
    /// A live database at `a2`, and after it a revision for each of `pending`: its id and the body of `upgrade`.
    pub(crate) async fn new(pending: &[(&str, &str)]) -> Result<Option<Self>> {
        let Some(server) = Postgres::start(None).await? else { return Ok(None) };
        server.database(LIVE, "").await?;
        let project = Project::new()?;
        let apps = "op.execute('CREATE TABLE apps (id int PRIMARY KEY, name text, owner text, size int NOT NULL)')";
        project.revision("a1", "None", apps, "op.drop_table('apps')")?;
        let teams =
            "op.create_table('teams', sa.Column('id', sa.Integer, primary_key=True), sa.Column('name', sa.Text))";
        project.revision("a2", "'a1'", teams, "op.drop_table('teams')")?;
        let mut last = "a2";
        for (id, upgrade) in pending {
            project.revision(id, &format!("'{last}'"), upgrade, "")?;
            last = id;
        }
        let scene = Self { server, project, steps: pending.iter().map(|(id, _)| (*id).to_owned()).collect() };
        scene.migrate(&scene.live()?, "a2").await?;
        scene.server.sql(LIVE, "INSERT INTO apps VALUES (1, 'shop', 'ann', 3)").await?;
        Ok(Some(scene))
    }

    /// The live database, as programs on asyncpg are told it, with a password of special characters.
    pub(crate) fn live(&self) -> Result<Address> {
        address(&self.server.url(LIVE, "?ssl=prefer"))
    }

    pub(crate) fn migrator(&self) -> Result<Migrator> {
        Ok(Migrator {
            command: vec![alembic::programs()?.join("alembic").display().to_string()],
            directory: Some(PathBuf::from(self.project.folder())),
            url_variable: "DATABASE_URL".to_owned(),
            keeper: None,
        })
    }

    pub(crate) async fn migrate(&self, database: &Address, revision: &str) -> Result<()> {
        let arguments = ["upgrade", revision];
        let said = self.migrator()?.run(&arguments, Some((database, TIMEOUTS)), PATIENCE, &mut |_, _| {}).await?;
        ensure!(said.ok(), "{}", said.err);
        Ok(())
    }

    /// What is pending.
    pub(crate) fn plan(&self) -> Plan {
        let to = self.steps.last().cloned().into_iter().collect();
        Plan { from: vec!["a2".to_owned()], to, steps: self.steps.clone(), ..Plan::default() }
    }

    /// Tries what is pending.
    pub(crate) async fn look(&self, from: ShadowFrom) -> Result<Found, GateError> {
        let (migrator, live) = (self.migrator().unwrap(), self.live().unwrap());
        gate::look(&Errand { from, ..Self::errand(&migrator, &live, &self.plan()) }).await
    }

    pub(crate) fn errand<'a>(migrator: &'a Migrator, live: &'a Address, plan: &'a Plan) -> Errand<'a> {
        static NOTED: std::sync::LazyLock<Noted> = std::sync::LazyLock::new(|| Noted::Table(TABLE.to_owned()));
        Errand {
            migrator,
            alembic: true,
            live,
            server: None,
            from: ShadowFrom::Schema,
            noted: &NOTED,
            plan,
            timeouts: TIMEOUTS,
            limit: PATIENCE,
            exact: false,
            sql: false,
        }
    }

    /// The temporary databases that are there.
    pub(crate) async fn shadows(&self) -> Result<Vec<String>> {
        shadows(&self.server).await
    }

    /// What the live database holds: its tables with their columns, its revision and its rows.
    pub(crate) async fn holds(&self) -> Result<Vec<String>> {
        let columns = "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns \
                       WHERE table_schema = 'public' UNION ALL SELECT version_num FROM alembic_version \
                       UNION ALL SELECT to_jsonb(a)::text FROM apps a ORDER BY 1";
        ask(&self.server, LIVE, columns).await
    }
}

pub(crate) const TIMEOUTS: Timeouts = Timeouts { lock: Duration::from_secs(30), statement: PATIENCE };

pub(crate) async fn shadows(server: &Postgres) -> Result<Vec<String>> {
    let names = format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{PREFIX}') ORDER BY 1");
    ask(server, "postgres", &names).await
}

/// The first column.
pub(crate) async fn ask(server: &Postgres, database: &str, question: &str) -> Result<Vec<String>> {
    let connection = Connection::open(&server.url(database, "").parse()?, "test", PATIENCE).await?;
    let rows = connection.rows("answer", question).await?;
    Ok(rows.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect())
}

pub(crate) fn address(url: &str) -> Result<Address> {
    let variable = |name: &str| (name == "DATABASE_URL").then(|| url.to_owned());
    Address::of_environment("DATABASE_URL", variable)?.context("a URL")
}

/// Findings as `revision check object`.
pub(crate) fn told(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &Finding| {
        let revision = finding.revision.as_deref().unwrap_or("-");
        format!("{revision} {} {}", finding.check.name(), finding.object)
    };
    findings.iter().map(told).collect()
}
