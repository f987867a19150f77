//! One JSON object a line, with exactly the columns. Numbers keep their text.

use crate::output::Naming;
use dunlin_core::prices::Reason;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, str};

/// What an object has for a column.
#[derive(Debug)]
pub(crate) enum Text<'a> {
    Null,
    String(Cow<'a, str>),
    Number(&'a str),
    /// Another kind of value.
    Other(&'a str),
}

impl<'a> Text<'a> {
    pub fn new(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<Borrowed<'a>>(text) {
                Ok(Borrowed(text)) => Self::String(text),
                // Half of a surrogate pair, say.
                Err(_) => Self::Other(text),
            },
            Some(b'n') => Self::Null,
            Some(b'-' | b'0'..=b'9') => Self::Number(text),
            _ => Self::Other(text),
        }
    }
}

#[derive(serde::Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

/// The values of a line by column. Names what is wrong with the object; None when it is none.
pub(crate) fn object<'a, const N: usize>(
    line: &'a [u8],
    columns: &'static [&'static str],
    naming: &mut Naming<'_>,
) -> Option<[Option<&'a RawValue>; N]> {
    let Ok(text) = str::from_utf8(line) else {
        naming.add(None, line, Reason::Encoding);
        return None;
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Columns::<N>(columns).deserialize(&mut json).and_then(|object| json.end().map(|()| object));
    let Ok(object) = read else {
        naming.add(None, line, Reason::MalformedRow);
        return None;
    };
    for (column, raw) in &object.repeated {
        naming.add(Some(column), raw.get().as_bytes(), Reason::RepeatedColumn);
    }
    for column in &object.extra {
        naming.extra(column.as_bytes());
    }
    for (column, value) in columns.iter().zip(&object.values) {
        if value.is_none() {
            naming.add(Some(column), b"", Reason::MissingColumn);
        }
    }
    Some(object.values)
}

struct Object<'a, const N: usize> {
    values: [Option<&'a RawValue>; N],
    repeated: Vec<(&'static str, &'a RawValue)>,
    extra: Vec<String>,
}

struct Columns<const N: usize>(&'static [&'static str]);

impl<'de, const N: usize> DeserializeSeed<'de> for Columns<N> {
    type Value = Object<'de, N>;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Object<'de, N>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Columns<N> {
    type Value = Object<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of the columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de, N>, A::Error> {
        let mut object = Object { values: [None; N], repeated: Vec::new(), extra: Vec::new() };
        while let Some(Key(key)) = map.next_key()? {
            let Some((place, column)) = object.values.iter_mut().zip(self.0).find(|(_, column)| **column == key) else {
                map.next_value::<IgnoredAny>()?;
                object.extra.push(key.into_owned());
                continue;
            };
            let value = map.next_value::<&'de RawValue>()?;
            match place {
                Some(_) => object.repeated.push((column, value)),
                None => *place = Some(value),
            }
        }
        Ok(object)
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
