//! One image is webhook, hook, wait container and command line: each starts inside of it and does what it is for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use upgrade_guard::server::devcert::DevelopmentCertificate;

use crate::inside::{Container, alone, put, rights};
use crate::servers::web_server;

pub(crate) const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "pod",
    "clusters": [{"name": "pod", "cluster": {"server": "http://kubernetes.default.svc"}}],
    "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod", "namespace": "shop"}}],
    "users": [{"name": "pod", "user": {}}]}"#;
pub(crate) const API_SERVER: &[(&str, &str)] = &[("KUBECONFIG", "/kubeconfig")];

/// The program as it was built for the tests, which runs on this machine as any other.
const BESIDE: &str = env!("CARGO_BIN_EXE_upgrade-guard");

/// A CRD that is established, as the API server has it.
pub(crate) fn crd() -> (&'static str, Value) {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tools.gostoa.dev"},
        "spec": {
            "group": "gostoa.dev", "scope": "Namespaced", "names": {"plural": "tools", "kind": "Tool"},
            "versions": [{"name": "v1", "served": true, "storage": true}],
        },
        "status": {"conditions": [
            {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"},
        ]},
    });
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tools.gostoa.dev", crd)
}

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/check"))
}

fn add_fixtures(root: &Path) {
    let copied = Command::new("cp").arg("-r").arg(fixtures()).arg(root.join("check")).status().unwrap();
    let readable = Command::new("chmod").args(["-R", "a+rX"]).arg(root.join("check")).status().unwrap();
    assert!(copied.success() && readable.success());
}

#[test]
fn the_command_line_says_the_same_as_outside() {
    alone("roles::the_command_line_says_the_same_as_outside", || {
        let container = Container::made(add_fixtures);
        let policy = ["check", "--policy", "stoa/policy.yaml", "--before", "stoa/2.2", "--after"];
        for args in [
            &["--version"][..],
            &["--help"],
            &["rules"],
            &["crds", "checks"],
            &["webhook"],
            &[&policy[..], &["stoa/2.3.yaml"]].concat(),
            &[&policy[..], &["stoa/2.4.yaml"]].concat(),
            &["plan", "--policy", "stoa/policy.yaml", "--from", "stoa/2.2", "--to", "2.4.0"],
        ] {
            let outside = Command::new(BESIDE).args(args).current_dir(fixtures()).env_clear().output().unwrap();
            // There is no working folder inside but the root.
            let within = |arg: &&str| arg.replace("stoa/", "/check/stoa/");
            let args: Vec<String> = args.iter().map(within).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let inside = container.run(&args, &[]);
            let place = |text: &str| text.replace("/check/stoa/", "stoa/");
            assert_eq!(place(&inside.out), String::from_utf8_lossy(&outside.stdout), "{args:?}: {}", inside.err);
            assert_eq!(inside.code, outside.status.code(), "{args:?}");
        }
        assert_eq!(container.run(&["--version"], &[]).out, format!("upgrade-guard {}\n", env!("CARGO_PKG_VERSION")));
    });
}

/// A policy that is frozen all the time, and asks an address for its health.
fn policy(zone: &str) -> Value {
    json!({
        "apiVersion": "guard.gostoa.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": {"name": "shop"},
        "spec": {
            "namespaces": ["shop"],
            "components": [{"name": "api", "match": {"names": ["api"]}}],
            "freezeWindows": [{"name": "always", "cron": "0 0 * * *", "duration": "25h", "timeZone": zone}],
            "verify": {"http": [{
                "name": "api", "url": "http://api.{namespace}.svc/health", "expression": "body.status == \"ok\"",
            }, {
                "name": "public", "url": "https://api.{namespace}.svc:8443/", "retries": 0,
            }]},
        },
    })
}

fn deployment() -> Value {
    let labels = json!({"app": "api"});
    json!({
        "metadata": {"name": "api", "namespace": "shop", "uid": "1", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "api", "image": "shop/api:2.2.0"}]},
        }},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    })
}

fn list(version: &str, kind: &str, item: &Value) -> Value {
    json!({"apiVersion": version, "kind": format!("{kind}List"), "metadata": {}, "items": [item]})
}

