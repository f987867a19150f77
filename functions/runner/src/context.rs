//! What the environment says, read once.

use crate::transfer::Transfer;
use dunlin_contracts::steps::RunnerInput;
use dunlin_core::{ScanId, job::Compute};
use dunlin_engines::EngineManifest;
use dunlin_execution::{Machine, OPEN_DISK};
use dunlin_runtime::{ConfigError, Env};
use std::path::PathBuf;

const ENGINES_DIR: &str = "/opt/dunlin/engines";
/// The executable that becomes the engine is this one.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// What the runner itself needs beside the engine.
const RESERVE_MIB: u64 = 128;

pub struct Context {
    pub engines: &'static [EngineManifest],
    pub machine: Machine,
    pub compute: Compute,
    pub transfer: Transfer,
}

impl Context {
    /// For Lambda, which says how much memory there is.
    pub fn for_lambda(env: &mut Env, engines: &'static [EngineManifest]) -> Option<Self> {
        let memory_mib = env.required::<u64>("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        Self::read(env, engines, memory_mib, Compute::Lambda)
    }

    fn read(env: &mut Env, engines: &'static [EngineManifest], mib: Option<u64>, compute: Compute) -> Option<Self> {
        let engines_dir = env.optional::<PathBuf>("ENGINES_DIR").unwrap_or_else(|| ENGINES_DIR.into());
        let transfer = Transfer::new().map_err(|error| env.problem(error.to_string())).ok();
        Some(Self {
            engines,
            machine: Machine {
                engines_dir,
                scratch_dir: std::env::temp_dir(),
                source_dir: None,
                sandbox_program: THIS_PROGRAM.into(),
                memory_bytes: for_the_engine(mib?) << 20,
                disk: OPEN_DISK,
                // Lambda's kernel may be without it, and there is nobody else's file there.
                landlock_required: false,
            },
            compute,
            transfer: transfer?,
        })
    }
}

/// Half of the machine at least, where the machine is tiny.
fn for_the_engine(mib: u64) -> u64 {
    mib.saturating_sub(RESERVE_MIB).max(mib / 2)
}

/// A job on Batch: everything comes in variables.
pub fn from_batch(mut env: Env, engines: &'static [EngineManifest]) -> Result<(Context, RunnerInput), ConfigError> {
    let ticket_url = env.required::<String>("DUNLIN_TICKET_URL");
    let scan_id = env.required::<ScanId>("DUNLIN_SCAN_ID");
    let job = env.required::<u32>("DUNLIN_JOB");
    let trace_id = env.required::<String>("DUNLIN_TRACE_ID");
    let memory_mib = env.required::<u64>("DUNLIN_MEMORY_MIB");
    let context = Context::read(&mut env, engines, memory_mib, Compute::Batch);
    let input = (|| Some(RunnerInput { ticket_url: ticket_url?, scan_id: scan_id?, job: job?, trace_id: trace_id? }))();
    env.finish(context.zip(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_variable_is_named() {
        let error = from_batch(Env::from_map([].into()), &[]).err().unwrap();
        let expected = ["TICKET_URL", "SCAN_ID", "JOB", "TRACE_ID", "MEMORY_MIB"];
        assert_eq!(error.problems, expected.map(|name| format!("DUNLIN_{name} is not set")));
    }

    #[test]
    fn the_runner_keeps_memory_for_itself() {
        assert_eq!(for_the_engine(2048), 1920);
        assert_eq!(for_the_engine(128), 64);
    }
}
