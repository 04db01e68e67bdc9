//! Host names as on Aurora, and the DNS that lags behind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

/// Region in every host name.
pub(crate) const REGION: &str = "us-east-2";

/// Text of the host names of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct HostNames {
    name: String,
    suffix: String,
}

impl HostNames {
    pub(crate) fn new(name: &str, uid: &str) -> Self {
        Self { name: name.to_owned(), suffix: format!("{uid}.{REGION}.rds.amazonaws.com") }
    }

    /// Always leads to the writer, once DNS has followed.
    pub(crate) fn cluster(&self) -> String {
        format!("{}.cluster-{}", self.name, self.suffix)
    }

    /// Leads to one of the readers.
    pub(crate) fn reader(&self) -> String {
        format!("{}.cluster-ro-{}", self.name, self.suffix)
    }

    pub(crate) fn instance(&self, instance: &str) -> String {
        format!("{instance}.{}", self.suffix)
    }

    /// The names that a certificate of this cluster is valid for.
    pub(crate) fn certificate_names(&self) -> Vec<String> {
        vec![
            self.cluster(),
            self.reader(),
            format!("*.{}", self.suffix),
            format!("*.cluster-custom-{}", self.suffix),
            format!("*.proxy-{}", self.suffix),
        ]
    }
}

/// What the names of a cluster mean at this moment; the stand-in for DNS. Cheap to clone, all clones see changes.
///
/// Give [`lookup`](Self::lookup) to the resolver of the program under test, or let `aurora-sim run` put the names
/// into the system's hosts file.
#[derive(Debug, Clone)]
pub struct Names(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    addresses: RwLock<HashMap<String, Vec<IpAddr>>>,
    turn: AtomicUsize,
    version: watch::Sender<u64>,
}

impl Names {
    pub(crate) fn new() -> Self {
        let (version, _) = watch::channel(0);
        Self(Arc::new(Shared { addresses: RwLock::default(), turn: AtomicUsize::new(0), version }))
    }

    /// Address of a host name, as a DNS query would answer now; empty when the name is not of this cluster.
    ///
    /// Like Aurora's, the reader name gives one reader at a time, the next one with each question. Upper and lower
    /// case are the same and a final dot is ignored.
    pub fn lookup(&self, host: &str) -> Vec<IpAddr> {
        let all = self.0.addresses.read();
        let addresses = all.get(&normal(host)).map_or(&[][..], Vec::as_slice);
        match addresses {
            [] => Vec::new(),
            [only] => vec![*only],
            several => vec![several[self.0.turn.fetch_add(1, Ordering::Relaxed) % several.len()]],
        }
    }

    /// Every name with all its addresses, sorted by name.
    pub fn all(&self) -> Vec<(String, Vec<IpAddr>)> {
        let mut all: Vec<_> = self.0.addresses.read().clone().into_iter().collect();
        all.sort();
        all
    }

    /// Tells of changes: the number grows with each one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(crate) fn set(&self, host: &str, addresses: Vec<IpAddr>) {
        let unchanged = Some(&addresses) == self.0.addresses.read().get(&normal(host));
        if unchanged {
            return;
        }
        self.0.addresses.write().insert(normal(host), addresses);
        self.0.version.send_modify(|version| *version += 1);
    }
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 1, 2, last])
    }

    #[test]
    fn host_names_look_like_auroras() {
        let names = HostNames::new("my-cluster", "xyz");
        assert_eq!(names.cluster(), "my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com");
        assert_eq!(names.reader(), "my-cluster.cluster-ro-xyz.us-east-2.rds.amazonaws.com");
        assert_eq!(names.instance("instance-1"), "instance-1.xyz.us-east-2.rds.amazonaws.com");
    }

    #[test]
    fn the_reader_name_takes_turns() {
        let names = Names::new();
        names.set("Readers.", vec![address(1), address(2)]);
        let answers: Vec<_> = (0..4).flat_map(|_| names.lookup("READERS")).collect();
        assert_eq!(answers, [address(1), address(2), address(1), address(2)]);
        assert!(names.lookup("unknown").is_empty());
    }

    #[test]
    fn watchers_hear_of_changes_only() {
        let names = Names::new();
        let mut watch = names.subscribe();
        names.set("one", vec![address(1)]);
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        names.set("one", vec![address(1)]);
        assert!(!watch.has_changed().unwrap());
    }
}
