//! The loop against an API server that keeps Platforms. Time jumps when nothing can be done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::cluster::feed::{
    Autoscalers, Budgets, ControllerRevisions, Feed, Platforms, ReplicaSets, Source, Workloads,
};
use crate::cluster::index::{Listed, ObjectKey};
use crate::cluster::object::WorkloadKind;
use crate::cluster::testing::{deployment_json, listed, mk_policy, read};
use crate::controller::skew::SkewLines;

const DEPLOYMENTS: Workloads = Workloads(WorkloadKind::Deployment);
const API: &str = "ghcr.io/x/api";
const SECOND: Duration = Duration::from_secs(1);

/// The API server: Platforms by namespace, and the requests of each namespace.
#[derive(Clone, Default)]
struct Store {
    platforms: Arc<Mutex<BTreeMap<String, Value>>>,
    requests: Arc<Mutex<HashMap<String, usize>>>,
    /// Whether the namespace `bad` fails.
    fails: Arc<AtomicBool>,
}

impl Store {
    fn client(&self) -> Client {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let store = self.clone();
        tokio::spawn(async move {
            while let Some((request, respond)) = handle.next_request().await {
                respond.send_response(store.answer(request).await);
            }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let segments: Vec<&str> = parts.uri.path().split('/').collect();
        let namespace = segments.iter().skip_while(|segment| **segment != "namespaces").nth(1).unwrap_or(&"");
        let (code, answer) = if parts.uri.path().ends_with("/pods") {
            (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}))
        } else if parts.uri.path().ends_with("/events") {
            (201, serde_json::from_slice(&body).expect("JSON"))
        } else if namespace.is_empty() {
            let items: Vec<Value> = self.platforms.lock().values().cloned().collect();
            (200, json!({"kind": "PlatformList", "apiVersion": "v1", "metadata": {}, "items": items}))
        } else {
            *self.requests.lock().entry((*namespace).to_owned()).or_default() += 1;
            self.platform(namespace, &parts.method, &body)
        };
        let response = Response::builder().status(StatusCode::from_u16(code).expect("a code"));
        response.body(Body::from(serde_json::to_vec(&answer).expect("JSON"))).expect("a response")
    }

