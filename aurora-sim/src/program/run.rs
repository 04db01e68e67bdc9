//! `run`: clusters for the time of one command.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use aurora_sim::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::arguments::Run;
use super::control::Control;
use super::endpoints::{CONTROL_FILE, describe, environment};
use super::sandbox::{HOSTS, Sandbox, Watch, bound_to_us, prepare};
use super::signals::{Signals, exit_code};
use super::{Failure, Result, hosts, runtime};

/// A command that was told to end has this long before it is killed.
const GRACE: Duration = Duration::from_secs(5);

#[expect(clippy::print_stderr, reason = "a program talks to its user")]
pub(super) fn run(run: &Run) -> Result<ExitCode> {
    let Some(folder) = &run.prepared else {
        let folder = prepare()?;
        let sandbox = Sandbox::detect();
        if sandbox != Sandbox::Unavailable {
            let failure = sandbox.enter(&folder, run.host_network);
            fs::remove_dir_all(&folder)?;
            return Err(failure);
        }
        eprintln!(
            "aurora-sim: no namespaces here, so host names do not resolve by themselves; \
             AURORA_SIM_HOSTS names a hosts file"
        );
        return run_in(&folder, run);
    };
    run_in(folder, run)
}

fn run_in(folder: &Path, run: &Run) -> Result<ExitCode> {
    let _watch = Watch::start(folder)?;
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let clusters = tokio::select! {
            clusters = start(run) => clusters?,
            signal = signals.next() => return Ok(ExitCode::from(exit_code(signal))),
        };
        let hosts_file = folder.join(HOSTS);
        let names: Vec<_> = clusters.iter().map(|cluster| cluster.names()).collect();
        let mut variables = vec![("AURORA_SIM_HOSTS".to_owned(), hosts_file.display().to_string())];
        let mut controls = Vec::new();
        for (number, cluster) in (1..).zip(&clusters) {
            let control = Control::start(cluster.clone()).await?;
            let endpoints = describe(cluster, &control.url());
            fs::write(cluster.folder().join(CONTROL_FILE), endpoints.to_string())?;
            variables.extend(environment(cluster, &control.url(), number));
            controls.push(control);
        }
        tokio::select! {
            biased;
            ended = hosts::follow(&hosts_file, &names) => Err(ended.err().map_or("names ended".into(), Failure::from)),
            code = command(&run.command, variables, &mut signals) => code,
        }
    })
}

async fn start(run: &Run) -> Result<Vec<Arc<Cluster>>> {
    let mut starts = JoinSet::new();
    for number in 1..=run.clusters {
        let builder = run.shape.builder(number);
        starts.spawn(async move { (number, builder.start().await) });
    }
    let mut clusters = Vec::new();
    while let Some(started) = starts.join_next().await {
        let (number, cluster) = started?;
        clusters.push((number, Arc::new(cluster?)));
    }
    clusters.sort_by_key(|(number, _)| *number);
    Ok(clusters.into_iter().map(|(_, cluster)| cluster).collect())
}

async fn command(
    words: &[OsString],
    variables: Vec<(String, String)>,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let bound = bound_to_us(words);
    let mut child = Command::new(&bound[0]).args(&bound[1..]).envs(variables).kill_on_drop(true).spawn()?;
    let mut killed_by = None;
    let mut deadline = None;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(ExitCode::from(killed_by.map_or_else(|| code_of(status), Ok)?)),
            signal = signals.next() => {
                if deadline.is_some() {
                    deadline = Some(Instant::now());
                    continue;
                }
                // The terminal has sent an interrupt to the command as well.
                if signal != Signal::INT.as_raw() {
                    forward(&child, bound.len() - words.len() > 4, signal);
                }
                deadline = Some(Instant::now() + GRACE);
            }
            () = until(deadline), if deadline.is_some() => {
                killed_by = Some(exit_code(Signal::KILL.as_raw()));
                deadline = None;
                child.start_kill()?;
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}

fn code_of(status: std::io::Result<ExitStatus>) -> Result<u8> {
    use std::os::unix::process::ExitStatusExt;
    let status = status?;
    let code = status.code().or_else(|| status.signal().map(|signal| i32::from(exit_code(signal))));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Passes a signal on to the command, which is the grandchild of our child when it has a PID namespace.
fn forward(child: &Child, isolated: bool, signal: i32) {
    let Some(mut pid) = child.id() else { return };
    for _ in 0..if isolated { 2 } else { 0 } {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let Some(next) = children.split_whitespace().next().and_then(|word| word.parse().ok()) else {
            return;
        };
        pid = next;
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // An error means that it has ended already.
        let _ = kill_process(pid, signal);
    }
}
