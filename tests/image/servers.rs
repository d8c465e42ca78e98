//! What pods talk to: a name server, an API server and a database, as little of each as the tests need.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Answers every name that ends with a known one's whole text; the rest does not exist. Sends the names that were asked for.
///
/// A name of a cluster is only known with all its dots, as `svc.cluster.local` has them.
pub(crate) fn name_server(known: &[&str]) -> Receiver<String> {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    let known: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
    let (asked, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0_u8; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            let name = name_in(question);
            let answer = answer(question, &name, known.contains(&name));
            let _ = asked.send(name);
            socket.send_to(&answer, from).unwrap();
        }
    });
    receiver
}

/// The name that a query asks for. See RFC 1035, 4.1.2.
fn name_in(query: &[u8]) -> String {
    let mut rest = &query[12..];
    let mut labels = Vec::new();
    while let Some((length @ 1..=63, tail)) = rest.split_first() {
        let (label, tail) = tail.split_at(usize::from(*length));
        labels.push(String::from_utf8(label.to_vec()).unwrap());
        rest = tail;
    }
    labels.join(".")
}

/// 127.0.0.1 for a known name, no address of version 6, and `NXDOMAIN` for another. See RFC 1035, 4.1.
fn answer(query: &[u8], name: &str, known: bool) -> Vec<u8> {
    let end = 12 + name.len() + 2 + 4;
    let wants_v4 = query[end - 4..end - 2] == [0, 1];
    let gives = known && wants_v4;
    let code = if known { 0 } else { 3 };
    // The id, a response with recursion, one question, the answers, and nothing else.
    let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, u8::from(gives), 0, 0, 0, 0];
    answer.extend(&query[12..end]);
    if gives {
        // The name of the question, an address, of the Internet, for five seconds, of four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

/// Answers `GET` by path and lists of nothing else; sends the `Host` and path of every request.
pub(crate) fn web_server(address: &str, answers: &[(&str, Value)]) -> Receiver<String> {
    let listener = TcpListener::bind(address).unwrap();
    let answers: BTreeMap<String, Value> =
        answers.iter().map(|(path, body)| ((*path).to_owned(), body.clone())).collect();
    let (asked, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (answers, asked) = (answers.clone(), asked.clone());
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let Some((host, path)) = request(&mut stream) else { return };
                let nothing = json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []});
                let body = answers.get(&path).unwrap_or(&nothing).to_string();
                let _ = asked.send(format!("{host} {path}"));
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            });
        }
    });
    receiver
}

/// The host and the path of a request; its body is of no interest.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.split(' ').nth(1)?;
    let host = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned))?;
    Some((host, target.split('?').next()?.to_owned()))
}

/// A database that hangs up; sends the first bytes of every connection.
pub(crate) fn database(address: &str) -> Receiver<Vec<u8>> {
    let listener = TcpListener::bind(address).unwrap();
    let (reached, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut first = [0_u8; 8];
            if stream.unwrap().read_exact(&mut first).is_ok() {
                let _ = reached.send(first.to_vec());
            }
        }
    });
    receiver
}
