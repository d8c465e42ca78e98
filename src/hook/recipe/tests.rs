use std::fmt::Write as _;

use insta::assert_snapshot;
use serde_json::Value;

use super::objects::{deadline, parts, short};
use super::rights::Rights;
use super::{Crds, Engine, Purpose, Recipe, RecipeError, SecretKey, Stage, arguments, render};

/// A policy with every kind of precondition, and two CRDs.
const POLICY: &str = include_str!("../../../tests/fixtures/recipe/shop.yaml");

fn recipe() -> Recipe {
    let crds = Crds::Image { image: "shop/api:2.3.0".to_owned(), path: "/app/crds".to_owned() };
    Recipe {
        policy: serde_saphyr::from_str(POLICY).unwrap(),
        namespace: "shop".to_owned(),
        image: "upgrade-guard:0.1.0".to_owned(),
        release: "shop-2.3".to_owned(),
        crds: Some(crds),
        crd_names: ["carts.shop.example", "tools.shop.example", "users.id.example"].map(str::to_owned).into(),
        database: None,
        migrate_image: None,
    }
}

/// One that migrates, from the image that has the CRDs too.
fn migrating(migrations: &Value) -> Recipe {
    let mut recipe = plain();
    let database = serde_json::json!({"components": ["api"], "migrations": migrations});
    recipe.policy.spec.database = serde_json::from_value(database).unwrap();
    let database = Some(SecretKey { name: "api".to_owned(), key: "url".to_owned() });
    Recipe { database, migrate_image: Some("shop/api:2.3.0".to_owned()), ..recipe }
}

/// Without preconditions and CRDs.
fn plain() -> Recipe {
    let mut recipe = recipe();
    recipe.policy.spec.preconditions.clear();
    Recipe { crds: None, crd_names: [].into(), ..recipe }
}

/// One line for each right: where, what, which and how.
fn rights(recipe: &Recipe, purpose: Purpose) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, grants) in Rights::of(recipe, purpose).0 {
        let place = place.as_deref().unwrap_or("cluster");
        for rule in grants.rules {
            let join = |texts: &Option<Vec<String>>| texts.as_ref().map(|texts| texts.join(",")).unwrap_or_default();
            let names = rule.resource_names.as_ref().map(|names| format!(" {}", names.join(","))).unwrap_or_default();
            let (group, resources) = (join(&rule.api_groups), join(&rule.resources));
            lines.push(format!("{place}: {group}/{resources}{names} {}", rule.verbs.join(",")));
        }
    }
    lines
}

#[test]
fn the_job_before_an_upgrade_with_everything() {
    let files = render(&recipe(), Engine::ArgoCd).unwrap();
    assert_snapshot!(files[0].yaml);
}

#[test]
fn rights_are_what_is_read_and_written_and_nothing_else() {
    assert_snapshot!("rights_with_everything", rights(&recipe(), Purpose::Presync).join("\n"));
    assert_snapshot!("rights_with_nothing", rights(&plain(), Purpose::Presync).join("\n"));
    let verify = rights(&recipe(), Purpose::Verify);
    assert_snapshot!("rights_to_verify", verify.join("\n"));
    assert_eq!(verify, rights(&plain(), Purpose::Verify), "what is asked for before an upgrade gives nothing after it");
}

#[test]
fn no_right_is_wider_than_its_use() {
    for purpose in [Purpose::Presync, Purpose::Verify] {
        for rule in Rights::of(&recipe(), purpose).0.into_values().flat_map(|grants| grants.rules) {
            let all = [&rule.verbs].into_iter().chain(&rule.resources).chain(&rule.api_groups);
            assert!(all.flatten().all(|text| text != "*"), "{rule:?}");
            let dangerous = ["delete", "deletecollection", "update", "escalate", "bind", "impersonate"];
            assert!(rule.verbs.iter().all(|verb| !dangerous.contains(&verb.as_str())), "{rule:?}");
            let patches = rule.verbs.iter().any(|verb| verb == "patch");
            assert!(!patches || rule.resource_names.is_some(), "a patch of anything: {rule:?}");
            let secrets = rule.resources.iter().flatten().any(|resource| resource.starts_with("secrets"));
            assert!(!secrets, "{rule:?}");
        }
    }
}

#[test]
fn crds_that_are_only_named_are_only_read() {
    let recipe = Recipe { crds: None, ..recipe() };
    let lines = rights(&recipe, Purpose::Presync);
    let of_crds: Vec<&String> = lines.iter().filter(|line| line.contains("customresourcedefinitions")).collect();
    let names = "carts.shop.example,tools.shop.example,users.id.example";
    assert_eq!(of_crds, [&format!("cluster: apiextensions.k8s.io/customresourcedefinitions {names} get")]);
    assert!(!lines.iter().any(|line| line.starts_with("cluster: shop.example/")), "{lines:#?}");
}

