//! `POST /v1/price-batches` and `POST /v1/price-batches/{id}/complete`: a place to send a batch to. What was asked for is written
//! down; the file itself is the message that begins the load.

use super::{MAX_BODY_BYTES, failed, not_accepted};
use crate::{context::Context, validate};
use dunlin_cloud::{CloudError, Completion, PutOutcome};
use dunlin_contracts::{
    VERSION,
    prices::{PriceBatchAccepted, PriceBatchAsked, PriceBatchComplete, PriceBatchRequest, UploadPart},
    problem::Problem,
};
use dunlin_core::{BatchId, keys};
use dunlin_runtime::{
    http::{self, Caller},
    metrics::{self, Unit},
};
use lambda_http::{Body, Request, Response};
use std::time::Duration;
use time::OffsetDateTime;

const MIB: u64 = 1 << 20;
/// From here on a file is sent in parts.
const IN_PARTS: u64 = 64 * MIB;
const SMALLEST_PART: u64 = 16 * MIB;
/// S3 takes ten times as many, but the URLs of all must fit into one answer of 6 MB (Lambda quotas, "Invocation payload").
const MAX_PARTS: u64 = 1_000;
const VALID: Duration = Duration::from_secs(3600);
/// The bucket's rule `abort-uploads`.
const PARTS_KEPT: Duration = Duration::from_secs(2 * 24 * 3600);

/// A part of the file: its number from 1, where it begins, how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    number: u32,
    offset: u64,
    bytes: u64,
}

/// The same for the same size, so that nobody has to write it down.
fn parts(bytes: u64) -> Vec<Part> {
    let size =
        if bytes < IN_PARTS { bytes } else { bytes.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(SMALLEST_PART) };
    (1..)
        .zip((0..bytes).step_by(usize::try_from(size).unwrap_or(usize::MAX)))
        .map(|(number, offset)| Part { number, offset, bytes: size.min(bytes - offset) })
        .collect()
}

/// Gives a batch its id and the URLs that its file goes to. The same `Idempotency-Key` gives the same id, and new URLs to the same
/// place.
pub async fn create(context: &Context, caller: &Caller, request: &Request) -> Result<Response<Body>, Problem> {
    let key = validate::idempotency_key(request)?;
    let body: PriceBatchRequest = http::json_body(request, MAX_BODY_BYTES)?;
    validate::price_batch(&body)?;
    let now = OffsetDateTime::now_utc();
    let batch_id = match &key {
        Some(key) => BatchId::of_request(&caller.tenant, key),
        None => BatchId::new(now),
    };
    let asked = PriceBatchAsked {
        version: VERSION,
        batch_id,
        tenant: caller.tenant.clone(),
        request: body,
        requested_by: caller.subject.clone(),
        accepted_at: now,
        trace_id: batch_id.trace_id(),
        multipart_id: None,
    };
    // An upload in parts is begun once for a batch, so whether there is one is asked first.
    let before = if key.is_some() { read_asked(context, caller, batch_id, not_accepted).await? } else { None };
    let replay = before.is_some();
    let asked = match before {
        Some(first) => {
            let first = the_same(first, &asked)?;
            still_open(context, &first, now).await?;
            first
        }
        None => write_down(context, asked).await?,
    };
    let answer = accepted(context, &asked, now).await?;
    if !replay {
        metrics::emit("PriceBatchesAccepted", Unit::Count, 1.0, &[]);
    }
    tracing::info!(batch.id = %batch_id, tenant = %caller.tenant, batch.bytes = asked.request.bytes, replay, "batch accepted");
    let mut response = http::json(202, &answer);
    if let Ok(location) = format!("/v1/price-batches/{batch_id}").parse() {
        response.headers_mut().insert("location", location);
    }
    Ok(response)
}

/// Parts can be sent to a multipart upload for as long as S3 keeps it. What was completed is there, and is told as before.
async fn still_open(context: &Context, first: &PriceBatchAsked, now: OffsetDateTime) -> Result<(), Problem> {
    if first.multipart_id.is_none() || now - first.accepted_at < PARTS_KEPT {
        return Ok(());
    }
    let key = keys::price_batch_upload(&first.tenant, first.request.kind, first.batch_id);
    match context.objects.head(&key).await.map_err(|e| not_accepted(&e))? {
        Some(_) => Ok(()),
        None => Err(gone()),
    }
}

fn gone() -> Problem {
    Problem::conflict("the upload is not there any more: it was not completed within two days; ask for a new batch")
}

/// Keeps the first request of an id.
async fn write_down(context: &Context, mut asked: PriceBatchAsked) -> Result<PriceBatchAsked, Problem> {
    let upload = keys::price_batch_upload(&asked.tenant, asked.request.kind, asked.batch_id);
    if asked.request.bytes >= IN_PARTS {
        let begun = context.objects.create_multipart(&upload).await.map_err(|e| not_accepted(&e))?;
        asked.multipart_id = Some(begun);
    }
    let key = keys::price_batch_request(&asked.tenant, asked.batch_id);
    let text = serde_json::to_string(&asked).map_err(|_| Problem::internal())?;
    let outcome = context.objects.put_new(&key, text.into(), "application/json").await.map_err(|e| not_accepted(&e))?;
    if outcome == PutOutcome::Created {
        return Ok(asked);
    }
    // Two requests with one key at the same time, and the other one was first.
    if let Some(begun) = &asked.multipart_id {
        context.objects.abort_multipart(&upload, begun).await.map_err(|e| not_accepted(&e))?;
    }
    let first = read(context, &key, not_accepted).await?.ok_or_else(Problem::internal)?;
    the_same(first, &asked)
}

