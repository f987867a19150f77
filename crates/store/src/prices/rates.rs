//! Average prices a day, from one snapshot of everything that is published.

use crate::{
    Store, StoreError,
    param::{Param, param},
    values,
};
use dunlin_contracts::prices::{Day, Rate, Rates};
use dunlin_core::TenantId;
use std::collections::BTreeMap;
use time::Date;
use tokio_postgres::{IsolationLevel, Transaction};

#[derive(Debug, Clone, PartialEq)]
pub enum RatesAnswer {
    /// With the tenant's revision: the same question has the same answer until it grows.
    Rates {
        rates: Rates,
        revision: u64,
    },
    UnknownPlace(UnknownPlace),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownPlace {
    Origin,
    Destination,
}

/// A day with fewer prices has no average.
const FEWEST_PRICES: i64 = 3;

/// The lock comes before the snapshot: whoever takes a table out of `prices` waits for those that may still see its batch published.
const BEGIN: &str = "lock table only prices in access share mode; set local jit = off";

/// A code wins over a slug. A region is all ports below it; a circle of regions ends where it began.
const PLACES: &str = "with recursive asked (side, place) as (values (1, $2::text), (2, $3::text)),
     exact as (select a.side, p.id from asked a join ports p on p.tenant = $1 and p.code = a.place),
     below (side, slug) as (
         select a.side, r.slug from asked a join regions r on r.tenant = $1 and r.slug = a.place
         where not exists (select from exact e where e.side = a.side)
         union
         select b.side, r.slug from below b join regions r on r.tenant = $1 and r.parent = b.slug
     )
     select exists (select from exact e where e.side = a.side) or exists (select from below b where b.side = a.side),
            array(
                select e.id from exact e where e.side = a.side
                union all
                select p.id from below b join ports p on p.tenant = $1 and p.region = b.slug where b.side = a.side
            )
     from asked a order by a.side";

const BATCHES: &str = "select coalesce((select revision from price_revisions where tenant = $1), 0),
            array(
                select number from price_batches
                where tenant = $1 and kind = 'prices' and state = 'published' and last_day >= $2 and first_day <= $3
                order by number
            )";

impl Store {
    /// Every day from `from` to `to`, between two places that are each the code of a port or the slug of a region.
    pub async fn rates(
        &mut self,
        tenant: &TenantId,
        origin: &str,
        destination: &str,
        from: Date,
        to: Date,
    ) -> Result<RatesAnswer, StoreError> {
        let tx = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        tx.batch_execute(BEGIN).await?;
        let (tenant, origin_text, destination_text) =
            (tenant.as_str(), values::text(origin), values::text(destination));
        let places: [Param<'_>; 3] = [param(&tenant), param(&origin_text), param(&destination_text)];
        let days: [Param<'_>; 3] = [param(&tenant), param(&from), param(&to)];
        // Both on their way at once: one round trip.
        let (places, batches) = futures::try_join!(tx.query_typed(PLACES, &places), tx.query_typed(BATCHES, &days))?;
        let mut ports: Vec<Vec<i32>> = Vec::with_capacity(2);
        for (row, side) in places.iter().zip([UnknownPlace::Origin, UnknownPlace::Destination]) {
            if !row.get::<_, bool>(0) {
                return Ok(RatesAnswer::UnknownPlace(side));
            }
            ports.push(row.get(1));
        }
        let (revision, batches): (i64, Vec<i32>) =
            batches.first().map(|row| (row.get(0), row.get(1))).unwrap_or_default();
        let averages = match ports.as_slice() {
            [origins, destinations] => averages(&tx, &batches, origins, destinations, from, to).await?,
            _ => BTreeMap::new(),
        };
        // There is nothing to commit, and nothing to wait for.
        drop(tx);
        let mut rates = Vec::new();
        let mut next = Some(from);
        while let Some(day) = next.filter(|day| *day <= to) {
            rates.push(Rate { day: Day(day), average_price: averages.get(&day).copied() });
            next = day.next_day();
        }
        let rates = Rates { origin: origin.to_owned(), destination: destination.to_owned(), rates };
        Ok(RatesAnswer::Rates { rates, revision: values::unsigned(revision) })
    }

    /// Grows with every change of what [`Store::rates`] answers.
    pub async fn price_revision(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let row = self
            .client
            .query_opt("select revision from price_revisions where tenant = $1", &[&tenant.as_str()])
            .await?;
        Ok(row.map_or(0, |row| values::unsigned(row.get(0))))
    }
}

async fn averages(
    tx: &Transaction<'_>,
    batches: &[i32],
    origins: &[i32],
    destinations: &[i32],
    from: Date,
    to: Date,
) -> Result<BTreeMap<Date, f64>, StoreError> {
    if batches.is_empty() || origins.is_empty() || destinations.is_empty() {
        return Ok(BTreeMap::new());
    }
    let params: [Param<'_>; 4] = [param(&origins), param(&destinations), param(&from), param(&to)];
    let rows = tx.query_typed(&averages_sql(batches), &params).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Each batch is asked for by name. As one list, every partition's index would be searched once for each batch of it.
fn averages_sql(batches: &[i32]) -> String {
    format!(
        "select day, round(avg(price) / 100, 2)::float8 from ({}) p group by day having count(*) >= {FEWEST_PRICES}",
        union(batches)
    )
}

/// Halves of halves: the server's stack is as deep as the branches are.
fn union(batches: &[i32]) -> String {
    match batches {
        [] => String::new(),
        [batch] => format!(
            "select day, price from prices where batch = {batch} and orig = any($1) and dest = any($2) and day between $3 and $4"
        ),
        _ => {
            let (left, right) = batches.split_at(batches.len() / 2);
            format!("({}) union all ({})", union(left), union(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_testkit::TestDatabase;
    use time::macros::date;

    /// 50 batches of 2,000 rows, every fifth of them published, each ten of them of another month.
    async fn many() -> TestDatabase {
        let db = TestDatabase::new().await;
        db.client()
            .await
            .batch_execute(
                "insert into tenants (tenant) values ('acme');
                 insert into regions (tenant, slug, name) values ('acme', 'world', 'World');
                 insert into ports (tenant, code, name, region)
                     select 'acme', lpad(n::text, 5, 'P'), 'Port', 'world' from generate_series(1, 40) n;
                 insert into price_batches (id, tenant, kind, state, key, etag, bytes, trace_id, received_at)
                     select md5(n::text)::uuid, 'acme', 'prices', 'loading', 'k', 'e', 1, 't', now() from generate_series(1, 50) n;
                 do $$ begin
                     for n in 1..50 loop
                         perform price_table_make(n);
                         execute format(
                             'insert into price_rows_%s
                              select %s, 1 + g %% 40, 1 + g / 40 %% 40, date ''2026-01-01'' + 30 * (%s / 10), g, g
                              from generate_series(1, 2000) g', n, n, n);
                         perform price_table_index(n);
                         perform price_table_attach(n);
                     end loop;
                 end $$;
                 update price_batches set ended_at = now(), rows = 2000,
                     state = case when number % 5 = 0 then 'published' else 'failed' end,
                     first_day = date '2026-01-01' + 30 * (number / 10), last_day = date '2026-01-01' + 30 * (number / 10);
                 insert into price_revisions values ('acme', 10);",
            )
            .await
            .unwrap();
        // As the server does by itself, again for as long as some connection that is just being made may see older rows.
        let client = db.client().await;
        let seen = "select bool_and(relallvisible = relpages) from pg_class where relname ~ '^price_rows_[0-9]+$'";
        for _ in 0..1000 {
            client.batch_execute("vacuum analyze prices").await.unwrap();
            if client.query_one(seen, &[]).await.unwrap().get(0) {
                break;
            }
        }
        db
    }

    #[tokio::test]
    async fn only_tables_of_published_batches_with_those_days_are_read_and_only_by_their_index() {
        let db = many().await;
        let client = db.client().await;
        let (from, to) = (date!(2026 - 01 - 31), date!(2026 - 03 - 02));
        let params: [Param<'_>; 3] = [param(&"acme"), param(&from), param(&to)];
        let batches: Vec<i32> = client.query_typed(BATCHES, &params).await.unwrap()[0].get(1);
        assert_eq!(batches, [10, 15, 20, 25]);
        let (some, all): (Vec<i32>, Vec<i32>) = (vec![3], (1..=40).collect());
        for ports in [&some, &all] {
            let params: [Param<'_>; 4] = [param(ports), param(&some), param(&from), param(&to)];
            let sql = format!("explain (analyze, timing off) {}", averages_sql(&batches));
            let plan = client.query_typed(&sql, &params).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
            let scans: Vec<&String> = plan.iter().filter(|line| line.contains(" on ")).collect();
            assert_eq!(scans.len(), 4, "{plan:#?}");
            for (scan, batch) in scans.iter().zip(&batches) {
                assert!(scan.contains(&format!("Index Only Scan using price_rows_{batch}_key")), "{plan:#?}");
            }
            assert!(plan.iter().all(|line| !line.contains("Heap Fetches") || line.contains(": 0")), "{plan:#?}");
        }
    }

    #[tokio::test]
    async fn thousands_of_batches_are_one_question() {
        let db = many().await;
        let batches: Vec<i32> = (1..=50).cycle().take(4000).collect();
        let (ports, day) = (vec![3], date!(2026 - 01 - 31));
        let params: [Param<'_>; 4] = [param(&ports), param(&ports), param(&day), param(&day)];
        db.client().await.query_typed(&averages_sql(&batches), &params).await.unwrap();
    }
}
