//! What is in the image.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::archive::{Archive, built, json, untar};

/// The size that the image may have, in bytes, as it is stored and pulled and as the files that it becomes.
const MOST: u64 = 20_000_000;

const NAME: &str = concat!("ghcr.io/stoa-platform/upgrade-guard:", env!("CARGO_PKG_VERSION"));

fn archive() -> Archive {
    Archive::read(&built().join("upgrade-guard.tar"))
}

/// Name, size and mode of everything in a layer.
fn listed(layer: &Path) -> Vec<(String, u64, String)> {
    let output = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(layer).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, size, .., name] = words.as_slice() else { panic!("{line}") };
        assert_eq!(*owner, "0/0", "{line}");
        (name.trim_start_matches("./").to_owned(), size.parse().unwrap(), (*mode).to_owned())
    };
    text.lines().map(entry).filter(|(name, ..)| !name.is_empty()).collect()
}

#[test]
fn the_config_says_who_runs_what() {
    let Archive { entry, config, .. } = &archive();
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], NAME);
    assert_eq!(config["os"], "linux");
    let expected = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(config["architecture"], expected);
    let config = &config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/upgrade-guard"]));
    assert_eq!(config["Cmd"], Value::Null);
}

#[test]
fn the_labels_say_what_it_is() {
    let config = archive().config;
    let labels = config["config"]["Labels"].as_object().unwrap();
    let label = |name: &str| labels[&format!("org.opencontainers.image.{name}")].as_str().unwrap();
    for (name, expected) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("source", "https://github.com/stoa-platform/upgrade-guard"),
        ("vendor", "stoa-platform"),
    ] {
        assert_eq!(label(name), expected, "{name}");
    }
    let revision = label("revision");
    assert!(revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()), "{revision}");
}

#[test]
fn it_is_one_small_layer() {
    let archive = archive();
    let found = listed(&archive.layer());
    let size: u64 = found.iter().map(|(_, size, _)| size).sum();
    let stored = std::fs::metadata(built().join("upgrade-guard.tar")).unwrap().len();
    println!("the image: {stored} bytes, unpacked {size} in {} files and folders", found.len());
    assert!(stored <= MOST, "{stored} bytes are more than {MOST}");
    assert!(size <= MOST, "{size} bytes are more than {MOST}");
    let modes: Vec<_> = found.iter().map(|(name, _, mode)| format!("{mode} {name}")).collect();
    assert_eq!(
        modes,
        [
            "drwxr-xr-x etc/",
            "-rw-r--r-- etc/nsswitch.conf",
            "drwxr-xr-x etc/ssl/",
            "drwxr-xr-x etc/ssl/certs/",
            "-rw-r--r-- etc/ssl/certs/ca-certificates.crt",
            "drwxrwxrwt tmp/",
            "-rwxr-xr-x upgrade-guard",
            "drwxr-xr-x usr/",
            "drwxr-xr-x usr/share/",
            "drwxr-xr-x usr/share/doc/",
            "drwxr-xr-x usr/share/doc/upgrade-guard/",
            "-rw-r--r-- usr/share/doc/upgrade-guard/upgrade-guard.cdx.json",
        ]
    );
}

#[test]
fn packing_it_again_gives_the_same_bytes() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("image");
    std::fs::create_dir(&folder).unwrap();
    // Other times, another order on disk.
    let copied = Command::new("cp").arg("-r").arg(built().join("root")).arg(&folder).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(folder.join("root/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let first = archive();
    let label = &first.config["config"]["Labels"]["org.opencontainers.image.revision"];
    let packed = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("image/pack"))
        .arg(&folder)
        .env("UPGRADE_GUARD_REVISION", label.as_str().unwrap())
        .env("SOURCE_DATE_EPOCH", created(&first.config))
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let again = Archive::read(&folder.join("upgrade-guard.tar"));
    assert_eq!(again.manifest, first.manifest, "{} and {}", again.config, first.config);
}

/// The time in the config, in seconds.
fn created(config: &Value) -> String {
    let time: jiff::Timestamp = config["created"].as_str().unwrap().parse().unwrap();
    time.as_second().to_string()
}

