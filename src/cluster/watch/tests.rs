//! The watches against an API server that says what the test tells it to. Time stands still while anything can be done
//! and jumps when nothing can, so a test that waits for what never comes fails at once.

use futures::channel::mpsc::{UnboundedSender, unbounded};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::http::{Request, Response, StatusCode};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tower_test::mock::{Handle, SendResponse};

use super::rollouts::ROLLOUT_CRD;
use super::*;
use crate::cluster::testing::{deployment_json, key, listed, mk_policy, policy_json, read, shown};

const API: &str = "ghcr.io/x/api";
/// Longer than anything here waits for.
const PATIENCE: Duration = Duration::from_mins(10);

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// The API server.
struct Server(Handle<Request<Body>, Answer>);

/// A request that waits for its answer.
struct Asked {
    /// `list deployments`, with the only name that is asked for and the continue token if there are any, or
    /// `watch deployments`.
    what: String,
    respond: SendResponse<Answer>,
}

impl Server {
    async fn asked(&mut self) -> Asked {
        let next = timeout(PATIENCE, self.0.next_request()).await.expect("a request in time");
        let (request, respond) = next.expect("a client");
        let query = request.uri().query().unwrap_or_default();
        let verb = if query.contains("watch=true") { "watch" } else { "list" };
        let plural = request.uri().path().rsplit('/').next().unwrap_or_default();
        let page = query.split('&').find(|part| part.starts_with("continue=")).map(|part| format!(" {part}"));
        let name = query.split('&').find_map(|part| part.strip_prefix("fieldSelector=metadata.name%3D"));
        let only = name.map(|name| format!(" of {name}"));
        Asked { what: format!("{verb} {plural}{}{}", only.unwrap_or_default(), page.unwrap_or_default()), respond }
    }

    async fn expect(&mut self, what: &str) -> Asked {
        let asked = self.asked().await;
        assert_eq!(asked.what, what);
        asked
    }
}

impl Asked {
    fn answer(self, status: StatusCode, body: &Value) {
        let body = Full::from(serde_json::to_vec(body).unwrap()).map_err(|never| match never {}).boxed_unsync();
        self.respond.send_response(Response::builder().status(status).body(body).unwrap());
    }

    /// Answers with a page, which is the last one unless there is a token for the next.
    fn page(self, objects: &[Value], next: &str) {
        let metadata = json!({ "resourceVersion": "10", "continue": next });
        self.answer(
            StatusCode::OK,
            &json!({ "apiVersion": "v1", "kind": "List", "metadata": metadata, "items": objects }),
        );
    }

    fn list(self, objects: &[Value]) {
        self.page(objects, "");
    }

    fn refuse(self, code: u16, reason: &str) {
        let status = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no" });
        self.answer(StatusCode::from_u16(code).unwrap(), &status);
    }

    /// Answers with a watch that stays open as long as what is returned.
    fn watch(self) -> Watch {
        let (sender, events) = unbounded::<Result<Frame<Bytes>, std::io::Error>>();
        self.respond.send_response(Response::new(StreamBody::new(events).boxed_unsync()));
        Watch(sender)
    }
}

struct Watch(UnboundedSender<Result<Frame<Bytes>, std::io::Error>>);

impl Watch {
    fn send(&self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({ "type": kind, "object": object }));
        self.0.unbounded_send(Ok(Frame::data(Bytes::from(line)))).expect("the watch is open");
    }
}

/// What the observer was told, in order.
struct Observed(mpsc::UnboundedReceiver<String>);

impl Observed {
    async fn expect(&mut self, what: &str) {
        let told = timeout(PATIENCE, self.0.recv()).await.expect("something to be told").expect("an observer");
        assert_eq!(told, what);
    }
}

struct Observer(mpsc::UnboundedSender<String>);

impl Observer {
    fn tell(&self, what: String) {
        _ = self.0.send(what);
    }
}

impl WatchObserver for Observer {
    fn synced(&self, kind: &'static str, synced: bool) {
        self.tell(format!("{kind} synced {synced}"));
    }
    fn event(&self, kind: &'static str) {
        self.tell(format!("{kind} event"));
    }
    fn invalid(&self, kind: &'static str, object: &str, message: &str) {
        self.tell(format!("{kind} invalid {object}: {message}"));
    }
    fn error(&self, kind: &'static str, message: &str) {
        self.tell(format!("{kind} error: {message}"));
    }
    fn recovered(&self, kind: &'static str) {
        self.tell(format!("{kind} recovered"));
    }
}

