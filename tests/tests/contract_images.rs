//! The Dockerfiles of engines and of the loader against what builds and runs them: AWS pulls these images, and nobody else has tried them there.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

#[expect(dead_code, reason = "the other contract tests use the rest")]
mod contract_support;

use contract_support::{files, read};

const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

fn engines() -> Vec<(String, String)> {
    let found: Vec<_> =
        files("engines", "Dockerfile").into_iter().filter(|(path, _)| path.split('/').count() == 3).collect();
    assert!(found.len() >= 8, "engines have lost their Dockerfiles");
    found
}

fn dockerfiles() -> Vec<(String, String)> {
    let mut all = engines();
    let loader = "functions/loader/Dockerfile";
    all.push((loader.to_owned(), read(loader)));
    all
}

/// The lines of the stage that becomes the image.
fn last_stage(text: &str) -> Vec<&str> {
    let from = text.rfind("\nFROM ").unwrap() + 1;
    text[from..].lines().collect()
}

#[test]
fn every_image_has_the_roots_that_its_program_trusts_storage_by() {
    for (path, text) in dockerfiles() {
        let stage = last_stage(&text);
        assert_eq!(stage[0], "FROM debian:bookworm-slim", "{path}: another base may need other files");
        let copied = format!("COPY --from=install {ROOTS} {ROOTS}");
        assert!(stage.contains(&copied.as_str()), "{path}: the base has no certificates, so no https works");
        let (install, _) = text.rsplit_once("\nFROM ").unwrap();
        assert!(install.contains("ca-certificates"), "{path}: the install stage has no {ROOTS}");
    }
    let local = read("infra/local/images.py");
    let base = local.lines().find(|line| line.contains("\"mmdebstrap\", \"--variant")).unwrap();
    assert!(!base.contains("--include"), "a base with more than the registry's hides what an image lacks: {base}");
}

#[test]
fn the_programs_in_the_images_are_those_that_package_builds_for_them() {
    let ignored = read(".dockerignore");
    for (path, text) in dockerfiles() {
        let name = if path.starts_with("engines/") { "runner" } else { "loader" };
        let argument = format!("ARG {}=", name.to_uppercase());
        let program = text.lines().find_map(|line| line.strip_prefix(&argument)).unwrap();
        assert_eq!(program, format!("target/images/{name}/bootstrap"), "{path}");
        assert!(ignored.lines().any(|line| line == format!("!{program}")), "{path}: docker does not see {program}");
    }
    let package = read("infra/local/package.py");
    assert!(
        package.contains("\"target\" / \"images\"")
            && package.contains("programs = [\"runner\", \"dunlin\", \"loader\"]")
            && package.contains("build(programs, \"x86_64\", images)")
    );
}

/// Lambda takes no image index, which is what BuildKit makes of an image with its provenance.
#[test]
fn the_documented_build_makes_what_lambda_takes_and_stops_at_a_failure() {
    let text = read("docs/aws.md");
    let step: Vec<&str> = text.lines().filter(|line| line.contains("docker build ")).collect();
    assert_eq!(step.len(), 1, "one build command: {step:?}");
    for words in ["--platform linux/amd64", "--provenance=false"] {
        assert!(step[0].contains(words), "no {words} in: {}", step[0]);
    }
    let at = text.find(step[0]).unwrap();
    let fenced = text[..at].rfind("```sh").unwrap();
    assert!(text[fenced..at].contains("set -e"), "the loop goes on after an image that could not be built");
}
