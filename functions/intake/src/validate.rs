//! What a request may say. Every refusal names its field, and all wrong fields are told at once.

use dunlin_contracts::{
    api::{CredentialPut, ScanRequest, Target, UploadRequest, WebhookPut},
    problem::{FieldError, Problem},
};
use dunlin_core::repository::RepositoryName;
use dunlin_egress::AddressPolicy;
use lambda_http::Request;
use std::net::Ipv4Addr;
use url::Url;

mod prices;

pub use prices::{etags, price_batch};

const MAX_URL: usize = 2000;
const MAX_REF: usize = 255;
/// One gibibyte.
const MAX_UPLOAD_BYTES: u64 = 1 << 30;

/// Collects what is wrong.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }
    fn into_result(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}

pub fn idempotency_key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(text) if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(Problem::invalid_field("Idempotency-Key", "1 to 255 visible ASCII characters are allowed")),
    }
}

/// Checks a scan request and says which repository it is about.
pub fn scan_request(body: &ScanRequest, allow: &AddressPolicy) -> Result<RepositoryName, Problem> {
    let mut faults = Faults::default();
    engines(body.engines.as_deref(), &mut faults);
    let name = match &body.target {
        Target::Git { url, branch, tag, commit, credential } => {
            one_ref(branch.as_deref(), tag.as_deref(), commit.as_deref(), &mut faults);
            if let Some(credential) = credential
                && let Err(message) = name_rule(credential)
            {
                faults.add("/target/credential", message);
            }
            match remote_url(url, allow) {
                Ok(url) => Some(RepositoryName::from_url(&url)),
                Err(message) => {
                    faults.add("/target/url", message);
                    None
                }
            }
        }
        Target::Upload { repository, branch, commit, .. } => {
            if let Some(branch) = branch
                && let Err(message) = ref_name(branch)
            {
                faults.add("/target/branch", message);
            }
            if let Some(commit) = commit
                && let Err(message) = commit_id(commit)
            {
                faults.add("/target/commit", message);
            }
            match RepositoryName::from_label(repository) {
                Ok(name) => Some(name),
                Err(e) => {
                    faults.add("/target/repository", e.to_string());
                    None
                }
            }
        }
    };
    faults.into_result()?;
    name.ok_or_else(Problem::internal)
}

fn engines(engines: Option<&[String]>, faults: &mut Faults) {
    let Some(engines) = engines else { return };
    if engines.is_empty() {
        faults.add("/engines", "the list is empty; leave it out to run every engine");
    }
    if engines.len() > 50 {
        faults.add("/engines", "at most 50 engines can be named");
        return;
    }
    for (n, engine) in engines.iter().enumerate() {
        if dunlin_engines::find(engine).is_none() {
            let known: Vec<_> = dunlin_engines::catalog().iter().map(|e| e.name.as_str()).collect();
            let given: String = engine.chars().take(60).collect();
            faults
                .add(&format!("/engines/{n}"), format!("there is no engine {given:?}; there are {}", known.join(", ")));
        } else if engines[..n].contains(engine) {
            faults.add(&format!("/engines/{n}"), "the engine is named twice");
        }
    }
}

fn one_ref(branch: Option<&str>, tag: Option<&str>, commit: Option<&str>, faults: &mut Faults) {
    if [branch, tag, commit].iter().filter(|r| r.is_some()).count() > 1 {
        faults.add("/target", "at most one of branch, tag and commit can be given");
    }
    for (field, name) in [("/target/branch", branch), ("/target/tag", tag)] {
        if let Some(Err(message)) = name.map(ref_name) {
            faults.add(field, message);
        }
    }
    if let Some(Err(message)) = commit.map(commit_id) {
        faults.add("/target/commit", message);
    }
}

