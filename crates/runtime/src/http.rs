//! The HTTP edge: who is calling, what the body says, and answers as JSON or `application/problem+json`.

use dunlin_contracts::problem::Problem;
use dunlin_core::TenantId;
use lambda_http::{Body, Request, RequestExt, Response, request::RequestContext};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Who calls, as the gateway's authorizer has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub tenant: TenantId,
    /// The token's subject.
    pub subject: String,
}

/// What is kept of an invocation's time for the answer, its log line and the way to the gateway.
const RESERVE: Duration = Duration::from_millis(1_000);

/// Claim that names the organisation.
pub const TENANT_CLAIM: &str = "custom:tenant";

/// The caller of a request that went through the JWT authorizer. A request without it never gets here in a correct set-up,
/// so anything missing is refused.
pub fn caller(request: &Request) -> Result<Caller, Problem> {
    let claims = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            context.authorizer.as_ref().and_then(|a| a.jwt.as_ref()).map(|jwt| &jwt.claims)
        }
        _ => None,
    };
    let unauthorized = |detail: &str| Problem::new(401, "unauthorized", "Not signed in", detail);
    let claims = claims.ok_or_else(|| unauthorized("the request carries no verified token"))?;
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_empty());
    let tenant = claim(TENANT_CLAIM)
        .ok_or_else(|| Problem::new(403, "no-organisation", "No organisation", "the token names no organisation"))?
        .parse()
        .map_err(|_| {
            Problem::new(403, "no-organisation", "No organisation", "the token's organisation is not valid")
        })?;
    let subject = claim("sub").ok_or_else(|| unauthorized("the token names no subject"))?.clone();
    Ok(Caller { tenant, subject })
}

/// The trace of a request: the caller's own, or a new one.
pub fn request_trace(request: &Request) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    crate::logging::trace_id(header("traceparent"), header("x-amzn-trace-id"))
}

/// The answer of `route`, or 503 just before the invocation ends: the caller is told to come back, and not left with whatever the
/// gateway says about a function that was killed.
pub async fn in_time<F>(request: &Request, route: F) -> Result<Response<Body>, Problem>
where
    F: Future<Output = Result<Response<Body>, Problem>>,
{
    // Only Lambda's own runtime gives a context; a test that makes its request by hand waits as long as it likes.
    let Some(context) = request.lambda_context_ref() else { return route.await };
    crate::deadline::before(context.deadline(), RESERVE, route)
        .await
        .unwrap_or_else(|| Err(Problem::unavailable("a service that is needed does not answer in time; try again")))
}

/// The JSON body, with an error that says where it went wrong.
pub fn json_body<T: DeserializeOwned>(request: &Request, max_bytes: usize) -> Result<T, Problem> {
    let bytes: &[u8] = match request.body() {
        Body::Empty => &[],
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        _ => return Err(Problem::invalid_field("", "the body cannot be read")),
    };
    if bytes.len() > max_bytes {
        let detail = format!("the body has {} bytes; at most {max_bytes} are read", bytes.len());
        return Err(Problem::new(413, "too-large", "The body is too large", detail));
    }
    if bytes.is_empty() {
        return Err(Problem::invalid_field("", "the body is empty; a JSON object is needed"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|e| Problem::invalid_field(&pointer(e.path()), e.inner().to_string()))?;
    deserializer.end().map_err(|e| Problem::invalid_field("", e.to_string()))?;
    Ok(value)
}

/// As a JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            // The variant is a value of the tag, not a member.
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// An answer with a JSON body.
pub fn json<T: Serialize>(status: u16, value: &T) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => respond(status, "application/json", text),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as json");
            problem(Problem::internal(), None)
        }
    }
}

pub fn problem(mut problem: Problem, trace_id: Option<&str>) -> Response<Body> {
    problem.trace_id = trace_id.map(str::to_owned);
    let text = serde_json::to_string(&problem).unwrap_or_else(|_| "{}".to_owned());
    respond(problem.status, Problem::CONTENT_TYPE, text)
}

pub fn empty(status: u16) -> Response<Body> {
    build(status, None, Body::Empty)
}

fn respond(status: u16, content_type: &'static str, text: String) -> Response<Body> {
    build(status, Some(content_type), Body::Text(text))
}

fn build(status: u16, content_type: Option<&'static str>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    }
    // Answers hold one organisation's data: no shared cache may keep them.
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_contracts::api::ScanRequest;
    use serde_json::json;

    fn request(claims: serde_json::Value, body: &str) -> Request {
        let event = json!({
            "version": "2.0", "routeKey": "POST /v1/scans", "rawPath": "/v1/scans", "rawQueryString": "",
            "headers": { "content-type": "application/json" }, "isBase64Encoded": false, "body": body,
            "requestContext": {
                "accountId": "0", "apiId": "a", "stage": "$default", "requestId": "r", "routeKey": "POST /v1/scans",
                "domainName": "d", "domainPrefix": "d", "time": "t", "timeEpoch": 0,
                "http": { "method": "POST", "path": "/v1/scans", "protocol": "HTTP/1.1", "sourceIp": "1.1.1.1", "userAgent": "t" },
                "authorizer": { "jwt": { "claims": claims, "scopes": null } },
            },
        });
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    #[test]
    fn the_tenant_comes_from_the_token() {
        let caller = caller(&request(json!({ "sub": "u-1", "custom:tenant": "acme" }), "{}")).unwrap();
        assert_eq!((caller.tenant.as_str(), caller.subject.as_str()), ("acme", "u-1"));
    }

    #[tokio::test]
    async fn a_route_that_hangs_is_answered_in_time() {
        let mut context = lambda_runtime::Context::default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        context.deadline = u64::try_from((now + RESERVE + Duration::from_millis(50)).as_millis()).unwrap();
        let request = request(json!({}), "").with_lambda_context(context);
        let problem = in_time(&request, std::future::pending()).await.unwrap_err();
        assert_eq!((problem.status, problem.kind.as_str()), (503, Problem::unavailable("").kind.as_str()));
    }

    #[test]
    fn a_token_without_a_usable_tenant_is_refused() {
        for claims in [
            json!({ "sub": "u" }),
            json!({ "sub": "u", "custom:tenant": "../x" }),
            json!({ "sub": "u", "custom:tenant": "" }),
        ] {
            assert_eq!(caller(&request(claims.clone(), "{}")).unwrap_err().status, 403, "{claims}");
        }
        assert_eq!(caller(&request(json!({ "custom:tenant": "acme" }), "{}")).unwrap_err().status, 401);
    }

    #[test]
    fn a_bad_body_names_the_field() {
        let field = |body: &str| {
            let p = json_body::<ScanRequest>(&request(json!({}), body), 1000).unwrap_err();
            (p.status, p.errors.first().map(|e| e.field.clone()))
        };
        assert_eq!(field("{"), (400, Some(String::new())));
        assert_eq!(field(r#"{"target":7}"#), (400, Some("/target".into())));
        assert_eq!(field(r#"{"target":{"type":"upload","upload_id":"x","repository":"r"}}"#).0, 400);
        assert_eq!(field(&"x".repeat(1001)).0, 413);
        assert_eq!(field(""), (400, Some(String::new())));
    }
}