/// An index that knows the policy `stoa`, and everything that a watch needs.
fn start() -> (Context, Server, Observed) {
    let (service, handle) = tower_test::mock::pair();
    let (sender, observed) = mpsc::unbounded_channel();
    let index = SharedIndex::new();
    index.write(|index| index.reset_policies(listed([mk_policy("stoa", &["stoa"], &[("api", API)])])));
    let context = Context {
        client: Client::new(service, "default"),
        index,
        observer: Arc::new(Observer(sender)),
        shutdown: CancellationToken::new(),
    };
    (context, Server(handle), Observed(observed))
}

const DEPLOYMENTS: Workloads = Workloads(WorkloadKind::Deployment);

/// Like [`start`], with a watch of Deployments running.
fn start_deployments() -> (Context, Server, Observed) {
    let (context, server, observed) = start();
    tokio::spawn(Driver { context: context.clone(), sink: Namespaced(DEPLOYMENTS) }.run());
    (context, server, observed)
}

fn view(context: &Context) -> Vec<String> {
    shown(&context.index.snapshot("stoa").expect("a governed namespace"))
}

fn api(name: &str, version: &str) -> Value {
    deployment_json("stoa", name, &format!("{API}:{version}"))
}

fn runs(name: &str, version: &str) -> String {
    format!("api: deployment/{name} wants {version} runs {version} x2")
}

fn gone() -> Value {
    json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" })
}

