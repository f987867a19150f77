//! The parts of a SARIF log that become findings, read as they come. The order of fields is free: what a result refers to may
//! come after it, so results wait, in as few bytes as they need.

use super::super::{
    RawRule,
    bounds::{self, Kept},
    json::{Any, Elements, Fields, List, Object, Scalar, Text, first_chars},
    words,
};
use crate::EngineManifest;
use dunlin_core::finding::{Confidence, Severity};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use std::collections::HashMap;

/// Ids of rules and bases, words like `error`, names.
const WORD_CHARS: usize = 1_000;
/// Longer than any path, percent-encoded.
const URI_CHARS: usize = 16_000;
/// More rules than any engine has. Results may still name a later one by its id.
const MAX_DESCRIPTORS: usize = 200_000;
/// As many files as a snapshot has.
const MAX_ARTIFACTS: usize = 200_000;
const MAX_BASES: usize = 1_000;
const MAX_EXTENSIONS: usize = 1_000;
/// More of them are counted and not kept.
const MAX_COMPLAINTS: usize = 100;

/// 3.14
pub(super) struct Run<'a> {
    manifest: &'a EngineManifest,
    pub kept: Kept,
    pub has_tool: bool,
    /// Ids by position: the driver's, then those of each extension.
    pub components: Vec<Vec<Option<String>>>,
    pub rules: HashMap<String, RawRule>,
    /// 3.14.23: null when the engine did not come to the point of producing results.
    pub results: Option<Vec<SarifResult>>,
    pub suppressed: u64,
    pub failed_invocations: u64,
    pub notes: Notes,
    pub bases: HashMap<String, Artifact>,
    pub artifacts: Vec<Artifact>,
}

impl<'a> Run<'a> {
    pub fn new(manifest: &'a EngineManifest, kept: Kept) -> Self {
        Self {
            manifest,
            kept,
            has_tool: false,
            components: vec![Vec::new()],
            rules: HashMap::new(),
            results: None,
            suppressed: 0,
            failed_invocations: 0,
            notes: Notes::default(),
            bases: HashMap::new(),
            artifacts: Vec::new(),
        }
    }
}

impl Object for Run<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "tool" => map.next_value_seed(Fields(&mut Tool(self)))?,
            "results" => map.next_value_seed(Elements(&mut Results(self)))?,
            "invocations" => map.next_value_seed(Elements(&mut Invocations(self)))?,
            "originalUriBaseIds" => map.next_value_seed(Fields(&mut Bases(&mut self.bases)))?,
            "artifacts" => map.next_value_seed(Elements(&mut Artifacts(&mut self.artifacts)))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

struct Tool<'a, 'b>(&'a mut Run<'b>);

impl Object for Tool<'_, '_> {
    fn begin(&mut self) {
        self.0.has_tool = true;
    }
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "driver" => map.next_value_seed(Fields(&mut Component(self.0, 0)))?,
            "extensions" => map.next_value_seed(Elements(&mut Extensions(self.0)))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

struct Extensions<'a, 'b>(&'a mut Run<'b>);

impl List for Extensions<'_, '_> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.0.components.len() > MAX_EXTENSIONS {
            return Ok(list.next_element::<IgnoredAny>()?.is_some());
        }
        self.0.components.push(Vec::new());
        let position = self.0.components.len() - 1;
        let some = list.next_element_seed(Fields(&mut Component(self.0, position)))?.is_some();
        if !some {
            self.0.components.pop();
        }
        Ok(some)
    }
}

/// The run, and the position of the component.
struct Component<'a, 'b>(&'a mut Run<'b>, usize);

impl Object for Component<'_, '_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "rules" {
            return Ok(false);
        }
        map.next_value_seed(Elements(self))?;
        Ok(true)
    }
}

impl List for Component<'_, '_> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.0.components.iter().map(Vec::len).sum::<usize>() >= MAX_DESCRIPTORS {
            return Ok(list.next_element::<IgnoredAny>()?.is_some());
        }
        let mut descriptor = Descriptor::default();
        if list.next_element_seed(Fields(&mut descriptor))?.is_none() {
            return Ok(false);
        }
        let id = descriptor.id.take();
        if let Some(id) = &id {
            self.0.rules.entry(id.clone()).or_insert_with(|| descriptor.into_rule());
        }
        self.0.components[self.1].push(id);
        Ok(true)
    }
}

