//! SARIF 2.1.0 (OASIS), as engines really write it: the section numbers are those of the standard.

mod location;
mod log;
mod notes;
mod properties;

use super::{
    RawPlace, RawReport, RawResult, RawRule, ReportError,
    bounds::Kept,
    json::{Elements, Fields, List, Object, Text},
};
use crate::EngineManifest;
use dunlin_core::finding::Severity;
use location::{Artifact, Physical};
use log::{Run, SarifResult};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};
use std::{collections::HashMap, rc::Rc};

pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    manifest: &EngineManifest,
) -> Result<Result<RawReport, ReportError>, D::Error> {
    let mut log = Log { manifest, version: None, runs: 0, report: Ok(RawReport::default()), kept: Kept::default() };
    Fields(&mut log).deserialize(deserializer)?;
    Ok(log.finish())
}

struct Log<'a> {
    manifest: &'a EngineManifest,
    version: Option<String>,
    runs: u64,
    report: Result<RawReport, ReportError>,
    kept: Kept,
}

impl Object for Log<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "version" => map.next_value_seed(Text(&mut self.version, 20))?,
            "runs" => map.next_value_seed(Elements(self))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl List for Log<'_> {
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let Ok(report) = &mut self.report else { return Ok(list.next_element::<IgnoredAny>()?.is_some()) };
        let mut run = Run::new(self.manifest, self.kept);
        if list.next_element_seed(Fields(&mut run))?.is_none() {
            return Ok(false);
        }
        self.runs += 1;
        self.kept = run.kept;
        if let Err(error) = take_run(run, self.manifest, report) {
            self.report = Err(error);
        }
        Ok(true)
    }
}

impl Log<'_> {
    fn finish(self) -> Result<RawReport, ReportError> {
        if !self.version.is_some_and(|version| version.starts_with("2.1")) {
            return Err(ReportError::Incomplete { missing: "version 2.1" });
        }
        if self.runs == 0 {
            return Err(ReportError::Incomplete { missing: "a run" });
        }
        let mut report = self.report?;
        report.beyond = self.kept.beyond;
        Ok(report)
    }
}

fn take_run(mut run: Run<'_>, manifest: &EngineManifest, report: &mut RawReport) -> Result<(), ReportError> {
    // 3.20.14 and 3.20.21: an engine that says it failed, and the files it complains about.
    let found_nothing = run.results.as_ref().is_none_or(Vec::is_empty);
    if run.failed_invocations > 0 && found_nothing {
        return Err(ReportError::EngineFailed { words: "execution was not successful".to_owned() });
    }
    report.complaints += run.notes.count;
    report.complained.append(&mut run.notes.kept);
    if run.failed_invocations > 0 {
        report.complain("execution was not successful".to_owned());
    }
    let results = run.results.take().ok_or(ReportError::Incomplete { missing: "results" })?;
    if !run.has_tool {
        return Err(ReportError::Incomplete { missing: "a tool" });
    }
    report.suppressed += run.suppressed;
    for (id, rule) in std::mem::take(&mut run.rules) {
        report.rules.entry(id).or_insert(rule);
    }
    let uris = Uris::of(&run);
    report.results.reserve(results.len());
    for mut result in results {
        let rule = rule_id(&run, &result)
            .map(str::to_owned)
            .or_else(|| result.rule_id.take())
            .or_else(|| result.rule.as_mut().and_then(|rule| rule.id.take()))
            .unwrap_or_else(|| manifest.report.unnamed_rule.clone());
        report.results.push(RawResult {
            severity: severity(&result, report.rules.get(&rule)),
            confidence: result.confidence,
            place: uris.place(std::mem::take(&mut result.physical)),
            message: result.message,
            rule,
        });
    }
    Ok(())
}

/// 3.52: the index decides, then the id; the id of a result may be hierarchical (`rule/part`).
fn rule_id<'a>(run: &'a Run<'_>, result: &SarifResult) -> Option<&'a str> {
    let reference = result.rule.as_deref();
    let component = reference.and_then(|rule| rule.component).map_or(0, |index| index.saturating_add(1));
    let index = result.rule_index.or_else(|| reference.and_then(|rule| rule.index));
    let by_index = run.components.get(usize::try_from(component).ok()?)?.get(usize::try_from(index?).ok()?)?;
    let own = by_index.as_deref()?;
    let id = result.rule_id.as_deref().or_else(|| reference.and_then(|rule| rule.id.as_deref()));
    let agrees = id.is_none_or(|id| id == own || id.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')));
    agrees.then_some(own)
}

/// A score says more than a level: three words cannot tell high from critical.
fn severity(result: &SarifResult, rule: Option<&RawRule>) -> Option<Severity> {
    result
        .stated
        .or_else(|| rule.and_then(|rule| rule.severity.filter(|_| rule.scored)))
        .or(result.level)
        .or_else(|| rule.and_then(|rule| rule.severity))
}

/// What many results name: each is there once.
struct Uris {
    bases: HashMap<String, Option<Rc<str>>>,
    /// 3.14.15, with its base.
    artifacts: Vec<Listed>,
}

struct Listed {
    uri: Option<Rc<str>>,
    base: Option<Rc<str>>,
}

impl Uris {
    fn of(run: &Run<'_>) -> Self {
        let resolved = |id: &String| base(id, &run.bases, 0).map(Rc::from);
        let bases: HashMap<String, Option<Rc<str>>> = run.bases.keys().map(|id| (id.clone(), resolved(id))).collect();
        let of = |id: &Option<String>| id.as_ref().and_then(|id| bases.get(id)?.clone());
        let artifacts = run
            .artifacts
            .iter()
            .map(|entry| Listed { uri: entry.uri.as_deref().map(Rc::from), base: of(&entry.base) })
            .collect();
        Self { bases, artifacts }
    }

    fn place(&self, physical: Physical) -> RawPlace {
        let Physical { artifact, region } = physical;
        // 3.4.5: a location may only point into the run's list of artifacts.
        let listed = artifact.index.and_then(|index| self.artifacts.get(usize::try_from(index).ok()?));
        let (uri, base) = match (artifact.uri, listed) {
            (None, Some(listed)) => (listed.uri.clone(), listed.base.clone()),
            (uri, _) => (uri.map(Rc::from), artifact.base.and_then(|id| self.bases.get(&id)?.clone())),
        };
        RawPlace {
            uri,
            base,
            encoded: true,
            start_line: region.start_line,
            start_column: region.start_column,
            end_line: region.end_line,
            end_column: region.end_column,
        }
    }
}

/// 3.14.14: a base may be relative to another base. Ids without a URI (`%SRCROOT%`, mostly) mean the root.
fn base(id: &str, bases: &HashMap<String, Artifact>, depth: u32) -> Option<String> {
    let found = bases.get(id)?;
    let uri = found.uri.as_ref()?;
    let parent = found.base.as_ref().filter(|_| depth < 8).and_then(|parent| base(parent, bases, depth + 1));
    Some(match parent {
        Some(parent) => format!("{}/{uri}", parent.trim_end_matches('/')),
        None => uri.clone(),
    })
}
