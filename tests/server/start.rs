use std::fs;

use tokio::net::TcpListener;
use upgrade_guard::server::{Server, ServerError, ServerOptions, metrics::Metrics, readiness::Readiness};

use crate::support::{Client, Running, SecretVolume, certificate, eventually, options};

async fn refused(options: ServerOptions) -> ServerError {
    Server::bind(options, Readiness::new(), Metrics::new()).await.expect_err("must not start")
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_flag_to_change() {
    let volume = SecretVolume::with(&certificate());
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("bound");
    let (mut https, mut ops) = (options(volume.path()), options(volume.path()));
    https.listen = address;
    ops.ops_listen = address;
    for (flag, options) in [("--listen", https), ("--ops-listen", ops)] {
        let text = refused(options).await.to_string();
        let wanted = format!("cannot listen on {address}: Address already in use");
        assert!(text.starts_with(&wanted), "{text}");
        assert!(text.ends_with(&format!("choose another address with {flag}")), "{text}");
    }
}

#[tokio::test]
async fn a_bad_folder_or_a_wrong_pair_fails_at_once() {
    let (one, other) = (certificate(), certificate());
    let mut volume = SecretVolume::empty();
    let missing = volume.path().join("no-such-folder");
    let text = refused(options(&missing)).await.to_string();
    assert!(text.contains(&missing.display().to_string()), "{text}");

    let file = volume.path().join("a-file");
    fs::write(&file, "").expect("written");
    let text = refused(options(&file)).await.to_string();
    assert!(text.contains("a-file"), "{text}");

    volume.publish(&one.chain, &other.key);
    let text = refused(options(volume.path())).await.to_string();
    assert!(text.contains("tls.key is not the key of the first certificate in"), "{text}");
    volume.publish("text", &one.key);
    let text = refused(options(volume.path())).await.to_string();
    assert!(text.contains("tls.crt holds no usable certificate chain"), "{text}");
    volume.publish(&one.chain, "text");
    let text = refused(options(volume.path())).await.to_string();
    assert!(text.contains("tls.key holds no usable private key"), "{text}");
}

async fn is_waited_for(mut volume: SecretVolume) {
    let made = certificate();
    let server = Running::start(options(volume.path())).await;
    let waiting = format!(
        "not ready: certificate loaded: {} is not there yet; it comes with the TLS Secret\n",
        volume.path().join("tls.crt").display()
    );
    let says_why = async || server.ops("/readyz").await == (503, waiting.clone());
    eventually("the gate says why", says_why).await;
    let client = Client::trusting(std::slice::from_ref(&made));
    assert!(client.get(server.https, "/").await.is_err(), "nothing to serve with");
    assert_eq!(server.ops("/livez").await.0, 200);

    volume.publish(&made.chain, &made.key);
    eventually("ready", async || server.ops("/readyz").await.0 == 200).await;
    assert_eq!(client.get(server.https, "/").await.expect("served"), "here");
    let errors = server.metric("upgrade_guard_certificate_reload_errors_total");
    assert_eq!(errors, 0, "waiting is no trouble");
}

#[tokio::test]
async fn a_secret_that_comes_later_is_waited_for() {
    is_waited_for(SecretVolume::empty()).await;
}

#[tokio::test]
async fn a_secret_that_is_filled_later_is_waited_for() {
    let mut volume = SecretVolume::empty();
    volume.publish("", "");
    is_waited_for(volume).await;
}

#[tokio::test]
async fn ready_needs_every_gate() {
    let volume = SecretVolume::with(&certificate());
    let server = Running::start(options(volume.path())).await;
    let listed = server.readiness.gate("deployments listed");
    eventually("the certificate is loaded", async || server.readiness.not_ready().len() == 1).await;
    let (status, text) = server.ops("/readyz").await;
    assert_eq!((status, text.as_str()), (503, "not ready: deployments listed: not done yet\n"));
    listed.open();
    assert_eq!(server.ops("/readyz").await.0, 200);
}
