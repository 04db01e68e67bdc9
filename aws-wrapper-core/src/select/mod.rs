//! Picking a host from a list.
//!
//! A strategy only chooses among hosts that are eligible: of the wanted role and not marked down. If there is none it
//! picks none, and the caller decides what to do then.

mod highest_weight;
mod lowest_load;
mod random;
mod round_robin;

use std::fmt;
use std::sync::Arc;

pub use self::highest_weight::HighestWeight;
pub use self::lowest_load::LowestLoad;
pub use self::random::Random;
pub use self::round_robin::RoundRobin;

use crate::error::{Error, Result};
use crate::host::{Availability, Host, Role};

/// One way to pick a host.
///
/// ```
/// use aws_wrapper_core::host::Host;
/// use aws_wrapper_core::select::{HostSelector, SelectContext};
///
/// #[derive(Debug)]
/// struct First;
///
/// impl HostSelector for First {
///     fn pick(&self, context: &SelectContext, hosts: &[Host]) -> Option<usize> {
///         hosts.iter().position(|host| context.is_eligible(host))
///     }
/// }
/// ```
pub trait HostSelector: fmt::Debug + Send + Sync {
    /// The index of the picked host, or `None` if no host is [eligible](SelectContext::is_eligible).
    fn pick(&self, context: &SelectContext, hosts: &[Host]) -> Option<usize>;
}

/// What a host is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SelectContext {
    role: Option<Role>,
}

impl SelectContext {
    /// Any host will do.
    pub fn any_role() -> Self {
        Self { role: None }
    }

    /// Only hosts that have this role according to the topology.
    pub fn role(role: Role) -> Self {
        Self { role: Some(role) }
    }

    /// The wanted role, if it matters.
    pub fn wanted_role(&self) -> Option<Role> {
        self.role
    }

    /// Whether `host` may be picked: its role is the wanted one and it is not marked down.
    pub fn is_eligible(&self, host: &Host) -> bool {
        host.availability == Availability::Available && self.role.is_none_or(|role| role == host.role)
    }

    /// The hosts that may be picked, with their indexes.
    fn eligible<'a>(&self, hosts: &'a [Host]) -> impl Iterator<Item = (usize, &'a Host)> + Clone {
        let context = self.clone();
        hosts.iter().enumerate().filter(move |(_, host)| context.is_eligible(host))
    }
}

type Make = fn() -> Arc<dyn HostSelector>;

/// The names of the built-in strategies, as parameters take them.
pub(crate) const STRATEGIES: &[&str] = &["random", "round_robin", "lowest_load", "highest_weight"];

/// Every built-in strategy by its name.
const TABLE: &[(&str, Make)] = &[
    ("random", || Arc::new(Random)),
    ("round_robin", || Arc::new(RoundRobin::default())),
    ("lowest_load", || Arc::new(LowestLoad)),
    ("highest_weight", || Arc::new(HighestWeight)),
];

/// The built-in strategy of that name; case, `_` and `-` do not matter. Each call makes a strategy of its own.
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config) when there is none of that name.
pub fn selector(name: &str) -> Result<Arc<dyn HostSelector>> {
    let wanted = letters(name);
    let found = TABLE.iter().find(|(code, _)| letters(code).eq(wanted.clone()));
    found.map(|(_, make)| make()).ok_or_else(|| {
        let accepted = TABLE.iter().map(|(code, _)| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        Error::config(format!("unknown host selector strategy `{name}`; expected one of {accepted}"))
    })
}

fn letters(name: &str) -> impl Iterator<Item = char> + Clone {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKey;

    /// Readers of these names, with the weight or load the test sets.
    pub(super) fn readers(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| Host::new(HostKey::new(name, 5432).unwrap(), Role::Reader)).collect()
    }

    /// Makes the random choices of this thread repeatable; prints how.
    pub(super) fn seeded() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        fastrand::seed(seed);
    }

    /// How often each host is picked.
    pub(super) fn counts(selector: &dyn HostSelector, hosts: &[Host], draws: usize) -> Vec<usize> {
        let mut counts = vec![0; hosts.len()];
        for _ in 0..draws {
            counts[selector.pick(&SelectContext::any_role(), hosts).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn every_strategy_a_parameter_accepts_can_be_made() {
        assert_eq!(STRATEGIES, TABLE.iter().map(|(code, _)| *code).collect::<Vec<_>>());
        assert!(format!("{:?}", selector("Round-Robin").unwrap()).starts_with("RoundRobin"));
        assert_eq!(format!("{:?}", selector("LOWESTload").unwrap()), "LowestLoad");
    }

    #[test]
    fn an_unknown_strategy_is_refused_with_the_names_there_are() {
        let error = selector("fastest").unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Config);
        let text = error.to_string();
        for part in ["fastest", "`random`", "`round_robin`", "`lowest_load`", "`highest_weight`"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn every_strategy_picks_among_eligible_hosts_only() {
        seeded();
        for (name, make) in TABLE {
            let selector = make();
            let mut hosts = readers(&["w", "down", "up"]);
            hosts[0].role = Role::Writer;
            hosts[1].availability = Availability::NotAvailable;
            for host in &mut hosts[..2] {
                (host.weight, host.load) = (1000, Some(0));
            }
            for _ in 0..100 {
                assert_eq!(selector.pick(&SelectContext::role(Role::Reader), &hosts), Some(2), "{name}");
                assert_eq!(selector.pick(&SelectContext::role(Role::Writer), &hosts), Some(0), "{name}");
                assert_ne!(selector.pick(&SelectContext::any_role(), &hosts), Some(1), "{name}");
            }
            assert_eq!(selector.pick(&SelectContext::role(Role::Unknown), &hosts), None, "{name}");
            assert_eq!(selector.pick(&SelectContext::any_role(), &hosts[1..2]), None, "{name}");
            assert_eq!(selector.pick(&SelectContext::any_role(), &[]), None, "{name}");
        }
    }
}
