//! Ctrl-C while a scan is followed: the first explains, the second ends the program.

use crate::outcome::Outcome;
use tokio::sync::mpsc;

/// Delivers the first Ctrl-C. The second, or the first after the receiver is gone, ends the process: nothing may hang then.
pub fn listen() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut explained = false;
        while tokio::signal::ctrl_c().await.is_ok() {
            if explained || sender.send(()).await.is_err() {
                std::process::exit(Outcome::Incomplete as i32);
            }
            explained = true;
        }
    });
    receiver
}
