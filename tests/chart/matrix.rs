//! The values that the chart is tried with.

/// Names of cases with the options of `helm template`: every mode of certificates, each part on and off, and each value
/// that changes a shape.
pub(crate) const CASES: [(&str, &[&str]); 14] = [
    ("defaults", &[]),
    ("one replica", &["--set", "replicas=1"]),
    ("cert-manager with a CA of its own", &["--set", "certificates.mode=certManager,replicas=3"]),
    (
        "cert-manager with an issuer",
        &[
            "--set",
            "certificates.mode=certManager",
            "--set",
            "certificates.certManager.issuerRef.kind=ClusterIssuer",
            "--set",
            "certificates.certManager.issuerRef.name=corporate",
        ],
    ),
    ("an existing Secret", &["--set", "certificates.mode=existingSecret,certificates.existingSecret=guard-tls"]),
    ("a preset", &["--set", "presets.stoa.enabled=true"]),
    (
        "all of the metrics",
        &[
            "--set",
            "metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true",
        ],
    ),
    (
        "metrics with labels",
        &[
            "--set",
            "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prometheus",
            "--set",
            "metrics.prometheusRule.enabled=true,metrics.prometheusRule.labels.release=prometheus",
            "--set",
            "metrics.dashboard.enabled=true,metrics.dashboard.labels.folder=platform",
        ],
    ),
    ("no network policy", &["--set", "networkPolicy.enabled=false"]),
    (
        "a narrow network policy",
        &[
            "--set-json",
            r#"networkPolicy={"metricsFrom":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}],"apiServerPorts":[16443]}"#,
        ],
    ),
    ("databases", &["--set", "databases.secret=guard-databases,certificates.mode=certManager"]),
    (
        "a guard that only watches",
        &[
            "--set",
            "webhook.failurePolicy=Ignore,webhook.timeoutSeconds=3,webhook.excludedNamespaces={legacy,cattle-system}",
        ],
    ),
    ("no Job at all", &["--set", "crds.upgrade=false,priorityClassName="]),
    (
        "everything else",
        &[
            "--set",
            "image.repository=registry.example.com/guard,image.pullPolicy=Never,imagePullSecrets[0].name=registry",
            "--set",
            "image.digest=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "--set",
            "nodeSelector.pool=system,tolerations[0].key=dedicated,tolerations[0].operator=Exists",
            "--set",
            "podAnnotations.team=platform,log.level=debug,log.format=text,shutdown.leaveAfterSeconds=15",
            "--set",
            "uninstall.letGo=true,crds.accept={validationRule,enum},presets.stoa.enabled=true,global.region=eu",
            "--set-json",
            r#"affinity={"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app.kubernetes.io/name":"upgrade-guard"}}}]}}"#,
        ],
    ),
];
