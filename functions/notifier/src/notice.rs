//! What there is to tell: that a scan has ended, or a batch of prices.

use dunlin_contracts::{prices::PriceNotice, steps::NotifierInput};
use dunlin_core::{TenantId, keys};
use serde_json::{Value, json};

/// The one event there is so far, of both.
const ENDED: &str = "ended";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Scan(Box<NotifierInput>),
    PriceBatch(Box<PriceNotice>),
}

impl Notice {
    pub fn read(value: Value) -> Result<Self, serde_json::Error> {
        if value.get("price_batch").is_some() {
            return Ok(Self::PriceBatch(serde_json::from_value(value)?));
        }
        Ok(Self::Scan(serde_json::from_value(value)?))
    }

    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Scan(notice) => &notice.scan.tenant,
            Self::PriceBatch(notice) => &notice.price_batch.tenant,
        }
    }

    /// Of the scan or batch.
    pub fn id(&self) -> String {
        match self {
            Self::Scan(notice) => notice.scan.scan_id.to_string(),
            Self::PriceBatch(notice) => notice.price_batch.batch_id.to_string(),
        }
    }

    pub fn trace_id(&self) -> &str {
        match self {
            Self::Scan(notice) => &notice.scan.trace_id,
            Self::PriceBatch(notice) => &notice.price_batch.trace_id,
        }
    }

    /// How it ended.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Scan(notice) => notice.state.as_str(),
            Self::PriceBatch(notice) => notice.state.as_str(),
        }
    }

    /// Counted when its receivers were told.
    pub fn metric(&self) -> &'static str {
        match self {
            Self::Scan(_) => "ScansNotified",
            Self::PriceBatch(_) => "PriceBatchesNotified",
        }
    }

    /// Present once `channel` has told its receiver.
    pub fn marker(&self, channel: &str) -> String {
        match self {
            Self::Scan(notice) => keys::notification(&notice.scan.tenant, notice.scan.scan_id, channel, ENDED),
            Self::PriceBatch(notice) => {
                let batch = &notice.price_batch;
                keys::price_batch_notification(&batch.tenant, batch.batch_id, channel, ENDED)
            }
        }
    }

    /// The same for every try, so that a receiver can drop what it has seen.
    pub fn message_id(&self) -> String {
        format!("{}.{ENDED}", self.id())
    }

    /// `type` of the CloudEvent, which also says which version of [`Notice::data`] it has.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Scan(_) => "dev.dunlin.scan.ended.v1",
            Self::PriceBatch(_) => "dev.dunlin.price_batch.ended.v1",
        }
    }

    pub fn subject(&self) -> String {
        match self {
            Self::Scan(_) => format!("scans/{}", self.id()),
            Self::PriceBatch(_) => format!("price-batches/{}", self.id()),
        }
    }

    pub fn data(&self) -> Value {
        match self {
            Self::Scan(notice) => scan_data(notice),
            Self::PriceBatch(notice) => batch_data(notice),
        }
    }
}

fn scan_data(notice: &NotifierInput) -> Value {
    let scan = &notice.scan;
    let mut data = json!({
        "scan_id": scan.scan_id,
        "organisation": scan.tenant,
        "repository_id": scan.repository_id,
        "repository": scan.repository,
        "status": notice.state,
        "links": { "scan": format!("/v1/scans/{}", scan.scan_id) },
    });
    if let Some(summary) = &notice.summary {
        data["summary"] = json!(summary);
    }
    if let Some(error) = &notice.error {
        data["error"] = json!(error.name);
    }
    data
}

fn batch_data(notice: &PriceNotice) -> Value {
    let batch = &notice.price_batch;
    let mut data = json!({
        "price_batch_id": batch.batch_id,
        "organisation": batch.tenant,
        "kind": batch.kind,
        "key": batch.key,
        "status": notice.state,
        "rows": notice.rows,
        "bad_rows": notice.bad_rows,
        "links": { "price_batch": format!("/v1/price-batches/{}", batch.batch_id) },
    });
    if let Some(error) = &notice.error {
        data["error"] = json!(error.name);
    }
    data
}
