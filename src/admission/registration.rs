//! The registration of the two webhooks with the API server: what they are called for, and how narrowly.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::ObjectMeta;

/// The name of both webhook configurations.
pub const CONFIGURATION: &str = "upgrade-guard";
/// The namespace of the guard itself, where nobody says another.
pub const NAMESPACE: &str = "upgrade-guard";
/// The guard's service.
const SERVICE: &str = "upgrade-guard";
/// The path of the validating webhooks.
pub const VALIDATE: &str = "/validate";
/// The path of the mutating webhook.
pub const MUTATE: &str = "/mutate";
/// The API server waits this long; the guard answers by itself before.
const TIMEOUT_SECONDS: i32 = 5;

/// What can change a version, a pause (of a StatefulSet: its update strategy) or the number of pods. Only such requests reach the guard: everything else
/// costs the cluster nothing. `?` keeps odd objects from failing the condition, which would refuse them.
const WORKLOAD_CHANGED: &str = "\
oldObject == null
|| object.spec.?paused.orValue(false) != oldObject.spec.?paused.orValue(false)
|| object.spec.?updateStrategy.orValue({}) != oldObject.spec.?updateStrategy.orValue({})
|| object.spec.?replicas.orValue(1) != oldObject.spec.?replicas.orValue(1)
|| object.spec.?template.?metadata.?annotations.orValue({}) != oldObject.spec.?template.?metadata.?annotations.orValue({})
|| object.spec.?template.?metadata.?labels.orValue({}) != oldObject.spec.?template.?metadata.?labels.orValue({})
|| object.spec.?template.?spec.?containers.orValue([]).map(c, [c.?name.orValue(''), c.?image.orValue('')])
!= oldObject.spec.?template.?spec.?containers.orValue([]).map(c, [c.?name.orValue(''), c.?image.orValue('')])
|| object.spec.?template.?spec.?initContainers.orValue([]).map(c, [c.?name.orValue(''), c.?image.orValue('')])
!= oldObject.spec.?template.?spec.?initContainers.orValue([]).map(c, [c.?name.orValue(''), c.?image.orValue('')])";

/// Scaling up is never in question.
const SCALED_DOWN: &str = "oldObject == null || object.spec.?replicas.orValue(0) < oldObject.spec.?replicas.orValue(0)";

/// What a policy or a release says. Whatever only touches its metadata, such as the finalizers of a deletion, is never
/// asked: it must go on when no guard answers.
const SPEC_CHANGED: &str = "oldObject == null || object.?spec.orValue({}) != oldObject.?spec.orValue({})";

/// Where the API server finds the guard.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// The service `upgrade-guard` in this namespace.
    Service(String),
    /// A URL such as `https://127.0.0.1:9443`, without a path.
    Url(String),
}

impl Endpoint {
    /// How the API server calls the guard at `path`; `ca_bundle` is PEM, and is left out of manifests, because a bundle
    /// that was rendered would overwrite the one in use.
    #[must_use]
    pub fn client_config(&self, path: &str, ca_bundle: Option<&[u8]>) -> WebhookClientConfig {
        let ca_bundle = ca_bundle.map(|pem| ByteString(pem.to_vec()));
        match self {
            Self::Service(namespace) => WebhookClientConfig {
                ca_bundle,
                service: Some(ServiceReference {
                    name: SERVICE.to_owned(),
                    namespace: namespace.clone(),
                    path: Some(path.to_owned()),
                    port: Some(443),
                }),
                url: None,
            },
            Self::Url(base) => WebhookClientConfig {
                ca_bundle,
                service: None,
                url: Some(format!("{}{path}", base.trim_end_matches('/'))),
            },
        }
    }
}

