//! What processes use, looked at again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::side_world::Usage;

const EVERY: Duration = Duration::from_millis(250);

/// What one process uses, over time.
pub(crate) struct Samples {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Usage>>,
}

impl Samples {
    /// Begins to look.
    pub(crate) fn of(pid: u32) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                samples.push(Usage::of(pid));
                thread::sleep(EVERY);
            }
            samples
        });
        Self { end, thread }
    }

    /// Ends; returns the median of the memory in use, in KiB, in each quarter of the time.
    pub(crate) fn quarters(self) -> [u64; 4] {
        self.end.store(true, Ordering::Relaxed);
        let samples = self.thread.join().unwrap();
        [0, 1, 2, 3].map(|quarter| {
            let part = &samples[samples.len() * quarter / 4..samples.len() * (quarter + 1) / 4];
            let mut resident: Vec<u64> = part.iter().map(|it| it.resident).collect();
            resident.sort_unstable();
            resident[resident.len() / 2]
        })
    }
}
