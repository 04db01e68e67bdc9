//! `bench [--engine postgres|mysql|both] [--only NAME,…] [--quick] [--cores any|together] [--out DIR]`

use std::path::{Path, PathBuf};

use aurora_sim::Engine;
use proof::bench::cores::Cores;
use proof::bench::measure::Measure;
use proof::bench::plan::Plan;
use proof::bench::report::{Findings, Group, Report};
use proof::bench::{children, conditions};
use proof::driver::{AnyError, Driver, MySql, Pg};
use tokio::time::Instant;

fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(result) = single.block_on(children::be_one(&words)) {
        return result;
    }
    drop(single);
    let arguments = Arguments::parse(&words)?;
    run(&arguments)
}

#[derive(Debug)]
struct Arguments {
    engines: Vec<Engine>,
    measures: Vec<Measure>,
    plan: Plan,
    cores: Option<Cores>,
    out: PathBuf,
}

impl Arguments {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut arguments = Self {
            engines: vec![Engine::Postgres],
            measures: Measure::ALL.into(),
            plan: Plan::FULL,
            cores: None,
            out: "target/bench".into(),
        };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            if word == "--quick" {
                arguments.plan = Plan::QUICK;
                continue;
            }
            let value = words.next();
            match (word, value) {
                ("--engine", Some("both")) => arguments.engines = vec![Engine::Postgres, Engine::MySql],
                ("--engine", Some(engine)) => {
                    arguments.engines =
                        vec![engine.parse().map_err(|error: aurora_sim::Error| error.to_string())?];
                }
                ("--only", Some(names)) => {
                    arguments.measures = names.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                ("--cores", Some("any")) => arguments.cores = Some(Cores::Any),
                ("--cores", Some("together")) => arguments.cores = Some(Cores::Together),
                ("--out", Some(folder)) => arguments.out = folder.into(),
                _ => {
                    return Err(format!(
                        "`{word} {}` is unknown; known: --engine postgres|mysql|both, --only NAME,…, --quick, --cores \
                         any|together, --out DIR; names: {}",
                        value.unwrap_or_default(),
                        Measure::ALL.map(Measure::word).join(", ")
                    ));
                }
            }
        }
        Ok(arguments)
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]
fn run(arguments: &Arguments) -> Result<(), AnyError> {
    let Arguments { engines, measures, plan, cores, out } = arguments;
    let started = Instant::now();
    let load = conditions::load()?;
    let mut report = Report::default();
    report.conditions = vec![format!("Date: {}.", conditions::date()), conditions::machine()?];
    let mut is_once_done = false;
    for engine in engines {
        let single = Measure::Calls.runtime()?;
        report.conditions.push(match engine {
            Engine::MySql => single.block_on(conditions::server::<MySql>())?,
            _ => single.block_on(conditions::server::<Pg>())?,
        });
        for measure in measures {
            if measure.is_for_no_engine() && std::mem::replace(&mut is_once_done, true) {
                continue;
            }
            eprintln!("{engine}: {} …", measure.word());
            let cores = cores.unwrap_or(measure.cores());
            cores.apply()?;
            let group = match engine {
                Engine::MySql => group::<MySql>(*measure, plan, cores)?,
                _ => group::<Pg>(*measure, plan, cores)?,
            };
            report.groups.push(group);
            // What is there already is worth having if the next one is not to be waited for.
            write(&report, out)?;
        }
    }
    report.conditions.push(conditions::rounds(plan));
    report.conditions.push(format!(
        "Load average of the last minute: {load} before, {} after; {:.0} s in all. Others may have used the machine at the \
         same time: ratios are what counts.",
        conditions::load()?,
        started.elapsed().as_secs_f64()
    ));
    write(&report, out)?;
    println!("{}", report.markdown());
    println!("written: {0}/report.md, {0}/report.json, {0}/*.svg", out.display());
    Ok(())
}

/// A measurement that fails says so in the report; the others go on.
#[expect(clippy::print_stderr, reason = "a program that prints its findings")]
fn group<D: Driver>(measure: Measure, plan: &Plan, cores: Cores) -> Result<Group, AnyError> {
    let (started, load) = (Instant::now(), conditions::load()?);
    let mut findings = measure.runtime()?.block_on(measure.run::<D>(plan)).unwrap_or_else(|error| {
        eprintln!("not measured: {error}");
        let mut findings = Findings::default();
        findings.notes.push(format!("Not measured: {error}."));
        findings
    });
    findings.notes.push(format!(
        "{:.0} s, processors {cores}; load average {load} before, {} after.",
        started.elapsed().as_secs_f64(),
        conditions::load()?
    ));
    let prefix = if measure.is_for_no_engine() { "mock driver".to_owned() } else { D::ENGINE.to_string() };
    Ok(Group::new(&prefix, measure.title(), findings))
}

fn write(report: &Report, out: &Path) -> Result<(), AnyError> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("report.md"), report.markdown())?;
    std::fs::write(out.join("report.json"), report.json()?)?;
    for plot in report.groups.iter().flat_map(|group| &group.findings.plots) {
        std::fs::write(out.join(&plot.file), plot.svg())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood() {
        let arguments = Arguments::parse(&["--engine", "both", "--only", "calls,memory", "--quick"]).unwrap();
        assert_eq!(arguments.engines, [Engine::Postgres, Engine::MySql]);
        assert_eq!(arguments.measures, [Measure::Calls, Measure::Memory]);
        assert_eq!(arguments.plan.blocks, Plan::QUICK.blocks);
        assert!(Arguments::parse(&["--blocks", "3"]).unwrap_err().contains("--only NAME"));
        assert!(Arguments::parse(&["--only", "speed"]).unwrap_err().contains("pipeline"));
    }
}
