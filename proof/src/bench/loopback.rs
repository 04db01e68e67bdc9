//! `SELECT 1` over loopback: the bare driver against the wrapper, in alternating blocks on one thread.

use aws_wrapper_pg::Client;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::bench::report::Line;
use crate::median;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const QUERIES: u32 = 2_000;

/// What one block cost.
struct Block {
    p50_us: f64,
    cpu_us: f64,
}

async fn block<F, Fut>(mut query: F) -> Result<Block, AnyError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), AnyError>>,
{
    let mut times = Vec::with_capacity(QUERIES as usize);
    let cpu = thread_cpu_us();
    for _ in 0..QUERIES {
        let started = Instant::now();
        query().await?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let cpu_us = (thread_cpu_us() - cpu) / f64::from(QUERIES);
    Ok(Block { p50_us: median(&mut times), cpu_us })
}

/// Processor time of this thread: everything of both clients runs on it.
fn thread_cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a short run")]
    let us = now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3;
    us
}

/// Prepared and plain text. Must run on a current-thread runtime.
///
/// # Errors
/// Those of either client.
pub async fn measure(
    wrapped: &Client,
    bare: &tokio_postgres::Client,
    blocks: usize,
) -> Result<Vec<Line>, AnyError> {
    let ours = wrapped.prepare("select 1").await?;
    let theirs = bare.prepare("select 1").await?;
    let (mut w50, mut wcpu, mut b50, mut bcpu) = (vec![], vec![], vec![], vec![]);
    for number in 0..blocks.max(20) {
        let wrapped_block = || async {
            wrapped.query_one(&ours, &[]).await?;
            Ok(())
        };
        let bare_block = || async {
            bare.query_one(&theirs, &[]).await?;
            Ok(())
        };
        // Who goes first changes, so that neither has the warmer cache every time.
        let (w, b) = if number % 2 == 0 {
            let w = block(wrapped_block).await?;
            (w, block(bare_block).await?)
        } else {
            let b = block(bare_block).await?;
            (block(wrapped_block).await?, b)
        };
        // Ratios of neighbouring blocks: what else runs on the machine hits both alike.
        w50.push(w.p50_us);
        wcpu.push(w.cpu_us);
        b50.push(b.p50_us);
        bcpu.push(b.cpu_us);
    }
    Ok(vec![
        paired("SELECT 1 prepared, loopback, p50", &b50, &w50, 1.03),
        paired("SELECT 1 prepared, loopback, client CPU", &bcpu, &wcpu, 1.04),
    ])
}

/// Medians of both sides, and the median of the ratios of neighbouring blocks.
fn paired(name: &str, bare: &[f64], wrapped: &[f64], most: f64) -> Line {
    let mut ratios: Vec<f64> = wrapped.iter().zip(bare).map(|(w, b)| w / b).collect();
    let ratio = median(&mut ratios);
    let mut line = Line::ratio(name, "us", median(&mut bare.to_vec()), median(&mut wrapped.to_vec()), most);
    line.ratio = Some(ratio);
    line.met = ratio <= most;
    line
}
