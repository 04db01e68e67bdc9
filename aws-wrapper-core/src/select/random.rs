//! Any host.

use super::{HostSelector, SelectContext};
use crate::host::Host;

/// Each eligible host with the same probability.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Random;

impl HostSelector for Random {
    fn pick(&self, context: &SelectContext, hosts: &[Host]) -> Option<usize> {
        draw(context.eligible(hosts)).map(|(index, _)| index)
    }
}

/// One of the items, each with the same probability.
pub(super) fn draw<T>(items: impl Iterator<Item = T> + Clone) -> Option<T> {
    let mut items = items;
    match items.clone().count() {
        0 => None,
        count => items.nth(fastrand::usize(..count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{counts, readers, seeded};

    #[test]
    fn hosts_are_picked_equally_often() {
        seeded();
        // Five standard deviations of a binomial distribution with p = 1/4.
        let (draws, slack) = (40_000_usize, 434);
        for count in counts(&Random, &readers(&["a", "b", "c", "d"]), draws) {
            assert!(count.abs_diff(draws / 4) < slack, "{count}");
        }
    }
}
