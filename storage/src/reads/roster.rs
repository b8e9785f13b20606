//! Rosters: everything that a node knows of a user who is online, of many users at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlor_core::id::{ConversationRef, GroupId, Seq, SessionId, UserId};
use parlor_core::protocol::reply::{FriendItem, GroupItem, InviteItem};
use parlor_core::store::{ConversationState, Roster};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::convert::{conversation, friend_state, member, name, unsql};
use crate::dialect::Dialect;
use crate::sql::{Row, rows_by_ids};

/// How many rosters are read with one set of queries.
const TOGETHER: usize = 64;

/// What begins a query of memberships with all that [`state`] reads; a condition on the user
/// follows.
macro_rules! state_columns {
    () => {
        "SELECT c.id, c.low_id, c.high_id, c.last_seq, m.user_id, \
         m.role, m.joined_seq, m.delivered_seq, m.read_seq, \
         p.delivered_seq, p.read_seq, g.name \
         FROM member m JOIN conversation c ON c.id = m.conversation_id \
         LEFT JOIN member p ON p.conversation_id = c.id \
         AND p.user_id = c.low_id + c.high_id - m.user_id \
         LEFT JOIN `group` g ON g.id = c.id WHERE m.user_id"
    };
}
pub(super) use state_columns;

/// What [`state_columns`] names.
pub(super) type StateColumns = (
    i64,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
    String,
    i64,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

/// A user who was found.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) locked: bool,
    pub(crate) roster: Arc<Roster>,
}

/// Reads rosters. Users who are gone are left out.
pub(crate) async fn read(
    transaction: &DatabaseTransaction,
    dialect: Dialect,
    users: &[i64],
    now: Timestamp,
) -> Result<BTreeMap<UserId, Account>, DbErr> {
    let mut accounts = BTreeMap::new();
    for users in users.chunks(TOGETHER) {
        let mut rosters = Rosters {
            transaction,
            dialect,
            users,
            found: BTreeMap::new(),
        };
        rosters.accounts().await?;
        rosters.friends().await?;
        rosters.conversations().await?;
        rosters.invites().await?;
        rosters.waiting().await?;
        rosters.sessions(now).await?;
        let found = rosters.found.into_iter().map(|(user, (locked, roster))| {
            let roster = Arc::new(roster);
            (user, Account { locked, roster })
        });
        accounts.extend(found);
    }
    Ok(accounts)
}

struct Rosters<'a> {
    transaction: &'a DatabaseTransaction,
    dialect: Dialect,
    users: &'a [i64],
    found: BTreeMap<UserId, (bool, Roster)>,
}

