//! `dunlin login`: the server says where its user pool is, the pool gives tokens, the file keeps them.

use crate::{
    api,
    args::Login,
    cognito::{SignIn, UserPool},
    config::{Config, ConfigFile},
    http,
    outcome::Outcome,
    terminal::Terminal,
};
use anyhow::{Context, bail};
use time::OffsetDateTime;

pub async fn run(args: Login, file: ConfigFile, terminal: &Terminal) -> anyhow::Result<Outcome> {
    // A broken file is replaced by what comes now, so it must not stop the one command that repairs it.
    let known = file.read().unwrap_or_default();
    let endpoint = args.endpoint.or_else(|| known.as_ref().map(|config| config.endpoint.clone()));
    let Some(endpoint) = endpoint else { bail!("no server is known yet; give its address with --endpoint URL") };
    let base = http::endpoint(&endpoint)?;
    let http = http::api_client()?;
    let health =
        api::health(&http, &base).await.with_context(|| format!("{base} does not answer like a Dunlin server"))?;

    let username = match args.username {
        Some(username) => username,
        None if terminal.can_ask() => terminal.ask("User name")?,
        None => bail!("there is no terminal to ask on; give the user name with --username"),
    };
    let password = if args.password_stdin {
        terminal.read_secret_from_stdin("password")?
    } else if terminal.can_ask() {
        terminal.ask_secret("Password")?
    } else {
        bail!("there is no terminal to ask on; pipe the password in and use --password-stdin")
    };

    let pool = UserPool::discovered(&http, &health.auth);
    let session = match pool.sign_in(&username, &password, OffsetDateTime::now_utc()).await? {
        SignIn::Done(session) => session,
        SignIn::NewPasswordRequired { state } => {
            if args.password_stdin || !terminal.can_ask() {
                bail!(
                    "this account needs a new password first; run `dunlin login` on a terminal, without --password-stdin"
                );
            }
            terminal.note("This account needs a new password.");
            let new = terminal.ask_secret("New password")?;
            if terminal.ask_secret("New password again")? != new {
                bail!("the two passwords differ; nothing was changed");
            }
            pool.set_first_password(&username, &new, &state, OffsetDateTime::now_utc()).await?
        }
    };
    let config = Config {
        endpoint: base.as_str().trim_end_matches('/').to_owned(),
        username: Some(username.clone()),
        session: Some(session),
    };
    file.write(&config)?;
    terminal.note(&format!(
        "signed in to {} as {username}; the session is in {}",
        config.endpoint,
        file.path().display()
    ));
    Ok(Outcome::Clean)
}
