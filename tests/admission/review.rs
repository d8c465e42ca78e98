//! Reviews as JSON, and the replies to them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use upgrade_guard::admission::Admission;
use upgrade_guard::api::PlatformIntent;

use super::objects::{NAMESPACE, Workload};
use super::world::Witness;

pub const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// An `AdmissionReview` of the API server.
#[derive(Clone, Debug)]
pub struct Review(pub Value);

impl Review {
    /// A request over any object.
    pub fn of(operation: &str, (group, version, kind, plural): (&str, &str, &str, &str), name: &str) -> Self {
        let gvk = json!({"group": group, "version": version, "kind": kind});
        let gvr = json!({"group": group, "version": version, "resource": plural});
        let options = match operation {
            "CREATE" => "CreateOptions",
            "DELETE" => "DeleteOptions",
            _ => "UpdateOptions",
        };
        Self(json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": UID,
                "kind": gvk,
                "resource": gvr,
                "requestKind": gvk,
                "requestResource": gvr,
                "name": name,
                "namespace": NAMESPACE,
                "operation": operation,
                "userInfo": {
                    "username": "system:serviceaccount:ci:deployer",
                    "uid": "3b1f7a52-4b58-4a5c-9b7c-7e1f3a1f0d11",
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"],
                    "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1c6a2d0a"]},
                },
                "object": null,
                "oldObject": null,
                "dryRun": false,
                "options": {
                    "kind": options,
                    "apiVersion": "meta.k8s.io/v1",
                    "fieldManager": "kubectl-client-side-apply",
                    "fieldValidation": "Strict",
                },
            },
        }))
    }

    fn workload(operation: &str, workload: &Workload) -> Self {
        let (group, version) = workload.kind.api_version();
        Self::of(operation, (group, version, workload.kind.as_str(), workload.kind.plural()), &workload.name())
    }

    pub fn create(new: &Workload) -> Self {
        Self::workload("CREATE", new).set("/object", new.json.clone())
    }

    pub fn update(old: &Workload, new: &Workload) -> Self {
        Self::workload("UPDATE", new).set("/object", new.json.clone()).set("/oldObject", old.json.clone())
    }

    /// Gives the Deployment another image.
    pub fn image(old: &Workload, image: &str) -> Self {
        Self::update(old, &old.clone().image(image))
    }

    pub fn delete(old: &Workload) -> Self {
        Self::workload("DELETE", old).set("/oldObject", old.json.clone())
    }

    /// `kubectl scale`, or an autoscaler.
    pub fn scale(old: &Workload, replicas: i64) -> Self {
        let scale = |replicas: Value| {
            json!({
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": old.name(), "namespace": NAMESPACE, "resourceVersion": "18834"},
                "spec": {"replicas": replicas},
                "status": {"replicas": 2, "selector": "app.kubernetes.io/name=x"},
            })
        };
        Self::workload("UPDATE", old)
            .set("/kind", json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}))
            .set("/subResource", "scale")
            .set("/requestSubResource", "scale")
            .set("/object", scale(replicas.into()))
            .set("/oldObject", scale(old.json["spec"]["replicas"].clone()))
    }

    /// Sets a field of the request.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.0["request"].pointer_mut(parent).unwrap()[key] = value.into();
        self
    }

    pub fn by(self, manager: &str) -> Self {
        self.set("/options/fieldManager", manager)
    }

    pub fn dry_run(self) -> Self {
        self.set("/dryRun", true)
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap()
    }
}

/// Posts a body as the API server does.
pub async fn post(admission: Admission, uri: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let request = Request::post(uri).header("content-type", "application/json").body(Body::from(body)).unwrap();
    let response = admission.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

/// An answer, with what the guard was seen to do for it.
#[derive(Debug)]
pub struct Reply {
    pub response: Value,
    /// The path as the observer was told.
    pub path: &'static str,
    /// How often the cluster was asked.
    pub snapshots: usize,
    /// The decisions that the observer was told.
    pub decided: Vec<String>,
    /// How often the install was read anew.
    pub reads: usize,
    /// The intents that were left.
    pub left: Vec<PlatformIntent>,
    /// How often somebody else was faster.
    pub lost: usize,
    /// Who was asked about for the right to override.
    pub rights: Vec<String>,
}

impl Reply {
    pub fn new(status: u16, body: &[u8], witness: &Witness) -> Self {
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
        let review: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(review["kind"], "AdmissionReview");
        assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
        let paths = witness.paths.lock();
        assert_eq!(paths.len(), 1, "one answer is told once");
        let reply = Self {
            response: review["response"].clone(),
            path: paths[0],
            snapshots: witness.snapshots.load(Ordering::Relaxed),
            decided: witness.decided.lock().clone(),
            reads: witness.reads.lock().len(),
            left: witness.intents.lock().iter().map(|(_, intent)| intent.clone()).collect(),
            rights: witness.rights.lock().clone(),
            lost: witness.lost.load(Ordering::Relaxed),
        };
        reply.is_well_formed();
        reply
    }

    /// What holds for every answer, whatever it says.
    fn is_well_formed(&self) {
        for text in [self.message()].into_iter().chain(self.warnings()) {
            assert!(!text.contains(['\n', '\r']), "more than one line: {text:?}");
            assert!(!text.to_lowercase().contains("immutable"), "engines delete and recreate on this: {text}");
        }
        for warning in self.warnings() {
            assert!(warning.chars().count() < 120, "clients cut this warning off: {warning}");
        }
        if !self.allowed() {
            assert_eq!(self.response["status"]["code"], 403);
            assert_eq!(self.response["status"]["reason"], "Forbidden");
            assert_eq!(self.response["status"]["status"], "Failure");
            assert!(!self.message().is_empty());
        }
    }

    pub fn allowed(&self) -> bool {
        self.response["allowed"].as_bool().unwrap()
    }

    pub fn uid(&self) -> &str {
        self.response["uid"].as_str().unwrap()
    }

    pub fn message(&self) -> &str {
        self.response["status"]["message"].as_str().unwrap_or_default()
    }

    pub fn warnings(&self) -> Vec<&str> {
        let list = self.response["warnings"].as_array();
        list.into_iter().flatten().map(|warning| warning.as_str().unwrap()).collect()
    }

    /// The answer as people meet it.
    pub fn text(&self) -> String {
        let mut text = String::from(if self.allowed() { "allowed\n" } else { "denied\n" });
        for (name, value) in [("message", self.message())].into_iter().filter(|(_, value)| !value.is_empty()) {
            let _ = writeln!(text, "  {name}: {value}");
        }
        for warning in self.warnings() {
            let _ = writeln!(text, "  warning: {warning}");
        }
        for (key, value) in self.response["auditAnnotations"].as_object().into_iter().flatten() {
            let _ = writeln!(text, "  audit {key}: {}", value.as_str().unwrap());
        }
        text
    }
}
