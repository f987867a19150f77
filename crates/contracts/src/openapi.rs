//! The HTTP API as an OpenAPI 3.1 document, and the table of its routes. The document that is checked in is this one, printed;
//! the gateway's routes and the functions' routers are compared with the table.

use crate::{
    api::{
        AuthDiscovery, CredentialPut, FindingView, Health, JobView, Page, RepositoryView, ScanAccepted, ScanRequest,
        ScanView, UploadRequest, UploadTarget, WebhookCreated, WebhookPut,
    },
    prices::{
        BadRowView, PriceBatchAccepted, PriceBatchComplete, PriceBatchRequest, PriceBatchView, Rate, Rates, UploadPart,
    },
    problem::{FieldError, GatewayRefusal, Problem},
    steps::Summary,
};
use utoipa::OpenApi;

macro_rules! documented {
    ($($(#[$attribute:meta])* $name:ident;)*) => { $($(#[$attribute])* #[expect(dead_code, reason = "carries the attribute")] fn $name() {})* };
}

mod complete;
mod prices;

use complete::{Closed, Links, Refusals, Token};

/// A route of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// The function behind it.
    pub function: &'static str,
    /// Whether the gateway's authorizer must see a token.
    pub token: bool,
}

const fn route(method: &'static str, path: &'static str, function: &'static str) -> Route {
    Route { method, path, function, token: true }
}

pub const ROUTES: &[Route] = &[
    route("POST", "/v1/scans", "intake"),
    route("DELETE", "/v1/scans/{id}", "intake"),
    route("POST", "/v1/uploads", "intake"),
    route("PUT", "/v1/credentials/{name}", "intake"),
    route("DELETE", "/v1/credentials/{name}", "intake"),
    route("PUT", "/v1/webhook", "intake"),
    route("DELETE", "/v1/webhook", "intake"),
    route("POST", "/v1/price-batches", "intake"),
    route("POST", "/v1/price-batches/{id}/complete", "intake"),
    Route { token: false, ..route("GET", "/v1/health", "api") },
    Route { token: false, ..route("GET", "/v1/openapi.json", "api") },
    route("GET", "/v1/scans", "api"),
    route("GET", "/v1/scans/{id}", "api"),
    route("GET", "/v1/scans/{id}/findings", "api"),
    route("GET", "/v1/scans/{id}/report", "api"),
    route("GET", "/v1/repositories", "api"),
    route("GET", "/v1/repositories/{id}", "api"),
    route("GET", "/v1/price-batches", "api"),
    route("GET", "/v1/price-batches/{id}", "api"),
    // It writes, and only the database can say whether it may.
    route("POST", "/v1/price-batches/{id}/withdraw", "api"),
    route("GET", "/v1/rates", "api"),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dunlin",
        description = "Scans repositories with many engines and keeps what they find; takes batches of prices in whole and answers what they say. Every error is application/problem+json (RFC 9457). Times are RFC 3339 in UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The environment that serves this document")),
    paths(
        create_scan, cancel_scan, list_scans, get_scan, list_findings, get_report, create_upload, list_repositories,
        get_repository, put_credential, delete_credential, put_webhook, delete_webhook, health, openapi,
        prices::create_price_batch, prices::complete_price_batch, prices::list_price_batches, prices::get_price_batch,
        prices::withdraw_price_batch, prices::get_rates,
    ),
    components(schemas(
        ScanRequest, ScanAccepted, ScanView, JobView, FindingView, Summary, UploadRequest, UploadTarget, RepositoryView,
        CredentialPut, WebhookPut, WebhookCreated, Health, AuthDiscovery, Problem, FieldError, GatewayRefusal,
        PriceBatchRequest, PriceBatchAccepted, UploadPart, PriceBatchComplete, PriceBatchView, BadRowView, Rates, Rate,
    )),
    modifiers(&Token, &Closed, &Refusals, &Links),
)]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The document as it is checked in and served.
pub fn document_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

