//! Follows a scan, or a batch of prices, until it ends: asks often while things move and less often while they do not, and
//! outlives a server that is away for a while.

use crate::{api::Api, error::ClientError, outcome};
use dunlin_contracts::{api::ScanView, prices::PriceBatchView};
use std::{future::Future, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub shortest: Duration,
    pub longest: Duration,
    /// How long the server may be away.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            shortest: Duration::from_millis(300),
            longest: Duration::from_secs(2),
            patience: Duration::from_secs(120),
        }
    }
}

/// What can be followed.
pub trait View: PartialEq + Send {
    fn has_ended(&self) -> bool;
}

impl View for ScanView {
    fn has_ended(&self) -> bool {
        outcome::has_ended(self)
    }
}

impl View for PriceBatchView {
    fn has_ended(&self) -> bool {
        self.status.is_end()
    }
}

/// Where states come from.
pub trait Source<V> {
    fn look(&self, id: Uuid) -> impl Future<Output = Result<V, ClientError>> + Send;
}

impl Source<ScanView> for Api {
    async fn look(&self, id: Uuid) -> Result<ScanView, ClientError> {
        self.scan_once(id).await
    }
}

impl Source<PriceBatchView> for Api {
    async fn look(&self, id: Uuid) -> Result<PriceBatchView, ClientError> {
        self.price_batch_once(id).await
    }
}

/// Who is told.
pub trait Watcher<V> {
    /// Something has changed.
    fn changed(&mut self, view: &V);
    /// The server does not answer; following goes on. Told once per absence.
    fn away(&mut self, error: &ClientError);
    /// Ctrl-C, for the first time.
    fn interrupted(&mut self);
}

#[derive(Debug)]
pub enum End<V> {
    Ended(Box<V>),
    /// `--timeout` is over; the work goes on.
    OutOfTime,
}

pub async fn follow<V: View>(
    source: &impl Source<V>,
    id: Uuid,
    pace: Pace,
    timeout: Option<Duration>,
    mut interrupts: mpsc::Receiver<()>,
    watcher: &mut impl Watcher<V>,
) -> Result<End<V>, ClientError> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut last: Option<V> = None;
    let mut pause = pace.shortest;
    let mut away_since: Option<Instant> = None;
    loop {
        match source.look(id).await {
            Ok(view) => {
                away_since = None;
                let changed = last.as_ref() != Some(&view);
                pause = if changed { pace.shortest } else { pace.longest.min(pause.mul_f64(1.4)) };
                if changed {
                    watcher.changed(&view);
                }
                if view.has_ended() {
                    return Ok(End::Ended(Box::new(view)));
                }
                last = Some(view);
            }
            Err(error) if error.is_transient() => {
                let since = *away_since.get_or_insert_with(|| {
                    watcher.away(&error);
                    Instant::now()
                });
                if since.elapsed() >= pace.patience {
                    return Err(error);
                }
                pause = pace.longest.min(pause.mul_f64(2.0));
            }
            Err(error) => return Err(error),
        }
        let mut wake = Instant::now() + pause;
        if let Some(deadline) = deadline {
            if Instant::now() >= deadline {
                return Ok(End::OutOfTime);
            }
            wake = wake.min(deadline);
        }
        // An interrupt explains and does not shorten the wait.
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(wake) => break,
                Some(()) = interrupts.recv() => watcher.interrupted(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use reqwest::StatusCode;
    use std::sync::Mutex;

    const PACE: Pace = Pace {
        shortest: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        patience: Duration::from_millis(60),
    };

    /// Answers in turn; the last one for ever.
    struct Script(Mutex<Vec<Result<&'static str, StatusCode>>>);

    impl Script {
        fn new(mut answers: Vec<Result<&'static str, StatusCode>>) -> Self {
            answers.reverse();
            Self(Mutex::new(answers))
        }
    }

    impl Source<ScanView> for Script {
        async fn look(&self, _: Uuid) -> Result<ScanView, ClientError> {
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0] };
            answer
                .map(|status| ScanView { status: status.into(), ..sample::scan_with("running", &[]) })
                .map_err(|status| ClientError::Unknown { host: "test".into(), status, excerpt: String::new() })
        }
    }

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Watcher<ScanView> for Log {
        fn changed(&mut self, scan: &ScanView) {
            self.0.push(scan.status.clone());
        }
        fn away(&mut self, _: &ClientError) {
            self.0.push("away".into());
        }
        fn interrupted(&mut self) {
            self.0.push("interrupted".into());
        }
    }

    async fn run(
        script: Vec<Result<&'static str, StatusCode>>,
        timeout: Option<Duration>,
    ) -> (Result<End<ScanView>, ClientError>, Vec<String>) {
        let (_sender, interrupts) = mpsc::channel(1);
        let mut log = Log::default();
        let end = follow(&Script::new(script), Uuid::nil(), PACE, timeout, interrupts, &mut log).await;
        (end, log.0)
    }

    #[tokio::test]
    async fn tells_changes_once_and_outlives_an_absence() {
        let bad = Err(StatusCode::BAD_GATEWAY);
        let (end, log) = run(
            vec![Ok("accepted"), Ok("accepted"), bad, bad, Ok("running"), bad, Ok("running"), Ok("complete")],
            None,
        )
        .await;
        assert!(matches!(end, Ok(End::Ended(scan)) if scan.status == "complete"));
        assert_eq!(log, ["accepted", "away", "running", "away", "complete"]);
    }

    #[tokio::test]
    async fn gives_up_when_the_server_stays_away() {
        let (end, log) = run(vec![Ok("running"), Err(StatusCode::SERVICE_UNAVAILABLE)], None).await;
        assert!(matches!(end, Err(ClientError::Unknown { status, .. }) if status == StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(log, ["running", "away"]);
    }

    #[tokio::test]
    async fn an_answer_that_will_not_change_ends_it_at_once() {
        let (end, log) = run(vec![Err(StatusCode::NOT_FOUND)], None).await;
        assert!(end.is_err() && log.is_empty());
    }

    #[tokio::test]
    async fn stops_when_the_time_is_over() {
        let (end, log) = run(vec![Ok("running")], Some(Duration::from_millis(20))).await;
        assert!(matches!(end, Ok(End::OutOfTime)));
        assert_eq!(log, ["running"]);
    }

    #[tokio::test]
    async fn an_interrupt_is_told_and_following_goes_on() {
        let (sender, interrupts) = mpsc::channel(1);
        sender.try_send(()).unwrap();
        drop(sender);
        let mut log = Log::default();
        let script = Script::new(vec![Ok("running"), Ok("running"), Ok("complete")]);
        let end = follow(&script, Uuid::nil(), PACE, None, interrupts, &mut log).await;
        assert!(matches!(end, Ok(End::Ended(_))));
        assert_eq!(log.0, ["running", "interrupted", "complete"]);
    }
}
