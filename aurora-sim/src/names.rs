//! Host names as on Aurora, and the DNS that lags behind.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
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
    table: RwLock<Table>,
    turn: AtomicUsize,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    /// In order of first mention, for a hosts file that people can read.
    order: Vec<String>,
    addresses: HashMap<String, Vec<IpAddr>>,
    hosts_file: Option<HostsFile>,
}

#[derive(Debug)]
struct HostsFile {
    path: PathBuf,
    /// Lines that stand before ours.
    preamble: String,
}

impl Names {
    pub(crate) fn new() -> Self {
        let (version, _) = watch::channel(0);
        Self(Arc::new(Shared { table: RwLock::default(), turn: AtomicUsize::new(0), version }))
    }

    /// Address of a host name, as a DNS query would answer now; empty when the name is not of this cluster.
    ///
    /// Like Aurora's, the reader name gives one reader at a time, the next one with each question. Upper and lower
    /// case are the same and a final dot is ignored.
    pub fn lookup(&self, host: &str) -> Vec<IpAddr> {
        let table = self.0.table.read();
        let Some(addresses) = table.addresses.get(&normal(host)) else { return Vec::new() };
        match addresses.as_slice() {
            [] => Vec::new(),
            [only] => vec![*only],
            several => vec![several[self.0.turn.fetch_add(1, Ordering::Relaxed) % several.len()]],
        }
    }

    /// Every name with all its addresses, sorted by name.
    pub fn all(&self) -> Vec<(String, Vec<IpAddr>)> {
        let mut all: Vec<_> = self.0.table.read().addresses.clone().into_iter().collect();
        all.sort();
        all
    }

    /// Tells of changes: the number grows with each one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(crate) fn set(&self, host: &str, addresses: Vec<IpAddr>) {
        {
            let mut table = self.0.table.write();
            let host = normal(host);
            if table.addresses.get(&host) == Some(&addresses) {
                return;
            }
            if table.addresses.insert(host.clone(), addresses).is_none() {
                table.order.push(host);
            }
            if let Err(error) = table.write_hosts_file() {
                tracing::warn!(%error, "cannot write the hosts file");
            }
        }
        self.0.version.send_modify(|version| *version += 1);
    }

    /// Keeps a hosts file up to date from now on, after the lines of `preamble`.
    pub(crate) fn write_to(&self, path: PathBuf, preamble: String) -> io::Result<()> {
        let mut table = self.0.table.write();
        table.hosts_file = Some(HostsFile { path, preamble });
        table.write_hosts_file()
    }
}

impl Table {
    /// Rewrites the file in place, because a bind mount holds on to the inode. Addresses are padded to one width, so
    /// that the length stays the same and a reader in between sees whole lines.
    fn write_hosts_file(&self) -> io::Result<()> {
        let Some(file) = &self.hosts_file else { return Ok(()) };
        let mut text = file.preamble.clone();
        for host in &self.order {
            let address = self.addresses[host].first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::BROADCAST));
            let _ = writeln!(text, "{address:<15} {host}", address = address.to_string());
        }
        let mut handle = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&file.path)?;
        handle.write_all(text.as_bytes())?;
        handle.set_len(text.len() as u64)
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
    fn the_hosts_file_keeps_its_inode_and_length() {
        use std::os::unix::fs::MetadataExt;
        let path = std::env::temp_dir().join(format!("aurora-sim-hosts-{}", std::process::id()));
        let names = Names::new();
        names.set("one", vec![address(1)]);
        names.write_to(path.clone(), "127.0.0.1 localhost\n".to_owned()).unwrap();
        let before = fs::metadata(&path).unwrap();
        names.set("one", vec![address(200)]);
        let after = fs::metadata(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((before.ino(), before.len()), (after.ino(), after.len()));
        assert_eq!(text, "127.0.0.1 localhost\n127.1.2.200     one\n");
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
