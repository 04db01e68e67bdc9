//! The task of one host: probes while calls wait, and the connection for them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::incarnation::Incarnation;
use super::outcome::{is_timeout, of_error};
use super::profile::Profile;
use super::verdict::{Outcome, Verdict};
use super::watch::HostWatch;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::probe::{MonitorKind, Probe};
use crate::runtime::Shared;
use crate::telemetry::{key, metrics, spans};

/// Lives while a call on its host waits for too long, or the host is under suspicion, and a while longer.
pub(super) struct Monitor {
    watch: Arc<HostWatch>,
    shared: Arc<Shared>,
    /// The connection for probes, while it is not asked anything.
    open: Option<Box<dyn Probe>>,
    /// A question that was not answered yet, on the connection it was asked on.
    ping: Option<Ping>,
    /// Whether that question has outlived its probe.
    is_overdue: bool,
    connecting: Option<Connecting>,
    began: Option<Instant>,
    /// Which start of the server the connection belongs to, and when that was last certain.
    incarnation: Option<(Incarnation, Instant)>,
    /// It ended by itself, and another one may run already.
    is_over: bool,
}

/// A question on a connection, which comes back with the answer.
type Ping = BoxFuture<'static, (Box<dyn Probe>, Result<()>)>;
type Connecting = BoxFuture<'static, Result<Box<dyn Probe>>>;

/// Stamps of answers lie so much in the future: a tick and the slack of the clock.
const LEAN: Duration = Duration::from_millis(30);
/// This side slept: what it did not hear does not count.
const OVERSLEPT: Duration = Duration::from_millis(250);

impl Monitor {
    pub(super) fn new(watch: Arc<HostWatch>, shared: Arc<Shared>) -> Self {
        Self {
            watch,
            shared,
            open: None,
            ping: None,
            is_overdue: false,
            connecting: None,
            began: None,
            incarnation: None,
            is_over: false,
        }
    }

