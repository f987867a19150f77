//! Batches from their arrival to their end.

mod prices;

use dunlin_core::prices::{BadRow, BatchKind, BatchState, Faults, Reason};
use dunlin_store::{Finished, Inspected, LoadStart, PreparedBatch, Published, StoreError, Withdrawal};
use dunlin_testkit::fixtures;
use futures::TryStreamExt;
use prices::{Kit, asked, batch_of, begin, copy, days, error, finish, layout, ranges_of, sha, three};

#[tokio::test]
async fn a_batch_is_seen_when_it_is_published_and_not_before() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    kit.ready(&mut store, &batch, 2).await;
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    assert_eq!(store.prepare_publication(&batch).await.unwrap(), PreparedBatch::Incomplete(vec![1]));
    kit.load(&mut store, &batch, 1, &three(2000)).await;
    assert_eq!(kit.rate().await, "-");
    let row = finish(&mut store, &batch).await;
    assert_eq!((row.state, row.rows), (BatchState::Published, 6));
    assert_eq!(kit.rate().await, "15");
    assert_eq!(store.price_revision(&kit.tenant).await.unwrap(), 1);
}

#[tokio::test]
async fn every_call_may_come_twice() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    let first = store.register_batch(&batch, Some(&asked(&batch, None))).await.unwrap();
    assert_eq!(store.register_batch(&batch, None).await.unwrap(), first);
    for _ in 0..2 {
        let ready = store.inspected(&batch, &sha(&batch), &layout(), &ranges_of(1)).await.unwrap();
        assert_eq!(ready, Inspected::Ready);
    }
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    let range = store.range(&batch, 0).await.unwrap().unwrap();
    assert!(range.loaded);
    assert!(matches!(store.load_range(&batch, &range).await.unwrap(), LoadStart::Loaded { rows: 3, bad_rows: 0 }));
    for _ in 0..2 {
        assert_eq!(store.prepare_publication(&batch).await.unwrap(), PreparedBatch::Clean);
    }
    let Published::Done(once) = store.publish(&batch).await.unwrap() else { panic!("not published") };
    let before = kit.db.dump().await;
    assert_eq!(store.publish(&batch).await.unwrap(), Published::Done(once.clone()));
    assert_eq!(store.prepare_publication(&batch).await.unwrap(), PreparedBatch::AlreadyEnded(once.clone()));
    assert_eq!(store.reject(&batch, &Faults::default()).await.unwrap(), once);
    assert_eq!(store.fail_batch(&batch, &error()).await.unwrap(), once);
    assert_eq!(
        store.inspected(&batch, &sha(&batch), &layout(), &ranges_of(1)).await.unwrap(),
        Inspected::Ended(BatchState::Published)
    );
    assert_eq!(store.file_is_bad(&batch, &Faults::default()).await.unwrap(), BatchState::Published);
    store.sweep().await.unwrap();
    assert_eq!(kit.db.dump().await, before);
    for _ in 0..2 {
        let withdrawn = store.withdraw_batch(&kit.tenant, batch.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
        assert_eq!(withdrawn, Withdrawal::Withdrawn);
    }
    assert_eq!(store.price_revision(&kit.tenant).await.unwrap(), 2);
}

#[tokio::test]
async fn the_same_content_twice_is_one_batch() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let (one, two) = (kit.prices(1), kit.prices(2));
    kit.publish(&one, &three(1000)).await;
    store.register_batch(&two, None).await.unwrap();
    for _ in 0..2 {
        let same = store.inspected(&two, &sha(&one), &layout(), &ranges_of(1)).await.unwrap();
        assert_eq!(same, Inspected::Duplicate(one.batch_id));
    }
    let view = store.price_batch(&kit.tenant, two.batch_id).await.unwrap().unwrap();
    assert_eq!((view.status, view.same_as), (BatchState::Duplicate, Some(one.batch_id.as_uuid())));

    // Once it was taken back, the content may come again.
    store.withdraw_batch(&kit.tenant, one.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    let three = kit.prices(3);
    store.register_batch(&three, None).await.unwrap();
    assert_eq!(store.inspected(&three, &sha(&one), &layout(), &ranges_of(1)).await.unwrap(), Inspected::Ready);
    // Another kind, or another tenant, has its own.
    for other in [kit.batch(BatchKind::Ports, 4), batch_of(&fixtures::tenant("umbrella"), BatchKind::Prices, 5)] {
        store.register_batch(&other, None).await.unwrap();
        assert_eq!(store.inspected(&other, &sha(&one), &layout(), &ranges_of(1)).await.unwrap(), Inspected::Ready);
    }
}

