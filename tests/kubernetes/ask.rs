//! One request to the API server, and everything it answers: kube's own calls keep neither the warnings nor the texts.

use anyhow::{Context as _, Result, ensure};
use axum::http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// How a request changes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Replace,
    JsonPatch,
    MergePatch,
    StrategicPatch,
    /// Server-side apply.
    Apply,
    Delete,
}

/// A request for an object of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    verb: Verb,
    /// Such as `deployments/stoa-gateway/scale`.
    path: String,
    group: &'static str,
    body: Value,
    dry_run: bool,
    manager: &'static str,
}

/// What the API server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// The object, or the Status of a refusal.
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Ask {
    /// For `path` such as `deployments/stoa-gateway` of the group `apps/v1`.
    pub(crate) fn new(verb: Verb, path: impl Into<String>, body: Value) -> Self {
        Self { verb, path: path.into(), group: "apps/v1", body, dry_run: false, manager: "test" }
    }

    /// Of another group than `apps/v1`.
    pub(crate) fn of(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// As a server-side dry run.
    pub(crate) fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// With this field manager.
    pub(crate) fn by(mut self, manager: &'static str) -> Self {
        self.manager = manager;
        self
    }

    pub(crate) async fn send(&self, client: &Client, namespace: &str) -> Result<Answer> {
        let (method, kind) = match self.verb {
            Verb::Create => ("POST", "application/json"),
            Verb::Replace => ("PUT", "application/json"),
            Verb::JsonPatch => ("PATCH", "application/json-patch+json"),
            Verb::MergePatch => ("PATCH", "application/merge-patch+json"),
            Verb::StrategicPatch => ("PATCH", "application/strategic-merge-patch+json"),
            Verb::Apply => ("PATCH", "application/apply-patch+yaml"),
            Verb::Delete => ("DELETE", "application/json"),
        };
        let mut uri =
            format!("/apis/{}/namespaces/{namespace}/{}?fieldManager={}", self.group, self.path, self.manager);
        if self.dry_run {
            uri += "&dryRun=All";
        }
        if self.verb == Verb::Apply {
            uri += "&force=true";
        }
        let body = match self.verb {
            // A body of a deletion is all its options: the query is not looked at.
            Verb::Delete if self.dry_run => json!({"propagationPolicy": "Background", "dryRun": ["All"]}),
            Verb::Delete => json!({"propagationPolicy": "Background"}),
            _ => self.body.clone(),
        };
        let request = Request::builder().method(method).uri(uri).header("content-type", kind);
        let response = client.send(request.body(Body::from(serde_json::to_vec(&body)?))?).await?;
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter().filter_map(|value| warning(value.to_str().ok()?));
        let warnings = warnings.collect();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { code, body: serde_json::from_slice(&body)?, warnings })
    }
}

/// The text of a `Warning` header: `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 - \"")?.strip_suffix('"')?;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

impl Answer {
    pub(crate) fn is_allowed(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The text of a refusal, without what the API server puts before it.
    pub(crate) fn text(&self) -> &str {
        let message = self.body["message"].as_str().unwrap_or_default();
        message.split_once(" denied the request: ").map_or(message, |(_, text)| text)
    }

    /// A refusal by the guard as engines must see it.
    pub(crate) fn check_refusal(&self) -> Result<()> {
        ensure!(self.code == 403 && self.body["reason"] == "Forbidden", "not a Forbidden: {self:?}");
        ensure!(self.body["code"] == 403, "another code: {self:?}");
        let message = self.body["message"].as_str().context("a message")?;
        ensure!(message.starts_with("admission webhook \""), "not the guard's: {message}");
        ensure!(!message.to_lowercase().contains("immutable"), "makes engines delete and recreate: {message}");
        ensure!(!self.text().contains('\n'), "more than one line: {message}");
        Ok(())
    }
}
