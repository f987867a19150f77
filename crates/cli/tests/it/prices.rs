//! Batches of prices: sent, followed, listed, taken back; and averages.

use crate::{
    mock::Answer,
    world::{World, etag, write},
};
use dunlin_contracts::{
    prices::{
        BadRowView, PriceBatchAccepted, PriceBatchComplete, PriceBatchRequest, PriceBatchView, Rate, Rates, UploadPart,
    },
    problem::{FieldError, Problem},
};
use dunlin_core::prices::{BatchKind, BatchState, Reason};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

const BATCH: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0004);
const FIRST: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0005);
const LOOK: &str = "GET /v1/price-batches/01990000-0000-7000-8000-000000000004";
const LOOK_AT_FIRST: &str = "GET /v1/price-batches/01990000-0000-7000-8000-000000000005";
const CREATE: &str = "POST /v1/price-batches";
const COMPLETE: &str = "POST /v1/price-batches/01990000-0000-7000-8000-000000000004/complete";
const FILE: &str = "orig_code,dest_code,day,price\nCNSGH,NLRTM,2026-01-01,1112.5\n";

fn batch(status: BatchState) -> PriceBatchView {
    PriceBatchView {
        id: BATCH,
        kind: BatchKind::Prices,
        status,
        name: Some("q4.csv".into()),
        sent_by: Some("ann".into()),
        key: None,
        bytes: Some(FILE.len() as u64),
        sha256: None,
        received_at: datetime!(2026-11-20 10:00 UTC),
        ended_at: status.is_end().then_some(datetime!(2026-11-20 10:00:02 UTC)),
        withdrawn_at: None,
        withdrawn_by: None,
        rows_read: 0,
        ranges: 0,
        ranges_read: 0,
        rows: (status == BatchState::Published).then_some(1),
        first_day: None,
        last_day: None,
        bad_rows: 0,
        reasons: Default::default(),
        first_bad_rows: Vec::new(),
        report_url: None,
        replaces: None,
        replaced_by: None,
        same_as: None,
        error: None,
    }
}

fn look(batch: &PriceBatchView) -> (&'static str, Answer) {
    (LOOK, Answer::json(200, batch))
}

/// The answer to whoever wants to send `FILE`, in parts of this size, to `place`.
fn accepted(world: &World, part_bytes: usize, place: &str) -> (&'static str, Answer) {
    let bytes = FILE.len() as u64;
    let part = |(part, offset): (u32, u64)| {
        let length = (part_bytes as u64).min(bytes - offset);
        let headers = [("content-length".to_owned(), length.to_string()), ("x-amz-a".to_owned(), "b".to_owned())];
        let url = format!("{}/{place}/{part}?X-Amz-Signature=abc", world.storage.url);
        UploadPart { part, offset, bytes: length, url, headers: headers.into() }
    };
    let parts: Vec<_> = (1..).zip((0..bytes).step_by(part_bytes)).map(part).collect();
    let accepted = PriceBatchAccepted {
        id: BATCH,
        complete: parts.len() > 1,
        parts,
        expires_at: OffsetDateTime::now_utc() + Duration::HOUR,
        trace_id: "0".repeat(32),
    };
    (CREATE, Answer::json(202, &accepted))
}

