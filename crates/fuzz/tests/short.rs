//! The short run: every seed, every regression, and a few thousand mutations of each target, always the same ones.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stderr, reason = "figures for whoever asks for them")]

use dunlin_fuzz::{TARGETS, Target, mutate, regressions};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// No input takes longer. On a machine that does ten things at once, too.
const MOST: Duration = Duration::from_secs(5);

fn run(name: &str) {
    let target = dunlin_fuzz::find(name).expect("a target of that name");
    let corpus = target.corpus();
    assert!(!corpus.is_empty());
    let begin = Instant::now();
    for input in &corpus {
        try_one(target, input, "a seed");
    }
    for seed in 0..u64::from(target.short) {
        // Each seed in turn, with pieces of one after it.
        let input = &corpus[seed as usize % corpus.len()];
        let other = &corpus[(seed as usize / 7 + 1) % corpus.len()];
        // Every third time a mutation of a mutation.
        let mut made = mutate::mutate(target.shape, input, other, seed);
        if seed % 3 == 0 {
            made = mutate::mutate(target.shape, &made, other, !seed);
        }
        try_one(target, &made, &format!("mutation {seed}"));
    }
    eprintln!("{name}: {} seeds, {} mutations in {:?}", corpus.len(), target.short, begin.elapsed());
}

/// What breaks a target is kept: it belongs into its folder of regressions.
fn try_one(target: &Target, input: &[u8], what: &str) {
    let begin = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let slow = begin.elapsed() > MOST;
    if done.is_ok() && !slow {
        return;
    }
    let kept = std::env::temp_dir().join(format!("dunlin-fuzz-{}-{:08x}", target.name, checksum(input)));
    fs::write(&kept, input).expect("scratch space");
    let why = if slow { format!("took {:?}", begin.elapsed()) } else { "broke it".to_owned() };
    let folder = regressions(target.name);
    panic!("{what} of {}: {why}. The input is {}; keep it in {}", target.name, kept.display(), folder.display());
}

/// FNV-1a: a name for a file.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// One test for each, so that they run beside each other; the last one sees that none is missing.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets!(report log engine_toml dunlin_toml manifests files_list upload unpack writers mask price_csv price_json price_parquet price_ranges);

#[test]
fn every_target_has_its_short_run() {
    let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(all, TESTED);
}

#[test]
fn every_regression_belongs_to_a_target() {
    for folder in fs::read_dir(regressions("")).expect("the folder of regressions") {
        let name = folder.expect("a folder").file_name().into_string().expect("a name in utf-8");
        assert!(name == "README.md" || dunlin_fuzz::find(&name).is_some(), "{name} is no target");
    }
}
