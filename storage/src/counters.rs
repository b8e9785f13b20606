//! What a store has done, for operators.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use parlor_core::engine::Waits;

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    transactions: AtomicU64,
    changes: AtomicU64,
    repeats: AtomicU64,
    failures: AtomicU64,
    commits: Mutex<Waits>,
    reads: Mutex<Waits>,
    hashes: AtomicU64,
}

/// What a store has done since it was opened, and what is under way in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Transactions of changes that were committed.
    pub transactions: u64,
    /// Changes in these, those that the rules refused among them: each transaction carries out
    /// whatever waited.
    pub changes: u64,
    /// Transactions that were tried again: others went first, or the connection broke.
    pub repeats: u64,
    /// Changes that failed: the database was away, refused them, or did not say.
    pub failures: u64,
    /// Passwords that were hashed, to be stored or to be compared.
    pub hashes: u64,
    /// How long those transactions took that were committed.
    pub commits: Waits,
    /// How long reads took, those of many at once as one, whether or not they went well.
    pub reads: Waits,
    /// Changes and cursors under way.
    pub writing: usize,
    /// Reads under way.
    pub reading: usize,
    /// Requests with a password under way.
    pub hashing: usize,
}

impl Counters {
    /// Counts a committed transaction of so many changes, and how long it took.
    pub(crate) fn committed(&self, changes: usize, took: Duration) {
        add(&self.commits, took);
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Counts a transaction that will be tried again.
    pub(crate) fn repeated(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts changes that failed.
    pub(crate) fn failed(&self, changes: usize) {
        self.failures.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Counts a password that is hashed.
    pub(crate) fn hashed(&self) {
        self.hashes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how long a read took.
    pub(crate) fn was_read(&self, took: Duration) {
        add(&self.reads, took);
    }

    /// Reads every counter.
    pub(crate) fn read(&self) -> Status {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            transactions: read(&self.transactions),
            changes: read(&self.changes),
            repeats: read(&self.repeats),
            failures: read(&self.failures),
            commits: *self.commits.lock().unwrap_or_else(PoisonError::into_inner),
            reads: *self.reads.lock().unwrap_or_else(PoisonError::into_inner),
            hashes: read(&self.hashes),
            ..Status::default()
        }
    }
}

fn add(waits: &Mutex<Waits>, took: Duration) {
    waits
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .add(took);
}
