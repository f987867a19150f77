//! What the footer says: columns, and where the pages of each lie. It is believed only as far as the file goes.

use super::thrift::{BINARY, LIST, STRUCT, Thrift};
use crate::{
    header::{columns, file_is_bad},
    output::Naming,
};
use dunlin_core::prices::{BatchKind, Faults, MAX_ROWS, Reason};

/// Physical types (parquet.thrift, `Type`).
pub(super) const INT32: i64 = 1;
pub(super) const INT64: i64 = 2;
pub(super) const DOUBLE: i64 = 5;
pub(super) const BYTE_ARRAY: i64 = 6;
pub(super) const FIXED: i64 = 7;

/// Digits of the widest decimal.
const MAX_SCALE: i64 = 38;
/// Bytes of a decimal of as many.
pub(super) const MAX_FIXED: usize = 16;

/// Row groups have numbers of 16 bits (parquet.thrift, `ordinal`). In a footer an empty one takes a byte, in memory many more.
const MAX_GROUPS: u64 = i16::MAX as u64;
/// Columns, and parts of columns, above which nobody wants to hear of each that is too much.
const MAX_ELEMENTS: u64 = 10_000;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Text,
    /// Days since 1970-01-01.
    Date,
    Signed,
    Unsigned,
    Double,
    Decimal(u32),
}

/// How to read a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// Among the columns of the file.
    pub index: usize,
    pub physical: i64,
    /// Bytes of a value of [`FIXED`].
    pub width: usize,
    pub optional: bool,
    pub meaning: Meaning,
}

/// The pages of one column in one row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub codec: i64,
    pub begin: u64,
    pub end: u64,
}

#[derive(Debug)]
pub(super) struct Group {
    pub rows: u64,
    /// In the order of the file's columns.
    pub chunks: Vec<Chunk>,
}

#[derive(Debug)]
pub(super) struct Footer {
    /// In the order of [`BatchKind::columns`].
    pub columns: Vec<Column>,
    pub groups: Vec<Group>,
}

#[derive(Debug, Default)]
struct Element<'a> {
    name: &'a [u8],
    physical: Option<i64>,
    width: i64,
    repetition: i64,
    children: i64,
    converted: Option<i64>,
    scale: i64,
    logical: Option<Logical>,
}

#[derive(Debug, Clone, Copy)]
enum Logical {
    Text,
    Date,
    Decimal(i64),
    Int { signed: bool },
    Other,
}

fn unreadable(why: &str) -> Faults {
    file_is_bad(1, why, Reason::Unreadable)
}

/// `bytes` are the footer's, `file` the length of all before it.
pub(super) fn read(kind: BatchKind, bytes: &[u8], file: u64) -> Result<Footer, Faults> {
    let (mut elements, mut groups) = (Vec::new(), Vec::new());
    let parsed = Thrift::new(bytes).fields(|thrift, number, kind| {
        match (number, kind) {
            (2, LIST) => elements = schema(thrift)?,
            (4, LIST) => {
                let (STRUCT, count @ ..=MAX_GROUPS) = thrift.list()? else { return None };
                for _ in 0..count {
                    groups.push(group(thrift, file)?);
                }
            }
            _ => return Some(false),
        }
        Some(true)
    });
    let (Some(()), Some((root, elements))) = (parsed, elements.split_first()) else {
        return Err(unreadable("the footer cannot be read, or its columns lie outside of the file"));
    };
    let columns = read_columns(kind, root, elements)?;
    let rows = groups.iter().fold(0_u64, |rows, group| rows.saturating_add(group.rows));
    if groups.iter().any(|group| group.chunks.len() != elements.len()) {
        return Err(unreadable("a row group has other columns than the file"));
    }
    if rows > MAX_ROWS {
        return Err(unreadable("more rows than a batch may have"));
    }
    Ok(Footer { columns, groups })
}

fn schema<'a>(thrift: &mut Thrift<'a>) -> Option<Vec<Element<'a>>> {
    let (STRUCT, count @ ..=MAX_ELEMENTS) = thrift.list()? else { return None };
    let mut elements = Vec::new();
    for _ in 0..count {
        let mut element = Element { repetition: 1, ..Element::default() };
        thrift.fields(|thrift, number, kind| {
            match (number, kind) {
                (1, _) => element.physical = Some(thrift.int()?),
                (2, _) => element.width = thrift.int()?,
                (3, _) => element.repetition = thrift.int()?,
                (4, BINARY) => element.name = thrift.binary()?,
                (5, _) => element.children = thrift.int()?,
                (6, _) => element.converted = Some(thrift.int()?),
                (7, _) => element.scale = thrift.int()?,
                (10, STRUCT) => element.logical = Some(logical(thrift)?),
                _ => return Some(false),
            }
            Some(true)
        })?;
        elements.push(element);
    }
    Some(elements)
}

/// A union: one field, whose number says which type it is.
fn logical(thrift: &mut Thrift<'_>) -> Option<Logical> {
    let mut found = Logical::Other;
    thrift.fields(|thrift, number, kind| {
        match (number, kind) {
            // STRING, ENUM.
            (1 | 4, _) => found = Logical::Text,
            (5, STRUCT) => {
                let mut scale = 0;
                thrift.fields(|thrift, number, _| {
                    if number == 1 {
                        scale = thrift.int()?;
                    }
                    Some(number == 1)
                })?;
                found = Logical::Decimal(scale);
                return Some(true);
            }
            (6, _) => found = Logical::Date,
            (10, STRUCT) => {
                let mut signed = false;
                thrift.fields(|_, number, kind| {
                    signed |= number == 2 && kind == super::thrift::TRUE;
                    Some(false)
                })?;
                found = Logical::Int { signed };
                return Some(true);
            }
            _ => {}
        }
        Some(false)
    })?;
    Some(found)
}

