//! The one source: a Job with its account and its rights, before any engine had a word in it.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements,
    SeccompProfile, SecurityContext, ServiceAccount, Volume, VolumeMount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::rights::Rights;
use super::{Crds, Part, Purpose, Recipe, Stage, migrate};
use crate::api::duration;

/// The longest name that a Job may have: its pods carry it as a label.
const LONGEST_NAME: usize = 63;
/// The user of images without a shell, by convention; any but root would do.
const USER: i64 = 65_532;
/// How long `presync` may take, in minutes, beside Jobs that it starts and waits for, and migrations.
const PRESYNC_MINUTES: i64 = 15;
/// How long `verify` waits, in minutes.
const VERIFY_MINUTES: i64 = 10;
/// How long a Job that a precondition starts may take, in minutes, where the policy does not say.
const STARTED_JOB_MINUTES: i64 = 30;
/// Where the program is put for an image that does not have it.
const PROGRAM_FOLDER: &str = "/guard-bin";
const PROGRAM: &str = "/guard-bin/upgrade-guard";
const PROGRAM_VOLUME: &str = "guard-bin";
const TEMPORARY_VOLUME: &str = "tmp";
/// What the guard asks for and may take at most: processor, memory and the most memory.
const OWN_NEEDS: [&str; 3] = ["50m", "64Mi", "256Mi"];
/// The same with a migrator beside it, which loads the models of an application.
const MIGRATOR_NEEDS: [&str; 3] = ["100m", "256Mi", "1Gi"];

/// All objects of one Job, by stage.
pub(super) fn parts(recipe: &Recipe, purpose: Purpose) -> Vec<Part> {
    let mut parts = vec![part(Stage::Account, vec![], &account(recipe, purpose))];
    for (place, grants) in Rights::of(recipe, purpose).0 {
        let [role, binding] = role(recipe, purpose, place.as_deref(), grants.rules);
        parts.push(Part { remarks: grants.remarks, ..role });
        parts.push(binding);
    }
    parts.push(part(Stage::Job, remarks(recipe, purpose), &job(recipe, purpose)));
    parts.sort_by_key(|part| part.stage);
    parts
}

/// The arguments that the Job gives to the program.
pub(super) fn arguments(recipe: &Recipe, purpose: Purpose) -> Vec<String> {
    let mut arguments: Vec<String> = [purpose.as_str(), "--policy", recipe.policy_name()].map(str::to_owned).into();
    arguments.extend(["--release", &recipe.release, "-n", &recipe.namespace].map(str::to_owned));
    match (purpose, &recipe.crds) {
        (Purpose::Presync, Some(Crds::Image { path, .. })) => arguments.extend(["--crds".to_owned(), path.clone()]),
        (Purpose::Presync, Some(Crds::ConfigMap(name))) => {
            arguments.extend(["--crds".to_owned(), format!("configmap:{name}")]);
        }
        (Purpose::Presync, None) => {}
        (Purpose::Verify, _) => arguments.push("--wait".to_owned()),
    }
    arguments.extend(migrate::arguments(recipe, purpose));
    arguments.extend(["--timeout".to_owned(), format!("{}m", patience(recipe, purpose))]);
    arguments
}

/// How long the program may take, in minutes.
fn patience(recipe: &Recipe, purpose: Purpose) -> i64 {
    if purpose == Purpose::Verify {
        return VERIFY_MINUTES;
    }
    let preconditions = recipe.policy.spec.preconditions.iter();
    let started = preconditions.filter_map(|one| one.cron_job.as_ref()).filter(|cron_job| cron_job.run_if_stale);
    let minutes = started.map(|cron_job| {
        let given = cron_job.timeout.as_deref().and_then(|text| duration(text).ok());
        given.map_or(STARTED_JOB_MINUTES, |time| (time.as_secs() + 59) / 60)
    });
    PRESYNC_MINUTES + minutes.sum::<i64>() + migrate::minutes(recipe, purpose)
}

/// How long the Job may take, in minutes: with the time that it needs to start, and the program to say what it waits for.
pub(super) fn deadline(recipe: &Recipe, purpose: Purpose) -> i64 {
    patience(recipe, purpose) + 1
}

/// The name of the Job and of its account. It is the same for every release, so that engines replace the one before.
fn name(recipe: &Recipe, purpose: Purpose) -> String {
    short(&format!("upgrade-guard-{}-{}", purpose.as_str(), recipe.policy_name()))
}

/// `name`, or its beginning with a digest of all of it where it is too long.
pub(super) fn short(name: &str) -> String {
    // A dot would make a Job's name no label of its pods' host names.
    let plain = name.replace('.', "-");
    if plain.len() <= LONGEST_NAME {
        return plain;
    }
    let digest = digest(&SHA256, name.as_bytes());
    let hash = digest.as_ref().iter().take(4).fold(0_u32, |hash, byte| (hash << 8) | u32::from(*byte));
    // Eight digits and a dash have to fit.
    let start: String = plain.chars().take(LONGEST_NAME - 9).collect();
    format!("{}-{hash:08x}", start.trim_end_matches('-'))
}

fn part(stage: Stage, remarks: Vec<String>, object: &impl Serialize) -> Part {
    let object = serde_json::to_value(object).expect("an object of Kubernetes has fields with names");
    Part { stage, remarks, object }
}

