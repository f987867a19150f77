//! Reads the repository's own Terraform and state machines, so that tests can compare them with the Rust types.

use hcl::expr::{Expression, ObjectKey};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `path` whose name ends with `ending`, as (path from the repository's root, text).
pub fn files(path: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![repository().join(path)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.map(|entry| entry.unwrap()) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(repository()).unwrap().display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

/// Terraform's root module, or one of its modules.
pub struct Module {
    pub files: Vec<(String, hcl::Body)>,
}

impl Module {
    pub fn root() -> Self {
        Self::at("infra/terraform")
    }

    pub fn at(folder: &str) -> Self {
        let depth = folder.split('/').count() + 1;
        let files: Vec<_> = files(folder, ".tf")
            .into_iter()
            .filter(|(path, _)| path.split('/').count() == depth)
            .map(|(path, text)| {
                let body = hcl::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
                (path, body)
            })
            .collect();
        assert!(!files.is_empty(), "no terraform in {folder}");
        Self { files }
    }

    /// Every top-level block of a kind: `resource`, `variable`, `module` ...
    pub fn blocks(&self, kind: &'static str) -> impl Iterator<Item = &hcl::Block> {
        self.files.iter().flat_map(move |(_, body)| body.blocks().filter(move |block| block.identifier() == kind))
    }

    pub fn block(&self, kind: &'static str, labels: &[&str]) -> &hcl::Block {
        self.blocks(kind)
            .find(|block| block.labels().iter().map(|label| label.as_str()).eq(labels.iter().copied()))
            .unwrap_or_else(|| panic!("no {kind} {labels:?}"))
    }

    pub fn local(&self, name: &str) -> &Expression {
        self.blocks("locals").find_map(|block| attribute(block, name)).unwrap_or_else(|| panic!("no local {name}"))
    }
}

pub fn attribute<'a>(block: &'a hcl::Block, name: &str) -> Option<&'a Expression> {
    block.body().attributes().find(|attribute| attribute.key() == name).map(|attribute| attribute.expr())
}

/// The entries of an object, of `merge(...)` of objects, or of an object in parentheses.
pub fn entries(expression: &Expression) -> BTreeMap<String, &Expression> {
    match expression {
        Expression::Object(object) => object.iter().map(|(key, value)| (object_key(key), value)).collect(),
        Expression::Parenthesis(inner) => entries(inner),
        Expression::Conditional(choice) => {
            let mut both = entries(&choice.true_expr);
            both.extend(entries(&choice.false_expr));
            both
        }
        Expression::FuncCall(call) if call.name.name.as_str() == "merge" => {
            call.args.iter().flat_map(entries).collect()
        }
        _ => BTreeMap::new(),
    }
}

pub fn object_key(key: &ObjectKey) -> String {
    match key {
        ObjectKey::Identifier(name) => name.to_string(),
        ObjectKey::Expression(Expression::String(name)) => name.clone(),
        other => other.to_string(),
    }
}

pub fn number(expression: &Expression) -> u64 {
    match expression {
        Expression::Number(number) => number.as_u64().unwrap(),
        other => panic!("not a number: {other:?}"),
    }
}
