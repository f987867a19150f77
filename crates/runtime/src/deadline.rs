//! What is left of an invocation's time.

use std::time::{Duration, SystemTime};

/// No point in time of an invocation is this early.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Until Lambda ends the invocation. Lambda tells the point in time; `cargo lambda watch` tells the milliseconds that are
/// left, which read as a point in time are minutes after midnight of 1 January 1970.
pub fn time_left(deadline: SystemTime, now: SystemTime) -> Duration {
    match deadline.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(left) if left > Duration::ZERO && left < DAY => left,
        _ => deadline.duration_since(now).unwrap_or_default(),
    }
}

/// The work's answer, or none when it has none `reserve` before the invocation ends: then there is still time to say so.
pub async fn before<F: Future>(deadline: SystemTime, reserve: Duration, work: F) -> Option<F::Output> {
    let left = time_left(deadline, SystemTime::now()).saturating_sub(reserve);
    tokio::time::timeout(left, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_never_ends_is_given_up_before_the_deadline() {
        let deadline = SystemTime::now() + Duration::from_millis(300);
        let started = std::time::Instant::now();
        assert_eq!(before(deadline, Duration::from_millis(200), std::future::pending::<()>()).await, None);
        assert!(started.elapsed() < Duration::from_millis(250), "{:?}", started.elapsed());
        assert_eq!(before(deadline, Duration::ZERO, async { 7 }).await, Some(7));
    }

    #[test]
    fn a_point_in_time_and_a_duration_are_told_apart() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_167_000);
        let seconds = Duration::from_secs;
        for (deadline, left) in [
            (now + seconds(300), seconds(300)),
            (now, seconds(0)),
            (now - seconds(1), seconds(0)),
            (SystemTime::UNIX_EPOCH + seconds(600), seconds(600)),
            (SystemTime::UNIX_EPOCH, seconds(0)),
        ] {
            assert_eq!(time_left(deadline, now), left, "{deadline:?}");
        }
    }
}
