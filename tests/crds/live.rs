//! Applying CRDs: all or none, with a reason for each refusal.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use kube::ResourceExt as _;
use kube::api::PostParams;
use serde_json::{Value, json};
use upgrade_guard::crds::apply::{Action, CrdError, Options, apply};
use upgrade_guard::crds::check::{Severities, Severity};
use upgrade_guard::crds::content;
use upgrade_guard::crds::source::{CrdSource, Wanted, load};
use upgrade_guard::crds::state;
use upgrade_guard::report::Stage;

use crate::scene::{self, Group, leave_half_done, options, refusals, resource_versions, told};

/// A schema of `spec` with one field of text.
fn one_field(name: &str) -> Value {
    json!({"type": "object", "properties": {name: {"type": "string"}}})
}

/// The fault of a published CRD: both `properties` and `additionalProperties`.
fn not_structural() -> Value {
    let endpoints = json!({
        "type": "object", "properties": {"publicUrl": {"type": "string"}}, "additionalProperties": {"type": "string"},
    });
    json!({"type": "object", "properties": {"endpoints": endpoints}})
}

/// Five CRDs of one schema.
fn five(group: &Group, schema: &Value) -> Vec<Wanted> {
    ["Ant", "Bee", "Cat", "Dog", "Elk"].map(|kind| group.crd(kind, &[("v1", schema.clone())])).into()
}

#[tokio::test]
async fn a_new_crd_is_created_and_can_be_used_at_once() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "created").await?;
    let wanted = five(&group, &one_field("a"));
    let (done, news) = group.apply(&wanted, |_| {}).await;
    let done = done?;
    assert!(done.crds.iter().all(|crd| crd.action == Action::Created), "{done:?}");
    let names: Vec<&str> = done.crds.iter().map(|crd| crd.name.as_str()).collect();
    assert_eq!(names, wanted.iter().map(Wanted::name).collect::<Vec<_>>());
    // No waiting in between: it was served before it was done.
    for kind in ["Ant", "Bee", "Cat", "Dog", "Elk"] {
        group.create(kind, "v1", "one", &json!({"a": "x"})).await?;
    }
    for (wanted, done) in wanted.iter().zip(&done.crds) {
        let installed = group.installed(wanted).await?;
        assert_eq!(content::digest(&installed), done.digest);
        assert_eq!(state::missing(&installed), None);
    }
    assert_eq!(told(&news, Stage::Done), ["5 CRDs are established and served"]);
    assert!(told(&news, Stage::Progress).iter().any(|news| news.starts_with("created ants.")), "{news:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_in_place_costs_one_read_each_and_writes_nothing() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "noop").await?;
    let wanted = five(&group, &one_field("a"));
    group.apply(&wanted, |_| {}).await.0?;
    let before = resource_versions(&group, &wanted).await?;
    let (client, calls) = scene::noting(cluster).await?;
    let mut news = Vec::new();
    let began = std::time::Instant::now();
    let done = apply(&client, &wanted, &options(), &mut news).await?;
    let took = began.elapsed();
    assert!(done.crds.iter().all(|crd| crd.action == Action::Unchanged), "{done:?}");
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(told(&news, Stage::Done)[0].starts_with("5 CRDs are in place, nothing to do: ants."), "{news:?}");
    let mut calls = calls.lock().clone();
    calls.sort();
    let path = "GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let expected: Vec<String> = wanted.iter().map(|wanted| format!("{path}/{}", wanted.name())).collect();
    assert_eq!(calls, expected);
    assert_eq!(resource_versions(&group, &wanted).await?, before);
    println!("5 CRDs in place: {} calls, {took:?}", calls.len());
    Ok(())
}

#[tokio::test]
async fn one_that_is_refused_keeps_all_back() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "refused").await?;
    let before = five(&group, &one_field("a"));
    group.apply(&before, |_| {}).await.0?;
    let versions = resource_versions(&group, &before).await?;
    let mut wanted = five(&group, &one_field("b"));
    // Not the first: what comes before it must not be there either.
    wanted[3] = group.crd("Dog", &[("v1", not_structural())]);
    let (done, news) = group.apply(&wanted, |_| {}).await;
    let refused = refusals(done);
    assert_eq!(refused.len(), 1, "{refused:?}");
    insta::assert_snapshot!(group.plain(&refused[0].to_string()));
    assert_eq!(told(&news, Stage::Refused), [refused[0].to_string()]);
    assert_eq!(resource_versions(&group, &before).await?, versions);
    Ok(())
}

#[tokio::test]
async fn every_refusal_is_told_at_once() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "all").await?;
    let mut wanted = five(&group, &one_field("b"));
    wanted[0] = group.crd("Ant", &[("v1", not_structural())]);
    wanted[4] = group.crd("Elk", &[("v1", json!({"type": "object", "properties": {"a": {"type": "text"}}}))]);
    let (done, _) = group.apply(&wanted, |_| {}).await;
    let error = done.unwrap_err();
    insta::assert_snapshot!(group.plain(&error.to_string()));
    for wanted in &wanted {
        assert!(group.crds().get_opt(wanted.name()).await?.is_none(), "{}", wanted.name());
    }
    Ok(())
}

