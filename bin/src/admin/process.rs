//! What the system says of this process.

use std::fs;

use crate::proc::{rss, seconds, ticks};

/// The process as Linux shows it under `/proc` (proc(5)); nothing where there is no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Bytes of memory in use.
    pub(super) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) descriptors: Option<u64>,
    /// Seconds of CPU time used.
    pub(super) cpu_seconds: Option<f64>,
}

impl Process {
    /// Looks.
    pub(super) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").ok();
        let stat = fs::read_to_string("/proc/self/stat").ok();
        Self {
            resident_bytes: status.as_deref().and_then(rss),
            descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count() as u64),
            cpu_seconds: stat.as_deref().and_then(ticks).map(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn a_running_process_has_memory_and_descriptors() {
        let process = Process::look();
        assert!(process.resident_bytes.unwrap() > 100_000, "{process:?}");
        assert!(process.descriptors.unwrap() >= 3, "{process:?}");
        assert!(process.cpu_seconds.unwrap() >= 0.0, "{process:?}");
    }
}
