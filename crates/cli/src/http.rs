//! HTTP clients and addresses.

use crate::text::no_address;
use anyhow::{Context, bail, ensure};
use reqwest::{Client, redirect::Policy};
use std::time::Duration;
use url::{Host, Url};

/// For the API and the user pool. Redirects are not followed: the one answer that has a `Location` is handled by hand, so that a
/// token never goes where an answer points.
pub fn api_client() -> anyhow::Result<Client> {
    builder().timeout(Duration::from_secs(30)).build().context("the HTTP client could not be made")
}

/// For archives and reports, which may take long as long as they move.
pub fn transfer_client() -> anyhow::Result<Client> {
    builder().read_timeout(Duration::from_secs(60)).build().context("the HTTP client could not be made")
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("dunlin/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .redirect(Policy::none())
}

/// An address that passwords and tokens may be sent to: HTTPS, or this very machine.
pub fn endpoint(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text.trim()).with_context(|| format!("{}; write https://host", no_address(text)))?;
    ensure!(url.username().is_empty() && url.password().is_none(), "the address must not hold a user name or password");
    ensure!(url.query().is_none() && url.fragment().is_none(), "the address must not have a `?` or `#` part");
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_this_machine(&url) => Ok(url),
        "http" => bail!("{url} is not encrypted, so a password would be sent in the clear; use https"),
        other => bail!("an address of kind {other:?} cannot be used; write https://host"),
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// `base` with path segments below it (a stage such as `/prod` stays in front) and a query.
pub fn address(base: &Url, segments: &[&str], query: &[(&str, String)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_nowhere_in_the_clear() {
        for good in [
            "https://api.example.com",
            "http://localhost:4566/x",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://a.localhost:1",
        ] {
            assert!(endpoint(good).is_ok(), "{good} was refused");
        }
        for bad in [
            "http://api.example.com",
            "ftp://localhost",
            "api.example.com",
            "https://u:p@host",
            "https://host/?x=1",
            "http://127.0.0.1.example.com",
        ] {
            assert!(endpoint(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn ids_cannot_leave_their_segment() {
        let base = Url::parse("https://host/prod/").unwrap();
        let url = address(&base, &["v1", "scans", "../x?y"], &[("format", "sarif".into())]);
        assert_eq!(url.as_str(), "https://host/prod/v1/scans/..%2Fx%3Fy?format=sarif");
    }
}