#[tokio::test]
async fn the_fields_of_another_manager_are_kept_until_they_are_taken_over() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "owned").await?;
    let mut old = group.crd("Ant", &[("v1", one_field("a"))]);
    old.definition.spec.names.short_names = Some(vec!["an".to_owned()]);
    let installed = group.install(&old, "helm").await?;
    // It leaves out the short name, which must go, and has another schema.
    let wanted = [group.crd("Ant", &[("v1", one_field("b"))])];
    let refused = refusals(group.apply(&wanted, |_| {}).await.0);
    assert_eq!(refused.len(), 1);
    insta::assert_snapshot!("conflict", group.plain(&refused[0].to_string()));
    let now = group.installed(&old).await?;
    assert_eq!(now.resource_version(), installed.resource_version());

    let (done, _) = group.apply(&wanted, |options| options.take_over = true).await;
    let done = done?;
    insta::assert_snapshot!("taken_over", group.plain(&done.warnings.join("\n")));
    let now = group.installed(&old).await?;
    assert_eq!(content::digest(&now), done.crds[0].digest, "{:?}", now.spec);
    // From here on it is ours, and no flag is needed.
    let wanted = [group.crd("Ant", &[("v1", one_field("c"))])];
    assert_eq!(group.apply(&wanted, |_| {}).await.0?.crds[0].action, Action::Updated);
    Ok(())
}

#[tokio::test]
async fn a_crd_that_others_made_alike_needs_nothing() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "alike").await?;
    let wanted = [group.crd("Ant", &[("v1", one_field("a"))])];
    let installed = group.install(&wanted[0], "helm").await?;
    let done = group.apply(&wanted, |_| {}).await.0?;
    assert_eq!(done.crds[0].action, Action::Unchanged);
    assert_eq!(group.installed(&wanted[0]).await?.resource_version(), installed.resource_version());
    Ok(())
}

#[tokio::test]
async fn a_stored_version_cannot_be_left_out() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "stored").await?;
    let old = [group.crd("Ant", &[("v1", one_field("a"))])];
    group.apply(&old, |_| {}).await.0?;
    let wanted = [group.crd("Ant", &[("v2", one_field("a"))])];
    let refused = refusals(group.apply(&wanted, |_| {}).await.0);
    insta::assert_snapshot!(group.plain(&refused[0].to_string()));
    Ok(())
}

#[tokio::test]
async fn a_conversion_webhook_has_to_answer() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "convert").await?;
    let versions = |field: &str| [("v1", one_field(field)), ("v2", one_field(field))];
    let by_webhook = |mut wanted: Wanted| {
        // Nobody listens there.
        let conversion = json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/convert"}}});
        wanted.definition.spec.conversion = serde_json::from_value(conversion).unwrap();
        wanted
    };
    let old = [by_webhook(group.crd("Ant", &versions("a")))];
    group.apply(&old, |_| {}).await.0?;
    let mut wanted = group.crd("Ant", &versions("a"));
    wanted.definition.spec.names.short_names = Some(vec!["an".to_owned()]);
    let wanted = [by_webhook(wanted)];
    group.apply(&wanted, |_| {}).await.0?;
    // There was nothing to convert. Now there is, and another change.
    group.objects("Ant", "v2").create(&PostParams::default(), &group.object("Ant", "v2", "one", &json!({}))).await?;
    let refused = refusals(group.apply(&old, |_| {}).await.0);
    let checks: Vec<&str> = refused.iter().map(|refusal| refusal.check).collect();
    assert_eq!(checks, ["conversionUnreachable"], "{refused:?}");
    assert!(refused[0].message.starts_with("v1: objects cannot be read: conversion webhook for "), "{refused:?}");
    let off =
        |options: &mut Options| options.severities.0 = [("conversionUnreachable".to_owned(), Severity::Off)].into();
    group.apply(&old, off).await.0?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_change_is_refused_without_the_words_that_engines_fear() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "scope").await?;
    let mut wanted = [group.crd("Ant", &[("v1", one_field("a"))])];
    group.apply(&wanted, |_| {}).await.0?;
    wanted[0].definition.spec.scope = "Namespaced".to_owned();
    let refused = refusals(group.apply(&wanted, |options| options.severities = Severities::default()).await.0);
    let refused = refused.iter().find(|refusal| refusal.check == "apiServer").unwrap();
    insta::assert_snapshot!(group.plain(&refused.to_string()));
    Ok(())
}