#[test]
fn crds_in_a_config_map_are_read_by_its_name() {
    let recipe = Recipe { crds: Some(Crds::ConfigMap("shop-crds".to_owned())), ..recipe() };
    assert!(rights(&recipe, Purpose::Presync).contains(&"shop: /configmaps shop-crds get".to_owned()));
    let [presync, _] = arguments(&recipe);
    let told = presync.windows(2).any(|two| two == ["--crds", "configmap:shop-crds"]);
    assert!(told, "{presync:?}");
    let job = parts(&recipe, Purpose::Presync).pop().unwrap().object;
    assert_eq!(job.pointer("/spec/template/spec/initContainers"), None);
}

#[test]
fn the_database_is_told_to_the_job_that_asks_it() {
    let database = Some(SecretKey { name: "api".to_owned(), key: "url".to_owned() });
    let of = |recipe: &Recipe, purpose| parts(recipe, purpose).pop().unwrap();
    let recipe = Recipe { database, ..recipe() };
    let env = |purpose| of(&recipe, purpose).object.pointer("/spec/template/spec/containers/0/env").cloned();
    assert_eq!(env(Purpose::Presync), None);
    let from = serde_json::json!({"secretKeyRef": {"name": "api", "key": "url"}});
    assert_eq!(env(Purpose::Verify), Some(serde_json::json!([{"name": "DATABASE_URL", "valueFrom": from}])));
    assert_eq!(of(&recipe, Purpose::Verify).remarks, [""; 0]);
    assert_eq!(of(&plain(), Purpose::Verify).remarks.len(), 1);
}

#[test]
fn the_job_that_migrates_runs_where_the_migrations_are() {
    let migrations = serde_json::json!({"urlVariable": "SHOP_DB", "shadow": {"urlVariable": "SHADOW_DB"}});
    let yaml = |recipe: &Recipe, file: usize| {
        let yaml = render(recipe, Engine::Helm).unwrap().swap_remove(file).yaml;
        assert!(yaml.lines().all(|line| line.chars().count() <= 120));
        yaml.rsplit("---\n").next().unwrap().to_owned()
    };
    let recipe = migrating(&migrations);
    assert_snapshot!("migrates", yaml(&recipe, 0));
    let env = |recipe: &Recipe, purpose| {
        parts(recipe, purpose).pop().unwrap().object.pointer("/spec/template/spec/containers/0/env/0/name").cloned()
    };
    assert_eq!(env(&recipe, Purpose::Verify), Some("SHOP_DB".into()));
    // Where the migrations are not, nothing is migrated; where something else migrates, the database is looked at.
    let without = Recipe { migrate_image: None, ..migrating(&migrations) };
    assert_eq!(env(&without, Purpose::Presync), None);
    assert!(yaml(&without, 0).contains("# The policy says how the database is migrated, and this Job does not:"));
    let elsewhere = Recipe { migrate_image: None, ..migrating(&Value::Null) };
    assert_eq!(env(&elsewhere, Purpose::Presync), Some("DATABASE_URL".into()));
    let crds = Some(Crds::Image { image: "shop/api:2.3.0".to_owned(), path: "/app/crds".to_owned() });
    let both = Recipe { crds, crd_names: ["tools.shop.example".to_owned()].into(), ..migrating(&migrations) };
    assert!(yaml(&both, 0).contains("--crds"));
}

#[test]
fn migrations_have_the_time_that_the_policy_gives_them() {
    for (migrations, more) in
        [(serde_json::json!({}), 5 + 15), (serde_json::json!({"lockWait": "90s", "statementTimeout": "1h"}), 2 + 60)]
    {
        let recipe = migrating(&migrations);
        assert_eq!(deadline(&recipe, Purpose::Presync), 15 + more + 1);
        assert_eq!(deadline(&recipe, Purpose::Verify), 10 + 1);
        assert_eq!(deadline(&Recipe { migrate_image: None, ..recipe }, Purpose::Presync), 15 + 1);
    }
}

#[test]
fn a_job_that_migrates_reads_its_own_pod() {
    let [before, with] = [plain(), migrating(&serde_json::json!({}))].map(|recipe| rights(&recipe, Purpose::Presync));
    let added: Vec<&String> = with.iter().filter(|line| !before.contains(line)).collect();
    assert_eq!(added, ["shop: /pods get,list"]);
}

/// The objects in a file, without comments.
fn objects(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

#[test]
fn engines_differ_in_annotations_alone() {
    let plain = |engine| -> Vec<Vec<Value>> {
        let files = render(&recipe(), engine).unwrap();
        let of_jobs = files.iter().take(2).map(|file| {
            let mut objects = objects(&file.yaml);
            for object in &mut objects {
                object["metadata"].as_object_mut().unwrap().remove("annotations");
            }
            objects
        });
        of_jobs.collect()
    };
    let argo = plain(Engine::ArgoCd);
    assert_eq!(argo, plain(Engine::Flux));
    assert_eq!(argo, plain(Engine::Helm));
    let kinds: Vec<&str> = argo[0].iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"ServiceAccount"), Some(&"Job")));
    assert!(!kinds.contains(&"CustomResourceDefinition"));
}

