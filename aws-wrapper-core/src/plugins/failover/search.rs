//! How the next connection is found: the writer by proof, a reader by strategy, a fixed list by asking each host.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::settings::{FailoverMode, FailoverSettings};
use crate::dialect::refusal::{is_missing_database, is_missing_right};
use crate::driver::DriverDialect;
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result};
use crate::host::{Host, HostKey, Role};
use crate::plugin::{ConnectHandle, PluginContext};
use crate::registry::Purpose;
use crate::select::{HostSelector, SelectContext, selector};
use crate::telemetry::spans;
use crate::topology::Snapshot;
use crate::topology::cluster::Verify;
use crate::topology::view::Topology;

/// Looks for a connection of the wanted role until a deadline.
#[derive(Debug)]
pub(super) struct Search<D: DriverDialect> {
    driver: Arc<D>,
    topology: Arc<Topology>,
    connect: ConnectHandle<D>,
    selector: Arc<dyn HostSelector>,
    settings: FailoverSettings,
}

/// A connection whose role has been checked.
pub(super) struct Found<D: DriverDialect> {
    pub(super) connection: D::Connection,
    /// When it was known which host to use.
    pub(super) found_at: Instant,
}

/// The verified writer refusing the login this often in a row will not change its mind.
const LOGIN_ERRORS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What an attempt on one host came to.
enum Attempt<D: DriverDialect> {
    Found(Found<D>),
    WrongRole,
    Failed(Error),
}

impl<D: DriverDialect> Attempt<D> {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Found(_) => "ok",
            Self::WrongRole => ErrorKind::Routing.code(),
            Self::Failed(error) => error.kind().code(),
        }
    }
}

impl<D: DriverDialect> Search<D> {
    pub(super) fn new(context: &PluginContext<D>, settings: FailoverSettings) -> Result<Self> {
        Ok(Self {
            driver: Arc::clone(&context.driver),
            topology: Arc::clone(&context.topology),
            connect: context.connect_handle(),
            selector: selector(settings.reader_strategy)?,
            settings,
        })
    }

    /// Looks until `deadline`, counting every connection tried.
    pub(super) async fn run(
        &self,
        mode: FailoverMode,
        deadline: Instant,
        attempts: &mut u32,
    ) -> Result<Found<D>> {
        let mut seen = Seen::default();
        let search = async {
            match (self.topology.cluster(), mode) {
                (None, _) => self.fixed_list(mode, deadline, attempts, &mut seen).await,
                (Some(_), FailoverMode::StrictWriter) => self.writer(deadline, attempts, &mut seen).await,
                (Some(_), _) => self.reader(mode, deadline, attempts, &mut seen).await,
            }
        };
        if let Ok(result) = timeout_at(deadline, search).await {
            return result;
        }
        let error = Error::new(ErrorKind::Timeout(Phase::Failover), "no usable host was found in time");
        Err(match seen.last_error {
            Some(last) => error.with_source(last),
            None => error,
        })
    }

    /// One attempt on the host of a session that the server ended.
    pub(super) async fn same_host(
        &self,
        mode: FailoverMode,
        host: &HostKey,
        deadline: Instant,
        attempts: &mut u32,
    ) -> Result<Found<D>> {
        let wanted = match mode {
            FailoverMode::StrictWriter => Some(Role::Writer),
            FailoverMode::StrictReader => Some(Role::Reader),
            _ => None,
        };
        match self.attempt(host, wanted, deadline, attempts).await {
            Attempt::Found(found) => Ok(found),
            Attempt::WrongRole => {
                Err(Error::new(ErrorKind::Routing, "the host has changed its role").with_host(host))
            }
            Attempt::Failed(error) => Err(error),
        }
    }

