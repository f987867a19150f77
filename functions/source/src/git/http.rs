//! Git's smart HTTP over the guarded client. Redirects, credentials, limits and the meaning of status codes are decided here
//! and nowhere else; the protocol code above only sees bytes.

use crate::{Error, credential::Credential};
use bytes::{Buf, Bytes};
use dunlin_egress::{Egress, redirect_target};
use gix::error::ErrorExt;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::{
    Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use std::{
    io::{self, BufRead, Cursor, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};
use url::Url;

const REDIRECTS: usize = 5;
/// Room for a line of an error.
const ANSWER_KEPT: usize = 512;

/// https, or http to a host that is allowed by name.
pub(crate) fn is_safe_scheme(egress: &Egress, url: &Url) -> bool {
    url.scheme() == "https" || egress.policy().allows(url)
}

/// One conversation with one git server. Clones share it.
#[derive(Clone)]
pub(crate) struct Channel(Arc<Mutex<Inner>>);

struct Inner {
    egress: Egress,
    /// The repository; after a redirect, where it is now.
    base: Url,
    credential: Option<Credential>,
    runtime: Handle,
    deadline: Instant,
    bytes_left: u64,
    byte_limit: u64,
    /// What the bytes are of, for the error that says there are too many.
    receiving: &'static str,
    /// Why the conversation failed, in our own words: the protocol code wraps errors beyond recognition.
    failure: Option<Error>,
    /// How the last answer begins: git's errors stand there in plain text, and older protocols hide them from their reader.
    answer: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(
        egress: Egress,
        base: Url,
        credential: Option<Credential>,
        runtime: Handle,
        deadline: Instant,
        byte_limit: u64,
    ) -> Self {
        let bytes_left = byte_limit;
        let inner = Inner {
            egress,
            base,
            credential,
            runtime,
            deadline,
            bytes_left,
            byte_limit,
            receiving: "its list of references",
            failure: None,
            answer: vec![],
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The URL for the protocol code. It is a name there: requests go to where [`Inner::base`] says.
    pub(crate) fn url(&self) -> String {
        self.lock().base.to_string()
    }

    /// From now on the server sends the commit, and may send so many bytes.
    pub(crate) fn expect_commit(&self, byte_limit: u64) {
        let mut inner = self.lock();
        (inner.bytes_left, inner.byte_limit, inner.receiving) = (byte_limit, byte_limit, "one commit of it");
    }

    /// The reason of a failure, once.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
    }

    /// The first bytes of the last answer, as text.
    pub(crate) fn answer_begins(&self) -> String {
        String::from_utf8_lossy(&self.lock().answer).into_owned()
    }

    pub(crate) fn is_over_time(&self) -> bool {
        Instant::now() >= self.lock().deadline
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, method: Method, tail: &str, headers: HeaderMap, body: Vec<u8>) -> io::Result<Response> {
        let mut inner = self.lock();
        let result = inner.open(method, tail, &headers, &body);
        result.map_err(|e| inner.fail(e))
    }

    fn chunk(&self, response: &mut Response) -> io::Result<Option<Bytes>> {
        let mut inner = self.lock();
        let result = inner.chunk(response);
        result.map_err(|e| inner.fail(e))
    }
}

impl Inner {
    fn fail(&mut self, error: Error) -> io::Error {
        self.failure.get_or_insert(error);
        io::Error::other("the request failed")
    }

    fn within_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        self.runtime
            .block_on(async { timeout_at(self.deadline, work).await })
            .map_err(|_| Error::Unavailable("the fetch takes too long".into()))
    }

    /// Sends one request. Only the first one, which has no body, may be redirected (git's `http.followRedirects=initial`).
    fn open(&mut self, method: Method, tail: &str, headers: &HeaderMap, body: &[u8]) -> Result<Response, Error> {
        let mut url = joined(&self.base, tail)?;
        self.answer.clear();
        for _ in 0..=REDIRECTS {
            let mut request = Request::new(method.clone(), url.clone());
            *request.headers_mut() = headers.clone();
            if let Some(authorization) = self.credential.as_ref().and_then(|c| c.header_for(&url)) {
                request.headers_mut().insert(AUTHORIZATION, authorization);
            }
            if method == Method::POST {
                *request.body_mut() = Some(body.to_vec().into());
            }
            let response = self.within_time(self.egress.send(request))??;
            let Some(target) = redirect_target(&response) else {
                check_status(response.status(), self.credential.is_some())?;
                return Ok(response);
            };
            if method != Method::GET {
                return Err(Error::Unavailable("the server redirects in the middle of a fetch".into()));
            }
            self.egress.policy().check_url(&target).map_err(Error::AddressRefused)?;
            if !is_safe_scheme(&self.egress, &target) {
                return Err(Error::UrlRefused("the server redirects from https to http"));
            }
            self.base = base_of(&target, tail)?;
            url = target;
        }
        Err(Error::Unavailable("the server redirects too often".into()))
    }

    fn chunk(&mut self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        let chunk = self
            .within_time(response.chunk())?
            .map_err(|_| Error::Unavailable("the server broke off, or was silent for too long".into()))?;
        let bytes = chunk.as_ref().map_or(0, |c| c.len() as u64);
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            Error::TooLarge(format!("{} is larger than {} MiB", self.receiving, self.byte_limit >> 20))
        })?;
        let room = ANSWER_KEPT - self.answer.len();
        self.answer.extend(chunk.iter().flatten().take(room));
        Ok(chunk)
    }
}

