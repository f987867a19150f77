//! The functions of a batch as processes of their own, which can be killed.

use super::files::FileObjects;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_ingest::Limits;
use dunlin_store::{DatabaseConfig, Password, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Set for a test that is to be such a process.
pub const JOB: &str = "DUNLIN_TEST_INGEST_JOB";

/// Shorter than any timeout that would end a step by itself.
const NEVER_LONGER: Duration = Duration::from_secs(15);

/// Before these words a line may have what the test harness says.
const RETURNED: &str = "the step has returned";
const ANSWER: &str = "answer: ";
const FAILED: &str = "failed: ";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The inspector, with a file that it does not leave to others.
    AtOnce,
    Load(u32),
    Finish,
}

/// One step of a batch.
#[derive(Serialize, Deserialize)]
pub struct Job {
    host: String,
    port: u16,
    database: String,
    user: String,
    password: Option<String>,
    application: String,
    folder: PathBuf,
    stalls_after: Option<usize>,
    client_check: Duration,
    batch: PriceBatchMessage,
    step: Step,
}

impl Job {
    pub fn new(config: &DatabaseConfig, folder: PathBuf, batch: &PriceBatchMessage, step: Step) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let password = match &config.password {
            Password::Static(secret) => Some(secret.expose().to_owned()),
            _ => None,
        };
        Self {
            host: config.host.clone(),
            port: config.port,
            database: config.name.clone(),
            user: config.user.clone(),
            password,
            application: format!("child-{}", LAST.fetch_add(1, Ordering::Relaxed)),
            folder,
            stalls_after: None,
            client_check: DatabaseConfig::CLIENT_CHECK,
            batch: batch.clone(),
            step,
        }
    }

    pub fn stalling(self, bytes: Option<usize>) -> Self {
        Self { stalls_after: bytes, ..self }
    }

    /// After how long the server notices that it was killed; zero: when it has an answer.
    pub fn noticed_after(self, client_check: Duration) -> Self {
        Self { client_check, ..self }
    }

    /// What [`JOB`] asks for. Never comes back.
    pub fn become_it(job: &str) -> ! {
        let job: Self = serde_json::from_str(job).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let answer = runtime.block_on(job.run());
        let mut out = std::io::stdout();
        writeln!(out, "\n{RETURNED}").unwrap();
        out.flush().unwrap();
        // Until the answer is wanted.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
        std::process::exit(0)
    }

    async fn run(self) -> String {
        let config = DatabaseConfig {
            password: self.password.map_or(Password::None, |text| Password::Static(Secret::new(text))),
            application: self.application,
            client_check: self.client_check,
            ..DatabaseConfig::new(self.host, self.port, self.database, self.user)
        };
        let objects: Arc<dyn ObjectStore> =
            Arc::new(FileObjects { folder: self.folder, stalls_after: self.stalls_after });
        let answer = match self.step {
            Step::AtOnce => {
                let limits = Limits { lambda_bytes: u64::MAX, at_once_bytes: u64::MAX };
                let ended = dunlin_ingest::inspect(&objects, &config, &self.batch, limits).await;
                ended.map(|output| serde_json::to_string(&output))
            }
            Step::Load(range) => {
                let loaded = dunlin_ingest::load(&objects, &config, &self.batch, range).await;
                loaded.map(|output| serde_json::to_string(&output))
            }
            Step::Finish => {
                let finished = dunlin_ingest::finish(&objects, &config, &self.batch).await;
                finished.map(|output| serde_json::to_string(&output))
            }
        };
        match answer {
            Ok(output) => format!("{ANSWER}{}", output.unwrap()),
            Err(error) => format!("{FAILED}{:?} {error:?}", error.kind()),
        }
    }

    pub fn start(self) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process", "--nocapture", "--test-threads=1"])
            .env(JOB, serde_json::to_string(&self).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { application: self.application, child, lines, has_returned: false }
    }
}

pub struct Process {
    /// What the server calls its session.
    pub application: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    has_returned: bool,
}

impl Process {
    /// Every effect is there, and nobody was told.
    pub async fn returned(&mut self) {
        while !self.has_returned {
            let line = timeout(NEVER_LONGER, self.lines.next_line()).await.expect("the process does not end").unwrap();
            self.has_returned = line.expect("the process ended without a word") == RETURNED;
        }
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub async fn kill(mut self) {
        assert!(self.is_alive(), "nothing was left to kill");
        // SIGKILL; and waits for the end.
        self.child.kill().await.unwrap();
        assert_eq!(self.child.wait().await.unwrap().signal(), Some(9));
    }

    /// Its answer, or the words of its error.
    pub async fn answer(mut self) -> Result<Value, String> {
        self.returned().await;
        drop(self.child.stdin.take());
        let line = self.lines.next_line().await.unwrap().unwrap();
        assert!(self.child.wait().await.unwrap().success());
        match line.strip_prefix(ANSWER) {
            Some(answer) => Ok(serde_json::from_str(answer).unwrap()),
            None => Err(line.strip_prefix(FAILED).unwrap().to_owned()),
        }
    }
}
