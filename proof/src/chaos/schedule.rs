//! What goes wrong and when: a random sequence of faults that depends on nothing but its seed.

use std::fmt;
use std::time::Duration;

use aurora_sim::Engine;
use fastrand::Rng;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A server's processes are killed; it comes back in its role.
    Kill,
    /// A server is stopped in order and started.
    Restart,
    /// A server's processes stand still: TCP goes on, nobody answers.
    Freeze,
    /// Nothing passes between clients and a server.
    BlackHole,
    /// Every connection to a server is reset.
    Reset,
    /// A server takes no new connections.
    Refuse,
    /// Everything from and to a server is late.
    Latency,
    /// Another instance becomes the writer, the old one lives on as a reader.
    Switchover,
    /// The writer dies, a reader takes over.
    Failover,
    /// The writer dies while the cluster's name is kept where it leads, then a reader takes over.
    StaleDns,
    /// A server goes on telling the topology of before a failover.
    StaleTopology,
    /// The password of the application's user is changed, so that nobody can log in.
    LoginRotation,
    /// All servers are killed at once.
    AllDown,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Restart,
        Self::Freeze,
        Self::BlackHole,
        Self::Reset,
        Self::Refuse,
        Self::Latency,
        Self::Switchover,
        Self::Failover,
        Self::StaleDns,
        Self::StaleTopology,
        Self::LoginRotation,
        Self::AllDown,
    ];

    /// Whether nobody can be expected to learn who the writer is while it lasts.
    pub fn hides_the_writer(self) -> bool {
        match self {
            Self::Kill
            | Self::Restart
            | Self::Freeze
            | Self::BlackHole
            | Self::Refuse
            | Self::StaleTopology
            | Self::LoginRotation
            | Self::AllDown => true,
            // The monitor reads the topology all the time; what these do to roles is known from the terms.
            Self::Reset | Self::Latency | Self::Switchover | Self::Failover | Self::StaleDns => false,
        }
    }

    /// How it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Freeze => "freeze",
            Self::BlackHole => "black hole",
            Self::Reset => "reset",
            Self::Refuse => "refuse",
            Self::Latency => "latency",
            Self::Switchover => "switchover",
            Self::Failover => "failover",
            Self::StaleDns => "stale DNS",
            Self::StaleTopology => "stale topology",
            Self::LoginRotation => "login rotation",
            Self::AllDown => "all down",
        }
    }
}

/// Whom it hits. Roles are looked up at the moment of the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Victim {
    /// The writer.
    Writer,
    /// A reader, counted from zero.
    Reader(usize),
}

/// One fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// When, from the start of the schedule.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// To whom.
    pub victim: Victim,
    /// How long until it is healed.
    pub lasts: Duration,
    /// How long there is no writer, where one takes over; the delay, where that is the fault.
    pub delay: Duration,
}

/// A random sequence of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// What it was made from.
    pub seed: u64,
    /// When the last fault is healed at the latest.
    pub length: Duration,
    /// In the order of their times.
    pub steps: Vec<Step>,
}

/// The first fault comes when all workers are at work.
const LEAD: Duration = Duration::from_millis(800);

impl Schedule {
    /// The schedule of a seed.
    pub fn new(seed: u64, engine: Engine, length: Duration) -> Self {
        let mut random = Rng::with_seed(seed ^ if engine == Engine::MySql { 0x6d79 } else { 0x7067 });
        let mut steps = Vec::new();
        let mut at = LEAD;
        while let Some(step) = next(&mut random, at, length) {
            // Every third fault or so comes while the one before it lasts.
            let overlap = random.u8(..3) == 0;
            let pause = Duration::from_millis(random.u64(200..2_000));
            at = step.at + pause + if overlap { Duration::ZERO } else { step.lasts };
            steps.push(step);
        }
        Self { seed, length, steps }
    }
}

/// A fault at this time, if one of the shortest kind would still be healed before the end.
fn next(random: &mut Rng, at: Duration, end: Duration) -> Option<Step> {
    let lasts = Duration::from_millis(random.u64(300..4_000));
    let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
    let victim = match random.u8(..3) {
        0 => Victim::Reader(random.usize(..2)),
        _ => Victim::Writer,
    };
    let delay = match fault {
        Fault::Latency => Duration::from_millis(random.u64(1..80)),
        _ => Duration::from_millis(random.u64(..1_500)),
    };
    let room = end.checked_sub(at).filter(|room| *room > Duration::from_millis(300))?;
    Some(Step { at, fault, victim, lasts: lasts.min(room), delay })
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:.1}s {}", self.at.as_secs_f64(), self.fault.name())?;
        match self.victim {
            Victim::Writer => f.write_str(" of the writer")?,
            Victim::Reader(number) => write!(f, " of reader {number}")?,
        }
        write!(f, " for {:.1}s", self.lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    #[test]
    fn the_same_seed_makes_the_same_schedule() {
        for seed in 0..100 {
            let schedule = Schedule::new(seed, Engine::Postgres, LENGTH);
            assert_eq!(schedule, Schedule::new(seed, Engine::Postgres, LENGTH));
            assert_ne!(schedule.steps, Schedule::new(seed + 1, Engine::Postgres, LENGTH).steps);
        }
    }

    #[test]
    fn a_schedule_of_a_known_seed_never_changes() {
        // A seed in a report has to mean the same after an update of the generator of random numbers.
        let schedule = Schedule::new(7, Engine::Postgres, Duration::from_secs(10));
        let text: Vec<_> = schedule.steps.iter().map(ToString::to_string).collect();
        assert_eq!(text, KNOWN);
    }

    const KNOWN: &[&str] = &[
        "+0.8s reset of the writer for 0.6s",
        "+2.7s all down of the writer for 2.6s",
        "+3.4s all down of the writer for 3.3s",
        "+8.1s black hole of the writer for 1.9s",
    ];

    #[test]
    fn faults_come_in_order_and_are_healed_before_the_end() {
        for seed in 0..200 {
            let schedule = Schedule::new(seed, Engine::MySql, LENGTH);
            assert!(schedule.steps.len() > 5, "{schedule:?}");
            assert!(schedule.steps.is_sorted_by_key(|step| step.at));
            assert!(
                schedule.steps.iter().all(|step| step.at + step.lasts <= LENGTH && !step.lasts.is_zero())
            );
        }
    }

    #[test]
    fn every_kind_of_fault_comes() {
        let steps: Vec<_> =
            (0..20).flat_map(|seed| Schedule::new(seed, Engine::MySql, LENGTH).steps).collect();
        for fault in Fault::ALL {
            assert!(steps.iter().any(|step| step.fault == fault), "{fault:?}");
        }
    }
}
