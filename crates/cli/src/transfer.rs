//! Transfers to and from presigned addresses: archives out, reports in. No token goes along.

use crate::{archive::Archive, error::ClientError, text};
use anyhow::{Context, bail};
use dunlin_contracts::api::UploadTarget;
use futures::TryStreamExt;
use reqwest::{
    Body, Client, Response, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use std::{collections::BTreeMap, io::Seek, time::Duration};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;
use url::Url;

pub(crate) const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1500), Duration::from_millis(4500)];

/// `sent` is told the bytes that are on their way, from the beginning for each attempt.
pub async fn send(
    http: &Client,
    archive: &Archive,
    target: &UploadTarget,
    sent: impl Fn(u64) + Clone + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let url = upload_address(&target.url)?;
    let headers = headers(&target.headers, archive.bytes)?;
    for attempt in 0.. {
        let failure = match put(http, archive, &url, headers.clone(), sent.clone()).await? {
            Ok(()) => return Ok(()),
            // The first attempt arrived and only its answer was lost: an upload is written once.
            Err(error) if attempt > 0 && status_of(&error) == Some(StatusCode::PRECONDITION_FAILED) => return Ok(()),
            Err(error) => error,
        };
        match PAUSES.get(attempt) {
            Some(pause) if failure.is_transient() => tokio::time::sleep(*pause).await,
            _ => return Err(anyhow::Error::new(failure).context("the archive could not be sent")),
        }
    }
    bail!("the archive could not be sent")
}

pub(crate) fn upload_address(text: &str) -> anyhow::Result<Url> {
    Url::parse(text).context("the server gave an upload address that is not one")
}

/// Exactly the given headers, for the signature covers them; the length is needed because the body is a stream.
pub(crate) fn headers(asked: &BTreeMap<String, String>, bytes: u64) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in asked {
        let parsed = (name.parse::<HeaderName>(), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = parsed else {
            bail!("the server asks for an upload header that is not one: {:?}", text::excerpt(name, 60))
        };
        headers.insert(name, value);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(headers)
}

async fn put(
    http: &Client,
    archive: &Archive,
    url: &Url,
    headers: HeaderMap,
    sent: impl Fn(u64) + Send + Sync + 'static,
) -> anyhow::Result<Result<(), ClientError>> {
    // The clone shares its position with the one of the attempt before, whose last read is long over after the pause.
    let mut file = archive.file.try_clone().context("the archive could not be read")?;
    file.rewind().context("the archive could not be read")?;
    Ok(put_stream(http, tokio::fs::File::from_std(file), url, headers, sent).await.map(drop))
}

/// One PUT of all that `source` has; `sent` is told the bytes that are on their way.
pub(crate) async fn put_stream(
    http: &Client,
    source: impl AsyncRead + Send + 'static,
    url: &Url,
    headers: HeaderMap,
    sent: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Response, ClientError> {
    sent(0);
    let mut total = 0;
    let stream = ReaderStream::with_capacity(source, 64 * 1024).inspect_ok(move |chunk| {
        total += chunk.len() as u64;
        sent(total);
    });
    let put = http.put(url.clone()).headers(headers).body(Body::wrap_stream(stream));
    let response = put.send().await.map_err(|error| ClientError::unreachable(url, error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    Err(ClientError::unknown(url, status, &storage_error(&body).unwrap_or(body)))
}

/// Code and message of S3's XML error; both elements are flat and hold no markup.
fn storage_error(body: &str) -> Option<String> {
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    };
    Some(format!("{}: {}", element("Code")?, element("Message")?))
}

pub(crate) fn status_of(error: &ClientError) -> Option<StatusCode> {
    match error {
        ClientError::Unknown { status, .. } => Some(*status),
        _ => None,
    }
}

/// Reads a report from a presigned address into `sink`, piece by piece. Whatever is wrong with the address is told by its host only.
pub async fn fetch(http: &Client, url: &Url, sink: &mut dyn std::io::Write) -> anyhow::Result<u64> {
    let response = http.get(url.clone()).send().await.map_err(|error| ClientError::unreachable(url, error))?;
    let status = response.status();
    if !status.is_success() {
        let body = response.text().await.unwrap_or_default();
        let error = ClientError::unknown(url, status, &storage_error(&body).unwrap_or(body));
        return Err(anyhow::Error::new(error).context("the report could not be fetched"));
    }
    let mut stream = response.bytes_stream();
    let mut total = 0;
    while let Some(chunk) = stream.try_next().await.map_err(|error| ClientError::unreachable(url, error))? {
        crate::terminal::quiet_pipe(sink.write_all(&chunk)).context("the report could not be written")?;
        total += chunk.len() as u64;
    }
    crate::terminal::quiet_pipe(sink.flush()).context("the report could not be written")?;
    Ok(total)
}
