//! What the Jobs may do: what their commands call, and nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::core::{ApiResource, GroupVersionKind};

use super::{Crds, Purpose, Recipe};
use crate::api::{self, ObjectSpec, PreconditionSpec};

/// Kinds without a namespace that a precondition may look at. Of others of its kind nobody can know it without a
/// cluster; they are taken to be in a namespace.
const CLUSTER_KINDS: [(&str, &str); 14] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("cert-manager.io", "ClusterIssuer"),
    ("guard.gostoa.dev", "PlatformRelease"),
    ("guard.gostoa.dev", "UpgradePolicy"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotContent"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
];

const BY_NAME: [&str; 1] = ["get"];
const BY_LABEL: [&str; 1] = ["list"];

/// Rules with what a reader should know of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grants {
    pub(super) rules: Vec<PolicyRule>,
    pub(super) remarks: Vec<String>,
}

/// What an account may do, by place; without a namespace it is the whole cluster.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rights(pub(super) BTreeMap<Option<String>, Grants>);

impl Rights {
    /// The rights that the command of `purpose` needs.
    pub(super) fn of(recipe: &Recipe, purpose: Purpose) -> Self {
        let mut rights = Self::default();
        rights.reading(recipe);
        rights.platform(recipe, purpose);
        if purpose == Purpose::Presync {
            rights.crds(recipe);
            if recipe.migrates(purpose).is_some() {
                let install = rights.at(Some(&recipe.namespace));
                install.rule("", &["pods"], &[], &BY_NAME);
                install.remark("The Job's own pod says by digest which image migrates; nobody knows its name before.");
            }
            for precondition in &recipe.policy.spec.preconditions {
                rights.precondition(recipe, precondition);
            }
        }
        rights
    }

    fn at(&mut self, namespace: Option<&str>) -> &mut Grants {
        self.0.entry(namespace.map(str::to_owned)).or_default()
    }

    /// What every question about an install reads, see `cli::input::live`.
    fn reading(&mut self, recipe: &Recipe) {
        let cluster = self.at(None);
        cluster.rule(api::GROUP, &["platformreleases", "upgradepolicies"], &[], &["get", "list"]);
        let install = self.at(Some(&recipe.namespace));
        install.rule(
            "apps",
            &["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"],
            &[],
            &["list"],
        );
        install.rule("argoproj.io", &["rollouts"], &[], &["list"]);
        install.rule("autoscaling", &["horizontalpodautoscalers"], &[], &["list"]);
        install.rule("policy", &["poddisruptionbudgets"], &[], &["list"]);
        install.rule("", &["pods"], &[], &["list"]);
        if let Some(Crds::ConfigMap(name)) = &recipe.crds {
            install.rule("", &["configmaps"], &[name], &BY_NAME);
        }
    }

    /// The record; a Platform has the name of its policy.
    fn platform(&mut self, recipe: &Recipe, purpose: Purpose) {
        let install = self.at(Some(&recipe.namespace));
        let name = recipe.policy_name();
        install.rule(api::GROUP, &["platforms"], &[], &["list"]);
        install.rule(api::GROUP, &["platforms"], &[name], &BY_NAME);
        install.rule(api::GROUP, &["platforms/status"], &[name], &["patch"]);
        if purpose == Purpose::Presync {
            install.rule(api::GROUP, &["platforms"], &[], &["create"]);
            install.remark("Nothing limits 'create' to a name: the Platform is made when it is missing.");
        }
    }

    /// The CRDs that the Job applies, and the objects that have to fit them.
    fn crds(&mut self, recipe: &Recipe) {
        const GROUP: &str = "apiextensions.k8s.io";
        const RESOURCE: [&str; 1] = ["customresourcedefinitions"];
        let names: Vec<&str> = recipe.crd_names.iter().map(String::as_str).collect();
        let cluster = self.at(None);
        if names.is_empty() {
            return;
        }
        if recipe.crds.is_none() {
            cluster.rule(GROUP, &RESOURCE, &names, &BY_NAME);
            return;
        }
        cluster.rule(GROUP, &RESOURCE, &names, &["get", "patch"]);
        cluster.rule(GROUP, &RESOURCE, &[], &["create"]);
        cluster.remark("Nothing limits 'create' to a name: a CRD that is new has to be made. Only those that are named can be changed,");
        cluster.remark("and none can be deleted.");
        let mut plurals: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (plural, group) in names.iter().filter_map(|name| name.split_once('.')) {
            plurals.entry(group).or_default().push(plural);
        }
        for (group, plurals) in plurals {
            cluster.rule(group, &plurals, &[], &["list"]);
        }
        cluster
            .remark("The objects of these CRDs are read, in all namespaces, to see whether they fit the new schemas.");
    }