/// A world with the file `q4.csv`, and a server that gives these answers.
fn world(answers: impl FnOnce(&World) -> Vec<(&'static str, Answer)>) -> World {
    let world = World::new();
    write(world.home.path(), "q4.csv", FILE);
    let answers = answers(&world);
    world.script(|script| script.first = answers);
    world
}

fn storage_says(status: u16, code: &str) -> Answer {
    Answer::typed(status, "application/xml", format!("<Error><Code>{code}</Code><Message>m</Message></Error>"))
}

const SEND: [&str; 5] = ["prices", "send", "q4.csv", "--kind", "prices"];

fn send(world: &World, more: &[&str]) -> crate::world::Run {
    world.run(&[&SEND[..], more].concat())
}

#[test]
fn a_file_is_sent_and_followed_until_it_is_published() {
    let loading = PriceBatchView { rows_read: 500, ranges: 2, ranges_read: 1, ..batch(BatchState::Loading) };
    let world = world(|world| {
        vec![
            accepted(world, 1000, "one"),
            look(&batch(BatchState::Accepted)),
            look(&PriceBatchView { rows_read: 20, ranges_read: 0, ..loading.clone() }),
            look(&loading),
            (LOOK, Answer::empty(502)),
            look(&batch(BatchState::Published)),
        ]
    });
    let run = send(&world, &["--replaces", &FIRST.to_string()]);
    assert_eq!(run.code, 0, "{}", run.err);
    let server = world.api.url.trim_start_matches("http://");
    assert_eq!(
        run.err,
        format!(
            "batch {BATCH}: 60 B to send\nbatch {BATCH}: accepted\nbatch {BATCH}: loading, 20 rows read, 0 of 2 ranges done\n\
             500 rows read, 1 of 2 ranges done\n\
             {server} gave an answer that this version does not know: status 502 Bad Gateway; trying again\n\
             batch {BATCH}: published\n"
        )
    );
    assert_eq!(run.out, format!("batch {BATCH} of prices (q4.csv): published in 2.0 s\n1 row\n"));

    let create = &world.api.requests_of(CREATE)[0];
    let request: PriceBatchRequest = serde_json::from_slice(&create.body).unwrap();
    let bytes = FILE.len() as u64;
    let expected =
        PriceBatchRequest { kind: BatchKind::Prices, bytes, name: Some("q4.csv".into()), replaces: Some(FIRST) };
    assert_eq!(request, expected);
    assert!(!create.headers["idempotency-key"].is_empty());
    let put = &world.storage.requests_of("PUT /one/1")[0];
    assert_eq!((put.body.as_slice(), put.headers["x-amz-a"].as_str()), (FILE.as_bytes(), "b"));
    assert_eq!(put.headers["content-length"], bytes.to_string());
    assert!(world.api.requests_of(COMPLETE).is_empty(), "one piece is whole");
}

#[test]
fn a_large_file_is_sent_in_parts_and_put_together_in_their_order() {
    let world = world(|world| {
        vec![(COMPLETE, Answer::empty(204)), accepted(world, 7, "parts"), look(&batch(BatchState::Published))]
    });
    let run = send(&world, &["--no-progress", "--name", "Q4"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let pieces: Vec<&[u8]> = FILE.as_bytes().chunks(7).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let puts = world.storage.requests_of(&format!("PUT /parts/{}?", n + 1));
        assert_eq!(puts.len(), 1, "part {}", n + 1);
        assert_eq!(puts[0].body, *piece);
    }
    let complete: PriceBatchComplete = serde_json::from_slice(&world.api.requests_of(COMPLETE)[0].body).unwrap();
    assert_eq!(complete.etags, pieces.iter().map(|piece| etag(piece)).collect::<Vec<_>>());
    assert_eq!(world.api.requests_of(CREATE)[0].json()["name"], "Q4");
}

#[test]
fn what_is_lost_on_the_way_is_sent_again_and_an_old_address_is_renewed() {
    let world = world(|world| {
        let places = ["old", "new", "newer"].map(|place| accepted(world, 1000, place));
        places.into_iter().chain([look(&batch(BatchState::Published))]).collect()
    });
    let says = [storage_says(503, "SlowDown"), storage_says(403, "AccessDenied"), storage_says(400, "ExpiredToken")];
    world.script(|script| script.storage = says.into());
    let run = send(&world, &["--no-progress"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let sent: Vec<_> = world.storage.requests().iter().map(|put| put.path[..4].to_owned()).collect();
    assert_eq!(sent, ["/old", "/old", "/new", "/new"]);
    assert!(world.storage.requests()[3].path.starts_with("/newer/"));
    let keys: Vec<_> = world.api.requests_of(CREATE).iter().map(|r| r.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys, [&*keys[0]; 3], "the same key is the same batch");
}

#[test]
fn an_upload_that_is_refused_is_an_error() {
    let world = world(|world| vec![accepted(world, 1000, "one")]);
    world.script(|script| script.storage = vec![storage_says(400, "EntityTooLarge")]);
    let run = send(&world, &["--no-progress"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("the file could not be sent") && run.err.contains("EntityTooLarge: m"), "{}", run.err);
}

#[test]
fn a_rejected_batch_names_its_bad_rows_and_keeps_the_list() {
    let bad = |line: u64| BadRowView {
        line,
        column: Some("day".into()),
        value: "2026-02-30".into(),
        reason: Reason::InvalidDate,
    };
    let world = world(|world| {
        let rejected = PriceBatchView {
            rows_read: 1000,
            bad_rows: 37,
            reasons: [(Reason::InvalidDate, 37)].into(),
            first_bad_rows: (2..39).map(bad).collect(),
            report_url: Some(format!("{}/reports/bad.csv?X-Amz-Signature=abc", world.storage.url)),
            ..batch(BatchState::Rejected)
        };
        vec![accepted(world, 1000, "one"), look(&rejected), look(&rejected)]
    });
    world.script(|script| script.report = "line,column,value,reason\n2,day,2026-02-30,invalid_date\n");
    let run = send(&world, &["--no-progress", "--bad-rows", "bad.csv"]);
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    assert!(run.out.contains("37 bad rows of 1000, so none went in\n  37 invalid date\n"), "{}", run.out);
    assert!(
        run.out.contains("\n11    day     \"2026-02-30\"  invalid date\nand 27 more; all of them: "),
        "{}",
        run.out
    );
    let list = std::fs::read_to_string(world.home.path().join("bad.csv")).unwrap();
    assert_eq!(list, "line,column,value,reason\n2,day,2026-02-30,invalid_date\n");

    let run = world.run(&["prices", "show", &BATCH.to_string()]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("\n38    day ") && !run.out.contains("more;"), "{}", run.out);
}

#[test]
fn a_failed_batch_says_why_and_a_file_that_came_before_means_what_it_meant_then() {
    let failed = PriceBatchView { error: Some("the file is gone".into()), ..batch(BatchState::Failed) };
    let failing = world(|world| vec![accepted(world, 1000, "one"), look(&failed)]);
    let run = send(&failing, &["--no-progress"]);
    assert_eq!((run.code, run.err.as_str()), (3, "error: the batch failed: the file is gone\n"));

    let same = PriceBatchView { same_as: Some(FIRST), ..batch(BatchState::Duplicate) };
    for (state, code) in [(BatchState::Published, 0), (BatchState::Loading, 2), (BatchState::Rejected, 1)] {
        let first = PriceBatchView { id: FIRST, ..batch(state) };
        let world =
            world(|world| vec![accepted(world, 1000, "one"), look(&same), (LOOK_AT_FIRST, Answer::json(200, &first))]);
        let run = send(&world, &["--no-progress"]);
        assert_eq!(run.code, code, "{}", run.err);
        let said = format!("the same file came before, as batch {FIRST}: {}\n", state.as_str());
        assert!(run.err.starts_with(&said) && run.out.contains(&format!("same as:     {FIRST}")), "{}", run.err);
    }
}

#[test]
fn nobody_has_to_wait() {
    let world = world(|world| vec![accepted(world, 1000, "one")]);
    let run = send(&world, &["--no-wait"]);
    assert_eq!((run.code, run.out), (0, format!("{BATCH}\n")));
    assert!(run.err.ends_with(&format!("follow: dunlin prices show {BATCH} --follow\n")), "{}", run.err);
    assert_eq!(world.storage.requests().len(), 1);
    assert!(world.api.requests_of("GET").is_empty());
}

#[test]
fn waiting_for_a_batch_ends_when_the_time_is_over() {
    let world = world(|_| (0..50).map(|_| look(&batch(BatchState::Loading))).collect());
    let run = world.run(&["prices", "show", &BATCH.to_string(), "--follow", "--timeout", "1s"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("has not ended in time") && run.err.contains("dunlin prices show"), "{}", run.err);
}

#[test]
fn what_cannot_be_sent_is_refused_before_anybody_is_asked() {
    let world = world(|_| Vec::new());
    write(world.home.path(), "empty.csv", "");
    for (file, why) in [("none.csv", "none.csv cannot be read"), ("empty.csv", "is empty"), (".", "is not a file")] {
        let run = world.run(&["prices", "send", file, "--kind", "prices"]);
        assert_eq!(run.code, 3);
        assert!(run.err.contains(why), "{}", run.err);
    }
    assert!(world.api.requests().is_empty());

    let fault = |field: &str| FieldError { field: field.into(), message: "no".into() };
    let problem = Problem::invalid(vec![fault("/bytes"), fault("/name")]);
    world.script(|script| script.first.push((CREATE, Answer::problem(&problem))));
    let run = send(&world, &[]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("/bytes: no") && run.err.contains("/name: no"), "{}", run.err);
}

#[test]
fn batches_are_listed_and_taken_back() {
    let page = serde_json::json!({ "items": [batch(BatchState::Published)] });
    let withdraw = format!("POST /v1/price-batches/{BATCH}/withdraw");
    let world = world(|_| vec![("GET /v1/price-batches?", Answer::json(200, &page))]);
    let run = world.run(&["prices", "list", "--kind", "prices", "--status", "published", "--limit", "7"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(world.api.requests()[0].path, "/v1/price-batches?kind=prices&status=published&limit=7");
    assert!(
        run.out.contains(&format!("{BATCH}  prices  published  1     0    2026-11-20 10:00  q4.csv\n")),
        "{}",
        run.out
    );

    let conflict = Problem::conflict("the batch is loading");
    world.script(|script| {
        script.first =
            vec![("POST", Answer::json(200, &batch(BatchState::Withdrawn))), ("POST", Answer::problem(&conflict))]
    });
    let run = world.run(&["prices", "withdraw", &BATCH.to_string()]);
    assert_eq!((run.code, run.err), (0, format!("batch {BATCH}: withdrawn\n")));
    let run = world.run(&["prices", "withdraw", &BATCH.to_string()]);
    let said = "error: the batch cannot be withdrawn\n  because: the batch is loading\n";
    assert_eq!((run.code, run.err.as_str()), (3, said));
    assert_eq!(world.api.requests_of(&withdraw).len(), 2);
}

#[test]
fn rates_come_as_a_table_as_csv_and_as_json() {
    let rate = |day: &str, average_price| Rate { day: day.parse().unwrap(), average_price };
    let rates = Rates {
        origin: "CNSGH".into(),
        destination: "north_europe_main".into(),
        rates: vec![rate("2026-01-01", Some(1112.5)), rate("2026-01-02", None)],
    };
    let world = world(|_| (0..3).map(|_| ("GET /v1/rates", Answer::json(200, &rates))).collect());
    let ask = |format: &[&str]| {
        let args = ["prices", "rates", "CNSGH", "north_europe_main", "--from", "2026-01-01", "--to", "2026-01-02"];
        let run = world.run(&[&args[..], format].concat());
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        run.out
    };
    let table = "CNSGH to north_europe_main\nday         average\n2026-01-01  1112.50\n2026-01-02        -\n";
    assert_eq!(ask(&[]), table);
    assert_eq!(ask(&["--format", "csv"]), "day,average_price\n2026-01-01,1112.50\n2026-01-02,\n");
    let json: Rates = serde_json::from_str(&ask(&["--format", "json"])).unwrap();
    assert_eq!(json, rates);
    let asked = "/v1/rates?date_from=2026-01-01&date_to=2026-01-02&origin=CNSGH&destination=north_europe_main";
    assert_eq!(world.api.requests()[0].path, asked);

    let unknown = Problem::invalid_field("?origin", "no port or region is called \"XXXXX\"");
    world.script(|script| script.first.push(("GET /v1/rates", Answer::problem(&unknown))));
    let run = world.run(&["prices", "rates", "XXXXX", "NLRTM", "--from", "2026-01-01", "--to", "2026-01-02"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("?origin: no port or region is called \"XXXXX\""), "{}", run.err);
}
