//! The monitor of one cluster.
//!
//! In regular mode it reads the topology over one connection now and then. When somebody needs the writer proved it
//! connects afresh to the writer it knows, and if that does not prove itself, it asks every host in quick succession
//! ([`Round`]) until one does. Two things make a proof: the host's own topology names it the writer, and its role is
//! writer; both come from one answer.

mod regular;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::cluster::{Cluster, Mode, Verify, answers, shut_down};
use super::pace::{BackOff, jittered};
use super::reading::{Reading, is_same_content};
use super::round::{PATIENCE, Round};
use super::upgrade::Upgrade;
use super::worker::{End, Held, Report, Worker, is_unreachable};
use super::{Snapshot, Verification};
use crate::error::{DriverClass, Error, ErrorKind, Result};
use crate::events::Event;
use crate::host::{Availability, Host, HostKey, Role};
use crate::runtime::Shared;
use crate::telemetry::{key, metrics};

/// Watches `cluster` until nobody has used it for a while.
pub(super) async fn run(cluster: Arc<Cluster>, shared: Weak<Shared>) -> Result<()> {
    let Some(shared) = shared.upgrade() else { return Err(shut_down()) };
    let mut watch = Watch { cluster: Arc::clone(&cluster), ended_well: false };
    Monitor::new(cluster, shared).run().await;
    watch.ended_well = true;
    Ok(())
}

/// Tells those who wait when the monitor ends by a panic or with the services.
struct Watch {
    cluster: Arc<Cluster>,
    ended_well: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.cluster.take_back());
        if !self.ended_well {
            let error = if std::thread::panicking() {
                Error::new(ErrorKind::HostUnavailable, "the topology monitor failed and is started again")
            } else {
                self.cluster.set_mode(Mode::Stopped);
                shut_down()
            };
            let error = self.cluster.note(error);
            self.cluster.fail_waiters(error);
        }
    }
}

struct Monitor {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
    tasks: JoinSet<Done>,
    hear: mpsc::Receiver<Report>,
    speak: mpsc::Sender<Report>,
    /// For workers and readings: unique in the life of the monitor.
    next_id: u64,
    main: Main,
    /// The role of the main connection's host as last read.
    main_role: Role,
    round: Option<Round>,
    /// When the writer was last proved, as seen here.
    proved_at: Option<Instant>,
    /// The host whose connection was just lost, which is a hint that it is gone.
    lost: Option<HostKey>,
    quick_until: Instant,
    read_at: Instant,
    /// The main connection is not asked anything before, however many want to know.
    quiet_until: Instant,
    upgrading_since: Option<Instant>,
    upgrade_at: Instant,
    upgrade_pauses: BackOff,
    doubt_at: Instant,
    doubt_pauses: BackOff,
    /// Whether the last reading named no writer.
    was_empty: bool,
    /// When a connection that was offered to sessions is taken back.
    take_back_at: Option<Instant>,
}

/// The connection of regular mode.
#[derive(Debug)]
enum Main {
    None,
    Idle(Held),
    Busy { id: u64, host: HostKey, verifies: bool, abort: AbortHandle },
}

/// What a task of the monitor returns.
enum Done {
    Read { id: u64, held: Held, verifies: bool, outcome: Result<Reading> },
    Ended(End),
    Upgraded(Option<Upgrade>),
}

/// The high refresh rate is kept for so long after the writer has changed.
const QUICK: Duration = Duration::from_secs(30);
/// Patience with a writer that sessions have lost their connections to.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);
/// Limit for connecting to a writer that several sessions have lost their connections to.
const SHORT_CONNECT: Duration = Duration::from_secs(1);
const SEVERAL: u32 = 2;
/// How long a proven connection waits for a session; they are awake within a millisecond.
const OFFERED_FOR: Duration = Duration::from_millis(50);
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Reports waiting for the monitor; a worker that meets a full channel waits.
const REPORTS: usize = 64;

impl Monitor {
    fn new(cluster: Arc<Cluster>, shared: Arc<Shared>) -> Self {
        let (speak, hear) = mpsc::channel(REPORTS);
        let now = Instant::now();
        Self {
            cluster,
            shared,
            tasks: JoinSet::new(),
            hear,
            speak,
            next_id: 0,
            main: Main::None,
            main_role: Role::Unknown,
            round: None,
            proved_at: None,
            lost: None,
            quick_until: now,
            read_at: now,
            quiet_until: now,
            upgrading_since: None,
            upgrade_at: now,
            upgrade_pauses: BackOff::new(BACK_OFF.0, BACK_OFF.1),
            doubt_at: now,
            doubt_pauses: BackOff::new(BACK_OFF.0, BACK_OFF.1),
            was_empty: false,
            take_back_at: None,
        }
    }

