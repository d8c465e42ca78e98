//! A scene with a database, and a project of Alembic that migrates it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use regex::Regex;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;
use upgrade_guard::database::address::Address;
use upgrade_guard::database::connection::Connection;

use crate::alembic::{Project, programs};
use crate::platform::deployment;
use crate::postgres::{PASSWORD, PASSWORD_IN_URL, Postgres};
use crate::scene::{Ran, Scene};
use crate::support::guard::succeeded;
use crate::support::wait::eventually;

/// How Alembic tells its progress, as projects that Alembic made let it.
const LOGGING: &str =
    "import logging\n\nlogging.basicConfig(level=logging.INFO, format='%(levelname)-5.5s [%(name)s] %(message)s')\n";
/// What every database begins with.
const FIRST: (&str, &str, &str) =
    ("r1", "op.execute('CREATE TABLE apps (id int PRIMARY KEY, name text, legacy text)')", "op.drop_table('apps')");
/// Adds a column.
pub(crate) const ADDS: (&str, &str, &str) =
    ("r2", "op.add_column('apps', sa.Column('note', sa.Text()))", "op.drop_column('apps', 'note')");
/// Takes a column away where no SQL shows it.
pub(crate) const HIDDEN_DROP: &str =
    "op.execute(\"DO $$ BEGIN EXECUTE 'ALTER TABLE apps DROP COLUMN ' || 'legacy'; END $$\")";

/// An install at 2.2.0 whose database is at r1.
pub(crate) struct Base {
    pub(crate) scene: Scene,
    pub(crate) server: Arc<Postgres>,
    pub(crate) project: Project,
    /// Of the database.
    pub(crate) name: String,
}

/// A server of one's own; `None` when these tests are skipped.
pub(crate) async fn server() -> Result<Option<Arc<Postgres>>> {
    Ok(Postgres::start(None).await?.map(Arc::new))
}

/// The server that most tests of this process share.
async fn shared() -> Result<Option<Arc<Postgres>>> {
    static SHARED: OnceCell<Result<Option<Arc<Postgres>>, String>> = OnceCell::const_new();
    let start = async { server().await.map_err(|error| format!("{error:#}")) };
    SHARED.get_or_init(|| start).await.clone().map_err(|error| anyhow!(error))
}

impl Base {
    /// With these revisions after r1, and `more` in `spec.database.migrations`.
    pub(crate) async fn open(name: &str, revisions: &[(&str, &str, &str)], more: Value) -> Result<Option<Self>> {
        let Some(server) = shared().await? else { return Ok(None) };
        Self::on(server, name, revisions, more, json!({})).await
    }

    /// The same on this server, with `rest` in the policy.
    pub(crate) async fn on(
        server: Arc<Postgres>,
        name: &str,
        revisions: &[(&str, &str, &str)],
        more: Value,
        mut rest: Value,
    ) -> Result<Option<Self>> {
        let project = Project::new()?;
        let env = std::fs::read_to_string(project.folder().join("migrations/env.py"))?;
        project.write("migrations/env.py", &format!("{LOGGING}{env}"))?;
        let mut down = "None".to_owned();
        for (id, upgrade, downgrade) in [&FIRST].into_iter().chain(revisions) {
            project.revision(id, &down, upgrade, downgrade)?;
            down = format!("'{id}'");
        }
        // An empty copy, so that what is told is the same whether pg_dump is there or not.
        let mut migrations = json!({
            "alembic": [programs()?.join("alembic")], "directory": project.folder(), "shadow": {"from": "Empty"},
        });
        append(&mut migrations, more)?;
        append(&mut rest, json!({"database": {"components": ["api"], "migrations": migrations}}))?;
        let Some(mut scene) = Scene::open(name, rest).await? else { return Ok(None) };
        let database = format!("d_{}", scene.namespace.replace('-', "_"));
        server.database(&database, "").await?;
        scene.environment.push(("DATABASE_URL".to_owned(), server.url(&database, "")));
        scene.hidden = vec![
            (project.folder().display().to_string(), "PROJECT".to_owned()),
            (programs()?.display().to_string(), "VENV".to_owned()),
            (database.clone(), "DATABASE".to_owned()),
            (format!(":{}", server.port), ":PORT".to_owned()),
        ];
        let base = Self { scene, server, project, name: database };
        base.alembic(&["upgrade", "r1"]).await?;
        Ok(Some(base))
    }

