//! The host list of a connection string.

use crate::endpoint::{Endpoint, EndpointKind};
use crate::host::{Host, HostKey, Role};
use crate::topology::Snapshot;

/// The hosts as given. With `single_writer` the first is the writer and the others are readers; otherwise nobody knows
/// until a connection has asked.
pub(crate) fn snapshot(hosts: &[HostKey], endpoint: &Endpoint, single_writer: bool) -> Snapshot {
    let role = |index: usize| match (single_writer, index) {
        (true, 0) => Role::Writer,
        (true, _) => Role::Reader,
        (false, _) if endpoint.kind() == EndpointKind::ReaderCluster => Role::Reader,
        (false, _) => Role::Unknown,
    };
    Snapshot::initial(
        hosts.iter().enumerate().map(|(index, key)| Host::new(key.clone(), role(index))).collect(),
    )
}
