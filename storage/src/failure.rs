//! What a failed statement says of the whole.

use parlor_core::store::StoreError;
use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
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
    /// The database let others go first, or the connection broke: nothing was changed, and the same
    /// may go well at once.
    Passing,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable | Failure::Rejected | Failure::Passing => Self::Unavailable,
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

/// Says of an answer to COMMIT whether the transaction was surely rolled back, as Galera says when
/// another node was faster; else nobody knows.
pub(crate) fn of_commit(error: &DbErr) -> Failure {
    warn!(%error, "the database did not say that it committed");
    match sqlx_error(error).and_then(mysql_number) {
        Some(number) if gives_way(number) => Failure::Passing,
        _ => Failure::Unknown,
    }
}

fn classify(error: &DbErr) -> Failure {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Failure::Unavailable,
        _ => sqlx_error(error).map_or(Failure::Rejected, of_statement),
    }
}

fn sqlx_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            Some(error)
        }
        _ => None,
    }
}

fn of_statement(error: &SqlxError) -> Failure {
    match error {
        SqlxError::Database(refusal) => match (mysql_number(error), refusal.code()) {
            (Some(number), _) if gives_way(number) => Failure::Passing,
            (Some(number), _) if mysql_ails(number) => Failure::Unavailable,
            (None, Some(code)) if sqlite_ails(&code) => Failure::Unavailable,
            _ => Failure::Rejected,
        },
        // A transaction whose connection is gone is rolled back.
        SqlxError::Io(_) => Failure::Passing,
        SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::BeginFailed
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => Failure::Unavailable,
        _ => Failure::Rejected,
    }
}

fn mysql_number(error: &SqlxError) -> Option<u16> {
    let error = error.as_database_error()?;
    let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// Tells whether an error of MySQL or MariaDB passes: lock wait time-out, deadlock, connection
/// killed, or closed for its silence
/// (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>,
/// <https://mariadb.com/docs/server/reference/error-codes>).
fn gives_way(number: u16) -> bool {
    matches!(number, 1205 | 1213 | 1927 | 4031)
}

/// Tells whether an error of MySQL or MariaDB says that the server is at fault and not the
/// statement: no disk (1021, 1026, 1030, 1114), no memory (1037, 1038, 1041, 1135), no connections
/// left (1040, 1203, 1226), no right to enter or to do so (1044, 1045, 1049, 1129, 1130, 1142, 1698), not
/// ready (1047), shutting down (1053, 1152, 1184), trouble on the wire (1158 to 1161), read only (1290,
/// 1792, 1836), interrupted (1317, 1969, 3024).
fn mysql_ails(number: u16) -> bool {
    matches!(
        number,
        1021 | 1026
            | 1030
            | 1037
            | 1038
            | 1040
            | 1041
            | 1044
            | 1045
            | 1047
            | 1049
            | 1053
            | 1114
            | 1129
            | 1130
            | 1135
            | 1142
            | 1152
            | 1158
            ..=1161 | 1184 | 1203 | 1226 | 1290 | 1317 | 1698 | 1792 | 1836 | 1969 | 3024
    )
}

/// Tells whether SQLite's result code says that the file is at fault and not the statement: busy,
/// locked, no memory, read only, I/O error, corrupt, full, cannot open, no database. The lower byte
/// of an extended code is its primary one (<https://www.sqlite.org/rescode.html>).
fn sqlite_ails(code: &str) -> bool {
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 11 | 13 | 14 | 26))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_key_is_the_statements_fault_and_a_full_disk_is_not() {
        assert!(!sqlite_ails("2067"), "SQLITE_CONSTRAINT_UNIQUE");
        assert!(sqlite_ails("13"), "SQLITE_FULL");
        assert!(sqlite_ails("266"), "SQLITE_IOERR_READ");
        assert!(!mysql_ails(1062), "ER_DUP_ENTRY");
        assert!(!gives_way(1062), "ER_DUP_ENTRY");
        assert!(mysql_ails(1114), "ER_RECORD_FILE_FULL");
        assert!(gives_way(1213), "ER_LOCK_DEADLOCK");
    }
}
