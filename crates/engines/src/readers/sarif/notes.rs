//! How the engine's run went, by its own words.

use super::super::{
    bounds,
    json::{Any, Elements, Fields, List, Object, Scalar, Text, first_chars},
};
use super::{
    location::{Locations, Physical},
    log::{Message, Run, WORD_CHARS},
};
use serde::de::{MapAccess, SeqAccess};

/// More of them are counted and not kept.
const MAX_COMPLAINTS: usize = 100;

pub(super) struct Invocations<'a, 'b>(pub &'a mut Run<'b>);

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
