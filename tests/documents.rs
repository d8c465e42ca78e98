//! README and docs say nothing that is not so: links lead somewhere, commands can be read, examples of policies are valid.
//!
//! Nothing here asks the network: links out of the repository are held against a list, `documents/external-links.txt`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "documents/commands.rs"]
mod commands;
#[path = "documents/examples.rs"]
mod examples;
#[path = "documents/links.rs"]
mod links;
#[path = "documents/markdown.rs"]
mod markdown;

use markdown::Page;

/// All pages that people read.
fn pages() -> Vec<Page> {
    let found = markdown::pages();
    assert!(found.len() > 8, "only {} pages were found", found.len());
    found
}

fn nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} places are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    let (found, wrong) = links::check(&pages());
    nothing_wrong(&wrong);
    assert!(found > 40, "only {found} links were found");
}

#[test]
fn external_links_are_on_the_list() {
    let list = include_str!("documents/external-links.txt");
    nothing_wrong(&links::check_external(&pages(), list));
}

#[test]
fn commands_can_be_read() {
    let (found, wrong) = commands::check(&pages());
    nothing_wrong(&wrong);
    assert!(found > 60, "only {found} commands were found");
}

#[test]
fn examples_of_policies_are_valid() {
    let (found, wrong) = examples::check(&pages());
    nothing_wrong(&wrong);
    assert!(found > 5, "only {found} examples of policies were found");
}

/// A check that finds nothing in a broken page would find nothing ever.
#[test]
fn a_broken_page_is_noticed() {
    let broken = |text: &str| {
        let page = [Page::parse("docs/page.md", text)];
        let mut wrong = links::check(&page).1;
        wrong.extend(
            links::check_external(&page, "https://kubernetes.io/\n")
                .into_iter()
                .filter(|said| !said.contains("no page")),
        );
        wrong.extend(commands::check(&page).1);
        wrong.extend(examples::check(&page).1);
        wrong
    };
    let fence = |language: &str, code: &str| format!("# Title\n\n```{language}\n{code}\n```\n");
    for (text, said) in [
        ("[x](nowhere.md)".to_owned(), "nowhere.md does not exist"),
        ("[x](rules.md#ug-nothing)".to_owned(), "rules.md has no heading #ug-nothing"),
        ("# A title\n\n[x](#another)".to_owned(), "has no heading #another"),
        ("[x](http://kubernetes.io/)".to_owned(), "http://kubernetes.io/ is not https"),
        ("see http://kubernetes.io/ there".to_owned(), "http://kubernetes.io/ is not https"),
        ("[x](https://kubernetes.io/docs)".to_owned(), "https://kubernetes.io/docs is not on the list"),
        (fence("sh", "upgrade-guard plann --to 2.3.0"), "unrecognized subcommand"),
        (fence("sh", "upgrade-guard check \\\n  --polizy x"), "unexpected argument '--polizy'"),
        (fence("sh", "cat x | upgrade-guard init --file"), "a value is required"),
        ("run `upgrade-guard status --colour`".to_owned(), "unexpected argument '--colour'"),
        ("# T\n\n    upgrade-guard stattus\n".to_owned(), "unrecognized subcommand"),
        (fence("yaml", "image: x/upgrade-guard:1\nargs: [wait, --crdd, x]"), "unexpected argument '--crdd'"),
        (fence("sh", "kubectl apply -f manifests/nothing.yaml"), "manifests/nothing.yaml does not exist"),
        (fence("sh", "kubectl apply -k nothing/"), "nothing/ does not exist"),
        (fence("yaml", "spec:\n  mode: Strict"), "spec.mode"),
        (fence("yaml", "spec:\n  components:\n    - name: a\n      match: {names: [a]}\n      aftr: [b]"), "aftr"),
        (fence("yaml", "spec:\n  maxHop: 0"), "spec.maxHop"),
        (fence("yaml", "metadata:\n  annotations:\n    guard.gostoa.dev/override: \"force\""), "override"),
        (fence("yaml", "a: [b"), "no YAML"),
    ] {
        let wrong = broken(&text);
        assert!(wrong.iter().any(|line| line.contains(said)), "'{said}' is not said of\n{text}\nbut {wrong:?}");
    }
    let right = fence("sh", "upgrade-guard plan --policy manifests/policies/stoa.yaml --from - --to 2.3.0 # why")
        + "[x](#title)";
    assert_eq!(broken(&right), Vec::<String>::new());
}
