//! `dunlin webhook`.

use crate::{api::Api, args::Webhook, outcome::Outcome, terminal::Terminal, text};
use anyhow::Context;
use dunlin_contracts::api::WebhookPut;

pub async fn run(command: Webhook, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    match command {
        Webhook::Set { url } => {
            let created = api.put_webhook(&WebhookPut { url }).await.context("the webhook was not set")?;
            terminal.note("the webhook is set; this key signs what is sent, and is shown only now:");
            terminal
                .print(&format!("{}\n", text::clean(&created.signing_key)))
                .context("the key could not be printed")?;
        }
        Webhook::Delete => {
            api.delete_webhook().await.context("the webhook was not deleted")?;
            terminal.note("the webhook is deleted");
        }
    }
    Ok(Outcome::Clean)
}
