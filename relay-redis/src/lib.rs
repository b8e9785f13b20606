//! Parlor's relay between the nodes of a cluster, over Redis.
//!
//! Two connections, neither of which ever waits for the other:
//!
//! ```text
//!   publish ─────► bounded queue ─► batches, pipelined ──────► connection 1 ─► Redis
//!   subscribe ───┐                                                              │
//!   unsubscribe ─┼► steps, in order, written without waiting ─► connection 2 ◄──┘
//!   ask_presence ┘                                                  │
//!                    Reports ◄── reader ◄── bounded queue ◄─────────┤ messages
//!                    Reports ◄──────────────────────────────────────┘ confirmations, answers
//! ```
//!
//! - Nothing that the node calls waits, and no lock is held across I/O.
//! - Each connection is tried out every second, and counts as broken when an answer takes longer
//!   than a few. It comes back by itself, with waits that double and vary; then everything that is
//!   wanted is subscribed anew, and only then is the relay up.
//! - While Redis is away, messages are dropped and counted, and so is what comes in faster than the
//!   engine takes it: the relay is a hint, and the store has everything.
//! - Who is online is who has a subscriber. It is asked on the connection that subscribes, behind
//!   this node's own changes, so that it counts them.
//! - Payloads are authenticated: see [`payload`].
//!
//! With sentinels, both connections go to the master that these name. In a Redis Cluster there is a
//! connection to each master, channels are sharded, and every ping compares the slots: when they
//! have moved, or a master is gone, all of it is connected anew.
//!
//! Redis notices by TCP keepalive alone that a node's machine is gone without a word; set its
//! `tcp-keepalive` to 20 seconds or so, or the users of that node stay online for minutes.

#[cfg(feature = "client")]
mod client;
pub mod payload;

#[cfg(feature = "client")]
pub use client::{Counters, Counts, OpenError, Options, RedisRelay, Reports};
