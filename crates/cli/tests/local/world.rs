//! A repository, a folder of engines and a cache, each of its own.

use dunlin_cli::engines;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Writes what `grep` finds in the files that the engine sees as SARIF. `$1` of the manifest's command line is no matter.
pub const GREP_PYTHON: &str = r#"#!/bin/sh
out=
while [ $# -gt 0 ]; do
    [ "$1" = --output-file ] && out=$2
    shift
done
{
    printf '{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"ruff"}},"results":['
    grep -rn 'eval(' --include='*.py' . | sort | awk -F: '{
        if (NR > 1) printf ",";
        sub(/^\.\//, "", $1);
        printf "{\"ruleId\":\"S307\",\"message\":{\"text\":\"eval is used\"},\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{\"uri\":\"%s\"},\"region\":{\"startLine\":%d}}}]}", $1, $2
    }'
    printf ']}]}'
} > "$out"
grep -rq 'eval(' --include='*.py' . && exit 1
exit 0
"#;

/// ShellCheck's report, one comment for each file.
const READ_SHELL: &str = r#"#!/bin/sh
printf '{"comments":['
comma=
for file in "$@"; do
    case "$file" in -*) continue;; esac
    grep -q rm "$file" || continue
    printf '%s{"file":"%s","line":1,"endLine":1,"column":1,"endColumn":2,"level":"warning","code":2115,"message":"dangerous"}' "$comma" "$file"
    comma=,
done
printf ']}'
[ -n "$comma" ] && exit 1
exit 0
"#;

pub struct World {
    pub dir: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// A repository of three files in one commit, and two engines: ruff and shellcheck.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dunlin-local-test-").tempdir().unwrap();
        let world = Self { dir };
        for folder in ["home", "tmp", "engines"] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        world.engine("ruff", GREP_PYTHON);
        world.engine("shellcheck", READ_SHELL);
        world.write("app/main.py", "import os\n\n\ndef run(given):\n    return eval(given + os.sep)\n");
        world.write("app/clean.py", "print('fine')\n");
        world.write("deploy.sh", "rm -rf $1\n");
        git(&world.repo(), &["init", "-q", "-b", "trunk"]);
        git(&world.repo(), &["remote", "add", "origin", "git@example.com:acme/shop.git"]);
        world.commit("first");
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn commit(&self, message: &str) {
        git(&self.repo(), &["add", "-A"]);
        git(&self.repo(), &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", message]);
    }

    /// Installs an engine of the catalog whose program is this script.
    pub fn engine(&self, name: &str, script: &str) {
        let program = self.path("engines").join(name).join("bin").join(name);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        // Written beside and renamed: a script that runs may not be written to.
        let new = program.with_extension("new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, program).unwrap();
        let manifest = dunlin_engines::find(name).unwrap();
        let stamp = self.path("engines").join(name).join(engines::STAMP);
        fs::write(stamp, engines::stamp_for(manifest)).unwrap();
    }

    pub fn remove_engine(&self, name: &str) {
        fs::remove_dir_all(self.path("engines").join(name)).unwrap();
    }

    /// `dunlin scan --local <repo> --engines ruff,shellcheck` and what else is wanted.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["scan", "--local"]).arg(self.repo());
        if !args.contains(&"--engines") {
            command.args(["--engines", "ruff,shellcheck"]);
        }
        command
            .args(args)
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("TMPDIR", self.path("tmp"))
            .env("DUNLIN_ENGINES_DIR", self.path("engines"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn scan(&self, args: &[&str]) -> Run {
        finished(self.command(args).spawn().unwrap())
    }

    /// The findings as `path:line`, from the JSON report, and the exit code.
    pub fn places(&self, args: &[&str]) -> (i32, Vec<String>) {
        let run = self.scan(&[args, &["--format", "json"]].concat());
        let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        let mut places: Vec<String> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| format!("{}:{}", finding["path"].as_str().unwrap(), finding["start_line"]))
            .collect();
        places.sort();
        (run.code, places)
    }

    /// What a scan leaves in the folder for temporary files.
    pub fn left_over(&self) -> Vec<String> {
        fs::read_dir(self.path("tmp")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

pub fn finished(child: std::process::Child) -> Run {
    let output = child.wait_with_output().unwrap();
    let run = Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!run.err.contains("panicked"), "{}", run.err);
    run
}

pub fn git(root: &Path, args: &[&str]) -> String {
    fs::create_dir_all(root).unwrap();
    let output = Command::new("git").arg("-C").arg(root).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