#[test]
fn annotations_are_of_one_engine() {
    let mut told = String::new();
    for engine in [Engine::ArgoCd, Engine::Flux, Engine::Helm] {
        for file in render(&plain(), engine).unwrap() {
            assert!(!file.yaml.contains("{{"), "a chart would take it for a template");
            assert!(file.yaml.lines().all(|line| line.chars().count() <= 120), "{}", file.path);
            for object in objects(&file.yaml) {
                let annotations = object["metadata"].get("annotations").cloned().unwrap_or_default();
                writeln!(told, "{engine:?} {} {}: {annotations}", file.path, object["kind"].as_str().unwrap()).unwrap();
            }
        }
    }
    assert_snapshot!(told);
}

#[test]
fn what_stands_above_the_objects() {
    let mut told = String::new();
    for engine in [Engine::ArgoCd, Engine::Flux, Engine::Helm] {
        for file in render(&recipe(), engine).unwrap() {
            let head = file.yaml.split("---\n").next().unwrap();
            writeln!(told, "{engine:?} {}\n{head}", file.path).unwrap();
        }
    }
    assert_snapshot!(told);
}

#[test]
fn kustomizations_follow_each_other() {
    let files = render(&recipe(), Engine::Flux).unwrap();
    let yaml = &files.last().unwrap().yaml;
    assert_snapshot!(yaml);
    assert!(objects(yaml).iter().all(|object| object["spec"].get("force").is_none()));
}

#[test]
fn a_job_that_waits_for_another_has_the_time() {
    // A quarter of an hour, what the policy gives the Job that may be started, and a minute more than the program has.
    assert_eq!(deadline(&plain(), Purpose::Presync), 15 + 1);
    assert_eq!(deadline(&recipe(), Purpose::Presync), 15 + 20 + 1);
    assert_eq!(deadline(&recipe(), Purpose::Verify), 10 + 1);
    let [presync, verify] = arguments(&recipe());
    assert!(presync.ends_with(&["--timeout".to_owned(), "35m".to_owned()]), "{presync:?}");
    assert!(verify.ends_with(&["--wait".to_owned(), "--timeout".to_owned(), "10m".to_owned()]), "{verify:?}");
    let mut unstated = recipe();
    unstated
        .policy
        .spec
        .preconditions
        .iter_mut()
        .filter_map(|one| one.cron_job.as_mut())
        .for_each(|job| job.timeout = None);
    assert_eq!(deadline(&unstated, Purpose::Presync), 15 + 30 + 1);
}

#[test]
fn names_are_those_of_the_policy_and_never_too_long() {
    assert_eq!(short("upgrade-guard-presync-shop.eu"), "upgrade-guard-presync-shop-eu");
    let [one, other] = ["a", "b"].map(|end| short(&format!("upgrade-guard-presync-{}{end}", "long.".repeat(40))));
    assert!(one.len() <= 63 && one != other, "{one} {other}");
    let names = |recipe: &Recipe| -> Vec<(Stage, String)> {
        let parts = parts(recipe, Purpose::Presync).into_iter();
        parts.map(|part| (part.stage, part.object["metadata"]["name"].as_str().unwrap().to_owned())).collect()
    };
    let next = Recipe { release: "shop-2.4".to_owned(), image: "upgrade-guard:0.2.0".to_owned(), ..recipe() };
    assert_eq!(names(&recipe()), names(&next), "the next release replaces this one's");
}

#[test]
fn what_cannot_be_made_says_why() {
    let mut nameless = recipe();
    nameless.policy.metadata.name = None;
    assert_eq!(render(&nameless, Engine::Helm), Err(RecipeError::Nameless));
    let unnamed = Recipe { crd_names: [].into(), ..recipe() };
    assert_snapshot!(render(&unnamed, Engine::Helm).unwrap_err());
    let plain_migrations = serde_json::json!({});
    let elsewhere = migrating(&Value::Null);
    let unaddressed = Recipe { database: None, ..migrating(&plain_migrations) };
    let crds = Some(Crds::Image { image: "shop/crds:2.3.0".to_owned(), path: "/crds".to_owned() });
    let two = Recipe { crds, crd_names: recipe().crd_names, ..migrating(&plain_migrations) };
    let told = [elsewhere, unaddressed, two].map(|recipe| render(&recipe, Engine::Helm).unwrap_err().to_string());
    assert_snapshot!("what_cannot_migrate", told.join("\n"));
}