fn joined(base: &Url, tail: &str) -> Result<Url, Error> {
    Url::parse(&format!("{}/{}", base.as_str().trim_end_matches('/'), tail.trim_start_matches('/')))
        .map_err(|_| Error::UrlRefused("it is not a URL"))
}

/// Where the repository is, after a redirect. A redirect to anything but the same request is a page for people: a login.
fn base_of(target: &Url, tail: &str) -> Result<Url, Error> {
    target
        .as_str()
        .strip_suffix(tail.trim_start_matches('/'))
        .and_then(|base| Url::parse(base).ok())
        .ok_or_else(|| Error::AccessDenied("the server sends to another page, most likely to log in".into()))
}

fn check_status(status: StatusCode, with_credential: bool) -> Result<(), Error> {
    match status.as_u16() {
        200 => Ok(()),
        401 | 403 if with_credential => {
            Err(Error::AccessDenied("the server does not accept the credential for this repository".into()))
        }
        401 => Err(Error::AccessDenied("the repository is private or does not exist; name a credential for it".into())),
        403 => Err(Error::AccessDenied("the server forbids access to this repository".into())),
        404 | 410 => Err(Error::RepositoryNotFound("the server knows no repository at this address")),
        408 | 429 | 500..=599 => Err(Error::Unavailable(format!("it answers with status {}", status.as_u16()))),
        _ => Err(Error::RepositoryNotFound("no git repository answers at this address")),
    }
}

fn header_map(lines: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.as_ref().split_once(':') else { continue };
        // The client names itself.
        if name.eq_ignore_ascii_case("user-agent") || name.eq_ignore_ascii_case("authorization") {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.trim()), HeaderValue::try_from(value.trim())) {
            map.append(name, value);
        }
    }
    map
}

/// All that the protocol code looks at.
fn header_lines(response: &Response) -> Vec<u8> {
    let value = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    format!("content-type: {value}\n").into_bytes()
}

impl Http for Channel {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::error::Result<GetResponse<Headers, Body>> {
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        let response = self.open(Method::GET, tail, header_map(headers), Vec::new()).map_err(|e| e.raise())?;
        let lines = header_lines(&response);
        let exchange = Exchange::new(self.clone(), State::Answered(response));
        Ok(GetResponse { headers: Headers::ready(exchange.clone(), lines), body: Body::new(exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::error::Result<PostResponse<Headers, Body, PostBody>> {
        let tail = url.strip_prefix(base_url).unwrap_or_default().to_owned();
        let exchange =
            Exchange::new(self.clone(), State::Collecting { tail, headers: header_map(headers), body: Vec::new() });
        Ok(PostResponse {
            post_body: PostBody(exchange.clone()),
            headers: Headers { exchange: exchange.clone(), lines: None },
            body: Body::new(exchange),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::error::Result {
        Ok(())
    }
}

/// One request and its answer. The request leaves when the first byte of the answer is asked for: by then its body is whole.
#[derive(Clone)]
struct Exchange {
    channel: Channel,
    state: Arc<Mutex<State>>,
}

enum State {
    Collecting { tail: String, headers: HeaderMap, body: Vec<u8> },
    Answered(Response),
    Failed,
}

impl Exchange {
    fn new(channel: Channel, state: State) -> Self {
        Self { channel, state: Arc::new(Mutex::new(state)) }
    }

    fn with_response<T>(&self, read: impl FnOnce(&mut Response) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Collecting { .. })
            && let State::Collecting { tail, headers, body } = std::mem::replace(&mut *state, State::Failed)
        {
            *state = State::Answered(self.channel.open(Method::POST, &tail, headers, body)?);
        }
        match &mut *state {
            State::Answered(response) => read(response),
            _ => Err(io::Error::other("the request failed")),
        }
    }
}

pub(crate) struct PostBody(Exchange);

impl Write for PostBody {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Collecting { body, .. } => {
                body.extend_from_slice(buf);
                Ok(buf.len())
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct Headers {
    exchange: Exchange,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn ready(exchange: Exchange, lines: Vec<u8>) -> Self {
        Self { exchange, lines: Some(Cursor::new(lines)) }
    }

    fn lines(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let lines = self.exchange.with_response(|response| Ok(header_lines(response)))?;
            self.lines = Some(Cursor::new(lines));
        }
        self.lines.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Read for Headers {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buf)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }
    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

pub(crate) struct Body {
    exchange: Exchange,
    chunk: Bytes,
}

impl Body {
    fn new(exchange: Exchange) -> Self {
        Self { exchange, chunk: Bytes::new() }
    }
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            let channel = self.exchange.channel.clone();
            match self.exchange.with_response(|response| channel.chunk(response))? {
                Some(chunk) => self.chunk = chunk,
                None => break,
            }
        }
        Ok(&self.chunk)
    }
    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}