    /// Runs Alembic by hand.
    async fn alembic(&self, args: &[&str]) -> Result<()> {
        let output = Command::new(programs()?.join("alembic"))
            .args(args)
            .current_dir(self.project.folder())
            .env("DATABASE_URL", self.server.url(&self.name, ""))
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The arguments for release 2.3.0, with enough time for a busy machine.
    pub(crate) fn args(&self, more: &[&str]) -> Vec<String> {
        let crds = self.scene.crds().display().to_string();
        let usual = ["--release", "2.3.0", "--crds", &crds, "--timeout", "5m"];
        usual.iter().chain(more).map(|text| (*text).to_owned()).collect()
    }

    /// Prepares for release 2.3.0.
    pub(crate) async fn run(&self, more: &[&str]) -> Result<Ran> {
        let ran = self.scene.run(&self.args(more)).await?;
        Ok(Ran { text: shown(&ran.text), ..ran })
    }

    pub(crate) async fn sql(&self, statements: &str) -> Result<()> {
        self.server.sql(&self.name, statements).await
    }

    pub(crate) async fn column(&self, query: &str) -> Result<Vec<String>> {
        self.server.column(&self.name, query).await
    }

    /// What the database notes.
    pub(crate) async fn noted(&self) -> Result<Vec<String>> {
        self.column("SELECT version_num FROM alembic_version ORDER BY 1").await
    }

    /// The columns of the only table.
    pub(crate) async fn columns(&self) -> Result<Vec<String>> {
        let question = "SELECT column_name FROM information_schema.columns WHERE table_name = 'apps' ORDER BY 1";
        self.column(question).await
    }

    /// A session that stays.
    pub(crate) async fn session(&self) -> Result<Connection> {
        let url = self.server.url(&self.name, "");
        let environment = |name: &str| (name == "DATABASE_URL").then(|| url.clone());
        let address = Address::of_environment("DATABASE_URL", environment)?.context("a URL")?;
        Ok(Connection::open(address.url(), "other", Duration::from_mins(1)).await?)
    }

    /// What is recorded of the database, without what differs from run to run.
    pub(crate) async fn recorded(&self) -> Result<Value> {
        let database = self.scene.status().await?.database;
        let mut value = serde_json::to_value(database)?;
        if value.is_null() {
            return Ok(value);
        }
        if let Some(entries) = value["migrations"].as_array_mut() {
            for entry in entries {
                for field in ["seconds", "started", "by"] {
                    if !entry[field].is_null() {
                        entry[field] = "ANY".into();
                    }
                }
            }
        }
        if !value["observed"].is_null() {
            value["observed"] = "ANY".into();
        }
        Ok(serde_json::from_str(&shown(&value.to_string()))?)
    }

    /// The same, to be read.
    pub(crate) async fn recorded_text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.recorded().await?)?)
    }

    /// Changes `spec.database.migrations` of the policy.
    pub(crate) async fn policy(&self, migrations: Value) -> Result<()> {
        let patch = json!({"spec": {"database": {"migrations": migrations}}}).to_string();
        self.patched("upgradepolicy", &self.scene.namespace, &patch).await
    }

    /// Writes the revision that a release needs.
    pub(crate) async fn needs(&self, release: &str, revision: &str) -> Result<()> {
        let patch = json!({"spec": {"schemaRevision": revision}}).to_string();
        self.patched("platformrelease", &format!("{}-{release}", self.scene.namespace), &patch).await
    }

    async fn patched(&self, kind: &str, name: &str, patch: &str) -> Result<()> {
        succeeded(self.scene.cluster.kubectl(&["patch", kind, name, "--type=merge", "-p", patch]).await?).map(drop)
    }

    /// Lets `replicas` pods of this version of the API run, and nothing else of it.
    pub(crate) async fn roll(&self, version: &str, replicas: usize) -> Result<()> {
        let image = format!("x/api:{version}");
        let mut wanted = deployment("api", &image);
        wanted["spec"]["replicas"] = replicas.into();
        self.scene.apply(&wanted).await?;
        let pods: Api<Pod> = Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        eventually("the pods of the api to be those", async || {
            let all = pods.list(&<_>::default()).await?.items;
            let own = all.iter().filter(|pod| pod.labels().get("app").is_some_and(|app| app == "api"));
            let images: Vec<_> = own
                .flat_map(|pod| pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()))
                .map(|status| (status.image.clone(), status.ready))
                .collect();
            let there =
                images.len() == replicas && images.iter().all(|(found, ready)| found.contains(&image) && *ready);
            Ok(if there { Ok(()) } else { Err(images) })
        })
        .await
    }
}

fn append(value: &mut Value, more: Value) -> Result<()> {
    let (Value::Object(all), Value::Object(mut more)) = (value, more) else { anyhow::bail!("no objects") };
    all.append(&mut more);
    Ok(())
}

/// A text without what differs from run to run; it never holds the password.
pub(crate) fn shown(text: &str) -> String {
    assert!(!text.contains(PASSWORD) && !text.contains(PASSWORD_IN_URL), "{text}");
    // What Python says of where it was is of its installation.
    let told = text.split_inclusive('\n').filter(|line| !line.contains("...   | ")).collect::<String>();
    let parts = [
        (r"\b\d+\.\d s\b", "N s"),
        (r"process \d+", "process N"),
        ("sha256:[0-9a-f]{64}", "DIGEST"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    ];
    parts.iter().fold(told, |text, (found, shown)| Regex::new(found).unwrap().replace_all(&text, *shown).into_owned())
}

/// The waivers that a run asks to paste, with a reason.
pub(crate) fn pasted(text: &str) -> Value {
    let waiver = Regex::new(r#"- \{revision: "(.+)", check: (\w+), hash: "(\w+)", reason: ""\}"#).unwrap();
    let waivers = waiver
        .captures_iter(text)
        .map(|found| json!({"revision": found[1], "check": found[2], "hash": found[3], "reason": "looked at"}));
    waivers.collect()
}
