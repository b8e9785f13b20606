//! What changed since a moment.

use parlor_core::id::{ConversationId, UserId};
use parlor_core::store::{Head, ReadDone};
use parlor_core::time::Timestamp;

use crate::context::Context;
use crate::convert::{conversation, sql, unsql};
use crate::reads::ReadError;
use crate::sql::Sql;

/// Reads which conversations and users changed, each in pages by (`updated_at`, id).
pub(super) async fn changes(
    context: &Context,
    since: Option<Timestamp>,
    conversations_after: Option<(Timestamp, ConversationId)>,
    users_after: Option<(Timestamp, UserId)>,
    limit: u32,
) -> Result<ReadDone, ReadError> {
    let (dialect, reader) = (context.dialect, &context.reader);
    let as_of = dialect.now(reader).await?;
    let (mut conversations, mut users) = (Vec::new(), Vec::new());
    if let Some(since) = since {
        let after = conversations_after.map(|(at, id)| (at, id.0));
        let text = "SELECT id, low_id, high_id, last_seq, updated_at FROM conversation WHERE ";
        let query = behind(Sql::new(dialect, text), since, after, limit);
        for (id, low, high, last, at) in query.rows(reader).await? {
            let (id, place, last) = conversation((id, low, high, last))?;
            let head = Head {
                conversation: id,
                place,
                last,
            };
            conversations.push((Timestamp(unsql(at)), head));
        }
        let after = users_after.map(|(at, id)| (at, id.0));
        let text = "SELECT id, version, updated_at FROM `user` WHERE ";
        let query = behind(Sql::new(dialect, text), since, after, limit);
        for (id, version, at) in query.rows(reader).await? {
            users.push((Timestamp(unsql(at)), UserId(unsql(id)), unsql(version)));
        }
    }
    Ok(ReadDone::Changes {
        as_of,
        conversations,
        users,
    })
}

/// Ends a query: rows from a moment on and behind a position.
fn behind(query: Sql, since: Timestamp, after: Option<(Timestamp, u64)>, limit: u32) -> Sql {
    let (at, id) = after.unwrap_or((Timestamp(0), 0));
    query
        .then(
            "updated_at >= ? AND (updated_at > ? OR (updated_at = ? AND id > ?)) \
             ORDER BY updated_at, id",
        )
        // The position is not before the moment, save at the start: this is where to begin.
        .bind(sql(since.max(at).0))
        .bind(sql(at.0))
        .bind(sql(at.0))
        .bind(sql(id))
        .limit(i64::from(limit))
}
