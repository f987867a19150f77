/// The language of a file by its name, called as GitHub's linguist calls it. None: no language, or one that nothing here
/// asks for.
pub fn language(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    by_name(name).or_else(|| {
        let (_, extension) = name.rsplit_once('.')?;
        by_extension(&extension.to_ascii_lowercase())
    })
}

fn by_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "Dockerfile" | "Containerfile" => "Dockerfile",
        "Makefile" | "makefile" | "GNUmakefile" => "Makefile",
        "CMakeLists.txt" => "CMake",
        "Gemfile" | "Rakefile" | "Vagrantfile" | "Podfile" | "Fastfile" | "Guardfile" | "Brewfile" => "Ruby",
        "Jenkinsfile" => "Groovy",
        "SConstruct" | "SConscript" | "wscript" => "Python",
        "BUILD" | "BUILD.bazel" | "WORKSPACE" | "WORKSPACE.bazel" | "MODULE.bazel" => "Starlark",
        "go.mod" => "Go Module",
        "go.sum" => "Go Checksums",
        "Cargo.lock" | "poetry.lock" | "Pipfile" | "uv.lock" => "TOML",
        "Pipfile.lock" | "composer.lock" | ".eslintrc" | ".babelrc" | ".prettierrc" => "JSON",
        ".bashrc" | ".bash_profile" | ".profile" | ".zshrc" | ".envrc" => "Shell",
        ".clang-format" | ".clang-tidy" => "YAML",
        "requirements.txt" => "Pip Requirements",
        name if name.starts_with("Dockerfile.") || name.starts_with("Containerfile.") => "Dockerfile",
        _ => return None,
    })
}

fn by_extension(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "py" | "pyw" | "pyi" => "Python",
        "ipynb" => "Jupyter Notebook",
        "js" | "mjs" | "cjs" | "jsx" => "JavaScript",
        "ts" | "mts" | "cts" => "TypeScript",
        "tsx" => "TSX",
        "vue" => "Vue",
        "svelte" => "Svelte",
        "tf" | "tfvars" | "hcl" | "nomad" => "HCL",
        "yml" | "yaml" => "YAML",
        "json" | "webmanifest" | "geojson" => "JSON",
        "jsonc" | "json5" => "JSON with Comments",
        "toml" => "TOML",
        "dockerfile" => "Dockerfile",
        "sh" | "bash" | "zsh" | "ksh" | "bats" => "Shell",
        "ps1" | "psm1" | "psd1" => "PowerShell",
        "bat" | "cmd" => "Batchfile",
        "go" => "Go",
        "java" => "Java",
        "kt" | "kts" => "Kotlin",
        "scala" | "sbt" => "Scala",
        "groovy" | "gradle" => "Groovy",
        "clj" | "cljs" | "cljc" => "Clojure",
        "rb" | "rake" | "gemspec" => "Ruby",
        "erb" => "HTML+ERB",
        "rs" => "Rust",
        "c" => "C",
        "h" => "C",
        "cc" | "cpp" | "cxx" | "hpp" | "hh" | "hxx" => "C++",
        "m" | "mm" => "Objective-C",
        "cs" => "C#",
        "fs" | "fsx" => "F#",
        "vb" => "Visual Basic .NET",
        "swift" => "Swift",
        "php" | "phtml" => "PHP",
        "pl" | "pm" => "Perl",
        "lua" => "Lua",
        "r" => "R",
        "jl" => "Julia",
        "dart" => "Dart",
        "ex" | "exs" => "Elixir",
        "erl" | "hrl" => "Erlang",
        "hs" => "Haskell",
        "ml" | "mli" => "OCaml",
        "zig" => "Zig",
        "nim" => "Nim",
        "sol" => "Solidity",
        "sql" => "SQL",
        "proto" => "Protocol Buffer",
        "graphql" | "gql" => "GraphQL",
        "html" | "htm" => "HTML",
        "css" => "CSS",
        "scss" => "SCSS",
        "less" => "Less",
        "xml" | "xsd" | "xsl" | "csproj" | "pom" => "XML",
        "md" | "markdown" => "Markdown",
        "rst" => "reStructuredText",
        "bzl" | "star" => "Starlark",
        "bicep" => "Bicep",
        "cmake" => "CMake",
        "mk" => "Makefile",
        "nix" => "Nix",
        "ini" | "cfg" | "properties" => "INI",
        "tpl" | "j2" | "jinja" | "jinja2" => "Jinja",
        "cu" => "Cuda",
        "asm" | "s" => "Assembly",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_before_extensions_and_case_does_not_matter() {
        for (path, expected) in [
            ("src/app.py", Some("Python")),
            ("a/b/INDEX.JS", Some("JavaScript")),
            ("x.tsx", Some("TSX")),
            ("main.tf", Some("HCL")),
            (".github/workflows/ci.yml", Some("YAML")),
            ("docker/Dockerfile.dev", Some("Dockerfile")),
            ("api.dockerfile", Some("Dockerfile")),
            ("CMakeLists.txt", Some("CMake")),
            ("install.sh", Some("Shell")),
            ("go.mod", Some("Go Module")),
            ("py", None),
            ("LICENSE", None),
            ("photo.png", None),
            ("folder.py/LICENSE", None),
        ] {
            assert_eq!(language(path), expected, "{path}");
        }
    }
}
