//! What processes use, as Linux tells it in `/proc`.

use std::{fs, io};

use serde::Serialize;
use thiserror::Error;

use crate::proc::{rss, seconds, ticks};

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

#[cfg(test)]
mod tests {
    use super::{read, usage};

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