/// 3.49
#[derive(Default)]
struct Descriptor {
    id: Option<String>,
    name: Option<String>,
    short: Words,
    full: Words,
    help: Words,
    help_uri: Option<String>,
    level: Level,
    related: Related,
    properties: Properties,
}

impl Object for Descriptor {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "id" => map.next_value_seed(Text(&mut self.id, WORD_CHARS))?,
            "name" => map.next_value_seed(Text(&mut self.name, WORD_CHARS))?,
            "shortDescription" => map.next_value_seed(Fields(&mut self.short))?,
            "fullDescription" => map.next_value_seed(Fields(&mut self.full))?,
            "help" => map.next_value_seed(Fields(&mut self.help))?,
            "helpUri" => map.next_value_seed(Text(&mut self.help_uri, WORD_CHARS))?,
            "defaultConfiguration" => map.next_value_seed(Fields(&mut self.level))?,
            "relationships" => map.next_value_seed(Elements(&mut self.related))?,
            "properties" => map.next_value_seed(Fields(&mut self.properties))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Descriptor {
    fn into_rule(self) -> RawRule {
        let full = self.full.either();
        let related = self.related.ids.iter().map(String::as_str);
        let told = self.properties.tags.iter().map(String::as_str).chain(related);
        let mut cwe = words::cwe_numbers(told.chain(self.properties.cwe.iter().map(String::as_str)));
        if cwe.is_empty() {
            cwe = words::cwe_numbers(full.as_deref());
        }
        let stated = self.properties.severity();
        RawRule {
            scored: stated.is_some(),
            // Ruff's short descriptions are templates with gaps; its names are in the properties.
            name: self.properties.name.or_else(|| self.short.either()).or(self.name),
            // One more than is shown, so that it shows that something was cut.
            description: (full.or_else(|| self.help.either()))
                .map(|words| first_chars(&words, bounds::MESSAGE_CHARS + 1).to_owned()),
            help_url: self.help_uri,
            cwe,
            severity: stated.or_else(|| self.level.0.as_deref().and_then(words::severity_word)),
            confidence: self.properties.confidence,
        }
    }
}

#[derive(Default)]
struct Level(Option<String>);

impl Object for Level {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "level" {
            return Ok(false);
        }
        map.next_value_seed(Text(&mut self.0, WORD_CHARS))?;
        Ok(true)
    }
}

/// 3.12
#[derive(Default)]
struct Words {
    text: Option<String>,
    markdown: Option<String>,
}

impl Words {
    fn either(self) -> Option<String> {
        self.text.or(self.markdown)
    }
}

impl Object for Words {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "text" => map.next_value_seed(Text(&mut self.text, bounds::RAW_MESSAGE_CHARS))?,
            "markdown" => map.next_value_seed(Text(&mut self.markdown, bounds::RAW_MESSAGE_CHARS))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The ids of the targets of a list of relationships.
#[derive(Default)]
struct Related {
    ids: Vec<String>,
}

impl List for Related {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.ids.len() > 200 {
            return Ok(list.next_element::<IgnoredAny>()?.is_some());
        }
        let mut one = Relationship(Reference::default());
        let some = list.next_element_seed(Fields(&mut one))?.is_some();
        self.ids.extend(one.0.id);
        Ok(some)
    }
}

struct Relationship(Reference);

impl Object for Relationship {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "target" {
            return Ok(false);
        }
        map.next_value_seed(Fields(&mut self.0))?;
        Ok(true)
    }
}

/// 3.52
#[derive(Debug, Default)]
pub(super) struct Reference {
    pub id: Option<String>,
    pub index: Option<i64>,
    /// Of the extension that has the rule; none is the driver.
    pub component: Option<i64>,
}

impl Object for Reference {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "id" => map.next_value_seed(Text(&mut self.id, WORD_CHARS))?,
            "index" => self.index = integer(map)?,
            "toolComponent" => map.next_value_seed(Fields(&mut Index(&mut self.component)))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

struct Index<'a>(&'a mut Option<i64>);

