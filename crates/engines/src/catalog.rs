//! The engines this build knows.

use crate::{EngineManifest, READER_VERSION};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// One folder under `engines/`, as `build.rs` found it.
pub(crate) struct Embedded {
    folder: &'static str,
    manifest: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

#[expect(clippy::panic, reason = "the manifests are part of the program; a test parses every one of them")]
static CATALOG: LazyLock<Vec<EngineManifest>> = LazyLock::new(|| {
    EMBEDDED
        .iter()
        .map(|engine| match parse(engine) {
            Ok(manifest) => manifest,
            Err(problem) => panic!("engines/{}/engine.toml: {problem}", engine.folder),
        })
        .collect()
});

/// Every engine, ordered by name.
pub fn catalog() -> &'static [EngineManifest] {
    &CATALOG
}

pub fn find(name: &str) -> Option<&'static EngineManifest> {
    catalog().iter().find(|engine| engine.name == name)
}

impl EngineManifest {
    /// What an installation needs of the engine's folder, path and content: `engine.toml`, the pinned packages, `config/` and `rules/`.
    pub fn install_files(&self) -> impl Iterator<Item = (&'static str, &'static [u8])> + use<> {
        let embedded = EMBEDDED.iter().find(|engine| engine.folder == self.name);
        let manifest = embedded.map(|engine| ("engine.toml", engine.manifest.as_bytes()));
        let files = embedded.map(|engine| engine.files).unwrap_or_default();
        manifest.into_iter().chain(files.iter().copied())
    }
}

fn parse(engine: &Embedded) -> Result<EngineManifest, String> {
    let mut manifest = EngineManifest::from_toml(engine.folder, engine.manifest)?;
    manifest.identity = identity(engine);
    Ok(manifest)
}

fn identity(engine: &Embedded) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(&READER_VERSION.to_be_bytes());
    part(engine.manifest.as_bytes());
    for (path, content) in engine.files {
        part(path.as_bytes());
        part(content);
    }
    hex::encode(hash.finalize())
}

impl EngineManifest {
    /// Reads and checks a manifest that was found in `folder`. What is wrong is told for whoever wrote it. It has no identity,
    /// which is a matter of the whole folder.
    pub fn from_toml(folder: &str, text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        manifest.check(folder)?;
        Ok(manifest)
    }

    /// What the types cannot say. `folder` is where the manifest was found.
    fn check(&self, folder: &str) -> Result<(), String> {
        let name_is_plain = !self.name.is_empty()
            && self.name.len() <= 20
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let rules = [
            (self.name == folder, "name differs from the folder"),
            (name_is_plain, "name is not 1 to 20 lower-case letters, digits or dashes"),
            (!self.version.is_empty(), "version is empty"),
            (!self.reads.include.is_empty(), "reads.include is empty"),
            (!self.run.command.is_empty(), "run.command is empty"),
            (!self.run.version_command.is_empty(), "run.version_command is empty"),
            (
                self.run.stdout_report != self.run.command.iter().any(|argument| argument.contains("{out}")),
                "the report goes to {out} or to standard output, one of them",
            ),
            (!self.exit.done.is_empty(), "exit.done is empty"),
            (self.limits.timeout_seconds > 0, "limits.timeout_seconds is 0"),
            (
                self.limits.estimate.seconds_fixed.is_finite() && self.limits.estimate.seconds_fixed >= 0.0,
                "limits.estimate.seconds_fixed is not a number of seconds",
            ),
            (
                (512..=10_240).contains(&self.limits.lambda_memory_mib),
                "limits.lambda_memory_mib is not in 512 to 10240, the range of Lambda",
            ),
            (!self.limits.lambda || self.limits.timeout_seconds <= 900, "lambda stops after 900 seconds"),
            (self.local.pip.is_some() != self.local.npm, "local needs exactly one of pip and npm"),
            (!self.local.executables.is_empty(), "local.executables is empty"),
        ];
        if let Some((_, problem)) = rules.iter().find(|(holds, _)| !holds) {
            return Err((*problem).to_owned());
        }
        let codes = [&self.exit.done, &self.exit.findings, &self.exit.bad_input];
        let mut all: Vec<i32> = codes.into_iter().flatten().copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        if all.len() != count {
            return Err("an exit code has two meanings".to_owned());
        }
        for pattern in self.reads.include.iter().chain(&self.reads.exclude) {
            dunlin_core::selection::glob(pattern).map_err(|e| format!("reads: {e}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, path::Path};

    #[test]
    fn every_manifest_is_sound() {
        for engine in EMBEDDED {
            parse(engine).unwrap_or_else(|problem| panic!("engines/{}/engine.toml: {problem}", engine.folder));
        }
        assert!(!catalog().is_empty());
        assert!(catalog().windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn identities_differ_and_follow_every_file() {
        let identities: std::collections::HashSet<_> = catalog().iter().map(EngineManifest::identity).collect();
        assert_eq!(identities.len(), catalog().len());
        let changed = |manifest, files| identity(&Embedded { folder: "x", manifest, files });
        let one = changed("a", &[("rules/a", b"1")]);
        assert_ne!(one, changed("a", &[("rules/a", b"2")]));
        assert_ne!(one, changed("b", &[("rules/a", b"1")]));
        assert_ne!(one, changed("a", &[("rules/b", b"1")]));
    }

    #[test]
    fn a_manifest_with_a_mistake_is_refused_with_its_reason() {
        let ruff = EMBEDDED.iter().find(|engine| engine.folder == "ruff").unwrap();
        for (from, to, words) in [
            ("name = \"ruff\"", "name = \"rust\"", "name differs"),
            ("done = [0]", "done = [0, 1]", "two meanings"),
            ("\"{out}\", ", "", "the report goes to"),
            ("[limits]", "[limits]\nsizes = 1", "unknown field"),
            ("timeout_seconds = 300", "timeout_seconds = 901", "900 seconds"),
            ("seconds_fixed = 1.0", "seconds_fixed = -1.0", "number of seconds"),
            ("seconds_fixed = 1.0", "seconds_fixed = nan", "number of seconds"),
        ] {
            let manifest: &'static str = ruff.manifest.replacen(from, to, 1).leak();
            assert_ne!(manifest, ruff.manifest, "{from:?} is not in the manifest");
            let problem = parse(&Embedded { folder: "ruff", manifest, files: &[] }).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn everything_that_an_installation_needs_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines");
        for engine in catalog() {
            let files: BTreeMap<_, _> = engine.install_files().collect();
            let packages: &[&str] = match &engine.local.pip {
                Some(requirements) => &[requirements],
                None => &["package.json", "package-lock.json"],
            };
            for needed in packages.iter().chain(&["engine.toml"]) {
                assert!(files.contains_key(needed), "{}: {needed} is not embedded", engine.name);
            }
            for (path, content) in files {
                assert_eq!(
                    std::fs::read(folder.join(&engine.name).join(path)).unwrap(),
                    content,
                    "{}/{path}",
                    engine.name
                );
            }
        }
    }

    /// Terraform reads `engines/catalog.json`. Written anew with `UPDATE_CATALOG=1 cargo test -p dunlin-engines catalog`.
    #[test]
    fn the_catalog_file_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/catalog.json");
        let entries: BTreeMap<_, _> = catalog().iter().map(|e| (e.name.as_str(), e.catalog_entry())).collect();
        let current = serde_json::to_string_pretty(&entries).unwrap() + "\n";
        if std::env::var_os("UPDATE_CATALOG").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            kept, current,
            "engines/catalog.json is not current: UPDATE_CATALOG=1 cargo test -p dunlin-engines catalog"
        );
    }
}
