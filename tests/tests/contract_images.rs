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
    let (script, images) = (&text[begin..end], images());

    let world = World::new();
    let (status, calls) = world.run(script, NOTHING);
    assert!(status.success(), "{calls:?}");
    let (built, pushed): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.starts_with("build "));
    for image in &images {
        let url = registry(image);
        let file = built.iter().find(|call| call.ends_with(&format!("-t {url}:tag ../..")));
        let file = file.unwrap_or_else(|| panic!("{image} is not built: {built:?}"));
        let file = file.split("-f ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(repository().join("infra/terraform").join(file).is_file(), "{image}: {file}");
        assert!(pushed.contains(&&format!("push {url}:tag")), "{image}: {pushed:?}");
    }
    assert_eq!(calls.len(), 2 * images.len());
    let (status, again) = world.run(script, NOTHING);
    assert!(status.success() && again.is_empty(), "a tag cannot be overwritten: {again:?}");

    let (status, failed) = World::new().run(script, "build ");
    assert!(
        !status.success() && failed.len() == 1,
        "the loop goes on after an image that could not be built: {failed:?}"
    );

    // The third image is built and not pushed: the next run begins with it.
    let world = World::new();
    let (status, half) = world.run(script, &calls[5]);
    assert!(!status.success() && half == calls[..6], "{half:?}");
    let (status, rest) = world.run(script, NOTHING);
    assert!(status.success() && rest == calls[4..], "{rest:?}");
}

/// No command of the page contains it.
const NOTHING: &str = "nothing fails";

fn images() -> Vec<String> {
    let catalog: Value = serde_json::from_str(&read("engines/catalog.json")).unwrap();
    catalog.as_object().unwrap().keys().cloned().chain(["loader".to_owned()]).collect()
}

fn registry(image: &str) -> String {
    format!("1.dkr.ecr.eu-central-1.amazonaws.com/dunlin-prod/engine/{image}")
}

/// Terraform, Docker and AWS as far as the page needs them. What was pushed stays from one run to the next.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pushed"), "").unwrap();
        Self { folder }
    }

    /// Runs the words of the page where it says, and answers what Docker was asked. A command that contains `fails` does.
    fn run(&self, script: &str, fails: &str) -> (ExitStatus, Vec<String>) {
        // jq, as far as it is needed here.
        const STUBS: &str = r#"
            terraform() { echo "$REGISTRIES"; }
            jq() { python3 -c 'import json, sys; names = json.load(open(sys.argv[3]) if sys.argv[2:3] == ["keys[]"] else sys.stdin);
print(*names, sep=chr(10)) if sys.argv[2] == "keys[]" else print(names[sys.argv[2][2:-1]])' "$@"; }
            docker() {
                echo "$*" >> "$FOLDER/calls"
                case "$*" in *"$FAILS"*) return 1 ;; esac
                [ "$1" = build ] || echo "$2" >> "$FOLDER/pushed"
            }
            aws() {
                [ "$1 $2 $3 $5" = "ecr describe-images --repository-name --image-ids" ] &&
                    grep -qxF "${REGISTRY%/dunlin-prod/*}/$4:${6#imageTag=}" "$FOLDER/pushed"
            }
            tag=tag
        "#;
        let calls = self.folder.path().join("calls");
        fs::write(&calls, "").unwrap();
        let registries: Value = images().into_iter().map(|name| (name.clone(), registry(&name))).collect();
        let status = Command::new("bash")
            .args(["-c", &format!("{STUBS}{script}")])
            .env("REGISTRIES", registries.to_string())
            .env("REGISTRY", registry(""))
            .env("FAILS", fails)
            .env("FOLDER", self.folder.path())
            .current_dir(repository().join("infra/terraform"))
            .status()
            .unwrap();
        (status, fs::read_to_string(&calls).unwrap().lines().map(str::to_owned).collect())
    }
}
