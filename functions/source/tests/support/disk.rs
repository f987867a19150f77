//! Objects as files, and how much memory this process uses: for snapshots that a test must not hold in memory itself.

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_cloud::{CloudError, Completion, ObjectInfo, ObjectReader, ObjectStore, PutOutcome, UploadSlot};
use dunlin_contracts::plan::PresignedPut;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub struct DiskObjects {
    root: tempfile::TempDir,
}

impl DiskObjects {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, key: &str) -> PathBuf {
        let path = self.root.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

#[async_trait]
impl ObjectStore for DiskObjects {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CloudError> {
        Ok(fs::read(self.path(key)).ok().map(Bytes::from))
    }
    async fn get_stream(&self, key: &str) -> Result<Option<(ObjectInfo, ObjectReader)>, CloudError> {
        let Ok(file) = fs::File::open(self.path(key)) else { return Ok(None) };
        let info = ObjectInfo { bytes: file.metadata().unwrap().len(), etag: String::new() };
        Ok(Some((info, Box::new(tokio::fs::File::from_std(file)))))
    }
    async fn get_range(&self, _: &str, _: &str, _: u64, _: u64) -> Result<ObjectReader, CloudError> {
        panic!("the function reads no ranges")
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, CloudError> {
        Ok(fs::metadata(self.path(key)).ok().map(|m| ObjectInfo { bytes: m.len(), etag: String::new() }))
    }
    async fn put(&self, key: &str, body: Bytes, _content_type: &str) -> Result<(), CloudError> {
        fs::write(self.path(key), body).unwrap();
        Ok(())
    }
    async fn put_new(&self, key: &str, body: Bytes, content_type: &str) -> Result<PutOutcome, CloudError> {
        if self.path(key).exists() {
            return Ok(PutOutcome::Exists);
        }
        self.put(key, body, content_type).await?;
        Ok(PutOutcome::Created)
    }
    async fn put_file(&self, key: &str, path: &Path, _content_type: &str) -> Result<(), CloudError> {
        fs::copy(path, self.path(key)).unwrap();
        Ok(())
    }
    async fn presign_get(&self, _: &str, _: Duration) -> Result<String, CloudError> {
        panic!("the function makes no URLs")
    }
    async fn presign_put(&self, _: &str, _: bool, _: Duration) -> Result<PresignedPut, CloudError> {
        panic!("the function makes no URLs")
    }
    async fn presign_upload(&self, _: &str, _: u64, _: &str, _: Duration) -> Result<UploadSlot, CloudError> {
        panic!("the function makes no URLs")
    }
    async fn presign_new(&self, _: &str, _: u64, _: Duration) -> Result<UploadSlot, CloudError> {
        panic!("the function makes no URLs")
    }
    async fn create_multipart(&self, _: &str) -> Result<String, CloudError> {
        panic!("the function uploads nothing in parts")
    }
    async fn presign_part(&self, _: &str, _: &str, _: u32, _: u64, _: Duration) -> Result<UploadSlot, CloudError> {
        panic!("the function makes no URLs")
    }
    async fn complete_multipart(&self, _: &str, _: &str, _: &[String]) -> Result<Completion, CloudError> {
        panic!("the function uploads nothing in parts")
    }
    async fn abort_multipart(&self, _: &str, _: &str) -> Result<(), CloudError> {
        panic!("the function uploads nothing in parts")
    }
}

const ALONE: &str = "DUNLIN_TEST_ALONE";
/// What a fresh process holds before its test begins.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Runs the test `name` once more in a process of its own, and fails when it fails there: an allocator keeps what one test
/// gave back, and the next one would seem to need nothing. True: this is that run. False: it is done.
#[expect(
    clippy::print_stdout,
    reason = "the figures that docs/hostile-input.md tells, for whoever runs with --nocapture"
)]
pub fn in_own_process(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        BEFORE.get_or_init(anonymous_mib);
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "the test failed in a process of its own:\n{text}");
    text.lines().filter(|line| line.contains(" MiB for ")).for_each(|line| println!("{line}"));
    false
}

/// Watches what this process holds in memory of its own (`RssAnon`: a pack that is mapped from its file can be given back
/// at any time, and does not count).
pub struct Meter {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Meter {
    pub fn start() -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, highest) = (stop.clone(), peak.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                highest.fetch_max(anonymous_mib(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, peak, thread }
    }

    /// The most that was held meanwhile, above what the process held at its start, in MiB.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.peak.load(Ordering::Relaxed).saturating_sub(BEFORE.get().copied().unwrap_or(0))
    }
}

fn anonymous_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}
