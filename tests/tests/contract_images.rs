//! The Dockerfiles of engines and of the loader against what builds and runs them: AWS pulls these images, and nobody else has tried them there.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

#[expect(dead_code, reason = "the other contract tests use the rest")]
mod contract_support;

use contract_support::{files, read, repository};
use serde_json::Value;
use std::{
    fs,
    process::{Command, ExitStatus},
};

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
    let begin = text[..at].rfind("\n( set -e").unwrap();
    let end = at + text[at..].find("done )").unwrap() + "done )".len();
    let images = images();

    let (status, calls) = with_stubs(&text[begin..end], 0);
    assert!(status.success(), "{calls:?}");
    let (built, pushed): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.starts_with("build "));
    for image in &images {
        let file = built.iter().find(|call| call.ends_with(&format!("-t registry/{image}:tag ../..")));
        let file = file.unwrap_or_else(|| panic!("{image} is not built: {built:?}"));
        let file = file.split("-f ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(repository().join("infra/terraform").join(file).is_file(), "{image}: {file}");
        assert!(pushed.contains(&&format!("push registry/{image}:tag")), "{image}: {pushed:?}");
    }
    assert_eq!(calls.len(), 2 * images.len());

    let (status, calls) = with_stubs(&text[begin..end], 1);
    assert!(
        !status.success() && calls.len() == 1,
        "the loop goes on after an image that could not be built: {calls:?}"
    );
}

fn images() -> Vec<String> {
    let catalog: Value = serde_json::from_str(&read("engines/catalog.json")).unwrap();
    catalog.as_object().unwrap().keys().cloned().chain(["loader".to_owned()]).collect()
}

/// Runs the words of the page where it says; instead of Terraform and Docker, something that writes down what it was asked.
fn with_stubs(script: &str, docker: i32) -> (ExitStatus, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let registries: Value = images().into_iter().map(|name| (name.clone(), format!("registry/{name}"))).collect();
    // jq, as far as it is needed here.
    let stubs = format!(
        "terraform() {{ echo '{}'; }}
        jq() {{ python3 -c 'import json, sys; names = json.load(open(sys.argv[3]) if sys.argv[2:3] == [\"keys[]\"] else sys.stdin);
print(*names, sep=chr(10)) if sys.argv[2] == \"keys[]\" else print(names[sys.argv[2][2:-1]])' \"$@\"; }}
        docker() {{ echo \"$*\" >> '{}'; return {docker}; }}
        tag=tag
        ",
        registries,
        calls.display()
    );
    let status = Command::new("bash")
        .args(["-c", &format!("{stubs}{script}")])
        .current_dir(repository().join("infra/terraform"))
        .status()
        .unwrap();
    (status, fs::read_to_string(&calls).unwrap_or_default().lines().map(str::to_owned).collect())
}
