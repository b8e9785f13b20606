//! Cursors: they only rise, up to the log's end, and only where there is a row.

use std::collections::BTreeMap;

use parlor_core::store::Mark;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::context::Context;
use crate::convert::{number, sql};
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::sql::{CHUNK, Sql};

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
    for ((conversation, user), (delivered, read)) in raised {
        let Some(last) = last.get(&conversation) else {
            continue;
        };
        Sql::new(context.dialect, "UPDATE member SET ")
            .then(context.dialect.raise_cursors())
            .then(" WHERE conversation_id = ? AND user_id = ?")
            .bind(sql(delivered.min(*last)))
            .bind(sql(read.min(*last)))
            .bind(conversation)
            .bind(user)
            .run(&transaction)
            .await?;
    }
    transaction.commit().await?;
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
    let mut ends = BTreeMap::new();
    for chunk in conversations.chunks(CHUNK) {
        let rows = Sql::new(
            dialect,
            "SELECT id, last_seq FROM conversation WHERE id IN ",
        )
        .list(chunk)
        .all(transaction)
        .await?;
        for row in rows {
            ends.insert(sql(number(&row, 0)?), number(&row, 1)?);
        }
    }
    Ok(ends)
}