    /// Ends when the host is well and no call has needed it for some time.
    pub(super) async fn run(mut self) {
        loop {
            self.watch.begin_look();
            let active = self.watch.active();
            let Some(pace) = pace(&active.profiles) else {
                if self.rest().await {
                    return self.is_over = true;
                }
                continue;
            };
            // From the beginning of one probe to the next, however long they take.
            let next = self.began.map_or_else(Instant::now, |began| began + pace.interval);
            if next > Instant::now() {
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = self.watch.wake().notified() => {}
                }
                continue;
            }
            let began = Instant::now();
            let lag = began.duration_since(next).as_secs_f64();
            self.shared.telemetry().set(&metrics::MONITOR_LAG, lag, &[key::TYPE.of("host_monitor")]);
            self.began = Some(began);
            let is_heard = active.quiet.is_some_and(|quiet| quiet + LEAN < pace.interval);
            if pace.passive && is_heard {
                self.watch.heard();
                continue;
            }
            self.probe(&pace, &active.profiles).await;
            if self.watch.end_if_unused() {
                return self.is_over = true;
            }
        }
    }

    /// Nothing hangs. Whether the time is over for which the connection is kept.
    async fn rest(&mut self) -> bool {
        self.began = None;
        self.connecting = None;
        if self.ping.take().is_some() {
            // It was never answered, and goes with its connection.
            self.watch.set_connected(false);
        }
        let keep = self.watch.eager_profile();
        if let Some(profile) = &keep {
            if self.open.as_ref().is_none_or(|probe| probe.has_ended()) {
                self.open_early(profile).await;
            }
        }
        // One that is to be kept is looked at now and then, in case it was lost.
        let limit = keep.as_ref().map_or_else(|| self.watch.idle_close(), |profile| profile.interval);
        let is_woken = timeout(limit, self.watch.wake().notified()).await.is_ok();
        !is_woken && keep.is_none() && self.watch.end_if_calm()
    }

    async fn open_early(&mut self, profile: &Profile) {
        let connect = self.connect(profile);
        tokio::select! {
            opened = connect => match opened {
                Ok(probe) => self.take(probe, profile).await,
                Err(error) => tracing::debug!(host = %self.watch.host(), %error, "no connection for probes yet"),
            },
            // Calls that wait come first.
            () = self.watch.wake().notified() => {}
        }
    }

    /// One probe, and what follows from it.
    async fn probe(&mut self, pace: &Profile, profiles: &[Arc<Profile>]) {
        let began = Instant::now();
        // A whole login takes longer than a ping; a monitor that is refused each time has nothing else.
        let is_login = self.open.is_none() && self.ping.is_none() && self.watch.verdict() <= Verdict::Up;
        let limit = if is_login { pace.connect_timeout } else { pace.probe_timeout };
        let deadline = began + limit;
        let host = self.watch.host();
        let span = tracing::trace_span!(parent: None, spans::HOST_MONITOR_PROBE, %host, outcome = Empty);
        let answer = self.ask(deadline, pace).instrument(span.clone()).await;
        let ended = Instant::now();
        let (mut outcome, error) = match answer {
            Ok(()) => (Outcome::Alive, None),
            Err(error) => (of_error(&error), Some(error)),
        };
        if outcome == Outcome::Unreachable && ended > deadline + OVERSLEPT {
            outcome = Outcome::Inconclusive;
        }
        span.record("outcome", outcome.code());
        // Another connection may have been answered meanwhile.
        let quiet = self.watch.active().quiet;
        if outcome == Outcome::Unreachable
            && pace.passive
            && quiet.is_some_and(|quiet| began + quiet + LEAN < ended)
        {
            return self.watch.heard();
        }
        tracing::debug!(host = %self.watch.host(), ?outcome, elapsed = ?ended - began, error = ?error, "probe");
        self.watch.judge(outcome, (began, ended), profiles, error.as_ref());
    }

    /// Asks for a sign of life in every way there is.
    async fn ask(&mut self, deadline: Instant, pace: &Profile) -> Result<()> {
        loop {
            if self.ping.is_none() {
                if let Some(mut probe) = self.open.take() {
                    self.is_overdue = false;
                    self.ping = Some(Box::pin(async move {
                        let answer = probe.ping().await;
                        (probe, answer)
                    }));
                }
            }
            // Not for the first miss: a new connection costs the server something. Then it goes beside the old one, so
            // that a single broken connection is not taken for a dead host.
            if self.connecting.is_none() && (self.ping.is_none() || self.is_overdue) {
                self.connecting = Some(self.connect(pace));
            }
            let heard = tokio::select! {
                biased;
                heard = Heard::wait(&mut self.ping, &mut self.connecting) => heard,
                () = sleep_until(deadline) => {
                    // What is there already must win, however late this side is.
                    tokio::task::yield_now().await;
                    let Some(heard) = Heard::wait(&mut self.ping, &mut self.connecting).now_or_never() else {
                        self.is_overdue = self.ping.is_some();
                        return Err(Error::new(ErrorKind::Timeout(Phase::Probe), "no answer to a probe"));
                    };
                    heard
                }
            };
            match heard {
                Heard::Ping(probe, Ok(())) => {
                    if let Some((_, certain)) = &mut self.incarnation {
                        *certain = Instant::now();
                    }
                    self.open = Some(probe);
                    return Ok(());
                }
                Heard::Ping(_, Err(error)) => {
                    self.watch.set_connected(false);
                    tracing::debug!(host = %self.watch.host(), %error, "the connection for probes is gone");
                    if of_error(&error) == Outcome::Inconclusive {
                        return Err(error);
                    }
                    // It alone may be gone: a new connection tells.
                }
                Heard::Connection(Ok(probe)) => {
                    self.ping = None;
                    self.take(probe, pace).await;
                    return Ok(());
                }
                // The deadlines it has missed were counted one by one; the next attempt has its own.
                Heard::Connection(Err(error)) if is_timeout(&error) => {}
                Heard::Connection(Err(error)) => return Err(error),
            }
        }
    }

    /// A new connection, in place of whatever there was.
    async fn take(&mut self, mut probe: Box<dyn Probe>, pace: &Profile) {
        self.watch.set_connected(true);
        if pace.check_incarnation {
            let deadline = Instant::now() + pace.probe_timeout;
            let told = timeout_at(deadline, Incarnation::ask(probe.as_mut(), self.watch.engine())).await;
            if let Ok(Some(incarnation)) = told {
                let before = self.incarnation.replace((incarnation, Instant::now()));
                if let Some((_, certain)) = before.filter(|(before, _)| *before != incarnation) {
                    self.watch.end_older_than(certain);
                }
            }
        }
        self.open = Some(probe);
    }

    fn connect(&self, pace: &Profile) -> BoxFuture<'static, Result<Box<dyn Probe>>> {
        let (watch, deadline) = (Arc::clone(&self.watch), Instant::now() + pace.connect_timeout);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let host = watch.host();
            let monitor = MonitorKind::Host { address: watch.address() };
            shared.until_shut_down(watch.contexts().connect(&host, monitor, deadline)).await
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if !self.is_over {
            self.watch.monitor_is_gone();
        }
    }
}

/// The timings of the next probe: those of the most impatient.
fn pace(profiles: &[Arc<Profile>]) -> Option<Arc<Profile>> {
    profiles
        .iter()
        .min_by_key(|profile| (profile.interval, std::cmp::Reverse(profile.probe_timeout)))
        .cloned()
}

/// What was heard first.
enum Heard {
    Ping(Box<dyn Probe>, Result<()>),
    Connection(Result<Box<dyn Probe>>),
}

impl Heard {
    async fn wait(ping: &mut Option<Ping>, connecting: &mut Option<Connecting>) -> Self {
        tokio::select! {
            biased;
            (probe, answer) = pending(ping) => {
                *ping = None;
                Self::Ping(probe, answer)
            }
            opened = pending(connecting) => {
                *connecting = None;
                Self::Connection(opened)
            }
        }
    }
}

/// The future, or one that never ends.
async fn pending<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => Pin::new(future).await,
        None => std::future::pending().await,
    }
}
