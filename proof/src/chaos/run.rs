//! One schedule from beginning to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::Pool;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::chaos::check::{Violation, check};
use crate::chaos::history::{At, History, Row, Told};
use crate::chaos::inject::{Played, play, repair};
use crate::chaos::journal::{Journal, Notes};
use crate::chaos::resources::{descriptors, kinds_of_descriptors, memory, tasks};
use crate::chaos::schedule::{Fault, Schedule};
use crate::chaos::settings::{Limits, POOL, parameters};
use crate::chaos::target::{Admin, Target};
use crate::chaos::workload::Worker;
use crate::driver::AnyError;
use crate::names::SimResolver;

const WRITERS: u32 = 30;
const READERS: u32 = 16;
/// Everything that was let go is gone after so long: two seconds for an idle probe, and some for a connection that closes.
const ENDING: Duration = Duration::from_secs(10);
/// Descriptors the simulator opens and closes when it likes.
const SPARE_DESCRIPTORS: usize = 6;
/// Memory the allocator may keep: a part of what was in use after the first schedule, and some MiB.
const SPARE_MEMORY: u64 = 48 << 20;

/// What came out of a schedule.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The promises that were not kept.
    pub violations: Vec<Violation>,
    /// How often each fault was played.
    pub faults: BTreeMap<Fault, u64>,
    /// Faults the cluster was in no state for.
    pub impossible: BTreeMap<Fault, u64>,
    /// Why.
    pub reasons: Vec<String>,
    /// Calls by kind.
    pub calls: BTreeMap<&'static str, u64>,
    /// Errors by call and kind.
    pub errors: BTreeMap<String, u64>,
    /// Writes that were acknowledged, refused, and neither.
    pub writes: [u64; 3],
    /// The longest times in which no write was acknowledged, longest first.
    pub outages: Vec<Duration>,
    /// Reads of a former writer before anybody could know.
    pub tolerated: u64,
    /// Notifications received.
    pub heard: u64,
    /// The memory of this process at the end.
    pub memory: u64,
    /// How long it took.
    pub took: Duration,
}

/// A cluster that is used for several schedules, with what this process holds between them.
#[derive(Debug)]
pub struct Stand {
    cluster: Arc<Cluster>,
    next_id: i64,
    settled: Option<(usize, u64)>,
}

