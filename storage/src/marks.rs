//! Cursors: they only rise, up to the log's end, and only where there is a row.

use std::collections::BTreeMap;

use parlor_core::store::Mark;
use sea_orm::{DatabaseTransaction, DbErr, Value};

use crate::context::Context;
use crate::convert::{sql, unsql};
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::sql::{CHUNK, Sql, Update, rows_by_ids};

/// Raises cursors in one transaction.
pub(crate) async fn raise(context: &Context, marks: &[Mark]) -> Result<(), Failure> {
    // The last word on each cursor; ascending, so that two transactions cannot wait for each other.
    let mut raised: BTreeMap<(i64, i64), (u64, u64)> = BTreeMap::new();
    for mark in marks {
        let key = (sql(mark.conversation.0), sql(mark.user.0));
        let (delivered, read) = raised.entry(key).or_default();
        *read = (*read).max(mark.read.0);
        // What was read has arrived.
        *delivered = (*delivered).max(mark.delivered.0).max(*read);
    }
    let transaction = context.dialect.begin_write(&context.writer).await?;
    let last = ends(&transaction, context.dialect, &raised).await?;
    let rows: Vec<[i64; 4]> = raised
        .into_iter()
        .filter_map(|((conversation, user), (delivered, read))| {
            let last = *last.get(&conversation)?;
            let (delivered, read) = (sql(delivered.min(last)), sql(read.min(last)));
            Some([conversation, user, delivered, read])
        })
        .collect();
    together(&transaction, context.dialect, &rows).await?;
    transaction.commit().await?;
    Ok(())
}

/// Raises many cursors with one statement, which locks them in the order of the list.
async fn together(
    transaction: &DatabaseTransaction,
    dialect: Dialect,
    rows: &[[i64; 4]],
) -> Result<(), DbErr> {
    for chunk in rows.chunks(CHUNK) {
        let rows: Vec<[Value; 4]> = chunk.iter().map(|row| row.map(Value::from)).collect();
        let update = Update {
            table: "member",
            on: "conversation_id = raised.c AND user_id = raised.u",
            set: match dialect {
                Dialect::Sqlite => {
                    "delivered_seq = MAX(delivered_seq, raised.d), \
                     read_seq = MAX(read_seq, raised.r)"
                }
                Dialect::MySql => {
                    "delivered_seq = GREATEST(delivered_seq, raised.d), \
                     read_seq = GREATEST(read_seq, raised.r)"
                }
            },
            first: "SELECT ? AS c, ? AS u, ? AS d, ? AS r",
            next: " UNION ALL SELECT ?, ?, ?, ?",
        };
        Sql::update(dialect, update, &rows).run(transaction).await?;
    }
    Ok(())
}

/// Reads the ends of the logs.
async fn ends(
    transaction: &DatabaseTransaction,
    dialect: Dialect,
    raised: &BTreeMap<(i64, i64), (u64, u64)>,
) -> Result<BTreeMap<i64, u64>, DbErr> {
    let mut conversations: Vec<i64> = raised
        .keys()
        .map(|(conversation, _)| *conversation)
        .collect();
    conversations.dedup();
    let text = "SELECT id, last_seq FROM conversation WHERE id IN ";
    let rows: Vec<(i64, i64)> = rows_by_ids(transaction, dialect, text, &conversations, "").await?;
    Ok(rows
        .into_iter()
        .map(|(id, last)| (id, unsql(last)))
        .collect())
}
