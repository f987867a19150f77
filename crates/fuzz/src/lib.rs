//! Everything that reads what strangers wrote, under mutated input. A target is a function over bytes that panics when something
//! does not hold; it knows neither who made the bytes nor who watches. `tests/short.rs` runs each of them a few thousand times in
//! `make test`, on any toolchain; `make fuzz` lets libFuzzer follow the branches for as long as somebody wants.

#![expect(clippy::expect_used, clippy::panic, reason = "a target says what does not hold by panicking")]

pub mod mutate;
mod targets;

use mutate::Shape;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub struct Target {
    pub name: &'static str,
    /// What the input is made of, for mutations that keep it readable.
    pub shape: Shape,
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations the short run tries. About a second.
    pub short: u32,
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "report",
        shape: Shape::Json(1),
        run: targets::report::run,
        seeds: targets::report::seeds,
        short: 600,
    },
    Target {
        name: "log",
        shape: Shape::Text,
        run: targets::report::run_log,
        seeds: targets::report::log_seeds,
        short: 1500,
    },
    Target {
        name: "engine_toml",
        shape: Shape::Text,
        run: targets::config::run_engine,
        seeds: targets::config::engine_seeds,
        short: 1000,
    },
    Target {
        name: "dunlin_toml",
        shape: Shape::Text,
        run: targets::config::run_owner,
        seeds: targets::config::owner_seeds,
        short: 5000,
    },
    Target {
        name: "manifests",
        shape: Shape::Json(1),
        run: targets::manifests::run,
        seeds: targets::manifests::seeds,
        short: 3000,
    },
    Target {
        name: "files_list",
        shape: Shape::Text,
        run: targets::manifests::run_list,
        seeds: targets::manifests::list_seeds,
        short: 3000,
    },
    Target {
        name: "upload",
        shape: Shape::Tar,
        run: targets::archive::run_upload,
        seeds: targets::archive::seeds,
        short: 300,
    },
    Target {
        name: "unpack",
        shape: Shape::Tar,
        run: targets::archive::run_unpack,
        seeds: targets::archive::seeds,
        short: 300,
    },
    Target {
        name: "writers",
        shape: Shape::Text,
        run: targets::writers::run,
        seeds: targets::writers::seeds,
        short: 500,
    },
    Target { name: "mask", shape: Shape::Text, run: targets::mask::run, seeds: targets::mask::seeds, short: 800 },
    Target {
        name: "price_csv",
        shape: Shape::Text,
        run: targets::prices::run_text,
        seeds: targets::prices::csv_seeds,
        short: 2000,
    },
    Target {
        name: "price_json",
        shape: Shape::Text,
        run: targets::prices::run_text,
        seeds: targets::prices::json_seeds,
        short: 800,
    },
    Target {
        name: "price_parquet",
        shape: Shape::Text,
        run: targets::prices::run_parquet,
        seeds: targets::prices::parquet_seeds,
        short: 3000,
    },
    Target {
        name: "price_ranges",
        shape: Shape::Text,
        run: targets::prices::run_cut,
        seeds: targets::prices::cut_seeds,
        short: 3000,
    },
];

pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where inputs are kept that have broken something once. They are seeds from then on.
pub fn regressions(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target)
}

impl Target {
    /// Seeds and regressions.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = (self.seeds)();
        if let Ok(folder) = fs::read_dir(regressions(self.name)) {
            let mut files: Vec<_> = folder.map(|entry| entry.expect("a folder that can be read").path()).collect();
            files.sort();
            all.extend(files.iter().map(|file| fs::read(file).expect("a file that can be read")));
        }
        all
    }
}
