//! The header of a CSV file: which field is which column.

use crate::{output::Naming, split::Fields};
use dunlin_core::prices::{BatchKind, FIRST_BAD_ROWS, Faults, Reason};
use std::str;

/// The faults of a file as a whole.
pub(crate) fn file_is_bad(line: u64, value: &str, reason: Reason) -> Faults {
    let (mut bad, mut faults) = (Vec::new(), Faults::default());
    Naming { bad: &mut bad, faults: &mut faults, line, any: false }.add(None, value.as_bytes(), reason);
    faults
}

/// `record` is without its end of line. For each field the index of its column.
pub(crate) fn fields(kind: BatchKind, line: u64, record: &[u8]) -> Result<Vec<u8>, Faults> {
    let mut names = Fields::default();
    names.read(record);
    if str::from_utf8(record).is_err() {
        return Err(file_is_bad(line, &String::from_utf8_lossy(record), Reason::Encoding));
    }
    columns(kind, line, names.iter().map(|(name, _)| name))
}

/// Columns are found by their exact names, and every one is there once.
pub(crate) fn columns<'a>(
    kind: BatchKind,
    line: u64,
    names: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, Faults> {
    let (mut bad, mut faults) = (Vec::new(), Faults::default());
    let mut naming = Naming { bad: &mut bad, faults: &mut faults, line, any: false };
    let mut found = Vec::new();
    // With room for every column that is missing.
    let most = FIRST_BAD_ROWS - kind.columns().len();
    for name in names {
        match (0_u8..).zip(kind.columns()).find(|(_, column)| column.as_bytes() == name) {
            Some((index, _)) if !found.contains(&index) => found.push(index),
            // A header of thousands of names is none: of its faults no more are counted than are shown.
            _ if naming.bad.len() >= most => {}
            Some((_, column)) => naming.add(Some(column), name, Reason::RepeatedColumn),
            None => naming.extra(name),
        }
    }
    for (index, column) in (0_u8..).zip(kind.columns()) {
        if !found.contains(&index) {
            naming.add(Some(column), b"", Reason::MissingColumn);
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}