    /// Only a writer proved after the failure counts, and only if the connection to it says so too.
    async fn writer(&self, deadline: Instant, attempts: &mut u32, seen: &mut Seen) -> Result<Found<D>> {
        let mut pause = Pause::new(self.settings.retry_delay);
        loop {
            match self.topology.refresh(Verify::Writer, deadline).await {
                Ok(snapshot) => {
                    if let Some(writer) = snapshot.verified_writer() {
                        match self.attempt(writer, Some(Role::Writer), deadline, attempts).await {
                            Attempt::Found(found) => return Ok(found),
                            Attempt::WrongRole => {}
                            Attempt::Failed(error) => seen.error(error, LOGIN_ERRORS)?,
                        }
                    }
                }
                // The monitor says so when every host has turned it away more than once.
                Err(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::Login) => {
                    return Err(error);
                }
                Err(error) => seen.error(error, LOGIN_ERRORS)?,
            }
            pause.wait(self.topology.subscribe()).await;
        }
    }

    /// Readers by strategy, each at most once a round; then the host that was the writer, if the mode allows it or it
    /// has become a reader.
    async fn reader(
        &self,
        mode: FailoverMode,
        deadline: Instant,
        attempts: &mut u32,
        seen: &mut Seen,
    ) -> Result<Found<D>> {
        let mut pause = Pause::new(self.settings.retry_delay);
        let mut proved_writer: Option<(u64, HostKey)> = None;
        let mut round = 0_u32;
        loop {
            // A hint for the monitor in the first round; whoever has nothing yet waits for the first topology.
            let snapshot = if round == 0 && !self.topology.snapshot().is_initial() {
                self.topology.snapshot()
            } else {
                match self.topology.refresh(Verify::No, deadline.min(Instant::now() + LONGEST_PAUSE)).await {
                    Ok(snapshot) => snapshot,
                    Err(error) if error.kind() == ErrorKind::Config => return Err(error),
                    Err(error) => {
                        seen.error(error, u32::MAX)?;
                        self.topology.snapshot()
                    }
                }
            };
            if proved_writer.as_ref().is_some_and(|(version, _)| *version != snapshot.version) {
                proved_writer = None;
            }
            let mut left: Vec<Host> = self.topology.hosts(&snapshot);
            left.retain(|host| {
                host.role != Role::Writer
                    && proved_writer.as_ref().is_none_or(|(_, writer)| *writer != host.key)
            });
            let no_readers = left.is_empty();
            while let Some(index) = self.pick(&left) {
                let host = left.swap_remove(index);
                let wanted = (mode == FailoverMode::StrictReader).then_some(Role::Reader);
                match self.attempt(&host.key, wanted, deadline, attempts).await {
                    Attempt::Found(found) => return Ok(found),
                    Attempt::WrongRole => proved_writer = Some((snapshot.version, host.key)),
                    Attempt::Failed(error) => seen.error(error, u32::MAX)?,
                }
            }
            // Not everybody at once to the writer: readers get one full round and one newer topology first.
            let writer_allowed = mode == FailoverMode::ReaderOrWriter && (round > 0 || no_readers);
            let writer_may_be_reader = mode == FailoverMode::StrictReader && proved_writer.is_none();
            if writer_allowed || writer_may_be_reader {
                if let Some(writer) = snapshot.writer_host() {
                    let wanted = (mode == FailoverMode::StrictReader).then_some(Role::Reader);
                    match self.attempt(&writer.key, wanted, deadline, attempts).await {
                        Attempt::Found(found) => return Ok(found),
                        Attempt::WrongRole => {
                            if snapshot.hosts.len() == 1 {
                                self.only_a_writer(deadline).await?;
                            }
                            proved_writer = Some((snapshot.version, writer.key.clone()));
                        }
                        Attempt::Failed(error) => seen.error(error, u32::MAX)?,
                    }
                }
            }
            round += 1;
            pause.wait(self.topology.subscribe()).await;
        }
    }

    /// A cluster of one instance has no reader to wait for.
    async fn only_a_writer(&self, deadline: Instant) -> Result<()> {
        let verified = self.topology.refresh(Verify::Writer, deadline).await?;
        if verified.hosts.len() == 1 {
            let text = "the cluster has exactly one instance and it is the writer; use `failover_mode=reader-or-writer` \
                        to accept it";
            return Err(Error::new(ErrorKind::Routing, text));
        }
        Ok(())
    }

