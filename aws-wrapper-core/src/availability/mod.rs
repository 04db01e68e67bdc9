//! Which hosts could not be reached lately, and when to try them again.
//!
//! Only hosts that are down have an entry: everything else is available. Two clocks run on an entry. The raw state is
//! forgotten `STATE_LIFE` after the last failure, so that a host nobody tries does not stay out for ever. The count
//! of failures outlives it, because the pauses of an exponential back-off can be longer than that.

mod settings;

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use self::settings::PARAMETERS;
pub use self::settings::{AvailabilitySettings, AvailabilityStrategyKind};
use crate::host::{Availability, HostKey};

/// What is known of the hosts' availability. Shared by all connections of one `Services` value.
#[derive(Debug, Default)]
pub struct AvailabilityStore {
    down: Mutex<HashMap<HostKey, Down>>,
}

/// A host that could not be reached.
#[derive(Debug)]
struct Down {
    /// Failures that count: the first, and each one after the host was allowed again.
    failures: u32,
    /// When the last failure was noted, whether it counts or not.
    since: Instant,
    /// Whether the host was allowed again since then. Connections that fail together count once.
    allowed: bool,
}

/// How long a raw state is believed.
const STATE_LIFE: Duration = Duration::from_secs(5 * 60);
/// How long failures are counted together. Longer than any pause.
const COUNT_LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// The longest pause of an exponential back-off.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// How many hosts are remembered; the oldest are forgotten first.
const CAPACITY: usize = 1024;

impl AvailabilityStore {
    /// Notes that `host` was reached or could not be reached. True if that is news.
    ///
    /// A host never seen counts as available. A failure is news again once the last one has been forgotten.
    pub fn set(&self, host: &HostKey, availability: Availability) -> bool {
        let mut down = self.down.lock();
        match availability {
            Availability::Available => down.remove(host).is_some(),
            Availability::NotAvailable => {
                let now = Instant::now();
                if let Some(entry) = down.get_mut(host) {
                    return entry.fail(now);
                }
                if down.len() >= CAPACITY {
                    make_room(&mut down, now);
                }
                down.insert(host.clone(), Down { failures: 1, since: now, allowed: false });
                true
            }
        }
    }

    /// The raw state: whether the last attempt failed, less than five minutes ago.
    pub fn get(&self, host: &HostKey) -> Availability {
        let down = self.down.lock();
        state(down.get(host).is_some_and(|entry| entry.is_believed(Instant::now())))
    }

    /// Whether `host` may be used, after the strategy of `settings`.
    ///
    /// With [`Simple`](AvailabilityStrategyKind::Simple) this is the raw state. With
    /// [`ExponentialBackoff`](AvailabilityStrategyKind::ExponentialBackoff) a host that is down is allowed again after
    /// `initial_backoff`, then after twice that time, and so on up to an hour; after `max_retries` failures it stays
    /// out until it has been reached again, or nothing was heard of it for two hours.
    pub fn effective(&self, host: &HostKey, settings: &AvailabilitySettings) -> Availability {
        if settings.strategy == AvailabilityStrategyKind::Simple {
            return self.get(host);
        }
        let mut down = self.down.lock();
        state(down.get_mut(host).is_some_and(|entry| !entry.allow(Instant::now(), settings)))
    }
}

impl Down {
    /// One more failure. True if the state had been forgotten.
    fn fail(&mut self, now: Instant) -> bool {
        let is_news = !self.is_believed(now);
        if now - self.since >= COUNT_LIFE {
            self.failures = 1;
        } else if is_news || self.allowed {
            self.failures = self.failures.saturating_add(1);
        }
        (self.since, self.allowed) = (now, false);
        is_news
    }

    fn is_believed(&self, now: Instant) -> bool {
        now - self.since < STATE_LIFE
    }

    /// Whether the pause after the last failure is over.
    fn allow(&mut self, now: Instant, settings: &AvailabilitySettings) -> bool {
        let waited = now - self.since;
        let is_over =
            self.failures < settings.max_retries && waited >= pause(self.failures, settings.initial_backoff);
        let allowed = is_over || waited >= COUNT_LIFE;
        self.allowed |= allowed;
        allowed
    }
}

fn state(is_down: bool) -> Availability {
    if is_down { Availability::NotAvailable } else { Availability::Available }
}

