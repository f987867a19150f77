//! A server, a storage, a configuration file and a folder: what a test needs around the program.

use crate::mock::{Answer, Mock, Request};
use dunlin_contracts::{
    api::{AuthDiscovery, FindingView, Health, JobView, Page, ScanAccepted, ScanView, UploadTarget},
    problem::Problem,
    steps::Summary,
};
use dunlin_core::finding::{Confidence, Severity};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

pub const SCAN: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001);
pub const UPLOAD: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0002);

/// None of these may ever be printed.
pub const PASSWORD: &str = "hunter2-password";
pub const OLD_TOKEN: &str = "id-token-old";
pub const NEW_TOKEN: &str = "id-token-new";
pub const REFRESH: &str = "refresh-token-1";
const SECRETS: [&str; 5] = [PASSWORD, OLD_TOKEN, NEW_TOKEN, REFRESH, "X-Amz-Signature"];

pub type Pool = fn(&Request) -> Answer;

/// What the server does; tests change it.
pub struct Script {
    /// The scan at each look; the last one for ever.
    pub looks: Vec<Look>,
    pub findings: Vec<FindingView>,
    pub report: &'static str,
    /// Tokens that are taken.
    pub tokens: Vec<&'static str>,
    /// Answers for a path, before everything else, each once.
    pub first: Vec<(&'static str, Answer)>,
    /// What the user pool says.
    pub pool: Pool,
    /// What the storage says, in turn; then 200.
    pub storage: Vec<Answer>,
}

#[derive(Clone)]
pub enum Look {
    Scan(Box<ScanView>),
    Answer(Answer),
}

pub struct World {
    pub api: Mock,
    pub storage: Mock,
    pub home: tempfile::TempDir,
    pub script: Arc<Mutex<Script>>,
}

pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// Signed in, with a session that is good for an hour.
    pub fn new() -> Self {
        let world = Self::signed_out();
        world.sign_in(OLD_TOKEN, Duration::HOUR);
        world
    }

    pub fn signed_out() -> Self {
        let script = Arc::new(Mutex::new(Script {
            looks: vec![Look::Scan(Box::new(scan("complete")))],
            findings: Vec::new(),
            report: "{}",
            tokens: vec![OLD_TOKEN, NEW_TOKEN],
            first: Vec::new(),
            pool: tokens,
            storage: Vec::new(),
        }));
        let (for_api, for_storage) = (Arc::clone(&script), Arc::clone(&script));
        let storage = Mock::start(move |request| store(&mut for_storage.lock().unwrap(), request));
        let storage_url = storage.url.clone();
        // Known only once the server listens.
        let own = Arc::new(OnceLock::<String>::new());
        let own_url = Arc::clone(&own);
        let api = Mock::start(move |request| {
            play(&mut for_api.lock().unwrap(), request, own_url.get().expect("the address is set"), &storage_url)
        });
        own.set(api.url.clone()).unwrap();
        Self { api, storage, home: tempfile::tempdir().unwrap(), script }
    }

    pub fn script(&self, change: impl FnOnce(&mut Script)) -> &Self {
        change(&mut self.script.lock().unwrap());
        self
    }

