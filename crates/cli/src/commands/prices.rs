//! `dunlin prices`: batches go in, averages come out.

use super::result::write_file;
use crate::{
    api::Api,
    args::FollowArgs,
    follow::{self, End, Pace},
    http, interrupt,
    outcome::{self, Outcome},
    prices::{
        args::{List, Prices, RatesArgs, RatesFormat, ReportArgs, Send, Show},
        upload::{Source, Upload},
    },
    render::{self, prices::Progress},
    terminal::Terminal,
    text, transfer,
};
use anyhow::{Context, anyhow};
use dunlin_contracts::prices::{PriceBatchRequest, PriceBatchView};
use dunlin_core::prices::{BatchKind, BatchState, FIRST_BAD_ROWS};
use std::path::Path;
use url::Url;
use uuid::Uuid;

/// Of the bad rows of a batch that was just sent, how many are shown at once.
const SHOWN_AFTER_SENDING: usize = 10;

pub async fn run(command: Prices, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    match command {
        Prices::Send(args) => send(args, api, terminal).await,
        Prices::List(args) => list(args, api, terminal).await,
        Prices::Show(args) => show(args, api, terminal).await,
        Prices::Withdraw { id } => {
            let batch = api.withdraw_price_batch(id).await.context("the batch cannot be withdrawn")?;
            terminal.note(&format!("batch {id}: {}", batch.status.as_str()));
            Ok(Outcome::Clean)
        }
        Prices::Rates(args) => rates(args, api, terminal).await,
    }
}

async fn send(args: Send, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let source = Source::open(&args.file)?;
    let request = PriceBatchRequest {
        kind: args.kind.into(),
        bytes: source.bytes(),
        name: args.name.clone().or_else(|| file_name(&args.file)),
        replaces: args.replaces,
    };
    let upload = Upload::begin(api, http::transfer_client()?, &request).await?;
    if !args.follow.no_progress {
        let parts = upload.parts().await as u64;
        let parts = if parts > 1 { format!(" in {}", text::count(parts, "part")) } else { String::new() };
        terminal.note(&format!("batch {}: {} to send{parts}", upload.id(), text::bytes(source.bytes())));
    }
    let bar = render::live::transfer(terminal, !args.follow.no_progress, source.bytes());
    let moving = bar.clone();
    let sent = upload.send(&source, move |bytes| moving.set_position(bytes)).await;
    bar.finish_and_clear();
    sent?;
    if args.no_wait {
        terminal.print(&format!("{}\n", upload.id())).context("the id could not be printed")?;
        terminal.note(&format!("follow: dunlin prices show {} --follow", upload.id()));
        return Ok(Outcome::Clean);
    }
    follow_and_tell(api, upload.id(), &args.follow, &args.report, SHOWN_AFTER_SENDING, terminal).await
}

/// What people call the batch when its sender gives it no name.
fn file_name(path: &Path) -> Option<String> {
    let name: String = path.file_name()?.to_string_lossy().chars().filter(|c| !c.is_control()).take(200).collect();
    (!name.is_empty()).then_some(name)
}

async fn show(args: Show, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    if args.follow {
        return follow_and_tell(api, args.id, &args.progress, &args.report, FIRST_BAD_ROWS, terminal).await;
    }
    let batch = api.price_batch(args.id).await.with_context(|| format!("batch {} cannot be shown", args.id))?;
    tell(api, &batch, &args.report, FIRST_BAD_ROWS, terminal).await
}

async fn follow_and_tell(
    api: &Api,
    id: Uuid,
    how: &FollowArgs,
    report: &ReportArgs,
    shown: usize,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new(terminal, id, !how.no_progress);
    let end = follow::follow(api, id, Pace::default(), how.timeout, interrupt::listen(), &mut progress).await;
    progress.finish();
    let back = format!("dunlin prices show {id} --follow");
    match end.with_context(|| format!("batch {id} cannot be followed; it may still be loading ({back})"))? {
        End::Ended(batch) => tell(api, &batch, report, shown, terminal).await,
        End::OutOfTime => {
            terminal.warning(&format!("batch {id} has not ended in time and goes on; come back with `{back}`"));
            Ok(Outcome::Incomplete)
        }
    }
}

/// Prints how the batch stands, and says by the outcome what it means.
async fn tell(
    api: &Api,
    batch: &PriceBatchView,
    report: &ReportArgs,
    shown: usize,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    terminal
        .print(&render::prices::conclusion(batch, shown, terminal.out))
        .context("the result could not be printed")?;
    if let Some(path) = &report.bad_rows {
        save_bad_rows(batch, path, terminal).await?;
    }
    match (batch.status, batch.same_as) {
        (BatchState::Failed, _) => {
            let why = batch.error.as_deref().unwrap_or("the server gives no reason");
            terminal.error(&anyhow!("the batch failed: {why}"));
            Ok(Outcome::Error)
        }
        (BatchState::Duplicate, Some(first)) => {
            let first = api.price_batch(first).await.context("the batch with the same content cannot be read")?;
            let state = first.status.as_str();
            terminal.note(&format!("the same file came before, as batch {}: {state}", first.id));
            if !first.status.is_end() {
                terminal.note(&format!("follow: dunlin prices show {} --follow", first.id));
            }
            Ok(outcome::judge_batch(&first))
        }
        _ => Ok(outcome::judge_batch(batch)),
    }
}

async fn save_bad_rows(batch: &PriceBatchView, path: &Path, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(address) = &batch.report_url else {
        if batch.status == BatchState::Rejected {
            terminal.warning("the list of the bad rows is not kept any more");
        }
        return Ok(());
    };
    let address = Url::parse(address).context("the server points to the bad rows at an address that is not one")?;
    let mut list = tempfile::tempfile().context("there is no room for a temporary file")?;
    transfer::fetch(&http::transfer_client()?, &address, &mut list).await?;
    std::io::Seek::rewind(&mut list).context("the list of the bad rows cannot be read")?;
    // Whole or not at all.
    write_file(path, |file| {
        std::io::copy(&mut list, file)?;
        Ok(())
    })
}

async fn list(args: List, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut filters = Vec::new();
    filters.extend(args.kind.map(|kind| ("kind", BatchKind::from(kind).as_str().to_owned())));
    filters.extend(args.status.map(|status| ("status", BatchState::from(status).as_str().to_owned())));
    let batches = api.price_batches(&filters, args.limit as usize).await.context("the batches cannot be listed")?;
    terminal.print(&render::prices::list(&batches, terminal.out)).context("the list could not be printed")?;
    Ok(Outcome::Clean)
}

async fn rates(args: RatesArgs, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let query = [
        ("date_from", args.from.to_string()),
        ("date_to", args.to.to_string()),
        ("origin", args.origin),
        ("destination", args.destination),
    ];
    let rates = api.rates(&query).await.context("the rates cannot be had")?;
    let text = match args.format {
        RatesFormat::Table => render::prices::rates(&rates, terminal.out),
        RatesFormat::Csv => render::prices::rates_csv(&rates),
        RatesFormat::Json => serde_json::to_string_pretty(&rates).context("the rates cannot be written")? + "\n",
    };
    terminal.print(&text).context("the rates could not be printed")?;
    Ok(Outcome::Clean)
}
