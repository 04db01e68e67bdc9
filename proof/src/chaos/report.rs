//! The summary of all schedules of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use aurora_sim::Engine;

use crate::chaos::check::{Rule, Violation};
use crate::chaos::run::Outcome;
use crate::chaos::schedule::Fault;

/// Adds up schedules.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    engine: Engine,
    seconds: u64,
    seeds: Vec<u64>,
    faults: BTreeMap<Fault, u64>,
    impossible: BTreeMap<Fault, u64>,
    calls: BTreeMap<&'static str, u64>,
    errors: BTreeMap<String, u64>,
    writes: [u64; 3],
    outages: Vec<Duration>,
    tolerated: u64,
    heard: u64,
    memory: Vec<u64>,
    violations: Vec<(u64, Violation)>,
    not_judged: Vec<u64>,
}

fn add<K: Ord + Clone>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(key.clone()).or_default() += count;
    }
}

impl Report {
    /// Nothing yet. Schedules have this length.
    pub fn new(engine: Engine, length: Duration) -> Self {
        Self {
            engine,
            seconds: length.as_secs(),
            seeds: Vec::new(),
            faults: BTreeMap::new(),
            impossible: BTreeMap::new(),
            calls: BTreeMap::new(),
            errors: BTreeMap::new(),
            writes: [0; 3],
            outages: Vec::new(),
            tolerated: 0,
            heard: 0,
            memory: Vec::new(),
            violations: Vec::new(),
            not_judged: Vec::new(),
        }
    }

    /// Adds a schedule.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds.push(seed);
        add(&mut self.faults, &outcome.faults);
        add(&mut self.impossible, &outcome.impossible);
        add(&mut self.calls, &outcome.calls);
        add(&mut self.errors, &outcome.errors);
        for (sum, more) in self.writes.iter_mut().zip(outcome.writes) {
            *sum += more;
        }
        self.outages.extend(outcome.outages);
        self.outages.sort_unstable_by(|a, b| b.cmp(a));
        self.tolerated += outcome.tolerated;
        self.heard += outcome.heard;
        self.memory.push(outcome.memory);
        self.violations.extend(outcome.violations.into_iter().map(|violation| (seed, violation)));
    }

    /// Adds a schedule that says nothing, because the simulator failed.
    pub fn not_judged(&mut self, seed: u64) {
        self.not_judged.push(seed);
    }

    /// Whether every promise was kept, and there was a schedule to show it.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && !self.seeds.is_empty()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let line = |text: &mut String, name: &str, counts: String| {
            let _ = writeln!(text, "{name}: {counts}");
        };
        let total: u64 = self.faults.values().sum();
        line(&mut text, "seeds", format!("{:?}", self.seeds));
        if !self.not_judged.is_empty() {
            line(&mut text, "not judged, because the simulator failed", format!("{:?}", self.not_judged));
        }
        let faults: Vec<_> =
            self.faults.iter().map(|(fault, count)| format!("{} {count}", fault.name())).collect();
        line(&mut text, "faults", format!("{total} ({})", faults.join(", ")));
        let impossible: Vec<_> =
            self.impossible.iter().map(|(fault, count)| format!("{} {count}", fault.name())).collect();
        if !impossible.is_empty() {
            line(&mut text, "cut short, because the cluster was in no state for it", impossible.join(", "));
        }
        line(&mut text, "calls", format!("{} {:?}", self.calls.values().sum::<u64>(), self.calls));
        line(
            &mut text,
            "writes",
            format!("{} acknowledged, {} failed, {} dropped", self.writes[0], self.writes[1], self.writes[2]),
        );
        text.push_str("errors:\n");
        for (kind, count) in &self.errors {
            let _ = writeln!(text, "  {count:7} {kind}");
        }
        let longest: Vec<_> =
            self.outages.iter().take(5).map(|gap| format!("{:.1}s", gap.as_secs_f64())).collect();
        line(&mut text, "outages", format!("{}, longest {}", self.outages.len(), longest.join(", ")));
        line(
            &mut text,
            "strict reads of a former writer before it could be known",
            self.tolerated.to_string(),
        );
        line(&mut text, "notifications received", self.heard.to_string());
        let mib = |bytes: Option<&u64>| bytes.map_or(0, |bytes| bytes >> 20);
        let memory =
            format!("{} MiB at first, {} MiB at the end", mib(self.memory.first()), mib(self.memory.last()));
        line(&mut text, "memory", memory);
        for rule in Rule::ALL {
            let broken = self.violations.iter().filter(|(_, violation)| violation.rule == rule).count();
            let verdict = if broken == 0 { "held".to_owned() } else { format!("BROKEN {broken} times") };
            let _ = writeln!(text, "  {verdict:16} {}", rule.text());
        }
        text
    }

    /// The command line that plays a seed again.
    pub fn replay(&self, seed: u64) -> String {
        format!("cargo xtask chaos --engine {} --seed {seed} --seconds {}", self.engine, self.seconds)
    }
}
