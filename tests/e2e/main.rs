//! The whole of it on a real node: the chart with the image, two replicas behind their Service, real pods, real
//! migrations, and faults. Run by `make e2e`, as root.
//!
//! A node is started in namespaces of its own (`tests/cluster/README.md`), then this program starts itself again in the
//! node's network, which leads nowhere: whatever dials an address of the cluster does it in there. The scenes run one after
//! the other; each has a namespace of its own in the cluster. Arguments choose scenes by their names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

#[path = "../support/alembic.rs"]
#[allow(dead_code, reason = "only the folder of programs is wanted")]
mod alembic;
mod faults;
mod hold;
mod hook;
mod node;
mod observer;
mod order;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres;
mod replace;
mod reviews;
mod toys;
#[path = "../support/wait.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod wait;
mod world;

use world::World;

/// A scene, and how it is called on the command line.
struct Scene {
    name: &'static str,
    run: for<'a> fn(&'a World) -> LocalBoxFuture<'a, Result<()>>,
}

/// In this order: the last one takes the guard away.
const SCENES: [Scene; 5] = [
    Scene { name: "order", run: |world| order::run(world).boxed_local() },
    Scene { name: "hold", run: |world| hold::run(world).boxed_local() },
    Scene { name: "hook", run: |world| hook::run(world).boxed_local() },
    Scene { name: "faults", run: |world| faults::run(world).boxed_local() },
    Scene { name: "replace", run: |world| replace::run(world).boxed_local() },
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let done = match node::inside() {
        Ok(Some(node)) => play(node, &wanted),
        Ok(None) => node::start_and_enter(),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenes on the node.
fn play(node: node::Inside, wanted: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let world = World::open(node).await?;
        if let Err(error) = world.install().await {
            world.explain().await;
            return Err(error.context("the chart could not be installed"));
        }
        say(&format!("the guard is installed ({:.1} s)", began.elapsed().as_secs_f32()));
        for scene in &SCENES {
            if !wanted.is_empty() && !wanted.iter().any(|name| scene.name.contains(name.as_str())) {
                continue;
            }
            let began = Instant::now();
            if let Err(error) = (scene.run)(&world).await {
                world.explain().await;
                return Err(error.context(format!("scene {}", scene.name)));
            }
            say(&format!("scene {}: ok ({:.1} s)", scene.name, began.elapsed().as_secs_f32()));
        }
        Ok(())
    })
}

/// Tells whoever watches how it goes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "e2e: {text}");
}
