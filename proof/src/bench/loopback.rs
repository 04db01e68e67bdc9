//! `SELECT 1` over loopback: the bare driver against the wrapper, in alternating blocks on one thread.

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::bench::report::Line;
use crate::driver::{AnyError, Session};
use crate::median;

/// Short, so that what else the machine does hits both sides alike.
pub const QUERIES: u32 = 500;

const SQL: &str = "SELECT 1";

/// What a measurement is called and judged by.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "made by the program field by field")]
pub struct Label<'a> {
    /// What is special about it, or nothing.
    pub note: &'a str,
    /// Most that the typical time and the processor time may be, as ratios. Nothing if they are not judged.
    pub goals: Option<(f64, f64)>,
}

/// What one block cost.
struct Block {
    p50_us: f64,
    cpu_us: f64,
}

async fn block(mut query: impl AsyncFnMut() -> Result<(), AnyError>) -> Result<Block, AnyError> {
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

/// Plain text and prepared. Must run on a current-thread runtime.
///
/// # Errors
/// Those of either client.
pub async fn measure<W: Session, B: Session>(
    label: Label<'_>,
    wrapped: &mut W,
    bare: &mut B,
    blocks: usize,
) -> Result<Vec<Line>, AnyError> {
    let ours = wrapped.prepare(SQL).await?;
    let theirs = bare.prepare(SQL).await?;
    let (mut text, mut prepared) = (Pairs::default(), Pairs::default());
    for number in 0..blocks.max(20) {
        // Who goes first changes, so that neither has the warmer cache every time.
        if number % 2 == 0 {
            text.wrapped.push(block(async || wrapped.ask(SQL).await).await?);
            text.bare.push(block(async || bare.ask(SQL).await).await?);
            prepared.wrapped.push(block(async || wrapped.ask_prepared(&ours).await).await?);
            prepared.bare.push(block(async || bare.ask_prepared(&theirs).await).await?);
        } else {
            text.bare.push(block(async || bare.ask(SQL).await).await?);
            text.wrapped.push(block(async || wrapped.ask(SQL).await).await?);
            prepared.bare.push(block(async || bare.ask_prepared(&theirs).await).await?);
            prepared.wrapped.push(block(async || wrapped.ask_prepared(&ours).await).await?);
        }
    }
    let [text, prepared] =
        [("as text", text), ("prepared", prepared)].map(|(form, pairs)| pairs.lines(form, label));
    Ok(text.into_iter().chain(prepared).collect())
}

/// The blocks of both sides, neighbours under the same number.
#[derive(Default)]
struct Pairs {
    wrapped: Vec<Block>,
    bare: Vec<Block>,
}

impl Pairs {
    fn lines(&self, form: &str, label: Label<'_>) -> [Line; 2] {
        let (p50, cpu) = label.goals.unzip();
        [
            self.line(format!("{SQL} {form}, loopback, p50{}", label.note), |block| block.p50_us, p50),
            self.line(format!("{SQL} {form}, loopback, client CPU{}", label.note), |block| block.cpu_us, cpu),
        ]
    }

    /// Medians of both sides, and the median of the ratios of neighbouring blocks: what else runs on the machine hits
    /// both alike.
    fn line(&self, name: String, pick: fn(&Block) -> f64, most: Option<f64>) -> Line {
        let pairs = self.wrapped.iter().map(pick).zip(self.bare.iter().map(pick));
        let ratio = median(&mut pairs.map(|(wrapped, bare)| wrapped / bare).collect::<Vec<_>>());
        let middle = |blocks: &[Block]| median(&mut blocks.iter().map(pick).collect::<Vec<_>>());
        let mut line = match most {
            Some(most) => Line::ratio(name, "us", middle(&self.bare), middle(&self.wrapped), most),
            None => Line::control(name, "us", middle(&self.bare), middle(&self.wrapped)),
        };
        line.ratio = Some(ratio);
        line.met = most.is_none_or(|most| ratio <= most);
        line
    }
}
