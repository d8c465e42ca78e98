//! The schema of a database as SQL: what `pg_dump` says.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::super::address::Address;
use super::super::connection::{Connection, DatabaseError, quoted};
use super::super::migrator::APPLICATION;
use super::super::url::{DatabaseUrl, TlsMode, Trust};
use super::ShadowError;

const PROGRAM: &str = "pg_dump";
/// How long `pg_dump` waits for the locks that readers take: behind a migration it would wait for ever, and others behind
/// it.
const LOCK_WAIT: &str = "10s";

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dump {
    /// The schema, with owners and rights.
    Whole,
    /// The schema without what needs the same roles, or a superuser.
    Plain,
    /// The rows of these tables, each as a pattern.
    Rows(Vec<String>),
}

impl Dump {
    /// Reads it from `live`, as statements for the simple query protocol.
    pub(super) async fn read(&self, live: &Address) -> Result<String, ShadowError> {
        let failed = |words| ShadowError::Dump { url: live.to_string(), words };
        let mut command = Command::new(PROGRAM);
        command.args(["--no-password", "--encoding=UTF8"]).arg(format!("--lock-wait-timeout={LOCK_WAIT}"));
        match self {
            // A subscription would read from elsewhere, and its database could not be removed.
            Self::Whole => command.args(["--schema-only", "--no-subscriptions"]),
            Self::Plain => command
                .args(["--schema-only", "--no-subscriptions", "--no-publications", "--no-comments"])
                .args(["--no-owner", "--no-privileges", "--no-security-labels", "--no-tablespaces"]),
            Self::Rows(tables) => command
                .args(["--data-only", "--column-inserts"])
                .args(tables.iter().map(|name| format!("--table={name}"))),
        };
        // What would lead elsewhere than the address.
        for variable in ["PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGSSLCERT", "PGSSLKEY", "PGCHANNELBINDING"] {
            command.env_remove(variable);
        }
        command.envs(environment(live.url())).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| failed(format!("cannot run {PROGRAM}: {error}")))?;
        if !output.status.success() {
            return Err(failed(words(&String::from_utf8_lossy(&output.stderr))));
        }
        String::from_utf8(output.stdout)
            .map(|text| statements(&text))
            .map_err(|_| failed(format!("{PROGRAM} gave no UTF-8")))
    }
}

/// libpq's own words for where a database is: never an argument, which others on the machine can read.
fn environment(url: &DatabaseUrl) -> Vec<(&'static str, String)> {
    let mode = match url.tls {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    };
    let trust = match &url.trust {
        Trust::File(file) => Some(Path::display(file).to_string()),
        Trust::System => (url.tls == TlsMode::VerifyFull).then(|| "system".to_owned()),
    };
    let hosts: Vec<&str> = url.hosts.iter().map(|host| host.name.as_str()).collect();
    let ports: Vec<String> = url.hosts.iter().map(|host| host.port.to_string()).collect();
    let told = [
        ("PGHOST", Some(hosts.join(","))),
        ("PGPORT", Some(ports.join(","))),
        ("PGUSER", Some(url.user.clone())),
        ("PGPASSWORD", url.password.clone()),
        ("PGDATABASE", Some(url.database.clone())),
        ("PGSSLMODE", Some(mode.to_owned())),
        ("PGSSLROOTCERT", trust),
        ("PGOPTIONS", url.options.clone()),
        ("PGAPPNAME", Some(APPLICATION.to_owned())),
    ];
    told.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What it says is wrong, in one line.
fn words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("pg_dump: "))
        .map(|line| line.trim_start_matches("error: ").trim_start_matches("detail: ").trim())
        .collect();
    match lines.as_slice() {
        [] => format!("{PROGRAM}: {}", stderr.lines().last().unwrap_or("it said nothing")),
        lines => format!("{PROGRAM}: {}", lines.join("; ")),
    }
}

/// The dump without what only `psql` understands, and without a setting that servers before 17 do not know and `pg_dump` of
/// 17 sets all the same.
fn statements(dump: &str) -> String {
    let ours = |line: &&str| {
        let psql = line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
        !psql && !line.starts_with("SET transaction_timeout ")
    };
    let mut kept = String::with_capacity(dump.len());
    for line in dump.lines().filter(ours) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The tables that a query reads, as patterns for `pg_dump`.
pub(super) async fn tables_of(connection: &Connection, query: &str) -> Result<Vec<String>, DatabaseError> {
    let explain = format!("EXPLAIN (VERBOSE, FORMAT JSON) {query}");
    let plan = connection.value("explain the policy's revisionQuery", &explain).await?.unwrap_or_default();
    let mut tables = vec![];
    // What cannot be read names no table.
    collect(&serde_json::from_str(&plan).unwrap_or_default(), &mut tables);
    tables.sort();
    tables.dedup();
    Ok(tables)
}

fn collect(plan: &Value, tables: &mut Vec<String>) {
    match plan {
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, tables)),
        Value::Object(fields) => {
            if let (Some(Value::String(schema)), Some(Value::String(name))) =
                (fields.get("Schema"), fields.get("Relation Name"))
            {
                tables.push(format!("{}.{}", quoted(schema), quoted(name)));
            }
            fields.values().for_each(|part| collect(part, tables));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_understands_is_kept() {
        let dump = "\\restrict aB3\n\nSET lock_timeout = 0;\nSET transaction_timeout = 0;\nCREATE FUNCTION f() AS $$\n \
                    \\restrict x\n$$;\n\\unrestrict aB3\n";
        let kept = "\nSET lock_timeout = 0;\nCREATE FUNCTION f() AS $$\n \\restrict x\n$$;\n";
        assert_eq!(statements(dump), kept);
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        let stderr = "pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 17.2; \
                      pg_dump version: 15.18\n";
        let told = "pg_dump: aborting because of server version mismatch; server version: 17.2; pg_dump version: 15.18";
        assert_eq!(words(stderr), told);
        assert_eq!(words(""), "pg_dump: it said nothing");
    }

    #[test]
    fn the_database_is_told_by_environment_with_all_its_parts() {
        let url = "postgresql+asyncpg://u:p%40%2F@a:1,b:2/x%20y?ssl=require&options=-c%20a%3Db";
        let told = environment(&url.parse().unwrap());
        let told: Vec<String> = told.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            told.join("|"),
            "PGHOST=a,b|PGPORT=1,2|PGUSER=u|PGPASSWORD=p@/|PGDATABASE=x y|PGSSLMODE=require|PGOPTIONS=-c a=b|\
             PGAPPNAME=upgrade-guard-migration"
        );
    }

    #[test]
    fn the_tables_of_a_plan_are_found_at_any_depth() {
        let plan = serde_json::json!([{"Plan": {"Node Type": "Sort", "Plans": [
            {"Relation Name": "revisions", "Schema": "My \"app\""}, {"Relation Name": "other", "Schema": "public"}]}}]);
        let mut tables = vec![];
        collect(&plan, &mut tables);
        assert_eq!(tables, ["\"My \"\"app\"\"\".\"revisions\"", "\"public\".\"other\""]);
    }
}
