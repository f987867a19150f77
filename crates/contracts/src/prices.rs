//! Batches of prices: inputs and outputs of the states of `statemachines/price-batch.asl.json`, and the types of their part of
//! the HTTP API.

use crate::steps::StepError;
use dunlin_core::{
    BatchId, TenantId,
    job::Compute,
    prices::{BadRow, BatchKind, BatchState, Faults, Reason},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::{Date, OffsetDateTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// One file that has arrived: what `dispatcher` makes of S3's event, and the input of the execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBatchMessage {
    pub version: u32,
    pub batch_id: BatchId,
    pub tenant: TenantId,
    pub kind: BatchKind,
    /// The file, in the data bucket.
    pub key: String,
    /// Of the object, without quotes. Whoever reads the file asks for this one.
    pub etag: String,
    pub bytes: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    /// 32 hexadecimal digits, the trace id of the W3C Trace Context.
    pub trace_id: String,
}

/// `price-requests/<tenant>/<batch>.json`: what the caller of `POST /v1/price-batches` said. A file that a partner put into S3 has
/// none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBatchAsked {
    pub version: u32,
    pub batch_id: BatchId,
    pub tenant: TenantId,
    pub request: PriceBatchRequest,
    /// The token's subject.
    pub requested_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub accepted_at: OffsetDateTime,
    pub trace_id: String,
    /// Of an upload in parts: what S3 calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart_id: Option<String>,
}

/// Where `loader batch` finds its [`LoaderInput`], as JSON.
pub const LOADER_INPUT: &str = "DUNLIN_LOADER_INPUT";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectorInput {
    pub batch: PriceBatchMessage,
    /// Whether a small batch may go the whole way at once: an execution of an older definition does not know how to tell of it.
    #[serde(default)]
    pub at_once: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectorOutput {
    /// Nothing is left to do: the batch was small and went the whole way at once, or it is a duplicate, or this is a second delivery.
    pub ended: bool,
    pub state: BatchState,
    /// Of a batch that has ended, as in [`PublisherOutput`].
    pub rows: u64,
    pub bad_rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Ranges that are to be loaded. None when the file as a whole is bad: then it goes straight to its rejection.
    pub ranges: Vec<RangeItem>,
}

/// One item of the Map. Where the range lies is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeItem {
    pub range: u32,
    pub compute: Compute,
}

/// Input of `loader`; on Batch in the variable [`LOADER_INPUT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderInput {
    pub batch: PriceBatchMessage,
    pub range: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderOutput {
    pub range: u32,
    pub rows: u64,
    pub bad_rows: u64,
}

/// Input of `publisher`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum PublisherInput {
    /// Every range was loaded: publish, or reject.
    Finish { batch: PriceBatchMessage },
    /// Something failed for good. Rows that were loaded are removed.
    Fail { batch: PriceBatchMessage, error: StepError },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherOutput {
    pub state: BatchState,
    pub rows: u64,
    pub bad_rows: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

/// Names of [`PriceNotice::error`] that no function fails with: what the batch replaces is not there to be replaced, or would stay.
pub const CANNOT_REPLACE: &str = "PriceBatch.CannotReplace";
/// The execution succeeded, and the batch had no end.
pub const WITHOUT_RESULT: &str = "PriceBatch.WithoutResult";

/// Input of `notifier` about a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceNotice {
    pub price_batch: PriceBatchMessage,
    pub state: BatchState,
    pub rows: u64,
    pub bad_rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

/// Body of `POST /v1/price-batches`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBatchRequest {
    /// What the rows are: `prices`, `ports` or `regions`.
    #[schema(value_type = String, pattern = "^(prices|ports|regions)$")]
    pub kind: BatchKind,
    /// Size of the file; at most 50 GiB. From 64 MiB on it is sent in parts.
    #[serde(deserialize_with = "crate::api::whole_number")]
    #[schema(minimum = 1, maximum = 53687091200_u64)]
    pub bytes: u64,
    /// What to call the batch, for people. No control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub name: Option<String>,
    /// The batch that this one corrects: it is replaced in the moment in which this one is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Uuid>,
}

/// Answer of `POST /v1/price-batches` (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceBatchAccepted {
    pub id: Uuid,
    /// Where the file goes: one part, or several that are sent in any order.
    pub parts: Vec<UploadPart>,
    /// With several parts: when all were sent, `POST /v1/price-batches/{id}/complete` with the `ETag` of each answer.
    pub complete: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// In the logs of everything that becomes of the batch.
    pub trace_id: String,
}

/// PUT these bytes of the file to `url`, with exactly these headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadPart {
    /// From 1.
    pub part: u32,
    /// Of the file, in bytes.
    pub offset: u64,
    pub bytes: u64,
    pub url: String,
    #[schema(value_type = BTreeMap<String, String>)]
    pub headers: BTreeMap<String, String>,
}

