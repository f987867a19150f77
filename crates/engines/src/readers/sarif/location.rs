//! Where a result is: locations, artifacts, regions, and the bases that paths begin at.

use super::super::json::{Fields, List, Object, Text};
use super::log::{WORD_CHARS, integer};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use std::collections::HashMap;

/// Longer than any path, percent-encoded.
const URI_CHARS: usize = 16_000;
/// As many files as a snapshot has.
const MAX_ARTIFACTS: usize = 200_000;
const MAX_BASES: usize = 1_000;

/// The first location that names a file.
pub(super) struct Locations<'a>(pub &'a mut Physical);

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
pub(super) struct Artifacts<'a>(pub &'a mut Vec<Artifact>);

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
pub(super) struct Bases<'a>(pub &'a mut HashMap<String, Artifact>);

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
