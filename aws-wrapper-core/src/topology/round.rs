//! One search for the writer: who is asked, what they said, when it is over.
//!
//! A search begins at the *front*: the host that is believed to be the writer. Only when the front has answered that it
//! is not, or has kept silent too long, are all other hosts asked as well; that is panic mode. This part decides and
//! remembers; connections and tasks belong to the monitor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Snapshot;
use super::pace::{Beat, Pace};
use super::reading::Reading;
use super::worker::{Report, is_refusal};
use crate::error::{Error, ErrorKind};
use crate::host::HostKey;

/// So long must all readers agree before their list counts without a writer.
const AGREEMENT: Duration = Duration::from_secs(15);
/// A login has to be refused so often in a row before it counts as a failure of the whole search.
const REFUSALS: u32 = 2;

#[derive(Debug)]
pub(super) struct Round {
    stop: CancellationToken,
    pace: Pace,
    asked: BTreeMap<u64, Asked>,
    front: BTreeSet<HostKey>,
    /// When everybody is asked, however the front behaves.
    open_at: Option<Instant>,
    is_open: bool,
    agreed_since: Option<Instant>,
    settled: bool,
}

/// A host with a worker.
#[derive(Debug)]
struct Asked {
    host: HostKey,
    stop: CancellationToken,
    has_answered: bool,
    /// The newest answer; none while the host cannot be reached.
    reading: Option<Reading>,
    refusals: u32,
    is_leaving: bool,
}

impl Round {
    /// A search that begins with `front` and asks everybody after `patience` at the latest.
    pub(super) fn new(
        front: impl IntoIterator<Item = HostKey>,
        patience: Option<Duration>,
        shortest: Duration,
    ) -> Self {
        let front: BTreeSet<_> = front.into_iter().collect();
        Self {
            stop: CancellationToken::new(),
            pace: Pace::new(shortest),
            asked: BTreeMap::new(),
            open_at: patience.map(|patience| Instant::now() + patience),
            is_open: false,
            front,
            agreed_since: None,
            settled: false,
        }
    }

    /// Whether all hosts are asked.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the readers' word was taken and only hosts that do not answer are still asked.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Asks everybody from now on, if it is time. True when that begins now.
    pub(super) fn open_if_due(&mut self, now: Instant) -> bool {
        if self.is_open {
            return false;
        }
        let answered =
            |host: &HostKey| self.asked.values().any(|asked| asked.host == *host && asked.has_answered);
        let everyone_answered = self.front.iter().all(answered);
        self.is_open = everyone_answered || self.open_at.is_some_and(|at| at <= now);
        self.is_open
    }

    /// Goes on after it was settled, because somebody needs the writer.
    pub(super) fn resume(&mut self) {
        self.settled = false;
        self.is_open = true;
        self.agreed_since = None;
    }

    /// The hosts that need a worker, as far as they are known.
    pub(super) fn missing(&self, known: &Snapshot) -> Vec<HostKey> {
        if self.settled {
            return Vec::new();
        }
        let wanted = if self.is_open { self.hosts(known) } else { self.front.clone() };
        wanted.into_iter().filter(|host| self.asked.values().all(|asked| asked.host != *host)).collect()
    }

    /// A worker for `host` begins; it gets what it needs to stop and to keep the pace.
    pub(super) fn enter(&mut self, worker: u64, host: HostKey) -> (CancellationToken, Beat) {
        let stop = self.stop.child_token();
        let asked = Asked {
            host,
            stop: stop.clone(),
            has_answered: false,
            reading: None,
            refusals: 0,
            is_leaving: false,
        };
        self.asked.insert(worker, asked);
        (stop, self.pace.beat())
    }

    /// A worker has ended.
    pub(super) fn leave(&mut self, worker: u64) {
        self.asked.remove(&worker);
    }

    pub(super) fn has_worker(&self, worker: u64) -> bool {
        self.asked.contains_key(&worker)
    }

