//! How long a try takes, and how that grows.

use std::time::Instant;

use anyhow::Result;
use upgrade_guard::api::ShadowFrom;

use crate::scene::{Scene, told};

/// Prints a table: `cargo test --test shadow figure -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "takes minutes, and tells a figure"]
async fn figure_seconds_for_a_try() -> Result<()> {
    println!("revisions  from    finding  seconds");
    for count in [25, 50, 100, 200] {
        for finding in [false, true] {
            let body = |number: usize| match number {
                // The last one, so that all before it count.
                last if finding && last + 1 == count => "op.drop_column('apps', 'owner')".to_owned(),
                odd if odd % 2 == 1 => format!("op.add_column('apps', sa.Column('c{odd}', sa.Text))"),
                even => format!("op.create_table('t{even}', sa.Column('id', sa.Integer, primary_key=True))"),
            };
            let pending: Vec<(String, String)> =
                (0..count).map(|number| (format!("b{number:03}"), body(number))).collect();
            let pending: Vec<(&str, &str)> = pending.iter().map(|(id, body)| (id.as_str(), body.as_str())).collect();
            let Some(scene) = Scene::new(&pending).await? else { return Ok(()) };
            for from in [ShadowFrom::Schema, ShadowFrom::Empty] {
                let began = Instant::now();
                let found = scene.look(from).await?;
                let breaks = told(&found.findings).iter().any(|told| told.contains("columnDropped"));
                assert_eq!(breaks, finding);
                let from = format!("{from:?}");
                println!("{count:9}  {from:6}  {finding:7}  {:7.1}", began.elapsed().as_secs_f32());
            }
        }
    }
    Ok(())
}
