//! What stands in a column of a row, from whatever format.

use crate::{json, output::Naming, split::Fields};
use dunlin_core::prices::{BatchKind, Reason};
use std::{borrow::Cow, str};

#[derive(Debug, Clone, Default)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, [u8]>),
    Bad(Cow<'a, [u8]>, Reason),
    /// Its fault was named already.
    #[default]
    Told,
}

impl<'a> Value<'a> {
    pub const fn text(text: &'a [u8]) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The value, or the reason against it; no reason when that was named already.
    pub fn check<T>(&'a self, of: impl FnOnce(&'a [u8]) -> Result<T, Reason>) -> Result<T, Option<Reason>> {
        let (text, read) = match self {
            Self::Text(text) => (text, of(text)),
            // Nobody looks through that for every row that has it.
            Self::Bad(_, Reason::RowTooLong) => return Err(Some(Reason::RowTooLong)),
            Self::Bad(text, reason) => (text, Err(*reason)),
            Self::Told => return Err(None),
        };
        // What is no text has no form that could be wrong.
        read.map_err(|reason| Some(if str::from_utf8(text).is_err() { Reason::Encoding } else { reason }))
    }

    pub fn shown(&self) -> &[u8] {
        match self {
            Self::Text(text) | Self::Bad(text, _) => text,
            Self::Told => b"",
        }
    }
}

/// The values of a CSV record in the order of columns. None, and named, when these are not as many as columns.
pub(crate) fn of_csv<'a, const N: usize>(
    fields: &'a mut Fields,
    order: &[u8; N],
    record: &[u8],
    naming: &mut Naming<'_>,
) -> Option<[Value<'a>; N]> {
    fields.read(record);
    if fields.len() != N {
        naming.add(None, record, Reason::FieldCount);
        if str::from_utf8(record).is_err() {
            naming.add(None, record, Reason::Encoding);
        }
        return None;
    }
    let mut values = [const { Value::Told }; N];
    for ((text, right), column) in fields.iter().zip(order) {
        if let Some(value) = values.get_mut(usize::from(*column)) {
            *value = if right { Value::text(text) } else { Value::Bad(text.into(), Reason::MalformedRow) };
        }
    }
    Some(values)
}

/// The values of a JSON object in the order of columns. None, and named, when it is none.
pub(crate) fn of_json<'a, const N: usize>(
    kind: BatchKind,
    record: &'a [u8],
    naming: &mut Naming<'_>,
) -> Option<[Value<'a>; N]> {
    let object = json::object::<N>(record, kind.columns(), naming)?;
    let mut values = [const { Value::Told }; N];
    for ((value, raw), column) in values.iter_mut().zip(object).zip(kind.columns()) {
        let Some(raw) = raw else { continue };
        *value = match json::Text::new(raw) {
            json::Text::String(Cow::Borrowed(text)) => Value::text(text.as_bytes()),
            json::Text::String(Cow::Owned(text)) => Value::Text(text.into_bytes().into()),
            json::Text::Null => of_null(column),
            // A number is a price, and nothing else.
            json::Text::Number(text) if *column == "price" => Value::text(text.as_bytes()),
            json::Text::Number(text) | json::Text::Other(text) => {
                let reason = if *column == "price" { Reason::NotANumber } else { Reason::MalformedRow };
                Value::Bad(text.as_bytes().into(), reason)
            }
        };
    }
    Some(values)
}

/// A root has no parent; everything else must be there.
pub(crate) fn of_null(column: &str) -> Value<'static> {
    if column == "parent" { Value::text(b"") } else { Value::Bad(Cow::Borrowed(b""), Reason::MissingValue) }
}
