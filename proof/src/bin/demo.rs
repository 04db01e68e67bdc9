//! `demo [--engine postgres|mysql] [--rounds N] [--connections N] [--promote-after MS] [--dns-lag MS] [--out DIR]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use aurora_sim::Engine;
use proof::demo::report::Report;
use proof::demo::{Options, run_round, timeline};
use proof::driver::{AnyError, Driver, MySql, Pg};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let Arguments { engine, options, out } = arguments(std::env::args().skip(1))?;
    match engine {
        Engine::MySql => run::<MySql>(&options, &out).await,
        _ => run::<Pg>(&options, &out).await,
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]
async fn run<D: Driver>(options: &Options, out: &Path) -> Result<(), AnyError> {
    let mut report = Report::new::<D>(options.connections);
    tokio::fs::create_dir_all(out).await?;
    for round in 1..=options.rounds {
        eprintln!(
            "round {round} of {}: three {} instances, {} connection(s) of each kind, the writer is killed, a reader is \
             promoted {:?} later; the cluster's name follows after another {:?}",
            options.rounds,
            D::SERVER,
            options.connections,
            options.promote_after,
            options.dns_lag
        );
        let incident = run_round::<D>(options).await?;
        if round == 1 {
            tokio::fs::write(out.join("timeline.svg"), timeline::draw(&incident)).await?;
        }
        report.rounds.push(incident.round);
    }
    tokio::fs::write(out.join("report.json"), serde_json::to_vec_pretty(&report)?).await?;
    println!("{}", report.text());
    println!("written: {0}/report.json, {0}/timeline.svg", out.display());
    Ok(())
}

struct Arguments {
    engine: Engine,
    options: Options,
    out: PathBuf,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut engine = Engine::default();
    let mut options = Options::default();
    let mut out = PathBuf::from("target/demo");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("`{word}` takes a number, not `{value}`"));
        match word.as_str() {
            "--engine" => engine = value.parse().map_err(|error: aurora_sim::Error| error.to_string())?,
            "--rounds" => options.rounds = number()?.clamp(1, 100),
            "--connections" => options.connections = number()?.clamp(1, 200),
            "--promote-after" => options.promote_after = Duration::from_millis(number()?.into()),
            "--dns-lag" => options.dns_lag = Duration::from_millis(number()?.into()),
            "--out" => out = value.into(),
            _ => {
                return Err(format!(
                    "`{word}` is unknown; known: --engine postgres|mysql, --rounds N, --connections N, --promote-after MS, \
                     --dns-lag MS, --out DIR"
                ));
            }
        }
    }
    Ok(Arguments { engine, options, out })
}
