//! `loader batch`: one range, told by an environment variable, answered by the exit code.

use crate::{context::Context, error::Error, handler};
use dunlin_contracts::{
    errors::loader as names,
    prices::{LOADER_INPUT, LoaderOutput},
};
use dunlin_runtime::{Env, Named, diagnostic};
use serde_json::Value;
use std::{process::ExitCode, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

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
    tokio::select! {
        done = work(env) => match done {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                diagnostic(&error);
                ExitCode::from(exit_code(error.name()))
            }
        },
        _ = terminate.recv() => {
            tracing::warn!(error.name = names::TERMINATED, "the job was told to stop");
            ExitCode::from(exit_code(names::TERMINATED))
        }
    }
}

async fn work(mut env: Env) -> Result<LoaderOutput, Error> {
    let bad = |what: String| Error::from(dunlin_ingest::Error::BadInput(what));
    let input =
        env.required::<Value>(LOADER_INPUT).ok_or_else(|| bad(format!("{LOADER_INPUT} is not there, or no JSON")))?;
    let context = Context::read(env).await.map_err(|error| bad(error.to_string()))?;
    persist(async || handler::handle(&context, input.clone()).await).await
}

/// Until it is done, refused, or has waited for too long.
async fn persist(mut load: impl AsyncFnMut() -> Result<LoaderOutput, Error>) -> Result<LoaderOutput, Error> {
    let (mut waited, mut pause) = (Duration::ZERO, Duration::from_secs(2));
    loop {
        let error = match load().await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        let patience = match error.name() {
            names::DATABASE_UNAVAILABLE => DATABASE_PATIENCE,
            names::STORAGE_UNAVAILABLE => STORAGE_PATIENCE,
            _ => return Err(error),
        };
        waited += pause;
        if waited > patience {
            return Err(error);
        }
        tracing::warn!(error.name = error.name(), %error, seconds = pause.as_secs(), "the range is loaded again after a pause");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What the state `Read how the Batch job ended` understands (the numbers are those of sysexits.h, where that has one).
fn exit_code(name: &str) -> u8 {
    match name {
        names::BAD_INPUT => 64,
        names::FILE_UNUSABLE => 66,
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
    use std::collections::{BTreeMap, BTreeSet};
    use tokio::time::Instant;

    fn away() -> Error {
        Ingest::from(StoreError::Unavailable { what: "asleep".to_owned(), source: None }).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_away_is_waited_for_and_not_for_ever() {
        let begun = Instant::now();
        let loaded = persist(async || match begun.elapsed() {
            gone if gone < Duration::from_secs(3600) => Err(away()),
            _ => Ok(LoaderOutput { range: 0, rows: 1, bad_rows: 0 }),
        });
        assert_eq!(loaded.await.unwrap().rows, 1);

        let begun = Instant::now();
        let error = persist(async || Err(away())).await.unwrap_err();
        assert_eq!(error.name(), names::DATABASE_UNAVAILABLE);
        assert!(begun.elapsed() > Duration::from_secs(4000) && begun.elapsed() <= DATABASE_PATIENCE);
        let refused = persist(async || Err(Ingest::BadInput(String::new()).into())).await.unwrap_err();
        assert_eq!(refused.name(), names::BAD_INPUT);
    }

    #[tokio::test]
    async fn what_a_job_needs_is_named() {
        let env = |pairs: &[(&str, &str)]| {
            Env::from_map(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let nothing = work(env(&[])).await.unwrap_err();
        assert!(nothing.to_string().contains(LOADER_INPUT), "{nothing}");
        let no_json = work(env(&[(LOADER_INPUT, "{")])).await.unwrap_err();
        assert!(no_json.to_string().contains(LOADER_INPUT), "{no_json}");
        let no_bucket = work(env(&[(LOADER_INPUT, "{}")])).await.unwrap_err();
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
