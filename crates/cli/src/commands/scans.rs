//! `dunlin scans`.

use crate::{api::Api, args::Scans, outcome::Outcome, render, terminal::Terminal};
use anyhow::Context;

pub async fn run(args: Scans, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut filters = Vec::new();
    filters.extend(args.status.map(|status| ("status", status.as_str().to_owned())));
    filters.extend(args.repository.map(|repository| ("repository", repository)));
    let scans = api.scans(&filters, args.limit as usize).await.context("the scans cannot be listed")?;
    terminal.print(&render::list::scans(&scans, terminal.out)).context("the list could not be printed")?;
    Ok(Outcome::Clean)
}
