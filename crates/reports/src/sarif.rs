//! SARIF 2.1.0, one run with Dunlin as the tool and the engines as its extensions. Rules are the driver's, in the order they
//! were written, so a result names its rule by index. A scan that did not finish says so in its invocation: incomplete
//! is not clean.

use crate::{Items, ReportEngine, ReportError, ReportHead, ReportWriter, words::web_address};
use dunlin_contracts::api::FindingView;
use dunlin_core::finding::{Confidence, Rule, Severity};
use serde::Serialize;
use serde_json::{Value, json};
use std::{borrow::Cow, collections::HashMap, fmt::Write as _, io::Write};

pub struct SarifReport<W> {
    out: W,
    items: Items,
    /// Id -> position: the one thing that grows, with the number of rules and not of findings.
    rules: HashMap<String, usize>,
    tail: Value,
    in_results: bool,
}

impl<W: Write> SarifReport<W> {
    pub fn begin(mut out: W, head: &ReportHead) -> Result<Self, ReportError> {
        out.write_all(
            b"{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[{\n\"tool\":{\"driver\":",
        )?;
        out.write_all(b"{\"name\":\"Dunlin\",\"version\":")?;
        serde_json::to_writer(&mut out, &head.version)?;
        out.write_all(b",\"rules\":[")?;
        Ok(Self { out, items: Items::new(), rules: HashMap::new(), tail: tail(head), in_results: false })
    }

    fn open_results(&mut self) -> Result<(), ReportError> {
        if self.in_results {
            return Ok(());
        }
        self.in_results = true;
        self.items = Items::new();
        self.out.write_all(b"]}")?;
        self.field("extensions")?;
        self.out.write_all(b"}")?;
        for name in ["invocations", "automationDetails", "versionControlProvenance", "originalUriBaseIds", "properties"]
        {
            self.field(name)?;
        }
        self.out.write_all(b",\n\"columnKind\":\"unicodeCodePoints\",\"results\":[")?;
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<(), ReportError> {
        if let Some(value) = self.tail.get(name) {
            write!(self.out, ",\n\"{name}\":")?;
            serde_json::to_writer(&mut self.out, value)?;
        }
        Ok(())
    }
}

impl<W: Write> ReportWriter for SarifReport<W> {
    fn rule(&mut self, rule: &Rule) -> Result<(), ReportError> {
        let position = self.rules.len();
        if self.rules.insert(rule.id.clone(), position).is_some() {
            self.rules.remove(&rule.id);
            return Err(ReportError::UnknownRule(rule.id.clone()));
        }
        self.items.write(&mut self.out, &descriptor(rule))
    }

    fn finding(&mut self, finding: &FindingView) -> Result<(), ReportError> {
        let index = *self.rules.get(&finding.rule).ok_or_else(|| ReportError::UnknownRule(finding.rule.clone()))?;
        self.open_results()?;
        self.items.write(&mut self.out, &result(finding, index))
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.open_results()?;
        self.out.write_all(b"\n]}]}\n")?;
        Ok(self.out.flush()?)
    }
}

fn tail(head: &ReportHead) -> Value {
    let mut engines: Vec<(&str, &str)> = head.engines.iter().map(|e| (e.engine.as_str(), e.version.as_str())).collect();
    engines.sort_unstable();
    engines.dedup();
    let extensions: Vec<_> = engines.iter().map(|(name, version)| json!({"name": name, "version": version})).collect();

    let incomplete = head.engines.iter().filter(|engine| !engine.is_complete()).map(notification);
    let warnings = head.warnings.iter().map(|words| json!({"level": "warning", "message": {"text": words}}));
    let notifications: Vec<_> = incomplete.chain(warnings).collect();
    let successful = head.state == "complete" && head.engines.iter().all(ReportEngine::is_complete);
    let started = head.started_at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let mut tail = json!({
        "extensions": extensions,
        "invocations": [{
            "executionSuccessful": successful,
            "startTimeUtc": started,
            "toolExecutionNotifications": notifications,
        }],
        "automationDetails": {"id": format!("dunlin/{}/{}", head.repository, head.scan_id)},
        "originalUriBaseIds": {"ROOT": {"description": {"text": "the repository's root"}}},
        "properties": {"scanId": head.scan_id, "state": head.state, "track": head.track, "repository": head.repository},
    });
    if let Some(url) = &head.repository_url {
        let mut provenance = json!({"repositoryUri": url, "revisionId": head.revision});
        if let Some(branch) = branch(&head.track, &head.revision) {
            provenance["branch"] = json!(branch);
        }
        tail["versionControlProvenance"] = json!([provenance]);
    }
    tail
}

/// Of a track that is a branch. Tags and uploads have a colon, which git allows in no name; a commit is its own track.
fn branch<'a>(track: &'a str, revision: &str) -> Option<&'a str> {
    (!track.contains(':') && track != revision && !track.is_empty()).then_some(track)
}

