//! From the rows of an instance's answer to the hosts of a snapshot.

use crate::dialect::TopologyRow;
use crate::endpoint::HostPattern;
use crate::error::Result;
use crate::host::{Availability, Host, Role};

/// Rows older than this belong to instances that are gone. Aurora's own drivers use five minutes.
const STALE_SECS: f64 = 300.0;
/// Aurora shows replicas that were deleted with this lag for a while.
const GONE_LAG_MS: f32 = 900_000.0;

/// The hosts in `rows`, the writer first, then the readers by name; `None` when this is no topology: no row, or no
/// writer, as servers answer in the middle of a failover.
///
/// Of several writers the newest row wins; the others stay as readers that are not available, because a deposed writer
/// takes itself for one a moment longer. A row that names no possible host is left out with a warning.
pub(crate) fn hosts(rows: &[TopologyRow], pattern: &HostPattern, port: u16) -> Option<Vec<Host>> {
    let mut seen: Vec<(Host, f64)> = Vec::with_capacity(rows.len());
    for row in rows {
        if !row.is_writer && row.age_secs.is_some_and(|age| age > STALE_SECS) {
            continue;
        }
        let host = match host(row, pattern, port) {
            Ok(host) => host,
            Err(error) => {
                tracing::warn!(%error, host_id = row.host_id, "a row of the topology is left out");
                continue;
            }
        };
        let age = row.age_secs.unwrap_or(0.0);
        match seen.iter_mut().find(|(other, _)| other.key == host.key) {
            Some(other) if other.1 > age => *other = (host, age),
            Some(_) => {}
            None => seen.push((host, age)),
        }
    }
    let writers = seen.iter().enumerate().filter(|(_, (host, _))| host.role == Role::Writer);
    let newest = writers.min_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b)).map(|(index, _)| index)?;
    for (index, (host, _)) in seen.iter_mut().enumerate() {
        if index != newest && host.role == Role::Writer {
            host.role = Role::Reader;
            host.availability = Availability::NotAvailable;
        }
    }
    let mut hosts: Vec<Host> = seen.into_iter().map(|(host, _)| host).collect();
    hosts.sort_by(|a, b| (a.role != Role::Writer, &a.key).cmp(&(b.role != Role::Writer, &b.key)));
    Some(hosts)
}

fn host(row: &TopologyRow, pattern: &HostPattern, port: u16) -> Result<Host> {
    let key = pattern.host_for(&row.instance_name, port)?;
    let mut host = Host::new(key, if row.is_writer { Role::Writer } else { Role::Reader });
    host.host_id = Some(row.host_id.clone());
    host.instance_name = Some(row.instance_name.clone());
    host.cpu_percent = Some(row.cpu_percent);
    host.lag_ms = Some(row.lag_ms);
    host.load = Some(load(row));
    Ok(host)
}

/// Lag counts a hundred times as much as processor use.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both are rounded and not negative"
)]
fn load(row: &TopologyRow) -> u64 {
    if row.lag_ms >= GONE_LAG_MS {
        return u64::MAX;
    }
    (row.lag_ms.max(0.0).round() as u64 * 100).saturating_add(row.cpu_percent.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern() -> HostPattern {
        HostPattern::parse("?.xyz.us-east-2.rds.amazonaws.com").unwrap()
    }

    fn row(name: &str, is_writer: bool, age_secs: Option<f64>) -> TopologyRow {
        TopologyRow { age_secs, ..TopologyRow::new(name, is_writer) }
    }

    fn names(rows: &[TopologyRow]) -> Vec<String> {
        let hosts = hosts(rows, &pattern(), 5432).unwrap();
        hosts.iter().map(|host| host.instance_name.clone().unwrap()).collect()
    }

    #[test]
    fn the_writer_stands_first_and_readers_follow_by_name() {
        assert_eq!(
            names(&[row("c", false, None), row("b", true, None), row("a", false, None)]),
            ["b", "a", "c"]
        );
    }

    #[test]
    fn no_row_and_no_writer_are_no_topology() {
        assert!(hosts(&[], &pattern(), 5432).is_none());
        assert!(hosts(&[row("a", false, None)], &pattern(), 5432).is_none());
    }

    #[test]
    fn of_two_writers_the_newer_wins_and_the_other_is_kept_as_unavailable() {
        let found = hosts(&[row("a", true, Some(9.0)), row("b", true, Some(1.0))], &pattern(), 5432).unwrap();
        assert_eq!(found[0].instance_name.as_deref(), Some("b"));
        assert_eq!((found[1].role, found[1].availability), (Role::Reader, Availability::NotAvailable));
    }

    #[test]
    fn stale_readers_are_dropped_but_not_writers_nor_rows_without_a_time() {
        let rows = [
            row("w", true, Some(1e6)),
            row("gone", false, Some(301.0)),
            row("null", false, None),
            row("ok", false, Some(299.0)),
        ];
        assert_eq!(names(&rows), ["w", "null", "ok"]);
    }

    #[test]
    fn a_host_listed_twice_keeps_its_newest_row() {
        let mut newer = row("a", false, Some(1.0));
        newer.cpu_percent = 42.0;
        let found =
            hosts(&[row("w", true, None), row("a", false, Some(9.0)), newer], &pattern(), 5432).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].cpu_percent, Some(42.0));
    }

    #[test]
    fn a_row_that_names_no_host_is_left_out() {
        assert_eq!(names(&[row("w", true, None), row("", false, None), row("a b", false, None)]), ["w"]);
    }

    #[test]
    fn load_counts_lag_before_processor_use_and_survives_nonsense() {
        for (lag_ms, cpu_percent, load) in [
            (20.0, 10.0, 2010),
            (0.0, 99.6, 100),
            (-5.0, -1.0, 0),
            (f32::NAN, 3.0, 3),
            (0.0, f32::MAX, u64::MAX),
        ] {
            let host =
                hosts(&[TopologyRow { lag_ms, cpu_percent, ..row("w", true, None) }], &pattern(), 5432)
                    .unwrap();
            assert_eq!(host[0].load, Some(load), "lag {lag_ms}, cpu {cpu_percent}");
        }
    }

    #[test]
    fn a_name_from_the_server_cannot_lead_to_another_domain() {
        assert_eq!(
            names(&[row("w", true, None), row("evil.example.com", false, None), row("a/b", false, None)]),
            ["w"]
        );
        assert!(
            hosts(&[row("evil.example.com", true, None)], &pattern(), 5432).is_none(),
            "and is no writer"
        );
    }

    #[test]
    fn the_port_is_the_patterns_or_else_the_endpoints() {
        let at = HostPattern::parse("?.db.example.com:6000").unwrap();
        assert_eq!(hosts(&[row("w", true, None)], &at, 5432).unwrap()[0].key.port(), 6000);
        assert_eq!(hosts(&[row("w", true, None)], &pattern(), 5433).unwrap()[0].key.port(), 5433);
    }

    #[test]
    fn a_deleted_replica_ranks_last() {
        let mut gone = row("gone", false, None);
        gone.lag_ms = GONE_LAG_MS;
        let found = hosts(&[row("w", true, None), gone], &pattern(), 5432).unwrap();
        assert_eq!(found[1].load, Some(u64::MAX));
    }
}
