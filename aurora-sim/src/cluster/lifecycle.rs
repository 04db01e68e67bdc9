//! Starting, killing and freezing servers.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::inner::{Inner, State};
use crate::error::{Error, Result};
use crate::keeper::Server;
use crate::proxy::NetworkFault;

/// A server that was only killed is back in a quarter of a second.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// A fast shutdown waits for the readers to have everything.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A copy of the writer's data takes a third of a second.
const REBUILD_DEADLINE: Duration = Duration::from_secs(60);

/// Pause between two looks at something that is under way.
const POLL: Duration = Duration::from_millis(3);

impl Inner {
    /// Starts a server process, without waiting for it.
    pub(super) fn spawn(&self, state: &mut State, i: usize) -> Result<()> {
        let host = &self.hosts[i];
        if i == state.writer {
            Self::writer_resumes(state);
        }
        let words = self.database.prepare(i, &Self::duty(state, i))?;
        let server = self.keeper.spawn(&self.folder, &words, &host.folder.join("log"))?;
        let instance = &mut state.instances[i];
        instance.server = Some(server);
        instance.in_step = false;
        instance.follows_since = None;
        Ok(())
    }

    /// Waits until a server answers, and lets clients in.
    pub(super) async fn until_ready(&self, state: &mut State, i: usize) -> Result<()> {
        let host = &self.hosts[i];
        let server =
            state.instances[i].server.ok_or_else(|| Error::invalid(format!("{} is down", host.name)))?;
        self.database.forget(i).await;
        if let Err(error) = self.until_it_answers(i, server).await {
            let log = fs::read_to_string(host.folder.join("log")).unwrap_or_default();
            let last = log.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
            return Err(Error::invalid(format!("{} does not start: {error}; its log: {last}", host.name)));
        }
        self.database.begin(i, &Self::duty(state, i)).await?;
        let instance = &mut state.instances[i];
        instance.last_seen = None;
        instance.follows_since = Some(Instant::now());
        host.proxy.open().await;
        self.attention.notify_one();
        Ok(())
    }

