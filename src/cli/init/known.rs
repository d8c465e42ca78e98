//! What is known by its image or container name to be no versioned part of a platform.

/// Why an image is no component by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What it is, as people say it.
    pub(super) what: &'static str,
    /// Whether it stands beside others in a pod and is never a component, so that nothing is offered for it.
    pub(super) is_sidecar: bool,
}

/// Sidecars by the last part of the image, or by its last parts.
const SIDECARS: [(&str, &[&str]); 6] = [
    (
        "the proxy of a service mesh",
        &[
            "istio/proxyv2",
            "proxyv2",
            "linkerd/proxy",
            "linkerd/proxy-init",
            "consul-dataplane",
            "daprd",
            "envoy",
            "envoy-distroless",
            "kuma-dp",
            "kuma-init",
        ],
    ),
    ("a proxy that checks who asks", &["oauth2-proxy", "kube-rbac-proxy", "authelia"]),
    ("a proxy to a database", &["cloud-sql-proxy", "cloudsql-docker/gce-proxy", "gce-proxy", "cloudsql-proxy"]),
    (
        "a collector of logs or traces",
        &[
            "fluent-bit",
            "fluentd",
            "filebeat",
            "vector",
            "promtail",
            "opentelemetry-collector",
            "opentelemetry-collector-contrib",
            "jaeger-agent",
            "aws-xray-daemon",
            "datadog/agent",
            "alloy",
        ],
    ),
    (
        "a helper that fetches or reloads files",
        &["git-sync", "k8s-sidecar", "configmap-reload", "prometheus-config-reloader", "vault-k8s", "reloader"],
    ),
    ("the guard itself", &["upgrade-guard"]),
];

/// Names that only containers of sidecars have, whatever registry their image was mirrored to.
const SIDECAR_CONTAINERS: [&str; 11] = [
    "istio-proxy",
    "istio-init",
    "istio-validation",
    "linkerd-proxy",
    "linkerd-init",
    "consul-dataplane",
    "daprd",
    "vault-agent",
    "vault-agent-init",
    "cloud-sql-proxy",
    "kube-rbac-proxy",
];

/// Infrastructure by the last part of the image: it may be a component, but seldom is.
const INFRASTRUCTURE: [(&str, &[&str]); 7] = [
    (
        "a database",
        &[
            "postgres",
            "postgresql",
            "postgis",
            "spilo",
            "timescaledb",
            "pgvector",
            "mysql",
            "mysql-server",
            "mariadb",
            "mariadb-galera",
            "mongo",
            "mongodb",
            "cassandra",
            "scylla",
            "clickhouse",
            "clickhouse-server",
            "cockroach",
            "influxdb",
            "neo4j",
            "couchdb",
        ],
    ),
    ("a pooler of database connections", &["pgbouncer", "pgpool", "odyssey", "proxysql"]),
    ("a cache", &["redis", "redis-cluster", "redis-sentinel", "valkey", "keydb", "memcached", "dragonfly"]),
    (
        "a broker",
        &[
            "rabbitmq",
            "kafka",
            "cp-kafka",
            "zookeeper",
            "nats",
            "nats-streaming",
            "activemq",
            "pulsar",
            "redpanda",
            "mosquitto",
        ],
    ),
    ("a store", &["etcd", "minio", "elasticsearch", "opensearch", "vault", "consul"]),
    (
        "a web server or proxy",
        &["nginx", "nginx-unprivileged", "httpd", "haproxy", "traefik", "caddy", "varnish", "squid", "controller"],
    ),
    (
        "a tool",
        &[
            "busybox",
            "alpine",
            "debian",
            "ubuntu",
            "curl",
            "bash",
            "kubectl",
            "pause",
            "mailhog",
            "mailpit",
            "adminer",
            "pgadmin4",
            "prometheus",
            "alertmanager",
            "grafana",
            "kibana",
            "loki",
            "tempo",
            "jaeger",
            "all-in-one",
        ],
    ),
];

/// What `path`, an image's path without registry, is known to be, or the containers that run it, by their names.
pub(super) fn known<'a>(path: &str, containers: impl IntoIterator<Item = &'a str>) -> Option<Known> {
    let is = |name: &&&str| path == **name || path.strip_suffix(**name).is_some_and(|before| before.ends_with('/'));
    let among = |table: &'static [(&'static str, &'static [&'static str])]| {
        table.iter().find(|(_, names)| names.iter().any(|name| is(&name))).map(|(what, _)| *what)
    };
    let mut containers = containers.into_iter().peekable();
    let only_sidecars = containers.peek().is_some() && containers.all(|name| SIDECAR_CONTAINERS.contains(&name));
    let sidecar =
        among(&SIDECARS).or_else(|| only_sidecars.then_some("a container that something else puts into pods"));
    let exporter = (path.ends_with("-exporter") || path.ends_with("_exporter")).then_some("an exporter of metrics");
    if let Some(what) = sidecar.or(exporter) {
        return Some(Known { what, is_sidecar: true });
    }
    // The controller of ingress-nginx is one; most images of that name are someone's own.
    let own_controller = path.ends_with("controller") && !path.ends_with("ingress-nginx/controller");
    among(&INFRASTRUCTURE).filter(|_| !own_controller).map(|what| Known { what, is_sidecar: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_last_parts() {
        for (path, containers, expected) in [
            ("istio/proxyv2", &["istio-proxy"][..], Some("the proxy of a service mesh")),
            ("mirror/copy-of-mesh", &["istio-proxy"], Some("a container that something else puts into pods")),
            ("mirror/copy-of-mesh", &["istio-proxy", "web"], None),
            ("prometheuscommunity/postgres-exporter", &["metrics"], Some("an exporter of metrics")),
            ("oliver006/redis_exporter", &["metrics"], Some("an exporter of metrics")),
            ("bitnami/postgresql", &["db"], Some("a database")),
            ("redis", &["redis"], Some("a cache")),
            ("ingress-nginx/controller", &["controller"], Some("a web server or proxy")),
            ("shop/controller", &["controller"], None),
            ("shop/my-redis", &["redis"], None),
            ("keycloak/keycloak", &["keycloak"], None),
            ("stoa-platform/stoa-gateway", &["stoa-sidecar"], None),
            ("linkerd/proxy", &["linkerd-proxy"], Some("the proxy of a service mesh")),
            ("shop/proxy", &["proxy"], None),
        ] {
            assert_eq!(
                known(path, containers.iter().copied()).map(|known| known.what),
                expected,
                "{path} {containers:?}"
            );
        }
    }
}
