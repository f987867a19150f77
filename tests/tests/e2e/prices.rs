//! Batches of prices from the API, or a file in S3, to rates that people ask for.

use anyhow::{Context, Result, ensure};
use dunlin_contracts::prices::{PriceBatchAccepted, PriceBatchView};
use dunlin_core::prices::{BatchState, Reason};
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, value},
    wait,
};
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};
use std::{fmt::Write as _, io::Write as _, time::Duration};
use uuid::Uuid;

/// Places with codes that no other test of this run has.
pub struct World {
    pub api: Api,
    region: String,
    pub ports: Vec<String>,
}

impl World {
    pub async fn make() -> Result<Self> {
        let api = Api::demo().await?;
        let unique = Uuid::now_v7();
        let unique_text = unique.simple();
        let region = format!("region_{unique_text}");
        let regions =
            format!("slug,name,parent\nworld_{unique_text},World,\n{region},\"Region, the\",world_{unique_text}\n");
        published(&api, &send(&api, "regions", regions.into_bytes(), json!({})).await?).await?;
        // Codes have five characters; the last bits of the id are random.
        let mut random = unique.as_u128() & u128::from(u64::MAX >> 2);
        let stem: String = std::iter::repeat_with(|| {
            let digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(random % 36) as usize];
            random /= 36;
            char::from(digit)
        })
        .take(4)
        .collect();
        let ports: Vec<String> = (0..3).map(|n| format!("{stem}{n}")).collect();
        let mut file = "region,name,code\n".to_owned();
        for port in &ports {
            writeln!(file, "{region},Port {port},{port}")?;
        }
        published(&api, &send(&api, "ports", file.into_bytes(), json!({})).await?).await?;
        Ok(Self { api, region, ports })
    }

    async fn rates(&self, origin: &str, destination: &str, from: &str, to: &str) -> Result<Vec<Option<f64>>> {
        let path = format!("/v1/rates?date_from={from}&date_to={to}&origin={origin}&destination={destination}");
        let answer = self.api.get(&path).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        let rates = answer.body["rates"].as_array().context("no rates")?;
        Ok(rates.iter().map(|rate| rate["average_price"].as_f64()).collect())
    }
}

/// Asks for a batch, sends its file, and answers its id.
pub async fn send(api: &Api, kind: &str, file: Vec<u8>, more: Value) -> Result<String> {
    let mut body = json!({ "kind": kind, "bytes": file.len() });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let answer = api.send(Method::POST, "/v1/price-batches", Some(body), &[]).await?;
    ensure!(answer.status == 202, "{} {}", answer.status, answer.body);
    let accepted: PriceBatchAccepted = serde_json::from_value(answer.body)?;
    ensure!(!accepted.complete && accepted.parts.len() == 1, "a small file goes in one piece");
    let part = &accepted.parts[0];
    let mut put = reqwest::Client::new().put(&part.url);
    for (name, value) in &part.headers {
        put = put.header(name, value);
    }
    let stored = put.body(file).send().await?;
    ensure!(stored.status() == 200, "the file was refused: {}", stored.text().await?);
    Ok(accepted.id.to_string())
}

async fn read(api: &Api, id: &str) -> Result<PriceBatchView> {
    let answer = api.get(&format!("/v1/price-batches/{id}")).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    Ok(serde_json::from_value(answer.body)?)
}

async fn ended(api: &Api, id: &str) -> Result<PriceBatchView> {
    wait::until("the batch's end", Duration::from_secs(120), async || {
        let view = read(api, id).await?;
        Ok(view.status.is_end().then_some(view))
    })
    .await
    .with_context(|| format!("batch {id}"))
}

pub async fn published(api: &Api, id: &str) -> Result<PriceBatchView> {
    let view = ended(api, id).await?;
    ensure!(view.status == BatchState::Published, "{view:#?}");
    Ok(view)
}

