//! The stack that `make test` has started, as its environment file describes it.

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, SdkConfig};
use std::{path::PathBuf, process::Command};
use tokio_postgres::NoTls;

pub struct Cloud {
    pub config: SdkConfig,
    pub objects: aws_sdk_s3::Client,
    pub queues: aws_sdk_sqs::Client,
    pub workflows: aws_sdk_sfn::Client,
    pub batch: aws_sdk_batch::Client,
}

/// A value of the stack's environment file, which `make test` exports.
pub fn value(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| {
        format!("{name} is not set: end-to-end tests run through `make test`, or after `make up STACK=test` and `. .local/test/env`")
    })
}

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

impl Cloud {
    pub async fn connect() -> Result<Self> {
        value("AWS_ENDPOINT_URL")?;
        let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Ok(Self {
            objects: aws_sdk_s3::Client::from_conf(s3),
            queues: aws_sdk_sqs::Client::new(&config),
            workflows: aws_sdk_sfn::Client::new(&config),
            batch: aws_sdk_batch::Client::new(&config),
            config,
        })
    }

    /// A connection to the stack's database, for looking at rows.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::connect(&value("DATABASE_URL")?, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub async fn object(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.objects.get_object().bucket(value("DATA_BUCKET")?).key(key).send().await {
            Ok(object) => Ok(Some(object.body.collect().await?.to_vec())),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_no_such_key()) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Ids of this scan's Batch jobs with their states.
    pub async fn batch_jobs(&self, scan: &str) -> Result<Vec<(String, String)>> {
        self.jobs_of("jobs", &format!("{scan}-*")).await
    }

    /// Ids of the Batch jobs that load this price batch, with their states.
    pub async fn load_jobs(&self, batch: &str) -> Result<Vec<(String, String)>> {
        self.jobs_of("loads", &format!("load-{batch}-*")).await
    }

    async fn jobs_of(&self, queues: &str, names: &str) -> Result<Vec<(String, String)>> {
        let mut jobs = Vec::new();
        for queue in ["spot", "ondemand"] {
            let filter = aws_sdk_batch::types::KeyValuesPair::builder().name("JOB_NAME").values(names).build();
            let queue = format!("dunlin-{}-{queues}-{queue}", value("DUNLIN_ENV")?);
            let page = self.batch.list_jobs().job_queue(queue).filters(filter).send().await?;
            for job in page.job_summary_list() {
                let state = job.status().map(|s| s.as_str().to_owned()).unwrap_or_default();
                jobs.push((job.job_id().unwrap_or_default().to_owned(), state));
            }
        }
        Ok(jobs)
    }

    /// Whether Batch runs jobs as a `container` or as a `process` from now on.
    pub async fn batch_mode(&self, mode: &str) -> Result<()> {
        self.control("mode", serde_json::json!({ "mode": mode })).await
    }

    /// Tells the emulator that the machine under a job went away, as Spot does.
    pub async fn interrupt(&self, job: &str) -> Result<()> {
        self.control("interrupt", serde_json::json!({ "jobId": job })).await
    }

    async fn control(&self, what: &str, body: serde_json::Value) -> Result<()> {
        let url = format!("{}/_dunlin/batch/{what}", value("AWS_ENDPOINT_URL")?);
        let answer = reqwest::Client::new().post(url).json(&body).send().await?;
        if !answer.status().is_success() {
            bail!("{what} {body} was refused: {}", answer.text().await?);
        }
        Ok(())
    }
}

/// Runs a verb of the local cloud on this stack.
pub fn local_cloud(arguments: &[&str]) -> Result<String> {
    let output = Command::new("python3")
        .arg("infra/local/cloud.py")
        .args(arguments)
        .args(["--stack", &value("DUNLIN_STACK")?])
        .current_dir(repository())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("cloud.py {} failed: {text}", arguments.join(" "));
    }
    Ok(text)
}
