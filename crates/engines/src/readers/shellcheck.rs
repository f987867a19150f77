//! ShellCheck's `json1`: one object with a list of comments.

use super::{
    RawPlace, RawReport, RawResult, RawRule, ReportError,
    bounds::{self, Kept},
    json::{Any, Elements, Fields, List, Object, Scalar, Text},
    words,
};
use crate::EngineManifest;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess};

const WORD_CHARS: usize = 100;
const PATH_CHARS: usize = 4_000;

pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    manifest: &EngineManifest,
) -> Result<Result<RawReport, ReportError>, D::Error> {
    let mut log = Log { manifest, report: RawReport::default(), has_comments: false, kept: Kept::default() };
    Fields(&mut log).deserialize(deserializer)?;
    let Log { mut report, has_comments, kept, .. } = log;
    report.beyond = kept.beyond;
    Ok(if has_comments { Ok(report) } else { Err(ReportError::Incomplete { missing: "comments" }) })
}

struct Log<'a> {
    manifest: &'a EngineManifest,
    report: RawReport,
    has_comments: bool,
    kept: Kept,
}

impl Object for Log<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "comments" {
            map.next_value_seed(Elements(self))?;
        }
        Ok(key == "comments")
    }
}

impl List for Log<'_> {
    fn begin(&mut self) {
        self.has_comments = true;
    }

    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        if self.kept.is_full() {
            let some = list.next_element::<IgnoredAny>()?.is_some();
            self.kept.beyond += u64::from(some);
            return Ok(some);
        }
        let mut comment = Comment::default();
        if list.next_element_seed(Fields(&mut comment))?.is_none() {
            return Ok(false);
        }
        // A result without a file or a rule cannot be understood, and what cannot be understood is no clean report.
        let (Some(file), Some(code)) = (comment.file, comment.code) else {
            return Err(A::Error::custom("a comment without file or code"));
        };
        let rule = format!("SC{code}");
        self.report.rules.entry(rule.clone()).or_insert_with(|| RawRule {
            help_url: Some(format!("https://www.shellcheck.net/wiki/{rule}")),
            ..RawRule::default()
        });
        let message = words::gist(self.manifest, &comment.message.unwrap_or_default());
        if self.kept.take(file.len() + message.len()) {
            self.report.results.push(RawResult {
                severity: comment.level.as_deref().and_then(words::severity_word),
                confidence: None,
                message,
                place: RawPlace {
                    uri: Some(file.into()),
                    start_line: comment.line,
                    start_column: comment.column,
                    end_line: comment.end_line,
                    end_column: comment.end_column,
                    ..RawPlace::default()
                },
                rule,
            });
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Comment {
    file: Option<String>,
    line: Option<i64>,
    end_line: Option<i64>,
    column: Option<i64>,
    end_column: Option<i64>,
    level: Option<String>,
    code: Option<u32>,
    message: Option<String>,
}

impl Object for Comment {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "file" => map.next_value_seed(Text(&mut self.file, PATH_CHARS))?,
            "level" => map.next_value_seed(Text(&mut self.level, WORD_CHARS))?,
            "message" => map.next_value_seed(Text(&mut self.message, bounds::RAW_MESSAGE_CHARS))?,
            "line" => self.line = integer(map)?,
            "endLine" => self.end_line = integer(map)?,
            "column" => self.column = integer(map)?,
            "endColumn" => self.end_column = integer(map)?,
            "code" => self.code = integer(map)?.and_then(|code| u32::try_from(code).ok()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn integer<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i64>, A::Error> {
    let mut value = Scalar::Other;
    map.next_value_seed(Any(&mut value, 0))?;
    Ok(value.integer())
}
