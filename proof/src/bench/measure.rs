//! The list of measurements: their names on the command line, and what each runs on.

use std::str::FromStr;

use aurora_sim::Engine;

use crate::bench::cores::Cores;
use crate::bench::plan::Plan;
use crate::bench::report::Findings;
use crate::bench::{
    calls, checkout, connect, contended, detection, instructions, memory, monitors, outage, pipeline, pool,
    readers,
};
use crate::driver::{AnyError, Driver};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "private to this program in all but name")]
pub enum Measure {
    /// A call through the pipeline on a mock driver. The same for both engines.
    Pipeline,
    /// `SELECT 1` on one connection.
    Calls,
    /// A checkout of a pool, one query, and the way back.
    Checkout,
    /// The throughput of 64 tasks.
    Contended,
    /// Opening a connection.
    Connect,
    /// Memory a connection.
    Memory,
    /// The wrapper's own connections.
    Monitors,
    /// Silent hosts.
    Detection,
    /// The writer dies.
    Outage,
    /// The writer dies under a pool.
    Pool,
    /// Reads spread over readers.
    Readers,
    /// Instructions of the client.
    Instructions,
}

impl Measure {
    /// All of them, in the order of a run.
    pub const ALL: [Self; 12] = [
        Self::Pipeline,
        Self::Calls,
        Self::Checkout,
        Self::Contended,
        Self::Connect,
        Self::Memory,
        Self::Monitors,
        Self::Detection,
        Self::Outage,
        Self::Pool,
        Self::Readers,
        Self::Instructions,
    ];

    /// As an argument.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Calls => "calls",
            Self::Checkout => "checkout",
            Self::Contended => "contended",
            Self::Connect => "connect",
            Self::Memory => "memory",
            Self::Monitors => "monitors",
            Self::Detection => "detection",
            Self::Outage => "outage",
            Self::Pool => "pool",
            Self::Readers => "readers",
            Self::Instructions => "instructions",
        }
    }

    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pipeline => "What the pipeline adds to a call",
            Self::Calls => "Calls on one connection",
            Self::Checkout => "A use of a pool",
            Self::Contended => "64 tasks",
            Self::Connect => "Connecting",
            Self::Memory => "Memory",
            Self::Monitors => "Monitoring connections",
            Self::Detection => "Detection of silent hosts",
            Self::Outage => "Failover",
            Self::Pool => "A pool after a failover",
            Self::Readers => "Reads over the readers",
            Self::Instructions => "Instructions",
        }
    }

    /// Whether it is about no engine, so that once is enough.
    pub fn is_for_no_engine(self) -> bool {
        self == Self::Pipeline
    }

    /// Processor time is accounted by thread: where it is measured everything of the clients runs on one.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub fn runtime(self) -> std::io::Result<tokio::runtime::Runtime> {
        let mut builder = match self {
            Self::Pipeline
            | Self::Calls
            | Self::Checkout
            | Self::Connect
            | Self::Memory
            | Self::Instructions => tokio::runtime::Builder::new_current_thread(),
            _ => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(2);
                builder
            }
        };
        builder.enable_all().build()
    }

    /// Where it runs, unless something else is asked for. A single query is mostly the waking of the other side, which
    /// takes three times as long on another processor than on the same one: left to the scheduler, its choices would be
    /// what is compared.
    pub fn cores(self) -> Cores {
        if matches!(self, Self::Calls | Self::Checkout) { Cores::Together } else { Cores::Any }
    }

    /// Measures.
    ///
    /// # Errors
    /// What kept it from being measured.
    pub async fn run<D: Driver>(self, plan: &Plan) -> Result<Findings, AnyError> {
        match self {
            Self::Pipeline => pipeline::measure(plan).await,
            Self::Calls => calls::measure::<D>(plan).await,
            Self::Checkout => checkout::measure::<D>(plan).await,
            Self::Contended => {
                let mut findings = contended::measure::<D>(plan).await?;
                if D::ENGINE == Engine::Postgres {
                    findings.append(contended::shared(plan).await?);
                }
                Ok(findings)
            }
            Self::Connect => connect::measure::<D>(plan).await,
            Self::Memory => memory::measure::<D>(plan).await,
            Self::Monitors => monitors::measure::<D>().await,
            Self::Detection => detection::measure::<D>(plan).await,
            Self::Outage => Ok(outage::measure::<D>(plan).await),
            Self::Pool => pool::measure::<D>(plan).await,
            Self::Readers => readers::measure::<D>(plan).await,
            Self::Instructions => instructions::measure::<D>(plan).await,
        }
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|measure| measure.word() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(", ");
            format!("`{word}` is no measurement; known: {known}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_is_found_by_its_word() {
        for measure in Measure::ALL {
            assert_eq!(measure.word().parse(), Ok(measure));
        }
        let error = "speed".parse::<Measure>().unwrap_err();
        assert!(error.contains("pipeline, calls, checkout"), "{error}");
    }
}
