//! A git server on the loopback interface: git's own `http-backend` as CGI, behind rules that a test sets.
#![expect(clippy::unwrap_used, reason = "for tests only: whatever fails here fails the test")]

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What a private repository asks for.
pub const TOKEN: &str = "very-secret-token";

/// What the server does with paths that begin in some way, other than serving them.
#[derive(Clone)]
pub enum Rule {
    /// Asks for `user` and the token.
    Private {
        user: &'static str,
    },
    /// Sends on to the same place under another base.
    Redirect(String),
    Status(u16),
    Page(&'static str),
    /// Never answers.
    Silent,
    /// Does not know protocol version 2.
    Old,
    /// Never ends the list of its references, as an older server sends it.
    EndlessReferences,
    /// Begins a long line of an answer and goes on with a byte now and then.
    Dribble,
    /// Says that it leaves large files out when asked, and sends them.
    Unfiltered,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub host: String,
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub body: Vec<u8>,
}

pub struct GitServer {
    pub root: tempfile::TempDir,
    pub port: u16,
    rules: Arc<Mutex<Vec<(String, Rule)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl GitServer {
    pub async fn start() -> Self {
        let version = std::process::Command::new("git").arg("--version").output();
        assert!(
            version.is_ok_and(|o| o.status.success()),
            "these tests need git with http-backend: install the package git"
        );
        let root = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (rules, seen) = (Arc::default(), Arc::default());
        let server = Self { root, port, rules, seen };
        let (folder, rules, seen) = (server.root.path().to_owned(), server.rules.clone(), server.seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, folder.clone(), rules.clone(), seen.clone()));
            }
        });
        server
    }

    pub fn rule(&self, prefix: &str, rule: Rule) {
        self.rules.lock().unwrap().push((prefix.to_owned(), rule));
    }

    pub fn url(&self, path: &str) -> String {
        self.url_at("git.test", path)
    }

    pub fn url_at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}/{path}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a pack was asked for.
    pub fn fetches(&self) -> usize {
        self.seen().iter().filter(|s| String::from_utf8_lossy(&s.body).contains("want ")).count()
    }

    pub fn repo(&self, name: &str) -> Repo {
        Repo::new(self.root.path().join(name), &[])
    }

    pub fn repo_with(&self, name: &str, init: &[&str]) -> Repo {
        Repo::new(self.root.path().join(name), init)
    }
}

type Shared<T> = Arc<Mutex<Vec<T>>>;

async fn serve(mut stream: TcpStream, root: PathBuf, rules: Shared<(String, Rule)>, seen: Shared<Seen>) {
    let Some((head, body)) = read_request(&mut stream).await else { return };
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let header = |name: &str| {
        head.lines()
            .find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned()))
    };
    let authorization = header("authorization");
    let path = target.to_owned();
    let host = header("host").unwrap_or_default();
    seen.lock().unwrap().push(Seen {
        host,
        method: method.into(),
        path,
        authorization: authorization.clone(),
        body: body.clone(),
    });

    let found: Vec<Rule> = rules
        .lock()
        .unwrap()
        .iter()
        .filter(|(prefix, _)| target.starts_with(prefix.as_str()))
        .map(|(_, r)| r.clone())
        .collect();
    let mut protocol = header("git-protocol").unwrap_or_default();
    let mut body = body;
    for rule in found {
        let answer = match rule {
            Rule::Private { user } => {
                use base64::{Engine, prelude::BASE64_STANDARD};
                let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{TOKEN}")));
                if authorization.as_deref() == Some(expected.as_str()) {
                    continue;
                }
                "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\"\r\ncontent-length: 0\r\n".to_owned()
            }
            Rule::Redirect(base) => {
                let rest = target.find("/info/refs").map_or("", |at| &target[at..]);
                let to = base.replace("{rest}", rest);
                format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n")
            }
            Rule::Status(status) => format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n"),
            Rule::Page(html) => {
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{html}",
                    html.len()
                )
            }
            Rule::Silent => return std::future::pending().await,
            Rule::Old => {
                protocol.clear();
                continue;
            }
            Rule::EndlessReferences => return endless_references(&mut stream).await,
            Rule::Dribble => {
                let _ = stream.write_all(ADVERTISEMENT).await;
                while stream.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                return;
            }
            Rule::Unfiltered => {
                body = without_filter(&body);
                continue;
            }
        };
        let end = if answer.contains("\r\n\r\n") { "" } else { "connection: close\r\n\r\n" };
        let _ = stream.write_all(format!("{answer}{end}").as_bytes()).await;
        return;
    }
    let content_type = header("content-type").unwrap_or_default();
    http_backend(&root, method, target, &content_type, &protocol, &body, &mut stream).await;
}

const ADVERTISEMENT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\nconnection: close\r\n\r\n001e# service=git-upload-pack\n0000";

async fn endless_references(stream: &mut TcpStream) {
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let id = "1f0c3b2a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
    let first = line(format!("{id} HEAD\0multi_ack side-band-64k shallow agent=git/2\n"));
    let mut alive = stream.write_all(&[ADVERTISEMENT, first.as_bytes()].concat()).await.is_ok();
    let mut n = 0_u64;
    while alive {
        let lines: String = (n..n + 1000).map(|n| line(format!("{id} refs/heads/{n:020}\n"))).collect();
        alive = stream.write_all(lines.as_bytes()).await.is_ok();
        n += 1000;
    }
}

