use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::database::check::Kind;

fn lint(text: &str) -> Vec<Finding> {
    lint_in(text, &Context { timeouts_set: true, ..Context::default() })
}

fn lint_in(text: &str, context: &Context) -> Vec<Finding> {
    let script = Script { text: text.to_owned(), ..Script::default() };
    sql(&script, context).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The checks of kinds other than locks, without those that a policy leaves out; each once.
fn compatibility(findings: &[Finding]) -> Vec<Check> {
    let of = |finding: &&Finding| finding.check.kind() != Kind::Lock && finding.check != Check::ColumnAdded;
    let checks: BTreeSet<Check> = findings.iter().filter(of).map(|finding| finding.check).collect();
    checks.into_iter().collect()
}

/// Who finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Squawk,
    Us,
}
use By::{Squawk, Us};

/// The rows of the tables of the notes: statement, check, who finds it, what it is about.
const BREAKING: &[(&str, Check, By, &str)] = &[
    ("ALTER TABLE t DROP COLUMN c", Check::ColumnDropped, Squawk, "column public.t.c"),
    ("ALTER TABLE IF EXISTS ONLY s.\"T\" DROP c", Check::ColumnDropped, Squawk, "column s.T.c"),
    ("DROP TABLE u", Check::TableDropped, Squawk, "table public.u"),
    ("DROP SCHEMA s", Check::SchemaDropped, Squawk, "schema s"),
    ("DROP DATABASE d", Check::SchemaDropped, Squawk, "database d"),
    ("DROP VIEW v", Check::ObjectDropped, Squawk, "view public.v"),
    ("DROP MATERIALIZED VIEW IF EXISTS s.v", Check::ObjectDropped, Squawk, "materialized view s.v"),
    ("DROP FUNCTION f(int)", Check::ObjectDropped, Squawk, "function public.f"),
    ("DROP PROCEDURE p", Check::ObjectDropped, Squawk, "procedure public.p"),
    ("DROP AGGREGATE a(int)", Check::ObjectDropped, Squawk, "aggregate public.a"),
    ("DROP TYPE st", Check::ObjectDropped, Squawk, "type public.st"),
    ("DROP DOMAIN d", Check::ObjectDropped, Squawk, "domain public.d"),
    ("DROP SEQUENCE s", Check::ObjectDropped, Squawk, "sequence public.s"),
    ("DROP EXTENSION e", Check::ObjectDropped, Squawk, "extension e"),
    ("ALTER TABLE t RENAME COLUMN a TO b", Check::ColumnRenamed, Squawk, "column public.t.a"),
    ("ALTER TABLE t RENAME a TO b", Check::ColumnRenamed, Squawk, "column public.t.a"),
    ("ALTER TABLE u RENAME TO v", Check::TableRenamed, Squawk, "table public.u"),
    ("ALTER VIEW v RENAME TO w", Check::ObjectRenamed, Squawk, "view public.v"),
    ("ALTER FUNCTION f(int) RENAME TO g", Check::ObjectRenamed, Squawk, "function public.f"),
    ("ALTER TYPE st RENAME TO su", Check::ObjectRenamed, Squawk, "type public.st"),
    ("ALTER SCHEMA s RENAME TO r", Check::ObjectRenamed, Squawk, "schema s"),
    ("ALTER SEQUENCE s RENAME TO r", Check::ObjectRenamed, Squawk, "sequence public.s"),
    ("ALTER TABLE t RENAME CONSTRAINT a TO b", Check::ObjectRenamed, Squawk, "constraint a on public.t"),
    ("ALTER INDEX i RENAME TO j", Check::ObjectRenamed, Squawk, "index public.i"),
    ("ALTER TYPE st RENAME VALUE 'ready' TO 'ok'", Check::EnumValueRemoved, Squawk, "type public.st"),
    ("ALTER TABLE t SET SCHEMA other", Check::SchemaMoved, Squawk, "table public.t"),
    ("ALTER TABLE t ALTER COLUMN c TYPE smallint", Check::TypeNarrowed, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER c SET DATA TYPE varchar(10)", Check::TypeNarrowed, Squawk, "column public.t.c"),
    ("ALTER TABLE t ADD COLUMN c text NOT NULL", Check::RequiredColumnAdded, Squawk, "column public.t.c"),
    ("ALTER TABLE t ADD COLUMN c text DEFAULT NULL NOT NULL", Check::RequiredColumnAdded, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", Check::NotNullSet, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER COLUMN c DROP DEFAULT", Check::DefaultDropped, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER c DROP IDENTITY", Check::IdentityChanged, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER c SET GENERATED ALWAYS", Check::IdentityChanged, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER c ADD GENERATED ALWAYS AS IDENTITY", Check::IdentityChanged, Squawk, "column public.t.c"),
    ("ALTER TABLE t ALTER c DROP EXPRESSION", Check::IdentityChanged, Squawk, "column public.t.c"),
    ("ALTER TABLE t ADD CHECK (c > 0)", Check::CheckAdded, Squawk, "constraint on public.t"),
    ("ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0) NOT VALID", Check::CheckAdded, Squawk, "constraint k on public.t"),
    ("ALTER TABLE t ADD CONSTRAINT k UNIQUE (c)", Check::UniqueAdded, Squawk, "constraint k on public.t"),
    ("CREATE UNIQUE INDEX i ON t (c)", Check::UniqueAdded, Squawk, "index i on public.t"),
    ("CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY s.t (c)", Check::UniqueAdded, Squawk, "index i on s.t"),
    (
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (c) REFERENCES p (id) NOT VALID",
        Check::ForeignKeyAdded,
        Squawk,
        "constraint k on public.t",
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT k EXCLUDE USING gist (c WITH &&)",
        Check::ExclusionAdded,
        Squawk,
        "constraint k on public.t",
    ),
    ("ALTER TABLE t ADD PRIMARY KEY (c)", Check::ExclusionAdded, Squawk, "constraint on public.t"),
    ("ALTER TABLE t ADD COLUMN c bigint PRIMARY KEY", Check::ExclusionAdded, Squawk, "column public.t.c"),
    ("ALTER TABLE t DROP CONSTRAINT k", Check::UniqueDropped, Squawk, "constraint k on public.t"),
    ("DROP INDEX i", Check::UniqueDropped, Squawk, "index public.i"),
    ("ALTER DOMAIN d ADD CHECK (VALUE > 0)", Check::DomainTightened, Squawk, "domain public.d"),
    ("ALTER DOMAIN d SET NOT NULL", Check::DomainTightened, Squawk, "domain public.d"),
    ("REVOKE SELECT ON t FROM app", Check::RightsRevoked, Squawk, "table public.t"),
    ("ALTER TABLE t OWNER TO other", Check::RightsRevoked, Squawk, "table public.t"),
    ("ALTER VIEW v OWNER TO other", Check::RightsRevoked, Squawk, "view public.v"),
    ("DROP OWNED BY app", Check::RightsRevoked, Squawk, "statement drop owned by app"),
    ("DROP ROLE app", Check::RightsRevoked, Squawk, "role app"),
    (
        "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM app",
        Check::RightsRevoked,
        Squawk,
        "statement alter default privileges revoke",
    ),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", Check::RowSecurity, Squawk, "table public.t"),
    ("ALTER TABLE t FORCE ROW LEVEL SECURITY", Check::RowSecurity, Squawk, "table public.t"),
    ("CREATE POLICY p ON t USING (true)", Check::RowSecurity, Squawk, "policy p on public.t"),
    ("DROP POLICY p ON t", Check::RowSecurity, Squawk, "policy p on public.t"),
    ("ALTER POLICY p ON t USING (false)", Check::RowSecurity, Squawk, "policy p on public.t"),
    ("ALTER TABLE t ADD COLUMN n bigserial", Check::SerialAdded, Us, "column public.t.n"),
    ("ALTER TABLE t ADD COLUMN n SERIAL NOT NULL", Check::SerialAdded, Us, "column public.t.n"),
    ("ALTER TABLE t ADD COLUMN n json", Check::JsonAdded, Us, "column public.t.n"),
    (
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        Check::TriggerAdded,
        Us,
        "trigger g on public.t",
    ),
    ("CREATE RULE r AS ON INSERT TO s.t DO INSTEAD NOTHING", Check::TriggerAdded, Us, "rule r on s.t"),
    ("DROP TRIGGER g ON t", Check::TriggerAdded, Squawk, "trigger g on public.t"),
    ("ALTER TABLE t ENABLE ALWAYS TRIGGER g", Check::TriggerAdded, Us, "table public.t"),
    ("TRUNCATE t", Check::DataRemoved, Us, "table public.t"),
    ("TRUNCATE TABLE ONLY t CASCADE", Check::DataRemoved, Squawk, "table public.t"),
    ("DELETE FROM t", Check::DataRemoved, Us, "table public.t"),
    ("DELETE FROM ONLY s.t AS x WHERE (TRUE)", Check::DataRemoved, Us, "table s.t"),
    ("UPDATE t SET c = 0", Check::DataRemoved, Us, "table public.t"),
    ("UPDATE t SET c = 0 WHERE 1 = 1", Check::DataRemoved, Us, "table public.t"),
    ("WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone", Check::DataRemoved, Us, "table public.t"),
    ("ALTER TABLE t DETACH PARTITION p", Check::PartitionDetached, Squawk, "table public.t"),
    ("ALTER TABLE t NO INHERIT p", Check::PartitionDetached, Squawk, "table public.t"),
    ("DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$", Check::Opaque, Us, "DO block"),
    ("CALL s.p(1)", Check::Opaque, Us, "procedure s.p"),
    ("EXECUTE q", Check::Opaque, Us, "prepared statement"),
    ("SELECT clean_up('t')", Check::Opaque, Us, "function public.clean_up"),
    ("SELECT x FROM s.clean_up() x", Check::Opaque, Us, "function s.clean_up"),
    ("EXPLAIN ANALYZE DELETE FROM t", Check::Opaque, Us, "EXPLAIN ANALYZE"),
    ("INSERT INTO alembic_version VALUES ('x')", Check::VersionTableWritten, Us, "table alembic_version"),
    ("DELETE FROM public.alembic_version", Check::VersionTableWritten, Us, "table alembic_version"),
    ("ROLLBACK", Check::TransactionControl, Us, "transaction"),
    ("COMMIT", Check::TransactionControl, Us, "transaction"),
    ("BEGIN", Check::TransactionControl, Us, "transaction"),
    ("IMPORT FOREIGN SCHEMA s FROM SERVER r INTO t", Check::Unhandled, Us, "statement import foreign schema s"),
    ("CREATE CAST (text AS int) WITH INOUT", Check::Unhandled, Us, "statement create cast ( text"),
];

const SEMANTIC: &[(&str, Check)] = &[
    ("ALTER TYPE st ADD VALUE 'degraded'", Check::EnumValueAdded),
    ("ALTER TABLE t ALTER c DROP NOT NULL", Check::NotNullDropped),
    ("CREATE OR REPLACE VIEW v AS SELECT 1 AS x", Check::BehaviourChanged),
    ("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", Check::BehaviourChanged),
    ("ALTER TABLE t ALTER c SET DEFAULT 0", Check::BehaviourChanged),
    ("ALTER SEQUENCE s RESTART", Check::BehaviourChanged),
    ("SELECT setval('s', 7)", Check::BehaviourChanged),
    ("ALTER ROLE app SET search_path = s", Check::SettingsChanged),
    ("ALTER DATABASE d SET search_path = s", Check::SettingsChanged),
    ("ALTER EXTENSION e UPDATE", Check::SettingsChanged),
    ("ALTER TABLE t DISABLE TRIGGER g", Check::SettingsChanged),
    ("ALTER TABLE t REPLICA IDENTITY FULL", Check::SettingsChanged),
    ("ALTER TABLE t INHERIT p", Check::BehaviourChanged),
];

const LOCKS: &[(&str, Check)] = &[
    ("CREATE INDEX i ON t (c)", Check::IndexLocks),
    ("REINDEX TABLE t", Check::IndexLocks),
    ("DROP INDEX i", Check::IndexLocks),
    ("ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0)", Check::ConstraintScans),
    ("ALTER TABLE t ALTER c SET NOT NULL", Check::ConstraintScans),
    (
        "BEGIN; ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT k; COMMIT",
        Check::ConstraintScans,
    ),
    ("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()", Check::TableRewritten),
    ("ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS (1) STORED", Check::TableRewritten),
    ("ALTER TABLE t ADD COLUMN c bigserial", Check::TableRewritten),
    ("ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS IDENTITY", Check::TableRewritten),
    ("ALTER TABLE t ALTER c TYPE smallint", Check::TableRewritten),
    ("ALTER TABLE t SET UNLOGGED", Check::TableRewritten),
    ("ALTER TABLE t SET TABLESPACE s", Check::TableRewritten),
    ("CLUSTER t", Check::TableRewritten),
    ("VACUUM FULL t", Check::TableRewritten),
    ("BEGIN; CREATE INDEX CONCURRENTLY i ON t (c); COMMIT", Check::ConcurrentlyInTransaction),
    ("BEGIN; DROP INDEX CONCURRENTLY i; COMMIT", Check::ConcurrentlyInTransaction),
    ("ALTER TABLE t ATTACH PARTITION p DEFAULT", Check::HeavyLock),
    ("REFRESH MATERIALIZED VIEW v", Check::HeavyLock),
    ("LOCK TABLE t", Check::HeavyLock),
    ("BEGIN; ALTER TABLE t ADD COLUMN c int; UPDATE t SET c = 0 WHERE id < 9; COMMIT", Check::BackfillUnderLock),
];

/// What versions before do not notice.
const ADDITIVE: &[&str] = &[
    "CREATE TABLE n (id bigserial PRIMARY KEY, c json, p int REFERENCES t (id))",
    "CREATE TYPE e AS ENUM ('a')",
    "CREATE SCHEMA s",
    "CREATE VIEW v AS SELECT 1 AS x",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$",
    "CREATE SEQUENCE s",
    "CREATE EXTENSION IF NOT EXISTS pgcrypto",
    "CREATE ROLE r",
    "ALTER TABLE t ADD COLUMN c text",
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS c jsonb",
    "ALTER TABLE t ADD COLUMN c text DEFAULT 'd' NOT NULL",
    "ALTER TABLE t ADD COLUMN tier TEXT DEFAULT 'std' NOT NULL",
    "ALTER TABLE t ADD COLUMN c timestamptz DEFAULT now() NOT NULL",
    "ALTER TABLE t ADD COLUMN c int REFERENCES p (id)",
    "ALTER TABLE t ADD COLUMN c text UNIQUE",
    "CREATE INDEX CONCURRENTLY i ON t (c)",
    "ALTER TABLE t VALIDATE CONSTRAINT k",
    "COMMENT ON TABLE t IS 'x'",
    "GRANT SELECT ON t TO app",
    "ALTER TABLE t ALTER COLUMN c SET STATISTICS 100",
    "ALTER TABLE t SET (fillfactor = 70)",
    "ANALYZE t",
    "INSERT INTO t (a) VALUES (1)",
    "UPDATE t SET a = 1 WHERE a IS NULL",
    "DELETE FROM t WHERE a = 1",
    "SELECT count(*), max(lower(a)) FROM t",
    "SET lock_timeout = '5s'",
    "BEGIN; CREATE TABLE n (id int); COMMIT",
    // What is made here may be unmade here.
    "CREATE TABLE n (x int, y int); ALTER TABLE n DROP COLUMN x; ALTER TABLE public.n ADD COLUMN z int NOT NULL; DROP TABLE n",
    "BEGIN; CREATE TABLE n (x int); COMMIT; BEGIN; ALTER TABLE n ADD UNIQUE (x); CREATE UNIQUE INDEX i ON n (x); COMMIT",
    "CREATE TABLE n (x int); ALTER TABLE n RENAME TO m; ALTER TABLE m ALTER x SET NOT NULL; TRUNCATE m; DELETE FROM m",
    "CREATE TYPE e AS ENUM ('a'); ALTER TYPE e ADD VALUE 'b'; ALTER TYPE e RENAME VALUE 'b' TO 'c'; DROP TYPE e",
    "CREATE TABLE n (x int); CREATE TRIGGER g BEFORE INSERT ON n FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE VIEW v AS SELECT 1 AS x; DROP VIEW v",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION f()",
    "CREATE SCHEMA s; CREATE TABLE IF NOT EXISTS s.n (x int); DROP TABLE s.n; DROP SCHEMA s CASCADE",
    "CREATE TEMP TABLE n AS SELECT 1 AS x; UPDATE n SET x = 2; DROP TABLE n",
    "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t DROP COLUMN c",
    "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t RENAME c TO d; ALTER TABLE t ALTER d TYPE bigint; UPDATE t SET d = 1",
    "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t ALTER c SET DEFAULT 0; ALTER TABLE t ALTER c SET NOT NULL",
    "ALTER TABLE t ADD COLUMN c int; CREATE UNIQUE INDEX i ON t (c); DROP INDEX i",
    "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (c) REFERENCES p (id); ALTER TABLE t DROP CONSTRAINT k",
];

/// What is made here, and still breaks.
const NOT_EXEMPT: &[(&str, &[Check])] = &[
    ("ALTER TABLE t ADD COLUMN c int; ALTER TABLE t ALTER c SET NOT NULL", &[Check::RequiredColumnAdded]),
    ("ALTER TABLE t ADD COLUMN c int DEFAULT 0 NOT NULL; ALTER TABLE t ALTER c DROP DEFAULT", &[Check::DefaultDropped]),
    ("ALTER TABLE t ADD COLUMN c int DEFAULT 0; CREATE UNIQUE INDEX i ON t (c)", &[Check::UniqueAdded]),
    ("ALTER TABLE t ADD COLUMN c int DEFAULT 0 UNIQUE", &[Check::UniqueAdded]),
    ("ALTER TABLE t ADD COLUMN c int; CREATE UNIQUE INDEX i ON t (c, a)", &[Check::UniqueAdded]),
    ("ALTER TABLE t ADD COLUMN IF NOT EXISTS c int; ALTER TABLE t DROP COLUMN c", &[Check::ColumnDropped]),
    ("CREATE TABLE IF NOT EXISTS t (c int); DROP TABLE t", &[Check::TableDropped]),
    ("CREATE TABLE s.t (c int); DROP TABLE t", &[Check::TableDropped]),
    ("CREATE TABLE \"T\" (c int); DROP TABLE t", &[Check::TableDropped]),
    ("CREATE TEMP TABLE t (c int); DROP TABLE public.t", &[Check::TableDropped]),
    ("CREATE TABLE n (c int); DROP TABLE n, t", &[Check::TableDropped]),
    ("CREATE TABLE n (c int); DROP TABLE n; DROP TABLE n", &[Check::TableDropped]),
    ("CREATE TYPE e AS ENUM ('a'); DROP TYPE e CASCADE", &[Check::ObjectDropped]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN END $$; SELECT f()", &[Check::Opaque]),
    (
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN END $$; UPDATE t SET a = f() WHERE b",
        &[Check::Opaque],
    ),
];

#[test]
fn every_breaking_statement_is_found_by_whom_the_table_says() {
    for (text, check, by, object) in BREAKING {
        let found = lint(text);
        assert_eq!(compatibility(&found), [*check], "{text}: {found:#?}");
        let finding = found.iter().find(|finding| finding.check == *check).unwrap();
        assert_eq!((finding.object.as_str(), finding.statement.as_deref()), (*object, Some(*text)), "{text}");
        let parse = SourceFile::parse(text);
        let rules = squawk::run(&parse, text, &Context { timeouts_set: true, ..Context::default() });
        // Which check these are is said by what they are found in.
        let by_place = [
            Check::CheckAdded,
            Check::DomainTightened,
            Check::EnumValueRemoved,
            Check::ExclusionAdded,
            Check::ForeignKeyAdded,
            Check::NotNullSet,
            Check::RequiredColumnAdded,
            Check::RowSecurity,
            Check::TypeNarrowed,
            Check::UniqueAdded,
            Check::UniqueDropped,
        ];
        let is_it = |own: Option<Check>| own == Some(*check) || by_place.contains(check);
        let is_squawk = rules.iter().any(|violation| is_it(violation.check));
        assert_eq!(if is_squawk { Squawk } else { Us }, *by, "{text}: {rules:?}");
    }
}

#[test]
fn what_changes_a_meaning_and_what_locks_is_found() {
    for (text, check) in SEMANTIC {
        assert_eq!(compatibility(&lint(text)), [*check], "{text}");
    }
    for (text, check) in LOCKS {
        let found = lint(text);
        assert!(found.iter().any(|finding| finding.check == *check), "{text}: {found:#?}");
    }
}

#[test]
fn what_only_adds_is_not_found() {
    for text in ADDITIVE {
        assert_eq!(compatibility(&lint(text)), [], "{text}");
    }
    for (text, checks) in NOT_EXEMPT {
        assert_eq!(compatibility(&lint(text)), *checks, "{text}");
    }
}

#[test]
fn what_is_known_of_the_database_counts() {
    let key = |column: &str| ("public.t".to_owned(), column.to_owned());
    let context = Context {
        timeouts_set: true,
        types: [("name", "character varying(50)"), ("count", "integer")].map(|(c, ty)| (key(c), ty.to_owned())).into(),
        constraints: [(key("k_check"), 'c'), (key("k_unique"), 'u')].into(),
        indexes: [("i_plain", false), ("i_unique", true)]
            .map(|(name, is_unique)| (format!("public.{name}"), Index { table: "public.t".to_owned(), is_unique }))
            .into(),
        sizes: [("public.t".to_owned(), Size { rows: 2_000_000, bytes: 0 })].into(),
        ..Context::default()
    };
    for (text, expected) in [
        ("ALTER TABLE t ALTER name TYPE varchar(100)", &[Check::TypeWidened][..]),
        ("ALTER TABLE t ALTER name TYPE text", &[Check::TypeWidened]),
        ("ALTER TABLE t ALTER name TYPE text USING lower(name)", &[Check::TypeNarrowed]),
        ("ALTER TABLE t ALTER name TYPE varchar(10)", &[Check::TypeNarrowed]),
        ("ALTER TABLE t ALTER count TYPE bigint", &[Check::TypeWidened]),
        ("ALTER TABLE t DROP CONSTRAINT k_check", &[]),
        ("ALTER TABLE t DROP CONSTRAINT k_unique", &[Check::UniqueDropped]),
        ("DROP INDEX CONCURRENTLY i_plain", &[]),
        ("DROP INDEX CONCURRENTLY i_unique", &[Check::UniqueDropped]),
        ("CREATE TABLE IF NOT EXISTS n (x int); DROP TABLE n", &[]),
        ("CREATE TABLE IF NOT EXISTS t (x int); DROP TABLE t", &[Check::TableDropped]),
        ("ALTER TABLE t ADD COLUMN IF NOT EXISTS n int; ALTER TABLE t DROP COLUMN n", &[]),
    ] {
        assert_eq!(compatibility(&lint_in(text, &context)), expected, "{text}");
    }
    let rewritten = |text: &str| lint_in(text, &context).iter().any(|finding| finding.check == Check::TableRewritten);
    assert!(!rewritten("ALTER TABLE t ALTER name TYPE text") && rewritten("ALTER TABLE t ALTER count TYPE bigint"));
    for (text, large) in [
        ("CREATE INDEX i ON t (count)", true),
        ("CREATE INDEX i ON other (count)", false),
        ("DROP INDEX i_plain", true),
        ("ALTER TABLE public.t SET UNLOGGED", true),
    ] {
        let found = lint_in(text, &context);
        assert!(found.iter().any(|finding| finding.check.kind() == Kind::Lock && finding.large == large), "{found:#?}");
    }
}

#[test]
fn a_timeout_is_missed_once_unless_someone_sets_it() {
    let text = "ALTER TABLE t ADD COLUMN a int; ALTER TABLE t ADD COLUMN b int, ADD COLUMN c int;";
    let missed = |text: &str, timeouts_set| {
        let found = lint_in(text, &Context { timeouts_set, ..Context::default() });
        found.iter().filter(|finding| finding.check == Check::NoLockTimeout).count()
    };
    assert_eq!((missed(text, false), missed(text, true)), (1, 0));
    assert_eq!(missed(&format!("SET lock_timeout = '5s'; {text}"), false), 0);
}

/// What Alembic writes for three revisions, of which the second has an `autocommit_block`.
const ALEMBIC: &str = "BEGIN;

-- Running upgrade a1 -> b2

ALTER TABLE t ADD COLUMN c TEXT;

UPDATE alembic_version SET version_num='b2' WHERE alembic_version.version_num = 'a1';

-- Running upgrade b2 -> c3

COMMIT;

CREATE INDEX CONCURRENTLY i ON t (c);

BEGIN;

UPDATE alembic_version SET version_num='c3' WHERE alembic_version.version_num = 'b2';

-- Running upgrade c3, x9 -> d4

ALTER TABLE t DROP COLUMN old;

DELETE FROM alembic_version WHERE alembic_version.version_num = 'x9';

UPDATE alembic_version SET version_num='d4' WHERE alembic_version.version_num = 'c3';

COMMIT;
";

fn told(text: &str) -> Vec<(Option<String>, Check)> {
    let found = lint(text).into_iter().filter(|finding| finding.check != Check::ColumnAdded);
    found.map(|finding| (finding.revision, finding.check)).collect()
}

#[test]
fn findings_are_of_the_revision_that_alembic_names() {
    let of = |revision: &str, check| (Some(revision.to_owned()), check);
    assert_eq!(told(ALEMBIC), [of("d4", Check::ColumnDropped)]);
    let own = "ALTER TABLE t ADD COLUMN c TEXT;";
    for (instead, expected) in [
        ("COMMIT;", &[Check::TransactionControl][..]),
        ("BEGIN;", &[Check::TransactionControl]),
        ("ROLLBACK;", &[Check::TransactionControl]),
        ("commit; begin;", &[Check::TransactionControl, Check::TransactionControl]),
        ("COMMIT; DROP TABLE u; BEGIN;", &[Check::TableDropped]),
        ("SAVEPOINT s; RELEASE SAVEPOINT s;", &[]),
        (
            "UPDATE alembic_version SET version_num='b2' WHERE alembic_version.version_num = 'a1'; DROP TABLE u;",
            &[Check::VersionTableWritten, Check::TableDropped],
        ),
        ("DELETE FROM alembic_version;", &[Check::VersionTableWritten]),
        (
            "UPDATE alembic_version SET version_num='zz' WHERE alembic_version.version_num = 'a1';",
            &[Check::VersionTableWritten],
        ),
        ("INSERT INTO alembic_version (version_num) SELECT 'b2';", &[Check::VersionTableWritten]),
        ("TRUNCATE alembic_version;", &[Check::VersionTableWritten]),
        // A comment that looks like a mark does not lead astray.
        ("-- Running upgrade a1 -> waived\nDROP TABLE u;", &[Check::TableDropped]),
    ] {
        let mut expected: Vec<_> = expected.iter().map(|check| of("b2", *check)).collect();
        expected.push(of("d4", Check::ColumnDropped));
        assert_eq!(told(&ALEMBIC.replace(own, instead)), expected, "{instead}");
    }
}

#[test]
fn what_cannot_be_read_is_not_half_judged() {
    for (text, line) in [
        ("DROP TABLE t;\nDROP TABLES u;", 2),
        ("SELECT 1;\n\\copy t from 'x'", 2),
        ("SELECT 'open", 1),
        ("SELECT 1; /* open", 1),
        ("CREATE TABLE t (\na int,);", 2),
        ("COPY t FROM stdin;\n1\t2\n\\.\n", 2),
    ] {
        let script = Script { text: text.to_owned(), file: Some("m.sql".into()), revision: None };
        let error = sql(&script, &Context::default()).unwrap_err();
        assert!(matches!(error, LintError::Parse { line: told, .. } if told == line), "{text}: {error:?}");
        assert!(error.to_string().starts_with(&format!("m.sql, line {line}: ")), "{error}");
    }
}

#[test]
fn comments_are_told_and_change_nothing() {
    let plain = "DROP TABLE t;";
    let text = format!(
        "-- squawk-ignore-file\n-- squawk-ignore ban-drop-table\n{plain} -- why\n/* squawk-disable-assume-in-transaction */"
    );
    let hashes = |text: &str| lint(text).iter().map(Finding::hash).collect::<Vec<_>>();
    assert_eq!(hashes(&text), hashes(plain));
    let told = attempted_waivers(&Script { text, file: Some("m.sql".into()), revision: None });
    assert_eq!(told.len(), 3);
    assert!(told[0].starts_with("m.sql, line 1: the comment '-- squawk-ignore-file' waives nothing"), "{told:?}");
}

/// What stands between statements.
fn between() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        " ",
        "\n",
        "\n\n",
        "\t",
        "-- plain\n",
        "-- squawk-ignore-file\n",
        "/* a ; b */",
        "/* 'x\n */\n",
        "-- é $$\n",
        ";",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn statements_are_found_where_they_stand(
        parts in prop::collection::vec((0..ADDITIVE.len() + 30, prop::collection::vec(between(), 0..4)), 1..12),
    ) {
        // Statements that look at nothing before them.
        let mut known: Vec<&str> = BREAKING.iter().take(28).map(|(text, ..)| *text).collect();
        known.extend(ADDITIVE.iter().filter(|text| ![";", "CREATE", "ADD COLUMN"].iter().any(|word| text.contains(word))));
        let (mut text, mut expected) = (String::new(), Vec::new());
        for (index, gaps) in parts {
            for gap in gaps {
                text.push_str(gap);
            }
            let statement = known[index % known.len()];
            if BREAKING.iter().any(|(own, ..)| *own == statement) {
                expected.push((text.matches('\n').count() + 1, statement.to_owned()));
            }
            let _ = write!(text, "{statement};");
        }
        let script = Script { text: text.clone(), file: Some("m.sql".into()), revision: None };
        let context = Context { timeouts_set: true, ..Context::default() };
        let found = sql(&script, &context).unwrap();
        let breaking = found.iter().filter(|finding| finding.check.kind() == Kind::Breaking);
        let told: Vec<(usize, String)> = breaking
            .map(|finding| (finding.place.as_ref().and_then(|place| place.line).unwrap(), finding.statement.clone().unwrap()))
            .collect();
        prop_assert_eq!(told, expected, "{}", text);
        let silenced = Script { text: format!("-- squawk-ignore-file\n{text}"), ..script };
        let again = sql(&silenced, &context).unwrap();
        prop_assert_eq!(again.iter().map(Finding::hash).collect::<Vec<_>>(), found.iter().map(Finding::hash).collect::<Vec<_>>());
    }

    #[test]
    fn no_text_is_a_panic(text in "([-/*;'$\"() \n]|DROP|TABLE|t|ALTER|ADD|COLUMN|CREATE|é|BEGIN|DELETE FROM|1|,){0,24}") {
        let script = Script { text, ..Script::default() };
        let _ = sql(&script, &Context::default());
        let _ = attempted_waivers(&script);
    }
}
