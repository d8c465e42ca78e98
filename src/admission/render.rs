//! From a decision to the response, and the texts that people read in it.

use kube::core::admission::AdmissionResponse;
use kube::core::response::{Status, StatusSummary};
use serde::Deserialize;

use super::judge::Found;
use super::{Answer, Request};
use crate::domain::decision::{Decision, Reason, Verdict};
use crate::domain::rules::Rule;
use crate::domain::text::tame;

/// Who sent the request, by its field manager: it chooses the hint, never the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Argo CD.
    ArgoCd,
    /// Flux's kustomize-controller.
    FluxKustomize,
    /// Flux's helm-controller.
    FluxHelm,
    /// Helm.
    Helm,
    /// Anyone else.
    Other,
}

impl Caller {
    /// The caller behind a request.
    pub(super) fn of(request: &Request<'_>) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Options {
            field_manager: Option<String>,
        }
        // Options that cannot be read name no caller; they choose a hint and nothing else.
        let options = request.options.and_then(|options| serde_json::from_str::<Options>(options.get()).ok());
        match options.and_then(|options| options.field_manager).as_deref() {
            Some("argocd-controller") => Self::ArgoCd,
            Some("kustomize-controller") => Self::FluxKustomize,
            Some("helm-controller") => Self::FluxHelm,
            Some("helm") => Self::Helm,
            _ => Self::Other,
        }
    }

    /// What the caller's user should do about a change that only has to wait.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::ArgoCd => {
                Some("Argo CD retries: give syncPolicy.retry enough limit, or order the parts by sync-wave.")
            }
            Self::FluxKustomize => Some(
                "A single Flux Kustomization stops here for ever: set onNotYet: Hold in the policy, or give each component a \
                 Kustomization of its own, with dependsOn and wait.",
            ),
            Self::FluxHelm => Some("Set spec.upgrade.strategy.name of the HelmRelease to RetryOnFailure."),
            Self::Helm => Some("Run helm upgrade again when that is done."),
            Self::Other => None,
        }
    }
}

/// A response that refuses until something else is said.
fn respond(uid: &str) -> AdmissionResponse {
    let mut response = AdmissionResponse::invalid("");
    uid.clone_into(&mut response.uid);
    response
}

/// The response that admits the request.
pub(super) fn admitted(request: &Request<'_>) -> AdmissionResponse {
    let mut response = respond(&request.uid);
    response.allowed = true;
    response.result = Status::default();
    response
}

/// The answer to what is none of the guard's business.
pub(super) fn allowed(request: &Request<'_>) -> Answer {
    Answer { response: admitted(request), path: "other" }
}

/// The response to a governed change.
pub(super) fn decision(request: &Request<'_>, found: &Found<'_>) -> AdmissionResponse {
    let Found { decision, .. } = found;
    let mut response = admitted(request);
    // A NotYet that wedged a dry run would also stop the change that makes it legal.
    let passes = match decision.verdict {
        Verdict::Allow => true,
        Verdict::NotYet => request.is_dry_run(),
        Verdict::Never => false,
    };
    let warned: Vec<&Reason> = if passes {
        decision.reasons.iter().chain(&decision.warnings).collect()
    } else {
        decision.warnings.iter().collect()
    };
    if !warned.is_empty() {
        response.warnings = Some(warned.iter().map(|reason| tame(&reason.short())).collect());
    }
    annotate(&mut response, found);
    if passes { response } else { refuse(response, &denial(request, found)) }
}

/// The response that lets a change be stored with its rollout held; `stays` when it was held before.
pub(super) fn held(request: &Request<'_>, found: &Found<'_>, stays: bool) -> AdmissionResponse {
    let Found { decision, .. } = found;
    let mut response = admitted(request);
    let held = decision.reasons.first().map(|reason| reason.held(stays));
    let warnings = decision.warnings.iter().map(Reason::short);
    response.warnings = Some(held.into_iter().chain(warnings).map(|text| tame(&text)).collect());
    annotate(&mut response, found);
    response.audit_annotations.insert("held".to_owned(), "true".to_owned());
    response
}

