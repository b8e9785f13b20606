//! What a store is opened with.

use std::sync::Arc;
use std::time::Duration;

use parlor_core::id::StoreToken;
use parlor_core::store::{Limits, StoreResult};

use crate::jwt::JwtOptions;

/// Where completions of [`Store::submit`](parlor_core::store::Store::submit) go, many at once.
///
/// It is called from the store's tasks, and from `submit` itself for requests that are refused at
/// once. It must return soon and must not wait for the store.
pub type Sink = Arc<dyn Fn(Vec<(StoreToken, StoreResult)>) + Send + Sync>;

/// The settings of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The limits that the rules keep.
    pub limits: Limits,
    /// How passwords are hashed.
    pub password: PasswordOptions,
    /// Which service vouches for its accounts; absent for none.
    pub jwt: Option<JwtOptions>,
    /// The most changes, and apart from them the most reads, that may wait or be under way; more
    /// are answered [`StoreError::Busy`](parlor_core::store::StoreError::Busy).
    pub queue: usize,
    /// The most bytes of text that may wait to be written; more is answered likewise.
    pub queue_bytes: usize,
    /// The most changes in one transaction.
    pub batch_rows: usize,
    /// The most bytes of text in one transaction, but for a single change.
    pub batch_bytes: usize,
    /// How many reads are carried out at a time, those apart that are carried out for many at once.
    /// On MySQL, a store has up to 7 connections more than this.
    pub readers: u32,
    /// Whether opening brings the tables up to date; otherwise it refuses those that are not.
    pub migrate: bool,
    /// The longest that a transaction may last.
    pub timeout: Duration,
    /// The longest that a request may last, its wait in the queue included; a login may take one
    /// `timeout` more. Raised to two and a half times `timeout` where it is less.
    pub request_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            password: PasswordOptions::default(),
            jwt: None,
            queue: 50_000,
            queue_bytes: 64 << 20,
            batch_rows: 500,
            batch_bytes: 1 << 20,
            readers: 4,
            migrate: true,
            timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(25),
        }
    }
}

/// How passwords are hashed: argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordOptions {
    /// The memory of one hash, in KiB; at least 8.
    pub memory_kib: u32,
    /// The passes over it; at least 1.
    pub iterations: u32,
    /// How many hashes are computed at a time; zero for one per core.
    pub threads: usize,
    /// The most requests that may wait for a hash or be under way; more are refused with `busy`.
    pub queue: usize,
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            threads: 0,
            queue: 256,
        }
    }
}
