//! Figures of the demo, printed and written as JSON.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use aurora_sim::FailoverReport;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::topology::cluster::ClusterStatus;
use serde::Serialize;
use tokio::time::Instant;

use crate::demo::workload::Log;
use crate::driver::{Driver, RowId};

/// All rounds.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The database.
    pub engine: String,
    /// The bare driver.
    pub driver: &'static str,
    /// Connections of each kind in every round.
    pub connections: u32,
    /// Each round.
    pub rounds: Vec<Round>,
}

/// One crash, seen by both.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Round {
    /// Through the wrapper.
    pub wrapper: Figures,
    /// Through the bare driver with a reconnect loop.
    pub bare: Figures,
    /// What the wrapper's search for the writer cost the servers.
    pub search: Search,
}

/// What the topology monitor did, however many connections waited for it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Search {
    /// How often connections asked for a proved writer.
    pub requests: u64,
    /// How many of these shared the answer of another.
    pub shared: u64,
    /// How often every host was asked in quick succession.
    pub panics: u64,
    /// Questions sent to the hosts, all together.
    pub probes: u64,
}

impl Search {
    /// What the monitors of a connector have done so far.
    pub fn so_far(services: &Services) -> Self {
        let status = services.status();
        let sum = |pick: fn(&ClusterStatus) -> u64| status.clusters.iter().map(pick).sum();
        Self {
            requests: sum(|cluster| cluster.verify_requests),
            shared: sum(|cluster| cluster.coalesced_requests),
            panics: sum(|cluster| cluster.panics),
            probes: sum(|cluster| cluster.probes),
        }
    }

    /// What was done after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            shared: self.shared - before.shared,
            panics: self.panics - before.panics,
            probes: self.probes - before.probes,
        }
    }
}

/// What the connections of one kind saw in one round. With several connections: the worst of them.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Errors the application saw, of the connection that saw most.
    pub errors: usize,
    /// From the last acknowledged write before the crash to the first after it, the longest.
    pub gap_ms: f64,
    /// From the moment the new writer was writable to the first acknowledged write, the longest.
    pub over_writable_ms: f64,
    /// The same, median over the connections.
    pub over_writable_median_ms: f64,
    /// Acknowledged rows that are not in the table.
    pub lost: usize,
    /// Rows that are in the table more than once.
    pub doubled: usize,
}

impl Figures {
    /// The figures of `logs`, compared with the rows that are in the table afterwards.
    pub fn of(logs: &[Log], rows: &[RowId], failover: &FailoverReport) -> Self {
        let mut counts: HashMap<RowId, usize> = HashMap::with_capacity(rows.len());
        for row in rows {
            *counts.entry(*row).or_default() += 1;
        }
        let mut over: Vec<f64> = logs.iter().map(|log| over_writable(log, failover.writable_at)).collect();
        over.sort_by(f64::total_cmp);
        Self {
            errors: logs.iter().map(|log| log.errors.len()).max().unwrap_or(0),
            gap_ms: logs.iter().map(|log| gap(log, failover.writable_at)).fold(0.0, f64::max),
            over_writable_ms: over.last().copied().unwrap_or(f64::NAN),
            over_writable_median_ms: crate::median(&mut over),
            lost: logs
                .iter()
                .flat_map(|log| &log.acknowledged)
                .filter(|(_, row)| !counts.contains_key(row))
                .count(),
            doubled: counts.values().filter(|count| **count > 1).count(),
        }
    }
}

fn first_after(log: &Log, moment: Instant) -> Option<Instant> {
    log.acknowledged.iter().map(|(at, _)| *at).find(|at| *at > moment)
}

fn over_writable(log: &Log, writable: Instant) -> f64 {
    first_after(log, writable).map_or(f64::INFINITY, |first| ms(first - writable))
}

fn gap(log: &Log, writable: Instant) -> f64 {
    let last = log.acknowledged.iter().map(|(at, _)| *at).take_while(|at| *at <= writable).last();
    match (last, first_after(log, writable)) {
        (Some(last), Some(first)) => ms(first - last),
        _ => f64::INFINITY,
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl Report {
    /// An empty report.
    pub fn new<D: Driver>(connections: u32) -> Self {
        Self { engine: D::ENGINE.to_string(), driver: D::BARE, connections, rounds: Vec::new() }
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let bare = format!("bare {}", self.driver);
        let _ = writeln!(
            text,
            "{:>5}  {:<22} {:>6} {:>10} {:>15} {:>5} {:>8}",
            "round", "client", "errors", "gap ms", "over writable ms", "lost", "doubled"
        );
        for (number, round) in self.rounds.iter().enumerate() {
            for (name, figures) in [("wrapper", &round.wrapper), (bare.as_str(), &round.bare)] {
                let Figures { errors, gap_ms, over_writable_ms, lost, doubled, .. } = figures;
                let _ = writeln!(
                    text,
                    "{:>5}  {name:<22} {errors:>6} {gap_ms:>10.1} {over_writable_ms:>15.1} {lost:>5} {doubled:>8}",
                    number + 1
                );
            }
        }
        if self.connections > 1 {
            for round in &self.rounds {
                let Search { requests, shared, panics, probes } = &round.search;
                let _ = writeln!(
                    text,
                    "search for the writer: {requests} requests, {shared} of them shared an answer; {panics} time(s) \
                     all hosts were asked; {probes} questions in all"
                );
            }
        }
        if self.rounds.len() > 1 {
            let column = |pick: fn(&Round) -> f64| {
                let mut values: Vec<f64> = self.rounds.iter().map(pick).collect();
                let median = crate::median(&mut values);
                (median, values[values.len() - 1])
            };
            let (median, max) = column(|round| round.wrapper.over_writable_ms);
            let _ = writeln!(text, "wrapper: {median:.1} ms over writable (median), {max:.1} ms (max)");
            let (median, max) = column(|round| round.bare.over_writable_ms);
            let _ = writeln!(text, "bare:    {median:.1} ms over writable (median), {max:.1} ms (max)");
        }
        text
    }
}
