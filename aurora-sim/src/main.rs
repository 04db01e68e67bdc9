//! The program `aurora-sim`: clusters for tests in any language.

mod program;

use std::process::ExitCode;

use clap::Parser;

use crate::program::Arguments;

fn main() -> ExitCode {
    program::main(Arguments::parse())
}
