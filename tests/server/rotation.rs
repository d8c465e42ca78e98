use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use upgrade_guard::server::devcert::DevelopmentCertificate;

use crate::support::{
    Client, Running, SecretVolume, certificate, eventually, http2, leaf_of, options, read, request, within,
};

const ERRORS: &str = "upgrade_guard_certificate_reload_errors_total";

/// Clients that ask without pause until told to stop; gives how many answers they got. One failure fails the test.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client, server: &Running) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let address = server.https;
        let clients = (0..4)
            .map(|index| {
                let (client, stop, answers) = (client.clone(), Arc::clone(&stop), Arc::clone(&answers));
                tokio::spawn(async move {
                    // The first keeps one connection open through all rotations, as an API server does.
                    let mut kept = match index {
                        0 => {
                            let stream = client.connect(address).await.expect("a handshake");
                            Some(http2(stream).await.expect("HTTP/2"))
                        }
                        _ => None,
                    };
                    while !stop.load(Ordering::Relaxed) {
                        let answer = match &mut kept {
                            Some(sender) => {
                                let response = sender.send_request(request("/")).await.expect("an answer");
                                read(response).await.expect("whole").1
                            }
                            None => client.get(address, "/").await.expect("an answer"),
                        };
                        assert_eq!(answer, "here");
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { stop, answers, clients }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            within("the client stops", client).await.expect("no request failed");
        }
    }
}

async fn presents(server: &Running, client: &Client, wanted: &DevelopmentCertificate) -> bool {
    client.leaf(server.https).await.expect("a handshake") == leaf_of(wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_rotations_under_load_fail_no_request() {
    let versions: Vec<_> = (0..6).map(|_| certificate()).collect();
    let mut volume = SecretVolume::with(&versions[0]);
    let server = Running::start(options(volume.path())).await;
    let client = Client::trusting(&versions);
    let load = Load::start(&client, &server);
    for (round, next) in versions.iter().enumerate().skip(1) {
        let before = load.answers();
        volume.publish(&next.chain, &next.key);
        eventually(&format!("rotation {round}"), async || presents(&server, &client, next).await).await;
        eventually("the load goes on", async || load.answers() >= before + 10).await;
    }
    load.stop().await;
    assert_eq!(server.metric(ERRORS), 0, "no half of a pair was ever taken for trouble");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_the_old_certificate_kept() {
    let (old, new) = (certificate(), certificate());
    let mut volume = SecretVolume::with(&old);
    let server = Running::start(options(volume.path())).await;
    let client = Client::trusting(&[old.clone(), new.clone()]);
    let half = &new.chain[..new.chain.len() / 3];
    let cases = [
        ("the key of another certificate", new.chain.as_str(), old.key.as_str()),
        ("half a chain", half, new.key.as_str()),
        ("text", "not a certificate", new.key.as_str()),
        ("a key that is none", new.chain.as_str(), "not a key"),
        ("an empty chain", "", new.key.as_str()),
    ];
    for (name, chain, key) in cases {
        let before = server.metric(ERRORS);
        volume.publish(chain, key);
        eventually(name, async || server.metric(ERRORS) >= before + 2).await;
        assert!(presents(&server, &client, &old).await, "{name}: the old one is kept");
        assert!(server.readiness.is_ready(), "{name}: it still serves");
    }
    volume.publish(&new.chain, &new.key);
    eventually("the right pair", async || presents(&server, &client, &new).await).await;
}

#[tokio::test]
async fn the_expiry_follows_the_certificate_in_use() {
    let name = "upgrade_guard_certificate_not_after_timestamp_seconds";
    let names = ["localhost".to_owned()];
    let (short, long) = (certificate(), DevelopmentCertificate::make(&names, 30).expect("a certificate"));
    let mut volume = SecretVolume::with(&short);
    let server = Running::start(options(volume.path())).await;
    eventually("the expiry is known", async || server.metric(name) > 0).await;
    let before = server.metric(name);
    volume.publish(&long.chain, &long.key);
    let moved = 28 * 86_400..30 * 86_400;
    eventually("the expiry moves", async || moved.contains(&(server.metric(name) - before))).await;
}
