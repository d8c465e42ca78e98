use proptest::prelude::*;

use super::*;

/// `id down... [+ dependency...] [= label...]`
fn migration(line: &str) -> Migration {
    let mut migration = Migration::default();
    let mut field = &mut migration.down;
    for (index, word) in line.split(' ').enumerate() {
        match word {
            _ if index == 0 => {
                migration.id = word.to_owned();
                migration.file = Some(format!("versions/{word}.py").into());
            }
            "+" => field = &mut migration.depends_on,
            "=" => field = &mut migration.labels,
            _ => field.push(word.to_owned()),
        }
    }
    migration
}

fn graph(lines: &[&str]) -> Result<Graph, GraphError> {
    Graph::new(lines.iter().map(|line| migration(line)).collect())
}

fn ids(ids: &str) -> Vec<String> {
    ids.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn what_makes_no_graph_is_told_with_its_files() {
    let told = [
        &["a", "b a", "b a"] as &[&str],
        &["a = x", "b = x"],
        &["a", "b a = a"],
        &["b a", "c b"],
        &["a", "b a + zz"],
        &["a b", "b a"],
        &["a", "b a d", "c b", "d c", "e d"],
        &["a", "b a + c", "c b"],
        &["a a"],
    ]
    .map(|lines| format!("{}\n  {}", lines.join("; "), graph(lines).unwrap_err()));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn the_way_goes_through_all_that_is_needed() {
    let branches = ["a", "b1 a", "b2 b1", "c1 a = left", "c2 c1", "m b2 c2", "x", "y x + left"];
    for (lines, from, to, expected) in [
        (&["a", "b a", "c b"] as &[&str], "", "c", "a b c"),
        (&["a", "b a", "c b"], "a", "c", "b c"),
        (&["a", "b a", "c b"], "c", "a", ""),
        (&["a", "b a", "c b"], "c", "c", ""),
        // Branches stay together.
        (&branches, "", "m", "a b1 b2 c1 c2 m"),
        (&branches, "b1", "m", "b2 c1 c2 m"),
        (&branches, "b2 c1", "m", "c2 m"),
        // What a label stands for.
        (&branches, "", "y", "x a c1 y"),
        (&branches, "b2", "m y", "c1 c2 m x y"),
        (&branches, "nowhere", "c1 nowhere", "a c1"),
    ] {
        let graph = graph(lines).unwrap();
        let way: Vec<&str> = graph.between(&ids(from), &ids(to)).iter().map(|step| step.id.as_str()).collect();
        assert_eq!(way.join(" "), expected, "{from} -> {to}");
    }
    let graph = graph(&branches).unwrap();
    assert_eq!(graph.heads(), ids("m y"));
    assert_eq!(graph.noted(&graph.ancestors(&ids("b2 y"))), ids("b2 y"));
    assert_eq!(graph.get("y").unwrap().depends_on, ids("c1"));
}

#[test]
fn a_long_chain_needs_no_stack() {
    let name = |index: usize| format!("r{index:06}");
    let all = (0..100_000).map(|index| Migration {
        id: name(index),
        down: index.checked_sub(1).map(name).into_iter().collect(),
        ..Migration::default()
    });
    let graph = Graph::new(all.collect()).unwrap();
    assert_eq!(graph.between(&[name(9)], &graph.heads()).len(), 99_990);
}

/// Random graphs: of each revision, which of those before it come before it, and which it depends on. `shuffle` gives the
/// ids another order than that of time.
fn any_graph() -> impl Strategy<Value = Vec<Migration>> {
    let parents =
        prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<bool>()), 1..14);
    (parents, any::<u64>()).prop_map(|(parents, shuffle)| {
        let name = |index: usize| format!("{:02x}-{index}", (shuffle >> (index % 8 * 8)) & 0xff);
        let made = parents.iter().enumerate().map(|(index, (picks, depends))| {
            let mut picked: Vec<String> =
                if index == 0 { vec![] } else { picks.iter().map(|pick| name(pick.index(index))).collect() };
            picked.dedup();
            let depends_on = if *depends { picked.pop().into_iter().collect() } else { vec![] };
            Migration { id: name(index), down: picked, depends_on, ..Migration::default() }
        });
        made.collect()
    })
}

