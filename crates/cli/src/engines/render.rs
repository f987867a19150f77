//! What `dunlin engines` prints.

use super::State;
use crate::{
    render::Style,
    text::{bytes, clean, clean_line},
};
use console::measure_text_width;
use dunlin_engines::{Category, EngineManifest};
use serde::Serialize;
use std::path::Path;

/// An engine and how it stands on this machine; also an element of `list --json`.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub title: &'a str,
    pub covers: &'a str,
    pub category: Category,
    /// Its findings never make a scan fail its threshold.
    pub advisory: bool,
    pub licence: &'a str,
    pub homepage: &'a str,
    pub state: State,
    /// Of the installed files.
    pub bytes: Option<u64>,
}

impl<'a> Listed<'a> {
    pub fn of(engine: &'a EngineManifest, folder: &Path) -> Self {
        let state = State::of(engine, folder);
        let bytes = (state != State::NotInstalled).then(|| super::size(&folder.join(&engine.name)).ok()).flatten();
        Self {
            name: &engine.name,
            version: &engine.version,
            title: &engine.title,
            covers: &engine.description,
            category: engine.category,
            advisory: engine.advisory,
            licence: &engine.licence,
            homepage: &engine.homepage,
            state,
            bytes,
        }
    }
}

/// A table with a line for each engine, and where they are.
pub fn list(engines: &[Listed<'_>], folder: &Path, style: Style) -> String {
    let heading = ["engine", "version", "state", "size", "findings", "licence", "looks at"].map(str::to_owned);
    let rows = engines.iter().map(|engine| {
        [
            engine.name.to_owned(),
            engine.version.to_owned(),
            engine.state.words().to_owned(),
            engine.bytes.map(bytes).unwrap_or_default(),
            if engine.advisory { "advisory" } else { "enforced" }.to_owned(),
            engine.licence.to_owned(),
            engine.covers.to_owned(),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<_> = (0..7)
            .map(|column| {
                let padding = " ".repeat(widths[column].saturating_sub(measure_text_width(&row[column])));
                match (number, column) {
                    (1.., 2) => format!("{}{padding}", paint(engines[number - 1].state, style)),
                    _ => format!("{}{padding}", row[column]),
                }
            })
            .collect();
        let line = cells.join("  ");
        text.push_str(&if number == 0 { style.dim(line.trim_end()) } else { line.trim_end().to_owned() });
        text.push('\n');
    }
    text.push_str(&format!("\nfolder: {}\n", clean(&folder.to_string_lossy())));
    text
}

fn paint(state: State, style: Style) -> String {
    match state {
        State::Installed => style.green(state.words()),
        State::OutOfDate => style.yellow(state.words()),
        State::NotInstalled => state.words().to_owned(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Ok,
    /// Not asked for by name, so nothing is wrong with it.
    NotInstalled,
    Wrong,
}

/// An element of `check --json`.
#[derive(Debug, Serialize)]
pub struct Checked<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub health: Health,
    /// What is wrong with it.
    pub problem: Option<String>,
}

pub fn checked(engines: &[Checked<'_>], style: Style) -> String {
    let line = |engine: &Checked<'_>| {
        let state = match engine.health {
            Health::Ok => style.green("ok"),
            Health::NotInstalled => "not installed".to_owned(),
            Health::Wrong => style.red(&clean_line(engine.problem.as_deref().unwrap_or("wrong"))),
        };
        format!("{} {}: {state}\n", engine.name, engine.version)
    };
    engines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed<'a>(name: &'a str, state: State, bytes: Option<u64>) -> Listed<'a> {
        Listed {
            name,
            version: "1.2.3",
            title: "T",
            covers: "Shell scripts",
            category: Category::Shell,
            advisory: name == "shellcheck",
            licence: "MIT",
            homepage: "https://example.org",
            state,
            bytes,
        }
    }

    #[test]
    fn a_table_of_engines() {
        let engines = [
            listed("ruff", State::Installed, Some(26 << 20)),
            listed("shellcheck", State::OutOfDate, Some(1_500)),
            listed("trivy", State::NotInstalled, None),
        ];
        insta::assert_snapshot!(list(&engines, Path::new("/srv/e\x1bngines"), Style::PLAIN), @r#"
        engine      version  state          size      findings  licence  looks at
        ruff        1.2.3    installed      26.0 MiB  enforced  MIT      Shell scripts
        shellcheck  1.2.3    out of date    1.5 KiB   advisory  MIT      Shell scripts
        trivy       1.2.3    not installed            enforced  MIT      Shell scripts

        folder: /srv/e\u{1b}ngines
        "#);
        assert!(list(&engines, Path::new("/x"), Style { colour: true }).contains("\x1b[33mout of date\x1b[0m"));
    }

    #[test]
    fn what_a_check_says() {
        let checked_engine = |health, problem: Option<&str>| Checked {
            name: "ruff",
            version: "1",
            health,
            problem: problem.map(str::to_owned),
        };
        let engines = [
            checked_engine(Health::Ok, None),
            checked_engine(Health::NotInstalled, None),
            checked_engine(Health::Wrong, Some("it says:\n\x1b[2J 2")),
        ];
        insta::assert_snapshot!(checked(&engines, Style::PLAIN), @r#"
        ruff 1: ok
        ruff 1: not installed
        ruff 1: it says: \u{1b}[2J 2
        "#);
    }
}
