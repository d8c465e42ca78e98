//! `upgrade-guard preset`: the policies that come with the program.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::Value;
use tokio::time::Instant;

use super::input::live;
use super::news::{Format, Printer};
use super::{Outcome, Output};
use crate::api::UpgradePolicy;
use crate::cluster::error::said;
use crate::hook::Exit;
use crate::report::{Report, Stage};

/// The field manager of what is applied: not that of the running guard, which never writes a policy.
const FIELD_MANAGER: &str = "upgrade-guard-preset";
/// The time between two attempts.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long one attempt may take: the webhook's own timeout, and what the API server needs besides.
const ATTEMPT: Duration = Duration::from_secs(40);
/// The time after which the same news is told again.
const AGAIN: Duration = Duration::from_secs(15);

/// Print a policy that comes with the program, or apply it.
///
/// Exit code 0: done. 1: it is refused. 2: it could not be done in time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which one.
    #[arg(value_enum)]
    preset: Preset,

    /// Apply it to the cluster, as soon as the guard's webhook answers. Fields that others set stay theirs.
    #[arg(long)]
    apply: bool,

    /// Set fields that others have changed back to what the preset says.
    #[arg(long, requires = "apply")]
    take_over: bool,

    /// How long the webhook may take to answer, for example 5m.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::api::duration)]
    timeout: SignedDuration,
}

/// A policy that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Preset {
    /// The STOA platform in the namespace stoa-system.
    Stoa,
}

impl Preset {
    /// As it is in the repository, with its comments.
    const fn text(self) -> &'static str {
        match self {
            Self::Stoa => include_str!("../../manifests/policies/stoa.yaml"),
        }
    }
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    if !args.apply {
        std::io::Write::write_all(out, args.preset.text().as_bytes())?;
        return Ok(Outcome::Done);
    }
    let policy: Value = serde_saphyr::from_str(args.preset.text()).context("the preset cannot be read")?;
    let name = policy["metadata"]["name"].as_str().context("the preset has no name")?.to_owned();
    let cluster = live::Cluster::connect()?;
    let mut printer = Printer::new(out, Format::Text);
    let ended = cluster.block_on(async |client| {
        Attempts { client, name: &name, policy: &policy, force: args.take_over }.go(args, &mut printer).await
    })?;
    match ended {
        Ok(()) => {
            printer.result(Exit::Done, &format!("UpgradePolicy {name} is in force"))?;
            Ok(Outcome::Done)
        }
        Err(refusal) => {
            printer.result(Exit::Policy, &format!("UpgradePolicy {name} was not applied: {refusal}"))?;
            Ok(Outcome::Refused)
        }
    }
}

struct Attempts<'a> {
    client: Client,
    name: &'a str,
    policy: &'a Value,
    force: bool,
}

impl Attempts<'_> {
    /// Tries until it is applied or refused; the inner error is the refusal.
    async fn go(&self, args: &Args, report: &mut dyn Report) -> anyhow::Result<Result<(), String>> {
        let (began, patience) = (Instant::now(), args.timeout.unsigned_abs());
        let mut told: Option<(String, Instant)> = None;
        loop {
            let waits = match tokio::time::timeout(ATTEMPT, self.once()).await {
                Ok(Ok(())) => return Ok(Ok(())),
                Ok(Err(error)) => match Meaning::of(&error) {
                    Meaning::NotYet => said(&error),
                    Meaning::Refused(why) => return Ok(Err(why)),
                    Meaning::Failed => {
                        bail!("cannot apply UpgradePolicy {}: {}", self.name, said(&error))
                    }
                },
                Err(_) => format!("no answer in {} s", ATTEMPT.as_secs()),
            };
            if began.elapsed() >= patience {
                bail!(
                    "cannot apply UpgradePolicy {}: the guard's webhook did not answer in {patience:?}: {waits}. See `kubectl get \
                     pods -A -l app.kubernetes.io/name=upgrade-guard`, and run this again",
                    self.name
                );
            }
            if told.as_ref().is_none_or(|(last, at)| *last != waits || at.elapsed() >= AGAIN) {
                report.say("preset", Stage::Progress, format!("waits for the guard's webhook: {waits}"));
                told = Some((waits, Instant::now()));
            }
            tokio::time::sleep(BETWEEN.min(patience)).await;
        }
    }

    async fn once(&self) -> Result<(), Error> {
        let api: Api<UpgradePolicy> = Api::all(self.client.clone());
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), force: self.force, ..PatchParams::default() };
        api.patch(self.name, &params, &Patch::Apply(self.policy)).await.map(drop)
    }
}

/// What a failed attempt says.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Guard or API server do not answer yet.
    NotYet,
    /// Someone looked at it and is against it.
    Refused(String),
    /// Waiting cannot help.
    Failed,
}

impl Meaning {
    fn of(error: &Error) -> Self {
        let Error::Api(status) = error else { return Self::NotYet };
        let denied = status.message.contains("denied the request");
        match status.code {
            409 if status.message.contains("conflict with") => Self::Refused(format!(
                "{}. Someone has changed these fields: change them back, keep the policy as your own and turn the preset off, \
                 or run `upgrade-guard preset` with --take-over",
                status.message
            )),
            400 | 422 => Self::Refused(said(error)),
            403 if denied => Self::Refused(said(error)),
            401 | 403 | 405 | 415 => Self::Failed,
            // 404: the CRD is not served yet. 500: the webhook does not answer, or not with a certificate that is trusted.
            _ => Self::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn each_preset_is_a_policy_that_the_program_can_use() {
        for preset in <Preset as clap::ValueEnum>::value_variants() {
            let policy: UpgradePolicy = serde_saphyr::from_str(preset.text()).unwrap();
            assert!(crate::domain::policy::Policy::try_from(&policy).is_ok(), "{preset:?}");
        }
    }

    #[test]
    fn only_what_can_pass_is_waited_for() {
        let of =
            |code, message: &str| Meaning::of(&Error::Api(Status::failure(message, "Any").with_code(code).boxed()));
        let webhook =
            "Internal error occurred: failed calling webhook \"policies.guard.gostoa.dev\": no endpoints available";
        for (code, message) in
            [(500, webhook), (404, "page not found"), (429, "slow down"), (503, "starting"), (409, "x")]
        {
            assert_eq!(of(code, message), Meaning::NotYet, "{code} {message}");
        }
        for (code, message) in [(403, "upgradepolicies is forbidden"), (401, "Unauthorized")] {
            assert_eq!(of(code, message), Meaning::Failed, "{code} {message}");
        }
        let conflict = "Apply failed with 1 conflict: conflict with \"kubectl-edit\": .spec.maxHop";
        for (code, message) in [(403, "admission webhook denied the request: no"), (422, "invalid"), (409, conflict)] {
            assert!(matches!(of(code, message), Meaning::Refused(_)), "{code} {message}");
        }
    }
}
