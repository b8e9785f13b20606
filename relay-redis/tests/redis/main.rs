//! Relays over real Redis servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod broken;
mod cluster;
mod exchange;
mod forged;
mod opening;
mod tls;
mod world;
