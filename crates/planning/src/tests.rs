use super::*;
use dunlin_core::{manifest::SkipReason, owner_config};

fn file(path: &str, content: &str) -> SnapshotFile {
    use sha2::{Digest, Sha256};
    let sha256 = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    SnapshotFile { path: path.into(), size: content.len() as u64, sha256, language: None }
}

fn repository() -> Vec<SnapshotFile> {
    vec![
        file(".github/workflows/ci.yml", "on: push"),
        file("app/main.py", "print(1)"),
        file("infra/main.tf", "resource {}"),
        file("web/index.js", "eval(1)"),
    ]
}

fn owner(text: &str) -> OwnerConfig {
    owner_config::parse(text, |name| dunlin_engines::find(name).is_some()).unwrap()
}

fn plan_of(files: &[SnapshotFile], asked: Option<&[&str]>, config: &str) -> Vec<(String, String)> {
    let asked: Option<Vec<String>> = asked.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
    let drafts = plan(dunlin_engines::catalog(), files, asked.as_deref(), &owner(config), 120).unwrap();
    drafts.jobs.iter().map(|d| (d.engine.name.clone(), d.result_key.to_string())).collect()
}

fn names(jobs: &[(String, String)]) -> Vec<&str> {
    jobs.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn engines_are_chosen_by_what_there_is_to_read() {
    let jobs = plan_of(&repository(), None, "");
    for engine in ["ruff", "eslint", "gitleaks", "trivy", "zizmor"] {
        assert!(names(&jobs).contains(&engine), "{engine} is missing in {:?}", names(&jobs));
    }
    let only_python = plan_of(&[file("a.py", "x = 1")], None, "");
    assert!(names(&only_python).contains(&"ruff") && !names(&only_python).contains(&"eslint"));
}

#[test]
fn one_changed_file_changes_the_keys_of_those_that_read_it_and_of_nobody_else() {
    let before = plan_of(&repository(), None, "");
    let mut files = repository();
    files[1] = file("app/main.py", "print(2)");
    let after = plan_of(&files, None, "");
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0.as_str()).collect();
    assert!(changed.contains(&"ruff") && changed.contains(&"gitleaks"), "{changed:?}");
    assert!(!changed.contains(&"eslint") && !changed.contains(&"zizmor"), "{changed:?}");
}

#[test]
fn a_renamed_file_is_another_input() {
    let before = plan_of(&[file("a.py", "x = 1")], Some(&["ruff"]), "");
    let after = plan_of(&[file("b.py", "x = 1")], Some(&["ruff"]), "");
    assert_ne!(before, after);
}

#[test]
fn the_owner_chooses_and_the_request_goes_first() {
    assert_eq!(names(&plan_of(&repository(), None, "engines = [\"ruff\"]")), ["ruff"]);
    assert_eq!(names(&plan_of(&repository(), Some(&["zizmor"]), "engines = [\"ruff\"]")), ["zizmor"]);
    assert!(!names(&plan_of(&repository(), None, "[engine.ruff]\nenabled = false")).contains(&"ruff"));
    assert!(!names(&plan_of(&repository(), None, "exclude = [\"app/**\"]")).contains(&"ruff"));
}

#[test]
fn compute_follows_the_estimate_the_threshold_and_the_owner() {
    let compute = |config: &str, threshold| {
        plan(dunlin_engines::catalog(), &repository(), Some(&["ruff".into()]), &owner(config), threshold).unwrap().jobs
            [0]
        .compute
    };
    assert_eq!(compute("", 120), Compute::Lambda);
    assert_eq!(compute("", 0), Compute::Batch);
    assert_eq!(compute("[engine.ruff]\ncompute = \"batch\"", 120), Compute::Batch);
}

#[test]
fn an_engine_that_was_asked_for_and_reads_nothing_is_told() {
    let drafts =
        plan(dunlin_engines::catalog(), &repository()[1..2], Some(&["zizmor".into()]), &OwnerConfig::default(), 120)
            .unwrap();
    assert!(drafts.jobs.is_empty());
    assert!(drafts.warnings[0].contains("zizmor"), "{:?}", drafts.warnings);
}

#[test]
fn an_engine_with_nothing_left_to_read_is_told_from_one_that_was_left_out() {
    let nothing = |asked: Option<&[&str]>, config: &str| {
        let asked: Option<Vec<String>> = asked.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
        let files = [file("app/main.py", "print(1)"), file("web/index.js", "eval(1)")];
        plan(dunlin_engines::catalog(), &files, asked.as_deref(), &owner(config), 120).unwrap().nothing_to_read
    };
    let all = nothing(None, "");
    assert!(all.contains(&"zizmor".to_owned()), "{all:?}");
    assert!(!all.contains(&"ruff".to_owned()) && !all.contains(&"eslint".to_owned()), "{all:?}");
    // Left out, by the request or by the owner: it has not looked.
    assert!(nothing(Some(&["ruff"]), "").is_empty());
    assert!(nothing(None, "engines = [\"ruff\"]").is_empty());
    assert!(!nothing(None, "[engine.zizmor]\nenabled = false").contains(&"zizmor".to_owned()));
    // Named by them: it would have looked.
    assert_eq!(nothing(Some(&["ruff", "zizmor"]), "engines = [\"ruff\"]"), ["zizmor"]);
    assert_eq!(nothing(None, "engines = [\"ruff\", \"zizmor\"]"), ["zizmor"]);
    // The owner took its files from every engine's sight, as with a part of them.
    assert_eq!(nothing(Some(&["ruff", "eslint"]), "exclude = [\"web/**\"]"), ["eslint"]);
}

#[test]
fn shards_cover_every_file_once_and_never_exceed_the_plan() {
    let mut engine = dunlin_engines::find("ruff").unwrap().clone();
    engine.limits.shard = 10;
    let files: Vec<_> = (0..95).map(|n| file(&format!("m{n}.py"), &format!("x = {n}"))).collect();
    let engines = [engine];
    let drafts = plan(&engines, &files, None, &OwnerConfig::default(), 120).unwrap();
    assert_eq!(drafts.jobs.len(), 10);
    assert_eq!(drafts.jobs.iter().map(|d| d.files).sum::<u64>(), 95);
    let keys: std::collections::BTreeSet<_> = drafts.jobs.iter().map(|d| d.result_key.as_str()).collect();
    assert_eq!(keys.len(), 10);

    let many: Vec<_> = (0..5000).map(|n| file(&format!("m{n}.py"), "")).collect();
    let mut engines = Vec::new();
    for n in 0..20 {
        let mut engine = dunlin_engines::find("ruff").unwrap().clone();
        engine.name = format!("e{n}");
        engine.limits.shard = 10;
        engines.push(engine);
    }
    let drafts = plan(&engines, &many, None, &OwnerConfig::default(), 120).unwrap();
    assert!(drafts.jobs.len() <= MAX_JOBS, "{}", drafts.jobs.len());
}

fn skipped(path: &str, reason: SkipReason) -> Skipped {
    Skipped { path: path.to_owned(), reason }
}

#[test]
fn files_that_nobody_read_are_named_and_links_are_not() {
    let link = skipped("link", SkipReason::Symlink);
    let large = skipped("large.sql", SkipReason::TooLarge);
    assert_eq!(unread(&[link.clone(), large.clone()], 2), (vec!["large.sql".to_owned()], false));
    assert_eq!(unread(&[], 0), (Vec::new(), false));
    // Of more than are named, a link among them says that all others of the kind that counts are there.
    assert!(!unread(&[link, large.clone()], 5_000).1);
    assert!(unread(&[large], 5_000).1);
}
