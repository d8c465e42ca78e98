use std::net::SocketAddr;

use rustls::{ClientConnection, pki_types::ServerName, version::TLS13};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use upgrade_guard::server::{ServerOptions, devcert::DevelopmentCertificate};

use crate::support::{Client, Running, SHORT, SecretVolume, certificate, eventually, options, until_closed, within};

/// The ways to hold a connection without asking anything.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Silent,
    HalfHandshake,
    SilentAfterHandshake,
    HalfHead,
    HalfPreface,
    PrefaceOnly,
    HalfBody,
}

const ALL: [Slow; 7] = [
    Slow::Silent,
    Slow::HalfHandshake,
    Slow::SilentAfterHandshake,
    Slow::HalfHead,
    Slow::HalfPreface,
    Slow::PrefaceOnly,
    Slow::HalfBody,
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection on which nothing more will be sent.
type Held = Box<dyn tokio::io::AsyncRead + Unpin + Send>;

impl Slow {
    async fn connect(self, client: &Client, address: SocketAddr) -> Held {
        let sent: &[u8] = match self {
            Self::Silent => return Box::new(TcpStream::connect(address).await.expect("listens")),
            Self::HalfHandshake => return Box::new(half_handshake(client, address).await),
            Self::SilentAfterHandshake => b"",
            Self::HalfHead => b"GET / HTTP/1.1\r\nHost: local",
            Self::HalfPreface => &PREFACE[..10],
            Self::PrefaceOnly => PREFACE,
            Self::HalfBody => b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhal",
        };
        let mut stream = client.connect(address).await.expect("a handshake");
        stream.write_all(sent).await.expect("sent");
        stream.flush().await.expect("sent");
        Box::new(stream)
    }
}

async fn half_handshake(client: &Client, address: SocketAddr) -> TcpStream {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut hello = Vec::new();
    let mut connection = ClientConnection::new(client.config(), name).expect("a client");
    connection.write_tls(&mut hello).expect("a hello");
    let mut stream = TcpStream::connect(address).await.expect("listens");
    stream.write_all(&hello[..hello.len() / 2]).await.expect("sent");
    stream
}

/// Every timeout short enough to wait for.
fn impatient(volume: &SecretVolume) -> ServerOptions {
    let mut options = options(volume.path());
    options.limits.handshake = SHORT;
    options.limits.header = SHORT;
    options.limits.idle = SHORT;
    options.limits.request = SHORT;
    options
}

fn client(made: &DevelopmentCertificate) -> Client {
    Client::with(std::slice::from_ref(made), &[&TLS13], &[])
}

#[tokio::test]
async fn others_are_served_while_slow_clients_hold_on() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = options(volume.path());
    options.limits.connections = ALL.len() + 1;
    let server = Running::start(options).await;
    let client = client(&made);
    let mut held = Vec::new();
    for slow in ALL {
        held.push(slow.connect(&client, server.https).await);
        let answer = within(&format!("an answer beside {slow:?}"), client.get(server.https, "/")).await;
        assert_eq!(answer.expect("served"), "here");
    }
}

#[tokio::test]
async fn every_slow_client_is_closed_in_the_end() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let server = Running::start(impatient(&volume)).await;
    let client = client(&made);
    for slow in ALL {
        let held = slow.connect(&client, server.https).await;
        let said = within(&format!("{slow:?} is closed"), until_closed(held)).await;
        if matches!(slow, Slow::HalfBody) {
            let said = String::from_utf8_lossy(&said);
            assert!(said.starts_with("HTTP/1.1 503 "), "a request that never ends is answered: {said}");
        }
    }
}

#[tokio::test]
async fn slow_clients_cannot_take_all_places_for_ever() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = impatient(&volume);
    options.limits.connections = 2;
    let server = Running::start(options).await;
    let client = client(&made);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(TcpStream::connect(server.https).await.expect("the queue takes it"));
    }
    let answer = within("an answer behind six silent clients", client.get(server.https, "/")).await;
    assert_eq!(answer.expect("served"), "here");
}

#[tokio::test]
async fn the_cap_on_connections_holds() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let mut options = options(volume.path());
    options.limits.connections = 1;
    let mut server = Running::start(options).await;
    let client = client(&made);
    let address = server.https;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.get(address, "/wait").await }
    });
    server.one_waits().await;
    let mut second = tokio::spawn(async move { client.get(address, "/").await });
    // The second client is in the queue; as long as the first holds the only place nothing may come back.
    let passed_by = tokio::time::timeout(SHORT, &mut second).await;
    assert!(passed_by.is_err());
    server.let_go();
    assert_eq!(within("the first", first).await.expect("no panic").expect("served"), "waited");
    assert_eq!(within("the second", second).await.expect("no panic").expect("served"), "here");
}

#[tokio::test]
async fn a_silent_client_of_the_operations_port_blocks_nobody() {
    let volume = SecretVolume::with(&certificate());
    let server = Running::start(options(volume.path())).await;
    let mut silent = TcpStream::connect(server.ops).await.expect("listens");
    silent.write_all(b"GET /liv").await.expect("sent");
    eventually("ready", async || server.ops("/readyz").await.0 == 200).await;
}
