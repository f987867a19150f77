//! `dunlin credential`: tokens for private repositories, which go to the server and never come back.

use crate::{
    api::Api,
    args::{Credential, CredentialSet},
    outcome::Outcome,
    terminal::Terminal,
    text,
};
use anyhow::{Context, bail};
use dunlin_contracts::api::CredentialPut;

pub async fn run(command: Credential, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    match command {
        Credential::Set(set) => store(set, api, terminal).await?,
        Credential::Delete { name } => {
            api.delete_credential(&name).await.context("the credential was not deleted")?;
            terminal.note(&format!("credential {} is deleted", text::clean(&name)));
        }
    }
    Ok(Outcome::Clean)
}

async fn store(set: CredentialSet, api: &Api, terminal: &Terminal) -> anyhow::Result<()> {
    let token = if set.token_stdin {
        terminal.read_secret_from_stdin("token")?
    } else if terminal.can_ask() {
        terminal.ask_secret("Token")?
    } else {
        bail!("there is no terminal to ask on; pipe the token in and use --token-stdin")
    };
    let credential = CredentialPut { host: set.host, username: set.username, token };
    api.put_credential(&set.name, &credential).await.context("the credential was not stored")?;
    terminal.note(&format!("credential {} is stored for {}", text::clean(&set.name), text::clean(&credential.host)));
    Ok(())
}
