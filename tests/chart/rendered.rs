//! What the chart renders, without a cluster.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use insta::assert_snapshot;
use serde_json::Value;

use crate::helm::{chart, helm, is_hook, name, objects, rendered, template, the};
use crate::matrix::CASES;

#[test]
fn helm_has_nothing_to_say_against_it() {
    let chart = chart();
    for (case, options) in CASES {
        let said = helm(None, &[&["lint", "--strict", "--quiet", chart.to_str().unwrap()], options].concat());
        assert!(said.success, "{case}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn no_case_renders_a_ca_bundle() {
    for (case, options) in CASES {
        let text = rendered(options);
        // A key that is rendered, even an empty one, would overwrite what the guard or cert-manager has written. A
        // comment may speak of it.
        let keys = text.lines().filter(|line| line.trim_start().starts_with("caBundle"));
        assert_eq!(keys.count(), 0, "{case}");
        assert_eq!(text.matches("kind: ValidatingWebhookConfiguration").count(), 1, "{case}");
        assert_eq!(text.matches("kind: MutatingWebhookConfiguration").count(), 1, "{case}");
    }
}

#[test]
fn every_object_is_marked_and_where_it_belongs() {
    let cluster_wide =
        ["ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
    for (case, options) in CASES {
        let mut names = BTreeSet::new();
        for object in objects(options) {
            let labels = &object["metadata"]["labels"];
            let said = format!("{case}: {}", name(&object));
            assert_eq!(labels["app.kubernetes.io/name"], "upgrade-guard", "{said}");
            assert_eq!(labels["app.kubernetes.io/instance"], "upgrade-guard", "{said}");
            let part = if is_hook(&object) { "hook" } else { "guard" };
            assert_eq!(labels["app.kubernetes.io/component"], part, "{said}");
            let wide = cluster_wide.contains(&object["kind"].as_str().unwrap());
            let namespace = object["metadata"]["namespace"].as_str();
            assert_eq!(namespace, (!wide).then_some("upgrade-guard"), "{said}");
            assert!(names.insert(name(&object)), "{said} is there twice");
        }
    }
}

#[test]
fn the_webhooks_ask_about_no_namespace_that_they_must_not() {
    for namespace in ["upgrade-guard", "platform-system"] {
        let more = ["--namespace", namespace, "--set", "webhook.excludedNamespaces={legacy}"];
        let objects = objects(&more);
        let mut asked = 0;
        for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
            let configuration = the(&objects, &format!("{kind} upgrade-guard"));
            for webhook in configuration["webhooks"].as_array().unwrap() {
                asked += 1;
                let name = webhook["name"].as_str().unwrap();
                assert_eq!(webhook["clientConfig"]["service"]["namespace"], namespace, "{name}");
                assert!(!webhook["matchConditions"].as_array().unwrap().is_empty(), "{name}");
                for rule in webhook["rules"].as_array().unwrap() {
                    let operations: Vec<&str> =
                        rule["operations"].as_array().unwrap().iter().map(|what| what.as_str().unwrap()).collect();
                    // What is deleted is never asked about, so an uninstall that stopped midway blocks nothing.
                    assert!(operations.iter().all(|what| ["CREATE", "UPDATE"].contains(what)), "{name}");
                    let groups = rule["apiGroups"].as_array().unwrap();
                    assert!(!groups.iter().any(|group| group == "*" || group == "" || group == "coordination.k8s.io"));
                }
                if name.starts_with("policies.") {
                    continue;
                }
                let selector = &webhook["namespaceSelector"]["matchExpressions"][0];
                assert_eq!(selector["values"], serde_json::json!(["kube-system", namespace, "legacy"]), "{name}");
                assert_eq!(
                    (&selector["operator"], &selector["key"]),
                    (&"NotIn".into(), &"kubernetes.io/metadata.name".into())
                );
            }
        }
        assert_eq!(asked, 4);
    }
}

/// What differs between the modes of certificates.
fn of_mode(options: &[&str]) -> String {
    let objects = objects(options);
    let deployment = the(&objects, "Deployment upgrade-guard");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut text = String::new();
    writeln!(text, "args: {}", container["args"]).unwrap();
    writeln!(text, "volumeMounts: {}", container["volumeMounts"]).unwrap();
    writeln!(text, "volumes: {}", deployment["spec"]["template"]["spec"]["volumes"]).unwrap();
    let rules = |kind: &str| the(&objects, &format!("{kind} upgrade-guard"))["rules"].as_array().unwrap().clone();
    for rule in rules("ClusterRole").iter().chain(&rules("Role")) {
        let about = |what: &str| rule["resources"].as_array().unwrap().iter().any(|resource| resource == what);
        if about("secrets") || about("validatingwebhookconfigurations") {
            writeln!(text, "rule: {rule}").unwrap();
        }
    }
    let configuration = the(&objects, "ValidatingWebhookConfiguration upgrade-guard");
    writeln!(text, "annotations of the webhooks: {}", configuration["metadata"]["annotations"]).unwrap();
    for object in objects.iter().filter(|object| object["apiVersion"] == "cert-manager.io/v1") {
        writeln!(text, "{}: {}", name(object), object["spec"]).unwrap();
    }
    text
}

#[test]
fn each_mode_of_certificates_has_what_it_needs() {
    let mut text = String::new();
    for case in ["defaults", "cert-manager with a CA of its own", "cert-manager with an issuer", "an existing Secret"] {
        let (_, options) = CASES.iter().find(|(name, _)| *name == case).unwrap();
        writeln!(text, "# {case}\n{}", of_mode(options)).unwrap();
    }
    assert_snapshot!(text);
}

#[test]
fn wrong_values_are_refused_with_the_value_that_is_wrong() {
    let wrong: [&[&str]; 13] = [
        &["--set", "replica=3"],
        &["--set", "replicas=0"],
        &["--set-string", "replicas=2"],
        &["--set", "certificates.mode=letsencrypt"],
        &["--set", "certificates.mode=existingSecret"],
        &["--set", "certificates.certManager.issuer=corporate"],
        &["--set", "webhook.timeoutSeconds=60"],
        &["--set", "webhook.failurePolicy=Open"],
        &["--set", "presets.stoa=true"],
        &["--set", "image.digest=latest"],
        &["--set", "image.pullPolicy=always"],
        &["--set", "metrics.serviceMonitor.enabled=yes"],
        &["--set", "metrics.grafana.enabled=true"],
    ];
    let mut text = String::new();
    for options in wrong {
        let said = template(options);
        assert!(!said.success, "{options:?} is taken");
        let about = said.stderr.lines().filter(|line| line.trim_start().starts_with("- "));
        writeln!(text, "{}\n{}\n", options.join(" "), about.collect::<Vec<_>>().join("\n")).unwrap();
    }
    assert_snapshot!(text);
}

#[test]
fn the_pods_are_as_restricted_as_can_be() {
    for (case, options) in CASES {
        let workloads = objects(options).into_iter().filter(|object| !object["spec"]["template"].is_null());
        let mut count = 0;
        for workload in workloads {
            count += 1;
            let said = format!("{case}: {}", name(&workload));
            let pod = &workload["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{said}");
            assert_eq!(pod["containers"].as_array().unwrap().len(), 1, "{said}");
            let container = &pod["containers"][0];
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{said}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{said}");
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{said}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{said}");
        }
        assert!(count >= 1, "{case}");
    }
}

#[test]
fn the_alerts_and_the_dashboard_are_in_it_as_they_are_written() {
    let (_, options) = CASES.iter().find(|(name, _)| *name == "all of the metrics").unwrap();
    let objects = objects(options);
    let file = |path: &str| std::fs::read_to_string(chart().join(path)).unwrap();
    let alerts: Value = serde_saphyr::from_str(&file("files/alerts.yaml")).unwrap();
    assert_eq!(the(&objects, "PrometheusRule upgrade-guard")["spec"], alerts);
    let board = &the(&objects, "ConfigMap upgrade-guard-dashboard")["data"]["upgrade-guard.json"];
    let board: Value = serde_json::from_str(board.as_str().unwrap()).unwrap();
    assert_eq!(board, serde_json::from_str::<Value>(&file("files/dashboard.json")).unwrap());
    for (case, options) in CASES.iter().filter(|(case, _)| !case.contains("metrics")) {
        let text = rendered(options);
        assert!(!text.contains("monitoring.coreos.com") && !text.contains("grafana_dashboard"), "{case}");
    }
}
