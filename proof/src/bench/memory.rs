//! Memory per connection: a process with wrapped and one with bare connections, measured from the inside.

use std::process::Stdio;

use tokio::process::Command;

use crate::bench::report::Line;
use crate::bench::{Side, Subject};
use crate::driver::AnyError;

/// Anonymous resident memory of this process in kB.
///
/// # Errors
/// When the kernel does not tell.
pub fn resident_kb() -> Result<f64, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}

/// How many threads this process has.
///
/// # Errors
/// When the kernel does not tell.
pub fn threads() -> Result<u32, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("Threads:")).ok_or("no Threads")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}

/// Runs this program once for each side and compares what a connection took there.
///
/// # Errors
/// When a child fails.
pub async fn measure(subject: &Subject<'_>, connections: usize) -> Result<Vec<Line>, AnyError> {
    let mut sides = Vec::new();
    for side in [Side::Bare, Side::Wrapped].map(Side::word) {
        let output = Command::new(std::env::current_exe()?)
            .args(["memory-child", subject.engine, side, subject.address, &connections.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .await?;
        if !output.status.success() {
            return Err(format!("the {side} side failed").into());
        }
        let text = String::from_utf8(output.stdout)?;
        let (kb, threads) = text.trim().split_once(' ').ok_or("unreadable child")?;
        sides.push((kb.parse::<f64>()?, threads.parse::<f64>()?));
    }
    let ((bare, bare_threads), (wrapped, wrapped_threads)) = (sides[0], sides[1]);
    Ok(vec![
        Line::difference(
            format!("memory per connection, {connections} connections"),
            "kB",
            bare,
            wrapped,
            2.0,
        ),
        Line::difference("threads of the process", "threads", bare_threads, wrapped_threads, 0.0),
    ])
}
