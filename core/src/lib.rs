//! Parlor's chat engine and wire protocol: no I/O, no clock, no threads, no async.

#![forbid(unsafe_code)]

pub mod engine;
pub mod id;
pub mod log;
pub mod name;
pub mod protocol;
pub mod relay;
pub mod rules;
pub mod secret;
pub mod store;
pub mod time;
