//! What a look at pending migrations costs, next to the migrator alone and to the parser alone.
//!
//! A real PostgreSQL and a real Alembic, as the tests have them. Up to 25 revisions are tried one by one; more are tried
//! at once, and one by one only when something was found. `UPGRADE_GUARD_BENCH=full` shows how that grows, for minutes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are for whoever runs it")]

use std::time::{Duration, Instant};

use anyhow::Result;
use squawk_syntax::SourceFile;
use upgrade_guard::api::ShadowFrom;
use upgrade_guard::database::lint::{self, Context, Script};

#[allow(dead_code, reason = "made for the tests, which use all of it")]
#[path = "../tests/support/alembic.rs"]
mod alembic;
#[allow(dead_code, reason = "made for the tests, which use all of it")]
#[path = "../tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "made for the tests, which use all of it")]
#[path = "../tests/shadow/scene.rs"]
mod scene;
#[allow(dead_code, reason = "made for the tests, which use all of it")]
#[path = "../tests/support/wait.rs"]
mod wait;

use scene::{Scene, told};

/// How often the statements stand in the text that is read.
const REPEATED: usize = 200;

fn main() -> Result<()> {
    lints();
    let full = std::env::var("UPGRADE_GUARD_BENCH").is_ok_and(|what| what == "full");
    let counts: &[usize] = if full { &[10, 25, 50, 100, 200] } else { &[10, 50] };
    tokio::runtime::Runtime::new()?.block_on(tries(counts))
}

/// SQL read by the rules, next to the same text only parsed.
fn lints() {
    let text = include_str!("../tests/fixtures/lint/breaking.sql").repeat(REPEATED);
    let began = Instant::now();
    let statements = SourceFile::parse(&text).tree().stmts().count();
    let parsed = began.elapsed();
    let began = Instant::now();
    let script = Script { text, ..Script::default() };
    let findings = lint::sql(&script, &Context::default()).unwrap().len();
    let read = began.elapsed();
    println!("lint: {statements} statements, {findings} findings, {:.0} ms", read.as_secs_f64() * 1e3);
    println!("lint / parser alone: {:.1}", ratio(read, parsed));
}

/// Pending migrations tried on a copy, next to the migrator alone on the database.
async fn tries(counts: &[usize]) -> Result<()> {
    println!("revisions  finding  alembic alone  tried on a copy  ratio");
    for &count in counts {
        for finding in [false, true] {
            let pending = pending(count, finding);
            let pending: Vec<(&str, &str)> = pending.iter().map(|(id, body)| (id.as_str(), body.as_str())).collect();
            let Some(scene) = Scene::new(&pending).await? else { return Ok(()) };
            let began = Instant::now();
            let found = scene.look(ShadowFrom::Schema).await?;
            let tried = began.elapsed();
            assert_eq!(told(&found.findings).iter().any(|told| told.contains("columnDropped")), finding);
            let began = Instant::now();
            scene.migrate(&scene.live()?, "head").await?;
            let alone = began.elapsed();
            println!(
                "{count:9}  {finding:7}  {:11.1} s  {:13.1} s  {:5.1}",
                alone.as_secs_f64(),
                tried.as_secs_f64(),
                ratio(tried, alone)
            );
        }
    }
    Ok(())
}

/// Ids and bodies of revisions; where something is to be found it is in the last, so that all before it count.
fn pending(count: usize, finding: bool) -> Vec<(String, String)> {
    let body = |number: usize| match number {
        last if finding && last + 1 == count => "op.drop_column('apps', 'owner')".to_owned(),
        odd if odd % 2 == 1 => format!("op.add_column('apps', sa.Column('c{odd}', sa.Text))"),
        even => format!("op.create_table('t{even}', sa.Column('id', sa.Integer, primary_key=True))"),
    };
    (0..count).map(|number| (format!("b{number:03}"), body(number))).collect()
}

fn ratio(what: Duration, baseline: Duration) -> f64 {
    what.as_secs_f64() / baseline.as_secs_f64()
}