    async fn until_it_answers(&self, i: usize, server: Server) -> Result<()> {
        let end = Instant::now() + READY_DEADLINE;
        while let Err(error) = self.database.answers(i).await {
            if !server.is_alive() {
                return Err(error);
            }
            if Instant::now() > end {
                return Err(Error::timeout(format!("an answer ({error})"), READY_DEADLINE));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn launch(&self, state: &mut State, i: usize) -> Result<()> {
        self.spawn(state, i)?;
        self.until_ready(state, i).await?;
        self.announce(state, self.options.dns_lag)
    }

    /// Ends a server's processes at once. What clients see of it is up to the network.
    pub(super) async fn crash(&self, state: &mut State, i: usize) -> Result<()> {
        let host = &self.hosts[i];
        let instance = &mut state.instances[i];
        instance.in_step = false;
        if let Some(server) = instance.server.take() {
            instance.last_seen = Some(SystemTime::now());
            instance.owes_reset |= host.proxy.fault().is_silent();
            self.keeper.kill(server).await?;
        }
        host.proxy.close().await;
        self.database.forget(i).await;
        Ok(())
    }

    pub(super) async fn kill(&self, i: usize) -> Result<()> {
        let state = &mut *self.state.lock().await;
        self.kill_locked(state, i).await
    }

    async fn kill_locked(&self, state: &mut State, i: usize) -> Result<()> {
        self.leave_step(state, i).await?;
        state.instances[i].frozen = false;
        self.crash(state, i).await?;
        self.announce(state, self.options.dns_lag)
    }

    pub(super) async fn restart(self: Arc<Self>, i: usize) -> Result<()> {
        {
            let state = &mut *self.state.lock().await;
            self.leave_step(state, i).await?;
            if let Some(server) = state.instances[i].server {
                if state.instances[i].frozen {
                    return Err(Error::invalid(format!("{} is frozen", self.hosts[i].name)));
                }
                server.stop(self.database.stop_signal())?;
                if self.keeper.await_end(server, STOP_DEADLINE).await.is_ok() {
                    state.instances[i].server = None;
                    state.instances[i].last_seen = Some(SystemTime::now());
                }
                self.crash(state, i).await?;
            }
        }
        self.start(i).await
    }

    pub(super) async fn start(self: Arc<Self>, i: usize) -> Result<()> {
        {
            let state = &mut *self.state.lock().await;
            if state.instances[i].is_up() {
                return Ok(());
            }
            if !state.instances[i].outdated {
                return self.launch(state, i).await;
            }
            self.rebuild(state, i);
        }
        self.until("the start of an instance", REBUILD_DEADLINE, |state| state.instances[i].is_up()).await
    }

    pub(super) async fn settle(self: Arc<Self>, i: usize) -> Result<()> {
        {
            let state = &mut *self.state.lock().await;
            if !state.instances[i].demoted {
                return Ok(());
            }
            self.rebuild(state, i);
        }
        let settled = |state: &State| state.instances[i].is_up() && !state.instances[i].demoted;
        self.until("the return of a former writer", REBUILD_DEADLINE, settled).await
    }

    /// Begins to replace a server's data by a fresh copy of the writer's, after which it runs as a reader.
    pub(super) fn rebuild(self: &Arc<Self>, state: &mut State, i: usize) {
        let instance = &mut state.instances[i];
        instance.outdated = true;
        if !std::mem::replace(&mut instance.rebuilding, true) {
            self.tasks.spawn(self.clone().rebuild_until_done(i));
        }
    }

    async fn rebuild_until_done(self: Arc<Self>, i: usize) {
        let end = Instant::now() + REBUILD_DEADLINE;
        loop {
            match self.rebuild_once(i).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(instance = self.hosts[i].name, %error, "cannot follow the writer yet");
                }
            }
            if Instant::now() > end {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.state.lock().await.instances[i].rebuilding = false;
    }

    /// Whether the instance runs on a fresh copy now. The copy is made without the lock, so the writer may have
    /// changed meanwhile.
    async fn rebuild_once(&self, i: usize) -> Result<bool> {
        let writer = {
            let state = &mut *self.state.lock().await;
            if state.writer == i {
                return Ok(true);
            }
            self.leave_step(state, i).await?;
            self.crash(state, i).await?;
            self.announce(state, self.options.dns_lag)?;
            if !state.instances[state.writer].is_responsive() {
                return Ok(false);
            }
            state.writer
        };
        self.database.renew(i, writer).await?;

        let state = &mut *self.state.lock().await;
        if state.writer != writer || state.instances[i].is_up() {
            return Ok(false);
        }
        state.instances[i].demoted = false;
        self.launch(state, i).await?;
        state.instances[i].outdated = false;
        Ok(true)
    }

    pub(super) async fn freeze(&self, i: usize) -> Result<()> {
        let state = &mut *self.state.lock().await;
        let server = state.instances[i]
            .server
            .ok_or_else(|| Error::invalid(format!("{} is down", self.hosts[i].name)))?;
        self.leave_step(state, i).await?;
        server.freeze()?;
        server.await_frozen().await;
        state.instances[i].frozen = true;
        Ok(())
    }

    pub(super) async fn thaw(self: &Arc<Self>, i: usize) -> Result<()> {
        let state = &mut *self.state.lock().await;
        let instance = &mut state.instances[i];
        if !std::mem::replace(&mut instance.frozen, false) {
            return Ok(());
        }
        if instance.owes_reset {
            // Replaced while frozen: its network was cut so that clients noticed nothing.
            return self.set_network_locked(state, i, NetworkFault::None).await;
        }
        let server = instance.server;
        instance.follows_since = Some(Instant::now());
        if i == state.writer {
            Self::writer_resumes(state);
        }
        if let Some(server) = server {
            server.thaw()?;
        }
        if i == state.writer {
            // Readers may have died meanwhile.
            self.apply_step(state).await?;
        } else if !state.instances[i].demoted {
            self.follow(state, i).await;
        }
        self.attention.notify_one();
        Ok(())
    }

    pub(super) async fn set_network(&self, i: usize, fault: NetworkFault) -> Result<()> {
        let state = &mut *self.state.lock().await;
        self.set_network_locked(state, i, fault).await
    }

    async fn set_network_locked(&self, state: &mut State, i: usize, fault: NetworkFault) -> Result<()> {
        let proxy = &self.hosts[i].proxy;
        if !fault.is_silent() && std::mem::take(&mut state.instances[i].owes_reset) {
            proxy.reset().await;
        }
        if fault == NetworkFault::None {
            proxy.set_latency(Duration::ZERO, Duration::ZERO);
        }
        proxy.set_fault(fault).await;
        Ok(())
    }

    pub(super) async fn down_all(&self) -> Result<()> {
        let state = &mut *self.state.lock().await;
        // The writer first: no reader misses anything then.
        let writer = state.writer;
        self.kill_locked(state, writer).await?;
        for i in 0..self.hosts.len() {
            self.kill_locked(state, i).await?;
        }
        Ok(())
    }

    pub(super) async fn up_all(self: Arc<Self>) -> Result<()> {
        let writer = self.writer();
        self.clone().start(writer).await?;
        for i in 0..self.hosts.len() {
            self.clone().start(i).await?;
        }
        Ok(())
    }

    pub(super) async fn until_complete(&self, deadline: Duration) -> Result<()> {
        let complete = |state: &State| {
            (0..state.instances.len()).all(|i| {
                let instance = &state.instances[i];
                let follows = instance.in_step && instance.complete;
                instance.is_responsive() && (i == state.writer || follows || instance.demoted)
            })
        };
        self.until("the cluster's completion", deadline, complete).await
    }

    async fn until(&self, what: &str, deadline: Duration, done: impl Fn(&State) -> bool) -> Result<()> {
        let end = Instant::now() + deadline;
        while !done(&*self.state.lock().await) {
            if Instant::now() > end {
                return Err(Error::timeout(what, deadline));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}