    /// Without a topology each host is asked in turn.
    async fn fixed_list(
        &self,
        mode: FailoverMode,
        deadline: Instant,
        attempts: &mut u32,
        seen: &mut Seen,
    ) -> Result<Found<D>> {
        let mut pause = Pause::new(self.settings.retry_delay);
        let mut round = 0_u32;
        loop {
            for host in &self.topology.snapshot().hosts {
                let wanted = match mode {
                    FailoverMode::StrictWriter => Some(Role::Writer),
                    FailoverMode::ReaderOrWriter if round > 0 => None,
                    _ => Some(Role::Reader),
                };
                match self.attempt(&host.key, wanted, deadline, attempts).await {
                    Attempt::Found(found) => return Ok(found),
                    Attempt::WrongRole => {}
                    Attempt::Failed(error) => seen.error(error, LOGIN_ERRORS)?,
                }
            }
            round += 1;
            pause.wait(None).await;
        }
    }

    fn pick(&self, hosts: &[Host]) -> Option<usize> {
        let context = SelectContext::any_role();
        // When all are marked down, the marks are older than this search.
        self.selector
            .pick(&context, hosts)
            .or_else(|| (!hosts.is_empty()).then(|| fastrand::usize(..hosts.len())))
    }

    async fn attempt(
        &self,
        host: &HostKey,
        wanted: Option<Role>,
        deadline: Instant,
        attempts: &mut u32,
    ) -> Attempt<D> {
        *attempts += 1;
        let role = wanted.map(Role::code);
        let span = tracing::debug_span!(spans::FAILOVER_CANDIDATE, %host, role, outcome = Empty);
        let attempt = self.attempt_on(host, wanted, deadline).instrument(span.clone()).await;
        span.record("outcome", attempt.outcome());
        attempt
    }

    async fn attempt_on(&self, host: &HostKey, wanted: Option<Role>, deadline: Instant) -> Attempt<D> {
        let found_at = Instant::now();
        let limit = deadline.min(found_at + self.settings.connect_timeout);
        let mut connection = match self.connect.connect(host.clone(), Purpose::Switch, limit).await {
            Ok(connection) => connection,
            Err(error) => return Attempt::Failed(error),
        };
        // The role is asked in every mode: it is what the connection is recorded with.
        match self.topology.role_of(self.driver.as_ref(), &mut connection).await {
            Ok(role) if wanted.is_none_or(|wanted| wanted == role) => {
                Attempt::Found(Found { connection, found_at })
            }
            Ok(_) => Attempt::WrongRole,
            Err(error) => Attempt::Failed(error),
        }
    }
}

/// What went wrong so far: some errors end the search, the others explain why it took too long.
#[derive(Default)]
struct Seen {
    logins: u32,
    last_error: Option<Error>,
}

impl Seen {
    fn error(&mut self, error: Error, logins: u32) -> Result<()> {
        match error.kind() {
            ErrorKind::Login => {
                self.logins += 1;
                if self.logins >= logins {
                    let text = format!("the login was refused {} times in a row", self.logins);
                    return Err(Error::new(ErrorKind::Login, text).with_source(error));
                }
            }
            ErrorKind::Config | ErrorKind::PluginConflict | ErrorKind::Unsupported => return Err(error),
            ErrorKind::Routing if error.is_misdirected() => return Err(error),
            ErrorKind::Driver(DriverClass::Other) if is_permanent(&error) => {
                return Err(error);
            }
            _ => self.logins = 0,
        }
        tracing::debug!(%error, "an attempt of a failover failed");
        self.last_error = Some(error);
        Ok(())
    }
}

/// Missing rights and missing databases do not come back by waiting.
fn is_permanent(error: &Error) -> bool {
    is_missing_right(error) || is_missing_database(error)
}

/// Growing pauses with jitter, cut short by a newer topology.
struct Pause {
    next: Duration,
}

impl Pause {
    fn new(first: Duration) -> Self {
        Self { next: first }
    }

    async fn wait(&mut self, news: Option<watch::Receiver<Arc<Snapshot>>>) {
        let until = Instant::now() + self.next.mul_f64(0.8 + 0.4 * fastrand::f64());
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        let Some(mut news) = news else {
            return sleep_until(until).await;
        };
        tokio::select! {
            () = sleep_until(until) => {}
            changed = news.changed() => if changed.is_err() { sleep_until(until).await },
        }
    }
}