fn group(thrift: &mut Thrift<'_>, file: u64) -> Option<Group> {
    let mut group = Group { rows: 0, chunks: Vec::new() };
    thrift.fields(|thrift, number, kind| {
        match (number, kind) {
            (1, LIST) => {
                let (STRUCT, count) = thrift.list()? else { return None };
                for _ in 0..count {
                    group.chunks.push(chunk(thrift, file)?);
                }
            }
            (3, _) => group.rows = u64::try_from(thrift.int()?).ok()?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    Some(group)
}

fn chunk(thrift: &mut Thrift<'_>, file: u64) -> Option<Chunk> {
    let (mut codec, mut length, mut data, mut dictionary) = (0, 0, None, None);
    thrift.fields(|thrift, number, kind| {
        match (number, kind) {
            // Of another file.
            (1, BINARY) => return None,
            (3, STRUCT) => thrift.fields(|thrift, number, _| {
                match number {
                    4 => codec = thrift.int()?,
                    7 => length = thrift.int()?,
                    9 => data = Some(thrift.int()?),
                    11 => dictionary = Some(thrift.int()?),
                    _ => return Some(false),
                }
                Some(true)
            })?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    let data = data?;
    // Some writers say 0 where there is no dictionary.
    let begin = u64::try_from(dictionary.filter(|at| (1..data).contains(at)).unwrap_or(data)).ok()?;
    let end = begin.checked_add(u64::try_from(length).ok()?)?;
    (end <= file).then_some(Chunk { codec, begin, end })
}

/// Top-level columns by name; no column of ours has parts.
fn read_columns(kind: BatchKind, root: &Element<'_>, elements: &[Element<'_>]) -> Result<Vec<Column>, Faults> {
    let mut top = Vec::new();
    let mut rest = elements;
    for _ in 0..root.children {
        let Some((element, behind)) = rest.split_first() else {
            return Err(unreadable("the footer names other columns than it has"));
        };
        top.push(element);
        // Over what is below it.
        let mut below = element.children.max(0);
        rest = behind;
        while below > 0 {
            let Some((element, behind)) = rest.split_first() else {
                return Err(unreadable("the footer names other columns than it has"));
            };
            below = (below - 1).saturating_add(element.children.max(0));
            rest = behind;
        }
    }
    let order = columns(kind, 1, top.iter().map(|element| element.name))?;
    let (mut bad, mut faults) = (Vec::new(), Faults::default());
    let mut naming = Naming { bad: &mut bad, faults: &mut faults, line: 1, any: false };
    let mut found: Vec<Option<Column>> = vec![None; order.len()];
    for (index, (element, place)) in top.iter().zip(&order).enumerate() {
        let name = kind.columns().get(usize::from(*place)).copied().unwrap_or_default();
        match column(name, index, element) {
            Some(column) => {
                if let Some(slot) = found.get_mut(usize::from(*place)) {
                    *slot = Some(column);
                }
            }
            None => naming.add(Some(name), b"a column of a type that has no such values", Reason::Unreadable),
        }
    }
    if faults.is_empty() { Ok(found.into_iter().flatten().collect()) } else { Err(faults) }
}

fn column(name: &str, index: usize, element: &Element<'_>) -> Option<Column> {
    // Required or optional; repeated has no place in a row.
    if element.children > 0 || !(0..=1).contains(&element.repetition) {
        return None;
    }
    let physical = element.physical?;
    // The newer way to say a type counts; ConvertedType is the older one (parquet.thrift).
    let logical = element.logical.or(match element.converted {
        None => None,
        Some(0 | 4) => Some(Logical::Text),
        Some(5) => Some(Logical::Decimal(element.scale)),
        Some(6) => Some(Logical::Date),
        Some(11..=14) => Some(Logical::Int { signed: false }),
        Some(15..=18) => Some(Logical::Int { signed: true }),
        Some(_) => Some(Logical::Other),
    });
    let meaning = match (physical, logical) {
        (BYTE_ARRAY, None | Some(Logical::Text)) => Meaning::Text,
        (INT32, Some(Logical::Date)) if name == "day" => Meaning::Date,
        (INT32 | INT64, None | Some(Logical::Int { signed: true })) if name == "price" => Meaning::Signed,
        (INT32 | INT64, Some(Logical::Int { signed: false })) if name == "price" => Meaning::Unsigned,
        (DOUBLE, None) if name == "price" => Meaning::Double,
        (INT32 | INT64 | BYTE_ARRAY | FIXED, Some(Logical::Decimal(scale))) if name == "price" => {
            Meaning::Decimal(u32::try_from(scale).ok().filter(|_| scale <= MAX_SCALE)?)
        }
        _ => return None,
    };
    let width = if physical == FIXED { element.width } else { 1 };
    let width = usize::try_from(width).ok().filter(|width| (1..=MAX_FIXED).contains(width))?;
    Some(Column { index, physical, width, optional: element.repetition == 1, meaning })
}
