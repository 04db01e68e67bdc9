//! What a run was made under.

use crate::bench::plan::Plan;
use crate::bench::setting;
use crate::driver::{AnyError, Driver};

/// The machine, as far as it says what it is.
///
/// # Errors
/// When the kernel does not tell.
pub fn machine() -> Result<String, AnyError> {
    let text = std::fs::read_to_string("/proc/cpuinfo")?;
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("Machine: {count} processors ({model}); Linux {}.", kernel.trim()))
}

/// The load average of the last minute; others' work included.
///
/// # Errors
/// When the kernel does not tell.
pub fn load() -> Result<String, AnyError> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or("unknown").to_owned())
}

/// Version of the server and names of both clients.
///
/// # Errors
/// When there is no server.
pub async fn server<D: Driver>() -> Result<String, AnyError> {
    let (cluster, address) = setting::single::<D>().await?;
    let version = D::words(&mut D::bare(setting::NAME, address).await?, D::VERSION).await?;
    cluster.shutdown().await;
    Ok(format!(
        "{} {version} on loopback; {} {} against {}.",
        D::SERVER,
        D::WRAPPED,
        env!("CARGO_PKG_VERSION"),
        D::BARE
    ))
}

/// How often everything was done.
pub fn rounds(plan: &Plan) -> String {
    format!(
        "Rounds: {} pairs of blocks of calls, {} windows of 64 tasks, {} connects, {} processes, {} rounds of each fault, \
         {} failovers with one connection and {} with many.",
        plan.blocks,
        plan.windows,
        plan.connects,
        plan.processes,
        plan.faults,
        plan.failovers,
        plan.crowded_failovers
    )
}

/// The date in UTC, from the days since 1970.
pub fn date() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The Gregorian calendar repeats every 400 years, and a year that begins in March has its leap day last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_782), (2026, 11, 25));
    }
}
