//! `GET /v1/scans/{id}/findings`.

use super::{accepted, or_accepted, scan_id, with_store};
use crate::{context::Context, query::Query};
use dunlin_contracts::{
    api::{FindingView, Page},
    problem::Problem,
};
use dunlin_runtime::http::{self, Caller};
use dunlin_store::{FindingFilter, FindingSort};
use lambda_http::{Body, Response};
use serde::Deserialize;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    Severity,
    Path,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    Fixed,
    Reopened,
    FalsePositive,
    Accepted,
    Duplicate,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Fixed => "fixed",
            Self::Reopened => "reopened",
            Self::FalsePositive => "false_positive",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
        }
    }
}

pub async fn list(context: &Context, caller: &Caller, id: &str, mut query: Query) -> Result<Response<Body>, Problem> {
    let id = scan_id(id)?;
    let filter = FindingFilter {
        min_severity: query.word("min_severity"),
        severities: query.words("severity"),
        engine: query.text("engine"),
        state: query.word::<State>("state").map(|state| state.as_str().to_owned()),
        rule: query.text("rule"),
        path_prefix: query.text("path"),
        new: query.parsed("new"),
    };
    let sort = match query.word::<Sort>("sort") {
        Some(Sort::Path) => FindingSort::Path,
        Some(Sort::Severity) | None => FindingSort::Severity,
    };
    let page = query.page();
    query.finish()?;
    let known =
        with_store(context, async |store| store.scan_findings(&caller.tenant, id, &filter, sort, &page).await).await?;
    let nothing_yet = || Page::<FindingView> { items: Vec::new(), next_cursor: None };
    let findings =
        or_accepted(known, async { Ok(accepted(context, caller, id).await?.map(|_| nothing_yet())) }).await?;
    Ok(http::json(200, &findings))
}
