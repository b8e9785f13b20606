//! What the relay counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use parlor_core::engine::Waits;

/// Counters of one relay since it was opened; they only rise.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) overrun: AtomicU64,
    pub(crate) forged: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    acknowledged: Mutex<Waits>,
}

/// The values of [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that Redis acknowledged.
    pub published: u64,
    /// Messages that were not published, or of which Redis did not say so: it was away, refused
    /// them, or the queue was full.
    pub dropped: u64,
    /// Messages that were received and handed over.
    pub received: u64,
    /// Payloads that were received and dropped because the engine had too much to do.
    pub overrun: u64,
    /// Payloads that no node of this cluster wrote.
    pub forged: u64,
    /// Payloads that only another version of Parlor can read.
    pub unknown: u64,
    /// Connections that were made anew.
    pub reconnects: u64,
    /// How long Redis took to acknowledge what was published together.
    pub acknowledged: Waits,
}

impl Counters {
    /// Reads every counter.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            published: read(&self.published),
            dropped: read(&self.dropped),
            received: read(&self.received),
            overrun: read(&self.overrun),
            forged: read(&self.forged),
            unknown: read(&self.unknown),
            reconnects: read(&self.reconnects),
            acknowledged: *self
                .acknowledged
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Counts how long an acknowledgement took.
    pub(crate) fn took(&self, time: Duration) {
        let acknowledged = self.acknowledged.lock();
        acknowledged
            .unwrap_or_else(PoisonError::into_inner)
            .add(time);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}
