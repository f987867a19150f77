//! `GET /v1/rates`: average price a day between two places. An answer is good until the tenant's prices change, and whoever has it
//! asks whether they have.

use super::with_store;
use crate::{context::Context, query::Query};
use dunlin_contracts::{
    prices::{Day, Rates},
    problem::{FieldError, Problem},
};
use dunlin_core::TenantId;
use dunlin_runtime::http::{self, Caller};
use dunlin_store::{RatesAnswer, Store, StoreError, UnknownPlace};
use lambda_http::{Body, Request, Response, http::HeaderValue};
use sha2::{Digest, Sha256};

/// Three years, and a few days on either side.
const MAX_DAYS: i64 = 1_100;

/// What is asked for, as every spelling of it comes down to.
struct Question {
    from: Day,
    to: Day,
    origin: String,
    destination: String,
}

enum Answer {
    /// The caller has it.
    Same,
    New(Rates, u64),
    Unknown(Vec<UnknownPlace>),
}

pub async fn get(
    context: &Context,
    caller: &Caller,
    request: &Request,
    query: Query,
) -> Result<Response<Body>, Problem> {
    let question = question(query)?;
    let tenant = &caller.tenant;
    let answer = with_store(context, async |store| {
        let now = etag(tenant, &question, store.price_revision(tenant).await?);
        if is_known(request, &now) {
            return Ok((Answer::Same, now));
        }
        let answer = ask(store, tenant, &question).await?;
        // A batch may have been published in between.
        let tag = if let Answer::New(_, revision) = &answer { etag(tenant, &question, *revision) } else { now };
        Ok((answer, tag))
    })
    .await?;
    let (mut response, tag) = match answer {
        (Answer::Same, tag) => (http::empty(304), tag),
        (Answer::New(rates, _), tag) => (http::json(200, &rates), tag),
        (Answer::Unknown(places), _) => return Err(unknown(&question, &places)),
    };
    let headers = response.headers_mut();
    headers.insert("etag", tag.parse().map_err(|_| Problem::internal())?);
    headers.insert("cache-control", HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

fn question(mut query: Query) -> Result<Question, Problem> {
    let (from, to) = (day(&mut query, "date_from"), day(&mut query, "date_to"));
    let (origin, destination) = (query.needed("origin"), query.needed("destination"));
    if let (Some(from), Some(to)) = (from, to) {
        let days = (to.0 - from.0).whole_days() + 1;
        if days < 1 {
            query.fault("date_to", "it is before date_from");
        } else if days > MAX_DAYS {
            query.fault("date_to", format!("{days} days are asked for; at most {MAX_DAYS} are answered at once"));
        }
    }
    query.finish()?;
    (|| Some(Question { from: from?, to: to?, origin: origin?, destination: destination? }))()
        .ok_or_else(Problem::internal)
}

fn day(query: &mut Query, name: &str) -> Option<Day> {
    let text = query.needed(name)?;
    let day = text.parse().ok();
    if day.is_none() {
        query.fault(name, "this is no day of the calendar; write YYYY-MM-DD");
    }
    day
}

async fn ask(store: &mut Store, tenant: &TenantId, question: &Question) -> Result<Answer, StoreError> {
    let Question { from, to, origin, destination } = question;
    match store.rates(tenant, origin, destination, from.0, to.0).await? {
        RatesAnswer::Rates { rates, revision } => Ok(Answer::New(rates, revision)),
        RatesAnswer::UnknownPlace(UnknownPlace::Destination) => Ok(Answer::Unknown(vec![UnknownPlace::Destination])),
        // The store names the first one that it does not know; the other way round it is the other one.
        RatesAnswer::UnknownPlace(UnknownPlace::Origin) => {
            let back = store.rates(tenant, destination, origin, from.0, to.0).await?;
            let mut places = vec![UnknownPlace::Origin];
            places
                .extend((back == RatesAnswer::UnknownPlace(UnknownPlace::Origin)).then_some(UnknownPlace::Destination));
            Ok(Answer::Unknown(places))
        }
    }
}

fn unknown(question: &Question, places: &[UnknownPlace]) -> Problem {
    let fault = |place: &UnknownPlace| {
        let (field, given) = match place {
            UnknownPlace::Origin => ("?origin", &question.origin),
            UnknownPlace::Destination => ("?destination", &question.destination),
        };
        let given: String = given.chars().take(60).collect();
        FieldError {
            field: field.to_owned(),
            message: format!("no port has the code {given:?}, and no region the slug"),
        }
    };
    Problem::invalid(places.iter().map(fault).collect())
}

/// The same question has the same answer until the revision grows; another release may write it otherwise.
fn etag(tenant: &TenantId, question: &Question, revision: u64) -> String {
    let Question { from, to, origin, destination } = question;
    let of = format!("{}\n{tenant}\n{from}\n{to}\n{origin:?}\n{destination:?}", env!("CARGO_PKG_VERSION"));
    format!("\"{revision}-{}\"", hex::encode(&Sha256::digest(of)[..12]))
}

/// `If-None-Match` (RFC 9110, 13.1.2), compared weakly. A `*` asks for nothing that anybody could have.
fn is_known(request: &Request, etag: &str) -> bool {
    let values = request.headers().get_all("if-none-match");
    let mut tags = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|tag| tag.trim().trim_start_matches("W/") == etag)
}
