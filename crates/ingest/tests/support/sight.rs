//! Somebody who asks for rates all the time, and must see all of a batch or nothing of it.

use dunlin_core::TenantId;
use dunlin_store::{DatabaseConfig, RatesAnswer, Store};
use dunlin_testkit::TestDatabase;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use time::Date;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_postgres::{Client, IsolationLevel};

/// No answer takes longer, whatever stands still meanwhile.
const NEVER_LONGER: Duration = Duration::from_secs(2);

/// Rows of published batches. As the product does it: the lock comes before the snapshot.
const PUBLISHED: &str = "select b.rows, (select count(*) from prices p where p.batch = b.number),
            (select count(distinct p.line) from prices p where p.batch = b.number)
     from price_batches b where b.kind = 'prices' and b.state = 'published'";

/// The average of every day: 0 when there is none. One of the two, and once it was the new one, the old one never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    old: i64,
    new: i64,
    turn: u32,
}

pub struct Sight {
    expected: Mutex<Expected>,
    asked: watch::Sender<u64>,
    over: AtomicBool,
}

impl Sight {
    pub fn expect(&self, old: i64, new: i64) {
        let mut expected = self.expected.lock().unwrap();
        *expected = Expected { old, new, turn: expected.turn + 1 };
    }

    fn expected(&self) -> Expected {
        *self.expected.lock().unwrap()
    }

    /// Waits until the reader has asked since now, and had an answer.
    pub async fn looked(&self) {
        // One may have been on its way.
        let mut asked = self.asked.subscribe();
        let then = *asked.borrow() + 2;
        let looking = asked.wait_for(|asked| *asked >= then || self.over.load(Ordering::SeqCst));
        timeout(Duration::from_secs(10), looking).await.unwrap().unwrap();
        assert!(!self.over.load(Ordering::SeqCst), "the reader has seen what it must not see");
    }
}

pub struct Reader {
    pub sight: Arc<Sight>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Sees nothing at first.
    pub async fn start(database: &TestDatabase, tenant: TenantId, days: (Date, Date)) -> Self {
        let expected = Mutex::new(Expected { old: 0, new: 0, turn: 0 });
        let sight = Arc::new(Sight { expected, asked: watch::Sender::new(0), over: AtomicBool::new(false) });
        let config = DatabaseConfig { application: "reader".to_owned(), ..database.config() };
        let (mut store, mut client) = (Store::connect(&config).await.unwrap(), database.client().await);
        let seen = sight.clone();
        let task = tokio::spawn(async move {
            // Also when it panics.
            let end = End(seen);
            let mut last = None;
            while !end.0.over.load(Ordering::SeqCst) {
                last = look(&end.0, &mut store, &tenant, days, last).await;
                count(&mut client).await;
                end.0.asked.send_modify(|asked| *asked += 1);
            }
        });
        Self { sight, task }
    }

    /// Everything it saw was right, and it has seen much.
    pub async fn stop(self) {
        self.sight.over.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        let asked = *self.sight.asked.borrow();
        assert!(asked > 100, "asked {asked} times only");
    }
}

struct End(Arc<Sight>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        self.0.asked.send_modify(|_| ());
    }
}

/// What was seen, and in which turn; none when the turn changed meanwhile, as then it may be of the one before.
async fn look(
    sight: &Sight,
    store: &mut Store,
    tenant: &TenantId,
    (from, to): (Date, Date),
    last: Option<(Expected, i64)>,
) -> Option<(Expected, i64)> {
    let before = sight.expected();
    let answer = timeout(NEVER_LONGER, store.rates(tenant, "AAAAA", "BBBBB", from, to)).await;
    let after = sight.expected();
    let RatesAnswer::Rates { rates, .. } = answer.expect("a reader is never blocked").unwrap() else {
        panic!("no such place")
    };
    let first = rates.rates[0].average_price;
    for rate in &rates.rates {
        assert_eq!(rate.average_price, first, "{:?}: a part of a batch", rate.day);
    }
    let price = first.unwrap_or(0.0);
    let seen = [before.old, before.new, after.old, after.new].into_iter().find(|known| *known as f64 == price);
    let seen = seen.unwrap_or_else(|| panic!("{price} is neither {before:?} nor {after:?}"));
    if let Some((turn, last)) = last
        && turn == before
        && turn == after
        && last == turn.new
    {
        assert_eq!(seen, last, "back to what was there before");
    }
    (before == after).then_some((after, seen))
}

async fn count(client: &mut Client) {
    let counting = async {
        let tx = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
        tx.batch_execute("lock table only prices in access share mode").await.unwrap();
        let rows = tx.query(PUBLISHED, &[]).await.unwrap();
        tx.commit().await.unwrap();
        rows
    };
    let rows = timeout(NEVER_LONGER, counting).await.expect("a reader is never blocked");
    assert!(rows.len() <= 1, "one batch takes the place of the other");
    for row in rows {
        let (said, there, lines): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((there, lines), (said, said), "a part of a batch");
    }
}
