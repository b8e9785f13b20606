//! What operators look up.

use parlor_core::id::{Place, Seq, SessionId, UserId};
use parlor_core::protocol::ErrorCode;
use parlor_core::protocol::request::UserRef;
use parlor_core::rules::read as rights;
use parlor_core::store::{MessageRef, ReadDone, StoredEntry};
use parlor_core::time::Timestamp;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};

use crate::context::Context;
use crate::convert::{self, conversation, sql, unsql};
use crate::entity::session;
use crate::reads::{ReadError, find};
use crate::sql::Sql;

/// What begins a query of entries; a condition follows.
macro_rules! entries {
    ($condition:literal) => {
        concat!(
            "SELECT c.id, c.low_id, c.high_id, c.last_seq, m.seq, m.sender_id, m.created_at \
             FROM message m JOIN conversation c ON c.id = m.conversation_id WHERE ",
            $condition
        )
    };
}

/// Reads an account and its sessions.
pub(super) async fn account(context: &Context, who: &UserRef) -> Result<ReadDone, ReadError> {
    let (user, row) = find(context, who).await?.ok_or(ErrorCode::NoSuchUser)?;
    let now = context.dialect.now(&context.reader).await?;
    let models = session::Entity::find()
        .filter(session::Column::UserId.eq(sql(user.0)))
        .filter(session::Column::ExpiresAt.gt(sql(now.0)))
        .order_by_asc(session::Column::Id)
        .all(&context.reader)
        .await?;
    let sessions = models.into_iter().map(|model| {
        let id = SessionId(unsql(model.id));
        (id, convert::session(model))
    });
    let account = rights::account(user, Some(&row), sessions.collect())?;
    Ok(ReadDone::Account(Box::new(account)))
}

/// Reads where an entry is.
pub(super) async fn entry(context: &Context, message: &MessageRef) -> Result<ReadDone, ReadError> {
    let query = |text| Sql::new(context.dialect, text);
    let query = match message {
        MessageRef::Key { from, key } => {
            let found = find(context, from).await?;
            let (from, _) = found
                .filter(|(_, row)| row.name.is_some())
                .ok_or(ErrorCode::NoSuchUser)?;
            query(entries!("m.sender_id = ? AND m.message_key = ?"))
                .bind(sql(from.0))
                .bind(key.as_str().as_bytes().to_vec())
        }
        MessageRef::Entry { place, seq } => match place {
            Place::Direct(pair) => query(entries!("c.low_id = ? AND c.high_id = ? AND m.seq = ?"))
                .bind(sql(pair.low().0))
                .bind(sql(pair.high().0)),
            Place::Group(group) => {
                query(entries!("c.id = ? AND c.low_id IS NULL AND m.seq = ?")).bind(sql(group.0))
            }
        }
        .bind(sql(seq.0)),
    };
    let row = query.rows(&context.reader).await?.pop();
    let (id, low, high, last, seq, from, at) = row.ok_or(ErrorCode::NoSuchMessage)?;
    let (conversation, place, _) = conversation((id, low, high, last))?;
    Ok(ReadDone::Entry(StoredEntry {
        conversation,
        place,
        seq: Seq(unsql(seq)),
        from: UserId(unsql(from)),
        at: Timestamp(unsql(at)),
    }))
}
