//! SARIF 2.1.0 (OASIS), as engines really write it: the section numbers are those of the standard.

use super::{RawPlace, RawReport, RawResult, RawRule, ReportError, words};
use crate::EngineManifest;
use dunlin_core::finding::{Confidence, Severity};
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct Log {
    version: Option<String>,
    runs: Option<Vec<SarifRun>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifRun {
    tool: Option<Tool>,
    /// 3.14.23: null when the engine did not come to the point of producing results.
    results: Option<Vec<SarifResult>>,
    #[serde(default)]
    invocations: Vec<Invocation>,
    #[serde(default)]
    original_uri_base_ids: HashMap<String, Artifact>,
    #[serde(default)]
    artifacts: Vec<ArtifactEntry>,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(default)]
    driver: Component,
    #[serde(default)]
    extensions: Vec<Component>,
}

#[derive(Default, Deserialize)]
struct Component {
    /// Some engines write null.
    rules: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: Option<String>,
    name: Option<String>,
    short_description: Option<Text>,
    full_description: Option<Text>,
    help: Option<Text>,
    help_uri: Option<String>,
    default_configuration: Option<Configuration>,
    #[serde(default)]
    relationships: Vec<Relationship>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Deserialize)]
struct Configuration {
    level: Option<String>,
}

#[derive(Deserialize)]
struct Relationship {
    target: Option<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    id: Option<String>,
    index: Option<i64>,
    tool_component: Option<Box<Reference>>,
}

#[derive(Deserialize)]
struct Text {
    text: Option<String>,
    markdown: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    rule: Option<Reference>,
    kind: Option<String>,
    level: Option<String>,
    message: Option<Message>,
    locations: Option<Vec<SarifLocation>>,
    suppressions: Option<Vec<Suppression>>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Deserialize)]
