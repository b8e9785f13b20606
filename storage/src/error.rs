//! Failures of opening a store.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a store cannot be opened, in one line that says what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is of no kind that this store knows.
    #[error("the store {url:?} is not understood: write sqlite:/path/to/file")]
    Url {
        /// The URL as it was given, without its password.
        url: String,
    },
    /// The file cannot be made, read or written.
    #[error("cannot use the store's file {}: {source}; {advice}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// The file holds something else.
    #[error("{} is not a database of Parlor: name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Parlor has changed the tables.
    #[error(
        "the store {store} was written by a later version of Parlor (it has {migration}): run that version"
    )]
    Newer {
        /// The store.
        store: String,
        /// The first migration that this version does not know.
        migration: String,
    },
    /// The settings for hashing passwords are not ones of argon2id.
    #[error(
        "passwords cannot be hashed with memory_kib {memory_kib} and iterations {iterations}: {reason}"
    )]
    Password {
        /// The memory that was asked for.
        memory_kib: u32,
        /// The iterations that were asked for.
        iterations: u32,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {reason}")]
    Random {
        /// What the system says.
        reason: String,
    },
    /// The database refuses to work.
    #[error("the store {store} cannot be opened: {reason}")]
    Database {
        /// The store.
        store: String,
        /// What the database says.
        reason: String,
    },
}
