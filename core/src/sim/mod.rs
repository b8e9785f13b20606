//! The simulated world: a store in memory, and the checks that every store must pass.
//!
//! Public behind the feature `sim`, so that embedders can test their own front-ends and stores
//! with it.

pub mod frames;
pub mod hostile;
pub mod loopback;
pub mod memory;
pub mod ops;
mod promises;
pub mod store_contract;
pub mod tokens;
pub mod world;

pub use loopback::{Loopback, Sent};
pub use memory::MemoryStore;
