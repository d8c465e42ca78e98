//! `upgrade-guard webhook`: the webhook configurations as YAML.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};

use super::{Outcome, Output};
use crate::admission::registration::{Endpoint, MUTATE, NAMESPACE, VALIDATE, mutating, validating};

/// Print the webhook configurations: for the service in the cluster, or for a guard at a URL.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the API server finds the guard, for example <https://127.0.0.1:9443>, instead of by its service.
    #[arg(long)]
    url: Option<String>,

    /// A file with the CA certificates that the guard's certificate is verified with.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// The namespace that the guard is installed in. It and kube-system are never governed.
    #[arg(long, value_name = "NAMESPACE", default_value = NAMESPACE)]
    namespace: String,

    /// Print the template of the chart, in which its values say the rest.
    #[arg(long, hide = true, conflicts_with_all = ["url", "ca_file", "namespace"])]
    helm: bool,
}

/// The YAML of both configurations.
///
/// # Errors
/// When the CA file cannot be read.
pub fn document(args: &Args) -> anyhow::Result<String> {
    if args.helm {
        return template();
    }
    let endpoint = args.url.clone().map_or_else(|| Endpoint::Service(args.namespace.clone()), Endpoint::Url);
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let ca = args.ca_file.as_ref().map(read).transpose()?;
    yaml(&endpoint, ca.as_deref(), &args.namespace)
}

fn yaml(endpoint: &Endpoint, ca: Option<&[u8]>, namespace: &str) -> anyhow::Result<String> {
    let at = |path| endpoint.client_config(path, ca);
    let [validating, mutating] = [
        serde_saphyr::to_string(&validating(&at(VALIDATE), namespace)),
        serde_saphyr::to_string(&mutating(&at(MUTATE), namespace)),
    ]
    .map(|yaml| yaml.context("cannot write the webhook configuration as YAML"));
    Ok(format!("{}---\n{}", validating?, mutating?))
}

/// Stands for the namespace of the release until the chart's template is made.
const RELEASE: &str = "namespace-of-the-release";

/// What the chart's values say, by what stands there without them; the number says how often it does.
fn by_values() -> [(String, &'static str, usize); 5] {
    let labels = format!(
        "  labels:\n    app.kubernetes.io/component: guard\n    app.kubernetes.io/instance: upgrade-guard\n    \
         app.kubernetes.io/name: upgrade-guard\n    app.kubernetes.io/version: \"{}\"\n",
        env!("CARGO_PKG_VERSION")
    );
    [
        (
            labels,
            "  labels:\n    {{- include \"upgrade-guard.labels\" . | nindent 4 }}\n    app.kubernetes.io/component: guard\n  \
             {{- with include \"upgrade-guard.caInjection\" . }}\n  annotations:\n    {{- . | nindent 4 }}\n  {{- end }}\n",
            2,
        ),
        (
            format!("      - {RELEASE}\n"),
            "      - {{ .Release.Namespace }}\n      {{- range .Values.webhook.excludedNamespaces }}\n      - {{ . | quote }}\n      \
             {{- end }}\n",
            3,
        ),
        (format!("namespace: {RELEASE}\n"), "namespace: {{ .Release.Namespace }}\n", 4),
        ("timeoutSeconds: 5\n".to_owned(), "timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}\n", 4),
        // That of the workloads comes first. Policies are refused when nobody can judge them, and scaling never is.
        ("failurePolicy: Fail\n".to_owned(), "failurePolicy: {{ .Values.webhook.failurePolicy }}\n", 1),
    ]
}

/// The chart's template of both configurations.
fn template() -> anyhow::Result<String> {
    let mut text = yaml(&Endpoint::Service(RELEASE.to_owned()), None, RELEASE)?;
    for (plain, templated, times) in by_values() {
        let found = text.matches(&plain).count();
        if found < times {
            bail!("cannot make the chart's template: {plain:?} is there {found} times, not {times}");
        }
        text = text.replacen(&plain, templated, times);
    }
    Ok(format!(
        "{{{{- /* Written by `make manifests`, from what the program registers. There is no caBundle here on purpose: \
         the guard or cert-manager writes it, and an upgrade leaves it alone. */ -}}}}\n{text}"
    ))
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
    write!(out, "{}", document(args)?)?;
    Ok(Outcome::Done)
}
