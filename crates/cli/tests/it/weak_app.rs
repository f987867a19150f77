//! The application that ships with the repository to be scanned.

use crate::{scan::sent, world::World};
use dunlin_core::{job::Compute, owner_config};
use std::path::Path;

const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/apps/weak-app");

#[test]
fn only_the_application_is_sent_and_not_the_repository_around_it() {
    let world = World::new();
    let run = world.run(&["scan", APP]);
    assert_eq!(run.code, 0, "{}", run.err);
    let files = sent(&world);
    let expected = [
        ".dunlin.toml",
        ".github/workflows/release.yml",
        "Dockerfile",
        "README.md",
        "app/server.py",
        "app/store.py",
        "config/settings.env",
        "config/signing-key.pem",
        "infra/deployment.yaml",
        "infra/main.tf",
        "scripts/deploy.sh",
        "vendor/legacy.js",
        "vendor/legacy.py",
        "web/index.js",
        "web/package.json",
    ];
    assert_eq!(files.keys().collect::<Vec<_>>(), expected);
}

#[test]
fn its_options_are_valid_and_use_both_kinds_of_compute() {
    let text = std::fs::read_to_string(Path::new(APP).join(owner_config::PATH)).unwrap();
    let config = owner_config::parse(&text, |engine| engine == "trivy").unwrap();
    assert_eq!(config.exclude, ["vendor/**"]);
    assert_eq!(config.engine["trivy"].compute, Some(Compute::Batch));
}
