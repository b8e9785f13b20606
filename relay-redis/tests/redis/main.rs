//! Relays over real Redis servers.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod broken;
mod cluster;
mod exchange;
mod forged;
mod opening;
mod tls;
mod world;