/// The pause after that many failures in a row.
fn pause(failures: u32, initial: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    initial.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

fn make_room(down: &mut HashMap<HostKey, Down>, now: Instant) {
    down.retain(|_, entry| now - entry.since < COUNT_LIFE);
    if down.len() < CAPACITY {
        return;
    }
    // An eighth at once, so that a flood of names does not search the whole map for each of them.
    let mut ages: Vec<Instant> = down.values().map(|entry| entry.since).collect();
    let (_, oldest_kept, _) = ages.select_nth_unstable(CAPACITY / 8);
    let oldest_kept = *oldest_kept;
    down.retain(|_, entry| entry.since > oldest_kept);
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use Availability::{Available, NotAvailable};

    fn host(name: &str) -> HostKey {
        HostKey::new(name, 5432).unwrap()
    }

    fn backoff(initial: u64, max_retries: u32) -> AvailabilitySettings {
        AvailabilitySettings {
            strategy: AvailabilityStrategyKind::ExponentialBackoff,
            max_retries,
            initial_backoff: Duration::from_secs(initial),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_changes_are_news() {
        let (store, a) = (AvailabilityStore::default(), host("a"));
        assert!(!store.set(&a, Available));
        assert!(store.set(&a, NotAvailable));
        assert!(!store.set(&a, NotAvailable));
        assert_eq!((store.get(&a), store.get(&host("b"))), (NotAvailable, Available));
        assert!(store.set(&a, Available));
        assert_eq!(store.get(&a), Available);
    }

    #[tokio::test(start_paused = true)]
    async fn a_raw_state_is_forgotten_five_minutes_after_the_last_failure() {
        let (store, a) = (AvailabilityStore::default(), host("a"));
        let simple = AvailabilitySettings::default();
        store.set(&a, NotAvailable);
        advance(Duration::from_secs(200)).await;
        store.set(&a, NotAvailable);
        advance(Duration::from_secs(299)).await;
        assert_eq!((store.get(&a), store.effective(&a, &simple)), (NotAvailable, NotAvailable));
        advance(Duration::from_secs(1)).await;
        assert_eq!((store.get(&a), store.effective(&a, &simple)), (Available, Available));
        assert!(store.set(&a, NotAvailable), "a failure after that is news");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_until_the_retries_are_used_up() {
        let (store, a, settings) = (AvailabilityStore::default(), host("a"), backoff(30, 5));
        for seconds in [30, 60, 120, 240] {
            store.set(&a, NotAvailable);
            advance(Duration::from_secs(seconds - 1)).await;
            assert_eq!(store.effective(&a, &settings), NotAvailable, "{seconds}");
            advance(Duration::from_secs(1)).await;
            assert_eq!(store.effective(&a, &settings), Available, "{seconds}");
        }
        store.set(&a, NotAvailable);
        advance(Duration::from_secs(7199)).await;
        assert_eq!(store.effective(&a, &settings), NotAvailable);
        advance(Duration::from_secs(1)).await;
        assert_eq!(store.effective(&a, &settings), Available, "nothing was heard of it for two hours");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_may_outlive_the_raw_state_and_is_at_most_an_hour() {
        let (store, a, settings) = (AvailabilityStore::default(), host("a"), backoff(1000, 100));
        for seconds in [1000, 2000, 3600, 3600] {
            store.set(&a, NotAvailable);
            advance(Duration::from_secs(seconds - 1)).await;
            assert_eq!(store.get(&a), Available, "{seconds}");
            assert_eq!(store.effective(&a, &settings), NotAvailable, "{seconds}");
            advance(Duration::from_secs(1)).await;
            assert_eq!(store.effective(&a, &settings), Available, "{seconds}");
        }
        assert_eq!(pause(u32::MAX, Duration::from_secs(1)), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_fail_together_count_once() {
        let (store, a, settings) = (AvailabilityStore::default(), host("a"), backoff(30, 5));
        for _ in 0..100 {
            store.set(&a, NotAvailable);
        }
        advance(Duration::from_secs(30)).await;
        assert_eq!(store.effective(&a, &settings), Available);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_was_reached_starts_afresh_and_hosts_do_not_count_for_each_other() {
        let (store, settings) = (AvailabilityStore::default(), backoff(30, 5));
        let (a, b) = (host("a"), host("b"));
        for _ in 0..3 {
            store.set(&a, NotAvailable);
            advance(Duration::from_secs(240)).await;
            store.effective(&a, &settings);
        }
        store.set(&a, Available);
        assert_eq!(store.effective(&a, &settings), Available);
        store.set(&a, NotAvailable);
        store.set(&b, NotAvailable);
        advance(Duration::from_secs(30)).await;
        assert_eq!((store.effective(&a, &settings), store.effective(&b, &settings)), (Available, Available));
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_bounded_and_forgets_the_oldest() {
        let store = AvailabilityStore::default();
        for number in 0..5 * CAPACITY {
            store.set(&host(&format!("h{number}")), NotAvailable);
            advance(Duration::from_millis(1)).await;
            assert!(store.down.lock().len() <= CAPACITY);
        }
        assert_eq!(store.get(&host(&format!("h{}", 5 * CAPACITY - 1))), NotAvailable);
        assert_eq!(store.get(&host("h0")), Available);
    }
}