/// Body of `POST /v1/price-batches/{id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBatchComplete {
    /// The `ETag` header of each part's answer, in the order of the parts.
    #[schema(min_items = 1, max_items = 1000)]
    pub etags: Vec<String>,
}

/// A batch as it stands, and its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceBatchView {
    pub id: Uuid,
    /// `prices`, `ports` or `regions`.
    #[schema(value_type = String)]
    pub kind: BatchKind,
    /// `accepted`, `loading`, `published`, `rejected`, `failed`, `duplicate`, `replaced` or `withdrawn`.
    #[schema(value_type = String)]
    pub status: BatchState,
    pub name: Option<String>,
    /// Who asked for it: the token's subject. None for a file that was put into S3.
    pub sent_by: Option<String>,
    /// The file's place in the data bucket.
    pub key: Option<String>,
    pub bytes: Option<u64>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub withdrawn_at: Option<OffsetDateTime>,
    pub withdrawn_by: Option<String>,
    /// Rows that were read so far, good and bad.
    pub rows_read: u64,
    pub ranges: u32,
    pub ranges_read: u32,
    /// Rows of a published batch.
    pub rows: Option<u64>,
    /// The days of its prices.
    #[schema(value_type = Option<String>, format = "date")]
    pub first_day: Option<Day>,
    #[schema(value_type = Option<String>, format = "date")]
    pub last_day: Option<Day>,
    pub bad_rows: u64,
    /// How often each reason was given.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub reasons: BTreeMap<Reason, u64>,
    /// The first 100, by line; only in the answer for one batch.
    pub first_bad_rows: Vec<BadRowView>,
    /// Every bad row, as CSV, for an hour; only in the answer for one batch.
    pub report_url: Option<String>,
    pub replaces: Option<Uuid>,
    pub replaced_by: Option<Uuid>,
    /// The batch with the same content that came first.
    pub same_as: Option<Uuid>,
    /// Why it failed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadRowView {
    /// Where the row begins, from 1; in Parquet the number of the row.
    pub line: u64,
    pub column: Option<String>,
    /// What stands there, cut to 80 characters.
    pub value: String,
    #[schema(value_type = String)]
    pub reason: Reason,
}

impl From<BadRow> for BadRowView {
    fn from(row: BadRow) -> Self {
        Self { line: row.line, column: row.column, value: row.value, reason: row.reason }
    }
}

impl PriceBatchView {
    /// What is wrong with it, as the store keeps it.
    pub fn set_faults(&mut self, faults: Faults) {
        self.bad_rows = faults.rows;
        self.reasons = faults.reasons;
        self.first_bad_rows = faults.first.into_iter().map(BadRowView::from).collect();
    }
}

/// Answer of `GET /v1/rates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// As it was asked for: a port's code or a region's slug.
    pub origin: String,
    pub destination: String,
    /// Every day from `date_from` to `date_to`.
    pub rates: Vec<Rate>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rate {
    #[schema(value_type = String, format = "date")]
    pub day: Day,
    /// Mean of the day's prices, rounded to two digits; none with fewer than three prices.
    pub average_price: Option<f64>,
}

/// A calendar day, written YYYY-MM-DD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub Date);

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.0.to_calendar_date();
        write!(f, "{year:04}-{:02}-{day:02}", u8::from(month))
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom(format!("{text:?} is no day (YYYY-MM-DD)")))
    }
}

impl std::str::FromStr for Day {
    type Err = ();
    /// Exactly YYYY-MM-DD, a day that the calendar has.
    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = text.as_bytes();
        let shape = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() });
        if !shape {
            return Err(());
        }
        let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u16>().ok()).ok_or(());
        let month = u8::try_from(number(5, 7)?).map_err(|_| ())?;
        let month = time::Month::try_from(month).map_err(|_| ())?;
        let day = u8::try_from(number(8, 10)?).map_err(|_| ())?;
        Date::from_calendar_date(i32::from(number(0, 4)?), month, day).map(Self).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_that_the_calendar_has() {
        for good in ["2026-02-28", "2024-02-29", "1999-12-31"] {
            let day: Day = good.parse().unwrap();
            assert_eq!(serde_json::to_value(day).unwrap(), good);
        }
        for bad in
            ["2026-02-30", "2025-02-29", "2026-13-01", "26-01-01", "2026-1-1", "2026-01-01T00", "２０２６-01-01", ""]
        {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_notice_about_a_batch_is_none_about_a_scan() {
        let notice = serde_json::json!({
            "price_batch": {
                "version": 1, "batch_id": "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01", "tenant": "demo", "kind": "prices",
                "key": "price-batches/demo/prices/a.csv", "etag": "e", "bytes": 3, "received_at": "2026-01-01T00:00:00Z",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"
            },
            "state": "published", "rows": 3, "bad_rows": 0
        });
        assert!(serde_json::from_value::<PriceNotice>(notice.clone()).is_ok());
        assert!(serde_json::from_value::<crate::steps::NotifierInput>(notice).is_err());
    }
}