#[tokio::test(start_paused = true)]
async fn a_list_counts_when_it_is_complete_and_events_follow() {
    let (context, mut server, mut observed) = start_deployments();
    let old = read(api("old", "2.1.0"));
    context.index.apply(DEPLOYMENTS, &key("stoa", "old"), old);

    server.expect("list deployments").await.page(&[api("one", "2.2.0"), deployment_json("x", "y", API)], "next");
    let second = server.expect("list deployments continue=next").await;
    assert_eq!(view(&context)[0], runs("old", "2.1.0"), "half a list is no list");
    second.list(&[api("two", "2.2.0")]);
    observed.expect("deployments synced true").await;
    assert_eq!(view(&context)[..2], [runs("one", "2.2.0"), runs("two", "2.2.0")]);

    let watch = server.expect("watch deployments").await.watch();
    watch.send("MODIFIED", &api("one", "2.3.0"));
    observed.expect("deployments event").await;
    watch.send("DELETED", &api("two", "2.2.0"));
    observed.expect("deployments event").await;
    assert_eq!(view(&context)[..1], [runs("one", "2.3.0")]);
    assert_eq!(context.index.snapshot("stoa").unwrap().inventory.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_stops_nothing() {
    let (context, mut server, mut observed) = start_deployments();
    let mut bad = api("bad", "2.2.0");
    bad["spec"]["replicas"] = json!("many");
    server.expect("list deployments").await.list(&[api("one", "2.2.0"), bad.clone(), api("two", "2.2.0")]);
    observed.expect("deployments synced true").await;
    let problem = "deployments invalid stoa/bad: invalid type: string \"many\", expected i32";
    observed.expect(problem).await;
    assert_eq!(view(&context)[..2], [runs("one", "2.2.0"), runs("two", "2.2.0")]);

    let watch = server.expect("watch deployments").await.watch();
    bad["metadata"]["name"] = json!("two");
    watch.send("MODIFIED", &bad);
    observed.expect("deployments event").await;
    observed.expect(&problem.replace("bad", "two")).await;
    watch.send("MODIFIED", &api("one", "2.3.0"));
    observed.expect("deployments event").await;
    assert_eq!(view(&context)[..2], [runs("one", "2.3.0"), runs("two", "2.2.0")]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_lists_anew() {
    let (context, mut server, mut observed) = start_deployments();
    server.expect("list deployments").await.list(&[api("old", "2.2.0")]);
    observed.expect("deployments synced true").await;
    server.expect("watch deployments").await.watch().send("ERROR", &gone());
    let again = server.expect("list deployments").await;
    assert_eq!(view(&context)[0], runs("old", "2.2.0"), "what is known stays until there is better");
    again.list(&[api("new", "2.2.0")]);
    // Nothing was told of the 410: it is everyday life.
    observed.expect("deployments synced true").await;
    assert_eq!(view(&context)[0], runs("new", "2.2.0"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_and_asked_for_ever_more_slowly() {
    let (_context, mut server, mut observed) = start_deployments();
    let told = "deployments error: may not list deployments: grant the guard's service account the verbs list and \
                watch on resource 'deployments' in API group 'apps'";
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let asked = server.expect("list deployments").await;
        pauses.push(last.elapsed());
        last = Instant::now();
        asked.refuse(403, "Forbidden");
        observed.expect(told).await;
    }
    let (first, sixth) = (pauses[1], pauses[5]);
    assert!(first < Duration::from_secs(2) && sixth > Duration::from_secs(10), "the pauses were {pauses:?}");

    server.expect("list deployments").await.list(&[]);
    observed.expect("deployments synced true").await;
    server.expect("watch deployments").await.refuse(403, "Forbidden");
    observed.expect(&told.replace("not list", "not watch")).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_and_other_failures_are_told() {
    let (_context, mut server, mut observed) = start_deployments();
    server.expect("list deployments").await.refuse(404, "NotFound");
    observed
        .expect("deployments error: the cluster does not serve deployments of API group 'apps': install their CRD")
        .await;
    server.expect("list deployments").await.refuse(500, "InternalError");
    observed.expect("deployments error: the list failed: no (500 InternalError)").await;
}

#[tokio::test(start_paused = true)]
async fn a_list_without_an_answer_is_asked_again() {
    let (_context, mut server, mut observed) = start_deployments();
    let _silent = server.expect("list deployments").await;
    observed.expect("deployments error: no answer to a list within 60 seconds").await;
    server.expect("list deployments").await.list(&[]);
    observed.expect("deployments synced true").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_failed_is_well_when_nothing_more_is_heard() {
    let (_context, mut server, mut observed) = start_deployments();
    server.expect("list deployments").await.list(&[]);
    observed.expect("deployments synced true").await;
    for _ in 0..2 {
        server.expect("watch deployments").await.refuse(500, "InternalError");
        observed.expect("deployments error: the watch failed: no (500 InternalError)").await;
    }
    let watch = server.expect("watch deployments").await.watch();
    let stands = Instant::now();
    observed.expect("deployments recovered").await;
    assert!(stands.elapsed() >= RECOVERY, "too early: {:?}", stands.elapsed());
    // Once is enough: what comes next is an event.
    tokio::time::sleep(2 * RECOVERY).await;
    watch.send("ADDED", &api("one", "2.2.0"));
    observed.expect("deployments event").await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_asks_for_more_makes_a_new_list() {
    let (context, mut server, mut observed) = start_deployments();
    let portal = deployment_json("stoa", "portal", "ghcr.io/x/portal:2.2.0");
    server.expect("list deployments").await.list(&[api("api", "2.2.0"), portal.clone()]);
    observed.expect("deployments synced true").await;
    let watch = server.expect("watch deployments").await.watch();

    let portal_too = mk_policy("stoa", &["stoa"], &[("api", API), ("portal", "ghcr.io/x/portal")]);
    context.index.write(|index| index.put_policy(&portal_too));
    let outdated = server.expect("list deployments").await;
    assert!(watch.0.is_closed(), "the old watch is given up");

    // And once more, while that list is under way.
    let more = mk_policy("stoa", &["stoa", "more"], &[("api", API), ("portal", "ghcr.io/x/portal")]);
    context.index.write(|index| index.put_policy(&more));
    let current = server.expect("list deployments").await;
    outdated.list(&[]);
    current.list(&[api("api", "2.2.0"), portal]);
    observed.expect("deployments synced true").await;
    assert_eq!(view(&context)[0], runs("api", "2.2.0"));
    assert_eq!(view(&context)[2], "portal: deployment/portal wants 2.2.0 runs 2.2.0 x2");
}

/// A stand-in that tells contents apart as well as a digest does.
fn digest(definition: &CustomResourceDefinition) -> String {
    let schema = definition.spec.versions[0].schema.as_ref();
    schema.and_then(|schema| schema.open_api_v3_schema.as_ref()?.type_.clone()).unwrap_or_default()
}

/// An established CRD that says `content`.
fn crd_json(name: &str, content: &str) -> Value {
    let (plural, group) = name.split_once('.').unwrap();
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": null });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": name, "resourceVersion": "11" },
        "spec": {
            "group": group, "scope": "Namespaced", "names": { "plural": plural, "kind": "Any" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": content } },
            }],
        },
        "status": { "conditions": [condition("Established"), condition("NamesAccepted")] },
    })
}

/// What is kept of CRDs, a line for each.
fn crds(context: &Context) -> Vec<String> {
    let snapshot = context.index.snapshot("stoa").unwrap();
    let kept = snapshot.inventory.crds().unwrap().iter();
    let shown = kept.map(|(name, state)| {
        format!("{name} {} {}", state.content, if state.established { "established" } else { "not established" })
    });
    shown.collect()
}

#[tokio::test(start_paused = true)]
async fn crds_are_kept_where_a_policy_names_them() {
    let (context, mut server, mut observed) = start();
    let (rollouts, presence) = tokio::sync::watch::channel(Presence::Unknown);
    tokio::spawn(Driver { context: context.clone(), sink: Crds { rollouts, digest } }.run());
    let is_awaited = || context.index.read(|index| index.unsynced().any(|source| source == Source::Crds));
    let tools = crd_json("tools.gostoa.dev", "object");

    // Nobody names one.
    server.expect("list customresourcedefinitions of rollouts.argoproj.io").await.list(&[]);
    observed.expect("customresourcedefinitions synced true").await;
    server.expect("watch customresourcedefinitions of rollouts.argoproj.io").await;
    assert_eq!((*presence.borrow(), crds(&context)), (Presence::Absent, vec![]));
    assert!(!is_awaited());

    // A policy does: reviews wait for the list, and what comes with it and is not named is not kept.
    let mut policy = mk_policy("stoa", &["stoa"], &[("api", API)]);
    policy.spec.components[0].crds = vec!["tools.gostoa.dev".to_owned(), "skills.gostoa.dev".to_owned()];
    context.index.write(|index| index.put_policy(&policy));
    assert!(is_awaited(), "what the policy asks for is not known yet");
    let first = server.expect("list customresourcedefinitions").await;
    first.page(&[tools.clone(), crd_json("other.example.com", "object")], "next");
    server.expect("list customresourcedefinitions continue=next").await.list(&[crd_json(ROLLOUT_CRD, "object")]);
    observed.expect("customresourcedefinitions synced true").await;
    assert!(!is_awaited());
    assert_eq!(
        (*presence.borrow(), crds(&context)),
        (Presence::Present, vec!["tools.gostoa.dev object established".to_owned()])
    );

    // Whoever follows the namespace is told of changes, and of nothing else.
    let mut revisions = context.index.read(|index| index.revisions("stoa")).unwrap();
    let watch = server.expect("watch customresourcedefinitions").await.watch();
    for (kind, object, changes, shown) in [
        ("MODIFIED", tools.clone(), false, "tools.gostoa.dev object established"),
        ("MODIFIED", crd_json("other.example.com", "string"), false, "tools.gostoa.dev object established"),
        ("MODIFIED", crd_json("tools.gostoa.dev", "string"), true, "tools.gostoa.dev string established"),
        ("MODIFIED", leaving(&tools), true, "tools.gostoa.dev object not established"),
        ("MODIFIED", without_status(&tools), false, "tools.gostoa.dev object not established"),
        ("DELETED", tools.clone(), true, ""),
    ] {
        watch.send(kind, &object);
        observed.expect("customresourcedefinitions event").await;
        assert_eq!(crds(&context).join(", "), shown);
        assert_eq!(revisions.has_changed().unwrap(), changes, "{kind} {object}");
        revisions.borrow_and_update();
    }
}

fn leaving(crd: &Value) -> Value {
    let mut crd = crd.clone();
    crd["metadata"]["deletionTimestamp"] = json!("2026-07-17T12:00:00Z");
    crd
}

fn without_status(crd: &Value) -> Value {
    let mut crd = crd.clone();
    crd["status"] = json!({});
    crd
}

#[tokio::test(start_paused = true)]
async fn rollouts_come_and_go_with_their_crd() {
    const ROLLOUTS: Source = Source::Workloads(WorkloadKind::Rollout);
    let (context, mut server, mut observed) = start();
    let (rollouts, presence) = tokio::sync::watch::channel(Presence::Unknown);
    tokio::spawn(Driver { context: context.clone(), sink: Crds { rollouts, digest } }.run());
    tokio::spawn(follow_rollouts(context.clone(), presence));
    let is_awaited = || context.index.read(|index| index.unsynced().any(|source| source == ROLLOUTS));

    observed.expect("rollouts synced false").await;
    assert!(is_awaited());
    server.expect("list customresourcedefinitions of rollouts.argoproj.io").await.list(&[]);
    observed.expect("customresourcedefinitions synced true").await;
    observed.expect("rollouts synced true").await;
    assert!(!is_awaited(), "what the cluster does not have is not waited for");

    let crds = server.expect("watch customresourcedefinitions of rollouts.argoproj.io").await.watch();
    let crd = crd_json("rollouts.argoproj.io", "string");
    crds.send("ADDED", &crd);
    observed.expect("customresourcedefinitions event").await;
    let list = server.expect("list rollouts").await;
    assert!(is_awaited());
    let mut rollout = api("canary", "2.2.0");
    rollout["kind"] = json!("Rollout");
    rollout["apiVersion"] = json!("argoproj.io/v1alpha1");
    rollout["status"]["observedGeneration"] = json!("1");
    list.list(&[rollout]);
    observed.expect("rollouts synced true").await;
    assert!(!is_awaited());
    assert_eq!(view(&context)[0], "api: rollout/canary wants 2.2.0 runs 2.2.0 x2");
    let rollouts = server.expect("watch rollouts").await.watch();

    // A change of the CRD is no reason to list anew; its deletion ends the watch.
    crds.send("MODIFIED", &crd);
    observed.expect("customresourcedefinitions event").await;
    assert!(!rollouts.0.is_closed());
    crds.send("DELETED", &crd);
    observed.expect("customresourcedefinitions event").await;
    observed.expect("rollouts synced true").await;
    assert!(!is_awaited());
    assert_eq!(view(&context), ["api: completed 2.2.0"]);
}

/// An empty index and the future that fills it.
fn start_all(
    observer: Arc<dyn WatchObserver>,
) -> (SharedIndex, CancellationToken, Server, impl Future<Output = Result<(), WatchError>>) {
    let (service, handle) = tower_test::mock::pair();
    let (index, shutdown) = (SharedIndex::new(), CancellationToken::new());
    let running = run(Client::new(service, "default"), index.clone(), observer, shutdown.clone(), digest);
    (index, shutdown, Server(handle), running)
}

#[tokio::test(start_paused = true)]
async fn all_kinds_are_watched_policies_first_until_shutdown() {
    let (sender, _observed) = mpsc::unbounded_channel();
    let (index, shutdown, mut server, running) = start_all(Arc::new(Observer(sender)));
    let running = tokio::spawn(running);

    let mut first = vec![server.asked().await, server.asked().await];
    first.sort_by(|a, b| a.what.cmp(&b.what));
    let what: Vec<&str> = first.iter().map(|asked| asked.what.as_str()).collect();
    assert_eq!(what, ["list platformreleases", "list upgradepolicies"]);
    let more = timeout(PATIENCE / 60, server.asked()).await;
    assert!(more.is_err(), "nothing else is listed before the policies say what is needed");
    first.pop().unwrap().list(&[policy_json("stoa", &["stoa"], &[("api", API)])]);
    for asked in first {
        asked.list(&[]);
    }

    let mut watches = Vec::new();
    let mut kinds = vec!["platformreleases", "upgradepolicies"];
    while watches.len() < 11 {
        let asked = server.asked().await;
        match asked.what.split_once(' ').unwrap() {
            ("watch", _) => watches.push(asked.watch()),
            ("list", "deployments") => {
                kinds.push("deployments");
                asked.list(&[api("api", "2.2.0")]);
            }
            (_, other) => {
                let other = other.split(' ').next().unwrap();
                kinds.push(super::kinds().find(|kind| *kind == other).expect("a known kind"));
                asked.list(&[]);
            }
        }
    }
    // Without the CRD no Rollouts are listed, and nothing waits for them.
    kinds.sort_unstable();
    let mut expected: Vec<&str> = super::kinds().filter(|kind| *kind != "rollouts").collect();
    expected.sort_unstable();
    assert_eq!(kinds, expected);
    let settled = timeout(PATIENCE, index.settled_snapshot("stoa")).await.expect("a synced index").unwrap();
    assert_eq!(shown(&settled)[0], runs("api", "2.2.0"));

    shutdown.cancel();
    assert!(timeout(PATIENCE, running).await.expect("an end").unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_all_watches_and_is_told() {
    struct Clumsy;
    impl WatchObserver for Clumsy {
        fn synced(&self, kind: &'static str, synced: bool) {
            assert!(!synced, "{kind} synced");
        }
        fn event(&self, _: &'static str) {}
        fn invalid(&self, _: &'static str, _: &str, _: &str) {}
        fn error(&self, _: &'static str, _: &str) {}
        fn recovered(&self, _: &'static str) {}
    }
    let (_index, _shutdown, mut server, running) = start_all(Arc::new(Clumsy));
    let running = tokio::spawn(running);
    let mut asked = server.asked().await;
    while asked.what != "list platformreleases" {
        asked = server.asked().await;
    }
    asked.list(&[]);
    let ended = timeout(PATIENCE, running).await.expect("an end").unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "the watch of platformreleases panicked");
}
