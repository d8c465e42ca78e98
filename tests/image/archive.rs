//! The image as a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Where `make image` leaves everything, or another has done so: `make image-docker`.
pub(crate) fn built() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image");
    let folder = std::env::var_os("UPGRADE_GUARD_IMAGE").map_or_else(usual, PathBuf::from);
    assert!(folder.join("upgrade-guard.tar").exists(), "there is no image: run 'make image'");
    folder
}

/// An unpacked OCI archive.
#[derive(Debug)]
pub(crate) struct Archive {
    folder: TempDir,
    /// The one entry of the index.
    pub(crate) entry: Value,
    pub(crate) manifest: Value,
    pub(crate) config: Value,
}

impl Archive {
    /// Reads the archive `file`, which has to hold one image for one platform.
    pub(crate) fn read(file: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        untar(file, folder.path());
        let index = json(&folder.path().join("index.json"));
        let [entry] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
        let manifest = json(&blob(folder.path(), entry));
        let config = json(&blob(folder.path(), &manifest["config"]));
        Self { entry: entry.clone(), manifest, config, folder }
    }

    /// The file of the only layer.
    pub(crate) fn layer(&self) -> PathBuf {
        let [layer] = self.manifest["layers"].as_array().unwrap().as_slice() else { panic!("{}", self.manifest) };
        blob(self.folder.path(), layer)
    }
}

/// Unpacks `file`, which may be compressed, as root does: with owners and modes.
pub(crate) fn untar(file: &Path, into: &Path) {
    let done = Command::new("tar").arg("-xpf").arg(file).arg("-C").arg(into).status().unwrap();
    assert!(done.success(), "cannot unpack {}", file.display());
}

/// A JSON file.
pub(crate) fn json(file: &Path) -> Value {
    serde_json::from_reader(File::open(file).unwrap()).unwrap()
}

fn blob(folder: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    folder.join("blobs").join(digest.replace(':', "/"))
}
