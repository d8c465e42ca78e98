use super::*;

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

const SOUND: &str = "loading settings
Rev: d (head) (mergepoint)
Merges: b, c
Also depends on: lab, x
Branches into: e
Branch names: main, lab
Path: /app/versions/d.py

    d's title

    Rev: no

Rev: a (branchpoint)
Parent: <base>
Path: versions/a b.py


";

#[test]
fn what_alembic_says_is_read() {
    let read = told(&lines(SOUND)).unwrap();
    let of = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let d = Migration {
        id: "d".to_owned(),
        down: of(&["b", "c"]),
        depends_on: of(&["lab", "x"]),
        title: "d's title".to_owned(),
        file: Some("/app/versions/d.py".into()),
        ..Migration::default()
    };
    let a = Migration { id: "a".to_owned(), file: Some("versions/a b.py".into()), ..Migration::default() };
    assert_eq!(read, [Told { migration: d, head: true }, Told { migration: a, head: false }]);
    assert_eq!(told(&[]), Ok(vec![]));
    assert_eq!(told(&lines("\n\n")), Ok(vec![]));
}

#[test]
fn what_is_not_understood_is_no_graph() {
    let told = [
        "usage: alembic [-h]",
        "Rev: a b\nParent: <base>\nPath: a.py\n\n",
        "Rev: \nParent: <base>\nPath: a.py\n\n",
        "Rev: a",
        "Rev: a\nPath: a.py\n\n",
        "Rev: a\nParent: <base>\n\n    a\n",
        "Rev: a\nParent: <base>\nPath: a.py",
        "Rev: a\nParent: <base>\nSomething: new\nPath: a.py\n\n",
        "Rev: a\nParent: <base>\nPath: a.py\n\n    a\n\nINFO done",
    ]
    .map(|text| format!("{text:?}\n  {}", told(&lines(text)).unwrap_err()));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_revision_that_was_lost_is_noticed() {
    let read = |text: &str| {
        let told = told(&lines(text)).unwrap();
        let graph = Graph::new(told.iter().map(|told| told.migration.clone()).collect()).unwrap();
        lost(&told, &graph)
    };
    let entry = |rev: &str, down: &str| format!("Rev: {rev}\nParent: {down}\nPath: x.py\n\n    x\n\n");
    assert_eq!(read(&format!("{}{}", entry("b (head)", "a"), entry("a", "<base>"))), None);
    assert_eq!(read(&entry("a", "<base>")).as_deref(), Some("revision a is no head, and nothing comes after it"));
    let odd = read(&format!("{}{}", entry("b (head)", "a"), entry("a (head)", "<base>")));
    assert_eq!(odd.as_deref(), Some("revision a is a head, and another comes after it"));
}

#[test]
fn the_files_are_found_where_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("db")).unwrap();
    std::fs::write(
        folder.path().join("alembic.ini"),
        "[alembic]\n# script_location = no\nscript_location = migrations\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("db/own.ini"), "[alembic]\nscript_location=%(here)s/scripts\n").unwrap();
    for (command, expected) in [
        ("alembic", Some("migrations/versions")),
        ("alembic -c db/own.ini", Some("db/scripts/versions")),
        ("alembic --config=db/own.ini", Some("db/scripts/versions")),
        ("alembic -c none.ini", None),
        ("alembic -c", None),
    ] {
        let command = command.split(' ').map(str::to_owned).collect();
        let directory = Some(folder.path().to_owned());
        let migrator = Migrator { command, directory, url_variable: "DATABASE_URL".to_owned(), keeper: None };
        assert_eq!(versions(&migrator), expected.map(|expected| folder.path().join(expected)));
    }
}
