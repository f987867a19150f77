//! Results that are known are not computed again, and never wrongly taken for known.

use crate::world::World;
use std::{fs, path::PathBuf};

fn results(world: &World) -> Vec<PathBuf> {
    let folder = world.path("cache/dunlin/v1/results");
    let all = fs::read_dir(folder).unwrap().flat_map(|inner| fs::read_dir(inner.unwrap().path()).unwrap());
    all.map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "result"))
        .collect()
}

#[test]
fn an_unchanged_repository_runs_no_engine() {
    let world = World::new();
    let (_, first) = world.places(&[]);
    world.remove_engine("ruff");
    world.remove_engine("shellcheck");
    let run = world.scan(&[]);
    assert!(run.out.contains("2 of 2 results were known: no engine ran"), "{run:?}");
    assert!(run.out.contains(": complete in "), "{run:?}");
    assert_eq!(world.places(&[]).1, first);
    // Another clone of the same files knows them too.
    fs::rename(world.repo(), world.path("moved")).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(world.path("moved")).arg(world.repo()).status();
    assert!(copied.unwrap().success());
    assert_eq!(world.places(&[]), (0, first));
}

#[test]
fn one_changed_file_runs_the_engines_that_read_it() {
    let world = World::new();
    world.scan(&[]);
    // Only what is run again needs its engine.
    world.remove_engine("shellcheck");
    world.write("app/clean.py", "eval('1')\n");
    let run = world.scan(&[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("1 of 2 results was known already"), "{run:?}");
    assert!(run.out.contains("app/clean.py:1"), "{run:?}");
    // What only looks new is known: the same content again.
    world.write("app/clean.py", "print('fine')\n");
    world.remove_engine("ruff");
    assert!(world.scan(&[]).out.contains("2 of 2 results were known"));
}

#[test]
fn a_change_that_keeps_size_and_time_is_seen() {
    let world = World::new();
    world.scan(&["--engines", "ruff"]);
    let path = world.repo().join("app/clean.py");
    let before = fs::metadata(&path).unwrap();
    world.write("app/clean.py", "eval( 'ok' )\n ");
    assert_eq!(fs::metadata(&path).unwrap().len(), before.len(), "the test wants the same size");
    fs::File::options().write(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    let (_, places) = world.places(&["--engines", "ruff"]);
    assert_eq!(places, ["app/clean.py:1", "app/main.py:5"]);
}

#[test]
fn a_damaged_result_is_computed_again_and_told() {
    let world = World::new();
    let (_, first) = world.places(&["--engines", "ruff"]);
    let [path] = &results(&world)[..] else { panic!("one result") };
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    let run = world.scan(&["--engines", "ruff"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("the stored result of ruff was damaged; it is computed again"), "{run:?}");
    assert_eq!(world.places(&["--engines", "ruff"]).1, first);
    assert!(!world.scan(&["--engines", "ruff"]).out.contains("damaged"));
}

#[test]
fn without_a_cache_nothing_is_read_and_nothing_kept() {
    let world = World::new();
    let (_, first) = world.places(&["--no-cache"]);
    assert!(!world.path("cache").exists());
    world.scan(&[]);
    world.remove_engine("ruff");
    let run = world.scan(&["--no-cache"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert_eq!(world.places(&[]).1, first);
}

#[test]
fn a_failure_is_not_kept() {
    let world = World::new();
    let working = fs::read_to_string(world.path("engines/ruff/bin/ruff")).unwrap();
    world.engine("ruff", "#!/bin/sh\nexit 9\n");
    assert_eq!(world.scan(&["--engines", "ruff"]).code, 2);
    world.engine("ruff", &working);
    assert_eq!(world.places(&["--engines", "ruff"]), (0, vec!["app/main.py:5".to_owned()]));
}

#[test]
fn scans_at_once_share_a_cache_in_peace() {
    let world = World::new();
    let running: Vec<_> = (0..4).map(|_| world.command(&["--format", "csv"]).spawn().unwrap()).collect();
    let mut told: Vec<String> = running.into_iter().map(|child| crate::world::finished(child).out).collect();
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].lines().count(), 3, "{told:?}");
}

#[test]
fn a_cache_that_cannot_be_used_only_costs_time() {
    let world = World::new();
    fs::write(world.path("cache"), "a file").unwrap();
    let run = world.scan(&[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("nothing is kept for the next scan"), "{run:?}");
}
