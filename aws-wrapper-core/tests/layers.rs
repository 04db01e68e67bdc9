//! The modules of this crate are layers: each imports only those that stand before it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the crate, lowest first. `ARCHITECTURE.md` shows the same as a picture.
const LAYERS: &[&str] = &[
    // The model.
    "host",
    "method",
    "error",
    "table",
    "engine",
    "endpoint",
    "config",
    // What a session is.
    "session",
    // What every part may use.
    "telemetry",
    "registry",
    "events",
    "tasks",
    "availability",
    "resolver",
    "select",
    "pooling",
    // What a server is, and how it is reached and asked.
    "dialect",
    "runtime",
    "probe",
    "driver",
    // What is known of hosts and clusters.
    "health",
    "topology",
    // Behaviours around connecting and calling.
    "plugin",
    "pipeline",
    "switch",
    "retry",
    "plugins",
    // Who owns it all, and how a user gets it.
    "services",
    "connector",
    "testing",
];

#[test]
fn each_module_imports_only_those_before_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in sources(&root).iter().filter(|file| file.file_name().unwrap() != "lib.rs") {
        let path = file.strip_prefix(&root).unwrap();
        let own = module_of(path);
        let from = place(&own).unwrap_or_else(|| panic!("`{}` is no layer", path.display()));
        for used in modules_used(&without_tests(&fs::read_to_string(file).unwrap())) {
            match place(&used) {
                Some(to) if to > from => {
                    wrong.push(format!(
                        "src/{} imports `{used}`, which stands behind `{own}`",
                        path.display()
                    ));
                }
                Some(_) => {}
                None => {
                    wrong.push(format!("src/{} imports `crate::{used}`, which is no layer", path.display()));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn place(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

/// All source files but those that are tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && path.file_name().unwrap() != "tests.rs" {
            found.push(path);
        }
    }
    found
}

/// `a` for `a.rs`, `a/mod.rs` and `a/b.rs`.
fn module_of(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_string_lossy();
    first.strip_suffix(".rs").unwrap_or(&first).to_owned()
}

/// The code in front of the tests, which may use everything, without comments.
fn without_tests(source: &str) -> String {
    let code = source.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow `crate::`. A group of several modules in braces counts as one without a name.
fn modules_used(code: &str) -> impl Iterator<Item = String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    code.split("crate::").skip(1).map(name)
}