impl Object for Index<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "index" {
            *self.0 = integer(map)?;
        }
        Ok(key == "index")
    }
}

fn integer<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i64>, A::Error> {
    let mut value = Scalar::Other;
    map.next_value_seed(Any(&mut value, 0))?;
    Ok(value.integer())
}

struct Results<'a, 'b>(&'a mut Run<'b>);

impl List for Results<'_, '_> {
    fn begin(&mut self) {
        self.0.results.get_or_insert_default();
    }
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.0.kept.is_full() {
            let some = list.next_element::<IgnoredAny>()?.is_some();
            self.0.kept.beyond += u64::from(some);
            return Ok(some);
        }
        let mut result = SarifResult::default();
        if list.next_element_seed(Fields(&mut Reading(&mut result, self.0.manifest)))?.is_none() {
            return Ok(false);
        }
        if matches!(result.kind.as_deref(), Some("pass" | "notApplicable")) {
            return Ok(true);
        }
        if result.suppressions.count() {
            self.0.suppressed += 1;
        } else if self.0.kept.take(result.bytes()) {
            self.0.results.get_or_insert_default().push(result);
        }
        Ok(true)
    }
}

/// 3.27
#[derive(Debug, Default)]
pub(super) struct SarifResult {
    pub rule_id: Option<String>,
    pub rule_index: Option<i64>,
    pub rule: Option<Box<Reference>>,
    kind: Option<String>,
    pub level: Option<Severity>,
    pub message: String,
    pub physical: Physical,
    suppressions: Suppressions,
    pub stated: Option<Severity>,
    pub confidence: Option<Confidence>,
}

impl SarifResult {
    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let place = &self.physical.artifact;
        text(&self.rule_id) + self.message.len() + text(&place.uri) + text(&place.base)
    }
}

struct Reading<'a>(&'a mut SarifResult, &'a EngineManifest);

impl Object for Reading<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let result = &mut *self.0;
        match key {
            "ruleId" => map.next_value_seed(Text(&mut result.rule_id, WORD_CHARS))?,
            "ruleIndex" => result.rule_index = integer(map)?,
            "rule" => {
                let mut reference = Reference::default();
                map.next_value_seed(Fields(&mut reference))?;
                result.rule = Some(Box::new(reference));
            }
            "kind" => map.next_value_seed(Text(&mut result.kind, WORD_CHARS))?,
            "level" => {
                let mut level = None;
                map.next_value_seed(Text(&mut level, WORD_CHARS))?;
                result.level = level.as_deref().and_then(words::severity_word);
            }
            "message" => {
                let mut message = Message::default();
                map.next_value_seed(Fields(&mut message))?;
                result.message = words::gist(self.1, &message.words());
            }
            "locations" => map.next_value_seed(Elements(&mut Locations(&mut result.physical)))?,
            "suppressions" => map.next_value_seed(Elements(&mut result.suppressions))?,
            "properties" => {
                let mut properties = Properties::default();
                map.next_value_seed(Fields(&mut properties))?;
                result.stated = properties.severity();
                result.confidence = properties.confidence;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// 3.11
#[derive(Default)]
struct Message {
    text: Option<String>,
    markdown: Option<String>,
    id: Option<String>,
    arguments: Scalar,
}

impl Object for Message {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "text" => map.next_value_seed(Text(&mut self.text, bounds::RAW_MESSAGE_CHARS))?,
            "markdown" => map.next_value_seed(Text(&mut self.markdown, bounds::RAW_MESSAGE_CHARS))?,
            "id" => map.next_value_seed(Text(&mut self.id, WORD_CHARS))?,
            "arguments" => map.next_value_seed(Any(&mut self.arguments, bounds::MESSAGE_CHARS))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Message {
    /// 3.11.5: `{0}` stands for the first argument. Each may be named often, so the whole has a bound of its own.
    fn words(self) -> String {
        let template = self.text.or(self.markdown).or(self.id).unwrap_or_default();
        let arguments = self.arguments.list();
        if arguments.is_empty() {
            return template;
        }
        let (mut words, mut rest) = (String::new(), template.as_str());
        while let Some(open) = rest.find('{') {
            words.push_str(&rest[..open]);
            rest = &rest[open..];
            let close = rest.find('}').unwrap_or(0);
            let argument = rest.get(1..close).and_then(|n| arguments.get(n.parse::<usize>().ok()?));
            match argument {
                Some(argument) => {
                    words.push_str(argument);
                    rest = &rest[close + 1..];
                }
                None => {
                    words.push('{');
                    rest = &rest[1..];
                }
            }
            if words.len() > bounds::RAW_MESSAGE_CHARS {
                return first_chars(&words, bounds::RAW_MESSAGE_CHARS).to_owned();
            }
        }
        words + rest
    }
}

/// 3.27.23: a suppression counts unless it is under review or was rejected.
#[derive(Debug, Default)]
struct Suppressions {
    any: bool,
    some_do_not_count: bool,
}

impl Suppressions {
    const fn count(&self) -> bool {
        self.any && !self.some_do_not_count
    }
}

impl List for Suppressions {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut one = Suppression(None);
        let some = list.next_element_seed(Fields(&mut one))?.is_some();
        self.any |= some;
        self.some_do_not_count |= !matches!(one.0.as_deref(), None | Some("accepted"));
        Ok(some)
    }
}

struct Suppression(Option<String>);

impl Object for Suppression {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "status" {
            return Ok(false);
        }
        map.next_value_seed(Text(&mut self.0, WORD_CHARS))?;
        Ok(true)
    }
}

/// The first location that names a file.
struct Locations<'a>(&'a mut Physical);

