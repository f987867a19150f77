use crate::StoreError;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// The place of the last row of a page in its order. Opaque to callers, so that orders can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Cursor {
    Scans { at: i64, id: Uuid },
    Severity { s: i16, p: String, l: i32, id: Uuid },
    Path { p: String, l: i32, id: Uuid },
    Repositories { name: String },
    PriceBatches { at: i64, id: Uuid },
}

/// A path has up to 3,500 bytes, base64 makes a third more of it, and the gateway takes URLs of 10 KiB.
pub(super) const MAX_LENGTH: usize = 8 * 1024;

impl Cursor {
    pub fn encode(&self) -> String {
        // Plain data always serialises; an empty cursor would be refused, never misread.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub fn decode(text: &str) -> Result<Self, StoreError> {
        if text.len() > MAX_LENGTH {
            return Err(StoreError::BadCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::BadCursor)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| StoreError::BadCursor)?;
        let has_zero = match &cursor {
            Self::Severity { p, .. } | Self::Path { p, .. } => p.contains('\0'),
            Self::Repositories { name } => name.contains('\0'),
            Self::Scans { .. } | Self::PriceBatches { .. } => false,
        };
        if has_zero { Err(StoreError::BadCursor) } else { Ok(cursor) }
    }
}

/// Postgres keeps microseconds, so a place in time is exact in them.
pub(super) fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// Of the years 1970 to 9999: Postgres does not know all those that a cursor could name.
pub(super) fn from_micros(micros: i64) -> Result<OffsetDateTime, StoreError> {
    if !(0..253_402_300_800_000_000).contains(&micros) {
        return Err(StoreError::BadCursor);
    }
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| StoreError::BadCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_scan_has_is_refused() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        assert_eq!(from_micros(micros(now)).unwrap(), now);
        assert_eq!(from_micros(253_402_300_799_999_999).unwrap().year(), 9999);
        for bad in [i64::MIN, -300_000_000_000_000_000, -1, 253_402_300_800_000_000, i64::MAX] {
            assert!(from_micros(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_is_read_back_and_a_made_up_one_is_refused() {
        let cursor = Cursor::Severity { s: 3, p: "src/a b.py".into(), l: 7, id: Uuid::from_u128(5) };
        assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        let unknown =
            URL_SAFE_NO_PAD.encode(r#"{"k":"scans","at":1,"id":"00000000-0000-0000-0000-000000000005","x":1}"#);
        let zero = URL_SAFE_NO_PAD.encode(r#"{"k":"repositories","name":"a\u0000"}"#);
        for bad in ["", "x", "e30", "' or 1=1", &unknown, &zero, &"A".repeat(9000)] {
            assert!(Cursor::decode(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