#[tokio::test]
async fn a_batch_goes_in_whole_is_corrected_and_taken_back() -> Result<()> {
    let world = World::make().await?;
    let [a, b, c] = world.ports.as_slice() else { panic!("three ports") };
    // Three prices on the first day, two on the second: too few to say anything.
    let rows = [(a, b, "01", "100"), (a, b, "01", "200.50"), (c, b, "01", "300"), (a, b, "02", "1"), (c, b, "02", "2")];
    let mut file = "price,day,dest_code,orig_code\r\n".to_owned();
    for (origin, destination, day, price) in rows {
        write!(file, "{price},2026-03-{day},{destination},{origin}\r\n")?;
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(file.as_bytes())?;
    let first =
        published(&world.api, &send(&world.api, "prices", packed.finish()?, json!({"name": "march"})).await?).await?;
    ensure!((first.rows, first.bad_rows, first.name.as_deref()) == (Some(5), 0, Some("march")), "{first:#?}");
    let (origin, days) = (&world.region, ("2026-03-01", "2026-03-03"));
    ensure!(world.rates(origin, b, days.0, days.1).await? == [Some(200.17), None, None]);
    ensure!(world.rates(a, b, days.0, days.1).await? == [None, None, None], "two prices are too few");

    // The same content again is the same batch.
    let mut again = GzEncoder::new(Vec::new(), Compression::default());
    again.write_all(file.as_bytes())?;
    let again = ended(&world.api, &send(&world.api, "prices", again.finish()?, json!({})).await?).await?;
    ensure!((again.status, again.same_as) == (BatchState::Duplicate, Some(first.id)), "{again:#?}");

    // A correction takes its place in one moment.
    let corrected = file.replace("300", "400");
    let correction = json!({ "replaces": first.id });
    let second = published(&world.api, &send(&world.api, "prices", corrected.into_bytes(), correction).await?).await?;
    let before = read(&world.api, &first.id.to_string()).await?;
    ensure!((before.status, before.replaced_by) == (BatchState::Replaced, Some(second.id)), "{before:#?}");
    ensure!(world.rates(origin, b, days.0, days.1).await?[0] == Some(233.5));

    let path = format!("/v1/price-batches/{}/withdraw", second.id);
    ensure!(Api::other().await?.send(Method::POST, &path, None, &[]).await?.status == 404, "somebody else's batch");
    let taken = world.api.send(Method::POST, &path, None, &[]).await?;
    ensure!((taken.status, &taken.body["status"]) == (200, &json!("withdrawn")), "{}", taken.body);
    ensure!(world.rates(origin, b, days.0, days.1).await? == [None, None, None]);
    Ok(())
}

/// A small file goes the whole way in the inspector, a packed one through all functions.
#[tokio::test]
async fn a_batch_with_bad_rows_goes_in_not_at_all_and_names_them() -> Result<()> {
    let (world, cloud) = (World::make().await?, Cloud::connect().await?);
    for (is_packed, expected) in [(false, [].as_slice()), (true, &["Load ranges", "Publish or reject"])] {
        let id = bad_rows(&world, is_packed).await?;
        let of_others = ["Load ranges", "Publish or reject", "Record failure"];
        let mut entered = steps(&cloud, &id).await?;
        ensure!(entered.iter().any(|name| name == "Inspect file"), "{entered:?}");
        entered.retain(|name| of_others.contains(&name.as_str()));
        ensure!(entered == expected, "packed: {is_packed}, {entered:?}");
    }
    Ok(())
}

/// States that the execution of a batch has been in.
async fn steps(cloud: &Cloud, id: &str) -> Result<Vec<String>> {
    let arn = format!("{}:{id}", value("PRICE_STATE_MACHINE_ARN")?.replace(":stateMachine:", ":execution:"));
    let history = cloud.workflows.get_execution_history().execution_arn(arn).send().await?;
    let entered = history.events().iter().filter_map(|event| event.state_entered_event_details());
    Ok(entered.map(|details| details.name().to_owned()).collect())
}

async fn bad_rows(world: &World, is_packed: bool) -> Result<String> {
    let [a, b, _] = world.ports.as_slice() else { panic!("three ports") };
    let mut file = "orig_code,dest_code,day,price\n".to_owned();
    for day in 1..=9 {
        writeln!(file, "{a},{b},2026-03-0{day},{day}")?;
    }
    write!(file, "{a},ZZZZZ,2026-03-01,5\n{a},{b},2026-02-30,-5\n{a},{b},2026-03-04,4\n{a},{b},2026-03-01,cheap\n")?;
    let mut bytes = file.into_bytes();
    if is_packed {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&bytes)?;
        bytes = packed.finish()?;
    }
    let id = send(&world.api, "prices", bytes, json!({})).await?;
    let view = ended(&world.api, &id).await?;
    ensure!((view.status, view.bad_rows, view.rows) == (BatchState::Rejected, 4, None), "{view:#?}");
    let named: Vec<(u64, Option<&str>, &str, Reason)> = view
        .first_bad_rows
        .iter()
        .map(|row| (row.line, row.column.as_deref(), row.value.as_str(), row.reason))
        .collect();
    let repeated = format!("{a},{b},2026-03-04,4.00");
    let expected = [
        (11, Some("dest_code"), "ZZZZZ", Reason::UnknownPort),
        (12, Some("day"), "2026-02-30", Reason::InvalidDate),
        (12, Some("price"), "-5", Reason::NotPositive),
        (13, None, repeated.as_str(), Reason::Duplicate),
        (14, Some("price"), "cheap", Reason::NotANumber),
    ];
    ensure!(named == expected, "{named:#?}");
    let report = reqwest::get(view.report_url.context("no report")?).await?.text().await?;
    let lines: Vec<&str> = report.lines().filter_map(|line| line.split(',').next()).collect();
    ensure!(lines == ["line", "11", "12", "12", "13", "14"], "{report}");
    ensure!(world.rates(a, b, "2026-03-01", "2026-03-09").await?.iter().all(Option::is_none));
    Ok(id)
}