#[tokio::test]
async fn a_correction_whose_content_is_another_live_batch_is_no_duplicate_of_it() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let (old, same, first, second) = (kit.prices(1), kit.prices(2), kit.prices(3), kit.prices(4));
    kit.publish(&old, &three(1000)).await;
    kit.ready(&mut store, &same, 1).await;
    for (state, correction) in [("loading", &first), ("published", &second)] {
        if state == "published" {
            kit.load(&mut store, &same, 0, &three(3000)).await;
            finish(&mut store, &same).await;
        }
        store.register_batch(correction, Some(&asked(correction, Some(old.batch_id.as_uuid())))).await.unwrap();
        for _ in 0..2 {
            let inspected = store.inspected(correction, &sha(&same), &layout(), &ranges_of(1)).await.unwrap();
            assert_eq!(inspected, Inspected::Ended(BatchState::Failed));
        }
        let why = store.price_batch(&kit.tenant, correction.batch_id).await.unwrap().unwrap().error.unwrap();
        assert!(why.starts_with(&format!("its content is {state} as batch {}", same.batch_id)), "{why}");
        assert!(why.ends_with(&format!("withdraw {}", old.batch_id)), "{why}");
    }
    // What it says helps: then the same file is a duplicate, and nothing is left of what it replaces.
    store.withdraw_batch(&kit.tenant, old.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    let third = kit.prices(5);
    store.register_batch(&third, Some(&asked(&third, Some(old.batch_id.as_uuid())))).await.unwrap();
    let inspected = store.inspected(&third, &sha(&same), &layout(), &ranges_of(1)).await.unwrap();
    assert_eq!(inspected, Inspected::Duplicate(same.batch_id));
    assert_eq!(kit.rate().await, "30");
}

#[tokio::test]
async fn the_same_correction_twice_is_one_and_so_is_one_by_its_own_content() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let (old, new, again, itself) = (kit.prices(1), kit.prices(2), kit.prices(3), kit.prices(4));
    kit.publish(&old, &three(1000)).await;
    for batch in [&new, &again, &itself] {
        store.register_batch(batch, Some(&asked(batch, Some(old.batch_id.as_uuid())))).await.unwrap();
    }
    kit.ready(&mut store, &new, 1).await;
    for (batch, content) in [(&again, &new), (&itself, &old)] {
        let inspected = store.inspected(batch, &sha(content), &layout(), &ranges_of(1)).await.unwrap();
        assert_eq!(inspected, Inspected::Duplicate(content.batch_id));
    }
}

