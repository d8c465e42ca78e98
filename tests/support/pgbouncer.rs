//! A real `PgBouncer` for the tests, in front of a test database. It goes when the test process does.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Result;
use tempfile::TempDir;

use super::alembic::installed;
use super::postgres::{PASSWORD, Postgres, USER, Unprivileged, free_port};
use super::wait::eventually;

/// Starts it and waits for the end of its own input, then stops it.
const KEEPER: &str = r#""$@" & server=$!; read -r _; kill -TERM "$server"; wait "$server""#;

/// A running `PgBouncer`. Dropped, it stops.
pub(crate) struct PgBouncer {
    keeper: Child,
    _folder: TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts one in `mode` (`transaction`, `statement` or `session`) in front of `server`; `settings` are further lines of
    /// its configuration.
    pub(crate) async fn start(server: &Postgres, mode: &str, settings: &str) -> Result<Self> {
        let own = Unprivileged::find()?;
        let folder = tempfile::Builder::new().prefix("pgbouncer-").tempdir()?;
        own.owns(folder.path())?;
        let port = free_port()?;
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER} password='{PASSWORD}'\n\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             ignore_startup_parameters = options\n{settings}\n",
            server.port
        );
        std::fs::write(&file, text)?;
        own.owns(&file)?;
        let program = installed("tests/postgres/pgbouncer")?;
        let started = own.command(Path::new(&program));
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(started.get_program()).args(started.get_args()).arg("-q").arg(&file);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pool = Self { keeper, _folder: folder, port };
        eventually("PgBouncer to listen", async || Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await))
            .await?;
        Ok(pool)
    }

    /// The URL of a database behind it. It takes any password.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}:any@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
