//! S3 as a runner sees it: GET and conditional PUT by URL, with faults on demand.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct State {
    objects: HashMap<String, Vec<u8>>,
    /// Statuses to answer before the real answer, by key.
    faults: HashMap<String, Vec<u16>>,
    /// Keys whose body is cut in the middle, once each.
    cut: Vec<String>,
    /// `PUT result`, in order.
    requests: Vec<String>,
}

#[derive(Clone)]
pub struct Storage {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Storage {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let storage = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = storage.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                std::thread::spawn(move || {
                    let _ = answer(&stream, &state);
                });
            }
        });
        storage
    }

    pub fn url(&self, key: &str) -> String {
        format!("http://127.0.0.1:{}/{key}?X-Amz-Signature=0123456789abcdef", self.port)
    }

    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().objects.insert(key.to_owned(), bytes);
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().objects.get(key).cloned()
    }

    /// The next requests for `key` are answered with `statuses`, first one first.
    pub fn fail(&self, key: &str, statuses: &[u16]) {
        self.state.lock().unwrap().faults.insert(key.to_owned(), statuses.iter().rev().copied().collect());
    }

    pub fn cut_once(&self, key: &str) {
        self.state.lock().unwrap().cut.push(key.to_owned());
    }

    pub fn requests(&self, what: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| *request == what).count()
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let key = target.trim_start_matches('/').split('?').next().unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    // Without a length S3 answers 411, so a body without one is an empty one here.
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;

    let mut state = state.lock().unwrap();
    state.requests.push(format!("{method} {key}"));
    let fault = state.faults.get_mut(&key).and_then(Vec::pop);
    let cut = state.cut.iter().position(|name| *name == key);
    let (status, content) = match (fault, method.as_str()) {
        (Some(status), _) => (status, Vec::new()),
        (None, "GET") => state.objects.get(&key).map_or((404, Vec::new()), |object| (200, object.clone())),
        (None, "PUT") if headers.contains_key("transfer-encoding") => (411, Vec::new()),
        (None, "PUT") if headers.contains_key("if-none-match") && state.objects.contains_key(&key) => (412, Vec::new()),
        (None, "PUT") => {
            state.objects.insert(key, body);
            (200, Vec::new())
        }
        _ => (405, Vec::new()),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len())?;
    let sent = match cut {
        Some(position) => {
            state.cut.remove(position);
            content.len() / 2
        }
        None => content.len(),
    };
    stream.write_all(&content[..sent])
}
