//! What the engine prints: kept up to a bound, read to the end whatever it is, so that a chatty engine never blocks.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::JoinHandle,
};

/// Output on its way into a file.
pub struct Capture {
    task: JoinHandle<io::Result<()>>,
    seen: Arc<AtomicU64>,
    limit: u64,
    failed: Arc<AtomicBool>,
}

impl Capture {
    /// Reads `from` to its end and keeps the first `limit` bytes in the new file `into`.
    pub fn start(mut from: impl AsyncRead + Unpin + Send + 'static, into: PathBuf, limit: u64) -> io::Result<Self> {
        let mut file = File::options().write(true).create_new(true).open(into)?;
        let (seen, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, write_failed) = (seen.clone(), failed.clone());
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let read = from.read(&mut buffer).await?;
                if read == 0 {
                    return Ok(());
                }
                let before = count.fetch_add(read as u64, Ordering::Relaxed);
                let room = usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX).min(read);
                if !write_failed.load(Ordering::Relaxed) && file.write_all(&buffer[..room]).is_err() {
                    write_failed.store(true, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { task, seen, limit, failed })
    }

    pub fn is_too_long(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > self.limit
    }

    /// Waits for the end of the output; call it when every process that could write is gone. True when all of it was kept.
    pub async fn finish(mut self) -> bool {
        // A process that the kernel does not let go would hold the pipe for ever.
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), &mut self.task).await;
        if ended.is_err() {
            self.task.abort();
        }
        matches!(ended, Ok(Ok(Ok(())))) && !self.is_too_long() && !self.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_kept_up_to_the_bound_and_read_to_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let long = vec![b'x'; 1 << 20];
        let capture = Capture::start(io::Cursor::new(long), dir.path().join("long"), 1000).unwrap();
        assert!(!capture.finish().await);
        assert_eq!(std::fs::metadata(dir.path().join("long")).unwrap().len(), 1000);
        let capture = Capture::start(io::Cursor::new(b"all of it"), dir.path().join("short"), 9).unwrap();
        assert!(capture.finish().await);
        assert_eq!(std::fs::read(dir.path().join("short")).unwrap(), b"all of it");
    }
}
