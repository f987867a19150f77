//! What a request may say. Every refusal names its field, and all wrong fields are told at once.

use dunlin_contracts::{
    api::{CredentialPut, ScanRequest, Target, UploadRequest, WebhookPut},
    problem::{FieldError, Problem},
};
use dunlin_core::repository::RepositoryName;
use dunlin_egress::AddressPolicy;
use lambda_http::Request;
use url::Url;

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
    if text.len() > MAX_URL {
        return Err(format!("at most {MAX_URL} characters are allowed"));
    }
    let url = Url::parse(text).map_err(|e| format!("this is not a URL: {e}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into a URL; store them with PUT /v1/credentials/{name}".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a query or fragment is not allowed".into());
    }
    checked(url, allow)
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
    let host = Url::parse(&format!("https://{}/", body.host));
    let is_host = host.is_ok_and(|url| {
        let with_port = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        with_port == body.host && url.path() == "/"
    });
    if !is_host {
        faults.add("/host", "a lower-case host name is needed, without scheme or path");
    }
    let bad = |text: &str, max: usize| text.is_empty() || text.len() > max || text.chars().any(char::is_control);
    if body.username.as_deref().is_some_and(|name| bad(name, 255) || name.contains(':')) {
        faults.add("/username", "1 to 255 characters without colon or control characters are allowed");
    }
    if bad(&body.token, 4096) {
        faults.add("/token", "1 to 4096 characters without control characters are allowed");
    }
    faults.into_result()
}

pub fn webhook(body: &WebhookPut, allow: &AddressPolicy) -> Result<(), Problem> {
    let check = || {
        if body.url.len() > MAX_URL {
            return Err(format!("at most {MAX_URL} characters are allowed"));
        }
        let url = Url::parse(&body.url).map_err(|e| format!("this is not a URL: {e}"))?;
        if !url.username().is_empty() || url.password().is_some() {
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
        ] {
            assert_eq!(git(bad), ["/target/url"], "{bad}");
        }
    }

    #[test]
    fn refs_that_git_or_a_shell_would_misread_are_refused() {
        for bad in ["--upload-pack=id", "a..b", "a b", "a:b", "x.lock", "a//b", "@{1}", "", ".a", "a\u{7}"] {
            let body =
                serde_json::json!({ "target": { "type": "git", "url": "https://github.com/a/b", "branch": bad } });
            assert_eq!(fields(body), ["/target/branch"], "{bad:?}");
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
        assert!(put("github.com").is_ok() && put("git.example.com:8443").is_ok());
        for bad in ["https://github.com", "github.com/x", "GitHub.com", "", "a b", "user@github.com"] {
            assert!(put(bad).is_err(), "{bad:?}");
        }
    }
}
