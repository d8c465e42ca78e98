use super::*;

/// `id down...`, with `!` before an id whose file speaks of the version's column.
fn graph(lines: &[&str]) -> Graph {
    let all = lines.iter().map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next().unwrap();
        let id = name.trim_start_matches('!').to_owned();
        Migration {
            down: words.collect(),
            file: Some(format!("versions/{id}.py").into()),
            digest: Some(format!("sha256:{id}")),
            version_column: name.starts_with('!'),
            id,
            ..Migration::default()
        }
    });
    Graph::new(all.collect()).unwrap()
}

const LINE: [&str; 5] = ["a", "b a", "c b", "d c", "e d"];
const DIAMOND: [&str; 6] = ["a", "b a", "c a", "d c", "m b d", "n m"];
const FORK: [&str; 4] = ["a", "b a", "c a", "d c"];

fn of(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

fn at(words: &str) -> Revision {
    match of(words).as_slice() {
        [] => Revision::Base,
        [one] if one == "empty" => Revision::Empty,
        [one] if one == "untracked" => Revision::Untracked,
        [one] => Revision::One(one.clone()),
        several => Revision::Several(several.to_vec()),
    }
}

/// `x` is held, `x?` asks `may`, which refuses.
fn specs(words: &str) -> Vec<RevisionSpec> {
    let spec = |word: String| match word.strip_suffix('?') {
        Some(asked) => RevisionSpec { revision: asked.to_owned(), ..RevisionSpec::default() },
        None => RevisionSpec { revision: word, hold: Some("not signed off".to_owned()), ..RevisionSpec::default() },
    };
    of(words).into_iter().map(spec).collect()
}

fn planned(lines: &[&str], from: &str, wanted: Option<&str>, held: &str) -> Result<Plan, PlanError> {
    let may = |spec: &RevisionSpec| Err(format!("api pods of 1.0 run, and {} needs 1.1", spec.revision));
    plan(&graph(lines), &at(from), wanted, &specs(held), &may)
}

#[test]
fn the_way_ends_at_the_head_or_at_what_stops_it() {
    for (lines, from, wanted, held, steps, to, stops) in [
        (&LINE as &[&str], "empty", None, "", "a b c d e", "e", ""),
        (&LINE, "", None, "", "a b c d e", "e", ""),
        (&LINE, "c", None, "", "d e", "e", ""),
        (&LINE, "e", None, "", "", "e", ""),
        (&LINE, "b", Some("c"), "", "c", "c", ""),
        (&LINE, "c", Some("c"), "", "", "c", ""),
        // Held, or not yet allowed. What was run is past.
        (&LINE, "b", None, "d", "c", "c", "d"),
        (&LINE, "b", None, "d?", "c", "c", "d"),
        (&LINE, "b", None, "d e?", "c", "c", "d"),
        (&LINE, "c", None, "d", "", "c", "d"),
        (&LINE, "d", None, "d a?", "e", "e", ""),
        (&LINE, "empty", None, "a", "", "", "a"),
        (&LINE, "b", Some("c"), "d", "c", "c", ""),
        (&DIAMOND, "empty", None, "", "a b c d m n", "n", ""),
        (&DIAMOND, "b", None, "", "c d m n", "n", ""),
        (&DIAMOND, "a", None, "c", "b", "b", "c"),
        (&DIAMOND, "a", None, "b c", "", "a", "b c"),
        (&DIAMOND, "m", None, "n", "", "m", "n"),
        // What a run left that was stopped between two branches.
        (&DIAMOND, "b c", None, "", "d m n", "n", ""),
        (&DIAMOND, "b d", Some("m"), "", "m", "m", ""),
        // A target needs no head of its own.
        (&FORK, "a", Some("d"), "", "c d", "d", ""),
    ] {
        let name = format!("{lines:?}: {from} to {wanted:?}, held {held}");
        let plan = planned(lines, from, wanted, held).unwrap_or_else(|error| panic!("{name}: {error}"));
        let stopped: Vec<&str> = plan.stops.iter().map(|stop| stop.revision.as_str()).collect();
        assert_eq!(
            (plan.steps.join(" "), plan.to.join(" "), stopped.join(" ")),
            (steps.to_owned(), to.to_owned(), stops.to_owned()),
            "{name}"
        );
        assert_eq!(plan.from, at(from).heads(), "{name}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_with_what_to_do() {
    let told = [
        (&LINE as &[&str], "untracked", None, ""),
        (&[], "empty", None, ""),
        (&LINE, "z", None, ""),
        (&LINE, "a", Some("y"), ""),
        (&FORK, "a", None, ""),
        (&FORK, "b d", None, ""),
        (&FORK, "b d", Some("d"), ""),
        (&DIAMOND, "b c", Some("d"), ""),
        (&LINE, "d", Some("b"), ""),
        (&FORK, "b", Some("d"), ""),
        (&LINE, "b", Some("d"), "d"),
        (&LINE, "b", Some("e"), "d"),
        (&LINE, "b", Some("e"), "d?"),
        (&DIAMOND, "a", None, "m"),
        (&DIAMOND, "b", None, "d m?"),
        (&DIAMOND, "b c", None, "d?"),
    ]
    .map(|(lines, from, wanted, held)| {
        format!("at '{from}', wanted {wanted:?}, held '{held}'\n  {}", planned(lines, from, wanted, held).unwrap_err())
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_the_policy_says_of_a_revision_that_is_not_there_is_told() {
    let plan = planned(&LINE, "b", None, "y d z?").unwrap();
    assert_eq!((plan.steps, plan.unknown), (vec!["c".to_owned()], vec!["y".to_owned(), "z".to_owned()]));
}

#[test]
fn what_is_ahead_is_told_apart_from_another_line() {
    let ahead =
        |lines: &[&str], current, wanted| super::ahead(&graph(lines), current, wanted).map(|ahead| ahead.join(" "));
    for (lines, current, wanted, expected) in [
        (&LINE as &[&str], "d", "b", Some("c d")),
        (&LINE, "d", "d", Some("")),
        (&LINE, "b", "d", None),
        (&DIAMOND, "n", "b", Some("c d m n")),
        (&FORK, "b", "c", None),
        (&LINE, "z", "b", None),
        (&LINE, "d", "z", None),
        (&LINE, "z", "z", None),
    ] {
        assert_eq!(ahead(lines, current, wanted).as_deref(), expected, "{current} {wanted}");
    }
}

#[test]
fn only_what_would_run_is_asked_about() {
    let asked = std::cell::RefCell::new(vec![]);
    let may = |spec: &RevisionSpec| {
        asked.borrow_mut().push(spec.revision.clone());
        if spec.revision == "c" { Err("no".to_owned()) } else { Ok(()) }
    };
    let plan = plan(&graph(&LINE), &at("a"), None, &specs("a? b? c? d? e"), &may).unwrap();
    assert_eq!((plan.steps, asked.into_inner()), (of("b"), of("b c")));
}

#[test]
fn the_digest_is_that_of_the_steps_and_their_files() {
    let digest = |lines: &[&str], from, wanted| planned(lines, from, wanted, "").unwrap().digest;
    let plain = digest(&LINE, "b", None);
    assert_eq!(plain, sha256(b"c sha256:c\nd sha256:d\ne sha256:e\n"));
    assert_ne!(plain, digest(&LINE, "c", None));
    assert_ne!(plain, digest(&LINE, "b", Some("d")));
    let mut all: Vec<Migration> = graph(&LINE).migrations().cloned().collect();
    all[3].digest = None;
    let other = plan(&Graph::new(all).unwrap(), &at("b"), None, &[], &|_| Ok(())).unwrap();
    assert_ne!(plain, other.digest);
}

#[test]
fn ids_have_to_fit_the_column() {
    let long = "b".repeat(32) + "é";
    let (after, after_wide) = (format!("{long} a"), format!("{long} w"));
    for (lines, from, column, fit) in [
        (&["a", &after] as &[&str], "empty", Some(32), false),
        (&["a", &after], "empty", Some(33), true),
        (&["a", &after], "empty", None, true),
        (&["a", &after], &long, Some(32), true),
        // The step that widens it, and what comes behind it.
        (&["a", "!w a", &after_wide], "empty", Some(32), true),
        (&["a", "!w a", &after_wide], "w", Some(32), false),
        (&["a", &format!("!{after}")], "empty", Some(32), true),
    ] {
        let graph = graph(lines);
        let plan = plan(&graph, &at(from), None, &[], &|_| Ok(())).unwrap();
        assert_eq!(fits(&graph, &plan, column).is_ok(), fit, "{lines:?} {from} {column:?}");
    }
    let graph = graph(&["a", &after]);
    let plan = plan(&graph, &at("a"), None, &[], &|_| Ok(())).unwrap();
    insta::assert_snapshot!(fits(&graph, &plan, Some(COLUMN)).unwrap_err().to_string());
}
