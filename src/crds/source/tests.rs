use std::path::Path;

use super::*;

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ants.example.com, creationTimestamp: null}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Ant, plural: ants}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object}}}}
status: {acceptedNames: {kind: '', plural: ''}, conditions: [], storedVersions: []}
";

async fn loaded(files: &[(&str, &str)]) -> Result<Vec<Wanted>, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let source = CrdSource::Files(Source::Path(folder.path().to_owned()));
    let plain = |text: String| text.replace(&folder.path().display().to_string(), "crds");
    match load(&[source], None, "default").await {
        Ok(wanted) => Ok(wanted.into_iter().map(|found| Wanted { origin: plain(found.origin), ..found }).collect()),
        Err(error) => Err(plain(error.to_string())),
    }
}

#[test]
fn sources_are_read_as_they_are_written() {
    let files = |path: &str| CrdSource::Files(Source::Path(Path::new(path).to_owned()));
    let map = |namespace: Option<&str>, name: &str| CrdSource::ConfigMap {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    let cases = [
        ("crds/", files("crds/")),
        ("-", CrdSource::Files(Source::Stdin)),
        ("./configmap:x", files("./configmap:x")),
        ("configmap:stoa-crds", map(None, "stoa-crds")),
        ("configmap:stoa/stoa-crds", map(Some("stoa"), "stoa-crds")),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for text in ["configmap:", "configmap:/x", "configmap:x/", "configmap:a/b/c"] {
        let error = text.parse::<CrdSource>().unwrap_err();
        assert_eq!(error, format!("{text} names no ConfigMap: write configmap:NAME or configmap:NAMESPACE/NAME"));
    }
}

#[tokio::test]
async fn what_is_no_crd_is_left_out() {
    let files = [
        ("a.yaml", CRD),
        ("service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x}"),
        ("values.yaml", "replicas: 1"),
    ];
    let wanted = loaded(&files).await.unwrap();
    assert_eq!(wanted.len(), 1);
    assert_eq!((wanted[0].name(), wanted[0].origin.as_str()), ("ants.example.com", "crds/a.yaml: document 1 (line 2)"));
    assert!(wanted[0].definition.status.is_none());
    assert_eq!(loaded(&files[1..]).await.unwrap_err(), "crds holds no CustomResourceDefinition");
}

#[tokio::test]
async fn the_same_crd_twice_is_one_and_another_one_is_a_fault() {
    let wanted = loaded(&[("a.yaml", CRD), ("b.yaml", CRD)]).await.unwrap();
    assert_eq!(wanted.len(), 1);
    let other = CRD.replace("Namespaced", "Cluster");
    insta::assert_snapshot!(loaded(&[("a.yaml", CRD), ("b.yaml", &other)]).await.unwrap_err());
}

#[tokio::test]
async fn faults_are_all_told() {
    let old = CRD.replace("apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1");
    let typing = CRD.replace("served: true", "served: yes-please");
    let unknown = CRD.replace("type: object, properties", "type: object, propertys: {a: 1}, properties");
    let nameless = CRD.replace("name: ants.example.com,", "");
    let broken = "a: [";
    let files = [
        ("1.yaml", old.as_str()),
        ("2.yaml", &typing),
        ("3.yaml", &unknown),
        ("4.yaml", &nameless),
        ("5.yaml", broken),
    ];
    insta::assert_snapshot!(loaded(&files).await.unwrap_err());
}
