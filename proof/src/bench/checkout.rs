//! A checkout, one query and the way back: what it costs to know that the session is clean.

use std::net::SocketAddr;

use aws_wrapper_deadpool::Pool;

use crate::bench::calls::{Goals, QUERIES, pairs};
use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::relay::Relay;
use crate::bench::report::{Findings, Row};
use crate::bench::setting::{self, connector};
use crate::driver::{AnyError, Driver, Session};

const SQL: &str = "SELECT 1";
/// As applications write them, so that there is something to read in it.
const LONG_SQL: &str = "SELECT coalesce(max(a.id), 0), count(*) FROM (SELECT 1 AS id UNION ALL SELECT 2) AS a \
                        WHERE a.id IN (1, 2, 3) AND lower('name') = 'name'";
/// Uses of each kind whose round trips are counted.
const COUNTED: u32 = 20;

/// `pool_reset=auto` against `never`, and the round trips of each.
///
/// # Errors
/// Those of either pool. Must run on a current-thread runtime.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<D>().await?;
    let mut findings = Findings::default();
    let mut auto = pool::<D>(server, "auto")?;
    let mut never = pool::<D>(server, "never")?;
    for (name, sql) in [(SQL, SQL), ("a longer query", LONG_SQL)] {
        let both = pairs(
            plan.blocks,
            &mut auto,
            &mut never,
            async |pool| used::<D>(pool, sql).await,
            async |pool| used::<D>(pool, sql).await,
        );
        let name = format!("checkout, {name} as text, return; `auto` against `never`");
        findings.rows.extend(both.await?.rows(&name, Goals::default()));
    }
    drop((auto, never));
    for (mode, sql, more, what) in [
        ("never", SQL, 0.0, "untouched session"),
        ("auto", SQL, 0.0, "untouched session"),
        ("auto", "SET @chaos = 1", 1.0, "changed session"),
        ("always", SQL, 1.0, "untouched session"),
    ] {
        let sql = if sql.starts_with("SET") && D::TWO_PARAMETERS.contains('$') { "SET a.b = 1" } else { sql };
        let trips = round_trips::<D>(server, mode, sql).await?;
        let name = format!("round trips of a use, `{mode}`, {what}");
        findings.rows.push(Row::both(name, "round trips", 1.0, trips).goal(Goal::AddsAtMost(more)));
    }
    findings.notes.push(format!(
        "{} pairs of blocks of {QUERIES} uses each: check out, one query, give back; a pool of one. The side called bare \
         is the same pool with `pool_reset=never`.",
        plan.blocks
    ));
    cluster.shutdown().await;
    Ok(findings)
}

fn pool<D: Driver>(server: SocketAddr, mode: &str) -> Result<Pool<D::Adapter>, AnyError> {
    let connector = connector::<D>(server, &[("pool_reset", mode)])?;
    Ok(Pool::<D::Adapter>::builder(connector).max_size(1).build()?)
}

async fn used<D: Driver>(pool: &Pool<D::Adapter>, sql: &str) -> Result<(), AnyError> {
    pool.writer().await?.run(sql).await
}

/// Round trips of one use. The monitor's own questions pass here too: of several the one counts that none of them fell into.
async fn round_trips<D: Driver>(server: SocketAddr, mode: &str, sql: &str) -> Result<f64, AnyError> {
    let relay = Relay::to(server).await?;
    let pool = pool::<D>(relay.address(), mode)?;
    let mut object = pool.writer().await?;
    let mut least = usize::MAX;
    for _ in 0..COUNTED {
        let before = relay.round_trips();
        object.run(sql).await?;
        drop(object);
        // The only connection comes when it is clean.
        object = pool.writer().await?;
        least = least.min(relay.round_trips() - before);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    Ok(least as f64)
}
