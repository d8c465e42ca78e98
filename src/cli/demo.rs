//! `upgrade-guard demo`: the guide's upgrade in the wrong and in the right order, through real HTTPS reviews.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};

use self::client::{Answer, Reviewer};
use self::platform::Platform;
use self::script::{SCRIPT, Step};
use super::output::wrap;
use super::{Outcome, Output};
use crate::domain::decision::Verdict;
use crate::server::devcert::{AUTHORITY_FILE, DevelopmentCertificate};

mod client;
mod platform;
mod script;

/// Show what the guard does, without Kubernetes: a guard on loopback, an upgrade in the wrong and in the right order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play against this policy instead of the one in manifests/policies/stoa.yaml.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (certs, manifests) = (folder.path().join("certs"), folder.path().join("cluster"));
    for made in [&certs, &manifests] {
        std::fs::create_dir(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    DevelopmentCertificate::make(&["127.0.0.1".to_owned()], 1)
        .and_then(|made| made.write(&certs))
        .context("cannot make certificates")?;
    let policy = args
        .policy
        .as_ref()
        .map(|path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())));
    let mut platform = Platform::start(&manifests, policy.transpose()?.as_deref())?;
    let guard = Guard::start(&certs, &manifests)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let reviewer = Reviewer::new(&guard.address, &certs.join(AUTHORITY_FILE))?;

    let shown = args.policy.clone().unwrap_or_else(|| "manifests/policies/stoa.yaml".into());
    writeln!(out, "A platform of four workloads, all at 2.2.0, is upgraded to 2.3.0 under {}.", shown.display())?;
    writeln!(out, "Each attempt is an AdmissionReview to https://{}/validate.", guard.address)?;
    let mut wrong = 0_usize;
    for step in SCRIPT {
        match step {
            Step::Title(title) => {
                writeln!(out, "\n{}\n", out.paint.strong(title))?;
                head(out)?;
            }
            Step::Rolling { component, version } => {
                platform.roll_half(component, version)?;
                writeln!(out, "({component} rolls out: one of two pods runs {version})")?;
            }
            Step::Complete(component) => {
                platform.complete(component)?;
                writeln!(out, "({component} has rolled out)")?;
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

/// The widths of the table's columns; with two spaces between them they fill the page.
const WIDTHS: [usize; 4] = [18, 8, 40, 28];

/// The table's head.
fn head(out: &mut Output<'_>) -> anyhow::Result<()> {
    let names = ["TRIED", "VERDICT", "REASON", "WHAT TO DO INSTEAD"].map(|name| vec![name.to_owned()]);
    row(out, &names, |_, cell| cell)
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
    let verdict = match answer.verdict {
        Verdict::Allow => "allowed",
        Verdict::NotYet => "not yet",
        Verdict::Never => "never",
    };
    let warnings = answer.warnings.iter().map(|warning| format!("Warning: {warning}"));
    let surprise = (answer.verdict != expected).then(|| format!("EXPECTED {expected}"));
    let reason: Vec<String> = [answer.reason.clone()].into_iter().chain(warnings).chain(surprise).collect();
    let cells = [
        vec![component.to_owned(), format!("{from} -> {to}")],
        vec![verdict.to_owned()],
        wrap(&reason.join(" "), WIDTHS[2]),
        wrap(&answer.remedy, WIDTHS[3]),
    ];
    let paint = out.paint;
    row(out, &cells, |column, cell| match (column, answer.verdict) {
        (1, Verdict::Allow) => paint.good(&cell),
        (1, Verdict::NotYet) => paint.caution(&cell),
        (1, Verdict::Never) => paint.bad(&cell),
        _ => cell,
    })
}

/// One row of the table; `paint` colours a cell that has its width already.
fn row(out: &mut Output<'_>, cells: &[Vec<String>; 4], paint: impl Fn(usize, String) -> String) -> anyhow::Result<()> {
    for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
        let text = cells.iter().zip(WIDTHS).enumerate().map(|(column, (cell, width))| {
            let cell = cell.get(line).map(String::as_str).unwrap_or_default();
            paint(column, format!("{cell:<width$}"))
        });
        writeln!(out, "{}", text.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
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
