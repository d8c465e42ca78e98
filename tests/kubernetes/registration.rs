//! The registration in the repository is the one that the program prints.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

#[test]
fn the_manifest_of_the_webhook_is_what_is_printed() -> Result<()> {
    let printed = Command::new(env!("CARGO_BIN_EXE_upgrade-guard")).arg("webhook").output()?;
    let kept = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/webhook.yaml"))?;
    assert!(
        printed.stdout == kept,
        "manifests/webhook.yaml is not what is printed: run `cargo run -- webhook > manifests/webhook.yaml`"
    );
    Ok(())
}
