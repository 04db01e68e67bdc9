//! Programs of their own: what must be measured in a fresh process is.

use std::process::Stdio;

use aurora_sim::Engine;
use tokio::process::Command;

use crate::bench::{Side, connect, memory, pipeline, setting};
use crate::driver::{AnyError, Driver, MySql, Pg, Session};

/// Runs this program with these words and returns what it printed.
///
/// # Errors
/// When it fails.
pub async fn run(words: &[&str]) -> Result<String, AnyError> {
    let output = Command::new(std::env::current_exe()?).args(words).stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        return Err(format!("{words:?} failed").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What such a program does. Nothing if these words do not name one.
pub async fn be_one(words: &[&str]) -> Option<Result<(), AnyError>> {
    let child = match *words {
        ["calls-child", way, calls] => match calls.parse() {
            Ok(calls) => return Some(pipeline::run(way, calls).await),
            Err(_) => return Some(Err("unreadable arguments".into())),
        },
        [child @ ("memory-child" | "queries-child" | "connect-child"), ..] => child,
        _ => return None,
    };
    let (engine, rest) = words[1..].split_first()?;
    Some(match engine.parse() {
        Ok(Engine::MySql) => with_server::<MySql>(child, rest).await,
        Ok(_) => with_server::<Pg>(child, rest).await,
        Err(error) => Err(error.into()),
    })
}

#[expect(clippy::print_stdout, reason = "what it prints is read by the program that started it")]
async fn with_server<D: Driver>(child: &str, words: &[&str]) -> Result<(), AnyError> {
    match (child, words) {
        ("memory-child", [side, address, connections]) => {
            let (address, connections) = (address.parse()?, connections.parse()?);
            let (kb, threads) = if side.parse::<Side>()? == Side::Bare {
                memory::of(async || D::bare(setting::NAME, address).await, connections).await?
            } else {
                let connector = setting::connector::<D>(address, &[])?;
                memory::of(async || D::wrapped(&connector).await, connections).await?
            };
            println!("{kb} {threads}");
            Ok(())
        }
        ("connect-child", [who, address]) => {
            let elapsed = connect::first_in_process::<D>(who, address.parse()?).await?;
            println!("{}", elapsed.as_secs_f64() * 1e3);
            Ok(())
        }
        ("queries-child", [side, form, address, queries]) => {
            let (address, queries) = (address.parse()?, queries.parse()?);
            match side.parse()? {
                Side::Bare => ask(D::bare(setting::NAME, address).await?, form, queries).await,
                Side::Wrapped => {
                    let session = D::wrapped(&setting::connector::<D>(address, &[])?).await?;
                    ask(session, form, queries).await
                }
                Side::Generic => {
                    let session = D::wrapped(&setting::connector::<D>(address, &[])?).await?;
                    ask(D::generic(session).ok_or("no such trait")?, form, queries).await
                }
            }
        }
        _ => Err("unreadable arguments".into()),
    }
}

/// Runs `SELECT 1` so many times.
async fn ask(mut session: impl Session, form: &str, queries: u32) -> Result<(), AnyError> {
    if form == "prepared" {
        let statement = session.prepare("SELECT 1").await?;
        for _ in 0..queries {
            session.ask_prepared(&statement).await?;
        }
        return Ok(());
    }
    let sql = match form {
        "text" => "SELECT 1".to_owned(),
        "long" => format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 330].join(", ")),
        _ => return Err(format!("`{form}` is no form of a query").into()),
    };
    for _ in 0..queries {
        session.ask(&sql).await?;
    }
    Ok(())
}
