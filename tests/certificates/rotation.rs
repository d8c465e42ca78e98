//! Authorities and leaves are rotated while reviews go on.

use anyhow::{Result, ensure};

use crate::load::under_load;
use crate::scene::Scene;
use crate::support::guard::Guard;
use crate::support::wait::eventually;

/// Of the authority, the leaf, the wait, and the time after the end, in seconds.
const QUICK: &str = "30,15,2,1";
const ROTATIONS: &str = "upgrade_guard_certificate_rotations_total";

fn authorities(bundle: &[u8]) -> usize {
    String::from_utf8_lossy(bundle).matches("BEGIN CERTIFICATE").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rotations_of_authority_and_leaf_fail_no_review() -> Result<()> {
    let Some(scene) = Scene::open().await? else { return Ok(()) };
    let [first, second] = scene.launch_two(QUICK).await?;
    let began = scene.stored("ca.crt").await?;
    ensure!(authorities(&began) == 1, "two replicas that started at once made one authority");
    scene.register().await?;
    scene.reviews_pass().await?;

    let mut guards = vec![second];
    let told = under_load(&scene, async |tally| {
        tally.watch(&[first.https(), guards[0].https()]);
        eventually("the next authority in the bundle", async || {
            let bundle = scene.stored("ca.crt").await?;
            Ok(if authorities(&bundle) == 2 { Ok(()) } else { Err(authorities(&bundle)) })
        })
        .await?;
        // One replica goes, as a Service lets it go, and another comes in the middle of the rotation.
        scene.forwarder.lead_to(&[guards[0].https()]);
        tally.watch(&[guards[0].https()]);
        tally.rounds(1).await?;
        first.kill().await?;
        let third = scene.launch(QUICK).await?;
        third.ready().await?;
        guards.push(third);
        let addresses: Vec<&str> = guards.iter().map(Guard::https).collect();
        scene.forwarder.lead_to(&addresses);
        tally.watch(&addresses);
        eventually("two more authorities", async || {
            let served = tally.served();
            Ok(if served.0 >= 5 && served.1 >= 3 { Ok(()) } else { Err(served) })
        })
        .await?;
        tally.rounds(2).await
    })
    .await?;
    println!("{told}");

    let live = scene.bundles().await?;
    let first_one = String::from_utf8(began)?;
    for bundle in &live {
        ensure!(!String::from_utf8_lossy(bundle).contains(first_one.trim()), "the first authority has left");
    }
    let mut rotations = 0.0;
    for guard in &guards {
        let metrics = guard.metrics().await?;
        rotations += metrics.sum(ROTATIONS, &[r#"step="sign-with-next""#]);
        ensure!(metrics.sum("upgrade_guard_ca_bundle_trusted", &[]) > 0.5, "what is served is trusted");
        ensure!(metrics.sum("upgrade_guard_certificate_authority_not_after_timestamp_seconds", &[]) > 1e9);
        let odd = metrics.sum(ROTATIONS, &[r#"step="restore""#]) + metrics.sum(ROTATIONS, &[r#"step="anew""#]);
        ensure!(odd <= 1.0, "only the first one of all was made anew");
    }
    ensure!(rotations >= 1.0, "the replicas that are left rotated: {rotations}");
    scene.keeps_its_secrets(&guards.iter().collect::<Vec<_>>()).await?;
    scene.end(guards).await
}
