//! Rosters: everything that a node knows of a user who is online, of many users at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlor_core::id::{ConversationRef, GroupId, Seq, SessionId, UserId};
use parlor_core::log::Role;
use parlor_core::name::Name;
use parlor_core::protocol::reply::{FriendItem, GroupItem, InviteItem};
use parlor_core::store::{ConversationState, Roster};
use parlor_core::time::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult};

use crate::convert::{column, conversation, friend_state, member, name, number, optional};
use crate::dialect::Dialect;
use crate::sql::Sql;

/// How many rosters are read with one set of queries.
const TOGETHER: usize = 64;

/// What begins a query of memberships with all that [`state`] reads; a condition on the user
/// follows.
macro_rules! state_columns {
    () => {
        "SELECT m.user_id, c.id, c.low_id, c.high_id, c.last_seq, \
         m.role, m.joined_seq, m.delivered_seq, m.read_seq, \
         p.delivered_seq, p.read_seq, g.name \
         FROM member m JOIN conversation c ON c.id = m.conversation_id \
         LEFT JOIN member p ON p.conversation_id = c.id \
         AND p.user_id = c.low_id + c.high_id - m.user_id \
         LEFT JOIN `group` g ON g.id = c.id WHERE m.user_id"
    };
}
pub(super) use state_columns;

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
    async fn rows(&self, text: &'static str, end: &'static str) -> Result<Vec<QueryResult>, DbErr> {
        let sql = Sql::new(self.dialect, text).list(self.users).then(end);
        sql.all(self.transaction).await
    }

    /// Returns the roster of the user whom a row's first column names.
    fn of(&mut self, row: &QueryResult) -> Result<Option<&mut Roster>, DbErr> {
        let user = UserId(number(row, 0)?);
        Ok(self.found.get_mut(&user).map(|(_, roster)| roster))
    }

    async fn accounts(&mut self) -> Result<(), DbErr> {
        let text = "SELECT id, name, version, locked FROM `user` \
             WHERE name IS NOT NULL AND id IN ";
        for row in self.rows(text, "").await? {
            let user = UserId(number(&row, 0)?);
            let roster = Roster {
                user,
                name: named(&row, 1)?,
                version: number(&row, 2)?,
                friends: Vec::new(),
                groups: Vec::new(),
                invites: Vec::new(),
                waiting: Vec::new(),
                conversations: Vec::new(),
                sessions: Vec::new(),
            };
            self.found.insert(user, (column(&row, 3)?, roster));
        }
        Ok(())
    }

    async fn friends(&mut self) -> Result<(), DbErr> {
        let text = "SELECT f.user_id, f.other_id, u.name, f.state \
             FROM friendship f JOIN `user` u ON u.id = f.other_id \
             WHERE u.name IS NOT NULL AND f.user_id IN ";
        let end = " ORDER BY f.user_id, f.other_id";
        for row in self.rows(text, end).await? {
            let item = friend(&row, 1)?;
            if let Some(roster) = self.of(&row)? {
                roster.friends.push(item);
            }
        }
        Ok(())
    }

    async fn conversations(&mut self) -> Result<(), DbErr> {
        let end = " ORDER BY m.user_id, c.id";
        for row in self.rows(concat!(state_columns!(), " IN "), end).await? {
            let user = UserId(number(&row, 0)?);
            let Some((state, group)) = state(&row, user)? else {
                continue;
            };
            if let Some(roster) = self.of(&row)? {
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
        for row in self.rows(text, " ORDER BY i.user_id, i.group_id").await? {
            let item = InviteItem {
                group: GroupId(number(&row, 1)?),
                name: named(&row, 2)?,
                by: UserId(number(&row, 3)?),
            };
            if let Some(roster) = self.of(&row)? {
                roster.invites.push(item);
            }
        }
        Ok(())
    }

    async fn waiting(&mut self) -> Result<(), DbErr> {
        let text = "SELECT j.user_id, j.group_id, g.name \
             FROM join_request j JOIN `group` g ON g.id = j.group_id WHERE j.user_id IN ";
        for row in self.rows(text, " ORDER BY j.user_id, j.group_id").await? {
            let item = (GroupId(number(&row, 1)?), named(&row, 2)?);
            if let Some(roster) = self.of(&row)? {
                roster.waiting.push(item);
            }
        }
        Ok(())
    }

    async fn sessions(&mut self, now: Timestamp) -> Result<(), DbErr> {
        let text = "SELECT user_id, id, expires_at FROM session WHERE user_id IN ";
        for row in self.rows(text, " ORDER BY user_id, id").await? {
            let session = SessionId(number(&row, 1)?);
            let stands = now < Timestamp(number(&row, 2)?);
            if let (true, Some(roster)) = (stands, self.of(&row)?) {
                roster.sessions.push(session);
            }
        }
        Ok(())
    }
}

/// Reads a conversation from a user's side, and, where it is one, the group.
pub(super) fn state(
    row: &QueryResult,
    user: UserId,
) -> Result<Option<(ConversationState, Option<GroupItem>)>, DbErr> {
    let (id, place, last) = conversation(row, 1)?;
    let member = member(row, 5)?;
    let Some(conversation) = place.seen_by(user) else {
        return Ok(None);
    };
    let peer = optional(row, 9)?.zip(optional(row, 10)?);
    let state = ConversationState {
        id,
        conversation,
        last,
        joined: member.joined,
        delivered: member.delivered,
        read: member.read,
        peer: peer.map(|(delivered, read)| (Seq(delivered), Seq(read))),
    };
    let group = match conversation {
        ConversationRef::Group(group) => Some(group_item(group, named(row, 11)?, member.role)),
        ConversationRef::User(_) => None,
    };
    Ok(Some((state, group)))
}

const fn group_item(group: GroupId, name: Name, role: Role) -> GroupItem {
    GroupItem { group, name, role }
}

/// Reads `other_id, name, state` from a column on.
pub(super) fn friend(row: &QueryResult, first: usize) -> Result<FriendItem, DbErr> {
    Ok(FriendItem {
        user: UserId(number(row, first)?),
        name: named(row, first + 1)?,
        state: friend_state(&column::<String>(row, first + 2)?)?,
        online: None,
    })
}

/// Reads a name.
pub(super) fn named(row: &QueryResult, index: usize) -> Result<Name, DbErr> {
    name(&column::<String>(row, index)?)
}