impl Stand {
    /// Starts a cluster of three.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start<T: Target>() -> Result<Self, AnyError> {
        let cluster = Cluster::builder().engine(T::ENGINE).instances(3).start().await?;
        let mut admin = T::admin(cluster.direct_address(&cluster.writer())).await?;
        for sql in T::CREATE.iter().chain(T::TOOLS) {
            admin.run(sql).await?;
        }
        Ok(Self { cluster: Arc::new(cluster), next_id: 1, settled: None })
    }

    /// Ends the cluster.
    pub async fn end(self) {
        if let Ok(cluster) = Arc::try_unwrap(self.cluster) {
            cluster.shutdown().await;
        }
    }

    /// Plays a schedule.
    ///
    /// # Errors
    /// When the simulator cannot put the cluster right again, or it cannot be asked; never because of the wrapper.
    pub async fn run<T: Target>(&mut self, schedule: &Schedule) -> Result<Outcome, AnyError> {
        let tasks_before = tasks();
        let limits = Limits::new();
        let start = Instant::now();
        let journal = Arc::new(Journal::new(start, self.next_id));
        let services = Services::with_resolver(SimResolver::new([self.cluster.names()]));
        let parameters = parameters(T::ENGINE);
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let connector =
            T::connector(&self.cluster.endpoint(), self.cluster.port(), services.clone(), &parameters)?;
        let pool = Pool::<T>::builder(connector).max_size(POOL).build()?;
        let mut workers = employ(&pool, &journal, limits, schedule.seed);

        let played = play::<T>(&self.cluster, schedule, start).await;
        repair::<T>(&self.cluster).await?;
        let mut leftovers = recovery(&journal, limits.recovery).await;
        journal.stop.store(true, Ordering::Relaxed);
        if timeout(limits.readers, async { while workers.join_next().await.is_some() {} }).await.is_err() {
            leftovers.push(format!("{} workers did not end", workers.len()));
        }
        let unfinished = journal.unfinished();
        workers.shutdown().await;
        drop(pool);
        leftovers.extend(self.left::<T>(services, tasks_before).await?);

        self.next_id = journal.last_id();
        let rows = self.rows::<T>().await?;
        let mut notes = journal.note(std::mem::take);
        notes.slow.extend(unfinished);
        let mut outcome = judge(played, notes, rows, leftovers, limits.learning);
        outcome.memory = memory();
        outcome.violations.extend(self.growth(outcome.memory));
        outcome.took = start.elapsed();
        Ok(outcome)
    }

    /// The rows of this schedule, and an empty table for the next one.
    async fn rows<T: Target>(&self) -> Result<Vec<Row>, AnyError> {
        let mut admin = T::admin(self.cluster.direct_address(&self.cluster.writer())).await?;
        let rows = admin.rows("select id, accepted_by from chaos").await?;
        admin.run("truncate table chaos").await?;
        Ok(rows.into_iter().map(|(id, accepted_by)| Row { id, accepted_by }).collect())
    }

    /// What is left of a pool that was dropped, after a time in which it should have gone.
    async fn left<T: Target>(
        &self,
        services: Services,
        tasks_before: usize,
    ) -> Result<Vec<String>, AnyError> {
        let end = Instant::now() + ENDING;
        let mut services = Some(services);
        loop {
            let mut left = Vec::new();
            if let Some(shared) = &services {
                let status = shared.status();
                // The cluster's monitor waits a while for another pool.
                let connections: usize = status.connections.values().sum();
                if status.running_tasks > T::MONITOR_TASKS || connections > 1 {
                    left.push(format!("{} tasks of the services run: {status:?}", status.running_tasks));
                } else {
                    services = None;
                }
            }
            let now = tasks();
            if services.is_none() && now > tasks_before {
                left.push(format!("{now} tasks of the runtime, {tasks_before} before"));
            }
            for instance in self.cluster.instance_names() {
                let connections = self.cluster.proxy_connections(&instance);
                if connections > 0 {
                    left.push(format!("{connections} sockets to {instance}"));
                }
                let mut admin = T::admin(self.cluster.direct_address(&instance)).await?;
                for (count, example) in admin.rows(T::COUNT_SESSIONS).await? {
                    if count > 0 {
                        left.push(format!("{count} sessions on {instance}, such as {example}"));
                    }
                }
            }
            if let Some((descriptors_before, _)) = self.settled {
                let now = descriptors();
                if now > descriptors_before + SPARE_DESCRIPTORS {
                    let kinds = kinds_of_descriptors();
                    left.push(format!(
                        "{now} descriptors, {descriptors_before} after the first schedule: {kinds}"
                    ));
                }
            }
            if left.is_empty() || Instant::now() > end {
                return Ok(left);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Compares with the first schedule, in which everything gets its size.
    fn growth(&mut self, memory: u64) -> Option<Violation> {
        let (_, before) = *self.settled.get_or_insert_with(|| (descriptors(), memory));
        let limit = before + before / 4 + SPARE_MEMORY;
        (memory > limit).then(|| Violation {
            rule: crate::chaos::Rule::NothingLeft,
            what: format!("{} MiB in use, {} MiB after the first schedule", memory >> 20, before >> 20),
        })
    }
}

fn employ<T: Target>(pool: &Pool<T>, journal: &Arc<Journal>, limits: Limits, seed: u64) -> JoinSet<()> {
    let mut random = Rng::with_seed(seed);
    let mut workers = JoinSet::new();
    let mut number = 0;
    let mut worker = || {
        number += 1;
        Worker { number, pool: pool.clone(), journal: Arc::clone(journal), limits, random: random.fork() }
    };
    for _ in 0..WRITERS {
        workers.spawn(worker().write());
    }
    for _ in 0..READERS {
        workers.spawn(worker().read());
    }
    if T::NOTIFIES {
        workers.spawn(worker().notify());
        let listener = worker();
        let over = Arc::clone(journal);
        workers.spawn(async move {
            let ended = async {
                while !over.is_over() {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                () = listener.listen() => {}
                () = ended => {}
            }
        });
    }
    workers
}

/// Waits until every worker gets something done; those that do not.
async fn recovery(journal: &Journal, limit: Duration) -> Vec<String> {
    let from = journal.now();
    loop {
        let idle: Vec<u32> = journal.note(|notes| {
            notes.progress.iter().filter(|(_, last)| **last <= from).map(|(worker, _)| *worker).collect()
        });
        if idle.is_empty() {
            return Vec::new();
        }
        if journal.now() > from + limit {
            let running = journal.unfinished();
            return vec![format!(
                "workers {idle:?} do not work again {limit:?} after the repair: {running:?}"
            )];
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn judge(
    played: Played,
    notes: Notes,
    rows: Vec<Row>,
    leftovers: Vec<String>,
    learning: Duration,
) -> Outcome {
    let count = |faults: &mut dyn Iterator<Item = Fault>| {
        let mut counts = BTreeMap::new();
        for fault in faults {
            *counts.entry(fault).or_default() += 1;
        }
        counts
    };
    let faults = count(&mut played.incidents.iter().map(|incident| incident.fault));
    let impossible = count(&mut played.impossible.iter().map(|(fault, _)| *fault));
    let reasons =
        played.impossible.iter().map(|(fault, reason)| format!("{}: {reason}", fault.name())).collect();
    let tolerated = notes.looks.len() as u64;
    let history = History {
        writes: notes.writes,
        looks: notes.looks,
        left_behind: notes.left_behind,
        quotes: notes.quotes,
        slow: notes.slow,
        terms: played.terms,
        incidents: played.incidents,
        rows,
        leftovers,
        learning,
    };
    let mut writes = [0; 3];
    for write in &history.writes {
        writes[match write.told {
            Told::Done => 0,
            Told::Failed(_) => 1,
            Told::Nothing => 2,
        }] += 1;
    }
    Outcome {
        violations: check(&history),
        faults,
        impossible,
        reasons,
        calls: notes.calls,
        errors: notes.errors,
        writes,
        outages: outages(&history),
        tolerated,
        heard: notes.heard,
        memory: 0,
        took: Duration::ZERO,
    }
}

/// Times without an acknowledged write that a user notices.
fn outages(history: &History) -> Vec<Duration> {
    const NOTICED: Duration = Duration::from_millis(300);
    let mut done: Vec<At> =
        history.writes.iter().filter(|write| write.told == Told::Done).map(|write| write.ended).collect();
    done.sort_unstable();
    let gaps = done.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let mut outages: Vec<_> = gaps.filter(|gap| *gap > NOTICED).collect();
    outages.sort_unstable_by(|a, b| b.cmp(a));
    outages
}
