//! Any bytes get a clear answer: never a panic, never an admission of what could not be read.

use serde_json::{Value, json};

use super::objects::{Workload, image};
use super::review::{Review, UID, post};
use super::world::World;

fn gateway() -> Workload {
    Workload::deployment("stoa-gateway", &image("stoa-gateway", "2.2.0"))
}

/// An update that is refused whatever waits: three lines at once.
pub fn illegal() -> Review {
    Review::image(&gateway(), &image("stoa-gateway", "2.5.0"))
}

async fn send(body: impl Into<Vec<u8>>) -> (u16, Vec<u8>) {
    let (admission, _) = World::settled("2.2.0").guard();
    post(admission, "/validate?timeout=5s", body.into()).await
}

#[tokio::test]
async fn what_has_no_uid_is_a_bad_request() {
    let valid = illegal().bytes();
    let without = |pointer: &str, key: &str| {
        let mut review = illegal().0;
        review.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        review.to_string().into_bytes()
    };
    let with = |pointer: &str, value: Value| {
        let mut review = illegal().0;
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string().into_bytes()
    };
    let response = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "response": {"uid": UID, "allowed": true},
    });
    for (what, body) in [
        ("nothing", vec![]),
        ("no JSON", b"hello".to_vec()),
        ("no text", vec![0xff, 0xfe, 0x00]),
        ("half a review", valid[..valid.len() / 2].to_vec()),
        ("a review and more", [valid.as_slice(), b"}"].concat()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a number", b"1e400".to_vec()),
        ("an object", b"{}".to_vec()),
        ("an older version", with("/apiVersion", json!("admission.k8s.io/v1beta1"))),
        ("another version", with("/apiVersion", json!("v1"))),
        ("no version", without("", "apiVersion")),
        ("no request", without("", "request")),
        ("a request of null", with("/request", Value::Null)),
        ("a response", response.to_string().into_bytes()),
        ("no uid", without("/request", "uid")),
        ("an empty uid", with("/request/uid", json!(""))),
        ("a uid that is a number", with("/request/uid", json!(7))),
        ("deep nesting", [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat()),
        ("deep nesting without an end", b"{\"a\":".repeat(500_000)),
    ] {
        let (status, answer) = send(body).await;
        let text = String::from_utf8(answer).unwrap();
        assert_eq!(status, 400, "{what}: {text}");
        assert!(text.starts_with("the body is no admission.k8s.io/v1 AdmissionReview"), "{what}: {text}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let review =
        illegal().set("/object/metadata", json!({"name": "stoa-gateway", "annotations": {"a": "x".repeat(9 << 20)}}));
    assert_eq!(send(review.bytes()).await.0, 413);
    // What etcd can hold, twice, is read.
    let note = "x".repeat(3 << 19);
    let old = gateway().set("/metadata/annotations/note", note.clone());
    let large = Review::image(&old, &image("stoa-gateway", "2.5.0"));
    let reply = World::settled("2.2.0").ask(&large).await;
    assert!(reply.message().starts_with("[UG-HOP]"), "{}", reply.text());
}

#[tokio::test]
async fn other_methods_and_paths_are_not_answered() {
    use tower::ServiceExt as _;
    for (method, path, status) in [("GET", "/validate", 405), ("POST", "/", 404), ("POST", "/validate/x", 404)] {
        let (admission, _) = World::settled("2.2.0").guard();
        let request = axum::http::Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(admission.router().oneshot(request).await.unwrap().status().as_u16(), status, "{method} {path}");
    }
}

/// A review that can be answered but whose request cannot be read is refused with its uid.
#[tokio::test]
async fn what_has_a_uid_and_cannot_be_read_is_refused() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let containers = "/object/spec/template/spec/containers";
    for (what, pointer, value) in [
        ("an object that is a text", "/object", json!("Deployment")),
        ("an object that is a list", "/object", json!([])),
        ("no object", "/object", Value::Null),
        ("no old object", "/oldObject", Value::Null),
        ("metadata that is a text", "/object/metadata", json!("stoa-gateway")),
        ("a name that is a number", "/object/metadata/name", json!(5)),
        ("a spec that is a text", "/object/spec", json!("2.5.0")),
        ("a spec that is a list", "/object/spec", json!([1])),
        ("a template that is a list", "/object/spec/template", json!([{}, {}])),
        ("a pod spec that is a list", "/object/spec/template/spec", json!([[]])),
        ("a container that is a list", containers, json!([["stoa-gateway", "stoa-gateway:2.2.0"]])),
        ("an old spec that is a list", "/oldObject/spec", json!([])),
        ("a template that is a number", "/object/spec/template", json!(3)),
        ("containers that are an object", containers, json!({"name": "stoa-gateway"})),
        ("a container that is a text", containers, json!(["stoa-gateway:2.5.0"])),
        ("an image that is a list", "/object/spec/template/spec/containers/0/image", json!(["2.5.0"])),
        ("replicas that are a text", "/object/spec/replicas", json!("2")),
        ("replicas that are no count", "/object/spec/replicas", json!(9_999_999_999_i64)),
        ("replicas beyond all numbers", "/object/spec/replicas", json!(1.0e300)),
        ("a pause that is a number", "/object/spec/paused", json!(0)),
        ("labels that are numbers", "/object/spec/template/metadata/labels", json!({"a": 1})),
        ("an old spec that is a text", "/oldObject/spec", json!("2.2.0")),
        ("an old status that is a text", "/oldObject/status", json!("fine")),
        ("an operation that does not exist", "/operation", json!("PATCH")),
        ("a dry run that is a text", "/dryRun", json!("no")),
        ("a kind of null", "/kind", Value::Null),
        ("a resource that is a text", "/resource", json!("deployments")),
        ("a user that is a list", "/userInfo", json!([])),
        ("deep nesting", "/object/spec/template/spec/volumes", deep),
    ] {
        let mut review = illegal().0;
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match review["request"].pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            other => other[key] = value,
        }
        let reply = World::settled("2.2.0").ask(&Review(review)).await;
        assert!(!reply.allowed(), "{what}: {}", reply.text());
        assert_eq!(reply.uid(), UID, "{what}");
        assert!(reply.message().len() < 400, "{what}: {}", reply.message());
    }
}

#[tokio::test]
async fn what_is_odd_but_readable_is_judged() {
    for (what, pointer, value) in [
        ("negative replicas", "/object/spec/replicas", json!(-5)),
        ("replicas of null", "/object/spec/replicas", Value::Null),
        ("a status of null", "/oldObject/status", Value::Null),
        ("labels of null", "/object/metadata/labels", Value::Null),
        ("pod labels of null", "/object/spec/template/metadata/labels", Value::Null),
        ("pod metadata of null", "/object/spec/template/metadata", Value::Null),
        ("init containers of null", "/object/spec/template/spec/initContainers", Value::Null),
        ("options of null", "/options", Value::Null),
        ("a subresource of null", "/subResource", Value::Null),
        ("a user of nothing", "/userInfo", json!({})),
        ("an unknown field", "/later", json!({"a": [1, {}]})),
    ] {
        let reply = World::settled("2.2.0").ask(&illegal().set(pointer, value)).await;
        assert!(
            reply.message().starts_with("[UG-HOP] stoa-gateway 2.2.0 -> 2.5.0 is 3 lines at once"),
            "{what}: {}",
            reply.text()
        );
    }
}
