//! Clusters of real processes, crowds of people on them, and the ledger of what was said.

#![allow(dead_code, reason = "not all tests that share this module use it all")]

pub(crate) mod cluster;
pub(crate) mod crowd;
#[path = "../../src/chat/driver.rs"]
#[allow(dead_code, reason = "the program uses it all")]
mod driver;
pub(crate) mod figures;
mod ledger;
pub(crate) mod person;
pub(crate) mod watcher;

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than anything here takes, on however busy a machine: what lasts longer hangs.
pub(crate) const HANG: Duration = Duration::from_secs(120);

/// Lets one test run at a time, so that no load disturbs another's figures.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Returns what the load is drawn from: `PARLOR_LOAD_SEED`, or 1.
pub(crate) fn seed() -> u64 {
    number("PARLOR_LOAD_SEED").unwrap_or(1)
}

/// Reads a number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Looks again and again until there is an answer; panics where none comes in time.
pub(crate) fn poll<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014), for what a load looks like.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