/// The rules of `git check-ref-format` for one branch or tag. A leading dash would be an option to somebody's command line.
fn ref_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_REF {
        return Err("1 to 255 bytes are allowed");
    }
    let bad_char = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if name.chars().any(bad_char)
        || name.contains("..")
        || name.contains("@{")
        || name.starts_with('-')
        || name.ends_with('.')
        || name == "@"
        || name.split('/').any(bad_part)
    {
        return Err("this is not a name that git allows");
    }
    Ok(())
}

fn commit_id(commit: &str) -> Result<(), &'static str> {
    let hex = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && matches!(commit.len(), 40 | 64) {
        Ok(())
    } else {
        Err("a full commit id has 40 or 64 lower-case hexadecimal digits")
    }
}

/// A URL that we may connect to: https, no credentials, and not by name or number an address that is not public. (What the
/// name resolves to is checked where the connection is made.)
fn remote_url(text: &str, allow: &AddressPolicy) -> Result<Url, String> {
    let url = parsed(text)?;
    if has_user_info(text) {
        return Err("credentials do not belong into a URL; store them with PUT /v1/credentials/{name}".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a query or fragment is not allowed".into());
    }
    checked(url, allow)
}

/// The URL, when it is written as RFC 3986 wants it. Parsers are kinder: they drop line ends and blanks, read a backslash as a
/// slash, and turn look-alikes such as `127。0。0。1` into what they look like. Who reads the URL beside us may not.
fn parsed(text: &str) -> Result<Url, String> {
    if text.chars().count() > MAX_URL {
        return Err(format!("at most {MAX_URL} characters are allowed"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "{bad:?} does not belong into a URL; write it percent-encoded, and a host name in its ASCII form (xn--...)"
        ));
    }
    let url = Url::parse(text).map_err(|e| format!("this is not a URL: {e}"))?;
    // Parsers also mend `https:host`, `https:///host` and `HTTPS://host`.
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if matches!(url.scheme(), "https" | "http") && rest.is_none_or(|rest| rest.starts_with('/')) {
        return Err("a URL begins with https:// and a host".into());
    }
    Ok(url)
}

/// Anything before an `@` in front of the path, also an empty user name, which parsers drop.
fn has_user_info(text: &str) -> bool {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

fn checked(url: Url, allow: &AddressPolicy) -> Result<Url, String> {
    match url.scheme() {
        "https" => {}
        "http" if allow.allows(&url) => {}
        other => return Err(format!("the scheme {other:?} is not allowed; use https")),
    }
    allow.check_url(&url).map_err(|e| e.to_string())?;
    Ok(url)
}

pub fn upload(body: &UploadRequest) -> Result<(), Problem> {
    let mut faults = Faults::default();
    if !(1..=MAX_UPLOAD_BYTES).contains(&body.bytes) {
        faults.add("/bytes", format!("1 to {MAX_UPLOAD_BYTES} bytes are allowed"));
    }
    if body.sha256.len() != 64 || !body.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        faults.add("/sha256", "64 lower-case hexadecimal digits are needed");
    }
    faults.into_result()
}

pub fn credential_name(name: &str, field: &str) -> Result<(), Problem> {
    name_rule(name).map_err(|message| Problem::invalid_field(field, message))
}

fn name_rule(name: &str) -> Result<(), &'static str> {
    let ok = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if ok { Ok(()) } else { Err("1 to 64 lower-case letters, digits, dashes or underscores are allowed") }
}

pub fn credential(body: &CredentialPut) -> Result<(), Problem> {
    let mut faults = Faults::default();
    if !is_host(&body.host) {
        faults.add(
            "/host",
            "a lower-case host name or IPv4 address is needed, with or without port, without scheme or path",
        );
    }
    let bad =
        |text: &str, max: usize| text.is_empty() || text.chars().count() > max || text.chars().any(char::is_control);
    if body.username.as_deref().is_some_and(|name| bad(name, 255) || name.contains(':')) {
        faults.add("/username", "1 to 255 characters without colon or control characters are allowed");
    }
    if bad(&body.token, 4096) {
        faults.add("/token", "1 to 4096 characters without control characters are allowed");
    }
    faults.into_result()
}

