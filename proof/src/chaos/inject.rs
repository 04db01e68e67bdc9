//! Plays a schedule on a cluster, and puts everything right again.

use std::sync::Arc;
use std::time::Duration;

use aurora_sim::{Cluster, ErrorKind, FailoverOptions, FailoverReport};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::chaos::history::{At, Incident, Term};
use crate::chaos::schedule::{Fault, Schedule, Step, Victim};
use crate::chaos::target::{Admin, Target};
use crate::driver::AnyError;

/// How long the simulator may need to put a cluster right again.
const REPAIR: Duration = Duration::from_secs(60);
/// One attempt of the administrator.
const ADMIN: Duration = Duration::from_secs(3);

/// What was played.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) incidents: Vec<Incident>,
    pub(crate) terms: Vec<Term>,
    /// Faults that the cluster was in no state for.
    pub(crate) impossible: Vec<(Fault, String)>,
}

/// Plays every step. Returns when the last one is healed.
pub(crate) async fn play<T: Target>(cluster: &Arc<Cluster>, schedule: &Schedule, start: Instant) -> Played {
    let first = Term { instance: cluster.writer(), from: At::ZERO, closing: None, until: None };
    let played = Played { terms: vec![first], ..Played::default() };
    let player = Arc::new(Player {
        cluster: Arc::clone(cluster),
        start,
        played: parking_lot::Mutex::new(played),
        roles: Mutex::new(()),
        login: Mutex::new(()),
    });
    let mut steps = JoinSet::new();
    for step in schedule.steps.clone() {
        let player = Arc::clone(&player);
        steps.spawn(async move {
            sleep_until(start + step.at).await;
            player.step::<T>(step).await;
        });
    }
    while steps.join_next().await.is_some() {}
    std::mem::take(&mut *player.played.lock())
}

struct Player {
    cluster: Arc<Cluster>,
    start: Instant,
    played: parking_lot::Mutex<Played>,
    /// One change of roles at a time, so that it is known who was the writer when.
    roles: Mutex<()>,
    login: Mutex<()>,
}

impl Player {
    async fn step<T: Target>(&self, step: Step) {
        let instance = match step.victim {
            Victim::Writer => self.cluster.writer(),
            Victim::Reader(number) => {
                let readers = self.cluster.readers();
                readers[number % readers.len()].clone()
            }
        };
        let number = {
            let mut played = self.played.lock();
            let incident = Incident {
                fault: step.fault,
                instance: instance.clone(),
                from: self.start.elapsed(),
                until: None,
            };
            played.incidents.push(incident);
            played.incidents.len() - 1
        };
        let result = self.fault::<T>(step, &instance).await;
        let mut played = self.played.lock();
        played.incidents[number].until = Some(self.start.elapsed());
        if let Err(error) = result {
            played.impossible.push((step.fault, error.to_string()));
        }
    }

    async fn fault<T: Target>(&self, step: Step, instance: &str) -> Result<(), AnyError> {
        let cluster = &self.cluster;
        match step.fault {
            Fault::Kill => {
                cluster.kill(instance).await?;
                sleep(step.lasts).await;
                cluster.start(instance).await?;
            }
            Fault::Restart => cluster.restart(instance).await?,
            Fault::Freeze => {
                cluster.freeze(instance).await?;
                sleep(step.lasts).await;
                cluster.thaw(instance).await?;
            }
            Fault::BlackHole => {
                cluster.blackhole(instance).await?;
                sleep(step.lasts).await;
                cluster.heal(instance).await?;
            }
            Fault::Reset => cluster.reset(instance).await?,
            Fault::Refuse => {
                cluster.refuse(instance).await?;
                sleep(step.lasts).await;
                cluster.heal(instance).await?;
            }
            Fault::Latency => {
                cluster.latency(instance, step.delay).await?;
                sleep(step.lasts).await;
                cluster.heal(instance).await?;
            }
            Fault::Switchover => {
                let old = self.change(async || cluster.switchover(None).await).await?;
                sleep(step.lasts).await;
                cluster.settle(&old).await?;
            }
            Fault::Failover => self.failover(step).await?,
            Fault::StaleDns => {
                cluster.set_dns(&cluster.endpoint(), Some(&cluster.writer())).await?;
                let result = self.failover(step).await;
                sleep(step.lasts).await;
                cluster.set_dns(&cluster.endpoint(), None).await?;
                result?;
            }
            Fault::StaleTopology => {
                cluster.set_stale_topology(instance, true).await?;
                let result = self.failover(step).await;
                sleep(step.lasts).await;
                cluster.set_stale_topology(instance, false).await?;
                result?;
            }
            Fault::LoginRotation => {
                let _one_at_a_time = self.login.lock().await;
                set_password::<T>(cluster, "rotated").await?;
                sleep(step.lasts).await;
                set_password::<T>(cluster, "secret").await?;
            }
            Fault::AllDown => {
                cluster.down_all().await?;
                sleep(step.lasts).await;
                cluster.up_all().await?;
            }
        }
        Ok(())
    }

