//! Loaders, publishers and inspectors that are killed with SIGKILL, at every step: all or nothing each time, the next try comes to the end, and
//! somebody who reads all the while never sees a part of a batch, and never waits.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise, in its helpers too")]

mod support {
    pub mod files;
    pub mod process;
    pub mod sight;
    pub mod stage;
}

use serde_json::json;
use support::{
    process::{JOB, Job, Step},
    stage::{Batch, DAYS, Stage, Stop, Then},
};

/// The steps as processes: all tests start this one again, in a process of its own and with [`JOB`] set; there it becomes the step
/// and never comes back. Started as a test it starts itself, and sees that it is answered.
#[test]
fn process() {
    if let Ok(job) = std::env::var(JOB) {
        Job::become_it(&job);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut stage = Stage::new().await;
        let batch = stage.inspected(10, (DAYS, 2), "", None).await;
        let error = stage.job(&batch, Step::Finish).start().answer().await.unwrap_err();
        assert!(error.starts_with("Incomplete"), "{error}");
        let loaded = stage.run(&batch, Step::Load(1)).await;
        assert_eq!(loaded, json!({ "range": 1, "rows": batch.rows_of(1), "bad_rows": 0 }));
    });
}

/// What is left of a step that was killed, depending on when the server notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    All,
    /// It was about to commit, and does so when it can.
    AllIfLate,
}

impl Left {
    fn is_all(self, then: Then) -> bool {
        self == Self::All || self == Self::AllIfLate && then == Then::Late
    }
}

use Left::{All, AllIfLate, Nothing};
use Stop::{Answer, File, Lock, Server};

const THENS: [Then; 2] = [Then::Noticed, Then::Late];

/// Where nobody can look at ranges; before anything else.
const BEFORE: (&str, Stop, Left) = (
    "before it has looked",
    Lock("lock table price_batch_ranges in access exclusive mode", "price_batch_ranges"),
    Nothing,
);
const AT_COMMIT: &str = "select pg_advisory_xact_lock(hashtext('commit'), {n})";

const TABLE_MADE: (&str, Stop, Left) = (
    "when its table is made",
    Lock("select pg_advisory_xact_lock(hashtext('CREATE TABLE'), {n})", "price_table_empty"),
    Nothing,
);
const LOADED: (&str, Stop, Left) =
    ("when the range is loaded", Lock("select pg_advisory_xact_lock(hashtext('commit'), 0)", "commit"), Nothing);
const IN_COPY: (&str, Stop, Left) = ("in the middle of COPY, in the server", Server, Nothing);

