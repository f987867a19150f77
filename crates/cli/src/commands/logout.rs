//! `dunlin logout`: the tokens are revoked and forgotten; the address stays for the next login.

use crate::{cognito::UserPool, config::ConfigFile, http, outcome::Outcome, terminal::Terminal, text};

pub async fn run(file: ConfigFile, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let Some(mut config) = file.read()? else {
        terminal.note("you were not signed in");
        return Ok(Outcome::Clean);
    };
    let Some(session) = config.session.take() else {
        terminal.note("you were not signed in");
        return Ok(Outcome::Clean);
    };
    // First the part that cannot fail for reasons of others.
    file.write(&config)?;
    terminal.note(&format!("signed out of {}", text::clean(&config.endpoint)));
    if let Some(refresh_token) = &session.refresh_token {
        let http = http::api_client()?;
        if let Err(error) = UserPool::of_session(&http, &session).revoke(refresh_token).await {
            terminal.warning(&format!(
                "the session was forgotten here but could not be revoked at the server: {}",
                text::clean_line(&error.to_string())
            ));
        }
    }
    Ok(Outcome::Clean)
}