/// Takes the line `filter ...` out of a request; each line begins with its length (gitprotocol-common, "pkt-line Format").
fn without_filter(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (body, Vec::new());
    while let Some(digits) = rest.get(..4) {
        let length = std::str::from_utf8(digits).ok().and_then(|d| usize::from_str_radix(d, 16).ok()).unwrap_or(4);
        // Lengths below four are marks without contents.
        let (line, after) = rest.split_at(length.max(4).min(rest.len()));
        if !line[4..].starts_with(b"filter ") {
            kept.extend_from_slice(line);
        }
        rest = after;
    }
    kept
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut data = Vec::new();
    let end = loop {
        if let Some(at) = data.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut data).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&data[..end]).into_owned();
    let mut body = data.split_off(end + 4);
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok()))
        .unwrap_or(0);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

async fn http_backend(
    root: &Path,
    method: &str,
    target: &str,
    content_type: &str,
    protocol: &str,
    body: &[u8],
    stream: &mut TcpStream,
) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", protocol)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", content_type)
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = body.to_vec();
    let writer = tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    // Passed on as it comes: some repositories are larger than the memory that the tests of them allow.
    let mut output = child.stdout.take().unwrap();
    let mut start = Vec::new();
    let head_end = loop {
        if let Some(at) = start.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if output.read_buf(&mut start).await.unwrap_or(0) == 0 {
            break 0;
        }
    };
    let head = String::from_utf8_lossy(&start[..head_end]).into_owned();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    // Without a length: the end of the connection is the end of the answer.
    let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nconnection: close\r\n\r\n");
    let payload = start.get(head_end + 4..).unwrap_or_default();
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.write_all(payload).await.is_ok() {
        let _ = tokio::io::copy(&mut output, stream).await;
    }
    drop(output);
    let _ = child.wait().await;
    writer.abort();
}

/// A bare repository, filled through git's plumbing: a working tree could not hold half of what tests need.
pub struct Repo {
    pub path: PathBuf,
}

impl Repo {
    fn new(path: PathBuf, init: &[&str]) -> Self {
        let repo = Self { path };
        std::fs::create_dir_all(&repo.path).unwrap();
        let args: Vec<&str> =
            ["init", "-q", "--bare", "-b", "main"].into_iter().chain(init.iter().copied()).chain(["."]).collect();
        repo.git(args);
        repo
    }

    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.git_with(args, b"")
    }

    pub fn git_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> String {
        use io::Write;
        let mut child = std::process::Command::new("git")
            .args(args)
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([
                ("GIT_AUTHOR_NAME", "A"),
                ("GIT_AUTHOR_EMAIL", "a@example.org"),
                ("GIT_AUTHOR_DATE", "1700000000 +0200"),
            ])
            .envs([
                ("GIT_COMMITTER_NAME", "C"),
                ("GIT_COMMITTER_EMAIL", "c@example.org"),
                ("GIT_COMMITTER_DATE", "1700009999 +0200"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Feeds `git fast-import`, which makes a pack of any size in seconds. Files over 1 MiB are not compared with each other.
    pub fn import(&self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) {
        self.git(["config", "core.bigFileThreshold", "1m"]);
        self.import_with(&[], 0, write);
    }

    /// The same with other configuration; objects are stored as differences from the one before, up to `depth` of them in a
    /// row.
    pub fn import_with(
        &self,
        configuration: &[&str],
        depth: u32,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) {
        let mut child = std::process::Command::new("git")
            .args(configuration)
            .args([
                "-c",
                "core.compression=1",
                "-c",
                "fastimport.unpackLimit=0",
                "fast-import",
                "--quiet",
                &format!("--depth={depth}"),
            ])
            .current_dir(&self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", &self.path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = io::BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
        write(&mut input).unwrap();
        io::Write::flush(&mut input).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success(), "git fast-import failed");
    }

    /// The path of the one pack there is.
    pub fn only_pack(&self) -> String {
        let packs = std::fs::read_dir(self.path.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        let mut packs = packs.filter(|path| path.extension().is_some_and(|e| e == "pack"));
        let pack = packs.next().unwrap_or_else(|| panic!("there is no pack in {}", self.path.display()));
        assert!(packs.next().is_none(), "there is more than one pack");
        pack.to_str().unwrap().to_owned()
    }

    pub fn blob(&self, data: &[u8]) -> String {
        self.git_with(["hash-object", "-w", "--stdin"], data)
    }

    /// A tree of (mode, id, name) in the order given, unchecked.
    pub fn raw_tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let mut tree = Vec::new();
        for (mode, id, name) in entries {
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(name);
            tree.push(0);
            tree.extend((0..id.len() / 2).map(|i| u8::from_str_radix(&id[2 * i..2 * i + 2], 16).unwrap()));
        }
        self.git_with(["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &tree)
    }

    /// Commits files at whole paths to a branch, on top of what is there.
    pub fn commit(&self, branch: &str, files: &[(&str, &[u8])]) -> String {
        let index = self.path.join("test-index");
        let _ = std::fs::remove_file(&index);
        let lines: String = files.iter().map(|(path, data)| format!("100644 {}\t{path}\n", self.blob(data))).collect();
        let tree = {
            let env = format!("GIT_INDEX_FILE={}", index.display());
            self.shell(&format!("{env} git update-index --add --index-info"), lines.as_bytes());
            self.shell(&format!("{env} git write-tree"), b"")
        };
        self.commit_tree(branch, &tree)
    }

    pub fn commit_tree(&self, branch: &str, tree: &str) -> String {
        let reference = format!("refs/heads/{branch}");
        let parent = self.shell(&format!("git rev-parse -q --verify {reference} || true"), b"");
        let mut args = vec!["commit-tree", tree, "-m", "a commit"];
        if !parent.is_empty() {
            args.extend(["-p", &parent]);
        }
        let id = self.git(args);
        self.git(["update-ref", &reference, &id]);
        id
    }

    fn shell(&self, script: &str, input: &[u8]) -> String {
        let wrapped = format!("!{script}");
        self.git_with(["-c", &format!("alias.run={wrapped}"), "run"], input)
    }
}
