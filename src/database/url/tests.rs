use super::*;

fn read(text: &str) -> DatabaseUrl {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn urls_are_read_as_they_occur() {
    use TlsMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    for (text, shown, password, tls) in [
        ("postgresql://stoa:secret@db:5432/stoa", "postgresql://stoa@db:5432/stoa", Some("secret"), Prefer),
        ("postgres://stoa@db/stoa", "postgresql://stoa@db:5432/stoa", None, Prefer),
        ("postgresql+asyncpg://u:p%40ss@db/stoa?ssl=require", "postgresql://u@db:5432/stoa", Some("p@ss"), Require),
        ("postgresql+psycopg2://u:p@db:6432/a?sslmode=disable", "postgresql://u@db:6432/a", Some("p"), Disable),
        ("postgresql://u:p@db/a?sslmode=verify-full", "postgresql://u@db:5432/a", Some("p"), VerifyFull),
        ("postgresql://u:p@db/a?sslmode=verify-ca&application_name=x", "postgresql://u@db:5432/a", Some("p"), VerifyCa),
        ("postgresql+asyncpg://u:p@db/a?ssl=true", "postgresql://u@db:5432/a", Some("p"), VerifyFull),
        // A file of authorities is there to be looked at, as libpq has it.
        ("postgresql://u:p@db/a?sslmode=require&sslrootcert=/ca.crt", "postgresql://u@db:5432/a", Some("p"), VerifyCa),
        ("postgresql://u:p@db/a?sslrootcert=system", "postgresql://u@db:5432/a", Some("p"), VerifyFull),
        // What people forget to encode, as far as it can be told apart.
        ("postgresql://u:p@ss:w#rd@db/a", "postgresql://u@db:5432/a", Some("p@ss:w#rd"), Prefer),
        ("postgresql://u:100%@db/a", "postgresql://u@db:5432/a", Some("100%"), Prefer),
        ("postgresql://u:%2F%3f%C3%A9@db/a", "postgresql://u@db:5432/a", Some("/?é"), Prefer),
        ("postgresql://u:a%2gé@db/a", "postgresql://u@db:5432/a", Some("a%2gé"), Prefer),
        // Sockets.
        ("postgresql:///a?host=/run/postgresql&user=u", "postgresql://u@/run/postgresql:5432/a", None, Disable),
        ("postgresql://u@/a?host=/tmp&port=6000&sslmode=require", "postgresql://u@/tmp:6000/a", None, Disable),
        ("postgresql://u@%2Frun%2Fpostgresql/a", "postgresql://u@/run/postgresql:5432/a", None, Disable),
        // Addresses, and several places.
        ("postgresql://u@[::1]:6000/a", "postgresql://u@[::1]:6000/a", None, Prefer),
        ("postgresql://u@one:1,two/a", "postgresql://u@one:1,two:5432/a", None, Prefer),
        ("postgresql://u@/a?host=one:1&host=two:2", "postgresql://u@one:1,two:2/a", None, Prefer),
        // Without a database it is the user's.
        ("postgresql://u@db", "postgresql://u@db:5432/u", None, Prefer),
        ("  postgresql://u@db/a\n", "postgresql://u@db:5432/a", None, Prefer),
    ] {
        let url = read(text);
        assert_eq!(url.to_string(), shown, "{text}");
        assert_eq!((url.password.as_deref(), url.tls), (password, tls), "{text}");
    }
}

#[test]
fn the_password_is_never_shown() {
    let url = read("postgresql://u:hunter2@db/a?ssl=require");
    assert!(!format!("{url} {url:?} {url:#?}").contains("hunter2"));
    let wrong = ["postgresql://u:hunter2/x@db/a", "postgresql://u:hunter2?x@db/a", "mysql://u:hunter2@db/a"];
    for text in wrong.into_iter().chain(["hunter2", "postgresql://u:p@db/a?sslmode=hunter2"]) {
        let error = text.parse::<DatabaseUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    for (text, expected) in [
        ("", "is empty"),
        ("db:5432/a", "must begin with postgresql://"),
        ("mysql://u@db/a", "must begin with postgresql://"),
        ("postgresql://u:p/w@db/a", "percent-encoded"),
        ("postgresql://u@db:0/a", "no number"),
        ("postgresql://u@db:70000/a", "no number"),
        ("postgresql://db/a", "names no user, and neither does PGUSER"),
        ("postgresql://u@/a", "names no host, and neither does PGHOST"),
        ("postgresql://u@db/a?sslmode=on", "sslmode of the database is none of disable"),
        ("postgresql://u@db/a?sslcert=/c&sslkey=/k", "sslcert, which is not supported"),
    ] {
        let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_environment_fills_in_what_the_url_leaves_out() {
    let all = environment(&[
        ("PGHOST", "db"),
        ("PGPORT", "6000"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "p"),
        ("PGDATABASE", "a"),
        ("PGSSLMODE", "require"),
        ("PGSSLROOTCERT", "/ca.crt"),
    ]);
    let url = DatabaseUrl::of_environment(&all).unwrap().unwrap();
    assert_eq!(url.to_string(), "postgresql://u@db:6000/a");
    assert_eq!((url.password.as_deref(), url.tls), (Some("p"), TlsMode::VerifyCa));
    assert_eq!(url.trust, Trust::File("/ca.crt".into()));

    let own = DatabaseUrl::parse("postgresql://me@other:1/b?sslmode=disable", &all).unwrap();
    assert_eq!((own.to_string().as_str(), own.tls), ("postgresql://me@other:1/b", TlsMode::Disable));
    assert_eq!(own.password.as_deref(), Some("p"));

    assert_eq!(DatabaseUrl::of_environment(&environment(&[("PGUSER", "u")])), Ok(None));
    assert_eq!(DatabaseUrl::of_environment(&environment(&[("PGHOST", "")])), Ok(None));
    let wrong = environment(&[("PGHOST", "db"), ("PGUSER", "u"), ("PGSSLMODE", "maybe")]);
    assert!(DatabaseUrl::of_environment(&wrong).unwrap_err().to_string().starts_with("PGSSLMODE"));
}
