//! CRDs that are wanted by a `ConfigMap`.

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;
use upgrade_guard::crds::apply::CrdError;
use upgrade_guard::crds::source::{CrdSource, Wanted, load};

use crate::scene::{self, Group};

#[tokio::test]
async fn a_config_map_holds_crds_in_its_keys() -> Result<()> {
    let Some(cluster) = scene::cluster().await? else { return Ok(()) };
    let group = Group::new(cluster, "maps").await?;
    let namespace = cluster.namespace("maps").await?;
    let text = |kind: &str| {
        let wanted = group.crd(kind, &[("v1", json!({"type": "object"}))]);
        let mut definition = serde_json::to_value(&wanted.definition).unwrap();
        definition["apiVersion"] = "apiextensions.k8s.io/v1".into();
        definition["kind"] = "CustomResourceDefinition".into();
        definition.to_string()
    };
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "crds"},
        "data": {"a.json": text("Ant"), "values.yaml": "replicas: 1", "notes.txt": "{{"},
    }))?;
    let bytes = k8s_openapi::ByteString(text("Bee").into_bytes());
    let map = ConfigMap { binary_data: Some([("b.yaml".to_owned(), bytes)].into()), ..map };
    let api: Api<ConfigMap> = namespace.api();
    api.create(&<_>::default(), &map).await?;

    let with_namespace = format!("configmap:{}/crds", namespace.name);
    for (source, default) in [("configmap:crds", namespace.name.as_str()), (&with_namespace, "elsewhere")] {
        let source: CrdSource = source.parse().map_err(anyhow::Error::msg)?;
        let wanted = load(std::slice::from_ref(&source), Some(&group.client), default).await?;
        let found: Vec<(&str, String)> = wanted
            .iter()
            .map(|wanted: &Wanted| (wanted.name(), wanted.origin.replace(&namespace.name, "NAMESPACE")))
            .collect();
        let (ants, bees) = (format!("ants.{}", group.name), format!("bees.{}", group.name));
        let expected = [
            (ants.as_str(), "ConfigMap NAMESPACE/crds, key a.json: document 1".to_owned()),
            (bees.as_str(), "ConfigMap NAMESPACE/crds, key b.yaml: document 1".to_owned()),
        ];
        let without_line = |origin: &String| origin.split(" (line").next().unwrap().to_owned();
        let found: Vec<(&str, String)> = found.iter().map(|(name, origin)| (*name, without_line(origin))).collect();
        assert_eq!(found, expected);
        let offline = load(&[source], None, default).await.unwrap_err();
        assert!(matches!(&offline, CrdError::Input(_)), "{offline:?}");
    }
    let none: CrdSource = "configmap:none".parse().map_err(anyhow::Error::msg)?;
    let missing = load(&[none], Some(&group.client), &namespace.name).await.unwrap_err();
    insta::assert_snapshot!(missing.to_string().replace(&namespace.name, "NAMESPACE"));
    Ok(())
}
