//! The floor of a crowd: how long the bare driver needs to open as many connections to a new writer, when it is told
//! which one that is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aurora_sim::{Cluster, FailoverOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::setting;
use crate::bench::stats::Sorted;
use crate::demo::workload;
use crate::driver::{AnyError, Driver, Session};

/// How many are opened at the same time: the rate does not grow beyond it.
pub const AT_ONCE: usize = 16;

/// What is done with a connection before it counts as usable: the same as on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "private to this program in all but name")]
pub enum FirstUse {
    /// `SELECT 1`.
    Select,
    /// A statement is prepared and inserts a row into the demo's table.
    Insert,
}

/// After a failover with a promotion `promote_after` the crash: when each of so many connections was usable, in ms from the
/// moment the first began.
///
/// # Errors
/// The simulator's and the driver's.
pub async fn reopened<D: Driver>(
    cluster: &Cluster,
    connections: usize,
    promote_after: Duration,
    first_use: FirstUse,
) -> Result<Sorted, AnyError> {
    let options = FailoverOptions::default().promote_after(promote_after).restart_old(false);
    let report = cluster.failover(options).await?;
    let host = cluster.instance_endpoint(&report.new_writer);
    let address = cluster.names().lookup(&host).into_iter().next().ok_or("the name does not resolve")?;
    let address = SocketAddr::new(address, cluster.port());
    let started = Instant::now();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let permit = permits.acquire().await?;
            let mut session = D::bare(setting::NAME, address).await?;
            match first_use {
                FirstUse::Select => session.ask("SELECT 1").await?,
                FirstUse::Insert => workload::insert_one::<D>(&mut session).await?,
            }
            drop(permit);
            Ok::<_, AnyError>((Instant::now(), session))
        });
    }
    let mut open = Vec::with_capacity(connections);
    while let Some(finished) = tasks.join_next().await {
        open.push(finished??);
    }
    Ok(Sorted::new(open.iter().map(|(at, _)| (*at - started).as_secs_f64() * 1e3)))
}
