//! Keeping readers in step with the writer, and noticing servers that end by themselves.
//!
//! On Aurora a commit is safe in shared storage; here it is safe because the writer waits for every reader that is
//! in step. The set changes with the readers' fates, so that a dead reader never holds up a commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::inner::{Inner, State};
use crate::error::Result;

/// Pause between two looks at the servers when nothing is expected.
const PACE: Duration = Duration::from_millis(50);

/// Pause while a reader is about to be in step.
const BUSY_PACE: Duration = Duration::from_millis(5);

/// A reader that counts has the last commits within milliseconds.
const COPY_DEADLINE: Duration = Duration::from_secs(5);

/// A reader that does not follow by then has data that the writer does not have; it gets a fresh copy.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(5);

impl Inner {
    /// Looks after the servers until the cluster ends.
    pub(super) async fn supervise(self: Arc<Self>) {
        loop {
            let pace = match self.look().await {
                Ok(true) => BUSY_PACE,
                Ok(false) => PACE,
                Err(error) => {
                    tracing::warn!(%error, "cannot look after the servers");
                    PACE
                }
            };
            let _ = timeout(pace, self.attention.notified()).await;
            if pace == BUSY_PACE {
                sleep(BUSY_PACE).await;
            }
        }
    }

    /// Whether something is under way.
    async fn look(self: &Arc<Self>) -> Result<bool> {
        let state = &mut *self.state.lock().await;
        for i in 0..self.hosts.len() {
            if state.instances[i].server.is_some_and(|server| !server.is_alive()) {
                tracing::warn!(instance = self.hosts[i].name, "the server has ended by itself");
                if state.instances[state.writer].is_responsive() {
                    state.instances[i].complete &= i == state.writer;
                }
                self.crash(state, i).await?;
                self.apply_step(state).await?;
                self.announce(state, self.options.dns_lag)?;
            }
        }
        self.let_join(state).await
    }

    /// Adds readers that follow the writer by now to those that commits wait for.
    pub(super) async fn let_join(self: &Arc<Self>, state: &mut State) -> Result<bool> {
        let waiting: Vec<usize> = Self::running_readers(state)
            .into_iter()
            .filter(|&i| {
                let instance = &state.instances[i];
                !instance.in_step && !instance.frozen && !instance.demoted && !instance.rebuilding
            })
            .collect();
        if waiting.is_empty() || !state.instances[state.writer].is_responsive() {
            return Ok(false);
        }
        let followers = self.database.followers(state.writer).await?;
        let mut joined = Vec::new();
        let mut missing = false;
        for i in waiting {
            if followers.contains(&i) {
                state.instances[i].in_step = true;
                joined.push(i);
            } else if state.instances[i].follows_since.is_some_and(|since| since.elapsed() > FOLLOW_PATIENCE)
            {
                tracing::info!(instance = self.hosts[i].name, "does not follow the writer: copying its data");
                self.rebuild(state, i);
            } else {
                missing = true;
            }
        }
        if !joined.is_empty() {
            if let Err(error) = self.apply_step(state).await {
                for i in joined {
                    state.instances[i].in_step = false;
                }
                return Err(error);
            }
            self.until_complete_copies(state, &joined).await?;
        }
        Ok(missing)
    }

    /// Waits until readers have what was acknowledged just before the writer began to wait for them.
    async fn until_complete_copies(&self, state: &mut State, joined: &[usize]) -> Result<()> {
        let acknowledged = self.database.written(state.writer).await?;
        let end = Instant::now() + COPY_DEADLINE;
        loop {
            let complete = self.database.have_received(state.writer, joined, &acknowledged).await?;
            for &i in joined {
                state.instances[i].complete |= complete.contains(&i);
            }
            // One that died meanwhile is found by the next look.
            if joined.iter().all(|&i| state.instances[i].complete) || Instant::now() > end {
                return Ok(());
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops commits from waiting for a reader that is about to go away.
    pub(super) async fn leave_step(&self, state: &mut State, i: usize) -> Result<()> {
        if std::mem::replace(&mut state.instances[i].in_step, false) {
            self.apply_step(state).await?;
        }
        if state.instances[state.writer].is_responsive() {
            state.instances[i].complete = false;
        }
        Ok(())
    }

    /// The writer is about to acknowledge commits again: what it does not wait for may miss some.
    pub(super) fn writer_resumes(state: &mut State) {
        for instance in &mut state.instances {
            instance.complete &= instance.in_step;
        }
    }

    /// Tells the writer which readers to wait for, and waits until it does so.
    pub(super) async fn apply_step(&self, state: &State) -> Result<()> {
        let writer = &state.instances[state.writer];
        let process = writer.server.filter(|_| writer.is_responsive());
        self.database.wait_for(state.writer, &Self::in_step(state), process).await
    }
}