documented! {
    /// Ask for a scan
    ///
    /// The answer comes at once; the scan runs behind it. With an `Idempotency-Key`, the same request again is the same scan.
    #[utoipa::path(post, path = "/v1/scans", tag = "scans", operation_id = "createScan", request_body = ScanRequest,
        params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
        responses(
            (status = 202, description = "Accepted", body = ScanAccepted, headers(("Location" = String, description = "Path of the scan"))),
            (status = 400, description = "The request is not valid; `errors` names every field", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
            (status = 422, description = "The Idempotency-Key was used with another body", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again with the same Idempotency-Key", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    create_scan;

    /// Cancel a scan
    ///
    /// Stops its jobs. Asking twice is the same as asking once.
    #[utoipa::path(delete, path = "/v1/scans/{id}", tag = "scans", operation_id = "cancelScan",
        params(("id" = Uuid, Path, description = "The scan")),
        responses(
            (status = 202, description = "It is being cancelled", body = ScanAccepted, headers(("Location" = String, description = "Path of the scan"))),
            (status = 404, description = "No such scan", body = Problem, content_type = "application/problem+json"),
            (status = 409, description = "It has ended already", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    cancel_scan;

    /// List scans, newest first
    #[utoipa::path(get, path = "/v1/scans", tag = "scans", operation_id = "listScans",
        params(
            ("status" = Option<String>, Query, pattern = "^(accepted|running|complete|partial|failed|cancelled)$", description = "accepted, running, complete, partial, failed or cancelled"),
            ("repository_id" = Option<Uuid>, Query, description = "Only this repository's"),
            ("limit" = Option<u32>, Query, description = "1 to 200; 50 when left out", minimum = 1, maximum = 200),
            ("cursor" = Option<String>, Query, min_length = 1, max_length = 8192, description = "`next_cursor` of the page before"),
        ),
        responses(
            (status = 200, description = "A page; jobs are left out", body = Page<ScanView>),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    list_scans;

    /// Read a scan, with the progress of each job
    #[utoipa::path(get, path = "/v1/scans/{id}", tag = "scans", operation_id = "getScan",
        params(("id" = Uuid, Path, description = "The scan")),
        responses(
            (status = 200, description = "The scan", body = ScanView),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such scan", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    get_scan;

    /// List what a scan found
    #[utoipa::path(get, path = "/v1/scans/{id}/findings", tag = "findings", operation_id = "listFindings",
        params(
            ("id" = Uuid, Path, description = "The scan"),
            ("severity" = Option<String>, Query, pattern = "^(critical|high|medium|low|info)(,(critical|high|medium|low|info))*$", description = "One or more of critical, high, medium, low, info, separated by commas"),
            ("min_severity" = Option<String>, Query, pattern = "^(critical|high|medium|low|info)$", description = "This severity and worse"),
            ("engine" = Option<String>, Query, max_length = 1000, pattern = r"^[^\u0000]*$", description = "Only this engine's"),
            ("rule" = Option<String>, Query, max_length = 1000, pattern = r"^[^\u0000]*$", description = "Only this rule's: `<engine>/<id>`"),
            ("state" = Option<String>, Query, pattern = "^(open|fixed|reopened|false_positive|accepted|duplicate)$", description = "open, fixed, reopened, false_positive, accepted or duplicate"),
            ("path" = Option<String>, Query, max_length = 1000, pattern = r"^[^\u0000]*$", description = "Only paths that begin with this"),
            ("new" = Option<bool>, Query, description = "Seen for the first time by this scan, or not"),
            ("sort" = Option<String>, Query, pattern = "^(severity|path)$", description = "severity (worst first) or path; severity when left out"),
            ("limit" = Option<u32>, Query, description = "1 to 200; 50 when left out", minimum = 1, maximum = 200),
            ("cursor" = Option<String>, Query, min_length = 1, max_length = 8192, description = "`next_cursor` of the page before"),
        ),
        responses(
            (status = 200, description = "A page", body = Page<FindingView>),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such scan", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    list_findings;

    /// Get a report
    ///
    /// Redirects to a URL that is good for five minutes. Do not send the token there.
    #[utoipa::path(get, path = "/v1/scans/{id}/report", tag = "findings", operation_id = "getReport",
        params(
            ("id" = Uuid, Path, description = "The scan"),
            ("format" = Option<String>, Query, pattern = "^(sarif|json|csv)$", description = "sarif (2.1.0), json or csv; sarif when left out"),
        ),
        responses(
            (status = 303, description = "The report is at `Location`", headers(("Location" = String, description = "Presigned URL"))),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such scan", body = Problem, content_type = "application/problem+json"),
            (status = 409, description = "The scan has no report: it has not ended, or ended without results", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    get_report;

    /// Get a place to send an archive to
    ///
    /// PUT the archive to `url` with `headers`, then ask for a scan of `upload_id`. The place is good for an hour.
    #[utoipa::path(post, path = "/v1/uploads", tag = "scans", operation_id = "createUpload", request_body = UploadRequest,
        responses(
            (status = 201, description = "The place", body = UploadTarget),
            (status = 400, description = "The request is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    create_upload;

    /// List repositories by name
    #[utoipa::path(get, path = "/v1/repositories", tag = "repositories", operation_id = "listRepositories",
        params(
            ("limit" = Option<u32>, Query, description = "1 to 200; 50 when left out", minimum = 1, maximum = 200),
            ("cursor" = Option<String>, Query, min_length = 1, max_length = 8192, description = "`next_cursor` of the page before"),
        ),
        responses(
            (status = 200, description = "A page", body = Page<RepositoryView>),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    list_repositories;

    /// Read a repository with its latest result
    #[utoipa::path(get, path = "/v1/repositories/{id}", tag = "repositories", operation_id = "getRepository",
        params(("id" = Uuid, Path, description = "The repository")),
        responses(
            (status = 200, description = "The repository", body = RepositoryView),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such repository", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    get_repository;

    /// Store a token for private repositories
    ///
    /// It is kept as a secret, is sent to `host` only, and is never given back.
    #[utoipa::path(put, path = "/v1/credentials/{name}", tag = "settings", operation_id = "putCredential", request_body = CredentialPut,
        params(("name" = String, Path, description = "1 to 64 lower-case letters, digits, dashes or underscores", pattern = "^[a-z0-9_-]{1,64}$")),
        responses(
            (status = 204, description = "Stored"),
            (status = 400, description = "The request is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    put_credential;

    /// Delete a stored token
    #[utoipa::path(delete, path = "/v1/credentials/{name}", tag = "settings", operation_id = "deleteCredential",
        params(("name" = String, Path, description = "1 to 64 lower-case letters, digits, dashes or underscores", pattern = "^[a-z0-9_-]{1,64}$")),
        responses(
            (status = 204, description = "It is gone, or was never there"),
            (status = 400, description = "The name is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    delete_credential;

    /// Set the webhook
    ///
    /// It hears about every scan that ends, as a CloudEvent that is signed as the Standard Webhooks specification says. Setting
    /// it again makes a new signing key.
    #[utoipa::path(put, path = "/v1/webhook", tag = "settings", operation_id = "putWebhook", request_body = WebhookPut,
        responses(
            (status = 200, description = "Stored; the only time that the key is shown", body = WebhookCreated),
            (status = 400, description = "The URL is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    put_webhook;

    /// Remove the webhook
    #[utoipa::path(delete, path = "/v1/webhook", tag = "settings", operation_id = "deleteWebhook",
        responses(
            (status = 204, description = "It is gone, or was never there"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    delete_webhook;

    /// Is it there, and how does one sign in
    ///
    /// Touches no database.
    #[utoipa::path(get, path = "/v1/health", tag = "service", operation_id = "getHealth",
        responses((status = 200, description = "It is there", body = Health)))]
    health;

    /// This document
    #[utoipa::path(get, path = "/v1/openapi.json", tag = "service", operation_id = "getOpenApi",
        responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
    openapi;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/dunlin.json");

    /// `UPDATE_OPENAPI=1 cargo test -p dunlin-contracts openapi` writes the file anew.
    #[test]
    fn the_document_that_is_checked_in_is_the_one_of_the_code() {
        let now = document_json();
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(CHECKED_IN, &now).unwrap();
        }
        let there = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
        assert!(
            there == now,
            "openapi/dunlin.json is not current: UPDATE_OPENAPI=1 cargo test -p dunlin-contracts openapi"
        );
    }

    #[test]
    fn the_document_and_the_table_have_the_same_routes_and_ask_for_the_same_tokens() {
        let value: serde_json::Value = serde_json::from_str(&document_json()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, methods) in value["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let token = operation["security"].as_array().is_some_and(|s| !s.is_empty());
                documented.insert((method.to_uppercase(), path.clone(), token));
            }
        }
        let table: BTreeSet<_> = ROUTES.iter().map(|r| (r.method.to_owned(), r.path.to_owned(), r.token)).collect();
        assert_eq!(documented, table);
    }

    #[test]
    fn every_operation_has_a_summary_and_answers_problems_as_problems() {
        let value: serde_json::Value = serde_json::from_str(&document_json()).unwrap();
        for (path, methods) in value["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path} has no summary");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    // The gateway says 401 before any function of ours is asked, in words of its own.
                    if status != "401" && status.starts_with(['4', '5']) {
                        assert!(
                            response["content"]["application/problem+json"].is_object(),
                            "{method} {path} {status}"
                        );
                    }
                }
            }
        }
    }
}