/// The text of a refusal, with a hint for the caller when waiting is all it takes, and the command that shows the way.
fn denial(request: &Request<'_>, found: &Found<'_>) -> String {
    let Found { decision, note, .. } = found;
    let hint = Caller::of(request).hint().filter(|_| decision.verdict == Verdict::NotYet);
    // Two commands on one line would run into each other.
    let last = note.clone().or_else(|| way(request, decision));
    let parts = [Some(decision.denial()), hint.map(str::to_owned), last];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What stands before the command that shows the way.
pub(super) const WAY: &str = " The way there: ";

/// The command that shows the steps to the version asked for, where steps can lead there.
fn way(request: &Request<'_>, decision: &Decision) -> Option<String> {
    let Reason { rule, component, to, .. } = decision.reasons.first()?;
    let (namespace, to) = (request.namespace.as_deref()?, to.as_ref()?.known()?);
    matches!(rule, Rule::Order | Rule::Skew | Rule::Hop)
        .then(|| format!("{}upgrade-guard plan --live -n {namespace} --to {component}={to}", WAY.trim_start()))
}

/// What the audit log keeps of a decision.
fn annotate(response: &mut AdmissionResponse, found: &Found<'_>) {
    let (Found { decision, overridden, .. }, moves) = (found, found.moves());
    let mut note = |key: &str, value: String| response.audit_annotations.insert(key.to_owned(), tame(&value));
    note("verdict", decision.verdict.to_string());
    if !moves.is_empty() {
        note("moves", moves);
    }
    let all = || decision.reasons.iter().chain(&decision.warnings).chain(&decision.audits);
    let mut rules: Vec<&str> = Vec::new();
    for reason in all() {
        let code = reason.rule.row().code;
        if !rules.contains(&code) {
            rules.push(code);
        }
    }
    if !rules.is_empty() {
        note("rules", rules.join(","));
    }
    // For those who show the parts of a denial in different places.
    if let Some(worst) = decision.reasons.first() {
        note("reason", format!("[{}] {}: {}", worst.rule, worst.what, worst.facts));
        note("remedy", worst.remedy.clone());
    }
    if let Some(by) = overridden {
        note("overridden", format!("{}; {}; until={}", by.rules.join(","), by.reason, by.until));
    }
    let audited: Vec<String> = decision.audits.iter().map(ToString::to_string).collect();
    if !audited.is_empty() {
        note("audited", audited.join(" "));
    }
}

/// The refusal of a request whose answer could not be found in time.
pub(super) fn unavailable(request: &Request<'_>, why: &str) -> Answer {
    let text = format!("[UG-UNAVAILABLE] the guard cannot judge this change now: {why}. Retry in a moment.");
    tracing::warn!(reason = text, "refused without a decision");
    Answer { response: refuse(respond(&request.uid), &text), path: "unavailable" }
}

/// The warning of a change that was admitted although it could not be made sure of.
pub(super) fn unsure(why: &str) -> String {
    let text = tame(&format!("[UG-UNAVAILABLE] admitted without being made sure of (onUnavailable: Allow): {why}"));
    if text.chars().count() <= Reason::SHORT {
        text
    } else {
        text.chars().take(Reason::SHORT - 3).chain("...".chars()).collect()
    }
}

/// The refusal of an object that cannot be used, with all its problems.
pub(super) fn refused(request: &Request<'_>, text: &str) -> AdmissionResponse {
    refuse(respond(&request.uid), text)
}

/// The refusal of a review whose request cannot be read.
pub(super) fn unreadable(uid: &str, text: &str) -> AdmissionResponse {
    refuse(respond(uid), text)
}

/// Makes `response` a refusal. Reason `Forbidden`, because engines delete and recreate on `Invalid` and `Conflict`.
fn refuse(mut response: AdmissionResponse, text: &str) -> AdmissionResponse {
    response.allowed = false;
    response.result = Status {
        status: Some(StatusSummary::Failure),
        message: tame(text),
        reason: "Forbidden".to_owned(),
        code: 403,
        details: None,
        metadata: None,
    };
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Mode;

    #[test]
    fn the_audit_log_names_each_rule_once() {
        let reason = |rule, verdict| Reason {
            rule,
            verdict,
            mode: Mode::Enforce,
            component: "api".to_owned(),
            from: None,
            to: None,
            what: String::new(),
            facts: String::new(),
            remedy: String::new(),
        };
        let decision = Decision {
            verdict: Verdict::NotYet,
            reasons: vec![reason(Rule::Skew, Verdict::NotYet), reason(Rule::Version, Verdict::NotYet)],
            warnings: vec![reason(Rule::Skew, Verdict::Allow)],
            audits: vec![],
        };
        let mut response = AdmissionResponse::invalid("");
        annotate(&mut response, &Found::of(decision));
        assert_eq!(response.audit_annotations["rules"], "UG-SKEW,UG-VERSION");
    }
}