fn labels(recipe: &Recipe, purpose: Purpose) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", "upgrade-guard".to_owned()),
        ("app.kubernetes.io/component", purpose.as_str().to_owned()),
        ("app.kubernetes.io/instance", short(recipe.policy_name())),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn metadata(recipe: &Recipe, purpose: Purpose, name: String, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: namespace.map(str::to_owned),
        labels: Some(labels(recipe, purpose)),
        ..ObjectMeta::default()
    }
}

fn account(recipe: &Recipe, purpose: Purpose) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(recipe, purpose, name(recipe, purpose), Some(&recipe.namespace)),
        // Only the pod of the Job asks for a token.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// A role with its binding, in `place` or in the whole cluster.
fn role(recipe: &Recipe, purpose: Purpose, place: Option<&str>, rules: Vec<PolicyRule>) -> [Part; 2] {
    // Beside its own namespace a policy may have other installs, whose roles must not be this one's.
    let name = match place {
        Some(namespace) if namespace == recipe.namespace => name(recipe, purpose),
        _ => short(&format!("upgrade-guard-{}-{}-{}", purpose.as_str(), recipe.policy_name(), recipe.namespace)),
    };
    let metadata = metadata(recipe, purpose, name.clone(), place);
    let kind = if place.is_some() { "Role" } else { "ClusterRole" };
    let role_ref = RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: kind.to_owned(), name };
    let subjects = Some(vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: self::name(recipe, purpose),
        namespace: Some(recipe.namespace.clone()),
        api_group: None,
    }]);
    let rules = Some(rules);
    match place {
        Some(_) => [
            part(Stage::Account, vec![], &Role { metadata: metadata.clone(), rules }),
            part(Stage::Binding, vec![], &RoleBinding { metadata, role_ref, subjects }),
        ],
        None => [
            part(Stage::Account, vec![], &ClusterRole { metadata: metadata.clone(), rules, aggregation_rule: None }),
            part(Stage::Binding, vec![], &ClusterRoleBinding { metadata, role_ref, subjects }),
        ],
    }
}

fn job(recipe: &Recipe, purpose: Purpose) -> Job {
    Job {
        metadata: metadata(recipe, purpose, name(recipe, purpose), Some(&recipe.namespace)),
        spec: Some(JobSpec {
            // The engine tries again, after it looked at the world again.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(deadline(recipe, purpose) * 60),
            // Engines lose sight of a Job that removes itself.
            ttl_seconds_after_finished: None,
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(recipe, purpose)), ..ObjectMeta::default() }),
                spec: Some(pod(recipe, purpose)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn pod(recipe: &Recipe, purpose: Purpose) -> PodSpec {
    let other = recipe.other_image(purpose);
    let migrates = recipe.migrates(purpose).is_some();
    let program = |read_only: bool| mount(PROGRAM_VOLUME, PROGRAM_FOLDER, read_only);
    let needs = if migrates { MIGRATOR_NEEDS } else { OWN_NEEDS };
    let main = container(purpose.as_str(), other.unwrap_or(&recipe.image), arguments(recipe, purpose), needs);
    let mounts = other.map(|_| program(true));
    let mounts: Vec<_> =
        mounts.into_iter().chain(migrates.then(|| mount(TEMPORARY_VOLUME, migrate::TEMPORARY_FOLDER, false))).collect();
    let volumes: Vec<_> = mounts.iter().map(|mount| volume(&mount.name)).collect();
    let main = Container {
        command: other.map(|_| vec![PROGRAM.to_owned()]),
        volume_mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        env: migrate::environment(recipe, purpose),
        ..main
    };
    let install = other.map(|_| {
        let arguments = vec!["install".to_owned(), PROGRAM.to_owned()];
        let install = container("install", &recipe.image, arguments, OWN_NEEDS);
        Container { volume_mounts: Some(vec![program(false)]), ..install }
    });
    PodSpec {
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        init_containers: install.map(|install| vec![install]),
        containers: vec![main],
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(name(recipe, purpose)),
        automount_service_account_token: Some(true),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// A volume that begins empty.
fn volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn container(name: &str, image: &str, arguments: Vec<String>, [cpu, memory, most_memory]: [&str; 3]) -> Container {
    let quantities = |pairs: &[(&str, &str)]| {
        let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned())));
        Some(owned.collect::<BTreeMap<_, _>>())
    };
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        args: Some(arguments),
        resources: Some(ResourceRequirements {
            requests: quantities(&[("cpu", cpu), ("memory", memory)]),
            limits: quantities(&[("memory", most_memory)]),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn remarks(recipe: &Recipe, purpose: Purpose) -> Vec<String> {
    let asks_for_files = recipe.policy.spec.verify.http.iter().any(|check| check.ca_file.is_some());
    let before = purpose == Purpose::Presync;
    let remarks = [
        (
            before && recipe.migrate_image.is_none() && matches!(recipe.crds, Some(Crds::Image { .. })),
            "The CRDs are in the image of the container; the init container puts the program beside it.",
        ),
        (
            before && matches!(recipe.crds, Some(Crds::ConfigMap(_))),
            "The ConfigMap with the CRDs has to be there before this Job is.",
        ),
        (
            !before && recipe.database.is_none(),
            "A release that names a schemaRevision needs the URL of the database: give --database-secret.",
        ),
        (!before && asks_for_files, "The policy's HTTP checks read certificates from files (caFile): mount them here."),
    ];
    let remarks = remarks.into_iter().filter(|(applies, _)| *applies).map(|(_, remark)| remark.to_owned());
    remarks.chain(migrate::remarks(recipe, purpose)).collect()
}
