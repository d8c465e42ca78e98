//! Where a database is, as people write it: libpq's and `SQLAlchemy`'s URLs, and libpq's environment variables.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a database is and who asks. Shown, it never tells the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// Where it may be; the first that answers is asked.
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    pub(super) tls: TlsMode,
    pub(super) trust: Trust,
    pub(super) options: Option<String>,
}

/// One place where the database may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// A name, an address, or the folder of a Unix socket.
    pub(super) name: String,
    pub(super) port: u16,
}

impl Host {
    pub(super) fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// How a connection is encrypted: libpq's `sslmode`
/// (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// When the server can; nobody looks at its certificate. libpq's default, and what is made of its `allow`.
    Prefer,
    /// In any case; nobody looks at the certificate, unless a file says whom to trust.
    Require,
    /// By a certificate of an authority that is trusted.
    VerifyCa,
    /// By a certificate of an authority that is trusted, for this host.
    VerifyFull,
}

/// Whose certificates are believed, where they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Trust {
    /// The authorities of the system.
    #[default]
    System,
    /// Those in this PEM file alone.
    File(PathBuf),
}

/// Why a text does not say where a database is. What was written is never part of it: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// It is empty.
    #[error("the database URL is empty")]
    Empty,
    /// It is no URL, or one of another database.
    #[error("the database URL must begin with postgresql:// or postgres://, also as postgresql+asyncpg://")]
    Scheme,
    /// The port is no number.
    #[error(
        "the port in the database URL is no number from 1 to 65535. Write special characters of user and password \
         percent-encoded, for example %2F for '/', %3F for '?' and %40 for '@'"
    )]
    Port,
    /// A part is missing.
    #[error("the database URL names no {what}, and neither does {variable}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The environment variable that could name it.
        variable: &'static str,
    },
    /// A parameter has a value that is not known.
    #[error("{parameter} of the database is none of {known}")]
    Value {
        /// Which parameter.
        parameter: &'static str,
        /// Its values.
        known: &'static str,
    },
    /// A parameter that cannot be followed, and matters.
    #[error("the database URL has {0}, which is not supported: connect with a password instead")]
    Unsupported(&'static str),
}

const MODES: [(&str, TlsMode); 6] = [
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Prefer),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];
const KNOWN_MODES: &str = "disable, allow, prefer, require, verify-ca and verify-full";
/// The environment variables of libpq that are followed.
pub const VARIABLES: [&str; 8] =
    ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGSSLROOTCERT", "PGOPTIONS"];

/// The parts as they are written, before anything is missing.
#[derive(Default)]
struct Parts {
    hosts: String,
    ports: String,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    mode: Option<TlsMode>,
    trust: Option<String>,
    options: Option<String>,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        Self::parse(text, &BTreeMap::new())
    }
}

impl DatabaseUrl {
    /// Reads a URL; what it leaves out is taken from `environment`, by libpq's names ([`VARIABLES`]).
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn parse(text: &str, environment: &BTreeMap<String, String>) -> Result<Self, DatabaseUrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(DatabaseUrlError::Empty);
        }
        Parts::of_url(text)?.completed(environment)
    }

    /// What the environment alone says; `None` when it names no host.
    ///
    /// # Errors
    /// As for [`DatabaseUrl::parse`].
    pub fn of_environment(environment: &BTreeMap<String, String>) -> Result<Option<Self>, DatabaseUrlError> {
        let named = environment.get("PGHOST").is_some_and(|host| !host.is_empty());
        named.then(|| Parts::default().completed(environment)).transpose()
    }

    /// How the connection is encrypted.
    #[must_use]
    pub fn tls(&self) -> TlsMode {
        self.tls
    }
}