    fn platform(&self, namespace: &str, method: &Method, body: &[u8]) -> (u16, Value) {
        let fail = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
        };
        if namespace == "bad" && self.fails.load(Ordering::SeqCst) {
            return fail(500, "InternalError");
        }
        let mut platforms = self.platforms.lock();
        match (method, platforms.get_mut(namespace)) {
            (&Method::GET, Some(found)) => (200, found.clone()),
            (&Method::POST, _) => {
                let mut made: Value = serde_json::from_slice(body).expect("JSON");
                made["metadata"]["namespace"] = json!(namespace);
                made["metadata"]["generation"] = json!(1);
                platforms.insert(namespace.to_owned(), made.clone());
                (200, made)
            }
            (_, Some(found)) => {
                let patch: Value = serde_json::from_slice(body).expect("JSON");
                json_patch::merge(found, &json!({"status": patch["status"]}));
                (200, found.clone())
            }
            (_, None) => fail(404, "NotFound"),
        }
    }

    fn requests(&self, namespace: &str) -> usize {
        self.requests.lock().get(namespace).copied().unwrap_or(0)
    }

    fn status(&self, namespace: &str) -> Value {
        self.platforms.lock().get(namespace).map(|platform| platform["status"].clone()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Counted {
    looks: AtomicUsize,
    failed: AtomicUsize,
}

impl Observer for Counted {
    fn leads(&self, _: bool) {}
    fn reconciled(&self, _: Duration, failed: bool) {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.failed.fetch_add(usize::from(failed), Ordering::SeqCst);
    }
    fn wrote(&self) {}
    fn lost_races(&self, _: usize) {}
    fn install(&self, _: &Install, _: &PlatformStatus, _: &[SkewLines]) {}
    fn gone(&self, _: &Install) {}
    fn dropped(&self) {}
}

struct World {
    store: Store,
    index: SharedIndex,
    counted: Arc<Counted>,
    _running: AbortOnDropHandle<()>,
}

impl World {
    /// A controller of a policy `p` in each namespace, with everything listed.
    fn start(namespaces: &[&str], fails: bool) -> Self {
        let (store, index, counted) = (Store::default(), SharedIndex::new(), Arc::<Counted>::default());
        store.fails.store(fails, Ordering::SeqCst);
        index.write(|index| index.reset_policies(listed([mk_policy("p", namespaces, &[("api", API)])])));
        index.write(|index| index.reset_releases(Listed::default()));
        for kind in WorkloadKind::ALL {
            relist(&index, Workloads(kind));
        }
        relist(&index, ReplicaSets);
        relist(&index, ControllerRevisions);
        relist(&index, Budgets);
        relist(&index, Autoscalers);
        relist(&index, Platforms);
        index.write(|index| index.reset_crds(index.generation(), &Listed::default()));
        assert_eq!(index.read(|index| index.unsynced().collect::<Vec<_>>()), Vec::<Source>::new());
        let observer = Arc::clone(&counted) as Arc<dyn Observer>;
        let client = store.client();
        let controller = Controller::new(client.clone(), index.clone(), Events::new(client, "test"), observer);
        let running = AbortOnDropHandle::new(tokio::spawn(async move { controller.run().await }));
        Self { store, index, counted, _running: running }
    }

    fn deploy(&self, namespace: &str, version: usize) {
        let object = read(deployment_json(namespace, "api", &format!("{API}:1.{version}.0")));
        self.index.apply(DEPLOYMENTS, &ObjectKey::of(&object), object);
    }

    /// Shows the index the Platforms that are stored, as the watch would.
    fn echo(&self) {
        for platform in self.store.platforms.lock().values() {
            let platform: Platform = read(platform.clone());
            self.index.apply(Platforms, &ObjectKey::of(&platform), platform);
        }
    }

    fn looks(&self) -> usize {
        self.counted.looks.load(Ordering::SeqCst)
    }
}

fn relist<F: Feed>(index: &SharedIndex, feed: F) {
    assert!(index.write(|index| index.reset(feed, index.generation(), Listed::default())));
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_seen_at_once_and_many_are_seen_together() {
    let world = World::start(&["good"], false);
    sleep(2 * SECOND).await;
    world.echo();
    sleep(2 * SECOND).await;
    let (looks, requests) = (world.looks(), world.store.requests("good"));
    world.deploy("good", 1);
    sleep(SECOND / 100).await;
    assert_eq!(world.looks(), looks + 1, "at once");
    assert!(world.store.status("good").to_string().contains("1.1.0"));
    for version in 2..102 {
        world.deploy("good", version);
        sleep(SECOND / 100).await;
    }
    let many = world.looks() - looks;
    assert!((3..=4).contains(&many), "{many} looks at 101 changes in a second");
    sleep(SECOND).await;
    assert!(world.store.status("good").to_string().contains("1.101.0"), "the last change is not lost");

    world.echo();
    sleep(2 * SECOND).await;
    let (looks, before) = (world.looks(), world.store.requests("good"));
    assert!(before > requests);
    sleep(10 * RESYNC).await;
    let idle = world.looks() - looks;
    assert!((8..=11).contains(&idle), "{idle} looks in ten minutes without a change");
    assert_eq!(world.store.requests("good"), before, "what is known needs no request");
}

#[tokio::test(start_paused = true)]
async fn an_install_that_fails_is_tried_ever_less_often_and_keeps_no_other_waiting() {
    let world = World::start(&["bad", "good"], true);
    world.deploy("bad", 1);
    world.deploy("good", 1);
    sleep(SECOND).await;
    assert!(world.store.status("good").to_string().contains("1.1.0"));
    sleep(5 * RESYNC).await;
    let failed = world.counted.failed.load(Ordering::SeqCst);
    assert!((8..=30).contains(&failed), "{failed} tries in five minutes");
    world.deploy("good", 2);
    sleep(SECOND).await;
    assert!(world.store.status("good").to_string().contains("1.2.0"));
    world.store.fails.store(false, Ordering::SeqCst);
    sleep(2 * RESYNC).await;
    assert!(world.store.status("bad").to_string().contains("1.1.0"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_governed_is_told_so_once_and_never_made() {
    let world = World::start(&["good"], false);
    world.deploy("good", 1);
    sleep(SECOND).await;
    let orphan = |status: &Value| status["summary"].as_str().is_some_and(|text| text.contains("Not governed"));
    assert!(!orphan(&world.store.status("good")));
    world.index.write(|index| index.remove_policy("p"));
    sleep(SECOND).await;
    assert!(orphan(&world.store.status("good")));
    let requests = world.store.requests("good");
    sleep(5 * RESYNC).await;
    assert_eq!(world.store.requests("good"), requests, "once");
}
