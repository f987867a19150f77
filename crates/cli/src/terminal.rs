//! The one place that writes to standard output and standard error, and asks questions.

use crate::{error::ClientError, render::Style, text};
use anyhow::{Context, bail};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};

pub struct Terminal {
    pub out_is_terminal: bool,
    pub err_is_terminal: bool,
    pub out: Style,
    pub err: Style,
}

impl Terminal {
    /// Colours only where a person looks, and not where <https://no-color.org> is asked for.
    pub fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let capable = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            out_is_terminal: out,
            // A terminal that cannot move its cursor gets lines.
            err_is_terminal: err && capable,
            out: Style { colour: out && wanted && capable },
            err: Style { colour: err && wanted && capable },
        }
    }

    /// Results. A reader that has seen enough (`| head`) is no error.
    pub fn print(&self, text: &str) -> io::Result<()> {
        quiet_pipe(io::stdout().lock().write_all(text.as_bytes()))
    }

    /// Notes for people. There is nowhere to report a failure to write them.
    pub fn note(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    pub fn warning(&self, line: &str) {
        self.note(&format!("{} {line}", self.err.yellow("warning:")));
    }

    /// The error and what led to it, one line each.
    pub fn error(&self, error: &anyhow::Error) {
        let mut lines = vec![format!("{} {}", self.err.red("error:"), text::clean_line(&error.to_string()))];
        lines.extend(error.chain().skip(1).map(|cause| format!("  because: {}", text::clean_line(&cause.to_string()))));
        let details = error.downcast_ref::<ClientError>().map(ClientError::details).unwrap_or_default();
        lines.extend(details.iter().map(|detail| format!("  {}", text::clean_line(detail))));
        self.note(&lines.join("\n"));
    }

    /// Asks on the terminal.
    pub fn ask(&self, question: &str) -> anyhow::Result<String> {
        self.asked(question, |terminal| terminal.read_line())
    }

    /// Asks without showing what is typed.
    pub fn ask_secret(&self, question: &str) -> anyhow::Result<String> {
        self.asked(question, |terminal| terminal.read_secure_line())
    }

    fn asked(&self, question: &str, read: impl Fn(&console::Term) -> io::Result<String>) -> anyhow::Result<String> {
        let terminal = console::Term::stderr();
        terminal.write_str(&format!("{question}: ")).context("the question could not be shown")?;
        let answer = read(&terminal).context("the answer could not be read")?;
        match answer.trim_end_matches(['\r', '\n']) {
            "" => bail!("nothing was typed"),
            answer => Ok(answer.to_owned()),
        }
    }

    /// A person can be asked: both ends are terminals.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// A secret piped in. Only the line end is cut: a secret may end in a space.
    pub fn read_secret_from_stdin(&self, what: &str) -> anyhow::Result<String> {
        let mut secret = String::new();
        let limit = 64 * 1024;
        io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut secret)
            .with_context(|| format!("the {what} on standard input could not be read"))?;
        match secret.trim_end_matches(['\r', '\n']) {
            "" => bail!("standard input holds no {what}"),
            one if one.contains('\n') => bail!("standard input holds more than one line; only the {what} is expected"),
            one => Ok(one.to_owned()),
        }
    }
}

pub fn quiet_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
