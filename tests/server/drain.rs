use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use hyper::client::conn;
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};
use upgrade_guard::server::shutdown::{Ended, Signal, signals};

use crate::support::{
    Client, Error, NEVER, Running, SHORT, SecretVolume, certificate, eventually, http2, options, read, request, within,
};

/// A client with a request in flight at `/wait`, over HTTP/1.1.
async fn in_flight(server: &mut Running, client: &Client) -> JoinHandle<Result<String, Error>> {
    let (client, address) = (client.clone(), server.https);
    let answer = tokio::spawn(async move { client.get(address, "/wait").await });
    server.one_waits().await;
    answer
}

async fn refuses(server: &Running) -> bool {
    TcpStream::connect(server.https).await.is_err()
}

#[tokio::test]
async fn requests_in_flight_finish_and_new_connections_are_refused() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut server = Running::start(options(volume.path())).await;
    let client = Client::trusting(&[made]);
    let http1 = in_flight(&mut server, &client).await;
    let stream = client.connect(server.https).await.expect("a handshake");
    let mut sender = http2(stream).await.expect("HTTP/2");
    let http2 = tokio::spawn(sender.send_request(request("/wait")));
    server.one_waits().await;

    server.signal();
    eventually("refused", async || refuses(&server).await).await;
    assert!(!http1.is_finished() && !http2.is_finished() && !server.ended.is_finished());
    let (status, text) = server.ops("/readyz").await;
    assert_eq!((status, text.as_str()), (503, "not ready: shutdown: this process is shutting down\n"));
    assert_eq!(server.ops("/livez").await.0, 200, "draining is alive");

    server.let_go();
    assert_eq!(within("HTTP/1.1", http1).await.expect("no panic").expect("answered"), "waited");
    let response = within("HTTP/2", http2).await.expect("no panic").expect("answered");
    assert_eq!(read(response).await.expect("whole").1, "waited");
    assert_eq!(server.end().await, Ended::Drained);
}

#[tokio::test]
async fn not_ready_comes_first_and_requests_are_still_served() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = options(volume.path());
    options.shutdown.propagation_delay = NEVER;
    let server = Running::start(options).await;
    eventually("ready", async || server.readiness.is_ready()).await;
    server.signal();
    eventually("not ready", async || server.ops("/readyz").await.0 == 503).await;
    let client = Client::trusting(&[made]);
    assert_eq!(client.get(server.https, "/").await.expect("still served"), "here");
}

/// An API server keeps HTTP/1.1 connections open, and would send a review on one just when it is closed.
#[tokio::test]
async fn from_the_first_signal_on_clients_of_http1_are_told_to_connect_anew() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = options(volume.path());
    options.shutdown.propagation_delay = NEVER;
    let server = Running::start(options).await;
    let client = Client::trusting(&[made]);
    let stream = client.connect(server.https).await.expect("a handshake");
    let (mut kept, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    let before = kept.send_request(request("/")).await.expect("answered");
    assert_eq!(before.headers().get("connection"), None);
    assert_eq!(read(before).await.expect("whole").1, "here");

    server.signal();
    eventually("not ready", async || server.ops("/readyz").await.0 == 503).await;
    let last = kept.send_request(request("/")).await.expect("still served");
    assert_eq!(last.headers().get("connection").map(hyper::http::HeaderValue::as_bytes), Some(&b"close"[..]));
    assert_eq!(read(last).await.expect("whole").1, "here");
    within("the client to close", connection).await.expect("no panic").expect("without a fault");
    // HTTP/2 has a farewell of its own, and knows no such header.
    let mut sender = http2(client.connect(server.https).await.expect("a handshake")).await.expect("HTTP/2");
    let response = sender.send_request(request("/")).await.expect("answered");
    assert_eq!((response.headers().get("connection"), response.status().as_u16()), (None, 200));
}

#[tokio::test]
async fn the_deadline_cuts_a_request_that_hangs() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = options(volume.path());
    options.shutdown.drain_deadline = SHORT;
    let mut server = Running::start(options).await;
    let hanging = in_flight(&mut server, &Client::trusting(&[made])).await;
    server.signal();
    assert_eq!(server.end().await, Ended::DeadlinePassed);
    assert!(within("the client", hanging).await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_second_signal_aborts_at_once() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    for delay in [Duration::ZERO, NEVER] {
        let mut options = options(volume.path());
        options.shutdown.propagation_delay = delay;
        let mut server = Running::start(options).await;
        let hanging = in_flight(&mut server, &Client::trusting(std::slice::from_ref(&made))).await;
        server.signal();
        eventually("not ready", async || !server.readiness.is_ready()).await;
        server.signal();
        assert_eq!(server.end().await, Ended::Aborted, "{delay:?}");
        assert!(within("the client", hanging).await.expect("no panic").is_err());
    }
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_up_the_end() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let server = Running::start(options(volume.path())).await;
    let client = Client::trusting(&[made]);
    let mut held = Vec::new();
    let silent = TcpStream::connect(server.https).await.expect("listens");
    for sent in ["", "GET / HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = client.connect(server.https).await.expect("a handshake");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    let mut idle = http2(client.connect(server.https).await.expect("a handshake")).await.expect("HTTP/2");
    read(idle.send_request(request("/")).await.expect("an answer")).await.expect("whole");

    let start = Instant::now();
    server.signal();
    assert_eq!(server.end().await, Ended::Drained);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop((silent, held, idle));
}

#[tokio::test]
async fn a_client_that_connected_just_before_the_end_is_answered() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = options(volume.path());
    options.limits.goodbye = NEVER;
    let server = Running::start(options).await;
    let client = Client::trusting(&[made]);
    let stream = client.connect(server.https).await.expect("a handshake");
    server.signal();
    eventually("refused", async || refuses(&server).await).await;
    let answer = crate::support::ask_http1(stream, "/").await.expect("answered");
    assert_eq!(answer, (200, "here".to_owned()));
    assert_eq!(server.end().await, Ended::Drained);
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut server = Running::start(options(volume.path())).await;
    let hanging = in_flight(&mut server, &Client::trusting(&[made])).await;
    server.ended.abort();
    assert!(within("the client", hanging).await.expect("no panic").is_err());
    eventually("refused", async || refuses(&server).await).await;
}

#[tokio::test]
async fn real_signals_arrive_as_a_stream() {
    let mut stream = signals().expect("handlers");
    for (name, wanted) in [("TERM", Signal::Terminate), ("INT", Signal::Interrupt)] {
        let sent = Command::new("kill").args(["-s", name, &std::process::id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(within(name, stream.next()).await, Some(wanted));
    }
}
