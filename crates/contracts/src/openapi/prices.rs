//! The operations on batches of prices, and the question that is asked of them.

use crate::{
    api::Page,
    prices::{PriceBatchAccepted, PriceBatchComplete, PriceBatchRequest, PriceBatchView, Rates},
    problem::Problem,
};

documented! {
    /// Ask for a place to send a batch to
    ///
    /// PUT the file to the URLs of the answer, each part with exactly its headers; a file of several parts is then completed with
    /// `POST /v1/price-batches/{id}/complete`. The load begins when the file is there, and goes in whole or not at all. With an
    /// `Idempotency-Key`, the same request again is the same batch, with URLs that are good for another hour.
    #[utoipa::path(post, path = "/v1/price-batches", tag = "prices", operation_id = "createPriceBatch", request_body(content = PriceBatchRequest,
            example = json!({"kind": "prices", "bytes": 26214400, "name": "Q4 2026, northern Europe"})),
        params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
        responses(
            (status = 202, description = "Where the file goes", body = PriceBatchAccepted, headers(("Location" = String, description = "Path of the batch"))),
            (status = 400, description = "The request is not valid; `errors` names every field", body = Problem, content_type = "application/problem+json"),
            (status = 409, description = "The upload that belongs to the Idempotency-Key was given up after two days", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
            (status = 422, description = "The Idempotency-Key was used with another body", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again with the same Idempotency-Key", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    create_price_batch;

    /// Put a file together that was sent in parts
    ///
    /// Asking twice is the same as asking once.
    #[utoipa::path(post, path = "/v1/price-batches/{id}/complete", tag = "prices", operation_id = "completePriceBatch", request_body(content = PriceBatchComplete,
            example = json!({"etags": ["9b2cf535f27731c974343645a3985328", "e2fc714c4727ee9395f324cd2e7f331f"]})),
        params(("id" = Uuid, Path, description = "The batch")),
        responses(
            (status = 204, description = "The file is whole; its load begins"),
            (status = 400, description = "Not one well-formed ETag for each part; `errors` says which", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such batch", body = Problem, content_type = "application/problem+json"),
            (status = 409, description = "The batch has no parts, or its upload was given up", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
            (status = 422, description = "These are not the parts that were sent", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "Try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    complete_price_batch;

    /// List batches, newest first
    ///
    /// From the moment on in which their file has arrived.
    #[utoipa::path(get, path = "/v1/price-batches", tag = "prices", operation_id = "listPriceBatches",
        params(
            ("kind" = Option<String>, Query, pattern = "^(prices|ports|regions)$", description = "prices, ports or regions"),
            ("status" = Option<String>, Query, pattern = "^(loading|published|rejected|failed|duplicate|replaced|withdrawn)$", description = "loading, published, rejected, failed, duplicate, replaced or withdrawn. A batch is in this list as soon as its file has arrived"),
            ("limit" = Option<u32>, Query, description = "1 to 200; 50 when left out", minimum = 1, maximum = 200),
            ("cursor" = Option<String>, Query, min_length = 1, max_length = 8192, description = "`next_cursor` of the page before"),
        ),
        responses(
            (status = 200, description = "A page; bad rows and URLs of reports are left out", body = Page<PriceBatchView>),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    list_price_batches;

    /// Read a batch, with its progress in rows and what is wrong with them
    #[utoipa::path(get, path = "/v1/price-batches/{id}", tag = "prices", operation_id = "getPriceBatch",
        params(("id" = Uuid, Path, description = "The batch")),
        responses(
            (status = 200, description = "The batch", body = PriceBatchView),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such batch", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    get_price_batch;

    /// Take a published batch of prices back
    ///
    /// From then on no answer has its prices; the batch stays in the list. Asking twice is the same as asking once.
    #[utoipa::path(post, path = "/v1/price-batches/{id}/withdraw", tag = "prices", operation_id = "withdrawPriceBatch",
        params(("id" = Uuid, Path, description = "The batch")),
        responses(
            (status = 200, description = "It is withdrawn", body = PriceBatchView),
            (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "No such batch", body = Problem, content_type = "application/problem+json"),
            (status = 409, description = "It is not published, or it holds ports or regions", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    withdraw_price_batch;

    /// Average price a day between two places
    ///
    /// A region stands for every port in it and in the regions below it. A day with fewer than three prices has no average. The
    /// `ETag` changes with every batch that is published or withdrawn; with `If-None-Match` an answer that is still right is not
    /// computed again.
    #[utoipa::path(get, path = "/v1/rates", tag = "prices", operation_id = "getRates",
        params(
            ("date_from" = String, Query, format = "date", description = "The first day: YYYY-MM-DD", example = "2026-01-01"),
            ("date_to" = String, Query, format = "date", description = "The last day, at most 1,100 days with the first one", example = "2026-01-31"),
            ("origin" = String, Query, min_length = 1, max_length = 100, description = "Code of a port, or slug of a region", example = "CNSGH"),
            ("destination" = String, Query, min_length = 1, max_length = 100, description = "Code of a port, or slug of a region", example = "north_europe_main"),
            ("If-None-Match" = Option<String>, Header, max_length = 8192, description = "`ETag` of an answer that the caller has"),
        ),
        responses(
            (status = 200, description = "Every day from the first to the last", body = Rates, headers(
                ("ETag" = String, description = "Stands for this answer"),
                ("Cache-Control" = String, description = "`private, no-cache`: keep it, and ask whether it is still right"),
            )),
            (status = 304, description = "The answer that the caller has is still right", headers(
                ("ETag" = String, description = "Stands for that answer"),
                ("Cache-Control" = String, description = "`private, no-cache`"),
            )),
            (status = 400, description = "A parameter is missing or not valid, or no port or region is called so; `errors` names every one", body = Problem, content_type = "application/problem+json"),
            (status = 503, description = "The database is waking up; try again", body = Problem, content_type = "application/problem+json"),
        ), security(("token" = [])))]
    get_rates;
}
