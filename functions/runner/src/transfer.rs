//! Objects by presigned URL. A URL is a key to its object: no error and no log line shows one.

use dunlin_contracts::plan::PresignedPut;
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(150);

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("storage cannot be reached over tls: {0}")]
    NoTls(String),
    /// Worth another try, and it had some.
    #[error("{0}")]
    Unavailable(String),
    #[error("storage answered {0}")]
    Refused(StatusCode),
    #[error("it is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("the url is not valid")]
    BadUrl,
    #[error("a file cannot be read or written")]
    Disk(#[source] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Now,
    /// Somebody was first; what they stored stays.
    Before,
}

#[derive(Clone)]
pub struct Transfer {
    client: Client,
}

impl Transfer {
    /// Fails where the system has no root certificates: storage could not be told from an impostor.
    pub fn new() -> Result<Self, TransferError> {
        let builder = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // Between two pieces, not for the whole.
            .read_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none());
        builder.build().map(|client| Self { client }).map_err(|error| TransferError::NoTls(causes(&error)))
    }

    /// The whole object, when it is not longer than `limit` bytes.
    pub async fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, TransferError> {
        let mut attempt = 0;
        loop {
            let tried = self.get_once(url, limit).await;
            match retry(tried, &mut attempt).await {
                Some(result) => return result,
                None => continue,
            }
        }
    }

    async fn get_once(&self, url: &str, limit: u64) -> Result<Vec<u8>, TransferError> {
        let mut response = send(self.client.get(url)).await?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| unavailable(&error.without_url()))? {
            if (body.len() + piece.len()) as u64 > limit {
                return Err(TransferError::TooLong { limit });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Writes the object to the file `into`; stops when it is longer than `limit` bytes.
    pub async fn download(&self, url: &str, limit: u64, into: &Path) -> Result<(), TransferError> {
        let mut attempt = 0;
        loop {
            let tried = self.download_once(url, limit, into).await;
            match retry(tried, &mut attempt).await {
                Some(result) => return result,
                None => continue,
            }
        }
    }

    async fn download_once(&self, url: &str, limit: u64, into: &Path) -> Result<(), TransferError> {
        let mut response = send(self.client.get(url)).await?;
        let mut file = tokio::fs::File::create(into).await.map_err(TransferError::Disk)?;
        let mut received = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| unavailable(&error.without_url()))? {
            received += piece.len() as u64;
            if received > limit {
                return Err(TransferError::TooLong { limit });
            }
            file.write_all(&piece).await.map_err(TransferError::Disk)?;
        }
        file.flush().await.map_err(TransferError::Disk)
    }

    pub async fn put(&self, to: &PresignedPut, what: &Content) -> Result<Stored, TransferError> {
        let mut attempt = 0;
        loop {
            let tried = self.put_once(to, what).await;
            match retry(tried, &mut attempt).await {
                Some(result) => return result,
                None => continue,
            }
        }
    }

    async fn put_once(&self, to: &PresignedPut, what: &Content) -> Result<Stored, TransferError> {
        let mut request = self.client.request(Method::PUT, &to.url);
        for (name, value) in &to.headers {
            request = request.header(name, value);
        }
        // S3 wants to know the length beforehand.
        let (length, body) = what.open().await.map_err(TransferError::Disk)?;
        let request = request.header(reqwest::header::CONTENT_LENGTH, length).body(body);
        match send(request).await {
            Ok(_) => Ok(Stored::Now),
            Err(TransferError::Refused(StatusCode::PRECONDITION_FAILED)) => Ok(Stored::Before),
            Err(error) => Err(error),
        }
    }
}

/// The body of a PUT. It can be opened again for another try.
pub enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Content {
    async fn open(&self) -> io::Result<(u64, Body)> {
        match self {
            Self::Bytes(bytes) => Ok((bytes.len() as u64, Body::from(bytes.clone()))),
            Self::File(path) => {
                let file = tokio::fs::File::open(path).await?;
                let length = file.metadata().await?.len();
                Ok((length, Body::wrap_stream(ReaderStream::new(file))))
            }
        }
    }
}

async fn send(request: RequestBuilder) -> Result<Response, TransferError> {
    let response = request.send().await.map_err(|error| {
        let error = error.without_url();
        if error.is_builder() { TransferError::BadUrl } else { unavailable(&error) }
    })?;
    let status = response.status();
    // S3 answers 409 when two conditional writes of one object meet: the second try finds out who was first.
    let worth_a_try = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT);
    if status.is_success() {
        Ok(response)
    } else if worth_a_try {
        Err(TransferError::Unavailable(format!("storage answered {status}")))
    } else {
        Err(TransferError::Refused(status))
    }
}

fn unavailable(error: &reqwest::Error) -> TransferError {
    TransferError::Unavailable(causes(error))
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

/// `None`, after a pause, when there shall be another try.
async fn retry<T>(tried: Result<T, TransferError>, attempt: &mut u32) -> Option<Result<T, TransferError>> {
    *attempt += 1;
    match tried {
        Err(TransferError::Unavailable(why)) if *attempt < ATTEMPTS => {
            tracing::warn!(attempt = *attempt, why, "storage does not answer, trying again");
            let pause = FIRST_PAUSE * 2_u32.pow(*attempt - 1);
            // Many jobs begin at once; the low digits of the clock keep their next tries apart.
            let clock = time::OffsetDateTime::now_utc().nanosecond();
            tokio::time::sleep(pause.mul_f64(0.5 + f64::from(clock % 1000) / 1000.0)).await;
            None
        }
        result => Some(result),
    }
}