    /// Takes in what a worker said. Returns the host it is about, and the error if the host gave one.
    pub(super) fn hear(&mut self, report: Report, known: &Snapshot) -> Option<(HostKey, Option<Error>)> {
        let list = self.hosts(known);
        let asked = self.asked.get_mut(&report.worker)?;
        let was_asked_before = asked.has_answered;
        asked.has_answered = true;
        match report.outcome {
            Ok(reading) => {
                asked.refusals = 0;
                let is_news = asked.reading.as_ref().is_none_or(|known| !known.says_the_same(&reading));
                let own = reading.own.clone().filter(|own| *own != asked.host && !list.contains(&asked.host));
                if known.is_initial() && !self.is_open {
                    if let Some(writer) =
                        reading.writer().filter(|writer| self.front.insert((*writer).clone()))
                    {
                        tracing::debug!(host = %asked.host, %writer, "the first host asked names the writer");
                        self.open_at.get_or_insert(reading.started_at + PATIENCE);
                    }
                }
                asked.reading = Some(reading);
                let mut host = asked.host.clone();
                if let Some(own) = own {
                    // The name dialled was an alias: from now on this is the worker of the instance behind it.
                    self.front.remove(&host);
                    self.rename(report.worker, &own);
                    host = own;
                }
                if is_news && was_asked_before {
                    self.pace.quicken();
                }
                Some((host, None))
            }
            Err(error) => {
                asked.refusals = if is_refusal(&error) { asked.refusals + 1 } else { 0 };
                if asked.reading.take().is_some() {
                    self.pace.quicken();
                }
                Some((asked.host.clone(), Some(error)))
            }
        }
    }

    /// The newest word of another writer than `baseline`, from hosts that answer now.
    pub(super) fn other_writer(&self, baseline: Option<&HostKey>) -> Option<&Reading> {
        let readings = self.asked.values().filter_map(|asked| asked.reading.as_ref());
        let differing = readings.filter(|reading| reading.writer().is_some() && reading.writer() != baseline);
        differing.max_by_key(|reading| reading.started_at)
    }

    /// The newest word of all.
    pub(super) fn newest(&self) -> Option<&Reading> {
        self.asked
            .values()
            .filter_map(|asked| asked.reading.as_ref())
            .max_by_key(|reading| reading.started_at)
    }

    /// Whether every host asked turned us away, so that no patience helps those who wait.
    pub(super) fn everybody_refuses(&self, error: &Error) -> bool {
        let enough = if error.kind() == ErrorKind::Config { 1 } else { REFUSALS };
        self.is_open && self.asked.values().all(|asked| asked.refusals >= enough)
    }

    /// Looks whether all readers agree. Returns what they agree on when they have done so long enough.
    pub(super) fn agreement(&mut self, now: Instant) -> Option<&Reading> {
        let mut readings = self.asked.values().filter_map(|asked| asked.reading.as_ref());
        let agreed = self.is_open
            && !self.settled
            && self.asked.values().all(|asked| asked.has_answered)
            && readings.next().is_some_and(|first| readings.all(|other| other.says_the_same(first)));
        if !agreed {
            self.agreed_since = None;
            return None;
        }
        let since = *self.agreed_since.get_or_insert(now);
        if now.duration_since(since) < AGREEMENT { None } else { self.newest() }
    }

    /// Takes the readers' word: they need not be asked any more, hosts that do not answer are asked on.
    pub(super) fn settle(&mut self) {
        self.settled = true;
        for asked in self.asked.values_mut().filter(|asked| asked.reading.is_some()) {
            asked.is_leaving = true;
            asked.stop.cancel();
        }
    }

    /// Whether workers are about to hand over their connections.
    pub(super) fn is_collecting(&self) -> bool {
        self.asked.values().any(|asked| asked.is_leaving)
    }

    /// When something has to be decided though nobody says anything.
    pub(super) fn next_decision(&self) -> Option<Instant> {
        let opening = self.open_at.filter(|_| !self.is_open);
        let agreeing = self.agreed_since.filter(|_| !self.settled).map(|since| since + AGREEMENT);
        opening.into_iter().chain(agreeing).min()
    }

    /// All hosts anybody knows; aliases of the connection string only as long as there is nothing better.
    fn hosts(&self, known: &Snapshot) -> BTreeSet<HostKey> {
        let readings = self.asked.values().filter_map(|asked| asked.reading.as_ref());
        let mut hosts: BTreeSet<_> = readings.flat_map(Reading::keys).cloned().collect();
        if !known.is_initial() || hosts.is_empty() {
            hosts.extend(known.hosts.iter().map(|host| host.key.clone()));
        }
        hosts
    }

    /// Gives a worker the name of the instance it found; if that has a worker already, one of the two is too many.
    fn rename(&mut self, worker: u64, own: &HostKey) {
        if self.asked.values().any(|asked| asked.host == *own) {
            if let Some(asked) = self.asked.remove(&worker) {
                asked.stop.cancel();
            }
        } else if let Some(asked) = self.asked.get_mut(&worker) {
            asked.host = own.clone();
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How long the front may keep silent before everybody is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
