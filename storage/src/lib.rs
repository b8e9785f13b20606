//! Parlor's store in an SQL database: SQLite in one file, or MySQL and MariaDB, which several nodes
//! may share.
//!
//! No rule of the chat lives here. For a change, the store loads and locks the rows that
//! [`rules::read_set`](parlor_core::rules::read_set) names, lets
//! [`rules::apply`](parlor_core::rules::apply) decide on them, and writes what became of them:
//!
//! ```text
//!   submit ─┬─ changes, cursors ───────────────► writer: one transaction for whatever waits ──┐
//!           ├─ passwords ─► argon2id, N threads ──┘        │ new sessions                     ├─► sink
//!           ├─ rosters, heads, resumed sessions ─► grouped readers: one set of queries ───────┤
//!           └─ other reads ─► readers ────────────────────────────────────────────────────────┘
//! ```
//!
//! Each request is answered exactly once, whatever happens to the task that had it. The number and
//! the bytes of requests under way are bounded. A change that the database did not say that it
//! committed is answered `Unknown`; one that was surely not committed, `Unavailable`.

mod cluster;
mod context;
mod convert;
mod counters;
mod dialect;
mod entity;
mod error;
mod failure;
mod grouped;
mod jwt;
mod load;
mod marks;
mod migration;
mod mysql;
mod numbers;
mod open;
mod options;
mod password;
mod queue;
mod reads;
mod remembered;
mod schema;
mod sql;
mod sqlite;
mod store;
mod wal;
mod write;
mod writer;

pub use cluster::Cluster;
pub use counters::Status;
pub use error::OpenError;
pub use jwt::{JwtAlgorithm, JwtOptions, UnknownAlgorithm};
pub use open::migrate;
pub use options::{Options, PasswordOptions, Sink};
pub use store::SqlStore;
