//! What is made of the arguments themselves: completions for shells, and manual pages.

use crate::args::Args;
use anyhow::{Context, bail};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// The script that a shell reads.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "dunlin", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The page (roff) of the program, or of the command at the end of `path`.
pub fn manual(path: &[String]) -> anyhow::Result<String> {
    let mut command = Args::command();
    command.build();
    let mut name = "dunlin".to_owned();
    for word in path {
        let Some(inner) = command.find_subcommand(word) else {
            bail!("there is no command {:?}", [&name[..], word].join(" "));
        };
        name = format!("{name}-{word}");
        command = inner.clone();
    }
    // The page is called as one looks for it: `man dunlin-scan`.
    let page: Command = command.name(leaked(&name)).version(env!("CARGO_PKG_VERSION"));
    let mut roff = Vec::new();
    Man::new(page).render(&mut roff).context("the page could not be written")?;
    Ok(String::from_utf8_lossy(&roff).into_owned())
}

/// clap keeps names for as long as the program runs, and this one ends soon.
fn leaked(name: &str) -> &'static str {
    name.to_owned().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(shell);
            assert!(script.contains("dunlin") && script.contains("since") && script.contains("fail-on"), "{shell}");
            assert!(script.contains("withdraw") && script.contains("no-wait"), "{shell}");
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let page = manual(&[]).unwrap();
        assert!(page.contains(".TH dunlin 1") && page.contains("dunlin\\-scan"), "{page}");
        let page = manual(&["scan".into()]).unwrap();
        assert!(page.contains(".TH dunlin-scan 1") && page.contains("\\-\\-since"), "{page}");
        assert!(manual(&["credential".into(), "set".into()]).unwrap().contains("\\-\\-token\\-stdin"));
        let page = manual(&["prices".into(), "send".into()]).unwrap();
        assert!(page.contains(".TH dunlin-prices-send 1") && page.contains("\\-\\-no\\-wait"), "{page}");
        assert!(manual(&["scan".into(), "x".into()]).unwrap_err().to_string().contains("dunlin-scan x"));
    }
}
