//! What may be said of a batch of prices.

use super::Faults;
use dunlin_contracts::{
    prices::{PriceBatchComplete, PriceBatchRequest},
    problem::Problem,
};
use dunlin_core::prices::BatchKind;

/// Fifty gibibytes.
const MAX_BATCH_BYTES: u64 = 50 << 30;
const MAX_NAME: usize = 200;
/// S3's are 32 hexadecimal digits, with a key of one's own also others.
const MAX_ETAG: usize = 64;

pub fn price_batch(body: &PriceBatchRequest) -> Result<(), Problem> {
    let mut faults = Faults::default();
    if !(1..=MAX_BATCH_BYTES).contains(&body.bytes) {
        faults.add("/bytes", format!("1 to {MAX_BATCH_BYTES} bytes are allowed"));
    }
    if let Some(name) = &body.name
        && (name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control))
    {
        faults.add("/name", format!("1 to {MAX_NAME} characters without control characters are allowed"));
    }
    if body.replaces.is_some() && body.kind != BatchKind::Prices {
        faults.add("/replaces", format!("only prices are replaced; {} are changed by sending them again", body.kind));
    }
    faults.into_result()
}

/// The ETags as S3 takes them: without the quotes that the header has.
pub fn etags(body: &PriceBatchComplete, parts: usize) -> Result<Vec<String>, Problem> {
    let mut faults = Faults::default();
    if body.etags.len() != parts {
        faults.add("/etags", format!("the file has {parts} parts, and {} ETags are given", body.etags.len()));
    }
    let unquoted = |etag: &str| {
        let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag);
        let fine =
            (1..=MAX_ETAG).contains(&inner.len()) && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fine.then(|| inner.to_owned())
    };
    let mut etags = Vec::with_capacity(body.etags.len());
    for (n, etag) in body.etags.iter().enumerate() {
        match unquoted(etag) {
            Some(etag) => etags.push(etag),
            None => faults.add(&format!("/etags/{n}"), "this is not an ETag; send the header of the part's answer"),
        }
    }
    faults.into_result()?;
    Ok(etags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn fields(result: Result<impl Sized, Problem>) -> Vec<String> {
        result.err().map(|problem| problem.errors.into_iter().map(|e| e.field).collect()).unwrap_or_default()
    }

    fn batch(body: Value) -> Vec<String> {
        fields(price_batch(&serde_json::from_value(body).unwrap()))
    }

    #[test]
    fn everything_that_is_wrong_with_a_batch_is_told_at_once() {
        let id = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3b11";
        assert!(batch(json!({ "kind": "prices", "bytes": 1, "name": "Q4 – north", "replaces": id })).is_empty());
        assert!(batch(json!({ "kind": "regions", "bytes": 53_687_091_200_u64, "name": "é".repeat(200) })).is_empty());
        let all = json!({ "kind": "ports", "bytes": 0, "name": "a\nb", "replaces": id });
        assert_eq!(batch(all), ["/bytes", "/name", "/replaces"]);
        for name in ["", &"x".repeat(201), "\u{7f}"] {
            assert_eq!(
                batch(json!({ "kind": "prices", "bytes": 53_687_091_201_u64, "name": name })),
                ["/bytes", "/name"]
            );
        }
    }

    #[test]
    fn every_part_needs_an_etag() {
        let given = |given: &[&str]| PriceBatchComplete { etags: given.iter().map(|e| (*e).to_owned()).collect() };
        assert_eq!(etags(&given(&["\"a1\"", "b2-3"]), 2).unwrap(), ["a1", "b2-3"]);
        assert_eq!(fields(etags(&given(&["a"]), 2)), ["/etags"]);
        assert_eq!(fields(etags(&given(&[]), 2)), ["/etags"]);
        assert_eq!(
            fields(etags(&given(&["a", "<b>", "\"\"", "W/\"c\""]), 3)),
            ["/etags", "/etags/1", "/etags/2", "/etags/3"]
        );
    }
}
