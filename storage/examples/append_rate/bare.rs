//! The bare transactions: what the store executed for its messages, on one connection, with nothing
//! around it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sea_orm::sqlx::{AssertSqlSafe, Connection as _, query, query_as, query_scalar};

use crate::Failed;
use crate::meter::{Meter, Rate};
use crate::statements::{self, ENDS, Listed, VERSION, places};

/// The most rows of one statement.
const MOST: usize = 256;

/// A row of the log.
pub(crate) type Row = (i64, i64, i64, Vec<u8>, Vec<u8>, String, i64);

/// Reads the messages that a store wrote, in their order.
pub(crate) async fn written(file: &Path) -> Result<Vec<Row>, Failed> {
    let mut connection = connect(file).await?;
    let messages = query_as(
        "SELECT conversation_id, seq, sender_id, message_key, digest, body, created_at \
         FROM message ORDER BY rowid",
    )
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    Ok(messages)
}

/// Writes the same messages into a file that lacks them, so many in a transaction.
pub(crate) async fn replay(file: &Path, written: &[Row], batch: usize) -> Result<Rate, Failed> {
    let mut bare = Bare {
        connection: connect(file).await?,
        texts: BTreeMap::new(),
    };
    let first: i64 = query_scalar(VERSION)
        .fetch_one(&mut bare.connection)
        .await?;
    let meter = Meter::start();
    for messages in written.chunks(batch.max(1)) {
        bare.execute("BEGIN IMMEDIATE").await?;
        let version: i64 = query_scalar(VERSION)
            .fetch_one(&mut bare.connection)
            .await?;
        if version != first {
            return Err("somebody else writes into the copy".into());
        }
        bare.write(messages).await?;
        bare.execute("COMMIT").await?;
    }
    let rate = meter.rate(u64::try_from(written.len())?);
    bare.connection.close().await?;
    Ok(rate)
}

/// Fails unless two files have the same messages and the same ends of logs.
pub(crate) async fn compare(one: &Path, other: &Path) -> Result<(), Failed> {
    let mut connection = connect(one).await?;
    query("ATTACH ? AS other")
        .bind(other.to_str())
        .execute(&mut connection)
        .await?;
    for (table, columns) in [("message", "*"), ("conversation", "id, last_seq")] {
        for (left, right) in [("main", "other"), ("other", "main")] {
            let text = format!(
                "SELECT COUNT(*) FROM (SELECT {columns} FROM {left}.{table} \
                 EXCEPT SELECT {columns} FROM {right}.{table})"
            );
            let differing: i64 = query_scalar(AssertSqlSafe(text))
                .fetch_one(&mut connection)
                .await?;
            if differing != 0 {
                return Err(format!("{differing} rows of {table} differ").into());
            }
        }
    }
    connection.close().await?;
    Ok(())
}

/// Opens a file as the store does.
async fn connect(file: &Path) -> Result<SqliteConnection, Failed> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .statement_cache_capacity(256)
        .row_buffer_size(4 * MOST)
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .pragma("temp_store", "MEMORY");
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// A connection, and the texts that it was given, each of which it prepares once.
struct Bare {
    connection: SqliteConnection,
    texts: BTreeMap<(&'static str, bool, usize), Arc<str>>,
}

impl Bare {
    fn text(&mut self, name: &'static str, listed: Listed, rows: usize) -> AssertSqlSafe<Arc<str>> {
        // Whether there are as many rows as places makes a difference to some.
        let text = self.texts.entry((name, rows == places(rows), places(rows)));
        AssertSqlSafe(Arc::clone(text.or_insert_with(|| listed.text(rows).into())))
    }

    async fn execute(&mut self, text: &'static str) -> Result<(), Failed> {
        query(text).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Writes the ends of logs and the messages.
    async fn write(&mut self, messages: &[Row]) -> Result<(), Failed> {
        let ends: BTreeMap<i64, (i64, i64)> =
            messages.iter().map(|row| (row.0, (row.1, row.6))).collect();
        for ends in Vec::from_iter(ends).chunks(MOST) {
            let mut query = query(self.text("ends", ENDS, ends.len()));
            // Places that are left over repeat the last.
            let last = ends.last().into_iter().cycle();
            for (conversation, (last, at)) in ends.iter().chain(last).take(places(ends.len())) {
                query = query.bind(conversation).bind(last).bind(at);
            }
            query.execute(&mut self.connection).await?;
        }
        for rows in messages.chunks(MOST) {
            let mut query =
                query(self.text("messages", statements::messages(rows.len()), rows.len()));
            for (conversation, seq, sender, key, digest, body, at) in rows {
                query = query
                    .bind(conversation)
                    .bind(seq)
                    .bind(sender)
                    .bind(key.as_slice())
                    .bind(digest.as_slice())
                    .bind(body)
                    .bind(at);
            }
            query.execute(&mut self.connection).await?;
        }
        Ok(())
    }
}
