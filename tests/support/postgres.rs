//! A real PostgreSQL for the tests: on 127.0.0.1 and a Unix socket, with a superuser `guard`.
//!
//! A shell stands between: it stops the server and clears its folder away when its own standard input ends, so they go
//! whatever becomes of the test process: an end, a panic or a kill.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use upgrade_guard::server::devcert::DevelopmentCertificate;

use super::wait::eventually;

/// The superuser, and a password with everything that a URL has a meaning for.
pub(crate) const USER: &str = "guard";
pub(crate) const PASSWORD: &str = "p@ss:w/rd?#%&é";
pub(crate) const PASSWORD_IN_URL: &str = "p%40ss%3Aw%2Frd%3F%23%25%26%C3%A9";
/// A database that takes connections over TLS only.
pub(crate) const TLS_ONLY: &str = "tls_only";

/// Starts the server and waits for the end of its own input, then stops it fast.
const KEEPER: &str =
    r#"folder=$1; shift; "$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"; rm -rf "$folder""#;
/// Who may connect how.
const ACCESS: &str = "local all all scram-sha-256\nhostnossl tls_only all all reject\n";
/// The only address where most tests have it, and who may connect from where.
const LOOPBACK: (&str, &str) = ("127.0.0.1", "127.0.0.1/32");

/// A running server. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Postgres {
    keeper: Child,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Postgres {
    /// Starts a server, which speaks TLS with `certificate` where one is given. `None` when the caller of the tests asked
    /// to skip those with a database.
    pub(crate) async fn start(certificate: Option<&DevelopmentCertificate>) -> Result<Option<Self>> {
        if std::env::var("UPGRADE_GUARD_SKIP_POSTGRES").is_ok_and(|value| value == "1") {
            // Past the test runner, which swallows what `eprintln!` says in a test that passes.
            let _ = writeln!(std::io::stderr(), "test database: SKIPPED, for UPGRADE_GUARD_SKIP_POSTGRES=1");
            return Ok(None);
        }
        let certificate = certificate.cloned();
        let launch = move || Self::launch(&programs()?, LOOPBACK, certificate.as_ref());
        Self::ready(tokio::task::spawn_blocking(launch).await??).await.map(Some)
    }

    #[allow(dead_code, reason = "only a real node has such a network")]
    /// Starts a server at an address of a network without a way out, for clients of `clients`.
    pub(crate) async fn start_at(programs: &Path, address: &'static str, clients: &'static str) -> Result<Self> {
        let programs = programs.to_owned();
        let launch = move || Self::launch(&programs, (address, clients), None);
        Self::ready(tokio::task::spawn_blocking(launch).await??).await
    }

    async fn ready(server: Self) -> Result<Self> {
        eventually("the database to be ready", async || Ok(server.connect("postgres").await))
            .await
            .with_context(|| std::fs::read_to_string(server.folder.join("log")).unwrap_or_default())?;
        server.sql("postgres", &format!("CREATE DATABASE {TLS_ONLY}")).await?;
        Ok(server)
    }

    fn launch(
        programs: &Path,
        (address, clients): (&str, &str),
        certificate: Option<&DevelopmentCertificate>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pg-").tempdir()?.keep();
        let own = Unprivileged::find()?;
        own.owns(&folder)?;
        let data = folder.join("data");
        std::fs::write(folder.join("password"), PASSWORD)?;
        own.owns(&folder.join("password"))?;
        let made = own
            .command(&programs.join("initdb"))
            .args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"])
            .arg("--pwfile")
            .arg(folder.join("password"))
            .arg("--pgdata")
            .arg(&data)
            .output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(data.join("pg_hba.conf"), format!("{ACCESS}host all all {clients} scram-sha-256\n"))?;
        if let Some(certificate) = certificate {
            for (name, content) in [("server.crt", &certificate.chain), ("server.key", &certificate.key)] {
                std::fs::write(data.join(name), content)?;
                own.owns(&data.join(name))?;
            }
            std::fs::set_permissions(data.join("server.key"), std::fs::Permissions::from_mode(0o600))?;
        }
        let port = free_port()?;
        let set = [
            format!("port={port}"),
            format!("listen_addresses={address}"),
            format!("unix_socket_directories={}", folder.display()),
            format!("ssl={}", if certificate.is_some() { "on" } else { "off" }),
            "fsync=off".to_owned(),
        ];
        let server = own.command(&programs.join("postgres"));
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&folder).arg(server.get_program()).args(server.get_args());
        keeper.arg("-D").arg(&data).args(set.iter().flat_map(|set| ["-c", set.as_str()]));
        let log = std::fs::File::create(folder.join("log"))?;
        let keeper = keeper.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { keeper, folder, port })
    }

    /// The folder of its Unix socket.
    #[allow(dead_code, reason = "not every test file uses the socket")]
    pub(crate) fn socket(&self) -> &Path {
        &self.folder
    }

    /// Its URL for a database, as Python programs write it.
    pub(crate) fn url(&self, database: &str, parameters: &str) -> String {
        format!("postgresql+asyncpg://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}{parameters}", self.port)
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).port(self.port).user(USER).password(PASSWORD).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs statements in a database.
    pub(crate) async fn sql(&self, database: &str, statements: &str) -> Result<()> {
        Ok(self.connect(database).await?.batch_execute(statements).await?)
    }

    /// The first column of what a query gives.
    #[allow(dead_code, reason = "not every test file asks")]
    pub(crate) async fn column(&self, database: &str, query: &str) -> Result<Vec<String>> {
        let answer = self.connect(database).await?.simple_query(query).await?;
        let rows = answer.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// A fresh database, in which `statements` were run.
    pub(crate) async fn database(&self, name: &str, statements: &str) -> Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name}")).await?;
        self.sql(name, statements).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Whoever runs the server: PostgreSQL refuses root.
pub(crate) struct Unprivileged {
    /// User and group, where the tests run as root.
    ids: Option<(u32, u32)>,
}

impl Unprivileged {
    pub(crate) fn find() -> Result<Self> {
        let id = |args: &[&str]| -> Option<u32> {
            let output = Command::new("id").args(args).stderr(Stdio::null()).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok())?
        };
        if id(&["-u"]).context("cannot tell who runs the tests")? != 0 {
            return Ok(Self { ids: None });
        }
        let other = ["postgres", "nobody"].iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
        Ok(Self { ids: Some(other.context("no user postgres or nobody")?) })
    }

    pub(crate) fn owns(&self, path: &Path) -> Result<()> {
        match self.ids {
            Some((user, group)) => Ok(chown(path, Some(user), Some(group))?),
            None => Ok(()),
        }
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some((user, group)) = self.ids else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .args(["--clear-groups", "--"])
            .arg(program);
        // Not in a folder that this user may not enter.
        command.current_dir("/");
        command
    }
}

/// Where `PostgreSQL` is; installed where it can be.
pub(crate) fn programs() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/install");
    let output = Command::new(script).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "tests/postgres/install failed (UPGRADE_GUARD_SKIP_POSTGRES=1 skips these tests)");
    let stdout = String::from_utf8(output.stdout)?;
    stdout.lines().last().map(PathBuf::from).context("tests/postgres/install named no folder")
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
