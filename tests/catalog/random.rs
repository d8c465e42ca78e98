//! Migrations that nobody thought of: in a random order, several in a revision, on what earlier ones made.

use std::fmt::Write as _;

use anyhow::Result;
use upgrade_guard::database::check::Kind;

use super::{broken, copy, look, open, shared};

/// Numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

fn statement(dice: &mut Dice) -> String {
    let table = dice.one(&["apps", "users", "kinds", "tenants", "app.jobs", "fresh"]);
    let column = dice.one(&["name", "owner", "size", "em", "title", "plan", "what", "slug", "extra", "extra", "more"]);
    let kind =
        dice.one(&["text", "int", "bigint", "varchar(60)", "varchar", "json", "jsonb", "serial", "status", "email"]);
    let how =
        dice.one(&["", "", " DEFAULT NULL", " NOT NULL", " UNIQUE", " CHECK (extra IS NOT NULL)", " DEFAULT '1'"]);
    match dice.roll(18) {
        0..4 => format!("ALTER TABLE {table} ADD COLUMN extra {kind}{how}"),
        4 => format!("ALTER TABLE {table} ALTER {column} TYPE {kind} USING {column}::{kind}"),
        5 => format!("ALTER TABLE {table} ALTER {column} {} NOT NULL", dice.one(&["SET", "DROP"])),
        6 => format!("ALTER TABLE {table} ALTER {column} {}", dice.one(&["DROP DEFAULT", "SET DEFAULT '2'"])),
        7 => format!("ALTER TABLE {table} DROP COLUMN {column}"),
        8 => format!("ALTER TABLE {table} RENAME {column} TO more"),
        9 => format!("CREATE {}INDEX ON {table} ({column})", dice.one(&["", "UNIQUE "])),
        10 => format!("ALTER TABLE {table} ADD CHECK ({column} {})", dice.one(&["IS NOT NULL", "<> 'x'", "> '5'"])),
        11 => "CREATE TABLE fresh (id serial, extra text, name text)".to_owned(),
        12 => format!("{} ON {table} TO app", dice.one(&["GRANT SELECT", "GRANT ALL"])),
        13 => format!("DROP TABLE {}", dice.one(&["fresh", "fresh CASCADE", "secrets", "child"])),
        14 => format!("ALTER TYPE status ADD VALUE IF NOT EXISTS '{}'", dice.one(&["x", "y"])),
        15 => format!(
            "CREATE OR REPLACE VIEW kind_list AS SELECT code, title FROM kinds{}",
            dice.one(&[" LIMIT 9", " WHERE code <> ''"])
        ),
        16 => format!("CREATE POLICY p ON {table} USING (true)"),
        _ => format!(
            "ALTER TABLE {table} {}",
            dice.one(&["ENABLE ROW LEVEL SECURITY", "DISABLE TRIGGER ALL", "REPLICA IDENTITY FULL"])
        ),
    }
}

/// Whatever migrations do: where nothing breaking is found, no query of the application of before fails.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_found_breaks_nothing() -> Result<()> {
    let Some(server) = shared().await? else { return Ok(()) };
    copy(server, "random").await?;
    let connection = open(server, "random").await?;
    let runs: u64 = std::env::var("UPGRADE_GUARD_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(25);
    let (mut breaking, mut harmless, mut wrong) = (0, 0, String::new());
    for seed in 1..=runs {
        connection.rows("begin", "BEGIN").await?;
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let first = look(&connection, true).await?;
        let (mut before, mut ran, mut found) = (first.clone(), vec![], vec![]);
        for _ in 0..8 {
            let ddl = statement(&mut dice);
            // What PostgreSQL refuses changes nothing.
            connection.rows("save", "SAVEPOINT migrate").await?;
            if connection.rows("migrate", &ddl).await.is_ok() {
                ran.push(ddl);
            } else {
                connection.rows("roll back", "ROLLBACK TO migrate").await?;
                continue;
            }
            let after = look(&connection, true).await?;
            found.extend(super::compare(&first, &before, &after, None));
            before = after;
            let broke = found.iter().any(|finding| finding.check.kind() == Kind::Breaking);
            let errors = broken(&connection, true).await;
            match (broke, errors.is_empty()) {
                (false, false) => writeln!(wrong, "{ran:?}: {errors:#?}")?,
                (true, _) => breaking += 1,
                (false, true) => harmless += 1,
            }
            if broke {
                break;
            }
        }
        connection.rows("roll back", "ROLLBACK").await?;
    }
    println!("{breaking} breaking, {harmless} harmless");
    assert!(wrong.is_empty(), "{wrong}");
    assert!(breaking > 0 && harmless > 0, "{breaking} and {harmless}");
    Ok(())
}
