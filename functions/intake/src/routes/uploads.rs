//! `POST /v1/uploads`: a place to send an archive to, for one hour.

use super::{MAX_BODY_BYTES, failed};
use crate::{context::Context, validate};
use dunlin_contracts::{
    api::{UploadRequest, UploadTarget},
    problem::Problem,
};
use dunlin_core::{UploadId, keys};
use dunlin_runtime::http::{self, Caller};
use lambda_http::{Body, Request, Response};
use std::time::Duration;
use time::OffsetDateTime;

const VALID: Duration = Duration::from_secs(3600);

pub async fn create(context: &Context, caller: &Caller, request: &Request) -> Result<Response<Body>, Problem> {
    let body: UploadRequest = http::json_body(request, MAX_BODY_BYTES)?;
    validate::upload(&body)?;
    let now = OffsetDateTime::now_utc();
    let upload_id = UploadId::new(now);
    let slot = context
        .objects
        .presign_upload(&keys::upload(&caller.tenant, upload_id), body.bytes, &body.sha256, VALID)
        .await
        .map_err(|e| failed(&e))?;
    let target = UploadTarget {
        upload_id: upload_id.as_uuid(),
        url: slot.url,
        headers: slot.headers.into_iter().collect(),
        expires_at: now + VALID,
    };
    Ok(http::json(201, &target))
}
