//! The in-memory store keeps the contract of every store.

use std::time::Duration;

use parlor_core::sim::MemoryStore;
use parlor_core::sim::store_contract::{Subject, limits};
use parlor_core::store::{StoreRequest, StoreResult};
use parlor_core::time::Timestamp;

/// The store, and a database's clock that goes on by `tick` with each request.
struct Memory {
    store: MemoryStore,
    now: Timestamp,
    tick: Duration,
}

impl Subject for Memory {
    fn execute(&mut self, request: StoreRequest) -> StoreResult {
        self.now = self.now + self.tick;
        self.store.execute(request, self.now)
    }

    fn execute_all(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult> {
        self.now = self.now + self.tick;
        self.store.execute_batch(requests, self.now)
    }
}

fn memory(tick: Duration) -> Box<dyn Subject> {
    Box::new(Memory {
        store: MemoryStore::new(limits()),
        now: Timestamp(1_700_000_000_000),
        tick,
    })
}

mod at_distinct_times {
    parlor_core::store_contract_tests!(super::memory(std::time::Duration::from_secs(1)));
}

/// Everything in the same millisecond.
mod at_one_time {
    parlor_core::store_contract_tests!(super::memory(std::time::Duration::ZERO));
}
