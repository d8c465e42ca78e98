use rustls::version::{TLS12, TLS13};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{
    Client, Running, SecretVolume, ask_http1, certificate, http2, options, read, request, until_closed, within,
};

#[tokio::test]
async fn both_tls_versions_and_both_http_versions_are_served() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let server = Running::start(options(volume.path())).await;
    for version in [&TLS12, &TLS13] {
        for (alpn, negotiated) in [("h2", "h2"), ("http/1.1", "http/1.1")] {
            let client = Client::with(std::slice::from_ref(&made), &[version], &[alpn]);
            let stream = client.connect(server.https).await.expect("a handshake");
            let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            assert_eq!(protocol.as_deref(), Some(negotiated.as_bytes()));
            let answer = if alpn == "h2" {
                let mut sender = http2(stream).await.expect("HTTP/2");
                read(sender.send_request(request("/")).await.expect("an answer")).await
            } else {
                ask_http1(stream, "/").await
            };
            assert_eq!(answer.expect("whole"), (200, "here".to_owned()), "{version:?} {alpn}");
        }
    }
}

#[tokio::test]
async fn http2_is_preferred() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let server = Running::start(options(volume.path())).await;
    let client = Client::with(&[made], &[&TLS13], &["http/1.1", "h2"]);
    let stream = client.connect(server.https).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

/// A `ClientHello` that knows nothing newer than TLS 1.1.
fn tls_1_1_hello() -> Vec<u8> {
    let mut body = vec![0x03, 0x02];
    body.extend([7; 32]);
    // No session, one cipher suite of that time, no compression, one signature algorithm.
    body.extend([0x00, 0x00, 0x02, 0xc0, 0x13, 0x01, 0x00]);
    body.extend([0x00, 0x08, 0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03]);
    let length = u8::try_from(body.len()).expect("short");
    let mut hello = vec![0x16, 0x03, 0x01, 0x00, length + 4, 0x01, 0x00, 0x00, length];
    hello.append(&mut body);
    hello
}

#[tokio::test]
async fn old_tls_and_garbage_end_in_a_closed_connection() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let server = Running::start(options(volume.path())).await;
    let cases: [(&str, Vec<u8>); 5] = [
        ("TLS 1.1", tls_1_1_hello()),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("high bytes", vec![0xff; 16_384]),
        ("zeros", vec![0; 16_384]),
        ("a record of another type", vec![0x17, 0x03, 0x03, 0x00, 0x02, 0x00, 0x00]),
    ];
    for (name, bytes) in cases {
        let mut stream = TcpStream::connect(server.https).await.expect("the port listens");
        // The server may close before it has read everything.
        let _ = stream.write_all(&bytes).await;
        let answer = within(name, until_closed(stream)).await;
        assert!(!answer.starts_with(b"HTTP"), "{name}: {answer:?}");
        if name == "TLS 1.1" {
            let protocol_version = [0x02, 70];
            assert_eq!(answer.get(5..), Some(&protocol_version[..]), "a fatal alert that says why");
        }
        let client = Client::trusting(std::slice::from_ref(&made));
        let after = within("an answer", client.get(server.https, "/")).await;
        assert_eq!(after.expect("served"), "here", "after {name}");
    }
}

#[tokio::test]
async fn garbage_inside_tls_ends_in_a_closed_connection() {
    let made = certificate();
    let volume = SecretVolume::with(&made);
    let server = Running::start(options(volume.path())).await;
    let preface_and_noise = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 64]].concat();
    for bytes in [b"\0\0\0\0 nonsense \r\n\r\n".to_vec(), preface_and_noise] {
        let client = Client::trusting(std::slice::from_ref(&made));
        let mut stream = client.connect(server.https).await.expect("a handshake");
        stream.write_all(&bytes).await.expect("sent");
        within("the end", until_closed(stream)).await;
        assert_eq!(client.get(server.https, "/").await.expect("served"), "here");
    }
}
