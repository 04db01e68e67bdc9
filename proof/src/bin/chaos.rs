//! `chaos [--engine postgres|mysql] [--seed N] [--minutes M | --seconds S] [--schedules K]`

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_sim::Engine;
use aws_wrapper_deadpool::mysql::MySql;
use aws_wrapper_deadpool::pg::Pg;
use proof::chaos::target::Target;
use proof::chaos::{Report, Schedule, Stand};
use proof::driver::AnyError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy(),
        )
        .with_writer(std::io::stderr)
        .init();
    let arguments = arguments(std::env::args().skip(1))?;
    match arguments.engine {
        Engine::MySql => run::<MySql>(&arguments).await,
        _ => run::<Pg>(&arguments).await,
    }
}

/// Of so many violations of one schedule the text is shown.
const SHOWN: usize = 12;

#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
async fn run<T: Target>(arguments: &Arguments) -> Result<ExitCode, AnyError> {
    let mut report = Report::new(T::ENGINE, arguments.length);
    let mut stand: Option<Stand> = None;
    for &seed in &arguments.seeds {
        let schedule = Schedule::new(seed, T::ENGINE, arguments.length);
        println!("seed {seed}: {}", report.replay(seed));
        for step in &schedule.steps {
            println!("    {step}");
        }
        let mut current = match stand.take() {
            Some(stand) => stand,
            None => Stand::start::<T>().await?,
        };
        let outcome = match current.run::<T>(&schedule).await {
            Ok(outcome) => outcome,
            // Nothing can be said of the wrapper then; the next schedule gets another cluster.
            Err(error) => {
                println!("  NOT JUDGED, the simulator failed: {error}");
                report.not_judged(seed);
                current.end().await;
                continue;
            }
        };
        println!(
            "  {} acknowledged writes, {} errors, {} violations, {:.1}s",
            outcome.writes[0],
            outcome.errors.values().sum::<u64>(),
            outcome.violations.len(),
            outcome.took.as_secs_f64()
        );
        for reason in &outcome.reasons {
            println!("  cut short: {reason}");
        }
        for violation in outcome.violations.iter().take(SHOWN) {
            println!("  VIOLATION {violation}");
        }
        if outcome.violations.is_empty() {
            stand = Some(current);
        } else {
            println!("  replay: {}", report.replay(seed));
            // Whatever is left over must not spoil the next one.
            current.end().await;
        }
        report.add(seed, outcome);
    }
    if let Some(stand) = stand {
        stand.end().await;
    }
    println!("\n{}", report.text());
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Arguments {
    engine: Engine,
    seeds: Vec<u64>,
    length: Duration,
}

/// How long a schedule is when several are asked for, in seconds.
const SHORT: u64 = 10;

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut engine, mut seeds, mut length, mut schedules) = (Engine::default(), Vec::new(), None, 1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| format!("`{word}` takes a number, not `{text}`"));
        match word.as_str() {
            "--engine" => engine = value.parse().map_err(|error: aurora_sim::Error| error.to_string())?,
            "--seed" => {
                for seed in value.split(',') {
                    seeds.push(if seed == "new" { new_seed() } else { number(seed)? });
                }
            }
            "--minutes" => length = Some(number(&value)?.clamp(1, 24 * 60) * 60),
            "--seconds" => length = Some(number(&value)?.clamp(2, 24 * 60 * 60)),
            "--schedules" => schedules = number(&value)?.clamp(1, 100_000),
            _ => {
                return Err(format!(
                    "`{word}` is unknown; known: --engine postgres|mysql, --seed N[,N,new], --minutes M, --seconds S, \
                     --schedules K"
                ));
            }
        }
    }
    if seeds.is_empty() {
        seeds.push(new_seed());
    }
    let last = seeds[seeds.len() - 1];
    seeds.extend((1..schedules).map(|more| last.wrapping_add(more)));
    let default = if seeds.len() > 1 { SHORT } else { 60 };
    Ok(Arguments { engine, seeds, length: Duration::from_secs(length.unwrap_or(default)) })
}

/// One that was probably never played before; short, because people type it.
fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() % 100_000_000
}