impl List for Locations<'_> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.0.artifact.is_something() {
            return Ok(list.next_element::<IgnoredAny>()?.is_some());
        }
        Ok(list.next_element_seed(Fields(&mut Location(self.0)))?.is_some())
    }
}

struct Location<'a>(&'a mut Physical);

impl Object for Location<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "physicalLocation" {
            map.next_value_seed(Fields(&mut *self.0))?;
        }
        Ok(key == "physicalLocation")
    }
}

/// 3.29
#[derive(Debug, Default)]
pub(super) struct Physical {
    pub artifact: Artifact,
    pub region: Region,
}

impl Object for Physical {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "artifactLocation" => map.next_value_seed(Fields(&mut self.artifact))?,
            "region" => map.next_value_seed(Fields(&mut self.region))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// 3.4
#[derive(Debug, Default)]
pub(super) struct Artifact {
    pub uri: Option<String>,
    pub base: Option<String>,
    pub index: Option<i64>,
}

impl Artifact {
    const fn is_something(&self) -> bool {
        self.uri.is_some() || self.index.is_some()
    }
}

impl Object for Artifact {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "uri" => map.next_value_seed(Text(&mut self.uri, URI_CHARS))?,
            "uriBaseId" => map.next_value_seed(Text(&mut self.base, WORD_CHARS))?,
            "index" => self.index = integer(map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// 3.30
#[derive(Debug, Default)]
pub(super) struct Region {
    pub start_line: Option<i64>,
    pub start_column: Option<i64>,
    pub end_line: Option<i64>,
    pub end_column: Option<i64>,
}

impl Object for Region {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "startLine" => self.start_line = integer(map)?,
            "startColumn" => self.start_column = integer(map)?,
            "endLine" => self.end_line = integer(map)?,
            "endColumn" => self.end_column = integer(map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// 3.14.15
struct Artifacts<'a>(&'a mut Vec<Artifact>);

impl List for Artifacts<'_> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.0.len() >= MAX_ARTIFACTS {
            return Ok(list.next_element::<IgnoredAny>()?.is_some());
        }
        let mut entry = ArtifactEntry(Artifact::default());
        let some = list.next_element_seed(Fields(&mut entry))?.is_some();
        if some {
            self.0.push(entry.0);
        }
        Ok(some)
    }
}

struct ArtifactEntry(Artifact);

impl Object for ArtifactEntry {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "location" {
            map.next_value_seed(Fields(&mut self.0))?;
        }
        Ok(key == "location")
    }
}

