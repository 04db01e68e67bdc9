//! What the program does, a file for each of its commands.

mod arguments;
mod command;
mod control;
mod ctl;
mod doctor;
mod endpoints;
mod hosts;
mod install;
mod run;
mod sandbox;
mod signals;
mod up;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

pub(crate) use self::arguments::Arguments;
use self::arguments::Task;

/// Any failure, as one line for the user.
type Result<T, E = Failure> = std::result::Result<T, E>;

#[derive(Debug)]
struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Exit code when the program itself fails, apart from those that tests give.
const FAILED: u8 = 125;

#[expect(clippy::print_stderr, reason = "a program talks to its user")]
pub(crate) fn main(arguments: Arguments) -> ExitCode {
    let result = match arguments.task {
        Task::Run(run) => run::run(&run),
        Task::Up(up) => up::up(&up),
        Task::Ctl(ctl) => ctl::ctl(ctl),
        Task::Doctor(doctor) => Ok(doctor::doctor(doctor.engine)),
        Task::Install(install) => install::install(install),
    };
    result.unwrap_or_else(|Failure(text)| {
        eprintln!("aurora-sim: {text}");
        ExitCode::from(FAILED)
    })
}

/// Prints a line at once; a reader that has gone away is no concern of ours.
fn print(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// The runtime of the program; each cluster has one of its own besides.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
