//! `upgrade-guard certs`: certificates for development.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::{Outcome, Output};
use crate::server::devcert::DevelopmentCertificate;

/// Make a serving certificate, with a CA of its own, for development.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write tls.crt, tls.key and ca.crt into.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// A name or address that the guard is reached by; may be given several times.
    #[arg(long = "name", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
    names: Vec<String>,

    /// How many days it is valid.
    #[arg(long, default_value_t = 30)]
    days: u32,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let made = DevelopmentCertificate::make(&args.names, args.days).context("cannot make a certificate")?;
    made.write(&args.dir).with_context(|| format!("cannot write the certificate into {}", args.dir.display()))?;
    writeln!(out, "wrote tls.crt, tls.key and ca.crt for {} into {}", args.names.join(", "), args.dir.display())?;
    Ok(Outcome::Done)
}
