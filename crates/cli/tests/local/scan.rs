//! What is found, what is missing, and what the exit code says.

use crate::world::World;
use std::fs;

#[test]
fn the_findings_of_every_engine_are_told() {
    let world = World::new();
    let run = world.scan(&[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("app/main.py:5"), "{run:?}");
    assert!(run.out.contains("ruff/S307") && run.out.contains("deploy.sh:1:1"), "{run:?}");
    assert!(run.out.contains("of example.com/acme/shop (trunk at "), "{run:?}");
    assert!(run.out.contains(": complete in "), "{run:?}");
    assert!(run.err.contains("\nruff: running\n") && run.err.contains("ruff: done"), "progress in lines: {run:?}");
    assert!(world.left_over().is_empty(), "{:?}", world.left_over());
}

#[test]
fn the_threshold_decides_and_none_switches_the_owners_off() {
    let world = World::new();
    // ShellCheck is advisory: what it finds is told and never decides.
    let only_advisory = world.scan(&["--engines", "shellcheck", "--fail-on", "low"]);
    assert_eq!(only_advisory.code, 0, "{only_advisory:?}");
    assert_eq!(world.scan(&["--fail-on", "medium"]).code, 1);
    assert_eq!(world.scan(&["--fail-on", "critical"]).code, 0);
    world.write(".dunlin.toml", "fail_on = \"low\"\n");
    world.commit("owner");
    let run = world.scan(&[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("fail_on in the repository's .dunlin.toml"), "{run:?}");
    assert_eq!(world.scan(&["--fail-on", "none"]).code, 0);
}

#[test]
fn an_owners_file_with_a_mistake_is_a_warning() {
    let world = World::new();
    world.write(".dunlin.toml", "exclude = [\"app/**\"]\n");
    world.commit("owner");
    let (_, places) = world.places(&[]);
    assert_eq!(places, ["deploy.sh:1"]);
    world.write(".dunlin.toml", "fail_of = \"low\"\n");
    let run = world.scan(&[]);
    assert!(run.out.contains("warning: .dunlin.toml:1:1: ") && run.out.contains("the defaults apply"), "{run:?}");
    assert!(run.out.contains("app/main.py:5"), "{run:?}");
}

#[test]
fn an_engine_that_is_not_installed_makes_the_scan_partial() {
    let world = World::new();
    world.remove_engine("ruff");
    let run = world.scan(&[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.out.contains("ruff is not installed; run dunlin engines install ruff"), "{run:?}");
    assert!(run.out.contains("deploy.sh:1"), "the others have run: {run:?}");
    let none = world.scan(&["--engines", "gitleaks"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.out.contains("no findings in what was scanned"), "{none:?}");
}

#[test]
fn an_engine_that_fails_takes_nobody_along() {
    let world = World::new();
    for (script, words) in [
        ("#!/bin/sh\necho oh no >&2\nexit 7\n", "it crashed, exit code 7; it said: oh no"),
        ("#!/bin/sh\nexit 0\n", "the engine left no report"),
        ("#!/nowhere/interpreter\n", "No such file"),
        ("#!/bin/sh\nkill -SEGV $$\n", "ended by signal 11"),
    ] {
        world.engine("ruff", script);
        let run = world.scan(&[]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.out.contains(words), "{words}: {run:?}");
        assert!(run.out.contains("deploy.sh:1") && run.out.contains(": partial in "), "{run:?}");
    }
}

#[test]
fn an_engine_that_reads_nothing_has_assessed_nothing() {
    let world = World::new();
    world.engine(
        "ruff",
        "#!/bin/sh\nfor last in \"$@\"; do [ \"$before\" = --output-file ] && out=$last; before=$last; done\n\
         echo '{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":{\"name\":\"ruff\"}},\"results\":[]}]}' > \"$out\"\n",
    );
    let run = world.scan(&[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.out.contains("the engine opened none of the 2 files it was given"), "{run:?}");
}

#[test]
fn every_format_is_written_whole() {
    let world = World::new();
    let target = world.path("report");
    let sign = [
        ("sarif", "\"Dunlin\""),
        ("json", "\"count\":2"),
        ("csv", "S307"),
        ("html", "</html>"),
        ("junit", "</testsuites>"),
    ];
    for (format, sign) in sign {
        let printed = world.scan(&["--format", format]);
        assert!(printed.out.contains(sign), "{format}: {printed:?}");
        assert!(printed.err.contains(": complete in "), "{format}: {printed:?}");
        let run = world.scan(&["--format", format, "--output", target.to_str().unwrap()]);
        assert_eq!((run.code, run.out.as_str()), (0, ""), "{format}");
        assert!(fs::read_to_string(&target).unwrap().contains(sign), "{format}");
    }
}

#[test]
fn which_files_are_scanned_is_chosen_as_for_an_upload() {
    let world = World::new();
    world.write(".gitignore", "*.log.py\n");
    world.commit("ignore");
    world.write("new.py", "eval(1)\n");
    world.write("noise.log.py", "eval(2)\n");
    std::os::unix::fs::symlink("/etc", world.repo().join("etc")).unwrap();
    let engines = ["--engines", "ruff"];
    assert_eq!(world.places(&engines).1, ["app/main.py:5"]);
    assert_eq!(world.places(&[&engines[..], &["--untracked"]].concat()).1, ["app/main.py:5", "new.py:1"]);
    let all = world.scan(&[&engines[..], &["--all-files"]].concat());
    assert!(all.out.contains("noise.log.py:1"), "{all:?}");
    assert!(all.out.contains("warning: not scanned (symlink): etc"), "{all:?}");
}

#[test]
fn what_cannot_be_scanned_is_said() {
    let world = World::new();
    let unknown = world.scan(&["--engines", "nessus"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    assert!(
        unknown.err.contains("there is no engine \"nessus\"; there are ") && unknown.err.contains("ruff"),
        "{unknown:?}"
    );
    let nothing = world.scan(&["--engines", "hadolint"]);
    assert_eq!(nothing.code, 3, "{nothing:?}");
    assert!(nothing.err.contains("of 3 files, no engine that may run reads any"), "{nothing:?}");
    let mut command = world.command(&[]);
    command.args(["--tag", "v1"]);
    assert_eq!(crate::world::finished(command.spawn().unwrap()).code, 3);
}