impl Rosters<'_> {
    /// Reads rows of these users: `text` ends with `IN `.
    async fn rows<R: Row>(&self, text: &'static str, end: &'static str) -> Result<Vec<R>, DbErr> {
        rows_by_ids(self.transaction, self.dialect, text, self.users, end).await
    }

    /// Returns the roster of a user.
    fn of(&mut self, user: i64) -> Option<&mut Roster> {
        let (_, roster) = self.found.get_mut(&UserId(unsql(user)))?;
        Some(roster)
    }

    async fn accounts(&mut self) -> Result<(), DbErr> {
        let text = "SELECT id, name, version, locked FROM `user` \
             WHERE name IS NOT NULL AND id IN ";
        let rows: Vec<(i64, String, i64, i64)> = self.rows(text, "").await?;
        for (user, called, version, locked) in rows {
            let user = UserId(unsql(user));
            let roster = Roster {
                user,
                name: name(&called)?,
                version: unsql(version),
                friends: Vec::new(),
                groups: Vec::new(),
                invites: Vec::new(),
                waiting: Vec::new(),
                conversations: Vec::new(),
                sessions: Vec::new(),
            };
            self.found.insert(user, (locked != 0, roster));
        }
        Ok(())
    }

    async fn friends(&mut self) -> Result<(), DbErr> {
        let text = "SELECT f.user_id, f.other_id, u.name, f.state \
             FROM friendship f JOIN `user` u ON u.id = f.other_id \
             WHERE u.name IS NOT NULL AND f.user_id IN ";
        let end = " ORDER BY f.user_id, f.other_id";
        for (user, other, called, state) in self.rows(text, end).await? {
            let item = friend((other, called, state))?;
            if let Some(roster) = self.of(user) {
                roster.friends.push(item);
            }
        }
        Ok(())
    }

    async fn conversations(&mut self) -> Result<(), DbErr> {
        let end = " ORDER BY m.user_id, c.id";
        let text = concat!(state_columns!(), " IN ");
        let rows: Vec<StateColumns> = self.rows(text, end).await?;
        for row in rows {
            let user = row.4;
            let Some((state, group)) = state(row)? else {
                continue;
            };
            if let Some(roster) = self.of(user) {
                roster.conversations.push(state);
                roster.groups.extend(group);
            }
        }
        for (_, roster) in self.found.values_mut() {
            roster.conversations.sort_by_key(|state| state.conversation);
        }
        Ok(())
    }

    async fn invites(&mut self) -> Result<(), DbErr> {
        let text = "SELECT i.user_id, i.group_id, g.name, i.by_id \
             FROM invitation i JOIN `group` g ON g.id = i.group_id WHERE i.user_id IN ";
        let rows: Vec<(i64, i64, String, i64)> =
            self.rows(text, " ORDER BY i.user_id, i.group_id").await?;
        for (user, group, called, by) in rows {
            let item = InviteItem {
                group: GroupId(unsql(group)),
                name: name(&called)?,
                by: UserId(unsql(by)),
            };
            if let Some(roster) = self.of(user) {
                roster.invites.push(item);
            }
        }
        Ok(())
    }

    async fn waiting(&mut self) -> Result<(), DbErr> {
        let text = "SELECT j.user_id, j.group_id, g.name \
             FROM join_request j JOIN `group` g ON g.id = j.group_id WHERE j.user_id IN ";
        let rows: Vec<(i64, i64, String)> =
            self.rows(text, " ORDER BY j.user_id, j.group_id").await?;
        for (user, group, called) in rows {
            let item = (GroupId(unsql(group)), name(&called)?);
            if let Some(roster) = self.of(user) {
                roster.waiting.push(item);
            }
        }
        Ok(())
    }

    async fn sessions(&mut self, now: Timestamp) -> Result<(), DbErr> {
        let text = "SELECT user_id, id, expires_at FROM session WHERE user_id IN ";
        for (user, session, expires) in self.rows(text, " ORDER BY user_id, id").await? {
            let stands = now < Timestamp(unsql(expires));
            if let (true, Some(roster)) = (stands, self.of(user)) {
                roster.sessions.push(SessionId(unsql(session)));
            }
        }
        Ok(())
    }
}

/// Reads a conversation from a member's side, and, where it is one, the group.
pub(super) fn state(
    columns: StateColumns,
) -> Result<Option<(ConversationState, Option<GroupItem>)>, DbErr> {
    let (
        id,
        low,
        high,
        last,
        user,
        role,
        joined,
        delivered,
        read,
        peer_delivered,
        peer_read,
        called,
    ) = columns;
    let (id, place, last) = conversation((id, low, high, last))?;
    let member = member((role, joined, delivered, read))?;
    let Some(conversation) = place.seen_by(UserId(unsql(user))) else {
        return Ok(None);
    };
    let peer = peer_delivered.zip(peer_read);
    let state = ConversationState {
        id,
        conversation,
        last,
        joined: member.joined,
        delivered: member.delivered,
        read: member.read,
        peer: peer.map(|(delivered, read)| (Seq(unsql(delivered)), Seq(unsql(read)))),
    };
    let group = match conversation {
        ConversationRef::Group(group) => Some(GroupItem {
            group,
            name: name(&called.unwrap_or_default())?,
            role: member.role,
        }),
        ConversationRef::User(_) => None,
    };
    Ok(Some((state, group)))
}

/// Reads the columns `other_id, name, state` of a friendship.
pub(super) fn friend((other, called, state): (i64, String, String)) -> Result<FriendItem, DbErr> {
    Ok(FriendItem {
        user: UserId(unsql(other)),
        name: name(&called)?,
        state: friend_state(&state)?,
        online: None,
    })
}
