//! JSON as a stream: what a reader wants is copied out, bounded, and all the rest is passed over. A report may be a quarter of a
//! gigabyte, and a tree of it would be several times as much: of `[0,0,0...]` it is sixteen times.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{
    fmt,
    io::{self, Read},
};

/// Names of fields are no longer than this; of a longer one the beginning is looked at, and no one has such a name.
const MAX_KEY_CHARS: usize = 100;

/// Answers for values of another kind. The parser's own would quote the value, and a report may have a secret in it.
macro_rules! refuse {
    ($words:literal) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str($words)
        }
        refuse!($words: visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);
    };
    ($words:literal: $($visit:ident $kind:ty),*) => {
        $(fn $visit<E: Error>(self, _: $kind) -> Result<Self::Value, E> {
            Err(E::custom(concat!("this is not ", $words)))
        })*
    };
}

/// What is filled from the fields of an object.
pub(super) trait Object {
    /// There is an object, and not `null`.
    fn begin(&mut self) {}

    /// Takes the value of the field when it is wanted; `false`: it is not, and was not touched.
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// What is filled from the elements of a list.
pub(super) trait List {
    /// There is a list, and not `null`.
    fn begin(&mut self) {}

    /// Takes the next element; `false` at the end of the list.
    fn element<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error>;
}

/// The object; `null` is one without fields.
pub(super) struct Fields<'a, T>(pub &'a mut T);

impl<'de, T: Object> DeserializeSeed<'de> for Fields<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Object> Visitor<'de> for Fields<'_, T> {
    type Value = ();
    refuse!("an object");
    refuse!("an object": visit_str &str);
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("this is not an object"))
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.begin();
        let mut key = String::new();
        while map.next_key_seed(Key(&mut key))?.is_some() {
            if !self.0.field(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Key<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.clear();
        self.0.push_str(first_chars(text, MAX_KEY_CHARS));
        Ok(())
    }
}

/// The list; `null` is an empty one.
pub(super) struct Elements<'a, T>(pub &'a mut T);

impl<'de, T: List> DeserializeSeed<'de> for Elements<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: List> Visitor<'de> for Elements<'_, T> {
    type Value = ();
    refuse!("a list");
    refuse!("a list": visit_str &str);
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("this is not a list"))
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.begin();
        while self.0.element(&mut list)? {}
        Ok(())
    }
}

/// A string, or `null`, which changes nothing. At most `1` characters of it are kept.
pub(super) struct Text<'a>(pub &'a mut Option<String>, pub usize);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = ();
    refuse!("a string");
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("this is not a string"))
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("this is not a string"))
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        *self.0 = Some(first_chars(text, self.1).to_owned());
        Ok(())
    }
}

pub(super) fn first_chars(text: &str, count: usize) -> &str {
    if text.len() <= count {
        return text;
    }
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// Whatever stands where a word or a number belongs: one bad line does not make a report unreadable.
#[derive(Debug, Default, Clone)]
pub(super) enum Scalar {
    #[default]
    Other,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// The strings of a list, as many as anybody needs.
    List(Vec<String>),
}

/// Tags of a rule and arguments of a message.
const MAX_LISTED: usize = 200;

impl Scalar {
    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(n) = self { Some(*n) } else { None }
    }
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
    pub fn list(self) -> Vec<String> {
        if let Self::List(list) = self { list } else { Vec::new() }
    }
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A [`Scalar`]; of a string at most `1` characters.
pub(super) struct Any<'a>(pub &'a mut Scalar, pub usize);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        *self.0 = Scalar::Bool(value);
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        *self.0 = Scalar::Integer(value);
        Ok(())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        *self.0 = i64::try_from(value).map_or(Scalar::Other, Scalar::Integer);
        Ok(())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        *self.0 = Scalar::Float(value);
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        *self.0 = Scalar::Text(first_chars(text, self.1).to_owned());
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        *self.0 = Scalar::Other;
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut strings = Vec::new();
        let mut value = Scalar::Other;
        loop {
            let some = if strings.len() < MAX_LISTED {
                list.next_element_seed(Any(&mut value, self.1))?.is_some()
            } else {
                list.next_element::<IgnoredAny>()?.is_some()
            };
            if let Scalar::Text(text) = std::mem::take(&mut value) {
                strings.push(text);
            }
            if !some {
                break;
            }
        }
        *self.0 = Scalar::List(strings);
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        *self.0 = Scalar::Other;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Stops where a report is longer than `limit`, or has a string that is longer than `string_limit`: a parser must hold a
/// string whole. What stopped it is in the error.
pub(super) struct Guarded<R> {
    inner: R,
    limit: u64,
    left: u64,
    string_limit: usize,
    string: Option<usize>,
    escaped: bool,
    /// Nothing but white space so far.
    blank: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stopped {
    #[error("longer than {0} bytes")]
    TooLong(u64),
    #[error("a string of more than {0} bytes")]
    LongString(usize),
}

impl<R> Guarded<R> {
    pub const fn new(inner: R, limit: u64, string_limit: usize) -> Self {
        Self { inner, limit, left: limit, string_limit, string: None, escaped: false, blank: true }
    }

