//! Instructions a call takes, counted by callgrind: the same on every run, whatever else the machine does.

use std::process::Stdio;

use tokio::process::Command;

use crate::bench::report::Line;
use crate::bench::{Side, Subject};
use crate::driver::AnyError;

/// Calls of the shorter run; the longer one makes three times as many, and the difference cancels what starting costs.
const CALLS: u64 = 2_000;

/// Counts for a call through the pipeline on a driver that talks to nobody, and for `SELECT 1` on both sides. Nothing
/// where valgrind is not installed.
///
/// # Errors
/// When a child fails.
pub async fn measure(subject: &Subject<'_>) -> Result<Vec<Line>, AnyError> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        return Ok(Vec::new());
    }
    let direct = per_call(&["calls-child", "direct"]).await?;
    let default = per_call(&["calls-child", "default"]).await?;
    let one = per_call(&["calls-child", "observers-1"]).await?;
    let six = per_call(&["calls-child", "observers-6"]).await?;
    let mut lines = vec![
        Line::counted("pipeline, default plugins, per call", direct, default),
        Line::counted("pipeline, each further observing plugin", 0.0, (six - one) / 5.0),
    ];
    for (form, name) in [("text", "as text"), ("long", "as text of 1 kB"), ("prepared", "prepared")] {
        let bare = queries(subject, Side::Bare, form).await?;
        for side in subject.sides.iter().copied().filter(|side| *side != Side::Bare) {
            let name = format!("SELECT 1 {name}, loopback, client side{}", side.note());
            lines.push(Line::counted(name, bare, queries(subject, side, form).await?));
        }
    }
    Ok(lines)
}

async fn queries(subject: &Subject<'_>, side: Side, form: &str) -> Result<f64, AnyError> {
    per_call(&["queries-child", subject.engine, side.word(), form, subject.address]).await
}

async fn per_call(mode: &[&str]) -> Result<f64, AnyError> {
    let (short, long) = (count(mode, CALLS).await?, count(mode, 3 * CALLS).await?);
    #[expect(clippy::cast_precision_loss, reason = "far below the limit")]
    let per_call = (long - short) as f64 / (2 * CALLS) as f64;
    Ok(per_call)
}

async fn count(mode: &[&str], calls: u64) -> Result<u64, AnyError> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(mode)
        .arg(calls.to_string())
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    match collected {
        Some((_, number)) if output.status.success() => Ok(number.trim().parse()?),
        _ => Err(format!("callgrind: {text}").into()),
    }
}
