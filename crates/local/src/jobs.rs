//! Runs jobs, the longest first, as many at once as the machine has room for.

use crate::{
    child,
    machine::Room,
    worker::{Answer, Order},
};
use dunlin_core::job::Size;
use std::{collections::HashMap, future::Future, path::Path, pin::Pin, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two looks of whoever shows the progress.
const TICK: Duration = Duration::from_millis(120);
/// Of an engine whose memory is known, for a run that needs more.
const SLACK: u64 = 256 << 20;

#[derive(Debug, Clone)]
pub struct Todo {
    pub order: Order,
    pub size: Size,
    pub estimate: Duration,
    /// The most memory that the engine had last time.
    pub known_peak: Option<u64>,
    pub attempts: u32,
}

impl Todo {
    /// What the engine may have.
    fn limit(&self, room: &Room) -> u64 {
        memory(self.size).min(room.memory_bytes)
    }

    /// What is set aside for it.
    fn reserved(&self, room: &Room) -> u64 {
        let likely = self.known_peak.map(|peak| peak.saturating_mul(3) / 2 + SLACK);
        likely.unwrap_or(u64::MAX).min(self.limit(room))
    }

    /// One rung up, when memory was not enough and this machine has more.
    fn larger(&self, room: &Room) -> Option<Size> {
        let next = self.size.and_up().nth(1)?;
        (self.limit(room) < room.memory_bytes).then_some(next)
    }
}

fn memory(size: Size) -> u64 {
    u64::from(size.memory_mib()) << 20
}

/// What happens to jobs, by their numbers.
pub enum Event<'a> {
    Started(u32),
    Ended(u32, u32, &'a Answer),
    /// Time has passed.
    Tick,
}

/// How a job ended, and how many runs it took.
pub type Endings = HashMap<u32, (Answer, u32)>;

/// Runs everything, or none further after `stop`: then what runs is ended, and what is not in the answer has not run.
pub async fn run(
    mut waiting: Vec<Todo>,
    room: Room,
    logs: &Path,
    mut stop: Pin<&mut (impl Future<Output = ()> + ?Sized)>,
    mut tell: impl FnMut(Event<'_>),
) -> (Endings, bool) {
    waiting.sort_by_key(|todo| std::cmp::Reverse(todo.estimate));
    let (mut endings, mut running, mut used) = (Endings::new(), JoinSet::new(), 0);
    let token = CancellationToken::new();
    let mut stopped = false;
    let mut tick = tokio::time::interval(TICK);
    loop {
        while let Some(next) = next(&waiting, &room, running.len(), used) {
            let mut todo = waiting.remove(next);
            todo.attempts += 1;
            todo.order.memory_bytes = todo.limit(&room);
            used += todo.reserved(&room);
            if todo.attempts == 1 {
                tell(Event::Started(todo.order.job));
            }
            let (log, token) = (logs.join(format!("job-{}.log", todo.order.job)), token.clone());
            running.spawn(async move {
                let answer = child::run(&todo.order, &log, token).await;
                (todo, answer)
            });
        }
        if running.is_empty() {
            return (endings, stopped);
        }
        tokio::select! {
            Some(joined) = running.join_next() => {
                // A task of ours does not panic; when it does, its job is missing in the answer.
                let Ok((mut todo, answer)) = joined else { continue };
                used -= todo.reserved(&room);
                let out_of_memory =
                    matches!(&answer, Answer::Failed(failure) if failure.outcome == dunlin_core::job::JobOutcome::OutOfMemory);
                match todo.larger(&room) {
                    Some(size) if out_of_memory && !stopped => {
                        todo.size = size;
                        todo.known_peak = None;
                        waiting.insert(0, todo);
                    }
                    _ => {
                        tell(Event::Ended(todo.order.job, todo.attempts, &answer));
                        endings.insert(todo.order.job, (answer, todo.attempts));
                    }
                }
            }
            _ = tick.tick() => tell(Event::Tick),
            () = &mut stop, if !stopped => {
                stopped = true;
                waiting.clear();
                token.cancel();
            }
        }
    }
}

/// The longest job that there is room for. One always fits where nothing runs.
fn next(waiting: &[Todo], room: &Room, running: usize, used: u64) -> Option<usize> {
    if running >= room.processors {
        return None;
    }
    waiting.iter().position(|todo| running == 0 || used.saturating_add(todo.reserved(room)) <= room.memory_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::{
        ResultKey,
        selection::{Selection, Shard},
    };

    const GIB: u64 = 1 << 30;

    fn todo(size: Size, known_peak: Option<u64>) -> Todo {
        let order = Order {
            job: 0,
            engine: "ruff".into(),
            selection: Selection { include: vec![], exclude: vec![], shard: Shard::WHOLE },
            files: 0,
            result_key: ResultKey::of_parts([&b"x"[..]]),
            timeout_seconds: 1,
            memory_bytes: 0,
            engines_dir: "/".into(),
            source: "/".into(),
            scratch_dir: "/".into(),
            source_dir: None,
            result: "/".into(),
            report: "/".into(),
        };
        Todo { order, size, estimate: Duration::ZERO, known_peak, attempts: 0 }
    }

    #[test]
    fn memory_and_processors_bound_what_runs_at_once() {
        let room = Room { processors: 4, memory_bytes: 5 * GIB };
        let waiting = [todo(Size::Medium, None), todo(Size::Small, None)];
        assert_eq!(next(&waiting, &room, 0, 0), Some(0));
        assert_eq!(next(&waiting, &room, 1, 2 * GIB), Some(1), "the longest does not fit, the other does");
        assert_eq!(next(&waiting, &room, 1, 4 * GIB), None);
        assert_eq!(next(&waiting, &room, 4, 0), None);
        // What is known of an engine makes room for more.
        assert_eq!(next(&[todo(Size::Medium, Some(100 << 20))], &room, 1, 4 * GIB), Some(0));
    }

    #[test]
    fn a_small_machine_runs_one_after_the_other_with_all_it_has() {
        let room = Room { processors: 2, memory_bytes: GIB };
        let large = todo(Size::Xlarge, None);
        assert_eq!((large.limit(&room), large.larger(&room)), (GIB, None));
        assert_eq!(next(std::slice::from_ref(&large), &room, 0, 0), Some(0));
        assert_eq!(next(&[large], &room, 1, 1), None);
    }

    #[test]
    fn more_memory_is_tried_where_there_is_more() {
        let room = Room { processors: 2, memory_bytes: 6 * GIB };
        assert_eq!(todo(Size::Small, None).larger(&room), Some(Size::Medium));
        assert_eq!(todo(Size::Medium, None).larger(&room), Some(Size::Large));
        assert_eq!(todo(Size::Large, None).larger(&room), None, "it had all there is");
    }
}
