//! The hosts file that the system's own resolver reads.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use aurora_sim::Names;

/// Follows the names of clusters in a hosts file that is mounted over `/etc/hosts`.
pub(super) async fn follow(path: &Path, clusters: &[Names]) -> io::Result<()> {
    let preamble = fs::read_to_string(path)?;
    let mut watches: Vec<_> = clusters.iter().map(Names::subscribe).collect();
    loop {
        for watch in &mut watches {
            watch.mark_unchanged();
        }
        write(path, &preamble, clusters)?;
        let mut changes: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.changed())).collect();
        std::future::poll_fn(|context| {
            let ready = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
            if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Rewrites the file in place, because a mount holds on to the inode. Addresses are padded to one width: the length
/// stays the same, so whoever reads in the middle of it sees whole lines.
pub(super) fn write(path: &Path, preamble: &str, clusters: &[Names]) -> io::Result<()> {
    let mut text = preamble.to_owned();
    for (host, addresses) in clusters.iter().flat_map(Names::all) {
        let address = addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::BROADCAST));
        let _ = writeln!(text, "{address:<15} {host}", address = address.to_string());
    }
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