fn the_same(first: PriceBatchAsked, asked: &PriceBatchAsked) -> Result<PriceBatchAsked, Problem> {
    if first.request == asked.request {
        return Ok(first);
    }
    Err(Problem::new(
        422,
        "idempotency-key-reused",
        "The Idempotency-Key was used before",
        format!("the key belongs to batch {}, which was asked for with another body", first.batch_id),
    ))
}

async fn accepted(
    context: &Context,
    asked: &PriceBatchAsked,
    now: OffsetDateTime,
) -> Result<PriceBatchAccepted, Problem> {
    let key = keys::price_batch_upload(&asked.tenant, asked.request.kind, asked.batch_id);
    let mut signed = Vec::new();
    for Part { number, offset, bytes } in parts(asked.request.bytes) {
        let slot = match &asked.multipart_id {
            Some(upload) => context.objects.presign_part(&key, upload, number, bytes, VALID).await,
            None => context.objects.presign_new(&key, bytes, VALID).await,
        };
        let slot = slot.map_err(|e| not_accepted(&e))?;
        signed.push(UploadPart {
            part: number,
            offset,
            bytes,
            url: slot.url,
            headers: slot.headers.into_iter().collect(),
        });
    }
    Ok(PriceBatchAccepted {
        id: asked.batch_id.as_uuid(),
        parts: signed,
        complete: asked.multipart_id.is_some(),
        expires_at: now + VALID,
        trace_id: asked.trace_id.clone(),
    })
}

/// Makes one file of the parts. That object is what begins the load.
pub async fn complete(
    context: &Context,
    caller: &Caller,
    id: &str,
    request: &Request,
) -> Result<Response<Body>, Problem> {
    let batch_id: BatchId = id.parse().map_err(|_| Problem::not_found("batch"))?;
    let asked = read_asked(context, caller, batch_id, failed).await?.ok_or_else(|| Problem::not_found("batch"))?;
    let Some(upload) = &asked.multipart_id else {
        return Err(Problem::conflict(
            "the file of this batch is sent in one piece; there are no parts to put together",
        ));
    };
    let body: PriceBatchComplete = http::json_body(request, MAX_BODY_BYTES)?;
    let etags = validate::etags(&body, parts(asked.request.bytes).len())?;
    let key = keys::price_batch_upload(&asked.tenant, asked.request.kind, batch_id);
    match context.objects.complete_multipart(&key, upload, &etags).await.map_err(|e| failed(&e))? {
        Completion::Completed => {
            tracing::info!(batch.id = %batch_id, tenant = %caller.tenant, parts = etags.len(), "file is whole");
            Ok(http::empty(204))
        }
        Completion::BadParts(said) => Err(Problem::new(
            422,
            "wrong-parts",
            "These are not the parts that were sent",
            format!("a part is missing, or has another ETag than was given: {said}"),
        )),
        Completion::Gone => Err(gone()),
    }
}

type Told = fn(&CloudError) -> Problem;

async fn read_asked(
    context: &Context,
    caller: &Caller,
    batch: BatchId,
    told: Told,
) -> Result<Option<PriceBatchAsked>, Problem> {
    read(context, &keys::price_batch_request(&caller.tenant, batch), told).await
}

async fn read(context: &Context, key: &str, told: Told) -> Result<Option<PriceBatchAsked>, Problem> {
    let Some(bytes) = context.objects.get(key).await.map_err(|e| told(&e))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        tracing::error!(%error, object.key = key, "what was asked for cannot be read");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_and_are_as_large_as_s3_and_the_answer_want_them() {
        for bytes in [1, 17, IN_PARTS - 1] {
            assert_eq!(parts(bytes), [Part { number: 1, offset: 0, bytes }]);
        }
        for bytes in [IN_PARTS, IN_PARTS + 1, 1 << 30, 16_000 * MIB, 16_000 * MIB + 1, (50 << 30) - 1, 50 << 30] {
            let parts = parts(bytes);
            assert!((4..=MAX_PARTS).contains(&(parts.len() as u64)), "{bytes}: {} parts", parts.len());
            let (last, others) = parts.split_last().unwrap();
            assert!(others.iter().all(|part| part.bytes == parts[0].bytes && part.bytes >= SMALLEST_PART), "{bytes}");
            assert!(last.bytes > 0 && last.offset + last.bytes == bytes, "{bytes}: {last:?}");
            for (n, part) in parts.iter().enumerate() {
                assert_eq!((part.number as usize, part.offset), (n + 1, n as u64 * parts[0].bytes), "{bytes}");
            }
        }
    }
}
