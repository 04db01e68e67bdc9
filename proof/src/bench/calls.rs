//! `SELECT 1` over loopback: the bare driver against the wrapper, in alternating blocks on one thread.

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::setting::{self, ALL_PLUGINS, NAME, connector};
use crate::bench::stats::{Sorted, paired_ratio};
use crate::driver::{AnyError, Driver, Session};

/// Queries a block: short, so that what else the machine does hits both sides alike.
pub const QUERIES: u32 = 500;

const SQL: &str = "SELECT 1";
/// Times of a block that are kept for the picture.
const SHOWN: u32 = 25;
/// A pair of blocks with one slower than this many medians of its side was disturbed and is measured again.
const DISTURBED: f64 = 1.3;

/// What the ratios of one set of plugins may be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Goals {
    p50: Option<f64>,
    p99: Option<f64>,
    cpu: Option<f64>,
}

const NONE: Goals = Goals { p50: Some(1.01), p99: None, cpu: None };
const DEFAULT: Goals = Goals { p50: Some(1.03), p99: Some(1.10), cpu: Some(1.035) };

/// No plugins, the default ones, all of them; the default ones by the driver's own trait where there is one; and the
/// bare driver against itself.
///
/// # Errors
/// Those of either client. Must run on a current-thread runtime.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (cluster, server) = setting::single::<D>().await?;
    let mut bare = D::bare(NAME, server).await?;
    let mut findings = Findings::default();
    for (set, plugins, goals) in [
        ("no plugins", Some("none"), NONE),
        ("default plugins", None, DEFAULT),
        ("all plugins", Some(ALL_PLUGINS), Goals::default()),
    ] {
        let parameters: Vec<(&str, &str)> = plugins.map(|plugins| ("plugins", plugins)).into_iter().collect();
        let connector = connector::<D>(server, &parameters)?;
        let mut wrapped = D::wrapped(&connector).await?;
        compare::<D, _, _>(&mut findings, set, goals, &mut wrapped, &mut bare, plan.blocks).await?;
        if plugins.is_none() {
            if let Some(mut generic) = D::generic(wrapped) {
                let set = "default plugins by the driver's trait";
                compare::<D, _, _>(&mut findings, set, goals, &mut generic, &mut bare, plan.blocks).await?;
            }
        }
    }
    let mut other = D::bare(NAME, server).await?;
    compare::<D, _, _>(
        &mut findings,
        "bare against bare",
        Goals::default(),
        &mut other,
        &mut bare,
        plan.blocks,
    )
    .await?;
    findings.notes.push(format!(
        "{} pairs of blocks of {QUERIES} queries each and form, both sides on one thread; ratios are medians over \
         neighbouring blocks. Bare against bare says how far a ratio may be off.",
        plan.blocks
    ));
    drop((bare, other));
    cluster.shutdown().await;
    Ok(findings)
}

async fn compare<D: Driver, W: Session, B: Session>(
    findings: &mut Findings,
    set: &str,
    goals: Goals,
    wrapped: &mut W,
    bare: &mut B,
    blocks: usize,
) -> Result<(), AnyError> {
    let ours = wrapped.prepare(SQL).await?;
    let theirs = bare.prepare(SQL).await?;
    let text = pairs(blocks, wrapped, bare, async |w| w.ask(SQL).await, async |b| b.ask(SQL).await).await?;
    let prepared = pairs(
        blocks,
        wrapped,
        bare,
        async |w| w.ask_prepared(&ours).await,
        async |b| b.ask_prepared(&theirs).await,
    )
    .await?;
    for (form, pairs) in [("as text", text), ("prepared", prepared)] {
        let name = format!("{SQL} {form}, {set}");
        findings.rows.extend(pairs.rows(&name, goals));
        if pairs.repeated > 0 {
            findings
                .notes
                .push(format!("{name}: {} disturbed pairs of blocks were measured again.", pairs.repeated));
        }
        let file =
            format!("{}-calls-{}-{}.svg", D::ENGINE, set.replace([' ', '\''], "-"), form.replace(' ', "-"));
        let lanes = [(D::BARE, &pairs.bare), (D::WRAPPED, &pairs.wrapped)].map(|(label, blocks)| {
            Series::new(label, blocks.iter().flat_map(|block| block.times.iter().copied()))
        });
        findings.plots.push(Plot::new(file, format!("{name}: time of a call"), "us", lanes.into()));
    }
    Ok(())
}

/// What one block cost.
pub(crate) struct Block {
    times: Vec<f64>,
    p50: f64,
    p99: f64,
    cpu: f64,
}

