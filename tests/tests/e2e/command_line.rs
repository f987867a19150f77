//! `dunlin` as a person runs it.

use crate::weak_python;
use anyhow::{Context, Result, ensure};
use dunlin_tests::cloud::{repository, value};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

pub struct Person {
    home: tempfile::TempDir,
}

impl Person {
    pub fn signed_in() -> Result<Self> {
        let person = Self { home: tempfile::tempdir()? };
        let mut child = person
            .command(Path::new("."))
            .args([
                "login",
                "--endpoint",
                &value("DUNLIN_API_URL")?,
                "--username",
                &value("DEMO_USER")?,
                "--password-stdin",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no stdin")?.write_all(value("DEMO_PASSWORD")?.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(person)
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(program());
        command.current_dir(folder).env("DUNLIN_CONFIG", self.home.path().join("config.toml")).env("NO_COLOR", "1");
        // For scans on this machine.
        command.env("XDG_CACHE_HOME", self.home.path()).env("DUNLIN_ENGINES_DIR", repository().join(".local/engines"));
        command
    }

    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Result<(i32, String, String)> {
        let Output { status, stdout, stderr } = self.command(folder).args(arguments).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((status.code().unwrap_or(-1), text(stdout), text(stderr)))
    }
}

/// Built by `cargo build --workspace --bins`, which the stack's start does first.
fn program() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors().nth(2).map(|folder| folder.join("dunlin")).unwrap_or_default()
}

fn work_tree(files: &[(&str, &str)]) -> Result<(tempfile::TempDir, PathBuf)> {
    let empty = tempfile::tempdir()?;
    work_tree_of(empty.path(), files)
}

/// A copy of a folder, with more files, that git tracks.
pub fn work_tree_of(base: &Path, files: &[(&str, &str)]) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("shop");
    ensure!(Command::new("cp").arg("-r").arg(base).arg(&root).status()?.success());
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, content)?;
    }
    for arguments in [&["init", "-q", "-b", "main"][..], &["add", "-A"]] {
        ensure!(Command::new("git").args(arguments).current_dir(&root).status()?.success());
    }
    Ok((folder, root))
}

#[test]
fn the_weak_application_is_scanned_and_the_second_time_nothing_runs() -> Result<()> {
    let person = Person::signed_in()?;
    let folder = repository();
    let arguments = ["scan", "tests/apps/weak-app", "--no-progress", "--name", "weak application"];
    let (code, first, errors) = person.run(&folder, &arguments)?;
    // Its `.dunlin.toml` says `fail_on = "high"`.
    ensure!(code == 1, "{code}\n{first}\n{errors}");
    for words in ["ruff", "gitleaks", "trivy", "zizmor", "eslint"] {
        ensure!(first.contains(words), "no {words} in:\n{first}");
    }
    let (code, second, errors) = person.run(&folder, &arguments)?;
    ensure!(code == 1 && (second.clone() + &errors).contains("no engine ran"), "{code}\n{second}\n{errors}");
    Ok(())
}

#[test]
fn exit_codes_say_what_happened() -> Result<()> {
    let person = Person::signed_in()?;
    let python = weak_python(1);
    let (_keep, root) = work_tree(&[("app.py", &python)])?;
    let (code, out, errors) = person.run(&root, &["scan", ".", "--no-progress", "--engines", "ruff"])?;
    ensure!(code == 0, "{code}\n{out}\n{errors}");
    let (code, ..) = person.run(&root, &["scan", ".", "--no-progress", "--engines", "ruff", "--fail-on", "low"])?;
    ensure!(code == 1, "findings at or above low: {code}");
    let (code, _, errors) = person.run(&root, &["scan", "--engines", "nessus", "."])?;
    ensure!(code == 3 && errors.contains("nessus"), "{code}\n{errors}");
    let (code, _, errors) = person.run(&root, &["scan", "/nonexistent"])?;
    ensure!(code == 3 && errors.contains("/nonexistent"), "{code}\n{errors}");

    let (_keep, root) = work_tree(&[("app.py", &weak_python(1))])?;
    let _crash = dunlin_tests::engines::replace("ruff", "exit 99")?;
    let (code, out, errors) =
        person.run(&root, &["scan", ".", "--no-progress", "--engines", "ruff", "--fail-on", "low"])?;
    ensure!(code == 2, "incomplete: {code}\n{out}\n{errors}");
    Ok(())
}

#[test]
fn reports_are_written_where_they_are_wanted() -> Result<()> {
    let person = Person::signed_in()?;
    let (_keep, root) = work_tree(&[("app.py", &weak_python(2))])?;
    for format in ["sarif", "json", "csv"] {
        let file = root.join(format!("../report.{format}"));
        let output = file.to_str().context("not utf-8")?;
        let (code, out, errors) = person
            .run(&root, &["scan", ".", "--no-progress", "--engines", "ruff", "--format", format, "--output", output])?;
        ensure!(code == 0, "{code}\n{out}\n{errors}");
        let report = fs::read_to_string(&file)?;
        ensure!(report.contains("app.py"), "{format}: {report}");
    }
    let (code, scans, _) = person.run(&root, &["scans"])?;
    ensure!(code == 0 && scans.contains("complete"), "{scans}");
    Ok(())
}

/// README's next step: a shell that has read the stack's file needs nothing else.
#[test]
fn a_shell_with_the_stack_file_is_signed_in() -> Result<()> {
    let file = repository().join(".local").join(value("DUNLIN_STACK")?).join("env");
    let program = program();
    let output = Command::new("sh")
        .args(["-c", ". \"$0\" && exec \"$1\" scans"])
        .args([&file, &program])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    Ok(())
}