    async fn failover(&self, step: Step) -> Result<(), AnyError> {
        let options = FailoverOptions::default().promote_after(step.delay);
        self.change(async || self.cluster.failover(options).await).await.map(drop)
    }

    /// Changes the writer and notes the terms. Returns the old one.
    async fn change(
        &self,
        change: impl AsyncFnOnce() -> aurora_sim::Result<FailoverReport>,
    ) -> Result<String, AnyError> {
        let _one_at_a_time = self.roles.lock().await;
        let began = self.start.elapsed();
        let report = match change().await {
            Ok(report) => report,
            Err(error) => {
                // Said before anything was done to a reader.
                if !matches!(error.kind(), ErrorKind::Invalid(_)) {
                    self.roles_are_not_known(began);
                }
                return Err(error.into());
            }
        };
        let at = |instant: Instant| instant.saturating_duration_since(self.start);
        let mut played = self.played.lock();
        if let Some(term) = played.terms.last_mut() {
            term.closing = Some(at(report.killed_at));
            term.until = Some(at(report.promotion_at));
        }
        let from = at(report.promotion_at);
        played.terms.push(Term { instance: report.new_writer, from, closing: None, until: None });
        Ok(report.old_writer)
    }

    /// A change that the simulator gave up may have come so far that another instance takes writes; nothing is said of who
    /// may do so from then on.
    fn roles_are_not_known(&self, from: At) {
        let terms = self.cluster.instance_names().into_iter();
        self.played.lock().terms.extend(terms.map(|instance| Term {
            instance,
            from,
            closing: None,
            until: None,
        }));
    }
}

/// Changes the password of the application's user, at whoever is the writer when it works.
async fn set_password<T: Target>(cluster: &Cluster, password: &str) -> Result<(), AnyError> {
    let end = Instant::now() + REPAIR / 2;
    loop {
        let attempt = async {
            let mut admin = T::admin(cluster.direct_address(&cluster.writer())).await?;
            admin.run(&T::set_password(password)).await
        };
        let error = match timeout(ADMIN, attempt).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed.into(),
        };
        if Instant::now() > end {
            return Err(error);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Puts everything right: no fault, every instance runs, every reader follows, the password is the right one.
pub(crate) async fn repair<T: Target>(cluster: &Cluster) -> Result<(), AnyError> {
    let instances = cluster.instance_names();
    cluster.set_dns(&cluster.endpoint(), None).await?;
    for instance in &instances {
        cluster.set_stale_topology(instance, false).await?;
        cluster.heal(instance).await?;
        cluster.thaw(instance).await?;
    }
    cluster.start(&cluster.writer()).await?;
    for instance in &instances {
        cluster.start(instance).await?;
        cluster.settle(instance).await?;
    }
    cluster.wait_until_complete(REPAIR).await?;
    set_password::<T>(cluster, "secret").await
}
