//! `runner batch`: one job, told by environment variables, answered by the exit code.

use crate::{context::Context, error::Error, job};
use dunlin_contracts::steps::RunnerInput;
use dunlin_execution::Error as Execution;
use dunlin_runtime::{ConfigError, Named, diagnostic, logging};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Instrument;

/// SIGTERM (the job was cancelled, its Spot machine is taken away, or its time is over) and SIGINT end the job in order.
pub async fn run(environment: Result<(Context, RunnerInput), ConfigError>) -> ExitCode {
    // From here on a signal waits instead of killing.
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received");
        return ExitCode::from(70);
    };
    let (context, input) = match environment {
        Ok(read) => read,
        Err(error) => {
            let error = Error::BadInput(error.to_string());
            tracing::error!(error.name = error.name(), %error, "the job cannot start");
            return ExitCode::from(error.exit_code());
        }
    };
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => Execution::Terminated,
            _ = interrupt.recv() => Execution::Terminated,
        }
        .into()
    };
    let span = logging::work_span("runner", &input.trace_id, &input.scan_id.to_string());
    match job::run(&context, &input, stop).instrument(span).await {
        Ok(output) => {
            tracing::info!(outcome = output.outcome.as_str(), findings = output.findings, "job is done");
            ExitCode::SUCCESS
        }
        Err(error) => {
            diagnostic(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