#[tokio::test]
async fn of_two_batches_of_the_same_content_at_once_one_goes_on() {
    let kit = Kit::new().await;
    let (mut a, mut b) = (kit.db.store().await, kit.db.store().await);
    let (one, two) = (kit.prices(1), kit.prices(2));
    a.register_batch(&one, None).await.unwrap();
    b.register_batch(&two, None).await.unwrap();
    let (sha, layout, ranges) = (sha(&one), layout(), ranges_of(1));
    let (first, second) =
        tokio::join!(a.inspected(&one, &sha, &layout, &ranges), b.inspected(&two, &sha, &layout, &ranges));
    let answers = [first.unwrap(), second.unwrap()];
    assert_eq!(answers.iter().filter(|a| **a == Inspected::Ready).count(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_correction_takes_the_place_of_what_it_names_in_one_moment() {
    let kit = Kit::new().await;
    let (old, new) = (kit.prices(1), kit.prices(2));
    kit.publish(&old, &three(1000)).await;
    let published = kit.correct(&new, old.batch_id, &three(3000)).await;
    assert!(matches!(published, Published::Done(_)), "{published:?}");
    assert_eq!(kit.rate().await, "30");
    let store = kit.db.store().await;
    let view = store.price_batch(&kit.tenant, old.batch_id).await.unwrap().unwrap();
    assert_eq!((view.status, view.replaced_by), (BatchState::Replaced, Some(new.batch_id.as_uuid())));
    assert_eq!(store.price_revision(&kit.tenant).await.unwrap(), 2);
}

#[tokio::test]
async fn a_correction_of_what_cannot_be_corrected_fails_and_says_why() {
    let kit = Kit::new().await;
    let other = batch_of(&fixtures::tenant("umbrella"), BatchKind::Prices, 9);
    let mut store = kit.db.store().await;
    store.register_batch(&other, None).await.unwrap();
    let (loading, gone) = (kit.prices(1), kit.prices(2));
    store.register_batch(&loading, None).await.unwrap();
    kit.publish(&gone, &three(1000)).await;
    store.withdraw_batch(&kit.tenant, gone.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    for (n, replaced) in [&other, &loading, &gone].into_iter().enumerate() {
        let batch = kit.prices(10 + n as i64);
        let Published::Failed(row, why) = kit.correct(&batch, replaced.batch_id, &three(5000)).await else {
            panic!("{n} was published");
        };
        assert_eq!(row.state, BatchState::Failed);
        assert!(why.contains(&replaced.batch_id.to_string()), "{why}");
        let view = store.price_batch(&kit.tenant, batch.batch_id).await.unwrap().unwrap();
        assert_eq!(view.error, Some(why));
        // Its rows are gone at once: they were no part of `prices`.
        let table: Option<String> = kit.one(&format!("select to_regclass('price_rows_{}')::text", row.number)).await;
        assert_eq!(table, None, "{n}");
    }
    assert_eq!(kit.rate().await, "-");
}

#[tokio::test]
async fn one_bad_row_and_none_goes_in() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    kit.ready(&mut store, &batch, 2).await;
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    let range = store.range(&batch, 1).await.unwrap().unwrap();
    let mut faults = Faults::default();
    faults.add(&BadRow::new(1002, Some("price"), "x\0y", Reason::NotANumber), true);
    let load = begin(store.load_range(&batch, &range).await.unwrap());
    assert_eq!(load.finish(0, &faults, None).await.unwrap(), Finished::Loaded);
    let view = store.price_batch(&kit.tenant, batch.batch_id).await.unwrap().unwrap();
    assert_eq!((view.rows_read, view.bad_rows, view.ranges, view.ranges_read), (4, 1, 2, 2));
    assert_eq!(view.first_bad_rows.len(), 1);

    assert_eq!(store.publish(&batch).await.unwrap(), Published::NotClean);
    let PreparedBatch::Faulty(found) = store.prepare_publication(&batch).await.unwrap() else { panic!("no fault") };
    assert_eq!((found.rows, &found.first), (1, &faults.first));
    for _ in 0..2 {
        let row = store.reject(&batch, &found).await.unwrap();
        assert_eq!((row.state, row.bad_rows), (BatchState::Rejected, 1));
    }
    let view = store.price_batch(&kit.tenant, batch.batch_id).await.unwrap().unwrap();
    assert_eq!((view.status, view.bad_rows, view.reasons[&Reason::NotANumber]), (BatchState::Rejected, 1, 1));
    assert_eq!((kit.rate().await.as_str(), kit.tables().await), ("-", 0));
}

#[tokio::test]
async fn a_row_that_stands_twice_is_named_by_its_later_lines() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    kit.ready(&mut store, &batch, 2).await;
    let repeated = ("NOOSL", "CNSHA", "2026-03-04", 1205);
    // The same but for one of the four is another row.
    let near = [
        ("NORTH", "CNSHA", "2026-03-04", 1205),
        ("NOOSL", "SGSIN", "2026-03-04", 1205),
        ("NOOSL", "CNSHA", "2026-03-05", 1205),
        ("NOOSL", "CNSHA", "2026-03-04", 1206),
    ];
    // The later range is loaded first.
    kit.load(&mut store, &batch, 1, &[repeated]).await;
    kit.load(&mut store, &batch, 0, &[&[repeated, repeated], &near[..]].concat()).await;
    let PreparedBatch::Faulty(faults) = store.prepare_publication(&batch).await.unwrap() else { panic!("no fault") };
    let expected = [3, 1002].map(|line| BadRow::new(line, None, "NOOSL,CNSHA,2026-03-04,12.05", Reason::Duplicate));
    assert_eq!((faults.rows, faults.reasons[&Reason::Duplicate]), (2, 2));
    assert_eq!(faults.first, expected);
    let named = store.whole_batch_faults(&batch).await.unwrap();
    let rows: Vec<BadRow> = named.rows().await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn duplicates_are_found_beside_other_faults_and_counted_beyond_the_first_hundred() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    kit.ready(&mut store, &batch, 1).await;
    let rows = vec![("NOOSL", "CNSHA", "2026-03-04", 5); 251];
    let ports = kit.ports(&store).await;
    let range = store.range(&batch, 0).await.unwrap().unwrap();
    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    load.send(copy(range.number, 2, &rows, &ports)).await.unwrap();
    let mut faults = Faults::default();
    faults.add(&BadRow::new(900, Some("day"), "2026-02-30", Reason::InvalidDate), true);
    load.finish(251, &faults, days(&rows)).await.unwrap();
    let PreparedBatch::Faulty(found) = store.prepare_publication(&batch).await.unwrap() else { panic!("no fault") };
    assert_eq!((found.rows, found.reasons[&Reason::Duplicate], found.reasons[&Reason::InvalidDate]), (251, 250, 1));
    assert_eq!((found.first.len(), found.first[0].value.as_str()), (100, "NOOSL,CNSHA,2026-03-04,0.05"));
}

#[tokio::test]
async fn a_file_that_is_bad_as_a_whole_or_empty_is_rejected() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let (bad, empty, never) = (kit.prices(1), kit.prices(2), kit.prices(3));
    let mut faults = Faults::default();
    faults.add(&BadRow::new(1, Some("day"), "", Reason::MissingColumn), false);
    store.register_batch(&bad, None).await.unwrap();
    store.file_is_bad(&bad, &faults).await.unwrap();
    assert_eq!(store.prepare_publication(&bad).await.unwrap(), PreparedBatch::Faulty(faults));
    assert_eq!(store.publish(&bad).await.unwrap(), Published::NotClean);

    kit.ready(&mut store, &empty, 1).await;
    let range = store.range(&empty, 0).await.unwrap().unwrap();
    begin(store.load_range(&empty, &range).await.unwrap()).finish(0, &Faults::default(), None).await.unwrap();
    let PreparedBatch::Faulty(found) = store.prepare_publication(&empty).await.unwrap() else { panic!("no fault") };
    assert_eq!(found.reasons[&Reason::Empty], 1);

    store.register_batch(&never, None).await.unwrap();
    assert_eq!(store.prepare_publication(&never).await.unwrap(), PreparedBatch::Incomplete(Vec::new()));
}

#[tokio::test]
async fn a_failed_batch_leaves_no_row_and_takes_none() {
    let kit = Kit::new().await;
    let (mut store, mut other) = (kit.db.store().await, kit.db.store().await);
    let (batch, unheard) = (kit.prices(1), kit.prices(2));
    kit.ready(&mut store, &batch, 2).await;
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    let ports = kit.ports(&store).await;
    let range = store.range(&batch, 1).await.unwrap().unwrap();
    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    load.send(copy(range.number, 1002, &three(2000), &ports)).await.unwrap();

    // While a loader is at work.
    let row = other.fail_batch(&batch, &error()).await.unwrap();
    assert_eq!(row.state, BatchState::Failed);
    assert_eq!(load.finish(3, &Faults::default(), days(&three(1))).await.unwrap(), Finished::Ended(BatchState::Failed));
    assert!(matches!(store.load_range(&batch, &range).await.unwrap(), LoadStart::Ended(BatchState::Failed)));
    store.sweep().await.unwrap();
    assert_eq!(kit.tables().await, 0);
    let view = store.price_batch(&kit.tenant, batch.batch_id).await.unwrap().unwrap();
    assert_eq!(view.error.as_deref(), Some("Loader.FileUnusable: it is gone"));

    assert_eq!(other.fail_batch(&unheard, &error()).await.unwrap().state, BatchState::Failed);
}

#[tokio::test]
async fn the_batches_of_another_tenant_are_not_there() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    kit.publish(&batch, &three(1000)).await;
    let umbrella = fixtures::tenant("umbrella");
    let theirs = dunlin_contracts::prices::PriceBatchMessage { tenant: umbrella.clone(), ..batch.clone() };
    let other_kind = dunlin_contracts::prices::PriceBatchMessage { kind: BatchKind::Ports, ..batch.clone() };
    for stranger in [&theirs, &other_kind] {
        assert!(matches!(store.register_batch(stranger, None).await, Err(StoreError::NoBatch(_))));
        assert!(store.range(stranger, 0).await.unwrap().is_none());
        assert!(matches!(store.publish(stranger).await, Err(StoreError::NoBatch(_))));
        assert!(matches!(store.fail_batch(stranger, &error()).await, Err(StoreError::NoBatch(_))));
        assert!(matches!(store.reject(stranger, &Faults::default()).await, Err(StoreError::NoBatch(_))));
        assert!(matches!(store.prepare_publication(stranger).await, Err(StoreError::NoBatch(_))));
        let range = store.range(&batch, 0).await.unwrap().unwrap();
        assert!(matches!(store.load_range(stranger, &range).await, Err(StoreError::NoBatch(_))));
    }
    assert_eq!(
        store.withdraw_batch(&umbrella, batch.batch_id, "user-9", fixtures::EPOCH).await.unwrap(),
        Withdrawal::NotThere
    );
    assert_eq!(store.price_batch(&umbrella, batch.batch_id).await.unwrap(), None);
    assert_eq!(store.price_revision(&umbrella).await.unwrap(), 0);
    assert_eq!(kit.state(&batch).await, BatchState::Published);
    assert_eq!(kit.rate().await, "10");
}
