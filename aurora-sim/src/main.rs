//! The program `aurora-sim`: clusters for tests in any language.

#![expect(clippy::doc_markdown, reason = "PostgreSQL is a name, not an identifier")]
#![expect(clippy::result_large_err, reason = "a failure ends the program: nothing is hot here")]

mod program;

use std::process::ExitCode;

use clap::Parser;

use crate::program::Arguments;

fn main() -> ExitCode {
    program::main(Arguments::parse())
}