async fn block<S>(
    session: &mut S,
    query: &mut impl AsyncFnMut(&mut S) -> Result<(), AnyError>,
) -> Result<Block, AnyError> {
    let mut times = Vec::with_capacity(QUERIES as usize);
    let cpu = thread_cpu_us();
    for _ in 0..QUERIES {
        let started = Instant::now();
        query(session).await?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = (thread_cpu_us() - cpu) / f64::from(QUERIES);
    let sorted = Sorted::new(times);
    // What the picture shows; all of it would be a lot to keep. The extremes would be shown too often.
    let times =
        (0..SHOWN).map(|place| sorted.quantile((f64::from(place) + 0.5) / f64::from(SHOWN))).collect();
    Ok(Block { p50: sorted.median(), p99: sorted.quantile(0.99), cpu, times })
}

/// Processor time of this thread: everything of both clients runs on it.
pub fn thread_cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a short run")]
    let us = now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3;
    us
}

/// The blocks of both sides, neighbours under the same number.
#[derive(Default)]
pub(crate) struct Pairs {
    wrapped: Vec<Block>,
    bare: Vec<Block>,
    repeated: usize,
}

/// Alternating blocks of two sides.
pub(crate) async fn pairs<W, B>(
    count: usize,
    wrapped: &mut W,
    bare: &mut B,
    mut ours: impl AsyncFnMut(&mut W) -> Result<(), AnyError>,
    mut theirs: impl AsyncFnMut(&mut B) -> Result<(), AnyError>,
) -> Result<Pairs, AnyError> {
    let mut pairs = Pairs::default();
    // At most half as many again, on a machine that never rests.
    let most = count + count / 2;
    for number in 0..most {
        if number >= count && !pairs.drop_a_disturbed_one() {
            break;
        }
        // Who goes first changes, so that neither has the warmer cache every time.
        let (w, b) = if number % 2 == 0 {
            let w = block(wrapped, &mut ours).await?;
            (w, block(bare, &mut theirs).await?)
        } else {
            let b = block(bare, &mut theirs).await?;
            (block(wrapped, &mut ours).await?, b)
        };
        pairs.wrapped.push(w);
        pairs.bare.push(b);
    }
    Ok(pairs)
}

impl Pairs {
    /// Takes out the first pair that was disturbed, whichever side it was, if there is one.
    fn drop_a_disturbed_one(&mut self) -> bool {
        let limits = [&self.wrapped, &self.bare].map(|side| DISTURBED * side_median(side, |block| block.p50));
        let is_disturbed =
            |(wrapped, bare): (&Block, &Block)| wrapped.p50 > limits[0] || bare.p50 > limits[1];
        let Some(place) = self.wrapped.iter().zip(&self.bare).position(is_disturbed) else { return false };
        self.wrapped.remove(place);
        self.bare.remove(place);
        self.repeated += 1;
        true
    }

    pub(crate) fn rows(&self, name: &str, goals: Goals) -> [Row; 3] {
        [
            self.row(format!("{name}, p50"), |block| block.p50, goals.p50),
            self.row(format!("{name}, p99"), |block| block.p99, goals.p99),
            self.row(format!("{name}, client CPU"), |block| block.cpu, goals.cpu),
        ]
    }

    fn row(&self, name: String, pick: fn(&Block) -> f64, most: Option<f64>) -> Row {
        let [wrapped, bare] =
            [&self.wrapped, &self.bare].map(|side| side.iter().map(pick).collect::<Vec<f64>>());
        let row = Row::both(name, "us", side_median(&self.bare, pick), side_median(&self.wrapped, pick))
            .ratio(paired_ratio(&wrapped, &bare));
        match most {
            Some(most) => row.goal(Goal::RatioAtMost(most)),
            None => row,
        }
    }
}

fn side_median(side: &[Block], pick: fn(&Block) -> f64) -> f64 {
    Sorted::new(side.iter().map(pick)).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(p50: f64) -> Block {
        Block { times: Vec::new(), p50, p99: p50 * 2.0, cpu: p50 / 2.0 }
    }

    #[test]
    fn a_pair_is_dropped_as_a_whole_whichever_side_was_disturbed() {
        let mut pairs = Pairs {
            wrapped: [11.0, 30.0, 11.0, 11.0, 11.0].map(block).into(),
            bare: [10.0, 10.0, 10.0, 25.0, 10.0].map(block).into(),
            repeated: 0,
        };
        assert!(pairs.drop_a_disturbed_one() && pairs.drop_a_disturbed_one());
        assert!(!pairs.drop_a_disturbed_one());
        assert_eq!((pairs.wrapped.len(), pairs.bare.len(), pairs.repeated), (3, 3, 2));
        let row = pairs.row("p50".to_owned(), |block| block.p50, Some(1.05));
        assert_eq!(row.met, Some(false));
    }
}
