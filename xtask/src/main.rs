//! `cargo xtask …`: every command the README names.

mod packages;
mod run;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo [--engine postgres|mysql] [--rounds N] [--connections N] [--promote-after MS] [--dns-lag MS]
    A real three-instance cluster, the writer killed under load, the wrapper and the bare driver side by side.
    Writes target/demo/report.json and target/demo/timeline.svg.
cargo xtask test [FILTER]
    The whole test suite: unit tests, documentation tests, and the behaviour suite on real clusters of both engines.
cargo xtask bench [--engine postgres|mysql|both] [--only NAME,...] [--quick]
    The wrapper against the bare driver in the same run: calls, checkouts, 64 tasks, connects, memory, monitoring connections,
    detection of silent hosts, failover, a pool after a failover, reads over readers, instructions.
    Names: pipeline, calls, checkout, contended, connect, memory, monitors, detection, outage, pool, readers, instructions.
    Writes target/bench/report.md, target/bench/report.json and pictures of the distributions, target/bench/*.svg.
cargo xtask chaos [--engine postgres|mysql] [--seed N] [--minutes M | --seconds S] [--schedules K]
    A pool of 50 on a cluster on which random faults are played, and a check that nothing was lost, doubled, answered by
    the wrong server, told wrongly, late or left over. The same seed plays the same faults. Fails if a promise was broken.
cargo xtask docs
    Writes docs/parameters.md and the tables in docs/guide/telemetry.md from those in the source.
cargo xtask features
    Checks that each feature of each crate compiles alone.";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match words.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "demo" => packages::ensure_for(rest).and_then(|()| run::demo(rest)),
        "test" => packages::ensure_all().and_then(|()| run::test(rest)),
        "bench" => packages::ensure_for(rest).and_then(|()| run::bench(rest)),
        "chaos" => packages::ensure_for(rest).and_then(|()| run::chaos(rest)),
        "docs" => run::docs(),
        "features" => run::features(),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("`{other}` is unknown\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
