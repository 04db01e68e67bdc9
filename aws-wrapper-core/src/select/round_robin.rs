//! One host after the other, those with more weight more often.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{HostSelector, SelectContext};
use crate::host::{Host, HostKey, Role};

/// Rotates through the eligible hosts, each as often as its [`weight`](Host::weight) says (0 counts as 1).
///
/// The rotation is smooth: a host with a high weight is not picked many times in a row but spread over the round. Each
/// value of this type has its own rotation for each role, and begins it at a random place, so that processes started
/// together do not all pick the same host first.
#[derive(Debug, Default)]
pub struct RoundRobin {
    rotations: Mutex<HashMap<Option<Role>, Rotation>>,
}

/// How much each host is owed: grows by its weight with each pick and falls by all weights when it is picked.
#[derive(Debug, Default)]
struct Rotation {
    owed: HashMap<HostKey, i128>,
}

/// A rotation begins at most so many picks after its first.
const LATEST_START: u64 = 256;

impl HostSelector for RoundRobin {
    fn pick(&self, context: &SelectContext, hosts: &[Host]) -> Option<usize> {
        let eligible: Vec<(usize, &Host)> = context.eligible(hosts).collect();
        let mut rotations = self.rotations.lock();
        let rotation = rotations.entry(context.wanted_role()).or_default();
        if rotation.owed.is_empty() {
            for _ in 0..fastrand::u64(..round(&eligible).clamp(1, LATEST_START)) {
                rotation.pick(&eligible);
            }
        }
        rotation.forget(hosts);
        rotation.pick(&eligible)
    }
}

impl Rotation {
    fn pick(&mut self, eligible: &[(usize, &Host)]) -> Option<usize> {
        let total: i128 = eligible.iter().map(|(_, host)| weight(host)).sum();
        let mut owed: Vec<i128> =
            eligible.iter().map(|(_, host)| self.owed.get(&host.key).copied().unwrap_or(0)).collect();
        // The debts cancel out. When hosts came or went, they do not: without a correction a host that comes and goes
        // would fall further behind each time.
        let surplus = owed.iter().sum::<i128>() / i128::try_from(owed.len().max(1)).unwrap_or(1);
        for (owed, (_, host)) in owed.iter_mut().zip(eligible) {
            *owed = (*owed - surplus).clamp(-total, total) + weight(host);
        }
        // By name if equal, so that the order of the list does not matter.
        let chosen = (0..eligible.len())
            .max_by(|&a, &b| owed[a].cmp(&owed[b]).then_with(|| eligible[b].1.key.cmp(&eligible[a].1.key)))?;
        owed[chosen] -= total;
        for (owed, (_, host)) in owed.into_iter().zip(eligible) {
            self.owed.insert(host.key.clone(), owed);
        }
        Some(eligible[chosen].0)
    }

    /// Drops hosts that are gone. A few are kept: callers leave out a host they have just tried.
    fn forget(&mut self, hosts: &[Host]) {
        if self.owed.len() > 2 * hosts.len() + 4 {
            self.owed.retain(|key, _| hosts.iter().any(|host| host.key == *key));
        }
    }
}

fn weight(host: &Host) -> i128 {
    i128::from(host.weight.max(1))
}

/// How many picks it takes until the rotation repeats.
fn round(eligible: &[(usize, &Host)]) -> u64 {
    let weights = || eligible.iter().map(|(_, host)| host.weight.max(1));
    let divisor = weights().fold(0, greatest_common_divisor).max(1);
    weights().fold(0, |sum, weight| sum.saturating_add(weight / divisor))
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Availability;
    use crate::select::tests::{counts, readers, seeded};

    fn picks(selector: &RoundRobin, hosts: &[Host], draws: usize) -> String {
        let pick = || selector.pick(&SelectContext::any_role(), hosts).unwrap();
        (0..draws).map(|_| hosts[pick()].key.host().to_owned()).collect()
    }

    #[test]
    fn equal_hosts_take_turns_from_a_random_one() {
        seeded();
        let hosts = readers(&["c", "a", "b"]);
        let mut starts = [0; 3];
        for _ in 0..300 {
            let selector = RoundRobin::default();
            let round = picks(&selector, &hosts, 3);
            starts["abc".find(&round[..1]).unwrap()] += 1;
            assert!("abcab".contains(&round), "{round}");
            assert_eq!(picks(&selector, &hosts, 3), round);
        }
        assert!(starts.iter().all(|&count| count > 40), "{starts:?}");
    }

    #[test]
    fn weights_are_kept_exactly_in_each_round_and_picks_are_spread() {
        seeded();
        let mut hosts = readers(&["a", "b", "c"]);
        for (host, weight) in hosts.iter_mut().zip([20, 10, 30]) {
            host.weight = weight;
        }
        for _ in 0..20 {
            let selector = RoundRobin::default();
            for _ in 0..50 {
                assert_eq!(counts(&selector, &hosts, 6), [2, 1, 3]);
            }
        }
        let mut rotation = Rotation::default();
        let eligible: Vec<_> = hosts.iter().enumerate().collect();
        let round: String =
            (0..6).map(|_| hosts[rotation.pick(&eligible).unwrap()].key.host().to_owned()).collect();
        assert_eq!(round, "cabcac");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        seeded();
        let mut hosts = readers(&["a", "b", "c", "d"]);
        let selector = RoundRobin::default();
        let round = picks(&selector, &hosts, 4);
        for _ in 0..50 {
            fastrand::shuffle(&mut hosts);
            assert_eq!(picks(&selector, &hosts, 4), round);
        }
    }

    #[test]
    fn a_host_that_comes_and_goes_is_not_starved() {
        seeded();
        let mut hosts = readers(&["a", "b", "c"]);
        let selector = RoundRobin::default();
        for _ in 0..1000 {
            let picked = loop {
                if let Some(0) = selector.pick(&SelectContext::any_role(), &hosts) {
                    break 0;
                }
            };
            hosts[picked].availability = Availability::NotAvailable;
            picks(&selector, &hosts, 3);
            hosts[picked].availability = Availability::Available;
        }
        let counts = counts(&selector, &hosts, 30);
        assert!(counts.iter().all(|&count| (9..=11).contains(&count)), "{counts:?}");
    }

    #[test]
    fn roles_have_rotations_of_their_own_and_the_memory_is_bounded() {
        seeded();
        let selector = RoundRobin::default();
        let mut hosts = readers(&["a", "b", "c"]);
        hosts[0].role = Role::Writer;
        let read = |hosts: &[Host]| selector.pick(&SelectContext::role(Role::Reader), hosts);
        let first = read(&hosts);
        assert_eq!(selector.pick(&SelectContext::role(Role::Writer), &hosts), Some(0));
        assert_ne!(read(&hosts), first);
        for number in 0..1000 {
            read(&readers(&[&format!("h{number}")]));
        }
        assert!(selector.rotations.lock()[&Some(Role::Reader)].owed.len() < 10);
    }

    #[test]
    fn extreme_weights_do_no_harm() {
        seeded();
        let selector = RoundRobin::default();
        let mut hosts = readers(&["a", "b"]);
        (hosts[0].weight, hosts[1].weight) = (u64::MAX, 0);
        assert_eq!(counts(&selector, &hosts, 1000), [1000, 0]);
        hosts[0].weight = 1;
        let counts = counts(&selector, &hosts, 1000);
        assert!(counts[0].abs_diff(counts[1]) < 10, "{counts:?}");
    }
}
