//! Ways to tell somebody. Each is one file with a pure builder of its payload and this trait.

pub mod webhook;

use crate::notice::Notice;
use async_trait::async_trait;
use dunlin_cloud::CloudError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Delivered,
    /// The organisation does not use this channel.
    NotConfigured,
}

/// Texts are for operators and hold no URL: it may carry a secret.
#[derive(Debug)]
pub enum Failure {
    /// The receiver did not answer, or asked to come back later.
    Again(String),
    /// The receiver refused, or must not be connected to.
    ForGood(String),
    /// What is known of the receiver could not be read: nothing of the receiver's, and nothing is given up for it.
    Ours(CloudError),
}

#[async_trait]
pub trait Channel: Send + Sync {
    /// Lower-case word; part of the marker's key.
    fn name(&self) -> &'static str;
    /// May be called again with the same, when the marker could not be written: the receiver must be able to tell.
    async fn tell(&self, notice: &Notice) -> Result<Sent, Failure>;
}
