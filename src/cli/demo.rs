//! `upgrade-guard demo`: the guide's upgrade in the wrong and in the right order, through real HTTPS reviews.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};

use self::client::{Answer, Reviewer};
use self::platform::Platform;
use self::script::{SCRIPT, Step};
use super::output::{COLUMNS, wrap};
use super::{Outcome, Output, Paint};
use crate::domain::decision::Verdict;
use crate::server::devcert::{AUTHORITY_FILE, DevelopmentCertificate};

mod client;
mod platform;
mod script;

/// Show what the guard does, without Kubernetes: a guard on loopback, an upgrade in the wrong and in the right order.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run(_: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (certs, manifests) = (folder.path().join("certs"), folder.path().join("cluster"));
    for made in [&certs, &manifests] {
        std::fs::create_dir(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    DevelopmentCertificate::make(&["127.0.0.1".to_owned()], 1)
        .and_then(|made| made.write(&certs))
        .context("cannot make certificates")?;
    let mut platform = Platform::start(&manifests)?;
    let guard = Guard::start(&certs, &manifests)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let reviewer = Reviewer::new(&guard.address, &certs.join(AUTHORITY_FILE))?;

    writeln!(
        out,
        "A platform of four workloads, all at 2.2.0, is upgraded to 2.3.0. Its policy: manifests/policies/stoa.yaml"
    )?;
    writeln!(out, "Each attempt is an AdmissionReview to https://{}/validate.", guard.address)?;
    let mut wrong = 0_usize;
    for step in SCRIPT {
        match step {
            Step::Title(title) => writeln!(out, "\n{}\n", out.paint.strong(title))?,
            Step::Rolling { component, version } => platform.roll_half(component, version)?,
            Step::Complete(component) => {
                platform.complete(component)?;
                writeln!(out, "      {component} has rolled out.")?;
            }
            Step::Try { component, to, expected } => {
                let review = platform.review(component, to)?;
                let answer = runtime.block_on(reviewer.ask(&review))?;
                let as_expected = answer.verdict == *expected;
                wrong += usize::from(!as_expected);
                report(out, component, &platform.version(component), to, &answer, *expected)?;
                if as_expected && answer.allowed {
                    platform.admit(component, to)?;
                }
            }
        }
    }
    guard.stop()?;
    ensure!(wrong == 0, "{wrong} verdicts were not the expected ones");
    writeln!(out, "\nEvery verdict was the expected one.")?;
    Ok(Outcome::Done)
}

/// One attempt: what was tried, the verdict, the reason and what to do instead.
fn report(
    out: &mut Output<'_>,
    component: &str,
    from: &str,
    to: &str,
    answer: &Answer,
    expected: Verdict,
) -> anyhow::Result<()> {
    let tried = format!("{component} {from} -> {to}");
    let verdict = paint(out.paint, answer);
    writeln!(out, "  {tried:<36} {verdict}")?;
    for line in wrap(&answer.message, COLUMNS - 6) {
        writeln!(out, "      {line}")?;
    }
    for warning in &answer.warnings {
        for line in wrap(&format!("warning: {warning}"), COLUMNS - 6) {
            writeln!(out, "      {line}")?;
        }
    }
    if answer.verdict != expected {
        writeln!(out, "      {}", out.paint.bad(&format!("expected {expected}")))?;
    }
    Ok(())
}

fn paint(paint: Paint, answer: &Answer) -> String {
    match answer.verdict {
        Verdict::Allow => paint.good("allowed"),
        Verdict::NotYet => paint.caution("refused, not yet"),
        Verdict::Never => paint.bad("refused, never from here"),
    }
}

/// A guard process on loopback. Dropping it ends the process.
struct Guard {
    process: Child,
    address: String,
}

impl Guard {
    fn start(certs: &Path, manifests: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let process = Command::new(program)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--leave-after", "0"])
            .arg("--certs")
            .arg(certs)
            .arg("--cluster-from")
            .arg(manifests)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start 'upgrade-guard serve'")?;
        let mut guard = Self { process, address: String::new() };
        let stdout = guard.process.stdout.take().context("the guard has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("cannot read where the guard listens")?;
        let address = line.split_whitespace().find_map(|part| part.strip_prefix("https="));
        match address {
            Some(address) => address.clone_into(&mut guard.address),
            None => bail!("'upgrade-guard serve' did not start; see its message above"),
        }
        Ok(guard)
    }

    /// Ends the process and waits for it.
    fn stop(mut self) -> anyhow::Result<()> {
        self.process.kill().context("cannot stop the guard")?;
        self.process.wait().context("cannot wait for the guard")?;
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // After an error; there is nobody left to tell about a second one.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