/// A name or IPv4 address as it is written after `https://`, in the one spelling that credentials are compared in.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port_is_fine = port.is_none_or(|port| {
        !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    let alphanumeric = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let label_is_fine = |label: &str| {
        let bytes = label.as_bytes();
        label.len() <= 63
            && alphanumeric(bytes.first().copied())
            && alphanumeric(bytes.last().copied())
            && bytes.iter().all(|b| *b == b'-' || alphanumeric(Some(*b)))
    };
    let last_begins = name.rsplit('.').next().and_then(|label| label.bytes().next());
    let is_name = name.len() <= 253
        && name.split('.').all(label_is_fine)
        // Else it is a number in disguise: `127.0x1`, `2130706433`.
        && last_begins.is_some_and(|b| b.is_ascii_lowercase());
    // What the parser changes, or does not take (`xn--` and rubbish), would be compared with nothing.
    let as_parsed = Url::parse(&format!("https://{name}/")).ok();
    port_is_fine
        && (is_name || name.parse::<Ipv4Addr>().is_ok())
        && as_parsed.as_ref().and_then(Url::host_str) == Some(name)
}

pub fn webhook(body: &WebhookPut, allow: &AddressPolicy) -> Result<(), Problem> {
    let check = || {
        let url = parsed(&body.url)?;
        if has_user_info(&body.url) {
            return Err("credentials do not belong into a URL; deliveries are signed".into());
        }
        checked(url, allow)
    };
    check().map(drop).map_err(|message| Problem::invalid_field("/url", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: serde_json::Value) -> Vec<String> {
        let body: ScanRequest = serde_json::from_value(body).unwrap();
        match scan_request(&body, &AddressPolicy::default()) {
            Ok(_) => Vec::new(),
            Err(problem) => problem.errors.into_iter().map(|e| e.field).collect(),
        }
    }

    fn git(url: &str) -> Vec<String> {
        fields(serde_json::json!({ "target": { "type": "git", "url": url } }))
    }

    #[test]
    fn only_public_https_urls_are_taken() {
        assert!(git("https://github.com/psf/requests").is_empty());
        for bad in [
            "http://github.com/psf/requests",
            "file:///etc/passwd",
            "ssh://git@github.com/psf/requests",
            "git://github.com/psf/requests",
            "ext::sh -c id",
            "https://user:secret@github.com/x",
            "https://127.0.0.1/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://0177.0.0.1/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://169.254.169.254/latest",
            "https://github.com:22/x",
            "https://github.com/x?y=1",
            "not a url",
            "",
            "ssh://github.com/psf/requests",
            "git@github.com:psf/requests",
            "git+ssh://github.com/psf/requests",
            "fd::17",
            "--upload-pack=id",
            "/etc/passwd",
            "data:text/plain,x",
            "ftp://github.com/x",
            "https:github.com/x",
            "https:/github.com/x",
            "HTTPS://github.com/x",
            " https://github.com/x",
            "https://github.com/x\n",
            "https://git\nhub.com/x",
            "https://git\u{0}hub.com/x",
            "https:\\\\github.com\\x",
            "https://github.com\\@127.0.0.1/x",
            "https://github.com@127.0.0.1/x",
            "https://:@github.com/x",
            "https://user:@github.com/x",
            "https://",
            "https:///x",
            "https://github.com/x#main",
            "https://github.com:0/x",
            "https://github.com:65536/x",
            "https://127.1/x",
            "https://127.0.0.1./x",
            "https://017700000001/x",
            "https://0/x",
            "https://１２７.0.0.1/x",
            "https://127。0。0。1/x",
            "https://①②⑦.0.0.1/x",
            "https://müller.example/x",
            "https://github\u{ad}.com/x",
            "https://xn--a/x",
            "https://[::1]/x",
            "https://[::]/x",
            "https://[::127.0.0.1]/x",
            "https://[64:ff9b::127.0.0.1]/x",
            "https://[64:ff9b:1::10.0.0.1]/x",
            "https://[2002:7f00:1::]/x",
            "https://[fe80::1%25eth0]/x",
            "https://[fe80::1%eth0]/x",
            "https://[fd00:ec2::254]/x",
            "https://[::ffff:a9fe:a9fe]/x",
            "https://192.168.0.1/x",
            "https://172.16.0.1/x",
            "https://100.64.0.1/x",
            "https://168.63.129.16/x",
        ] {
            assert_eq!(git(bad), ["/target/url"], "{bad}");
        }
    }

    #[test]
    fn refs_that_git_or_a_shell_would_misread_are_refused() {
        let long = "a".repeat(256);
        for bad in [
            "--upload-pack=id",
            "-u",
            "a..b",
            "a b",
            "a:b",
            "+main:main",
            "x.lock",
            "a.lock/b",
            "a//b",
            "/a",
            "a/",
            "@",
            "@{1}",
            "",
            ".a",
            "a/.b",
            "a.",
            "a\u{7}",
            "a\u{0}",
            "main\nwant 0",
            "a\u{85}b",
            "refs/*",
            "a?",
            "a[b",
            "a\\b",
            "a~1",
            "a^",
            &long,
        ] {
            for field in ["branch", "tag"] {
                let body =
                    serde_json::json!({ "target": { "type": "git", "url": "https://github.com/a/b", field: bad } });
                assert_eq!(fields(body), [format!("/target/{field}")], "{bad:?}");
            }
            let body = serde_json::json!({ "target": {
                "type": "upload", "upload_id": "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3b02", "repository": "r", "branch": bad } });
            assert_eq!(fields(body), ["/target/branch"], "{bad:?}");
        }
        for bad in ["--upload-pack=id", "HEAD", "abc", &"A".repeat(40), &"a".repeat(41), &"a".repeat(39), ""] {
            let body =
                serde_json::json!({ "target": { "type": "git", "url": "https://github.com/a/b", "commit": bad } });
            assert_eq!(fields(body), ["/target/commit"], "{bad:?}");
        }
        let body = serde_json::json!({ "target": { "type": "git", "url": "https://github.com/a/b", "branch": "feature/x-1.2" } });
        assert!(fields(body).is_empty());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let body = serde_json::json!({
            "target": { "type": "git", "url": "ftp://x/y", "branch": "main", "commit": "abc" },
            "engines": ["nessus", "ruff", "ruff"],
        });
        assert_eq!(fields(body), ["/engines/0", "/engines/2", "/target", "/target/commit", "/target/url"]);
    }

    #[test]
    fn a_credential_names_one_plain_host() {
        let put = |host: &str| credential(&CredentialPut { host: host.into(), username: None, token: "t".into() });
        for good in [
            "github.com",
            "git.example.com:8443",
            "github.com:443",
            "localhost:3000",
            "8.8.8.8",
            "xn--mller-kva.example",
        ] {
            assert!(put(good).is_ok(), "{good:?}");
        }
        for bad in [
            "https://github.com",
            "github.com/x",
            "GitHub.com",
            "",
            "a b",
            "user@github.com",
            "github.com.",
            ".github.com",
            "a..b",
            "-a.b",
            "a-.b",
            "github.com:",
            "github.com:0",
            "github.com:0443",
            "github.com:65536",
            "github.com:+443",
            "127.1",
            "0177.0.0.1",
            "2130706433",
            "0x7f.1",
            "127.0x1",
            "256.1.1.1",
            "[::1]",
            "xn--a",
            "müller.example",
            "github.com?x",
            "github.com#x",
            "github.com\\x",
            "github.com%00",
        ] {
            assert!(put(bad).is_err(), "{bad:?}");
        }
    }
}
