//! Parlor's chat engine and wire protocol: no I/O, no clock, no threads, no async.

#![forbid(unsafe_code)]
// `for` over a hash table: the bans of clippy.toml see calls only.
#![deny(clippy::iter_over_hash_type)]

pub mod client;
pub mod engine;
pub mod id;
pub mod identity;
pub mod log;
pub mod name;
pub mod protocol;
mod random;
pub mod relay;
pub mod rules;
pub mod secret;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sorted;
pub mod store;
pub mod time;
