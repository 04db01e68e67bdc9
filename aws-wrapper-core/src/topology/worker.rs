//! One host in a search for the writer: connect, ask, report, at the pace of the search.
//!
//! A worker holds one connection and needs one round trip per question, so a promotion is seen with the first question
//! after it. It never gives up by itself: it ends when it has proved the writer or when it is stopped, and then hands its
//! connection over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::pace::{BackOff, Beat, jittered};
use super::reading::{Reading, read};
use crate::error::{DriverClass, Error, ErrorKind, Result};
use crate::host::HostKey;
use crate::probe::{MonitorKind, Probe};

/// A connection of the monitor together with what is known about it.
#[derive(Debug)]
pub(super) struct Held {
    /// The instance that answers, if the topology has it, else the host that was dialled.
    pub(super) host: HostKey,
    pub(super) probe: Box<dyn Probe>,
}

/// What a worker tells while it goes on.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) worker: u64,
    pub(super) outcome: Result<Reading>,
}

/// What a worker leaves behind.
#[derive(Debug)]
pub(super) struct End {
    pub(super) worker: u64,
    pub(super) held: Option<Held>,
    /// The reading that proved its host to be the writer.
    pub(super) proof: Option<Reading>,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: u64,
    pub(super) host: HostKey,
    /// Whether the host is a name of the connection string, behind which some instance is.
    pub(super) is_alias: bool,
    pub(super) cluster: Arc<Cluster>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) stop: CancellationToken,
    pub(super) beat: Beat,
    /// Limit for opening a connection.
    pub(super) connect_timeout: Duration,
    /// The connection to begin with.
    pub(super) held: Option<Held>,
    /// An older connection to the host, used when the server is there but lets nobody new in.
    pub(super) spare: Option<Held>,
}

const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
const FAILED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl Worker {
    pub(super) async fn run(mut self) -> End {
        let stop = self.stop.clone();
        let mut pauses = Pauses::default();
        let mut round_trip = None;
        loop {
            let begun = Instant::now();
            let is_first = self.held.as_ref().is_none_or(|held| held.probe.has_ended());
            let Some(outcome) = stop.run_until_cancelled(self.ask()).await else {
                // Stopped in the middle of a question: what the connection says next is not known.
                return self.end(None);
            };
            let pause = match outcome {
                Ok(reading) if reading.proves_writer() => return self.end(Some(reading)),
                Ok(reading) => {
                    // The first answer of a new session is late because the session is new, not because the server is busy.
                    if !is_first {
                        smooth(&mut round_trip, reading.round_trip);
                    }
                    pauses.reset();
                    if let Some(own) = reading.own.clone().filter(|_| self.is_alias) {
                        self.host = own;
                    }
                    self.report(Ok(reading)).await;
                    None
                }
                Err(error) => {
                    self.held = None;
                    let pause = pauses.after(&error);
                    self.report(Err(error)).await;
                    pause
                }
            };
            let rested = self.rest(begun, round_trip.unwrap_or_default(), pause);
            if stop.run_until_cancelled(rested).await.is_none() {
                return self.end(None);
            }
        }
    }

    async fn ask(&mut self) -> Result<Reading> {
        // Taken out for the time of the question: a worker stopped in between must not hand it over.
        let mut held = match self.held.take() {
            Some(held) if !held.probe.has_ended() => held,
            _ => self.connect().await?,
        };
        let reading = read(&self.cluster, held.probe.as_mut()).await?;
        if let Some(own) = &reading.own {
            held.host = own.clone();
        }
        self.held = Some(held);
        Ok(reading)
    }

    async fn connect(&mut self) -> Result<Held> {
        let deadline = Instant::now() + self.connect_timeout;
        let spare = self.spare.take().filter(|spare| !spare.probe.has_ended());
        match self.cluster.contexts.connect(&self.host, MonitorKind::Topology, deadline).await {
            Ok(probe) => Ok(Held { host: self.host.clone(), probe }),
            Err(error) => match spare {
                Some(spare) if !is_unreachable(&error) => Ok(spare),
                _ => Err(error),
            },
        }
    }

    /// Waits until the next question is due.
    async fn rest(&mut self, begun: Instant, round_trip: Duration, pause: Option<Duration>) {
        if let Some(pause) = pause {
            return sleep_until(Instant::now() + pause).await;
        }
        // The chance is drawn once, so that a change of pace in between cannot be used to draw again.
        let chance = jittered(Duration::from_secs(1)).as_secs_f64();
        loop {
            let due = begun + self.beat.period(round_trip).mul_f64(chance);
            tokio::select! {
                () = sleep_until(due) => return,
                () = self.beat.changed() => {}
            }
        }
    }

    async fn report(&mut self, outcome: Result<Reading>) {
        // The monitor ends after its workers; if not, nobody needs the report.
        let _ = self.reports.send(Report { worker: self.id, outcome }).await;
    }

    fn end(self, proof: Option<Reading>) -> End {
        End { worker: self.id, held: self.held, proof }
    }
}

/// Pauses after errors that quick repetition cannot mend.
#[derive(Debug)]
struct Pauses {
    refused: BackOff,
    failed: BackOff,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { refused: BackOff::new(REFUSED.0, REFUSED.1), failed: BackOff::new(FAILED.0, FAILED.1) }
    }
}

impl Pauses {
    /// How long to wait after `error`; nothing if the pace of the search decides.
    fn after(&mut self, error: &Error) -> Option<Duration> {
        // A name that could not be looked up says nothing of its host, which may be the new writer.
        if is_unreachable(error) || error.driver_class() == Some(DriverClass::Lookup) {
            None
        } else if is_refusal(error) {
            Some(self.refused.pause())
        } else {
            Some(self.failed.pause())
        }
    }

    fn reset(&mut self) {
        self.refused.reset();
        self.failed.reset();
    }
}

/// Whether the host or the path to it is gone, so that only repetition tells when it is back.
pub(super) fn is_unreachable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout(_))
        || matches!(error.driver_class(), Some(DriverClass::Network | DriverClass::SessionTerminated))
}

/// Whether the host is there, but will not have us, or is not ours.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Login | ErrorKind::Config)
}

/// The usual smoothing of round trips: an eighth of each new one.
fn smooth(known: &mut Option<Duration>, new: Duration) {
    *known = Some(known.map_or(new, |known| known * 7 / 8 + new / 8));
}