#[tokio::test]
async fn a_file_that_a_partner_puts_into_s3_is_a_batch() -> Result<()> {
    let world = World::make().await?;
    let cloud = Cloud::connect().await?;
    let [a, b, _] = world.ports.as_slice() else { panic!("three ports") };
    let mut file = String::new();
    for price in [10, 20, 60] {
        writeln!(file, "{}", json!({"orig_code": a, "dest_code": b, "day": "2026-04-01", "price": price}))?;
    }
    let key = format!("price-batches/demo/prices/partner of {a}/april+1.ndjson");
    cloud.objects.put_object().bucket(value("DATA_BUCKET")?).key(&key).body(file.into_bytes().into()).send().await?;
    let view = wait::until("the partner's batch", Duration::from_secs(120), async || {
        let answer = world.api.get("/v1/price-batches?kind=prices&limit=50").await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        let items = answer.body["items"].as_array().context("no items")?;
        let mine = items.iter().find(|item| item["key"] == json!(key)).cloned();
        let view: Option<PriceBatchView> = mine.map(serde_json::from_value).transpose()?;
        Ok(view.filter(|view| view.status.is_end()))
    })
    .await?;
    ensure!((view.status, view.rows, view.sent_by.as_deref()) == (BatchState::Published, Some(3), None), "{view:#?}");
    ensure!(world.rates(a, b, "2026-04-01", "2026-04-01").await? == [Some(30.0)]);
    Ok(())
}

pub const LARGE_ROWS: u64 = 300_000;

/// Compressed, it cannot be cut: one range, and too large for Lambda.
pub fn large(origin: &str, destination: &str) -> Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    writeln!(packed, "orig_code,dest_code,day,price")?;
    for n in 0..LARGE_ROWS {
        // Numbers that do not compress well, and none twice.
        let price = 1 + n * 7919 % LARGE_ROWS;
        let (day, units, hundredths) = (1 + n % 31, 1 + price / 100, price % 100);
        writeln!(packed, "{origin},{destination},2026-05-{day:02},{units}.{hundredths:02}")?;
    }
    let packed = packed.finish()?;
    ensure!(packed.len() > 1 << 20, "{} bytes are for lambda", packed.len());
    Ok(packed)
}

#[tokio::test]
async fn a_large_file_that_cannot_be_cut_is_loaded_on_batch_and_on_another_machine_when_that_is_lost() -> Result<()> {
    let (world, cloud) = (World::make().await?, Cloud::connect().await?);
    let mut database = cloud.database().await?;
    let (a, b) = (&world.ports[0], &world.ports[1]);
    let packed = large(a, b)?;

    // A loader reads the ports first, and waits for this until the test has seen it.
    let hold = database.transaction().await?;
    hold.batch_execute("lock table ports in access exclusive mode").await?;
    let id = send(&world.api, "prices", packed, json!({})).await?;
    let running = async || Ok(cloud.load_jobs(&id).await?.into_iter().find(|(_, state)| state == "RUNNING"));
    let (job, _) = wait::until("the loader to run on batch", Duration::from_secs(60), running).await?;
    cloud.interrupt(&job).await?;
    let again = wait::until("another attempt", Duration::from_secs(60), async || {
        let told = cloud.batch.describe_jobs().jobs(&job).send().await?;
        let job = told.jobs().first().context("no such job")?.clone();
        let is_again = job.attempts().len() == 1 && job.status().is_some_and(|state| state.as_str() == "RUNNING");
        Ok(is_again.then_some(job))
    })
    .await?;
    let lost = again.attempts()[0].status_reason().unwrap_or_default();
    ensure!(lost.contains("Spot Task was interrupted"), "{lost}");
    hold.rollback().await?;

    let view = published(&world.api, &id).await?;
    ensure!((view.rows, view.ranges, view.bad_rows) == (Some(LARGE_ROWS), 1, 0), "{view:#?}");
    let rates = world.rates(a, b, "2026-05-01", "2026-05-31").await?;
    ensure!(rates.iter().all(Option::is_some), "{rates:?}");
    let jobs = cloud.load_jobs(&id).await?;
    ensure!(jobs == [(job, "SUCCEEDED".to_owned())], "{jobs:?}");
    Ok(())
}

#[tokio::test]
async fn a_load_on_batch_that_fails_fails_the_batch_and_says_why() -> Result<()> {
    let (world, cloud) = (World::make().await?, Cloud::connect().await?);
    let mut database = cloud.database().await?;
    let hold = database.transaction().await?;
    hold.batch_execute("lock table ports in access exclusive mode").await?;
    let id = send(&world.api, "prices", large(&world.ports[0], &world.ports[1])?, json!({})).await?;
    wait::until("the loader", Duration::from_secs(60), async || {
        Ok(cloud.load_jobs(&id).await?.into_iter().find(|(_, state)| state == "RUNNING"))
    })
    .await?;
    let key = read(&world.api, &id).await?.key.context("no key")?;
    cloud.objects.delete_object().bucket(value("DATA_BUCKET")?).key(&key).send().await?;
    hold.rollback().await?;

    let view = ended(&world.api, &id).await?;
    let error = view.error.clone().unwrap_or_default();
    ensure!(view.status == BatchState::Failed && error.contains("Loader.FileUnusable"), "{view:#?}");
    ensure!(error.contains("exit code 66") && error.contains("log stream "), "{error}");
    Ok(())
}
