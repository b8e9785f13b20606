//! Parlor's TCP transport: sockets, TLS and newline framing, and no rule of the chat.
//!
//! ```text
//!   Listener::accept ─┐                     ┌─ FrameReader ── Deframer ──▶ frames, handed over together
//!                     ├─▶ Connection::split ┤
//!   connect ──────────┘                     └─ FrameWriter ◀── bytes joined with append_frame
//! ```
//!
//! Where a proxy stands in front, a listener that knows its address reads the PROXY header that begins
//! each connection from there, before anybody sees the connection. With TLS, what follows is encrypted;
//! the two halves do the handshake as part of the first read or write, within a time of its own.
//!
//! A frame is a line of bytes that ends with `\n`; one `\r` before it is dropped and empty lines are
//! ignored. What a frame means is decided elsewhere.
//!
//! The sockets are those of `async-io`, the reactor inside `async-std`: they run under `async-std`
//! and any other executor, and let a connection wait until it is readable without holding a buffer.
//! A connection on which nothing arrives costs its two halves and no more; the buffer for reading is
//! one per thread.
//!
//! Every future here may be dropped at any point without losing bytes.

#![forbid(unsafe_code)]

mod client;
mod connection;
mod framing;
mod listener;
mod proxy;
#[cfg(feature = "sim")]
pub mod sim;
mod tls;

pub use client::{connect, connect_tls};
pub use connection::{Arrival, Connection, FrameReader, FrameWriter, LINGER};
pub use framing::{Deframer, TooLarge, append_frame};
pub use listener::{Listener, ListenerOptions, ProxyOptions};
pub use proxy::{BadHeader, BadNetwork, Header, HeaderReader, MAX_HEADER, Network};
pub use tls::{Identity, TlsAcceptor, TlsConnector, TlsError};
