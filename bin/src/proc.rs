//! What Linux tells of processes in `/proc`.

use rustix::param::clock_ticks_per_second;

/// Reads `utime` and `stime` of `/proc/PID/stat` (`proc_pid_stat(5)`), fields 14 and 15.
pub(crate) fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself have some.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Reads `VmRSS` of `/proc/PID/status` (`proc_pid_status(5)`), in bytes.
pub(crate) fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Returns clock ticks in seconds.
pub(crate) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::{rss, ticks};

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 500 0 0 0 123 45 0 0 20 0 7 0 999 1 2 3";
        assert_eq!(ticks(stat), Some(168));
        assert_eq!(ticks("42 (parlor)"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tparlor\nVmHWM:\t  9999 kB\nVmRSS:\t    1234 kB\nThreads:\t3\n";
        assert_eq!(rss(status), Some(1234 * 1024));
        assert_eq!(rss("Name:\tkthreadd\n"), None);
    }
}