    /// The one kind of object that a precondition looks at.
    fn precondition(&mut self, recipe: &Recipe, spec: &PreconditionSpec) {
        let place = |namespace: &Option<String>| namespace.clone().unwrap_or_else(|| recipe.namespace.clone());
        if let Some(object) = &spec.object {
            self.object(object, &place(&object.namespace));
        }
        if let Some(cron_job) = &spec.cron_job {
            let grants = self.at(Some(&place(&cron_job.namespace)));
            grants.rule("batch", &["cronjobs"], &[&cron_job.name], &BY_NAME);
            if cron_job.run_if_stale {
                grants.rule("batch", &["jobs"], &[], &["create", "get", "list"]);
                grants.remark("Nothing limits 'create' to a name: a Job is made from a CronJob that is stale.");
            } else {
                grants.rule("batch", &["jobs"], &[], &BY_LABEL);
            }
        }
        if let Some(job) = &spec.job {
            self.at(Some(&place(&job.namespace))).found("batch", "jobs", job.name.as_deref());
        }
        if let Some(snapshot) = &spec.volume_snapshot {
            const GROUP: &str = "snapshot.storage.k8s.io";
            self.at(Some(&place(&snapshot.namespace))).found(GROUP, "volumesnapshots", None);
            let cluster = self.at(None);
            cluster.rule(GROUP, &["volumesnapshotcontents"], &[], &BY_NAME);
            cluster
                .remark("A VolumeSnapshot counts only with its VolumeSnapshotContent, whose name nobody knows before.");
        }
        if let Some(backup) = &spec.cnpg_backup {
            self.at(Some(&place(&backup.namespace))).found("postgresql.cnpg.io", "backups", None);
        }
        if let Some(cluster) = &spec.cnpg_cluster {
            self.at(Some(&place(&cluster.namespace))).found("postgresql.cnpg.io", "clusters", Some(&cluster.name));
        }
        if let Some(backup) = &spec.velero_backup {
            let namespace = backup.namespace.as_deref().unwrap_or("velero");
            let grants = self.at(Some(namespace));
            grants.found("velero.io", "backups", None);
            grants.rule("velero.io", &["backupstoragelocations"], &[], &BY_NAME);
            grants.remark("The place that a Backup is in has to be available; nobody knows its name before.");
        }
        // Health is told by workloads and pods, which are read anyway.
    }

    fn object(&mut self, spec: &ObjectSpec, namespace: &str) {
        let (group, version) = spec.api_version.split_once('/').unwrap_or(("", &spec.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &spec.kind));
        let in_cluster = CLUSTER_KINDS.contains(&(group, &spec.kind));
        let grants = self.at((!in_cluster).then_some(namespace));
        grants.found(group, &resource.plural, spec.name.as_deref());
        if group.contains('.') && !group.ends_with(".k8s.io") {
            let plural = &resource.plural;
            grants.remark(&format!(
                "{}: taken to be in a namespace, with the plural '{plural}'. Correct that where it is not so.",
                spec.kind
            ));
        }
    }
}

impl Grants {
    /// Adds a rule; one that is the same but for its verbs or its names takes these in, and none gets wider by that.
    fn rule(&mut self, group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut new = PolicyRule {
            api_groups: Some(owned(&[group])),
            resources: Some(owned(resources)),
            resource_names: (!names.is_empty()).then(|| owned(names)),
            verbs: owned(verbs),
            non_resource_urls: None,
        };
        let same = self.rules.iter_mut().find(|rule| {
            let of_same = rule.api_groups == new.api_groups && rule.resources == new.resources;
            let same_names = rule.resource_names == new.resource_names;
            let both_named = rule.resource_names.is_some() && new.resource_names.is_some();
            of_same && (same_names || (both_named && rule.verbs == new.verbs))
        });
        let Some(same) = same else { return self.rules.push(new) };
        let both = [
            (&mut same.verbs, Some(&mut new.verbs)),
            (same.resource_names.get_or_insert_default(), new.resource_names.as_mut()),
        ];
        for (known, more) in both {
            known.extend(more.into_iter().flat_map(std::mem::take));
            known.sort();
            known.dedup();
        }
        same.resource_names.take_if(|names| names.is_empty());
    }

    /// One object by its name, or those that labels find.
    fn found(&mut self, group: &str, resource: &str, name: Option<&str>) {
        match name {
            Some(name) => self.rule(group, &[resource], &[name], &BY_NAME),
            None => self.rule(group, &[resource], &[], &BY_LABEL),
        }
    }

    fn remark(&mut self, text: &str) {
        if !self.remarks.iter().any(|known| known == text) {
            self.remarks.push(text.to_owned());
        }
    }
}
