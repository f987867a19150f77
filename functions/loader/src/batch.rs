//! `loader batch`: one range, told by an environment variable, answered by the exit code.

use crate::{context::Context, error::Error, handler};
use dunlin_contracts::{
    errors::loader as names,
    prices::{LOADER_INPUT, LoaderInput, LoaderOutput},
};
use dunlin_runtime::{Env, Named, diagnostic, logging, message};
use serde_json::Value;
use std::{process::ExitCode, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing::Instrument;

/// A job that waits costs little, and a new one minutes. What is away for longer is not worth it.
const DATABASE_PATIENCE: Duration = Duration::from_secs(75 * 60);
const STORAGE_PATIENCE: Duration = Duration::from_secs(10 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// SIGTERM (the batch was stopped, the Spot machine is taken away, or time is over) ends the job at once: the connection closes, and
/// the server takes back what it had.
pub async fn run(env: Env) -> ExitCode {
    // As a container's first process it would not hear of a signal that it does not wait for.
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        tracing::error!("signals cannot be received");
        return ExitCode::from(70);
    };
    let (input, env) = match read(env) {
        Ok(read) => read,
        Err(error) => return failed(&error),
    };
    let batch = &input.batch;
    let span = logging::batch_span("loader", &batch.trace_id, &batch.batch_id.to_string());
    async {
        tokio::select! {
            done = work(env, &input) => match done {
                Ok(_) => ExitCode::SUCCESS,
                Err(error) => failed(&error),
            },
            _ = terminate.recv() => {
                tracing::warn!(error.name = names::TERMINATED, "the job was told to stop");
                ExitCode::from(exit_code(names::TERMINATED))
            }
        }
    }
    .instrument(span)
    .await
}

fn failed(error: &Error) -> ExitCode {
    diagnostic(error);
    ExitCode::from(exit_code(error.name()))
}

fn bad(what: String) -> Error {
    dunlin_ingest::Error::BadInput(what).into()
}

fn read(mut env: Env) -> Result<(LoaderInput, Env), Error> {
    let input =
        env.required::<Value>(LOADER_INPUT).ok_or_else(|| bad(format!("{LOADER_INPUT} is not there, or no JSON")))?;
    Ok((serde_json::from_value(input).map_err(dunlin_ingest::Error::input)?, env))
}

async fn work(env: Env, input: &LoaderInput) -> Result<LoaderOutput, Error> {
    let context = Context::read(env).await.map_err(|error| bad(error.to_string()))?;
    persist(async || handler::run(&context, input).await, sleep).await
}

/// How long one thing that is away is waited for, in all.
struct Waiting {
    left: Duration,
    pause: Duration,
}

impl Waiting {
    const fn new(patience: Duration) -> Self {
        Self { left: patience, pause: Duration::from_secs(2) }
    }

    /// The next pause, if there is time for one.
    fn next(&mut self) -> Option<Duration> {
        let pause = self.pause;
        self.left = self.left.checked_sub(pause)?;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

/// Until it is done, refused, or has waited for too long; `wait` lets a pause pass.
async fn persist(
    mut load: impl AsyncFnMut() -> Result<LoaderOutput, Error>,
    wait: impl AsyncFn(Duration),
) -> Result<LoaderOutput, Error> {
    let (mut database, mut storage) = (Waiting::new(DATABASE_PATIENCE), Waiting::new(STORAGE_PATIENCE));
    loop {
        let error = match load().await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        let pause = match error.name() {
            names::DATABASE_UNAVAILABLE => database.next(),
            names::STORAGE_UNAVAILABLE => storage.next(),
            _ => None,
        };
        let Some(pause) = pause else { return Err(error) };
        let why = message(&error);
        tracing::warn!(
            error.name = error.name(),
            error.message = why,
            pause_s = pause.as_secs(),
            "the range is loaded again after a pause"
        );
        wait(pause).await;
    }
}

/// What the state `Read how the Batch job ended` understands (the numbers are those of sysexits.h, where that has one).
fn exit_code(name: &str) -> u8 {
    match name {
        names::BAD_INPUT => 64,
        names::FILE_UNUSABLE => 66,
        names::DISK_FULL => 73,
        names::STORAGE_UNAVAILABLE => 74,
        names::DATABASE_UNAVAILABLE => 75,
        names::STORAGE_REFUSED => 77,
        names::TERMINATED => 143,
        _ => 70,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_contracts::errors;
    use dunlin_ingest::Error as Ingest;
    use dunlin_store::StoreError;
    use std::{
        cell::Cell,
        collections::{BTreeMap, BTreeSet},
        io::ErrorKind,
    };

    fn away() -> Error {
        Ingest::from(StoreError::Unavailable { what: "asleep".to_owned(), source: None }).into()
    }

    fn storage_lost() -> Error {
        Ingest::StorageStream(ErrorKind::BrokenPipe.into()).into()
    }

    /// The outcome of `persist` and how long it took, where attempts take no time. `load` is told the time so far.
    async fn persisted(load: impl Fn(Duration) -> Option<Error>) -> (Result<LoaderOutput, Error>, Duration) {
        let elapsed = Cell::new(Duration::ZERO);
        let attempt = async || load(elapsed.get()).map_or(Ok(LoaderOutput { range: 0, rows: 1, bad_rows: 0 }), Err);
        let ended = persist(attempt, async |pause| elapsed.set(elapsed.get() + pause)).await;
        (ended, elapsed.get())
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_waited_for_and_not_for_ever() {
        let (loaded, after) = persisted(|elapsed| (elapsed < Duration::from_secs(3600)).then(away)).await;
        assert_eq!(loaded.unwrap().rows, 1);
        assert!(after >= Duration::from_secs(3600) && after <= Duration::from_secs(3600) + LONGEST_PAUSE);

        let (never, after) = persisted(|_| Some(away())).await;
        assert_eq!(never.unwrap_err().name(), names::DATABASE_UNAVAILABLE);
        assert!(after > Duration::from_secs(4000) && after <= DATABASE_PATIENCE);

        // Each is waited for by itself.
        let lost = Cell::new(false);
        let (loaded, _) = persisted(|elapsed| match elapsed {
            gone if gone < STORAGE_PATIENCE * 2 => Some(away()),
            _ => (!lost.replace(true)).then(storage_lost),
        })
        .await;
        assert_eq!(loaded.unwrap().rows, 1);
        let (never, after) = persisted(|_| Some(storage_lost())).await;
        assert_eq!(never.unwrap_err().name(), names::STORAGE_UNAVAILABLE);
        assert!(after > STORAGE_PATIENCE / 2 && after <= STORAGE_PATIENCE);

        let (refused, after) = persisted(|_| Some(bad(String::new()))).await;
        assert_eq!((refused.unwrap_err().name(), after), (names::BAD_INPUT, Duration::ZERO));
        let (full, after) = persisted(|_| Some(Ingest::Scratch(ErrorKind::StorageFull.into()).into())).await;
        assert_eq!((full.unwrap_err().name(), after), (names::DISK_FULL, Duration::ZERO));
    }

    #[tokio::test]
    async fn what_a_job_needs_is_named() {
        let env = |pairs: &[(&str, &str)]| {
            Env::from_map(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let refusal = |pairs: &[(&str, &str)]| read(env(pairs)).err().unwrap().to_string();
        for input in [&[][..], &[(LOADER_INPUT, "{")], &[(LOADER_INPUT, "{}")]] {
            let said = refusal(input);
            assert!(said.contains(LOADER_INPUT) || said.contains("missing field `batch`"), "{said}");
        }
        let input = dunlin_testkit::samples::event("loader/range.json").to_string();
        let (input, env) = read(env(&[(LOADER_INPUT, &input)])).unwrap();
        let no_bucket = work(env, &input).await.unwrap_err();
        assert!(no_bucket.to_string().contains("DATA_BUCKET is not set; DATABASE_HOST is not set"), "{no_bucket}");
        assert_eq!(exit_code(no_bucket.name()), 64);
    }

    #[test]
    fn the_state_machine_understands_every_exit_code() {
        let machine = include_str!("../../../statemachines/price-batch.asl.json");
        let mut codes = BTreeMap::new();
        for name in errors::ALL.iter().filter(|name| name.starts_with("Loader.")) {
            codes.entry(exit_code(name)).or_insert_with(BTreeSet::new).insert(*name);
            let understood = format!("$code = {} ? '{name}'", exit_code(name));
            assert!(machine.contains(&understood), "{understood}");
        }
        assert!(codes.values().all(|names| names.len() == 1), "{codes:?}");
    }
}
