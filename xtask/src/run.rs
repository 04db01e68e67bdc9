//! Running cargo.

use std::ffi::OsStr;
use std::process::Command;

/// The workspace's crates that are libraries for others, with their features.
const FEATURES: &[(&str, &[&str])] = &[
    ("aws-wrapper-core", &["testing"]),
    ("aws-wrapper-tls", &[]),
    ("aws-wrapper-pg", &[]),
    ("aws-wrapper-mysql", &[]),
    ("aws-wrapper-deadpool", &["pg", "mysql"]),
    ("aurora-sim", &[]),
];

pub(crate) fn demo(rest: &[String]) -> Result<(), String> {
    let mut words = vec!["run", "--release", "--quiet", "--package", "proof", "--bin", "demo", "--"];
    words.extend(rest.iter().map(String::as_str));
    cargo(&words)
}

pub(crate) fn bench(rest: &[String]) -> Result<(), String> {
    // The one that counts allocations has an allocator of its own, so it is another program.
    cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "proof",
        "--bin",
        "allocations",
        "--bin",
        "bench",
    ])?;
    let mut words = vec!["run", "--release", "--quiet", "--package", "proof", "--bin", "bench", "--"];
    words.extend(rest.iter().map(String::as_str));
    cargo(&words)
}

pub(crate) fn chaos(rest: &[String]) -> Result<(), String> {
    let mut words = vec!["run", "--quiet", "--package", "proof", "--bin", "chaos", "--"];
    words.extend(rest.iter().map(String::as_str));
    cargo(&words)
}

pub(crate) fn test(rest: &[String]) -> Result<(), String> {
    let mut words = vec!["test", "--workspace", "--no-fail-fast"];
    words.extend(rest.iter().map(String::as_str));
    cargo(&words)
}

/// Downloads and unpacks MySQL, unless that was done before.
pub(crate) fn install_mysql() -> Result<(), String> {
    cargo(&["run", "--quiet", "--package", "aurora-sim", "--", "install", "--engine", "mysql"])
}

pub(crate) fn docs() -> Result<(), String> {
    cargo(&["run", "--quiet", "--package", "aws-wrapper-core", "--example", "docs"])
}

pub(crate) fn features() -> Result<(), String> {
    for (package, features) in FEATURES {
        cargo(&["check", "--quiet", "--package", package, "--no-default-features"])?;
        for feature in *features {
            cargo(&[
                "check",
                "--quiet",
                "--package",
                package,
                "--no-default-features",
                "--features",
                feature,
            ])?;
        }
    }
    Ok(())
}

fn cargo<S: AsRef<OsStr>>(words: &[S]) -> Result<(), String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program).args(words).status().map_err(|error| format!("cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("the command above failed".into()) }
}