    /// What came so far was a mark, and `rest`.
    pub fn was_mark(&mut self, rest: &[u8]) {
        self.blank = rest.iter().all(u8::is_ascii_whitespace);
    }

    /// Whether there was nothing but white space.
    pub const fn is_blank(&self) -> bool {
        self.blank
    }

    fn check_strings(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let Some(length) = self.string else {
                let Some(quote) = bytes.iter().position(|byte| *byte == b'"') else { return Ok(()) };
                bytes = &bytes[quote + 1..];
                self.string = Some(0);
                continue;
            };
            if self.escaped {
                self.escaped = false;
                bytes = &bytes[1..];
                self.string = Some(length + 1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let plain = end.unwrap_or(bytes.len());
            if length + plain > self.string_limit {
                return Err(Stopped::LongString(self.string_limit));
            }
            let Some(end) = end else {
                self.string = Some(length + plain);
                return Ok(());
            };
            self.escaped = bytes[end] == b'\\';
            self.string = self.escaped.then_some(length + plain + 1);
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.left = match self.left.checked_sub(read as u64) {
            Some(left) => left,
            None => return Err(io::Error::other(Stopped::TooLong(self.limit))),
        };
        self.blank &= buf[..read].iter().all(u8::is_ascii_whitespace);
        self.check_strings(&buf[..read]).map_err(io::Error::other)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn guarded(text: &str, limit: u64, string_limit: usize) -> Result<String, Option<Stopped>> {
        // Small pieces: strings and escapes fall across their ends.
        let small = BufReader::with_capacity(3, text.as_bytes());
        let mut guarded = BufReader::with_capacity(3, Guarded::new(small, limit, string_limit));
        let mut read = String::new();
        match guarded.read_to_string(&mut read) {
            Ok(_) => Ok(read),
            Err(error) => Err(error.into_inner().and_then(|inner| inner.downcast().ok()).map(|stopped| *stopped)),
        }
    }

    #[test]
    fn a_string_is_as_long_as_it_is_written() {
        for text in [r#"["12345","12345"]"#, r#"["\"\"\"45", "\\", "\"", 1234567890]"#] {
            assert_eq!(guarded(text, 100, 8).unwrap(), text);
        }
        for text in [r#"["123456789"]"#, r#"["\"\"\"\"9"]"#, r#"["\\", "123456789"]"#, r#"["123456789"#] {
            assert_eq!(guarded(text, 100, 8), Err(Some(Stopped::LongString(8))), "{text}");
        }
    }

    #[test]
    fn the_bound_is_the_last_byte_that_may_come() {
        assert!(guarded("[1,2,3]", 7, 8).is_ok());
        assert_eq!(guarded("[1,2,3] ", 7, 8), Err(Some(Stopped::TooLong(7))));
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!((first_chars("äöü", 2), first_chars("äöü", 3), first_chars("", 0)), ("äö", "äöü", ""));
    }
}