/// Which revisions come before which, by going on until nothing is added.
fn closure(all: &[Migration]) -> BTreeSet<(String, String)> {
    let mut known: BTreeSet<(String, String)> =
        all.iter().map(|migration| (migration.id.clone(), migration.id.clone())).collect();
    loop {
        let more: BTreeSet<(String, String)> = all
            .iter()
            .flat_map(|migration| migration.parents().map(|parent| (migration.id.clone(), parent.to_owned())))
            .flat_map(|(id, parent)| {
                known
                    .iter()
                    .filter(|(later, _)| *later == parent)
                    .map(|(_, before)| (id.clone(), before.clone()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let count = known.len();
        known.extend(more);
        if known.len() == count {
            return known;
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_definition(
        all in any_graph(),
        from in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        to in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
    ) {
        let graph = Graph::new(all.clone()).unwrap();
        let closure = closure(&all);
        let pick = |picks: &[prop::sample::Index]| -> Vec<String> { picks.iter().map(|pick| pick.get(&all).id.clone()).collect() };
        let (from, to) = (pick(&from), pick(&to));
        let before = |ids: &[String]| -> BTreeSet<&str> {
            closure.iter().filter(|(later, _)| ids.contains(later)).map(|(_, before)| before.as_str()).collect()
        };
        prop_assert_eq!(graph.ancestors(&to), before(&to));
        let heads: Vec<String> = all
            .iter()
            .map(|migration| migration.id.clone())
            .filter(|id| !closure.iter().any(|(later, before)| before == id && later != id))
            .collect::<BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(graph.heads(), heads);

        let mut there = before(&from);
        let wanted: BTreeSet<&str> = before(&to).difference(&there).copied().collect();
        let way = graph.between(&from, &to);
        prop_assert_eq!(way.iter().map(|step| step.id.as_str()).collect::<BTreeSet<_>>(), wanted);
        for step in way {
            prop_assert!(step.parents().all(|parent| there.contains(parent)), "{} too early", step.id);
            prop_assert!(there.insert(&step.id), "{} twice", step.id);
        }
        let noted = graph.noted(&there);
        prop_assert_eq!(graph.ancestors(&noted), there);
    }

    /// A way back anywhere is a cycle, and it is told as one that really is there.
    #[test]
    fn a_way_back_is_found(all in any_graph(), later in any::<prop::sample::Index>()) {
        let mut all = all;
        let later = later.get(&all).id.clone();
        let before: Vec<String> = closure(&all).into_iter().filter(|(id, _)| *id == later).map(|(_, before)| before).collect();
        let first = all.iter_mut().find(|migration| before.contains(&migration.id)).unwrap();
        first.depends_on.push(later);
        let graph: BTreeMap<String, Migration> = all.iter().map(|migration| (migration.id.clone(), migration.clone())).collect();
        let Err(GraphError::Cycle { migrations }) = Graph::new(all) else { panic!("no cycle") };
        prop_assert!(migrations.len() > 1 && migrations.first() == migrations.last());
        for pair in migrations.windows(2) {
            prop_assert!(graph[&pair[0]].parents().any(|parent| parent == pair[1]), "{:?}", migrations);
        }
    }
}

mod of_files {
    use super::super::files::read;
    use super::*;

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    /// What is read of one file, next to `a` and `b`, or why not.
    fn one(text: &str) -> Result<Migration, String> {
        let folder = folder(&[
            ("a.py", "revision = 'a'\ndown_revision = None\n"),
            ("b.py", "revision = 'b'\ndown_revision = None\nbranch_labels = 'other'\n"),
            ("x.py", text),
        ]);
        let place = folder.path().display().to_string();
        let graph = read(folder.path()).map_err(|error| error.to_string().replace(&place, "versions"))?;
        let x = graph.migrations().find(|migration| migration.file.as_ref().unwrap().ends_with("x.py"));
        x.cloned().ok_or_else(|| "no revision".to_owned())
    }

    #[test]
    fn values_are_read_however_they_are_written() {
        for (down, expected) in [
            ("= None", ""),
            ("= ()", ""),
            ("= (None)", ""),
            ("= 'a'", "a"),
            ("=\"a\"", "a"),
            ("= '''a'''", "a"),
            ("= r'a'", "a"),
            ("= u'a'", "a"),
            ("= ('a')", "a"),
            ("= ('a',)", "a"),
            ("= 'a', 'b'", "a b"),
            ("= ('a', 'b')", "a b"),
            ("= [\"a\", \"b\",]", "a b"),
            ("= {'a', 'b'}", "a b"),
            ("= (\n    'a',  # the 'left' one\n    \"b\",\n)", "a b"),
            ("= (\n    'a'\n)", "a"),
            ("= \\\n    'a'", "a"),
            ("= ('a' # whole\n '')", "a"),
            (": str | None = 'a'", "a"),
            (": Union[str, Sequence[str], None] = ('a', 'b')", "a b"),
            (": 'Union[str, None]' = 'a'", "a"),
            (": dict[str, str] | tuple[str, ...] = 'a'", "a"),
            ("= 'a'; down_revision = 'b'", "b"),
            ("= 'a'\ndown_revision = 'b'", "b"),
            ("= 'a'\r", "a"),
            ("= 'b'\ndown_revision: str\n", "b"),
            // Neither comments nor strings nor what is inside of functions.
            ("= 'a'\n# down_revision = 'b'\n'''\ndown_revision = 'b'\n'''", "a"),
            ("= 'a'\ndef f(revision='z'):\n    down_revision = 'b'\n    global depends_on", "a"),
            ("= 'a'\n@f\nclass T:\n  revision = 'b'\n", "a"),
            ("= 'a'\nx = dict(revision='b', down_revision=1)\nx.revision = revision\nif revision == 'q': pass", "a"),
            ("= 'a'\nfrom revision import revision as other", "a"),
            ("= 'a'\nx = f\"{x[\"a\"]} {{ {y!r:>{z}} {d:%H'}\" + f'{q:\"}'", "a"),
        ] {
            let read = one(&format!("revision = 'x'\ndown_revision {down}\n"));
            assert_eq!(read.map(|read| read.down.join(" ")).as_deref(), Ok(expected), "{down}");
        }
    }

    #[test]
    fn what_is_not_written_out_is_told_with_its_line() {
        let told = [
            "revision = f'x'\ndown_revision = None",
            "revision = 'x'\ndown_revision = make('a')",
            "revision = 'x'\ndown_revision = PARENT",
            "revision = 'x'\ndown_revision = 'a' + 'b'",
            "revision = 'x'\ndown_revision = ('a', None)",
            "revision = 'x'\ndown_revision = 'a' if y else None",
            "revision = 'x'\ndown_revision = 'a\\x62'",
            "revision = 'x'\ndown_revision = b'a'",
            "revision = 'x'\ndown_revision = ['a' for y in z]",
            "revision = 'x'\ndown_revision = {'a': 'b'}",
            "revision = ('x', 'y')\ndown_revision = None",
            "revision = None\ndown_revision = None",
            "\n\nrevision = other = 'x'\ndown_revision = None",
            "other = revision = 'x'\ndown_revision = None",
            "revision, down_revision = 'x', 'a'",
            "from .ids import (\n  revision,\n)\ndown_revision = None",
            "revision = 'x'\ndown_revision = None\nif y:\n    down_revision = 'a'",
            "revision = 'x'\ndown_revision = None\nif y: down_revision = 'a'",
            "revision = 'x'\ndown_revision = 'a'\ndepends_on += 'b'",
            "revision = 'x'\ndown_revision = 'a'\ndel depends_on",
            "revision = 'x'",
            "down_revision = 'a'",
            "revision = 'x+y'\ndown_revision = 'a'",
            "revision = ''\ndown_revision = 'a'",
            "revision = 'x'\ndown_revision = ('a',\n",
            "revision = 'x'\n\ndown_revision = 'a",
            "revision = 'x'\ndown_revision = 'a')",
            "revision = 'x'\ndown_revision = '''a\n\n",
            "revision = 'x'\ndown_revision = f'{a",
        ]
        .map(|text| format!("{text:?}\n  {}", one(text).unwrap_err()));
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_a_file_does_is_read_from_its_code() {
        let with = |body: &str| {
            one(&format!("'''Adds a thing.'''\nrevision = 'x'\ndown_revision = 'a'\ndef upgrade():\n{body}\n")).unwrap()
        };
        for (body, autocommit, version_column) in [
            ("  with op.get_context().autocommit_block():\n    pass", true, false),
            ("  op.create_index('i', 't', ['c'], postgresql_concurrently=True)", true, false),
            ("  op.execute(\"\"\"\n  commit ;\n\"\"\")", true, false),
            ("  c = op.get_bind().execution_options(isolation_level='AUTOCOMMIT')", true, false),
            ("  # with autocommit_block():\n  '''autocommit_block() and version_num'''\n  pass", false, false),
            ("  op.execute('SELECT 1 -- autocommit_block')", false, false),
            ("  op.execute('ALTER TABLE alembic_version ALTER version_num TYPE text')", false, true),
            ("  op.alter_column('alembic_version', 'version_num', type_=sa.Text())", false, true),
            ("  # version_num is wide enough", false, false),
        ] {
            let read = with(body);
            assert_eq!((read.autocommit, read.version_column), (autocommit, version_column), "{body}");
        }
        let changed = (with("  pass").digest, with("  pass ").digest);
        assert!(changed.0.as_ref().is_some_and(|digest| digest.len() == 71) && changed.0 != changed.1, "{changed:?}");
    }

    #[test]
    fn titles_labels_and_dependencies_are_read() {
        for (text, title) in [
            ("'''Adds a thing.\n\nRevision ID: x\n'''", "Adds a thing."),
            ("# about\n\n\"\"\"\n   Über 100 %\n\"\"\"", "Über 100 %"),
            ("r'a\\nb'", "a\\nb"),
            ("'it\\'s \\\na \"\\\\\" \\d'", "it's a \"\\\" \\d"),
            ("import os\n'''no title'''", ""),
            ("", ""),
        ] {
            let read = one(&format!(
                "\u{feff}{text}\nrevision = 'x'\ndown_revision = 'a'\nbranch_labels = ['l', \"m\"]\ndepends_on = 'other'\n"
            ));
            let read = read.unwrap();
            assert_eq!((read.title.as_str(), read.labels, read.depends_on), (title, ids("l m"), ids("b")), "{text}");
        }
    }

    #[test]
    fn only_revision_files_are_read() {
        let a = "revision = 'a'\ndown_revision = None\n";
        let folder = folder(&[
            ("a.py", a),
            ("deeper/still/b.py", "revision = 'b'\ndown_revision = 'a'\n"),
            ("helper.py", "def revision():\n    pass\n"),
            ("__init__.py", a),
            ("__pycache__/a.py", a),
            (".#a.py", a),
            ("a.py.orig", a),
            ("readme.md", a),
            ("..2026_01_01/a.py", a),
        ]);
        std::os::unix::fs::symlink("..2026_01_01", folder.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("deeper", folder.path().join("linked")).unwrap();
        assert_eq!(read(folder.path()).unwrap().heads(), ["b"]);
        // As Kubernetes mounts a ConfigMap: the files are links.
        std::fs::remove_file(folder.path().join("a.py")).unwrap();
        std::os::unix::fs::symlink("..data/a.py", folder.path().join("a.py")).unwrap();
        assert_eq!(read(folder.path()).unwrap().migrations().count(), 2);
    }

    #[test]
    fn a_folder_without_revisions_is_an_error() {
        let folder = folder(&[("env.py", "import os\n"), ("empty/x.txt", "")]);
        let place = folder.path().display().to_string();
        let told = ["", "empty", "nowhere"].map(|name| {
            let error = read(&folder.path().join(name)).unwrap_err().to_string();
            error.replace(&place, "versions").replace("versions/:", "versions:")
        });
        insta::assert_snapshot!(told.join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Whatever is in a file, reading it ends, and not by a panic.
        #[test]
        fn any_text_is_read_or_refused(text in "([a-z\"'\\\\\n#={}()\\[\\]:;,. f@é]|revision|down_revision|\"\"\"|f'|f\"){0,40}") {
            let _ = one(&text);
        }
    }
}