    async fn run(mut self) {
        let cluster = Arc::clone(&self.cluster);
        while !cluster.stop_if_idle() {
            self.decide(Instant::now());
            let wake_at = self.next_decision();
            tokio::select! {
                biased;
                // A proof first: somebody waits for it.
                Some(done) = self.tasks.join_next() => self.finished(done),
                Some(report) = self.hear.recv() => self.heard(report),
                () = cluster.wake.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
        tracing::debug!(cluster = cluster.id(), "nobody uses the cluster, its monitor stops");
    }

    /// Starts whatever has to run now.
    fn decide(&mut self, now: Instant) {
        if let Main::Idle(held) = &self.main {
            if held.probe.has_ended() {
                self.lost = Some(held.host.clone());
                self.main = Main::None;
            }
        }
        let wanted = self.verification_wanted();
        if self.take_back_at.is_some_and(|at| wanted || at <= now) {
            self.take_back_at = None;
            if let Some(held) = self.cluster.take_back() {
                self.offer(held);
            }
        }
        if let Some(round) = self.round.as_mut().filter(|round| round.is_settled()) {
            let alone = matches!(self.main, Main::None) && !round.is_collecting();
            if wanted || alone {
                round.resume();
                if wanted {
                    self.cluster.counters.rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        match &self.round {
            Some(round) if !round.is_settled() => self.tend_round(now),
            Some(_) => self.read_if_due(now),
            None if wanted => match &self.main {
                Main::Busy { verifies: true, .. } => {}
                Main::Idle(held) if self.is_fresh_proof(&held.host, now) => {
                    if self.quiet_until <= now {
                        self.start_read(true);
                    }
                }
                _ => {
                    self.cluster.counters.rounds.fetch_add(1, Ordering::Relaxed);
                    self.begin_round(None, now);
                }
            },
            None if matches!(self.main, Main::None) => {
                if self.take_back_at.is_none() {
                    self.begin_round(None, now);
                }
            }
            None => {
                self.read_if_due(now);
                self.upgrade_if_due(now);
            }
        }
        let panics = self.round.as_ref().is_some_and(|round| round.is_open() && !round.is_settled());
        self.cluster.set_mode(if panics { Mode::Panic } else { Mode::Regular });
    }

    fn next_decision(&self) -> Instant {
        let round = self.round.as_ref().and_then(Round::next_decision);
        let is_idle = matches!(self.main, Main::Idle(_));
        let reads = is_idle && self.round.as_ref().is_none_or(Round::is_settled);
        let upgrades = is_idle
            && self.round.is_none()
            && self.upgrading_since.is_none()
            && self.main_index() > 0
            && !self.verification_wanted();
        let reading = if self.quiet_until > Instant::now() { self.quiet_until } else { self.read_at };
        let times = [
            round,
            reads.then_some(reading),
            upgrades.then_some(self.upgrade_at),
            self.take_back_at,
            Some(self.cluster.idle_at()),
        ];
        times.into_iter().flatten().min().expect("the last one is always there")
    }

    /// Whether somebody waits for a proof that has not been given.
    fn verification_wanted(&self) -> bool {
        let current = self.cluster.current();
        self.cluster.asked().verify.is_some_and(|asked_at| !answers(&current, Verify::Writer, asked_at))
    }

    /// Whether the main connection has itself proved the writer so lately that a question on it is as good as a new
    /// connection. Requests that come in a crowd are answered by that.
    fn is_fresh_proof(&self, host: &HostKey, now: Instant) -> bool {
        let rate = self.cluster.seed.settings.high_refresh_rate;
        let is_writer =
            self.cluster.current().last_verification.as_ref().is_some_and(|proof| proof.writer == *host);
        is_writer && self.proved_at.is_some_and(|proved_at| now.duration_since(proved_at) <= rate)
    }

    fn begin_round(&mut self, suspect: Option<HostKey>, now: Instant) {
        let current = self.cluster.current();
        let writer = current.writer_host().map(|host| host.key.clone());
        let proved = current.last_verification.as_ref().map(|proof| proof.writer.clone());
        let lost_writer = self.lost.take().is_some_and(|lost| Some(&lost) == writer.as_ref());
        let (front, patience): (Vec<_>, _) = if current.is_initial() {
            (current.hosts.iter().map(|host| host.key.clone()).collect(), None)
        } else if lost_writer {
            (Vec::new(), None)
        } else {
            let front: Vec<_> = writer.into_iter().chain(proved).chain(suspect).collect();
            let reported = front.iter().any(|host| self.cluster.down_reports(host) > 0);
            (front, Some(if reported { SHORT_PATIENCE } else { PATIENCE }))
        };
        tracing::debug!(cluster = self.cluster.id(), ?front, "looking for the writer");
        self.round = Some(Round::new(front, patience, self.cluster.seed.settings.panic_refresh_rate));
        self.tend_round(now);
    }

    fn tend_round(&mut self, now: Instant) {
        let current = self.cluster.current();
        let Some(round) = &mut self.round else { return };
        if round.open_if_due(now) {
            self.cluster.counters.panics.fetch_add(1, Ordering::Relaxed);
            let attributes = [key::CLUSTER.of(self.cluster.id())];
            self.cluster.telemetry().add(&metrics::TOPOLOGY_PANIC_COUNT, 1, &attributes);
            tracing::info!(
                cluster = self.cluster.id(),
                "the writer does not answer as such, all hosts are asked"
            );
        }
        for host in round.missing(&current) {
            self.start_worker(host, current.is_initial());
        }
        let agreed = self.round.as_mut().and_then(|round| round.agreement(now)).cloned();
        if let Some(reading) = agreed {
            tracing::warn!(cluster = self.cluster.id(), "no writer can be found; the readers' list is used");
            self.publish(&reading, true, None);
            if let Some(round) = &mut self.round {
                round.settle();
            }
            self.go_quick(now);
        }
    }

    fn start_worker(&mut self, host: HostKey, is_alias: bool) {
        let id = self.new_id();
        let Some(round) = &mut self.round else { return };
        let is_open = round.is_open();
        let (stop, beat) = round.enter(id, host.clone());
        // At most one connection per host: the worker takes over what there is. The first one asked connects afresh
        // nevertheless, since a server that shuts down goes on serving old connections for a while.
        let (held, spare) = match std::mem::replace(&mut self.main, Main::None) {
            Main::Idle(main) if main.host == host && is_open => (Some(main), None),
            Main::Idle(main) if main.host == host => (None, Some(main)),
            Main::Busy { host: busy, abort, .. } if busy == host => {
                abort.abort();
                (None, None)
            }
            other => {
                self.main = other;
                (None, None)
            }
        };
        let limit = self.cluster.seed.settings.connect_timeout;
        let reported = self.cluster.down_reports(&host) >= SEVERAL;
        let connect_timeout = if reported { limit.min(SHORT_CONNECT) } else { limit };
        let cluster = Arc::clone(&self.cluster);
        let reports = self.speak.clone();
        let worker =
            Worker { id, host, is_alias, cluster, reports, stop, beat, connect_timeout, held, spare };
        self.tasks.spawn(async move { Done::Ended(worker.run().await) });
    }

    fn heard(&mut self, report: Report) {
        let current = self.cluster.current();
        let Some(round) = &mut self.round else { return };
        match round.hear(report, &current) {
            None => return,
            Some((host, None)) => self.shared.set_availability(&host, Availability::Available),
            Some((host, Some(error))) => {
                if is_unreachable(&error) && error.driver_class() != Some(DriverClass::SessionTerminated) {
                    self.shared.set_availability(&host, Availability::NotAvailable);
                }
                let hopeless = round.everybody_refuses(&error);
                let error = self.cluster.note(error);
                if hopeless {
                    self.cluster.fail_waiters(error);
                }
                return;
            }
        }
        if let Some(reading) = self.worth_publishing(&current) {
            self.publish(&reading, false, None);
        }
    }

    /// What readers say is no proof. It is shown when it is better than nothing, tells of another writer, or when
    /// somebody asked for just any reading.
    fn worth_publishing(&self, current: &Snapshot) -> Option<Reading> {
        let round = self.round.as_ref()?;
        let baseline = current.last_verification.as_ref().map(|proof| &proof.writer);
        let reading = round.other_writer(baseline).or_else(|| round.newest())?;
        reading.writer()?;
        let asked = self.cluster.asked().refresh.is_some_and(|asked_at| {
            !answers(current, Verify::No, asked_at) && reading.started_at >= asked_at
        });
        let news =
            current.is_initial() || (reading.writer() != baseline && !reading.says_the_same_as(current));
        (asked || news).then(|| reading.clone())
    }

    fn finished(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Read { id, held, verifies, outcome }) => self.has_read(id, held, verifies, outcome),
            Ok(Done::Ended(end)) => self.worker_ended(end),
            Ok(Done::Upgraded(upgrade)) => self.upgraded(upgrade),
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn worker_ended(&mut self, end: End) {
        let ours = self.round.as_ref().is_some_and(|round| round.has_worker(end.worker));
        if let Some(round) = &mut self.round {
            round.leave(end.worker);
        }
        match (end.proof, end.held) {
            (Some(reading), Some(held)) if ours => self.proved(&reading, held),
            (_, Some(held)) => self.offer(held),
            (_, None) => {}
        }
    }

    /// A host has proved to be the writer.
    fn proved(&mut self, reading: &Reading, held: Held) {
        let now = Instant::now();
        let Some(writer) = reading.own.clone() else { return };
        self.shared.set_availability(&writer, Availability::Available);
        let before = self.cluster.current();
        let changed = before.last_verification.as_ref().is_some_and(|proof| proof.writer != writer);
        let panicked = self.round.take().is_some_and(|round| round.is_open());
        // Whoever waits may have the connection: it is there the moment the proof is.
        let mut held = Some(held);
        if self.verification_wanted() {
            self.take_back_at = Some(now + OFFERED_FOR);
            if let Some(held) = held.take_if(|held| held.probe.opened_for().is_some()) {
                self.cluster.hand_over(held);
            }
        }
        self.publish(reading, false, Some(Verification::new(writer, reading.started_at)));
        self.cluster.forget_reports();
        self.proved_at = Some(now);
        self.quiet_until = reading.started_at + self.cluster.seed.settings.panic_refresh_rate;
        self.lost = None;
        self.was_empty = false;
        self.upgrade_pauses.reset();
        if let Some(held) = held {
            // One that was offered before has had its time; nobody would take it back any more.
            self.take_back_at = None;
            drop(self.cluster.take_back());
            self.offer(held);
        }
        if changed || panicked {
            self.go_quick(now);
        } else {
            self.read_later(now);
        }
    }
}

/// What it knows and makes known.
impl Monitor {
    fn publish(&self, reading: &Reading, is_agreed: bool, proof: Option<Verification>) {
        let before = self.cluster.current();
        let old_writer = before.last_verification.as_ref().map(|proof| proof.writer.clone());
        let old_writer = old_writer.or_else(|| {
            let writer = before.writer_host().filter(|_| !before.is_initial());
            writer.map(|host| host.key.clone())
        });
        let new_writer = proof.as_ref().map(|proof| proof.writer.clone());
        let snapshot = Arc::new(reading.snapshot(&before, is_agreed, proof, &self.shared.availability));
        self.show(&snapshot);
        let changed = !is_same_content(&before, &snapshot);
        let version = snapshot.version;
        self.cluster.publish(snapshot);
        if new_writer.is_some() || self.round.is_none() {
            self.cluster.all_is_well();
        }
        let cluster = self.cluster.id().to_owned();
        if let (Some(from), Some(to)) = (old_writer, new_writer) {
            if from != to {
                let old =
                    before.find(&from).cloned().unwrap_or_else(|| Host::new(from.clone(), Role::Writer));
                let retired = self.shared.registry.demote(&cluster, &old);
                if retired > 0 {
                    let attributes = [key::CLUSTER.of(&*cluster)];
                    self.cluster.telemetry().add(
                        &metrics::TRACKER_RETIRED_COUNT,
                        retired as u64,
                        &attributes,
                    );
                }
                tracing::info!(%cluster, %from, %to, retired, "the writer has changed");
                let (cluster, from) = (cluster.clone(), Some(from));
                self.shared.events.send(Event::WriterChanged { cluster, from, to });
            }
        }
        if changed {
            self.shared.events.send(Event::TopologyChanged { cluster, version });
        }
    }

    /// Tells the instrument what is known of each host.
    fn show(&self, snapshot: &Snapshot) {
        let telemetry = self.cluster.telemetry();
        if !telemetry.is_on() {
            return;
        }
        for host in &snapshot.hosts {
            let attributes = [key::HOST.of(&host.key)];
            let is_up = f64::from(host.availability == Availability::Available);
            telemetry.set(&metrics::HOST_AVAILABLE, is_up, &attributes);
            if let Some(lag_ms) = host.lag_ms.filter(|_| host.role == Role::Reader) {
                telemetry.set(&metrics::HOST_REPLICA_LAG, f64::from(lag_ms) / 1e3, &attributes);
            }
        }
    }

    fn go_quick(&mut self, now: Instant) {
        self.quick_until = now + QUICK;
        self.read_later(now);
    }

    fn read_later(&mut self, now: Instant) {
        let settings = &self.cluster.seed.settings;
        let rate = if now < self.quick_until { settings.high_refresh_rate } else { settings.refresh_rate };
        self.read_at = now + jittered(rate);
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests;
