//! `--since`: what is new, and what only moved.

use crate::world::{World, git};

const SINCE: [&str; 4] = ["--engines", "ruff", "--since", "HEAD"];

#[test]
fn only_what_is_new_is_told() {
    let world = World::new();
    assert!(world.places(&SINCE).1.is_empty(), "nothing has changed");
    // Moved lines, a renamed file, and one new finding.
    world.write("app/main.py", "import os\n# moved\n\n\n\ndef run(given):\n    return eval(given + os.sep)\n");
    assert!(world.places(&SINCE).1.is_empty(), "the lines have only moved");
    world.write("app/clean.py", "eval('new here')\n");
    assert_eq!(world.places(&SINCE).1, ["app/clean.py:1"]);
    let run = world.scan(&SINCE);
    assert!(run.out.contains("[new]") && run.err.contains("only what is new since HEAD"), "{run:?}");
    assert!(run.out.contains("1 finding: 1 medium; 1 new, 0 fixed"), "{run:?}");
    assert_eq!(world.scan(&[&SINCE[..], &["--fail-on", "medium"]].concat()).code, 1);
}

#[test]
fn a_renamed_file_is_not_new_and_what_is_gone_is_fixed() {
    let world = World::new();
    let from = world.repo().join("app/main.py");
    std::fs::rename(from, world.repo().join("app/renamed.py")).unwrap();
    git(&world.repo(), &["add", "-A"]);
    assert!(world.places(&SINCE).1.is_empty());
    world.write("app/renamed.py", "print(1)\n");
    let run = world.scan(&SINCE);
    assert!(run.out.contains("no findings; 0 new, 1 fixed"), "{run:?}");
}

#[test]
fn results_of_both_sides_are_kept() {
    let world = World::new();
    world.write("app/clean.py", "eval('new here')\n");
    let (_, first) = world.places(&SINCE);
    world.remove_engine("ruff");
    assert_eq!(world.places(&SINCE), (0, first));
}

#[test]
fn no_hook_and_no_filter_of_the_repository_runs() {
    let world = World::new();
    let mark = world.path("ran");
    let command = format!("touch {}; cat", mark.display());
    world.write(".gitattributes", "*.py filter=evil diff=evil\n");
    world.commit("attributes");
    for key in ["filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "core.fsmonitor"] {
        git(&world.repo(), &["config", key, &command]);
    }
    let hook = world.repo().join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\n{command}\n")).unwrap();
    std::os::unix::fs::PermissionsExt::set_mode(&mut std::fs::metadata(&hook).unwrap().permissions(), 0o755);
    world.write("app/clean.py", "eval('new here')\n");
    assert_eq!(world.places(&SINCE).1, ["app/clean.py:1"]);
    assert!(!mark.exists());

    // Nor what fetches an object that a partial clone is without. A rule for one protocol overrides one for all.
    world.commit("new");
    let object = git(&world.repo(), &["rev-parse", "HEAD:app/clean.py"]);
    std::fs::remove_file(world.repo().join(".git/objects").join(&object[..2]).join(&object[2..])).unwrap();
    let here = world.repo().display().to_string();
    for (key, value) in [
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "origin"),
        ("protocol.allow", "always"),
        ("protocol.file.allow", "always"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", here.as_str()),
        ("remote.origin.uploadpack", &format!("{command} | git-upload-pack")),
    ] {
        git(&world.repo(), &["config", key, value]);
    }
    // The git of this test has run the filter.
    std::fs::remove_file(&mark).unwrap();
    let run = world.scan(&SINCE);
    assert!(run.code == 3 && run.err.contains("git fetch --refetch --no-filter"), "{run:?}");
    assert_eq!(world.scan(&["--engines", "ruff", "--untracked"]).code, 0);
    assert!(!mark.exists());
}

#[test]
fn what_a_partial_clone_is_without_can_be_fetched_as_is_said() {
    let world = World::new();
    world.write("app/main.py", "eval('second')\n");
    world.commit("second");
    let (origin, clone) = (world.path("origin"), world.repo());
    std::fs::rename(&clone, &origin).unwrap();
    git(&origin, &["config", "uploadpack.allowFilter", "true"]);
    let from = format!("file://{}", origin.display());
    git(world.dir.path(), &["clone", "-q", "--filter=blob:none", &from, "repo"]);
    let since = ["--engines", "ruff", "--since", "HEAD~1"];
    let run = world.scan(&since);
    let advice = run.err.rsplit_once("fetch it first: git ").map(|(_, words)| words.trim().to_owned());
    let advice = advice.unwrap_or_else(|| panic!("{run:?}"));
    git(&clone, &advice.split(' ').collect::<Vec<_>>());
    assert_eq!(world.places(&since).1, ["app/main.py:1"]);
}

#[test]
fn a_part_of_the_repository_is_compared_with_the_same_part() {
    let world = World::new();
    world.write("app/clean.py", "eval('new here')\n");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let pattern = world.command(&SINCE);
    command.args(["scan", "--local", "--format", "csv"]).arg(world.repo().join("app")).args(SINCE);
    command.envs(pattern.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("clean.py") && !text.contains("main.py"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_reference_that_is_none_is_an_error() {
    let world = World::new();
    for reference in ["nowhere", "--upload-pack=touch", "HEAD:app"] {
        let run = world.scan(&["--engines", "ruff", &format!("--since={reference}")]);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.err.contains("there is no such commit here"), "{run:?}");
    }
}
