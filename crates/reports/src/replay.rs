//! Another format from Dunlin's own JSON, read as a stream: one finding at a time, as it was written.

use crate::{ReportError, ReportFormat, ReportHead};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{
    fmt,
    io::{Read, Write},
    marker::PhantomData,
};

/// Makes `format` of a JSON report. `complete` may add to the head what was not known when the report was written, such as durations.
pub fn convert(
    report: impl Read,
    format: ReportFormat,
    out: impl Write,
    complete: impl FnOnce(&mut ReportHead),
) -> Result<(), ReportError> {
    let mut failure = None;
    let mut json = serde_json::Deserializer::from_reader(report);
    let seed = Whole { format, out, complete, failure: &mut failure };
    let read = Deserializer::deserialize_map(&mut json, seed).and_then(|()| json.end());
    // A failure to write comes back as one to read, without its kind.
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, read) => read.map_err(ReportError::Unreadable),
    }
}

struct Whole<'a, W, F> {
    format: ReportFormat,
    out: W,
    complete: F,
    failure: &'a mut Option<ReportError>,
}

impl<'de, W: Write, F: FnOnce(&mut ReportHead)> Visitor<'de> for Whole<'_, W, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // In the order of the writer: nothing that comes later is needed for what comes first.
        let version: u64 = expect(&mut map, "version")?;
        if version != 1 {
            return Err(A::Error::custom(format_args!("version {version} of the report is not known here")));
        }
        let mut head: ReportHead = expect(&mut map, "scan")?;
        (self.complete)(&mut head);
        let failure = self.failure;
        let mut writer = keep(failure, self.format.writer(self.out, &head))?;
        key(&mut map, "rules")?;
        map.next_value_seed(Each::new(failure, |rule| writer.rule(&rule)))?;
        key(&mut map, "findings")?;
        let read = map.next_value_seed(Each::new(failure, |finding| writer.finding(&finding)))?;
        let count: u64 = expect(&mut map, "count")?;
        if count != read {
            return Err(A::Error::custom(format_args!("the report has {read} findings and says {count}")));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        keep(failure, writer.finish())
    }
}

fn key<'de, A: MapAccess<'de>>(map: &mut A, wanted: &'static str) -> Result<(), A::Error> {
    match map.next_key::<String>()? {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(A::Error::custom(format_args!("{found:?} where {wanted:?} should be"))),
        None => Err(A::Error::missing_field(wanted)),
    }
}

fn expect<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A, wanted: &'static str) -> Result<T, A::Error> {
    key(map, wanted)?;
    map.next_value()
}

fn keep<T, E: serde::de::Error>(kept: &mut Option<ReportError>, result: Result<T, ReportError>) -> Result<T, E> {
    result.map_err(|failure| {
        let words = failure.to_string();
        *kept = Some(failure);
        E::custom(words)
    })
}

/// Gives each value of an array to a function, and answers how many there were.
struct Each<'a, T, F> {
    failure: &'a mut Option<ReportError>,
    take: F,
    kind: PhantomData<T>,
}

impl<'a, T, F> Each<'a, T, F> {
    fn new(failure: &'a mut Option<ReportError>, take: F) -> Self {
        Self { failure, take, kind: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), ReportError>> DeserializeSeed<'de> for Each<'_, T, F> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), ReportError>> Visitor<'de> for Each<'_, T, F> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while let Some(value) = list.next_element()? {
            keep(self.failure, (self.take)(value))?;
            count += 1;
        }
        Ok(count)
    }
}
