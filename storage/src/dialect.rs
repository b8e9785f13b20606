//! Where database engines differ; everything else of this crate is the same for all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parlor_core::time::{Timestamp, millis};
use sea_orm::sea_query::TableCreateStatement;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use crate::convert::number;

/// One kind of database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// One file, one writer at a time, the machine's clock.
    Sqlite,
    /// MySQL and MariaDB: row locks, the server's clock.
    MySql,
}

impl Dialect {
    /// Returns sea-orm's name of the engine.
    pub(crate) const fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::MySql => DbBackend::MySql,
        }
    }

    /// Returns what ends a query that locks its rows in ascending order. SQLite's write
    /// transactions lock everything.
    pub(crate) const fn lock_by_id(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::MySql => " ORDER BY id FOR UPDATE",
        }
    }

    /// Returns the assignments that raise `delivered_seq` and `read_seq`, each to one bound number.
    pub(crate) const fn raise_cursors(self) -> &'static str {
        match self {
            Self::Sqlite => "delivered_seq = MAX(delivered_seq, ?), read_seq = MAX(read_seq, ?)",
            Self::MySql => {
                "delivered_seq = GREATEST(delivered_seq, ?), read_seq = GREATEST(read_seq, ?)"
            }
        }
    }

    /// Returns the query for the names of all tables.
    pub(crate) const fn tables(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Self::MySql => {
                "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            }
        }
    }

    /// Begins a transaction that writes. SQLite's takes the write lock at once: one that only
    /// begins to write after it has read fails where another wrote meanwhile.
    pub(crate) async fn begin_write(
        self,
        database: &DatabaseConnection,
    ) -> Result<DatabaseTransaction, DbErr> {
        let options = match self {
            Self::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            },
            // The connections' own: READ COMMITTED.
            Self::MySql => TransactionOptions::default(),
        };
        database.begin_with_options(options).await
    }

    /// Begins a transaction whose reads are all of one moment: on SQLite all are; on MySQL the
    /// connections that read are set so.
    pub(crate) async fn begin_read(
        self,
        database: &DatabaseConnection,
    ) -> Result<DatabaseTransaction, DbErr> {
        database.begin().await
    }

    /// Reads the database's clock, which never goes back.
    pub(crate) async fn now<C: ConnectionTrait>(self, connection: &C) -> Result<Timestamp, DbErr> {
        match self {
            Self::Sqlite => Ok(machine_clock()),
            Self::MySql => {
                let sql = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) \
                     DIV 1000";
                let statement = Statement::from_string(self.backend(), sql);
                match connection.query_one_raw(statement).await? {
                    Some(row) => number(&row, 0).map(Timestamp),
                    None => Err(DbErr::Type("the clock says nothing".to_owned())),
                }
            }
        }
    }

    /// Reads which version of its data a connection's transaction that writes has before it, where
    /// the engine tells whether others have written.
    pub(crate) async fn data_version(
        self,
        transaction: &DatabaseTransaction,
    ) -> Result<Option<u64>, DbErr> {
        let statement = match self {
            Self::Sqlite => Statement::from_string(self.backend(), "PRAGMA data_version"),
            Self::MySql => return Ok(None),
        };
        let row = transaction.query_one_raw(statement).await?;
        row.map(|row| number(&row, 0)).transpose()
    }

    /// Adds what a table needs on this engine: text of any script; rows kept in the order of their
    /// primary key, unless they come in another. (MySQL keeps that order always. In SQLite, a log
    /// kept so would dirty a page for each conversation of a batch, and commit a third fewer
    /// messages per second.)
    pub(crate) fn shape(self, table: &mut TableCreateStatement, order: Order) {
        match (self, order) {
            (Self::Sqlite, Order::ByKey) => {
                table.extra("WITHOUT ROWID");
            }
            (Self::Sqlite, Order::AsTheyCome) => {}
            (Self::MySql, _) => {
                table
                    .engine("InnoDB")
                    .character_set("utf8mb4")
                    .collate("utf8mb4_bin")
                    .extra("ROW_FORMAT=DYNAMIC");
            }
        }
    }
}

/// The order in which a table keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of the primary key.
    ByKey,
    /// That of insertion.
    AsTheyCome,
}

/// The machine's clock, made non-decreasing within the process.
fn machine_clock() -> Timestamp {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis);
    Timestamp(LATEST.fetch_max(now, Ordering::AcqRel).max(now))
}