#[tokio::test]
async fn a_dry_run_writes_nothing() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "dry").await?;
    let old = [group.crd("Ant", &[("v1", one_field("a"))]), group.crd("Bee", &[("v1", one_field("a"))])];
    group.apply(&old, |_| {}).await.0?;
    let before = resource_versions(&group, &old).await?;
    let wanted = [
        group.crd("Ant", &[("v1", one_field("b"))]),
        group.crd("Bee", &[("v1", one_field("a"))]),
        group.crd("Cat", &[("v1", one_field("a"))]),
    ];
    let (done, news) = group.apply(&wanted, |options| options.dry_run = true).await;
    let actions: Vec<Action> = done?.crds.iter().map(|crd| crd.action).collect();
    assert_eq!(actions, [Action::Updated, Action::Unchanged, Action::Created]);
    insta::assert_snapshot!(group.plain(&told(&news, Stage::WouldDo).join("\n")));
    assert_eq!(told(&news, Stage::Done), [""; 0]);
    assert_eq!(resource_versions(&group, &old).await?, before);
    assert!(group.crds().get_opt(wanted[2].name()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_was_left_half_done_is_finished() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "half").await?;
    let old = five(&group, &one_field("a"));
    group.apply(&old, |_| {}).await.0?;
    let wanted = five(&group, &one_field("b"));
    leave_half_done(&group, &wanted[0]).await?;
    leave_half_done(&group, &wanted[1]).await?;
    let done = group.apply(&wanted, |_| {}).await.0?;
    let unchanged = done.crds.iter().filter(|crd| crd.action == Action::Unchanged).count();
    assert_eq!(unchanged, 2, "{done:?}");
    for (wanted, done) in wanted.iter().zip(&done.crds) {
        assert_eq!(content::digest(&group.installed(wanted).await?), done.digest);
    }
    Ok(())
}

#[tokio::test]
async fn a_name_that_another_crd_has_is_waited_for_and_told() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "names").await?;
    group.apply(&[group.crd("Ant", &[("v1", one_field("a"))])], |_| {}).await.0?;
    let mut wanted = [group.crd("Bee", &[("v1", one_field("a"))])];
    wanted[0].definition.spec.names.kind = "Ant".to_owned();
    let (done, news) = group.apply(&wanted, |options| options.deadline = Duration::from_secs(2)).await;
    let Err(CrdError::Failed(message)) = done else { panic!("it is never established: {done:?}") };
    assert!(told(&news, Stage::Progress).iter().any(|news| news.starts_with("waits for bees.")), "{news:?}");
    insta::assert_snapshot!(group.plain(&message));
    Ok(())
}

#[tokio::test]
async fn a_crd_on_its_way_out_is_left_alone() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "going").await?;
    let mut wanted = [group.crd("Ant", &[("v1", one_field("a"))])];
    wanted[0].definition.metadata.finalizers = Some(vec!["example.com/stays".to_owned()]);
    group.install(&wanted[0], "someone").await?;
    group.crds().delete(wanted[0].name(), &<_>::default()).await?;
    let (done, _) = group.apply(&wanted, |_| {}).await;
    let Err(CrdError::Failed(message)) = done else { panic!("it is being deleted: {done:?}") };
    insta::assert_snapshot!(group.plain(&message));
    Ok(())
}

#[tokio::test]
async fn a_permission_that_is_missing_is_a_failure_with_advice() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "forbidden").await?;
    let mut config = cluster.config().await?;
    config.auth_info.impersonate = Some("nobody".to_owned());
    let client = kube::Client::try_from(config)?;
    let wanted = [group.crd("Ant", &[("v1", one_field("a"))])];
    let failed = apply(&client, &wanted, &options(), &mut Vec::new()).await.unwrap_err();
    let CrdError::Failed(message) = failed else { panic!("no rule was broken: {failed}") };
    insta::assert_snapshot!(group.plain(&message));
    Ok(())
}

/// The public CRDs of the first platform, where they lie beside this repository.
#[tokio::test]
async fn both_generations_of_real_crds() -> Result<()> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/stoa");
    if !shared.is_dir() {
        return Ok(());
    }
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "real").await?;
    let generation = async |name: &str| {
        let source: CrdSource = shared.join(name).display().to_string().parse().map_err(anyhow::Error::msg)?;
        anyhow::Ok(load(&[source], None, "default").await?)
    };
    let (old, new) = (generation("crds-2026-02").await?, generation("crds-2026-07").await?);
    assert_eq!((old.len(), new.len()), (5, 5));
    // As users have them: Helm put them there.
    for wanted in &old {
        group.install(wanted, "helm").await?;
    }
    let refused = refusals(group.apply(&new, |_| {}).await.0);
    assert!(refused.iter().all(|refusal| refusal.check == "conflict"), "{refused:?}");
    let (done, _) = group.apply(&new, |options| options.take_over = true).await;
    let done = done?;
    let actions = done.crds.iter().map(|crd| (crd.name.as_str(), crd.action));
    println!("{:?}\n{:?}", actions.collect::<Vec<_>>(), done.warnings);
    for (wanted, done) in new.iter().zip(&done.crds) {
        assert_eq!(content::digest(&group.installed(wanted).await?), done.digest, "{}", done.name);
    }
    let again = group.apply(&new, |_| {}).await.0?;
    assert!(again.crds.iter().all(|crd| crd.action == Action::Unchanged), "{again:?}");
    Ok(())
}
