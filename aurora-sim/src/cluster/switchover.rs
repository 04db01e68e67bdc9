//! Switchover: another instance becomes the writer, the old one lives on and may not write.

use std::sync::Arc;

use tokio::time::Instant;

use super::failover::FailoverReport;
use super::inner::Inner;
use crate::error::{Error, Result};

impl Inner {
    pub(super) async fn switchover(self: Arc<Self>, to: Option<usize>) -> Result<FailoverReport> {
        let state = &mut *self.state.lock().await;
        let old = state.writer;
        let running = state.instances[old].server.filter(|_| state.instances[old].is_responsive());
        let Some(process) = running.filter(|_| self.hosts.len() > 1) else {
            return Err(Error::invalid("a switchover needs a writer that answers and a reader"));
        };
        self.await_candidate(state, to).await?;
        let new = self.most_recent(state, to).await?;

        let killed_at = Instant::now();
        let in_step = Self::in_step(state);
        if let Err(error) = self.database.close_writes(old, new, &in_step, process).await {
            // Nobody was promoted: the writer is the writer again.
            self.database.reopen_writes(old, &in_step, process).await?;
            return Err(error);
        }
        state.instances[old].demoted = !self.database.turns_around();
        let promotion_at = Instant::now();
        self.database.promote(new).await?;
        let writable_at = Instant::now();
        let report = self.take_over(state, old, new, [killed_at, promotion_at, writable_at]).await?;
        if state.instances[old].demoted {
            self.database.seal(old, process).await?;
        }
        Ok(report)
    }
}
