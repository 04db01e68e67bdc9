//! Sets of transaction identifiers, as text: `uuid:1-5:7,uuid:3`.

/// Number of transactions in a set.
pub(crate) fn count(set: &str) -> u64 {
    let intervals = set.split(',').flat_map(|of_one_server| of_one_server.trim().split(':').skip(1));
    let length = |interval: &str| {
        let (first, last) = interval.split_once('-').unwrap_or((interval, interval));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first).map(|more| more + 1)
    };
    intervals.filter_map(length).sum()
}

/// What `@@gtid_owned` lists, `uuid:4#17:5#18`, without the threads.
pub(crate) fn owned(list: &str) -> String {
    let mut kept = String::new();
    let mut in_thread = false;
    for c in list.chars().filter(|c| !c.is_whitespace()) {
        in_thread = c == '#' || (in_thread && c.is_ascii_digit());
        if !in_thread {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_counted_over_servers_and_intervals() {
        assert_eq!(count(""), 0);
        assert_eq!(count("a-1:1-5:7,\nb-2:3"), 7);
    }

    #[test]
    fn owned_transactions_lose_their_threads() {
        assert_eq!(owned("a-1:4#17:5#18, b-2:3#9"), "a-1:4:5,b-2:3");
        assert_eq!(owned(""), "");
    }
}
