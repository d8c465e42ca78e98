//! The digest of a file is that of what the API server makes of it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use upgrade_guard::cluster::files::{Manifests, Source};
use upgrade_guard::crds::check::Severities;
use upgrade_guard::crds::compare::compare;
use upgrade_guard::crds::content::{digest, is_installed};

use crate::support::cluster::{Cluster, Shape};

/// Folders of CRDs. The real ones are beside the repository, not part of it, and not needed.
const FOLDERS: [&str; 4] =
    ["manifests/crds", "tests/fixtures/crds/every-field", "../shared/stoa/crds-2026-02", "../shared/stoa/crds-2026-07"];

/// The CRDs of each folder that is there.
fn generations() -> Result<Vec<Vec<CustomResourceDefinition>>> {
    let folders = FOLDERS.map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let there = folders.into_iter().filter(|folder| folder.is_dir());
    there
        .map(|folder| {
            let found = Manifests::load(&[Source::Path(folder)], None)?.crds;
            Ok(found.into_iter().map(|found| found.object).collect())
        })
        .collect()
}

#[tokio::test]
async fn what_the_server_stores_has_the_digest_of_its_file() -> Result<()> {
    let Some(cluster) = Cluster::alone(Shape::ApiServer).await? else { return Ok(()) };
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().await?);
    let generations = generations()?;
    ensure!(generations.len() >= 2, "the repository's own are always there");
    for file in generations.iter().flatten() {
        let name = file.name_any();
        definitions.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(file)).await?;
        let stored = definitions.get(&name).await.with_context(|| format!("reading {name}"))?;
        assert_eq!(digest(&stored), digest(file), "{name}");
        assert!(is_installed(file, &stored), "{name}");
        assert_eq!(compare(&stored, file, &Severities::default()), [], "{name}");
    }
    cluster.stop().await
}