impl Parts {
    fn of_url(text: &str) -> Result<Self, DatabaseUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(DatabaseUrlError::Scheme)?;
        // SQLAlchemy names the driver after a plus.
        if !matches!(scheme.split('+').next(), Some("postgresql" | "postgres")) {
            return Err(DatabaseUrlError::Scheme);
        }
        // The last '@' before the path ends user and password, as Python reads them: a password may hold one.
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parts = Self::default();
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        parts.user = Some(decoded(user)).filter(|user| !user.is_empty());
        parts.password = password.map(decoded).filter(|password| !password.is_empty());
        parts.places(place)?;
        parts.database = Some(decoded(path.trim_start_matches('/'))).filter(|database| !database.is_empty());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parts.parameter(&decoded(name), decoded(value))?;
        }
        Ok(parts)
    }

    /// Hosts with their ports: `one:5432,two`, `[::1]:5432`.
    fn places(&mut self, text: &str) -> Result<(), DatabaseUrlError> {
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        for place in text.split(',').filter(|_| !text.is_empty()) {
            let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((address, rest)) => (address, rest.strip_prefix(':').unwrap_or(rest)),
                None => place.rsplit_once(':').unwrap_or((place, "")),
            };
            if !port.is_empty() {
                number(port)?;
            }
            hosts.push(decoded(host));
            ports.push(port.to_owned());
        }
        (self.hosts, self.ports) = (hosts.join(","), ports.join(","));
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: String) -> Result<(), DatabaseUrlError> {
        match name {
            // SQLAlchemy writes several places as several `host=name:port`.
            "host" | "hostaddr" => self.place(&value)?,
            "port" => self.ports = value,
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" | "database" => self.database = Some(value),
            "sslmode" | "ssl" => self.mode = Some(mode("sslmode", &value)?),
            "sslrootcert" => self.trust = Some(value),
            "options" => self.options = Some(value),
            "sslcert" => return Err(DatabaseUrlError::Unsupported("sslcert")),
            "sslkey" => return Err(DatabaseUrlError::Unsupported("sslkey")),
            // Everything else is about what a driver does with the connection.
            _ => {}
        }
        Ok(())
    }

    fn place(&mut self, value: &str) -> Result<(), DatabaseUrlError> {
        let mut one = Self::default();
        if value.starts_with('/') {
            value.clone_into(&mut one.hosts);
        } else {
            one.places(value)?;
        }
        if self.hosts.is_empty() {
            self.hosts = one.hosts;
            if !one.ports.is_empty() {
                self.ports = one.ports;
            }
        } else {
            self.hosts = format!("{},{}", self.hosts, one.hosts);
            self.ports = format!("{},{}", self.ports, one.ports);
        }
        Ok(())
    }

    fn completed(self, environment: &BTreeMap<String, String>) -> Result<DatabaseUrl, DatabaseUrlError> {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let missing = |what, variable| DatabaseUrlError::Missing { what, variable };
        let or = |own: String, name: &str| if own.is_empty() { variable(name).unwrap_or_default() } else { own };
        let hosts = paired(&or(self.hosts, "PGHOST"), &or(self.ports, "PGPORT"))?;
        if hosts.is_empty() {
            return Err(missing("host", "PGHOST"));
        }
        let user = self.user.or_else(|| variable("PGUSER")).ok_or_else(|| missing("user", "PGUSER"))?;
        let stated = match (self.mode, variable("PGSSLMODE")) {
            (Some(mode), _) => Some(mode),
            (None, Some(text)) => Some(mode("PGSSLMODE", &text)?),
            (None, None) => None,
        };
        let (tls, trust) = match (stated.unwrap_or(TlsMode::Prefer), self.trust.or_else(|| variable("PGSSLROOTCERT"))) {
            // As libpq does: naming the system's authorities asks for the strictest look ...
            (_, Some(file)) if file == "system" => (TlsMode::VerifyFull, Trust::System),
            // ... and a file of authorities is there to be looked at.
            (TlsMode::Require, Some(file)) => (TlsMode::VerifyCa, Trust::File(file.into())),
            (mode, Some(file)) => (mode, Trust::File(file.into())),
            (mode, None) => (mode, Trust::System),
        };
        // Nobody listens in on a socket of the machine, and its server speaks no TLS there.
        let tls = if hosts.iter().all(Host::is_socket) { TlsMode::Disable } else { tls };
        Ok(DatabaseUrl {
            hosts,
            password: self.password.or_else(|| variable("PGPASSWORD")),
            database: self.database.or_else(|| variable("PGDATABASE")).unwrap_or_else(|| user.clone()),
            user,
            tls,
            trust,
            options: self.options.or_else(|| variable("PGOPTIONS")),
        })
    }
}

const PORT: u16 = 5432;

/// Each host with its port: one port is that of all.
fn paired(hosts: &str, ports: &str) -> Result<Vec<Host>, DatabaseUrlError> {
    let ports: Vec<&str> = ports.split(',').collect();
    let named = hosts.split(',').enumerate().filter(|(_, host)| !host.is_empty());
    named
        .map(|(index, name)| {
            let port = if ports.len() == 1 { ports.first() } else { ports.get(index) };
            let port = match port.copied().filter(|port| !port.is_empty()) {
                Some(port) => number(port)?,
                None => PORT,
            };
            Ok(Host { name: name.to_owned(), port })
        })
        .collect()
}

fn number(port: &str) -> Result<u16, DatabaseUrlError> {
    port.parse().ok().filter(|port| *port > 0).ok_or(DatabaseUrlError::Port)
}

fn mode(parameter: &'static str, value: &str) -> Result<TlsMode, DatabaseUrlError> {
    match value {
        // asyncpg's booleans: `True` looks at the certificate as a browser does.
        "true" | "True" | "1" => Ok(TlsMode::VerifyFull),
        "false" | "False" | "0" => Ok(TlsMode::Disable),
        _ => MODES
            .iter()
            .find(|(name, _)| *name == value)
            .map(|(_, mode)| *mode)
            .ok_or(DatabaseUrlError::Value { parameter, known: KNOWN_MODES }),
    }
}

/// `text` with `%40` and its like read as bytes; what is no such escape stays as it is, as Python reads it.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut read = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let escape = escape.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if let Some(escaped) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            read.push(escaped);
            at += 3;
        } else {
            read.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

impl fmt::Display for DatabaseUrl {
    /// `postgresql://user@host:5432/database`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |host: &Host| {
            let name = if host.name.contains(':') { format!("[{}]", host.name) } else { host.name.clone() };
            format!("{name}:{}", host.port)
        };
        let places: Vec<String> = self.hosts.iter().map(place).collect();
        write!(f, "postgresql://{}@{}/{}", self.user, places.join(","), self.database)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self}, {:?})", self.tls)
    }
}

#[cfg(test)]
mod tests;
