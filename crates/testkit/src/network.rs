//! A network of its own for one test: nothing but a loopback interface, with whatever addresses the test wants on it, and a
//! name server that says what the test wants. The code under test asks the system's resolver and connects to real sockets.
#![expect(clippy::unwrap_used, reason = "for tests only: whatever fails here fails the test")]

use std::{
    collections::HashMap,
    io::Write,
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

const INSIDE: &str = "DUNLIN_TEST_NETWORK";

/// `$1` and `$2` are a resolver's configuration, `$3` the addresses, and then comes the test's own command line. The name
/// service cache of the machine would answer past our name server.
const SET_UP: &str = r#"
set -e
ip link set lo up
# An IPv6 address cannot be used while the system looks for another owner of it.
for address in $3; do
    case $address in *:*) ip address add "$address" dev lo nodad ;; *) ip address add "$address" dev lo ;; esac
done
mount --bind "$1" /etc/resolv.conf
mount --bind "$2" /etc/nsswitch.conf
if [ -d /var/run/nscd ]; then mount -t tmpfs none /var/run/nscd; fi
shift 3
exec "$@"
"#;

/// Runs the test `name` (its whole path in the test binary) once more in a network of its own, where the loopback interface
/// also has `addresses`, and fails when it fails there. True: this is that run, and the test goes on. False: it is done.
pub fn inside(name: &str, addresses: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let resolver = file("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n");
    let switch = file("hosts: files dns\n");
    let addresses: Vec<String> =
        addresses.iter().map(|a| format!("{a}/{}", if a.contains(':') { 128 } else { 32 })).collect();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--", "sh", "-c", SET_UP, "sh"])
        .args([resolver.path(), switch.path()])
        .arg(addresses.join(" "))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("this test needs unshare (package util-linux): {e}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "the test failed in a network of its own; it needs ip (package iproute2) and user namespaces, which some systems \
         forbid (kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone):\n{text}"
    );
    false
}

/// A name server on 127.0.0.1:53.
#[derive(Clone)]
pub struct NameServer {
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl NameServer {
    /// `answer` is given a name and how often its IPv4 address was asked for before, and says its addresses, of both kinds.
    pub async fn start(answer: impl Fn(&str, usize) -> Vec<IpAddr> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
        let server = Self { asked: Arc::default() };
        let asked = server.asked.clone();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let Some((name, kind, question)) = question(&packet[..length]) else { continue };
                let before = {
                    let mut asked = asked.lock().unwrap();
                    let count = asked.entry(name.clone()).or_default();
                    *count += usize::from(kind == 1);
                    // The question for IPv6 comes beside the one for IPv4, and in either order.
                    count.saturating_sub(1)
                };
                let addresses = answer(&name, before);
                let _ = socket.send_to(&reply(&packet[..2], question, kind, &addresses), from).await;
            }
        });
        server
    }

    /// How often the IPv4 address of this name was asked for.
    pub fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

/// Name, type, and the question as it was written (RFC 1035, section 4).
fn question(packet: &[u8]) -> Option<(String, u16, &[u8])> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    Some((labels.join("."), kind, packet.get(12..at + 4)?))
}

fn reply(id: &[u8], question: &[u8], kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(a), 1) => Some(a.octets().to_vec()),
            (IpAddr::V6(a), 28) => Some(a.octets().to_vec()),
            _ => None,
        })
        .collect();
    // A name without any address does not exist; one without an address of this kind does.
    let code = if addresses.is_empty() { 3 } else { 0 };
    let mut reply = [id, &[0x81, 0x80 | code, 0, 1, 0], &[u8::try_from(records.len()).unwrap()], &[0; 4]].concat();
    reply.extend_from_slice(question);
    for data in records {
        // The name of the question, class IN, to be kept for no time at all.
        reply.extend_from_slice(&[0xc0, 12, 0, u8::try_from(kind).unwrap(), 0, 1, 0, 0, 0, 0, 0]);
        reply.push(u8::try_from(data.len()).unwrap());
        reply.extend_from_slice(&data);
    }
    reply
}

/// Answers every connection to an address, and counts them.
pub struct Listener {
    connections: Arc<AtomicUsize>,
}

impl Listener {
    /// `answer` is given the path and makes a whole HTTP response of it; an empty one hangs up.
    pub async fn start(address: &str, answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let _ = stream.write_all(answer(request.split(' ').nth(1).unwrap_or_default()).as_bytes()).await;
            }
        });
        Self { connections }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A response that says `text`.
pub fn page(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
}

/// A response that sends elsewhere.
pub fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
