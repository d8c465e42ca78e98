//! The plain HTTP port for probes and metrics.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{metrics::Metrics, readiness::Readiness};

/// The content type of the Prometheus text format that [`Metrics::render`] writes.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Gives the routes of the operations port: `/livez`, `/readyz` and `/metrics`.
///
/// - `/livez` answers 200 as long as the process answers at all.
/// - `/readyz` answers 200, or 503 with one line for each gate that is closed.
/// - `/metrics` answers the Prometheus text format.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let waiting = readiness.not_ready();
    if waiting.is_empty() {
        return "ready\n".into_response();
    }
    let lines: Vec<_> = waiting.iter().map(|entry| format!("not ready: {entry}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response()
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => {
            let text = format!("cannot render the metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).expect("a valid request");
        let response = router.clone().oneshot(request).await.expect("a router cannot fail");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn readyz_names_what_is_missing() {
        let readiness = Readiness::new();
        let gate = readiness.gate("certificate loaded");
        gate.close("/certs/tls.crt is not there yet");
        let router = router(readiness.clone(), Metrics::new());
        let expected = "not ready: certificate loaded: /certs/tls.crt is not there yet\n";
        assert_eq!(get(&router, "/readyz").await, (503, expected.to_owned()));
        gate.open();
        assert_eq!(get(&router, "/readyz").await, (200, "ready\n".to_owned()));
        readiness.shut_down();
        assert_eq!(get(&router, "/readyz").await.0, 503);
        assert_eq!(get(&router, "/livez").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let router = router(Readiness::new(), Metrics::new());
        let (status, text) = get(&router, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("upgrade_guard_build_info{"), "{text}");
        assert_eq!(get(&router, "/nothing").await.0, 404);
    }
}