/// 3.14.14
struct Bases<'a>(&'a mut HashMap<String, Artifact>);

impl Object for Bases<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if self.0.len() >= MAX_BASES {
            return Ok(false);
        }
        let mut base = Artifact::default();
        map.next_value_seed(Fields(&mut base))?;
        self.0.insert(key.to_owned(), base);
        Ok(true)
    }
}

struct Invocations<'a, 'b>(&'a mut Run<'b>);

impl List for Invocations<'_, '_> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let before = self.0.notes.count;
        let mut invocation = Invocation { successful: Scalar::Other, notes: &mut self.0.notes };
        if list.next_element_seed(Fields(&mut invocation))?.is_none() {
            return Ok(false);
        }
        let failed = matches!(invocation.successful, Scalar::Bool(false));
        // One that says why it failed has been heard already.
        self.0.failed_invocations += u64::from(failed && self.0.notes.count == before);
        Ok(true)
    }
}

/// 3.20
struct Invocation<'a> {
    successful: Scalar,
    notes: &'a mut Notes,
}

impl Object for Invocation<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "executionSuccessful" => map.next_value_seed(Any(&mut self.successful, 0))?,
            "toolExecutionNotifications" | "toolConfigurationNotifications" => {
                map.next_value_seed(Elements(&mut *self.notes))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What the engine complains about.
#[derive(Default)]
pub(super) struct Notes {
    pub kept: Vec<String>,
    pub count: u64,
}

impl List for Notes {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut note = Note::default();
        let some = list.next_element_seed(Fields(&mut note))?.is_some();
        if note.level.as_deref() == Some("error") {
            self.count += 1;
            if self.kept.len() < MAX_COMPLAINTS {
                let words = first_chars(&note.message.words(), bounds::MESSAGE_CHARS).to_owned();
                let file = note.physical.artifact.uri.as_deref().and_then(|uri| uri.rsplit('/').next());
                self.kept.push(file.map_or_else(|| words.clone(), |file| format!("{file}: {words}")));
            }
        }
        Ok(some)
    }
}

/// 3.58
#[derive(Default)]
struct Note {
    level: Option<String>,
    message: Message,
    physical: Physical,
}

impl Object for Note {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "level" => map.next_value_seed(Text(&mut self.level, WORD_CHARS))?,
            "message" => map.next_value_seed(Fields(&mut self.message))?,
            "locations" => map.next_value_seed(Elements(&mut Locations(&mut self.physical)))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// 3.8: what engines put into the property bags of rules and results.
#[derive(Default)]
struct Properties {
    name: Option<String>,
    tags: Vec<String>,
    cwe: Vec<String>,
    /// `security-severity`, a number or the text of one.
    score: Option<f64>,
    word: Option<Severity>,
    confidence: Option<Confidence>,
}

impl Properties {
    fn severity(&self) -> Option<Severity> {
        match self.score {
            Some(score) => words::severity_number(score),
            None => self.word,
        }
    }
}

impl Object for Properties {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let ends = |endings: [&str; 2]| endings.iter().any(|ending| key.ends_with(ending));
        let severity = key.eq_ignore_ascii_case("severity") || ends(["/severity", "_severity"]);
        let confidence = matches!(key, "precision" | "confidence") || ends(["/confidence", "_confidence"]);
        if !severity && !confidence && !matches!(key, "security-severity" | "name" | "tags" | "cwe" | "cwe_id" | "CWE")
        {
            return Ok(false);
        }
        let mut value = Scalar::Other;
        map.next_value_seed(Any(&mut value, WORD_CHARS))?;
        match key {
            "security-severity" => self.score = value.number(),
            "name" => self.name = value.text().map(str::to_owned),
            "tags" => self.tags = value.list(),
            "cwe" | "cwe_id" | "CWE" => self.cwe.extend(value.text().map(str::to_owned)),
            _ if severity => self.word = self.word.or_else(|| words::severity_word(value.text()?)),
            _ => self.confidence = self.confidence.or_else(|| words::confidence_word(value.text()?)),
        }
        Ok(true)
    }
}