#[test]
fn the_program_needs_nothing_of_the_system() {
    let program = std::fs::read(built().join("upgrade-guard")).unwrap();
    let number = |at: usize, bytes: usize| {
        let bytes = program[at..at + bytes].iter().rev();
        bytes.fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    assert_eq!(&program[..6], b"\x7fELF\x02\x01", "64 bits, little-endian");
    // The table of segments: where it begins, how long an entry is, and how many there are. See elf(5).
    let (table, long, many) = (number(32, 8), number(54, 2), number(56, 2));
    let segments: Vec<(usize, usize, usize)> = (0..many)
        .map(|index| table + index * long)
        .map(|at| (number(at, 4), number(at + 8, 8), number(at + 32, 8)))
        .collect();
    let (dynamic, interpreter, needed) = (2, 3, 1);
    assert!(segments.len() > 3, "{segments:?}");
    assert!(segments.iter().all(|(kind, ..)| *kind != interpreter), "it asks for a dynamic linker: {segments:?}");
    for (_, offset, size) in segments.iter().filter(|(kind, ..)| *kind == dynamic) {
        let tags: Vec<usize> = (*offset..offset + size).step_by(16).map(|at| number(at, 8)).collect();
        assert!(!tags.is_empty() && !tags.contains(&needed), "it needs shared libraries: {tags:?}");
    }
}

/// The packages that cargo links, as `NAME@VERSION`.
fn linked() -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    let package = |line: &str| {
        let mut words = line.split(' ');
        format!("{}@{}", words.next().unwrap(), words.next().unwrap().trim_start_matches('v'))
    };
    text.lines().map(package).collect()
}

#[test]
fn the_bill_of_materials_lists_what_is_linked_and_nothing_else() {
    let bill = json(&built().join("upgrade-guard.cdx.json"));
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
    let main = &bill["metadata"]["component"];
    assert_eq!(main["purl"], concat!("pkg:cargo/upgrade-guard@", env!("CARGO_PKG_VERSION")));
    let components = bill["components"].as_array().unwrap();
    let crates: BTreeSet<String> = components
        .iter()
        .chain([main])
        .filter_map(|component| component["purl"].as_str().unwrap().strip_prefix("pkg:cargo/").map(str::to_owned))
        .collect();
    assert_eq!(crates, linked());
    let named = |name: &str| crates.iter().any(|found| found.starts_with(&format!("{name}@")));
    assert!(named("rustls") && named("squawk-linter"));
    for absent in ["criterion", "proptest", "mlua", "syn", "serde_derive", "cc"] {
        assert!(!named(absent), "{absent} is not in the program");
    }
    let others: Vec<&str> = components.iter().map(|found| found["name"].as_str().unwrap()).collect();
    assert!(others.contains(&"rust-std") && others.contains(&"ca-certificates"), "{others:?}");
    for component in components {
        assert!(component["licenses"][0]["expression"].is_string(), "no licence: {component}");
        assert!(!component["licenses"][0]["expression"].as_str().unwrap().contains('/'), "{component}");
        if component["purl"].as_str().unwrap().starts_with("pkg:cargo/") {
            assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
        }
    }
}

#[test]
fn the_bill_of_materials_tells_who_needs_whom() {
    let bill = json(&built().join("upgrade-guard.cdx.json"));
    let known: BTreeSet<&str> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&bill["metadata"]["component"]])
        .map(|component| component["bom-ref"].as_str().unwrap())
        .collect();
    let mut needed = BTreeSet::new();
    for edge in bill["dependencies"].as_array().unwrap() {
        assert!(known.contains(edge["ref"].as_str().unwrap()), "{edge}");
        needed.extend(edge["dependsOn"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()));
    }
    let crates = known.iter().filter(|name| name.starts_with("pkg:cargo/") && !name.contains("/upgrade-guard@"));
    assert_eq!(needed, crates.copied().collect());
}

#[test]
fn the_image_holds_what_lies_beside_it() {
    let archive = archive();
    let root = tempfile::tempdir().unwrap();
    untar(&archive.layer(), root.path());
    for (inside, beside) in [
        ("upgrade-guard", "upgrade-guard"),
        ("usr/share/doc/upgrade-guard/upgrade-guard.cdx.json", "upgrade-guard.cdx.json"),
    ] {
        assert!(
            std::fs::read(root.path().join(inside)).unwrap() == std::fs::read(built().join(beside)).unwrap(),
            "{inside} is another"
        );
    }
    let authorities = std::fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(authorities.matches("BEGIN CERTIFICATE").count() > 100);
}
