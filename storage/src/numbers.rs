//! Numbers of accounts, conversations and sessions: reserved in blocks, never handed out twice.

use std::collections::BTreeSet;

use parlor_core::id::{ConversationId, SessionId, UserId};
use parlor_core::store::{ReadSet, View};
use sea_orm::DbErr;

use crate::context::Context;
use crate::convert::{number, sql};
use crate::failure::Failure;
use crate::sql::Sql;

/// How many numbers are reserved at a time, at least.
const BLOCK: usize = 32;

/// The kinds of numbers, as the table spells them.
pub(crate) const KINDS: [&str; 3] = ["user", "conversation", "session"];

/// The numbers that this process has reserved and not used.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    users: BTreeSet<u64>,
    conversations: BTreeSet<u64>,
    sessions: BTreeSet<u64>,
}

impl Numbers {
    /// Moves numbers into a view, reserving more where there are not enough.
    pub(crate) async fn hand_out(
        &mut self,
        context: &Context,
        set: &ReadSet,
        view: &mut View,
    ) -> Result<(), Failure> {
        let [user, conversation, session] = KINDS;
        let users = take(context, user, &mut self.users, set.new_users).await?;
        view.new_users = users.into_iter().map(UserId).collect();
        let wanted = set.new_conversations;
        let conversations = take(context, conversation, &mut self.conversations, wanted).await?;
        view.new_conversations = conversations.into_iter().map(ConversationId).collect();
        let sessions = take(context, session, &mut self.sessions, set.new_sessions).await?;
        view.new_sessions = sessions.into_iter().map(SessionId).collect();
        Ok(())
    }

    /// Takes back what a view did not use.
    pub(crate) fn take_back(&mut self, view: &View) {
        self.users.extend(view.new_users.iter().map(|id| id.0));
        let conversations = view.new_conversations.iter().map(|id| id.0);
        self.conversations.extend(conversations);
        self.sessions
            .extend(view.new_sessions.iter().map(|id| id.0));
    }
}

async fn take(
    context: &Context,
    kind: &'static str,
    free: &mut BTreeSet<u64>,
    wanted: usize,
) -> Result<Vec<u64>, Failure> {
    let missing = wanted.saturating_sub(free.len());
    if missing > 0 {
        let count = u64::try_from(missing.max(BLOCK)).unwrap_or(u64::MAX);
        let end = reserve(context, kind, count).await?;
        free.extend(end.saturating_sub(count)..end);
    }
    Ok((0..wanted).map_while(|_| free.pop_first()).collect())
}

/// Raises the next number of a kind in a transaction of its own, so that no other waits for ours.
async fn reserve(context: &Context, kind: &'static str, count: u64) -> Result<u64, Failure> {
    let dialect = context.dialect;
    let transaction = dialect.begin_write(&context.writer).await?;
    Sql::new(dialect, "UPDATE number SET next = next + ? WHERE kind = ?")
        .bind(sql(count))
        .bind(kind)
        .run(&transaction)
        .await?;
    let row = Sql::new(dialect, "SELECT next FROM number WHERE kind = ?")
        .bind(kind)
        .one(&transaction)
        .await?;
    let Some(row) = row else {
        return Err(DbErr::Custom(format!("the row {kind} of `number` is missing")).into());
    };
    let next = number(&row, 0)?;
    transaction.commit().await?;
    Ok(next)
}
