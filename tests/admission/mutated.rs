//! A refused review, damaged in every way: whatever is left of it is never admitted while it still asks for the move.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use upgrade_guard::admission::Admission;

use super::bad_input::illegal;
use super::review::post;
use super::world::World;

fn send(body: Vec<u8>) -> (u16, Vec<u8>) {
    static GUARD: OnceLock<(Runtime, Admission)> = OnceLock::new();
    let (runtime, admission) = GUARD.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        (runtime, World::settled("2.2.0").guard().0)
    });
    runtime.block_on(post(admission.clone(), "/validate?timeout=5s", body))
}

/// Whether a damaged review still asks for the illegal move: where it matters it is what it was.
fn still_asks(review: &Value) -> bool {
    let original = illegal().0;
    let same = |pointer: &str| review.pointer(pointer) == original.pointer(pointer);
    let absent = |pointer: &str| review.pointer(pointer).is_none_or(|value| value.is_null() || value == "");
    ["/request/operation", "/request/resource", "/request/namespace", "/request/oldObject"].iter().all(|at| same(at))
        && same("/request/object/spec/template/spec/containers/0/image")
        && same("/request/object/spec/template/spec/containers/0/name")
        && absent("/request/subResource")
}

#[allow(clippy::unwrap_in_result, reason = "proptest tells its own failures by results")]
fn judge(body: Vec<u8>) -> Result<(), TestCaseError> {
    let review = serde_json::from_slice::<Value>(&body);
    let (status, answer) = send(body);
    if status != 200 {
        prop_assert!((400..500).contains(&status), "status {}", status);
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let allowed = answer["response"]["allowed"].as_bool().unwrap();
    let Ok(review) = review else {
        // Readers differ in how deep they go; what only one of them reads is refused.
        prop_assert!(!allowed, "admitted what is no JSON");
        return Ok(());
    };
    prop_assert_eq!(&answer["response"]["uid"], &review["request"]["uid"]);
    prop_assert!(!(allowed && still_asks(&review)), "admitted {}", review);
    Ok(())
}

/// All values in a document, by pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let mut visit =
        |key: &str, inner| pointers(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| visit(key, inner)),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, inner)| visit(&index.to_string(), inner)),
        _ => {}
    }
}

fn odd_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Value::Null)),
        1 => any::<bool>().prop_map(|value| Some(json!(value))),
        1 => any::<i64>().prop_map(|value| Some(json!(value))),
        1 => any::<f64>().prop_map(|value| Some(json!(value))),
        1 => ".{0,12}".prop_map(|value| Some(json!(value))),
        1 => Just(Some(json!([]))),
        1 => Just(Some(json!({}))),
        1 => Just(Some(json!([{}]))),
        1 => Just(Some(json!("2.2.0"))),
        1 => Just(Some(json!("CREATE"))),
    ]
}

fn damage(review: &mut Value, at: Index, value: Option<Value>) {
    let mut all = Vec::new();
    pointers(review, "", &mut all);
    let pointer = at.get(&all);
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match (review.pointer_mut(parent), value) {
        (Some(Value::Object(map)), Some(value)) => _ = map.insert(key, value),
        (Some(Value::Object(map)), None) => _ = map.remove(&key),
        (Some(Value::Array(list)), Some(value)) => list[key.parse::<usize>().unwrap()] = value,
        (Some(Value::Array(list)), None) => _ = list.remove(key.parse().unwrap()),
        _ => {}
    }
}

#[test]
fn the_undamaged_review_is_refused() {
    assert!(still_asks(&illegal().0));
    let (status, answer) = send(illegal().bytes());
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["response"]["allowed"]), (200, &json!(false)));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_values(damages in prop::collection::vec((any::<Index>(), odd_value()), 1..4)) {
        let mut review = illegal().0;
        for (at, value) in damages {
            damage(&mut review, at, value);
        }
        judge(review.to_string().into_bytes())?;
    }

    #[test]
    fn damaged_bytes(damages in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4)) {
        let mut body = illegal().bytes();
        for (at, byte, how) in damages {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => _ = body.remove(at),
            }
        }
        judge(body)?;
    }

    #[test]
    fn cut_short(at in any::<Index>()) {
        let body = illegal().bytes();
        let end = at.index(body.len());
        prop_assert_eq!(send(body[..end].to_vec()).0, 400);
    }

    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..2048)) {
        judge(body)?;
    }
}