const LOADER: [(&str, Stop, Left); 9] = [
    BEFORE,
    (
        "in its transaction, before it has the range",
        Lock("select from price_batch_ranges where batch = '{id}' for update", "for no key update"),
        Nothing,
    ),
    (
        "before COPY, or before the table is emptied for it",
        Lock("lock table price_rows_{n} in share mode", "price_"),
        Nothing,
    ),
    TABLE_MADE,
    IN_COPY,
    ("in the middle of COPY, before the rest of the file", File(1_000_000), Nothing),
    (
        "after COPY, before the range is marked",
        Lock("select from price_batches where id = '{id}' for update", "for share"),
        Nothing,
    ),
    ("at its commit", Lock("select pg_advisory_xact_lock(hashtext('commit'), 0)", "commit"), AllIfLate),
    ("after its commit, before the answer", Answer, All),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_leaves_its_range_or_nothing_of_it() {
    let mut stage = Stage::new().await;
    let (reader, sight) = stage.reader().await;
    let mut old: Option<Batch> = None;
    for (turn, (point, stop, left)) in (0..).zip(LOADER) {
        for (then, ranges) in [(Then::Noticed, 3), (Then::Late, 1), (Then::Late, 3), (Then::Noticed, 1)] {
            let days = match stop {
                // Of each price enough that the loader sends some before it has all.
                File(_) => 40_000,
                _ => DAYS,
            };
            // Those files are large: once for each range and each way is enough.
            if matches!(stop, File(_)) && (then == Then::Noticed) != (ranges == 3) {
                continue;
            }
            let price = old.as_ref().map_or(10, |old| old.price + 1);
            // Of several ranges, none makes it.
            if point == TABLE_MADE.0 && ranges > 1 {
                continue;
            }
            let new = stage.inspected(price, (days, ranges), "", old.as_ref()).await;
            if ranges == 1 && (matches!(stop, Server) || matches!(stop, Lock(lock, _) if lock.contains("price_rows"))) {
                stage.with_table(&new).await;
            }
            let killed = if ranges == 1 { 0 } else { turn % 3 };
            let others = (0..new.ranges.len()).filter(|range| *range != killed);
            stage.load(&new, others.clone()).await;

            let range = u32::try_from(killed).unwrap();
            stage.kill(&new, Step::Load(range), stop, then, old.as_ref()).await;
            let what = format!("{point}, {then:?}, {ranges} ranges");
            let all = left.is_all(then);
            assert_eq!(stage.rows(&new, killed).await, if all { new.rows_of(killed) } else { 0 }, "{what}");
            let row = stage.store().await.range(&new.message, range).await.unwrap().unwrap();
            assert_eq!((row.loaded, row.rows > 0), (all, all), "{what}");
            for other in others {
                assert_eq!(stage.rows(&new, other).await, new.rows_of(other), "{what}");
            }
            assert_eq!(stage.state(&new).await, "loading");
            if !all {
                let error = stage.job(&new, Step::Finish).start().answer().await.unwrap_err();
                assert!(error.starts_with("Incomplete"), "{what}: {error}");
            }

            let loaded = stage.run(&new, Step::Load(range)).await;
            assert_eq!(loaded, json!({ "range": range, "rows": new.rows_of(killed), "bad_rows": 0 }), "{what}");
            assert_eq!(stage.rows(&new, killed).await, new.rows_of(killed), "{what}");
            sight.looked().await;
            sight.expect(old.as_ref().map_or(0, |old| old.price), price);
            stage.published(&new).await;
            sight.expect(price, price);
            sight.looked().await;
            assert_eq!(stage.tables().await, [new.number], "{what}");
            old = Some(new);
        }
    }
    reader.stop().await;
}

const INDEX_MADE: (&str, Stop, Left) = (
    "when the index is made",
    Lock("select pg_advisory_xact_lock(hashtext('CREATE INDEX'), {n})", "price_table_index"),
    Nothing,
);
const BEFORE_ATTACHED: (&str, Stop, Left) = (
    "after the index, before the table is attached",
    Lock("lock table only prices in share update exclusive mode", "price_table_attach"),
    Nothing,
);
const ATTACHED: (&str, Stop, Left) = (
    "when the table is attached",
    Lock("select pg_advisory_xact_lock(hashtext('ALTER TABLE'), 0)", "price_table_attach"),
    Nothing,
);
const BEFORE_REPLACING: (&str, Stop, Left) = (
    "before what it replaces is looked at",
    Lock("select from price_batches where id = '{old_id}' for update", "for no key update"),
    Nothing,
);
const STATES_WRITTEN: (&str, Stop, Left) =
    ("when the states are written", Lock("update price_revisions set revision = revision", "price_revisions"), Nothing);
const COMMITS: (&str, Stop, Left) = ("at its commit", Lock(AT_COMMIT, "commit"), AllIfLate);
const BEFORE_SWEEPING: (&str, Stop, Left) =
    ("after its commit, before it sweeps", Lock("lock table port_rows in share mode", "delete from port_rows"), All);
const PERHAPS_READ: (&str, Stop, Left) = (
    "when what it replaces is half detached, because somebody may read it",
    Lock("lock table only prices in access share mode", "detach partition"),
    All,
);
const READ: (&str, Stop, Left) = (
    "when what it replaces is half detached, because somebody reads it",
    Lock("lock table price_rows_{old} in access share mode", "detach partition"),
    All,
);
const BEFORE_THE_ANSWER: (&str, Stop, Left) = ("after everything, before the answer", Answer, All);

const PUBLISHER: [(&str, Stop, Left); 13] = [
    BEFORE,
    ("before the index", Lock("lock table price_rows_{n} in row exclusive mode", "price_table_index"), Nothing),
    INDEX_MADE,
    BEFORE_ATTACHED,
    ATTACHED,
    (
        "after the table is attached, before it is published",
        Lock("select from price_batches where id = '{id}' for share", "for no key update"),
        Nothing,
    ),
    BEFORE_REPLACING,
    STATES_WRITTEN,
    COMMITS,
    BEFORE_SWEEPING,
    PERHAPS_READ,
    READ,
    BEFORE_THE_ANSWER,
];

/// All the way, in one process.
const AT_ONCE: [(&str, Stop, Left); 15] = [
    ("before it is registered", Lock("lock table tenants in share row exclusive mode", "insert into tenants"), Nothing),
    (
        "before it is inspected",
        Lock("select from price_batches where id = '{id}' for update", "for no key update"),
        Nothing,
    ),
    BEFORE,
    TABLE_MADE,
    IN_COPY,
    LOADED,
    INDEX_MADE,
    BEFORE_ATTACHED,
    ATTACHED,
    BEFORE_REPLACING,
    STATES_WRITTEN,
    COMMITS,
    BEFORE_SWEEPING,
    PERHAPS_READ,
    BEFORE_THE_ANSWER,
];

/// Batches of three ranges that are loaded, or small ones at once; each in the place of the one before, or after that was withdrawn.
async fn publications(points: &[(&str, Stop, Left)], step: Step, replacing: bool) {
    let mut stage = Stage::new().await;
    let (reader, sight) = stage.reader().await;
    let mut old = stage.inspected(10, (DAYS, 2), "", None).await;
    stage.load(&old, 0..2).await;
    sight.expect(0, 10);
    stage.published(&old).await;
    for &(point, stop, left) in points {
        for then in THENS {
            if !replacing && point == BEFORE_REPLACING.0 {
                continue;
            }
            let what = format!("{point}, {then:?}, replacing: {replacing}");
            let before = if replacing { old.price } else { 0 };
            if !replacing {
                sight.expect(old.price, 0);
                let (id, at) = (old.message.batch_id, old.message.received_at);
                stage.store().await.withdraw_batch(&stage.tenant, id, "user-1", at).await.unwrap();
            }
            sight.expect(before, before);
            let (price, replaced) = (old.price + 1, replacing.then_some(&old));
            let new = if step == Step::AtOnce {
                stage.registered(price, "", replaced).await
            } else {
                let new = stage.inspected(price, (DAYS, 3), "", replaced).await;
                stage.load(&new, 0..3).await;
                new
            };
            if step == Step::AtOnce && matches!(stop, Server) {
                stage.with_table(&new).await;
            }
            let revision = stage.revision().await;
            sight.looked().await;

            let all = left.is_all(then);
            if all {
                sight.expect(before, new.price);
            }
            stage.kill(&new, step, stop, then, Some(&old)).await;
            if all {
                sight.expect(new.price, new.price);
            }
            sight.looked().await;
            let old_state = match (replacing, all) {
                (false, _) => "withdrawn",
                (true, false) => "published",
                (true, true) => "replaced",
            };
            let states = (stage.state(&old).await, stage.state(&new).await);
            assert_eq!(
                (states.0.as_str(), states.1.as_str()),
                (old_state, if all { "published" } else { "loading" }),
                "{what}"
            );
            assert_eq!(stage.revision().await, revision + i64::from(all), "{what}");

            if !all {
                sight.expect(before, new.price);
            }
            match (step, then) {
                (Step::AtOnce, Then::Noticed) => stage.published_at_once(&new).await,
                // The other functions go on where it was.
                (Step::AtOnce, Then::Late) if !stage.is_noted(&new).await => stage.published_at_once(&new).await,
                (Step::AtOnce, Then::Late) => {
                    stage.load(&new, 0..1).await;
                    stage.published(&new).await;
                }
                _ => stage.published(&new).await,
            }
            sight.expect(new.price, new.price);
            sight.looked().await;
            assert_eq!(stage.revision().await, revision + 1, "{what}");
            assert_eq!(stage.state(&old).await, if replacing { "replaced" } else { "withdrawn" }, "{what}");
            assert_eq!(stage.tables().await, [new.number], "{what}");
            for range in 0..new.ranges.len() {
                assert_eq!(stage.rows(&new, range).await, new.rows_of(range), "{what}");
            }
            old = new;
        }
    }
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_publishes_a_batch_or_nothing_of_it() {
    publications(&PUBLISHER, Step::Finish, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_puts_a_batch_in_the_place_of_another_or_leaves_that() {
    publications(&PUBLISHER, Step::Finish, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_batch_goes_all_the_way_at_once_or_nothing_of_it() {
    publications(&AT_ONCE, Step::AtOnce, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_batch_takes_the_place_of_another_at_once_or_leaves_that() {
    publications(&AT_ONCE, Step::AtOnce, true).await;
}

const REJECTING: [(&str, Stop, Left); 7] = [
    BEFORE,
    (
        "when its rows are looked through",
        Lock("lock table price_rows_{n} in row exclusive mode", "price_table_index"),
        Nothing,
    ),
    (
        "after the report, before its transaction",
        Lock("select from price_batches where id = '{id}' for share", "for no key update"),
        Nothing,
    ),
    COMMITS,
    TABLE_DROPPED,
    BEFORE_SWEEPING,
    BEFORE_THE_ANSWER,
];
const TABLE_DROPPED: (&str, Stop, Left) = (
    "after its commit, before the table is dropped",
    Lock("lock table price_rows_{n} in access share mode", "price_table_drop"),
    All,
);
/// The table cannot be locked before it is there.
const REJECTING_AT_ONCE: [(&str, Stop, Left); 6] =
    [BEFORE, TABLE_MADE, LOADED, COMMITS, BEFORE_SWEEPING, BEFORE_THE_ANSWER];

async fn rejections(points: &[(&str, Stop, Left)], step: Step) {
    let mut stage = Stage::new().await;
    let (reader, sight) = stage.reader().await;
    let old = stage.inspected(10, (DAYS, 2), "", None).await;
    stage.load(&old, 0..2).await;
    sight.expect(0, 10);
    stage.published(&old).await;
    sight.expect(10, 10);
    let mut price = 10;
    for &(point, stop, left) in points {
        for then in THENS {
            price += 1;
            let more = format!("AAAAA,BBBBB,1990-01-01,{price}.00\nAAAAA,XXXXX,1990-01-01,5\n");
            let new = if step == Step::AtOnce {
                stage.registered(price, &more, Some(&old)).await
            } else {
                let new = stage.inspected(price, (DAYS, 3), &more, Some(&old)).await;
                stage.load(&new, 0..3).await;
                new
            };
            stage.kill(&new, step, stop, then, Some(&old)).await;
            let what = format!("{point}, {then:?}");
            let state = if left.is_all(then) { "rejected" } else { "loading" };
            assert_eq!(stage.state(&new).await, state, "{what}");

            let rejected = stage.run(&new, step).await;
            let told = ["state", "rows", "bad_rows"].map(|name| rejected[name].clone());
            assert_eq!(told, [json!("rejected"), json!(0), json!(2)], "{what}");
            let report = stage.report(&new).await;
            let (line, next) = (new.rows + 2, new.rows + 3);
            assert_eq!(
                report,
                format!(
                    "line,column,value,reason\r\n{line},,\"AAAAA,BBBBB,1990-01-01,{price}.00\",duplicate\r\n\
                     {next},dest_code,XXXXX,unknown_port\r\n"
                ),
                "{what}"
            );
            assert_eq!((stage.state(&old).await.as_str(), stage.revision().await), ("published", 1), "{what}");
            assert_eq!(stage.tables().await, [old.number], "{what}");
            sight.looked().await;
        }
    }
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_batch_is_rejected_or_not_and_leaves_no_row() {
    rejections(&REJECTING, Step::Finish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_batch_is_rejected_at_once_or_not_and_leaves_no_row() {
    rejections(&REJECTING_AT_ONCE, Step::AtOnce).await;
}

/// Wherever a publication stands still, another one goes on; but where it has attached its table or counted its tenant's revision,
/// which both are the end of a short transaction, it is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_publications_wait_for_each_others_short_transactions_only() {
    let mut stage = Stage::new().await;
    let stops = [
        ("select pg_advisory_xact_lock(hashtext('CREATE INDEX'), {n})", "price_table_index", None),
        ("select from price_batches where id = '{id}' for share", "for no key update", None),
        ("select pg_advisory_xact_lock(hashtext('ALTER TABLE'), 0)", "price_table_attach", Some("price_table_attach")),
        (AT_COMMIT, "commit", Some("price_revisions")),
    ];
    for (price, (lock, statement, waits)) in (10..).step_by(10).zip(stops) {
        let mut batches = Vec::new();
        for more in 0..3 {
            if more == 2 {
                stage.tenant = "other".parse().unwrap();
            }
            let batch = stage.inspected(price + more, (DAYS, 2), "", None).await;
            stage.load(&batch, 0..2).await;
            batches.push(batch);
        }
        stage.tenant = "demo".parse().unwrap();
        let [one, two, foreign] = batches.as_slice() else { panic!("three were made") };
        let lock = lock.replace("{n}", &one.number.to_string()).replace("{id}", &one.message.batch_id.to_string());
        let holder = stage.hold(&lock).await;
        let mut first = stage.job(one, Step::Finish).start();
        stage.stopped(&mut first, statement).await;
        // Of another tenant, whose revision is its own.
        if waits != Some("price_table_attach") {
            stage.published(foreign).await;
        }
        let mut second = stage.job(two, Step::Finish).start();
        match waits {
            None => second.returned().await,
            Some(statement) => stage.stopped(&mut second, statement).await,
        }
        assert_eq!(stage.state(one).await, "loading");
        assert_eq!(stage.state(two).await, if waits.is_none() { "published" } else { "loading" }, "{statement}");
        holder.batch_execute("rollback").await.unwrap();
        for process in [first, second] {
            assert_eq!(process.answer().await.unwrap()["state"], "published", "{statement}");
        }
        for batch in [one, two] {
            assert_eq!(stage.state(batch).await, "published");
        }
        if waits == Some("price_table_attach") {
            stage.published(foreign).await;
        }
    }
    assert_eq!(stage.revision().await, 8);
}
