//! What processes use, as Linux tells it in `/proc`.

use std::{fs, io};

use rustix::param::clock_ticks_per_second;
use serde::Serialize;
use thiserror::Error;

/// Why it is not known what a process uses.
#[derive(Debug, Error)]
pub(super) enum MeterError {
    #[error("cannot read /proc/{pid}/{file}: {error}; is there such a process?")]
    Unreadable {
        pid: u32,
        file: &'static str,
        error: io::Error,
    },
    #[error("/proc/{pid}/{file} is not as expected")]
    Malformed { pid: u32, file: &'static str },
}

/// What a process has used until some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pid: u32,
    /// In user and system mode together, in ticks.
    ticks: u64,
    /// Memory that is resident, in bytes.
    rss: u64,
}

/// What a process has used between two moments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) pid: u32,
    /// Seconds of processor time between begin and end, in user and system mode together.
    pub(super) cpu_seconds: f64,
    /// Bytes resident before anything was prepared.
    pub(super) rss_before: u64,
    /// Bytes resident at the end.
    pub(super) rss: u64,
}

/// Reads what processes have used.
pub(super) fn read(pids: &[u32]) -> Result<Vec<Reading>, MeterError> {
    pids.iter().map(|pid| read_one(*pid)).collect()
}

/// Returns what processes used between `begin` and `end`.
pub(super) fn usage(before: &[Reading], begin: &[Reading], end: &[Reading]) -> Vec<Usage> {
    let moments = before.iter().zip(begin).zip(end);
    moments
        .map(|((before, begin), end)| Usage {
            pid: end.pid,
            cpu_seconds: seconds(end.ticks.saturating_sub(begin.ticks)),
            rss_before: before.rss,
            rss: end.rss,
        })
        .collect()
}

/// Returns the processor time of several.
pub(super) fn cpu_seconds(usages: &[Usage]) -> f64 {
    usages.iter().map(|usage| usage.cpu_seconds).sum()
}

fn read_one(pid: u32) -> Result<Reading, MeterError> {
    let read = |file| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}"));
        text.map_err(|error| MeterError::Unreadable { pid, file, error })
    };
    let malformed = |file| MeterError::Malformed { pid, file };
    Ok(Reading {
        pid,
        ticks: ticks(&read("stat")?).ok_or_else(|| malformed("stat"))?,
        rss: rss(&read("status")?).ok_or_else(|| malformed("status"))?,
    })
}

/// Reads `utime` and `stime` of `/proc/PID/stat` (`proc_pid_stat(5)`), fields 14 and 15.
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself have some.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Reads `VmRSS` of `/proc/PID/status` (`proc_pid_status(5)`), in bytes.
fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::{read, rss, ticks, usage};

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

    #[test]
    fn work_shows() {
        let pids = [std::process::id()];
        let begin = read(&pids).unwrap();
        let mut end = begin.clone();
        // Until the process's time has moved, by ten ticks or so.
        while end[0].ticks < begin[0].ticks + 10 {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
            end = read(&pids).unwrap();
        }
        let usages = usage(&begin, &begin, &end);
        assert_eq!(usages[0].pid, pids[0]);
        assert!(
            usages[0].cpu_seconds >= 0.01 && usages[0].rss > 0,
            "{usages:?}"
        );
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = read(&[u32::MAX]).unwrap_err().to_string();
        assert!(error.contains("/proc/4294967295/stat"), "{error}");
    }
}
