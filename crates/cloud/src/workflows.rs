use crate::{BatchJobs, CloudError, StartOutcome, WorkflowState, Workflows};
use async_trait::async_trait;
use aws_sdk_batch::types::{JobStatus, KeyValuesPair};
use aws_sdk_sfn::{error::SdkError, types::ExecutionStatus};
use futures::{StreamExt, TryStreamExt, stream};

/// Calls to Batch at once, well under its rate limits.
const CALLS_AT_ONCE: usize = 8;

/// [`Workflows`] on one Step Functions state machine.
#[derive(Clone)]
pub struct StepFunctions {
    client: aws_sdk_sfn::Client,
    state_machine_arn: String,
}

impl StepFunctions {
    pub(crate) fn new(client: aws_sdk_sfn::Client, state_machine_arn: String) -> Self {
        Self { client, state_machine_arn }
    }

    fn execution_arn(&self, name: &str) -> String {
        format!("{}:{name}", self.state_machine_arn.replacen(":stateMachine:", ":execution:", 1))
    }
}

#[async_trait]
impl Workflows for StepFunctions {
    async fn start(&self, name: &str, input: &str) -> Result<StartOutcome, CloudError> {
        let answer = self
            .client
            .start_execution()
            .state_machine_arn(&self.state_machine_arn)
            .name(name)
            .input(input)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(StartOutcome::Started),
            Err(SdkError::ServiceError(e)) if e.err().is_execution_already_exists() => Ok(StartOutcome::AlreadyExists),
            Err(e) => Err(CloudError::from_sdk("states:StartExecution", e)),
        }
    }

    async fn state(&self, name: &str) -> Result<Option<WorkflowState>, CloudError> {
        match self.client.describe_execution().execution_arn(self.execution_arn(name)).send().await {
            Ok(answer) if *answer.status() == ExecutionStatus::Running => Ok(Some(WorkflowState::Running)),
            Ok(_) => Ok(Some(WorkflowState::Ended)),
            Err(SdkError::ServiceError(e)) if e.err().is_execution_does_not_exist() => Ok(None),
            Err(e) => Err(CloudError::from_sdk("states:DescribeExecution", e)),
        }
    }

    async fn stop(&self, name: &str, cause: &str) -> Result<(), CloudError> {
        let answer = self
            .client
            .stop_execution()
            .execution_arn(self.execution_arn(name))
            .error("Dunlin.Cancelled")
            .cause(cause)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_execution_does_not_exist() => Ok(()),
            // Already ended. (Step Functions answers ValidationException for it.)
            Err(SdkError::ServiceError(e)) if e.err().is_validation_exception() => Ok(()),
            Err(e) => Err(CloudError::from_sdk("states:StopExecution", e)),
        }
    }
}

/// [`BatchJobs`] over the given job queues.
#[derive(Clone)]
pub struct AwsBatchJobs {
    client: aws_sdk_batch::Client,
    queues: Vec<String>,
}

impl AwsBatchJobs {
    pub(crate) fn new(client: aws_sdk_batch::Client, queues: Vec<String>) -> Self {
        Self { client, queues }
    }
}

#[async_trait]
impl BatchJobs for AwsBatchJobs {
    async fn terminate_all(&self, prefix: &str, reason: &str) -> Result<usize, CloudError> {
        let mut found = Vec::new();
        for queue in &self.queues {
            // With a name filter, ListJobs answers jobs of every state (AWS Batch API, "ListJobs").
            let filter = KeyValuesPair::builder().name("JOB_NAME").values(format!("{prefix}*")).build();
            let mut pages = self.client.list_jobs().job_queue(queue).filters(filter).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| CloudError::from_sdk("batch:ListJobs", e))?;
                for job in page.job_summary_list() {
                    if matches!(job.status(), Some(JobStatus::Succeeded | JobStatus::Failed)) {
                        continue;
                    }
                    found.extend(job.job_id().map(str::to_owned));
                }
            }
        }
        // A scan has up to 60 jobs, and whoever cancels it waits for the answer.
        let terminate = |id: String| {
            let call = self.client.terminate_job().job_id(id).reason(reason).send();
            async move { call.await.map(drop).map_err(|e| CloudError::from_sdk("batch:TerminateJob", e)) }
        };
        stream::iter(found)
            .map(terminate)
            .buffer_unordered(CALLS_AT_ONCE)
            .try_fold(0, |terminated, ()| async move { Ok(terminated + 1) })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::Server;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn the_jobs_of_a_large_scan_are_terminated_side_by_side() {
        const DELAY: Duration = Duration::from_millis(100);
        let server = Server::start(DELAY, |_, line| match line.contains("listjobs") {
            true => {
                let status = |n: usize| if n == 0 { "SUCCEEDED" } else { "RUNNING" };
                let jobs: Vec<String> = (0..41)
                    .map(|n| format!(r#"{{"jobId":"j{n}","jobName":"s-{n}","status":"{}"}}"#, status(n)))
                    .collect();
                (200, format!(r#"{{"jobSummaryList":[{}]}}"#, jobs.join(",")))
            }
            false => (200, "{}".to_owned()),
        })
        .await;
        let config = aws_sdk_batch::Config::builder()
            .behavior_version(aws_sdk_batch::config::BehaviorVersion::latest())
            .region(aws_sdk_batch::config::Region::new("eu-central-1"))
            .credentials_provider(aws_credential_types::Credentials::new("id", "key", None, None, "test"))
            .endpoint_url(server.url())
            .build();
        let jobs = AwsBatchJobs::new(aws_sdk_batch::Client::from_conf(config), vec!["spot".to_owned()]);
        let started = Instant::now();
        assert_eq!(jobs.terminate_all("s-", "cancelled").await.unwrap(), 40, "the one that has ended is left alone");
        assert_eq!(server.requests(), 41);
        // One after the other takes four seconds, eight at once half of one.
        assert!(started.elapsed() < 20 * DELAY, "{:?}", started.elapsed());
    }
}
