//! The parts of a SARIF log that become findings, read as they come. The order of fields is free: what a result refers to may
//! come after it, so results wait, in as few bytes as they need.

use super::super::{
    RawRule,
    bounds::{self, Kept},
    json::{Any, Elements, Fields, List, Object, Scalar, Text, first_chars},
    words,
};
use super::{
    location::{Artifact, Artifacts, Bases, Locations, Physical},
    notes::{Invocations, Notes},
    properties::Properties,
};
use crate::EngineManifest;
use dunlin_core::finding::{Confidence, Severity};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use std::collections::HashMap;

/// Ids of rules and bases, words like `error`, names.
pub(super) const WORD_CHARS: usize = 1_000;
/// More rules than any engine has. Results may still name a later one by its id.
const MAX_DESCRIPTORS: usize = 200_000;
const MAX_EXTENSIONS: usize = 1_000;

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

pub(super) fn integer<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i64>, A::Error> {
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
pub(super) struct Message {
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
    pub fn words(self) -> String {
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
