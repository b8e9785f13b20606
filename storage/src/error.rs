//! Failures of opening a store.

use std::io;
use std::path::PathBuf;

use sea_orm::DbErr;
use thiserror::Error;

/// Why a store cannot be opened, in one line that says what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is of no kind that this store knows.
    #[error(
        "the store {url:?} is not understood: write sqlite:/path/to/file or \
         mysql://user:password@host:port/database"
    )]
    Url {
        /// The URL as it was given, without its password.
        url: String,
    },
    /// The URL of a server says what cannot be.
    #[error("the store {store} is not understood: {reason}")]
    Setting {
        /// The store.
        store: String,
        /// What is wrong.
        reason: String,
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
    /// The database holds something else.
    #[error("{store} is not a database of Parlor: name another")]
    Foreign {
        /// The store.
        store: String,
    },
    /// The database lacks migrations, and must not be migrated now.
    #[error("the store {store} lacks the migration {migration}: run `parlor migrate`")]
    Older {
        /// The store.
        store: String,
        /// The first migration that it lacks.
        migration: String,
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
    /// The tokens of another service cannot be verified.
    #[error("tokens (JWT) cannot be verified: {reason}")]
    Jwt {
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

impl OpenError {
    /// Returns what makes an error of a database's.
    pub(crate) fn database(store: String) -> impl Fn(DbErr) -> Self {
        move |error| Self::Database {
            store: store.clone(),
            // In one line, as all of them.
            reason: error.to_string().replace('\n', " "),
        }
    }
}