    pub fn sign_in(&self, token: &str, left: Duration) {
        let expires =
            (OffsetDateTime::now_utc() + left).format(&time::format_description::well_known::Rfc3339).unwrap();
        let url = &self.api.url;
        let text = format!(
            "endpoint = \"{url}\"\n[session]\nauth_endpoint = \"{url}\"\nclient_id = \"client\"\nid_token = \"{token}\"\nrefresh_token = \"{REFRESH}\"\nexpires_at = \"{expires}\"\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(args).env("DUNLIN_CONFIG", self.config()).current_dir(self.home.path());
        for name in ["DUNLIN_ENDPOINT", "DUNLIN_USERNAME", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    pub fn run_with(&self, args: &[&str], input: &str) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A program that stops early does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let run = Run {
            code: output.status.code().expect("the program was not killed"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        for secret in SECRETS {
            assert!(
                !run.out.contains(secret) && !run.err.contains(secret),
                "{secret} was printed:\n{}\n{}",
                run.out,
                run.err
            );
        }
        assert!(!run.err.contains("panicked"), "{}", run.err);
        run
    }

    /// A work tree with two tracked files (one of them changed since), one that is not tracked, and one that is ignored.
    pub fn work_tree(&self) -> PathBuf {
        let root = self.home.path().join("shop");
        write(&root, "app/main.py", "print('committed')\n");
        write(&root, "README.md", "shop\n");
        write(&root, ".gitignore", "*.log\n");
        git(&root, &["init", "-q", "-b", "trunk"]);
        git(&root, &["remote", "add", "origin", "git@github.com:acme/shop.git"]);
        git(&root, &["add", "."]);
        git(&root, &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "first"]);
        write(&root, "app/main.py", "print('changed')\n");
        write(&root, "app/new.py", "print('new')\n");
        write(&root, "debug.log", "noise\n");
        root
    }
}

pub fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub fn git(root: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn scan(status: &str) -> ScanView {
    let ended = !matches!(status, "accepted" | "running");
    ScanView {
        id: SCAN,
        repository_id: Uuid::from_u128(9),
        repository: "github.com/acme/shop".into(),
        status: status.into(),
        reason: None,
        track: Some("trunk".into()),
        revision: Some("0123456789abcdef0123456789abcdef01234567".into()),
        requested_by: "ann".into(),
        accepted_at: datetime!(2026-11-20 10:00 UTC),
        started_at: None,
        ended_at: ended.then_some(datetime!(2026-11-20 10:00:12 UTC)),
        summary: ended.then(Summary::default),
        fail_on: None,
        warnings: Vec::new(),
        jobs: Vec::new(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
    }
}

pub fn scan_with(status: &str, counts: &[(Severity, u64)]) -> ScanView {
    let by_severity: BTreeMap<_, _> = counts.iter().copied().collect();
    ScanView {
        summary: Some(Summary {
            findings: by_severity.values().sum(),
            enforced_by_severity: by_severity.clone(),
            by_severity,
            jobs: 1,
            ..Summary::default()
        }),
        ..scan(status)
    }
}

pub fn job(engine: &str, state: &str, outcome: Option<&str>) -> JobView {
    JobView {
        job: 0,
        engine: engine.into(),
        engine_version: "1".into(),
        advisory: false,
        state: state.into(),
        outcome: outcome.map(str::to_owned),
        cached: false,
        compute: "lambda".into(),
        attempt: 1,
        files: 2,
        findings: outcome.map(|_| 1),
        duration_ms: outcome.map(|_| 40),
        peak_memory_bytes: None,
        error: None,
        shard_index: 0,
        shard_count: 1,
    }
}

pub fn finding(severity: Severity, path: &str, message: &str) -> FindingView {
    FindingView {
        id: Uuid::from_u128(5),
        rule: "ruff/S602".into(),
        rule_name: "shell".into(),
        engine: "ruff".into(),
        severity,
        confidence: Confidence::High,
        path: path.into(),
        start_line: Some(7),
        start_column: None,
        end_line: None,
        message: message.into(),
        snippet: None,
        help_url: None,
        cwe: Vec::new(),
        fingerprint: "f".into(),
        state: "open".into(),
        new: true,
    }
}

/// The user pool: one user, one refresh token.
pub fn tokens(request: &Request) -> Answer {
    let body = request.json();
    let good = match body["AuthFlow"].as_str() {
        Some("USER_PASSWORD_AUTH") => body["AuthParameters"]["PASSWORD"] == PASSWORD,
        Some("REFRESH_TOKEN_AUTH") => body["AuthParameters"]["REFRESH_TOKEN"] == REFRESH,
        _ => return Answer::empty(200),
    };
    if !good {
        let body =
            serde_json::json!({"__type": "NotAuthorizedException", "message": "Incorrect username or password."});
        return Answer::typed(400, "application/x-amz-json-1.1", body.to_string());
    }
    let mut result =
        serde_json::json!({"IdToken": NEW_TOKEN, "AccessToken": "a", "ExpiresIn": 3600, "TokenType": "Bearer"});
    if body["AuthFlow"] == "USER_PASSWORD_AUTH" {
        result["RefreshToken"] = REFRESH.into();
    }
    let answer = serde_json::json!({"ChallengeParameters": {}, "AuthenticationResult": result});
    Answer::typed(200, "application/x-amz-json-1.1", answer.to_string())
}

fn store(script: &mut Script, request: &Request) -> Answer {
    assert!(!request.headers.contains_key("authorization"), "a token was sent to the storage");
    if !script.storage.is_empty() {
        return script.storage.remove(0);
    }
    match request.method.as_str() {
        "PUT" => {
            let mut answer = Answer::empty(200);
            answer.headers.push(("etag", etag(&request.body)));
            answer
        }
        _ => Answer::typed(200, "application/octet-stream", script.report),
    }
}

/// The header of the answer to whoever has sent this body.
pub fn etag(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(body)[..16]))
}

fn play(script: &mut Script, request: &Request, own_url: &str, storage_url: &str) -> Answer {
    let line = request.line();
    if let Some(index) = script.first.iter().position(|(start, _)| line.starts_with(start)) {
        return script.first.remove(index).1;
    }
    if line == "POST /" {
        return (script.pool)(request);
    }
    if line == "GET /v1/health" {
        let auth =
            AuthDiscovery { endpoint: own_url.into(), client_id: "client".into(), issuer: format!("{own_url}/pool") };
        return Answer::json(200, &Health { status: "ok".into(), version: "0".into(), auth });
    }
    let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if !bearer.is_some_and(|token| script.tokens.contains(&token)) {
        return Answer::json(401, &serde_json::json!({"message": "Unauthorized"}));
    }
    let accepted = |status: &str| ScanAccepted {
        id: SCAN,
        repository_id: Uuid::from_u128(9),
        status: status.into(),
        trace_id: "0".repeat(32),
    };
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let scan_path = format!("/v1/scans/{SCAN}");
    match (request.method.as_str(), path.strip_prefix(&scan_path)) {
        ("GET", Some("")) => {
            let look = if script.looks.len() > 1 { script.looks.remove(0) } else { script.looks[0].clone() };
            match look {
                Look::Scan(scan) => Answer::json(200, &scan),
                Look::Answer(answer) => answer,
            }
        }
        ("DELETE", Some("")) => Answer::json(202, &accepted("cancelling")),
        ("GET", Some("/findings")) => page(&script.findings, query),
        ("GET", Some("/report")) => {
            let mut answer = Answer::empty(303);
            answer.headers.push(("location", format!("{storage_url}/reports/{query}?X-Amz-Signature=abc")));
            answer
        }
        _ => match (request.method.as_str(), path) {
            ("POST", "/v1/scans") => Answer::json(202, &accepted("accepted")),
            ("POST", "/v1/uploads") => {
                let headers = BTreeMap::from([
                    ("x-amz-checksum-sha256".to_owned(), "c2hh".to_owned()),
                    ("if-none-match".to_owned(), "*".to_owned()),
                ]);
                let expires_at = OffsetDateTime::now_utc() + Duration::HOUR;
                Answer::json(
                    201,
                    &UploadTarget {
                        upload_id: UPLOAD,
                        url: format!("{storage_url}/uploads/x?X-Amz-Signature=abc"),
                        headers,
                        expires_at,
                    },
                )
            }
            ("GET", "/v1/repositories") => Answer::json(
                200,
                &serde_json::json!({"items": [{"id": Uuid::from_u128(9), "name": "github.com/acme/shop", "open_findings": 0,
                                               "first_scanned_at": "2026-11-20T10:00:00Z"}]}),
            ),
            ("GET", "/v1/scans") => Answer::json(200, &Page { items: vec![scan("complete")], next_cursor: None }),
            ("PUT", "/v1/credentials/work") | ("DELETE", "/v1/credentials/work" | "/v1/webhook") => Answer::empty(204),
            ("PUT", "/v1/webhook") => Answer::json(200, &serde_json::json!({"signing_key": "whsec_a2V5"})),
            _ => Answer::problem(&Problem::not_found("scan")),
        },
    }
}

/// Two findings a page, so that there is more than one.
fn page(findings: &[FindingView], query: &str) -> Answer {
    let from: usize =
        query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).map_or(0, |cursor| cursor.parse().unwrap());
    let items: Vec<_> = findings.iter().skip(from).take(2).cloned().collect();
    let next_cursor = (from + 2 < findings.len()).then(|| (from + 2).to_string());
    Answer::json(200, &Page { items, next_cursor })
}