fn notification(engine: &ReportEngine) -> Value {
    let outcome = engine.outcome.replace('_', " ");
    let why = engine.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    json!({
        "level": "error",
        "descriptor": {"id": engine.outcome},
        "message": {"text": format!("{} {outcome}{why}", engine.engine)},
        "properties": {"engine": engine.engine, "files": engine.files},
    })
}

fn descriptor(rule: &Rule) -> Value {
    let cwe = rule.cwe.iter().map(|n| format!("external/cwe/cwe-{n:03}"));
    let tags: Vec<_> = std::iter::once("security".to_owned()).chain([rule.engine.clone()]).chain(cwe).collect();
    let mut value = json!({
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.name},
        "defaultConfiguration": {"level": level(rule.severity)},
        "properties": {
            "tags": tags,
            "precision": precision(rule.confidence),
            "security-severity": score(rule.severity),
            "severity": rule.severity.as_str(),
        },
    });
    if let Some(description) = &rule.description {
        value["fullDescription"] = json!({"text": description});
        value["help"] = json!({"text": description});
    }
    if let Some(url) = rule.help_url.as_deref().and_then(web_address) {
        value["helpUri"] = json!(url);
    }
    value
}

/// A result, as SARIF spells it (3.27). Borrowed and typed, because a scan may have 200,000.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    baseline_state: &'static str,
    level: &'static str,
    locations: [Place<'a>; 1],
    message: Text<'a>,
    partial_fingerprints: Fingerprint<'a>,
    properties: Properties<'a>,
    rule_id: &'a str,
    rule_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressions: Option<[Suppression; 1]>,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Fingerprint<'a> {
    #[serde(rename = "dunlin/v1")]
    ours: &'a str,
}

#[derive(Serialize)]
struct Properties<'a> {
    confidence: &'static str,
    engine: &'a str,
    id: uuid::Uuid,
    #[serde(rename = "security-severity")]
    score: &'static str,
    severity: &'static str,
    state: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place<'a> {
    physical_location: PhysicalLocation<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation<'a> {
    artifact_location: Artifact<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_region: Option<ContextRegion<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact<'a> {
    uri: Cow<'a, str>,
    uri_base_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextRegion<'a> {
    end_line: u32,
    snippet: Text<'a>,
    start_line: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    #[serde(skip_serializing_if = "Option::is_none")]
    end_line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<u32>,
    start_line: u32,
}

#[derive(Serialize)]
struct Suppression {
    kind: &'static str,
    status: &'static str,
}

fn result(finding: &FindingView, index: usize) -> SarifResult<'_> {
    let region = finding.start_line.map(|start_line| Region {
        end_line: finding.end_line,
        start_column: finding.start_column,
        start_line,
    });
    let context_region = finding.start_line.zip(finding.snippet.as_deref()).map(|(start, snippet)| {
        // The snippet shows the lines around the place, so it belongs to the context region (3.29.5).
        let before = start.saturating_sub(1).max(1);
        let lines = u32::try_from(snippet.split('\n').count()).unwrap_or(1);
        ContextRegion { end_line: before + lines - 1, snippet: Text { text: snippet }, start_line: before }
    });
    let artifact_location = Artifact { uri: encode(&finding.path), uri_base_id: "ROOT" };
    let accepted = matches!(finding.state.as_str(), "false_positive" | "accepted" | "duplicate");
    SarifResult {
        baseline_state: if finding.new { "new" } else { "unchanged" },
        level: level(finding.severity),
        locations: [Place { physical_location: PhysicalLocation { artifact_location, context_region, region } }],
        message: Text { text: &finding.message },
        partial_fingerprints: Fingerprint { ours: &finding.fingerprint },
        properties: Properties {
            confidence: finding.confidence.as_str(),
            engine: &finding.engine,
            id: finding.id,
            score: score(finding.severity),
            severity: finding.severity.as_str(),
            state: &finding.state,
        },
        rule_id: &finding.rule,
        rule_index: index,
        suppressions: accepted.then_some([Suppression { kind: "external", status: "accepted" }]),
    }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// The middle of the bands that code-scanning dashboards use.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    }
}

const fn precision(confidence: Confidence) -> &'static str {
    confidence.as_str()
}

/// A path as a URI reference (RFC 3986): without this, a `:` in the first part would be a scheme.
pub(crate) fn encode(path: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
    if path.bytes().all(plain) {
        return Cow::Borrowed(path);
    }
    let mut uri = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if plain(byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    Cow::Owned(uri)
}
