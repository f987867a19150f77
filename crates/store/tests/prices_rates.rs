//! What queries answer.

mod prices;

use dunlin_core::prices::BatchKind;
use dunlin_store::{RatesAnswer, UnknownPlace};
use dunlin_testkit::fixtures;
use prices::{DAY, Kit, day, three};

#[tokio::test]
async fn a_day_with_fewer_than_three_prices_has_no_average_and_every_day_is_answered() {
    let kit = Kit::new().await;
    let rows = [
        ("NOOSL", "CNSHA", "2026-03-01", 1001),
        ("NOOSL", "CNSHA", "2026-03-01", 1002),
        ("NOOSL", "CNSHA", "2026-03-01", 1004),
        ("NOOSL", "CNSHA", "2026-03-02", 1000),
        ("NOOSL", "CNSHA", "2026-03-02", 1001),
        ("NOOSL", "CNSHA", "2026-03-04", 999_999_998),
        ("NOOSL", "CNSHA", "2026-03-04", 999_999_999),
        ("NOOSL", "CNSHA", "2026-03-04", 1_000_000_000),
    ];
    kit.publish(&kit.prices(1), &rows).await;
    assert_eq!(kit.rates("NOOSL", "CNSHA", "2026-02-28", "2026-03-04").await, "- 10.02 - - 9999999.99");
    // The other way round is another question.
    assert_eq!(kit.rates("CNSHA", "NOOSL", "2026-03-01", "2026-03-01").await, "-");
    assert_eq!(kit.rates("NOOSL", "CNSHA", "2026-03-04", "2026-03-01").await, "");
}

#[tokio::test]
async fn a_region_stands_for_all_ports_below_it() {
    let kit = Kit::new().await;
    let rows = [
        ("NOOSL", "CNSHA", DAY, 1000),
        ("NORTH", "SGSIN", DAY, 2000),
        ("ITGOA", "CNSHA", DAY, 6000),
        ("CNSHA", "SGSIN", DAY, 90_000),
    ];
    kit.publish(&kit.prices(1), &rows).await;
    assert_eq!(kit.rates("europe", "asia", DAY, DAY).await, "30");
    assert_eq!(kit.rates("north", "asia", DAY, DAY).await, "-");
    assert_eq!(kit.rates("world", "asia", DAY, DAY).await, "247.5");
    assert_eq!(kit.rates("europe", "empty", DAY, DAY).await, "-");
}

#[tokio::test]
async fn where_a_region_has_the_name_of_a_port_the_port_is_meant() {
    let kit = Kit::new().await;
    kit.sql(
        "insert into regions (tenant, slug, name, parent) values ('acme', '12345', 'Numbered', 'europe');
         insert into ports (tenant, code, name, region) values ('acme', '12345', 'Numbered', 'asia');
         update ports set region = '12345' where code = 'ITGOA'",
    )
    .await;
    let rows = [("ITGOA", "CNSHA", DAY, 1000), ("ITGOA", "CNSHA", DAY, 1001), ("ITGOA", "CNSHA", DAY, 1002)];
    kit.publish(&kit.prices(1), &rows).await;
    assert_eq!(kit.rates("12345", "CNSHA", DAY, DAY).await, "-");
    let rows = [("12345", "CNSHA", DAY, 2000), ("12345", "CNSHA", DAY, 2001), ("12345", "CNSHA", DAY, 2002)];
    kit.publish(&kit.prices(2), &rows).await;
    assert_eq!(kit.rates("12345", "CNSHA", DAY, DAY).await, "20.01");
}

#[tokio::test]
async fn prices_of_all_published_batches_count_and_of_no_others() {
    let kit = Kit::new().await;
    let (one, two) = (kit.prices(1), kit.prices(2));
    kit.publish(&one, &[("NOOSL", "CNSHA", DAY, 1000), ("NOOSL", "CNSHA", DAY, 2000)]).await;
    assert_eq!(kit.rate().await, "-");
    kit.publish(&two, &[("NOOSL", "CNSHA", DAY, 1000), ("NOOSL", "CNSHA", "2026-04-01", 3000)]).await;
    assert_eq!(kit.rate().await, "13.33");
    let mut store = kit.db.store().await;
    store.withdraw_batch(&kit.tenant, two.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    assert_eq!(kit.rate().await, "-");
}

#[tokio::test]
async fn places_and_prices_of_another_tenant_are_not_there() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    assert_eq!(kit.rates("XXXXX", "CNSHA", DAY, DAY).await, "no origin");
    assert_eq!(kit.rates("NOOSL", "secret", DAY, DAY).await, "no destination");
    assert_eq!(kit.rates("no\0where", "' or 1=1", DAY, DAY).await, "no origin");
    let mut store = kit.db.store().await;
    let umbrella = fixtures::tenant("umbrella");
    let answer = store.rates(&umbrella, "NOOSL", "CNSHA", day(DAY), day(DAY)).await.unwrap();
    assert_eq!(answer, RatesAnswer::UnknownPlace(UnknownPlace::Destination));
    let answer = store.rates(&umbrella, "NOOSL", "NOOSL", day(DAY), day(DAY)).await.unwrap();
    let RatesAnswer::Rates { rates, revision } = answer else { panic!("{answer:?}") };
    assert_eq!((rates.rates[0].average_price, revision), (None, 0));
    let mut ports = Vec::new();
    store.ports_of(&umbrella, |code, _| ports.push(code.to_owned())).await.unwrap();
    ports.sort();
    assert_eq!(ports, ["NOOSL", "XXXXX"]);
}

#[tokio::test]
async fn batches_are_listed_newest_first_by_kind_and_state() {
    use dunlin_core::prices::BatchState;
    use dunlin_store::{PageRequest, PriceBatchFilter};
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    for n in 1..=3 {
        store.register_batch(&kit.prices(n), None).await.unwrap();
    }
    let ports = kit.batch(BatchKind::Ports, 4);
    store.register_batch(&ports, Some(&prices::asked(&ports, None))).await.unwrap();
    store.fail_batch(&kit.prices(2), &prices::error()).await.unwrap();
    let list = async |kind, state, page: &PageRequest| {
        let page = store.price_batches(&kit.tenant, &PriceBatchFilter { kind, state }, page).await.unwrap();
        (page.items.iter().map(|b| b.received_at.minute()).collect::<Vec<_>>(), page.next_cursor)
    };
    let all = PageRequest::first(50);
    assert_eq!(list(None, None, &all).await.0, [4, 3, 2, 1]);
    assert_eq!(list(Some(BatchKind::Prices), None, &all).await.0, [3, 2, 1]);
    assert_eq!(list(Some(BatchKind::Prices), Some(BatchState::Loading), &all).await.0, [3, 1]);
    assert_eq!(list(None, Some(BatchState::Failed), &all).await.0, [2]);
    let (first, cursor) = list(None, None, &PageRequest::first(3)).await;
    assert_eq!(first, [4, 3, 2]);
    assert_eq!(list(None, None, &PageRequest { limit: 3, cursor }).await, (vec![1], None));
    let other = store.price_batches(&fixtures::tenant("umbrella"), &PriceBatchFilter::default(), &all).await.unwrap();
    assert!(other.items.is_empty());

    let view = store.price_batch(&kit.tenant, ports.batch_id).await.unwrap().unwrap();
    assert_eq!(
        (view.name.as_deref(), view.sent_by.as_deref(), view.kind),
        (Some("March"), Some("user-1"), BatchKind::Ports)
    );
}
