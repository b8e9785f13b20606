//! What a failed statement says of the whole.

use parlor_core::store::StoreError;
use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{DbErr, RuntimeErr};
use tracing::warn;

/// Why a transaction did not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The database cannot be reached or cannot write; nothing was changed.
    Unavailable,
    /// Whether it was committed is not known.
    Unknown,
    /// The database refused a statement; nothing was changed.
    Rejected,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable | Failure::Rejected => Self::Unavailable,
            Failure::Unknown => Self::Unknown,
        }
    }
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        let failure = classify(&error);
        warn!(%error, ?failure, "the database refused");
        failure
    }
}

fn classify(error: &DbErr) -> Failure {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Failure::Unavailable,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            match &**error {
                SqlxError::Database(error) => match error.code() {
                    Some(code) if ails(&code) => Failure::Unavailable,
                    _ => Failure::Rejected,
                },
                SqlxError::Io(_)
                | SqlxError::Tls(_)
                | SqlxError::Protocol(_)
                | SqlxError::PoolTimedOut
                | SqlxError::PoolClosed
                | SqlxError::WorkerCrashed => Failure::Unavailable,
                _ => Failure::Rejected,
            }
        }
        _ => Failure::Rejected,
    }
}

/// Tells whether SQLite's result code says that the file is at fault and not the statement: busy,
/// locked, no memory, read only, I/O error, corrupt, full, cannot open, no database. The lower byte
/// of an extended code is its primary one (<https://www.sqlite.org/rescode.html>); codes of five
/// digits are other engines'.
fn ails(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| {
        code < 10_000 && matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 11 | 13 | 14 | 26)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_key_is_the_statements_fault_and_a_full_disk_is_not() {
        assert!(!ails("2067"), "SQLITE_CONSTRAINT_UNIQUE");
        assert!(ails("13"), "SQLITE_FULL");
        assert!(ails("266"), "SQLITE_IOERR_READ");
        assert!(!ails("HY000"), "another engine's code");
    }
}
