//! What a message asks for. Pure: text in, the execution out.

use dunlin_contracts::{
    VERSION,
    events::{Envelope, OBJECT_CREATED, ObjectCreated, S3},
    prices::PriceBatchMessage,
    steps::ScanMessage,
};
use dunlin_core::{BatchId, TenantId, keys, prices::BatchKind};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    Scan(Box<ScanMessage>),
    PriceBatch(PriceBatchMessage),
    /// An object that is no file, such as the "folder" of a console.
    Nothing,
}

/// The body is a scan message of intake, or S3's event about a new file as EventBridge passes it on. An error says why it is neither.
pub fn decode(body: &str) -> Result<Work, String> {
    let value: Value = serde_json::from_str(body).map_err(|e| format!("not json: {e}"))?;
    if value.get("detail-type").is_some() {
        let envelope: Envelope = serde_json::from_value(value).map_err(|e| format!("not an event: {e}"))?;
        return created(&envelope);
    }
    let message: ScanMessage = serde_json::from_value(value).map_err(|e| format!("not a scan message: {e}"))?;
    if message.version != VERSION {
        return Err(format!("version {} is not known here, only {VERSION}", message.version));
    }
    Ok(Work::Scan(Box::new(message)))
}

fn created(envelope: &Envelope) -> Result<Work, String> {
    if (envelope.source.as_str(), envelope.detail_type.as_str()) != (S3, OBJECT_CREATED) {
        return Err(format!("an event {:?} of {:?} starts nothing", envelope.detail_type, envelope.source));
    }
    let event: ObjectCreated = serde_json::from_value(envelope.detail.clone())
        .map_err(|e| format!("the event's detail is not readable: {e}"))?;
    let object = event.object;
    if object.key.ends_with('/') && object.size == 0 {
        return Ok(Work::Nothing);
    }
    let place = Place::of(&object.key)?;
    let etag = object.etag.trim_matches('"').to_owned();
    if etag.is_empty() {
        return Err("the event does not say the file's etag".to_owned());
    }
    // A file that was rejected is put there again, as it is, when its ports have come: that is another batch.
    let sequencer = Some(object.sequencer.as_str()).filter(|sequencer| !sequencer.is_empty());
    let batch_id = place.asked.unwrap_or_else(|| BatchId::derived(&place.tenant, &object.key, &etag, sequencer));
    Ok(Work::PriceBatch(PriceBatchMessage {
        version: VERSION,
        batch_id,
        tenant: place.tenant,
        kind: place.kind,
        key: object.key,
        etag,
        bytes: object.size,
        received_at: envelope.time,
        trace_id: batch_id.trace_id(),
    }))
}

/// `price-batches/<tenant>/<kind>/<file>`.
struct Place {
    tenant: TenantId,
    kind: BatchKind,
    /// The id that intake gave out for this key.
    asked: Option<BatchId>,
}

impl Place {
    fn of(key: &str) -> Result<Self, String> {
        let wanted = || format!("{key:?} is not {}<tenant>/<prices, ports or regions>/<file>", keys::PRICE_BATCHES);
        let rest = key.strip_prefix(keys::PRICE_BATCHES).ok_or_else(wanted)?;
        let (tenant, rest) = rest.split_once('/').ok_or_else(wanted)?;
        let (kind, file) = rest.split_once('/').ok_or_else(wanted)?;
        let tenant: TenantId = tenant.parse().map_err(|_| wanted())?;
        let kind: BatchKind = kind.parse().map_err(|()| wanted())?;
        let asked = match file.strip_prefix("upload/") {
            None => None,
            // Only intake's own keys lie there.
            Some(id) => Some(id.parse::<BatchId>().map_err(|e| format!("{key:?}: {e}"))?),
        };
        Ok(Self { tenant, kind, asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str, size: u64, etag: &str) -> String {
        serde_json::json!({
            "id": "e-1", "source": S3, "detail-type": OBJECT_CREATED, "time": "2026-11-01T10:00:00Z",
            "detail": {"version": "0", "bucket": {"name": "b"}, "object": {"key": key, "size": size, "etag": etag, "sequencer": "0A"},
                       "reason": "PutObject"}
        })
        .to_string()
    }

    fn batch(body: &str) -> PriceBatchMessage {
        match decode(body).unwrap() {
            Work::PriceBatch(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_of_a_partner_has_an_id_of_its_place_its_content_and_its_arrival() {
        let first = batch(&event("price-batches/demo/prices/2026 11/a+b.csv.gz", 10, "\"abc\""));
        assert_eq!((first.tenant.as_str(), first.kind, first.etag.as_str()), ("demo", BatchKind::Prices, "abc"));
        assert_eq!(first.key, "price-batches/demo/prices/2026 11/a+b.csv.gz");
        assert_eq!(first, batch(&event("price-batches/demo/prices/2026 11/a+b.csv.gz", 10, "abc")));
        let changed = batch(&event("price-batches/demo/prices/2026 11/a+b.csv.gz", 10, "abd"));
        let elsewhere = batch(&event("price-batches/other/prices/2026 11/a+b.csv.gz", 10, "abc"));
        assert!(changed.batch_id != first.batch_id && elsewhere.batch_id != first.batch_id);
        assert_eq!(first.trace_id.len(), 32);
    }

    #[test]
    fn a_file_that_is_put_there_again_is_another_batch_and_an_event_that_comes_again_is_not() {
        let key = "price-batches/demo/prices/a.csv";
        let put = |sequencer: &str| event(key, 10, "abc").replace("\"0A\"", &format!("\"{sequencer}\""));
        let first = batch(&put("00617F08299329D189"));
        assert_eq!(first, batch(&put("00617F08299329D189")));
        assert_ne!(first.batch_id, batch(&put("00617F08299329D18A")).batch_id);
        // Of who tells of none, the content alone is known.
        let told_of_none = event(key, 10, "abc").replace(",\"sequencer\":\"0A\"", "");
        assert!(!told_of_none.contains("sequencer"));
        let expected = BatchId::derived(&first.tenant, key, "abc", None);
        assert_eq!((batch(&told_of_none).batch_id, batch(&put("")).batch_id), (expected, expected));
    }

    #[test]
    fn an_upload_has_the_id_that_was_given_out() {
        let id = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01";
        let message = batch(&event(&format!("price-batches/demo/ports/upload/{id}"), 10, "abc"));
        assert_eq!((message.batch_id.to_string().as_str(), message.kind), (id, BatchKind::Ports));
        // Whatever S3 says of it: the sender knows it by this one.
        let again = event(&format!("price-batches/demo/ports/upload/{id}"), 10, "abc").replace("\"0A\"", "\"0B\"");
        assert_eq!(batch(&again).batch_id, message.batch_id);
    }

    #[test]
    fn what_is_no_file_starts_nothing_and_what_is_misplaced_is_told() {
        assert_eq!(decode(&event("price-batches/demo/prices/", 0, "x")).unwrap(), Work::Nothing);
        for key in [
            "price-batches/readme.txt",
            "price-batches/demo/readme.txt",
            "price-batches/De mo/prices/a.csv",
            "price-batches/demo/wages/a.csv",
            "price-batches/demo/prices/upload/a.csv",
            "snapshots/demo/prices/a.csv",
        ] {
            assert!(decode(&event(key, 5, "x")).unwrap_err().contains(key), "{key}");
        }
        assert!(decode(&event("price-batches/demo/prices/a", 5, "")).unwrap_err().contains("etag"));
        assert!(decode("{\"detail-type\": 3}").is_err());
        assert!(decode("rubbish").unwrap_err().starts_with("not json"));
    }
}