#[test]
fn hook_and_wait_container_work() {
    alone("roles::hook_and_wait_container_work", || {
        let policies = list("guard.gostoa.dev/v1alpha1", "UpgradePolicy", &policy("Asia/Kathmandu"));
        let _requests = web_server(
            "127.0.0.1:80",
            &[
                ("/apis/guard.gostoa.dev/v1alpha1/upgradepolicies", policies),
                ("/apis/apps/v1/namespaces/shop/deployments", list("apps/v1", "Deployment", &deployment())),
                ("/health", json!({"status": "ok"})),
                crd(),
            ],
        );
        let hosts = "127.0.0.1 kubernetes.default.svc api.shop.svc\n";
        let container = Container::with(&[("/etc/hosts", hosts), ("/kubeconfig", KUBECONFIG)]);

        let presync = ["presync", "-n", "shop", "--to", "api=2.3.0", "--dry-run"];
        let presync = container.run(&presync, API_SERVER);
        assert_eq!(presync.code, Some(2), "a freeze window stands against it: {presync:?}");
        // Its end has the quarters of an hour that the zone has, winter and summer; the image brings the database of zones.
        let open = presync.out.split("freeze window 'always' is open until ").nth(1).unwrap_or_default();
        assert_eq!(open.split(':').nth(1), Some("15"), "{presync:?}");

        let verify = container.run(&["verify", "-n", "shop", "--settle", "0s", "--no-record"], API_SERVER);
        assert!(verify.out.contains("answered 200, and the expression holds"), "{verify:?}");
        // Nobody listens there. Without authorities nobody would have been asked.
        assert!(verify.out.contains("Connection refused"), "{verify:?}");

        let waits = ["wait", "-n", "shop", "--crd", "tools.gostoa.dev", "--component", "api>=2.2.0", "--timeout", "5s"];
        let wait = container.run(&waits, API_SERVER);
        assert_eq!(wait.code, Some(0), "{wait:?}");
        let never = ["wait", "-n", "shop", "--component", "api>=2.3.0", "--timeout", "1s"];
        let wait = container.run(&never, API_SERVER);
        assert_eq!(wait.code, Some(4), "{wait:?}");
    });
}

#[test]
fn time_zones_are_known() {
    alone("roles::time_zones_are_known", || {
        for (zone, known) in [("Europe/Paris", true), ("Asia/Kathmandu", true), ("Moon/Sea", false)] {
            let container = Container::made(|root| {
                add_fixtures(root);
                put(&root.join("policy.yaml"), &policy(zone).to_string());
            });
            let args = ["check", "--policy", "/policy.yaml", "--before", "/check/shop/before.yaml", "--after"];
            let checked = container.run(&[&args[..], &["/check/shop/before.yaml"]].concat(), &[]);
            assert_eq!(!checked.err.contains(zone), known, "{checked:?}");
        }
    });
}

/// The program as the webhook; dropped, it is killed.
struct Webhook(Child);

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The review of an image change.
fn review(to: &str) -> Value {
    let object = |version: &str| {
        let container =
            json!({"name": "stoa-gateway", "image": format!("ghcr.io/stoa-platform/stoa-gateway:{version}")});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "stoa-gateway", "namespace": "stoa-system", "generation": 1},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "stoa-gateway"}}, "template": {
                "metadata": {"labels": {"app": "stoa-gateway"}}, "spec": {"containers": [container]},
            }},
        })
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "name": "stoa-gateway", "namespace": "stoa-system", "operation": "UPDATE", "dryRun": false,
        "userInfo": {"username": "someone"}, "object": object(to), "oldObject": object("2.2.0"),
    }})
}

/// What the webhook says to a review, trusted as the API server trusts it: for this name, by this CA.
async fn answer(name: &str, authority: &str, review: &Value) -> Value {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let tls = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect("127.0.0.1:9443").await.unwrap();
    let stream = tls.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/validate").header("host", name).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(review.to_string()))).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn the_webhook_answers_reviews() {
    alone("roles::the_webhook_answers_reviews", || {
        let name = "upgrade-guard.upgrade-guard.svc";
        let made = DevelopmentCertificate::make(&[name.to_owned()], 1).unwrap();
        let container = Container::made(|root| {
            add_fixtures(root);
            put(&root.join("certs/tls.crt"), &made.chain);
            put(&root.join("certs/tls.key"), &made.key);
            std::fs::create_dir(root.join("cluster")).unwrap();
            for file in ["stoa/policy.yaml", "stoa/2.2"] {
                let from = fixtures().join(file);
                let copied = Command::new("cp").arg("-r").arg(from).arg(root.join("cluster")).status().unwrap();
                assert!(copied.success());
            }
        });
        let mut webhook = Webhook(container.start(&["serve", "--certs", "/certs", "--cluster-from", "/cluster"]));
        let mut line = String::new();
        BufReader::new(webhook.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if !line.starts_with("listening") {
            let mut log = String::new();
            webhook.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("it does not start: {line} {log}");
        }
        let (user, capabilities) = rights(webhook.0.id());
        assert_eq!(user, "65532\t65532\t65532\t65532");
        assert_eq!(u64::from_str_radix(&capabilities, 16), Ok(0), "it may do nothing that others may not");

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (to, allowed, says) in [("2.3.0", false, "UG-ORDER"), ("2.2.0", true, "")] {
            let answer = runtime.block_on(answer(name, &made.authority, &review(to)));
            assert_eq!(answer["response"]["allowed"], allowed, "{answer}");
            assert!(answer["response"]["status"]["message"].as_str().unwrap_or_default().contains(says), "{answer}");
        }
        let asked = Command::new("kill").args(["-TERM", &webhook.0.id().to_string()]).stdin(Stdio::null()).status();
        assert!(asked.unwrap().success());
        assert!(webhook.0.wait().unwrap().success(), "asked to end, it ends well");
    });
}
