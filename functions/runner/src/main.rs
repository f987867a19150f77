//! `runner` is a Lambda function, `runner batch` a job on Batch, and `runner sandbox` the process that becomes the engine.

use anyhow::{Context as _, bail};
use dunlin_engines::catalog;
use dunlin_execution::{sandbox::lockdown, supervise};
use dunlin_runner::{
    batch,
    context::{self, Context},
    handler,
};
use dunlin_runtime::{Env, logging};
use lambda_runtime::{LambdaEvent, service_fn};
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next();
    let mode = mode.as_deref().and_then(|mode| mode.to_str());
    if mode == Some("sandbox") {
        return Ok(lockdown::become_engine(arguments));
    }
    logging::init("runner");
    supervise::prepare_process().context("the process cannot be protected")?;
    // One thread starts every engine: an engine dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match mode {
        Some("batch") => Ok(runtime.block_on(batch::run(context::from_batch(Env::process(), catalog())))),
        None if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() => {
            let mut env = Env::process();
            let context = Context::for_lambda(&mut env, catalog());
            let context = &env.finish(context)?;
            let function = service_fn(move |event: LambdaEvent<_>| handler::handle(context, event));
            runtime.block_on(lambda_runtime::run(function)).map_err(anyhow::Error::from_boxed)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("usage: runner batch, or without an argument on lambda"),
    }
}