/// The mutating webhook, which holds rollouts, with this client configuration, for a guard in `namespace`. It is called
/// for what the validating one is called for, as far as that can be held.
#[must_use]
pub fn mutating(client: &WebhookClientConfig, namespace: &str) -> MutatingWebhookConfiguration {
    MutatingWebhookConfiguration {
        metadata: metadata(),
        webhooks: Some(vec![MutatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client.clone(),
            // Without it nothing is held, and the validating webhook, which must answer, refuses what has to wait.
            failure_policy: Some("Ignore".to_owned()),
            match_conditions: Some(condition("version-pause-or-replicas-changed", WORKLOAD_CHANGED)),
            match_policy: Some("Equivalent".to_owned()),
            name: format!("hold.{}", crate::api::GROUP),
            namespace_selector: Some(governable_namespaces(namespace)),
            // Another webhook may change the image after it.
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(vec![rule("apps", &["deployments", "statefulsets"], &["CREATE", "UPDATE"])]),
            side_effects: "NoneOnDryRun".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
            ..MutatingWebhook::default()
        }]),
    }
}

/// The validating webhooks with this client configuration, for a guard in `namespace`.
#[must_use]
pub fn validating(client: &WebhookClientConfig, namespace: &str) -> ValidatingWebhookConfiguration {
    let scale = ["deployments/scale", "statefulsets/scale"];
    ValidatingWebhookConfiguration {
        metadata: metadata(),
        webhooks: Some(vec![
            ValidatingWebhook {
                match_conditions: Some(condition("version-pause-or-replicas-changed", WORKLOAD_CHANGED)),
                namespace_selector: Some(governable_namespaces(namespace)),
                rules: Some(vec![
                    rule("apps", &["deployments", "statefulsets", "daemonsets"], &["CREATE", "UPDATE"]),
                    rule("argoproj.io", &["rollouts"], &["CREATE", "UPDATE"]),
                ]),
                ..webhook("workloads", "Fail", client)
            },
            // When the guard is down an autoscaler must still be able to shrink.
            ValidatingWebhook {
                match_conditions: Some(condition("scaled-down", SCALED_DOWN)),
                namespace_selector: Some(governable_namespaces(namespace)),
                rules: Some(vec![
                    rule("apps", &scale, &["UPDATE"]),
                    rule("argoproj.io", &["rollouts/scale"], &["UPDATE"]),
                ]),
                ..webhook("scale", "Ignore", client)
            },
            ValidatingWebhook {
                match_conditions: Some(condition("spec-changed", SPEC_CHANGED)),
                rules: Some(vec![rule(
                    crate::api::GROUP,
                    &["upgradepolicies", "platformreleases"],
                    &["CREATE", "UPDATE"],
                )]),
                ..webhook("policies", "Fail", client)
            },
        ]),
    }
}

/// The name of both, and what marks all objects of the guard.
fn metadata() -> ObjectMeta {
    let labels = [
        ("app.kubernetes.io/component", "guard"),
        ("app.kubernetes.io/instance", CONFIGURATION),
        ("app.kubernetes.io/name", CONFIGURATION),
        ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
    ];
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    ObjectMeta { name: Some(CONFIGURATION.to_owned()), labels: Some(labels), ..ObjectMeta::default() }
}

fn webhook(name: &str, failure_policy: &str, client: &WebhookClientConfig) -> ValidatingWebhook {
    ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client.clone(),
        failure_policy: Some(failure_policy.to_owned()),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("{name}.{}", crate::api::GROUP),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
        ..ValidatingWebhook::default()
    }
}

fn rule(group: &str, resources: &[&str], operations: &[&str]) -> RuleWithOperations {
    let owned = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    RuleWithOperations {
        api_groups: owned(&[group]),
        api_versions: owned(&["*"]),
        operations: owned(operations),
        resources: owned(resources),
        scope: None,
    }
}

fn condition(name: &str, expression: &str) -> Vec<MatchCondition> {
    vec![MatchCondition { name: name.to_owned(), expression: expression.to_owned() }]
}

/// Every namespace but the control plane's and the guard's own, by the label that no user can change.
fn governable_namespaces(own: &str) -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec!["kube-system".to_owned(), own.to_owned()]),
        }]),
        match_labels: None,
    }
}
