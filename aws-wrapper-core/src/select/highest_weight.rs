//! The host with the highest weight.

use super::random::draw;
use super::{HostSelector, SelectContext};
use crate::host::Host;

/// The eligible host with the highest [`weight`](Host::weight); any of them if there are several.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct HighestWeight;

impl HostSelector for HighestWeight {
    fn pick(&self, context: &SelectContext, hosts: &[Host]) -> Option<usize> {
        let eligible = context.eligible(hosts);
        let highest = eligible.clone().map(|(_, host)| host.weight).max()?;
        draw(eligible.filter(|(_, host)| host.weight == highest)).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{counts, readers, seeded};

    #[test]
    fn the_highest_weight_wins_and_equals_share() {
        seeded();
        let mut hosts = readers(&["a", "b", "c"]);
        hosts[1].weight = 99;
        let picked = counts(&HighestWeight, &hosts, 1000);
        assert!(picked[0] > 0 && picked[1] == 0 && picked[2] > 0, "{picked:?}");
        hosts[1].weight = u64::MAX;
        assert_eq!(counts(&HighestWeight, &hosts, 10), [0, 10, 0]);
    }
}