struct Message {
    text: Option<String>,
    markdown: Option<String>,
    id: Option<String>,
    #[serde(default)]
    arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Suppression {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifLocation {
    physical_location: Option<PhysicalLocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: Option<Artifact>,
    region: Option<Region>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    uri: Option<String>,
    uri_base_id: Option<String>,
    index: Option<i64>,
}

#[derive(Deserialize)]
struct ArtifactEntry {
    location: Option<Artifact>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: Option<Number>,
    start_column: Option<Number>,
    end_line: Option<Number>,
    end_column: Option<Number>,
}

/// Whatever stands where a number belongs: one bad line does not make a report unreadable.
#[derive(Clone, Copy)]
struct Number(Option<i64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(serde_json::Value::deserialize(d)?.as_i64()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: Option<bool>,
    #[serde(default)]
    tool_execution_notifications: Vec<Notification>,
    #[serde(default)]
    tool_configuration_notifications: Vec<Notification>,
}

#[derive(Deserialize)]
struct Notification {
    level: Option<String>,
    message: Option<Message>,
    #[serde(default)]
    locations: Vec<SarifLocation>,
}

type Properties = serde_json::Map<String, serde_json::Value>;

pub(super) fn read(bytes: &[u8], manifest: &EngineManifest) -> Result<RawReport, ReportError> {
    let log: Log =
        serde_json::from_slice(bytes).map_err(|source| ReportError::Malformed { format: "sarif", source })?;
    if !log.version.is_some_and(|version| version.starts_with("2.1")) {
        return Err(ReportError::Incomplete { missing: "version 2.1" });
    }
    let runs = log.runs.filter(|runs| !runs.is_empty()).ok_or(ReportError::Incomplete { missing: "a run" })?;
    let mut report = RawReport::default();
    for run in runs {
        read_run(run, manifest, &mut report)?;
    }
    Ok(report)
}

fn read_run(mut run: SarifRun, manifest: &EngineManifest, report: &mut RawReport) -> Result<(), ReportError> {
    let results = run.results.take();
    complaints(&run.invocations, results.as_ref().is_none_or(Vec::is_empty), report)?;
    let results = results.ok_or(ReportError::Incomplete { missing: "results" })?;
    let Some(tool) = run.tool.take() else { return Err(ReportError::Incomplete { missing: "a tool" }) };

    let components: Vec<Vec<Descriptor>> =
        std::iter::once(tool.driver).chain(tool.extensions).map(|part| part.rules.unwrap_or_default()).collect();
    for descriptor in components.iter().flatten() {
        if let Some(id) = &descriptor.id {
            report.rules.entry(id.clone()).or_insert_with(|| raw_rule(descriptor));
        }
    }
    for result in results {
        let kind = result.kind.as_deref().unwrap_or("fail");
        if matches!(kind, "pass" | "notApplicable") {
            continue;
        }
        if is_suppressed(&result) {
            report.suppressed += 1;
            continue;
        }
        let descriptor = descriptor(&components, &result);
        let rule = descriptor
            .and_then(|descriptor| descriptor.id.clone())
            .or_else(|| result.rule_id.clone())
            .or_else(|| result.rule.as_ref().and_then(|rule| rule.id.clone()))
            .unwrap_or_else(|| manifest.report.unnamed_rule.clone());
        let known = report.rules.get(&rule);
        report.results.push(RawResult {
            severity: severity(&result, known),
            confidence: confidence(&result.properties),
            message: message(result.message.as_ref()),
            place: place(&result, &run),
            rule,
        });
    }
    Ok(())
}

/// 3.20.14 and 3.20.21: an engine that says it failed, and the files it complains about.
fn complaints(invocations: &[Invocation], nothing_found: bool, report: &mut RawReport) -> Result<(), ReportError> {
    for invocation in invocations {
        let failed = invocation.execution_successful == Some(false);
        let notes = invocation.tool_execution_notifications.iter().chain(&invocation.tool_configuration_notifications);
        let before = report.complaints.len();
        for note in notes.filter(|note| note.level.as_deref() == Some("error")) {
            let uri = note
                .locations
                .first()
                .and_then(|place| place.physical_location.as_ref()?.artifact_location.as_ref()?.uri.clone());
            let words = message(note.message.as_ref());
            report.complaints.push(match uri.as_deref().and_then(|uri| uri.rsplit('/').next()) {
                Some(file) => format!("{file}: {words}"),
                None => words,
            });
        }
        if failed && report.complaints.len() == before {
            if nothing_found {
                return Err(ReportError::EngineFailed { words: "execution was not successful".to_owned() });
            }
            report.complaints.push("execution was not successful".to_owned());
        }
    }
    Ok(())
}

/// 3.27.23: a suppression counts unless it is under review or was rejected.
fn is_suppressed(result: &SarifResult) -> bool {
    let list = result.suppressions.as_deref().unwrap_or_default();
    !list.is_empty() && list.iter().all(|s| matches!(s.status.as_deref(), None | Some("accepted")))
}

/// 3.52: the index decides, then the id; the id of a result may be hierarchical (`rule/part`).
fn descriptor<'a>(components: &'a [Vec<Descriptor>], result: &SarifResult) -> Option<&'a Descriptor> {
    let reference = result.rule.as_ref();
    let component =
        reference.and_then(|rule| rule.tool_component.as_ref()?.index).map_or(0, |index| index.saturating_add(1));
    let index = result.rule_index.or_else(|| reference.and_then(|rule| rule.index));
    let by_index = components.get(usize::try_from(component).ok()?)?.get(usize::try_from(index?).ok()?)?;
    let id = result.rule_id.as_deref().or_else(|| reference.and_then(|rule| rule.id.as_deref()));
    let agrees = match (id, by_index.id.as_deref()) {
        (Some(id), Some(own)) => id == own || id.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')),
        _ => true,
    };
    agrees.then_some(by_index)
}

fn raw_rule(descriptor: &Descriptor) -> RawRule {
    let text = |text: &Option<Text>| text.as_ref().and_then(|text| text.text.clone().or_else(|| text.markdown.clone()));
    let full = text(&descriptor.full_description);
    let tags = descriptor.properties.get("tags").and_then(|tags| tags.as_array());
    let tags = tags.into_iter().flatten().filter_map(|tag| tag.as_str());
    let related = descriptor.relationships.iter().filter_map(|related| related.target.as_ref()?.id.as_deref());
    let cwe_property =
        ["cwe", "cwe_id", "CWE"].into_iter().filter_map(|name| descriptor.properties.get(name)?.as_str());
    let mut cwe = words::cwe_numbers(tags.chain(related).chain(cwe_property));
    if cwe.is_empty() {
        cwe = words::cwe_numbers(full.as_deref());
    }
    let level = descriptor.default_configuration.as_ref().and_then(|configuration| configuration.level.as_deref());
    let stated = stated_severity(&descriptor.properties);
    RawRule {
        scored: stated.is_some(),
        // Ruff's short descriptions are templates with gaps; its names are in the properties.
        name: (descriptor.properties.get("name").and_then(|name| name.as_str()).map(str::to_owned))
            .or_else(|| text(&descriptor.short_description))
            .or_else(|| descriptor.name.clone()),
        description: full.or_else(|| text(&descriptor.help)),
        help_url: descriptor.help_uri.clone(),
        cwe,
        severity: stated.or_else(|| level.and_then(words::severity_word)),
        confidence: confidence(&descriptor.properties),
    }
}

/// A score says more than a level: three words cannot tell high from critical.
fn severity(result: &SarifResult, rule: Option<&RawRule>) -> Option<Severity> {
    stated_severity(&result.properties)
        .or_else(|| rule.and_then(|rule| rule.severity.filter(|_| rule.scored)))
        .or_else(|| result.level.as_deref().and_then(words::severity_word))
        .or_else(|| rule.and_then(|rule| rule.severity))
}

fn stated_severity(properties: &Properties) -> Option<Severity> {
    let number = |value: &serde_json::Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    if let Some(score) = properties.get("security-severity").and_then(number) {
        return words::severity_number(score);
    }
    let named = |name: &str| {
        name.eq_ignore_ascii_case("severity") || name.ends_with("/severity") || name.ends_with("_severity")
    };
    properties.iter().filter(|(name, _)| named(name)).find_map(|(_, value)| words::severity_word(value.as_str()?))
}

fn confidence(properties: &Properties) -> Option<Confidence> {
    let named = |name: &str| {
        name == "precision" || name == "confidence" || name.ends_with("/confidence") || name.ends_with("_confidence")
    };
    properties.iter().filter(|(name, _)| named(name)).find_map(|(_, value)| words::confidence_word(value.as_str()?))
}

fn message(message: Option<&Message>) -> String {
    let Some(message) = message else { return String::new() };
    let template = message.text.as_ref().or(message.markdown.as_ref()).or(message.id.as_ref());
    let words = template.cloned().unwrap_or_default();
    message
        .arguments
        .iter()
        .enumerate()
        .fold(words, |words, (n, argument)| words.replace(&format!("{{{n}}}"), argument))
}

fn place(result: &SarifResult, run: &SarifRun) -> RawPlace {
    let physical = result.locations.iter().flatten().find_map(|location| location.physical_location.as_ref());
    let Some(physical) = physical else { return RawPlace::default() };
    let Some(artifact) = physical.artifact_location.as_ref() else { return RawPlace::default() };
    // 3.4.5: a location may only point into the run's list of artifacts.
    let listed = artifact.index.and_then(|index| run.artifacts.get(usize::try_from(index).ok()?)?.location.as_ref());
    let artifact = if artifact.uri.is_some() { artifact } else { listed.unwrap_or(artifact) };
    let number = |n: Option<Number>| n.and_then(|n| n.0);
    let region = physical.region.as_ref();
    RawPlace {
        uri: artifact.uri.clone(),
        base: artifact.uri_base_id.as_ref().and_then(|id| base(id, &run.original_uri_base_ids, 0)),
        encoded: true,
        start_line: region.and_then(|region| number(region.start_line)),
        start_column: region.and_then(|region| number(region.start_column)),
        end_line: region.and_then(|region| number(region.end_line)),
        end_column: region.and_then(|region| number(region.end_column)),
    }
}

/// 3.14.14: a base may be relative to another base. Ids without a URI (`%SRCROOT%`, mostly) mean the root.
fn base(id: &str, bases: &HashMap<String, Artifact>, depth: u32) -> Option<String> {
    let found = bases.get(id)?;
    let uri = found.uri.clone()?;
    let parent = found.uri_base_id.as_ref().filter(|_| depth < 8).and_then(|parent| base(parent, bases, depth + 1));
    Some(match parent {
        Some(parent) => format!("{}/{uri}", parent.trim_end_matches('/')),
        None => uri,
    })
}
