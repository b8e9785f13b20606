//! Reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::{ConversationId, ConversationRef, GroupId, Place, Seq, SessionId, UserId};
use crate::log::{Entry, FriendState};
use crate::name::Name;
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, Listing, MemberItem, UserItem,
};
use crate::protocol::request::{Anchor, UserRef};
use crate::protocol::{ErrorCode, RequestError};
use crate::rules::read::{self as rights, GroupFacts};
use crate::store::{
    Account, ConversationState, Head, MemberRow, MessageRef, Page, Read, ReadDone, Roster,
    StoredEntry,
};
use crate::time::Timestamp;

use super::tables::{Conversation, Tables};

impl Tables {
    /// Reads.
    pub(super) fn read(&self, read: Read, now: Timestamp) -> Result<ReadDone, RequestError> {
        Ok(match read {
            Read::Rosters(users) => self.rosters(users, now),
            Read::Heads {
                conversations,
                users,
            } => self.heads(conversations, users),
            Read::Fetch {
                conversation,
                after,
                limit,
                bytes,
            } => ReadDone::Page(self.page(conversation, after, limit, bytes)),
            Read::Changes {
                since,
                conversations_after,
                users_after,
                limit,
            } => self.changes(since, conversations_after, users_after, limit, now),
            Read::User { reader, who } => self.user(reader, &who)?,
            Read::Friends {
                reader,
                after,
                limit,
            } => ReadDone::Friends(cut_after(self.friends(reader), after, limit, |item| {
                item.user
            })),
            Read::Groups {
                reader,
                after,
                limit,
            } => ReadDone::Groups(cut_after(self.groups_of(reader), after, limit, |item| {
                item.group
            })),
            Read::Conversations {
                reader,
                after,
                limit,
            } => ReadDone::Conversations(cut_after(
                self.conversations_of(reader).into_iter().map(item),
                after,
                limit,
                |item| item.conversation,
            )),
            Read::Group { reader, group } => ReadDone::Group(Box::new(self.group(reader, group)?)),
            Read::Members {
                reader,
                group,
                after,
                limit,
            } => self.members_page(reader, group, after, limit)?,
            Read::Requests {
                reader,
                group,
                after,
                limit,
            } => self.requests_page(reader, group, after, limit)?,
            Read::Account(who) => ReadDone::Account(Box::new(self.account(&who, now)?)),
            Read::Entry(message) => ReadDone::Entry(self.stored_entry(&message)?),
            Read::History {
                reader,
                place,
                anchor,
                limit,
                bytes,
            } => self.history(reader, place, anchor, limit, bytes)?,
        })
    }

    fn rosters(&self, users: Vec<UserId>, now: Timestamp) -> ReadDone {
        let users = BTreeSet::from_iter(users).into_iter();
        let found = users.filter_map(|user| self.roster(user, now));
        ReadDone::Rosters(found.map(Arc::new).collect())
    }

    fn account(&self, who: &UserRef, now: Timestamp) -> Result<Account, RequestError> {
        let user = self.find_user(who).ok_or(ErrorCode::NoSuchUser)?;
        let row = self.users.get(&user).map(|account| &account.row);
        let sessions = self.sessions.iter();
        let sessions = sessions.filter(|(_, row)| row.user == user && now < row.expires);
        let sessions = sessions.map(|(session, row)| (*session, row.clone()));
        rights::account(user, row, sessions.collect())
    }

    fn stored_entry(&self, message: &MessageRef) -> Result<StoredEntry, RequestError> {
        let found = match message {
            MessageRef::Key { from, key } => {
                let from = self.find_user(from).ok_or(ErrorCode::NoSuchUser)?;
                self.keys.get(&(from, key.clone())).copied()
            }
            MessageRef::Entry { place, seq } => self.find_place(*place).map(|it| (it, *seq)),
        };
        let (conversation, seq) = found.ok_or(ErrorCode::NoSuchMessage)?;
        let entry = self.entry(conversation, seq);
        let entry = entry.ok_or(ErrorCode::NoSuchMessage)?;
        Ok(StoredEntry {
            conversation,
            place: entry.place,
            seq,
            from: entry.from,
            at: entry.at,
        })
    }

    /// What a user's sessions know.
    pub(super) fn roster(&self, user: UserId, now: Timestamp) -> Option<Roster> {
        let account = self.users.get(&user)?;
        let invites = self
            .invitations
            .iter()
            .filter(|((_, invited), _)| *invited == user)
            .filter_map(|((group, _), row)| {
                Some(InviteItem {
                    group: *group,
                    name: self.groups.get(group)?.name.clone(),
                    by: row.by,
                })
            });
        let waiting = self
            .join_requests
            .iter()
            .filter(|(_, waits)| *waits == user)
            .filter_map(|(group, _)| Some((*group, self.groups.get(group)?.name.clone())));
        let sessions = self
            .sessions
            .iter()
            .filter(|(_, row)| row.user == user && now < row.expires);
        Some(Roster {
            user,
            name: account.row.name.clone()?,
            version: account.row.version,
            friends: self.friends(user).collect(),
            groups: self.groups_of(user).collect(),
            invites: invites.collect(),
            waiting: waiting.collect(),
            conversations: self.conversations_of(user),
            sessions: sessions
                .map(|(session, _)| *session)
                .collect::<Vec<SessionId>>(),
        })
    }

    fn heads(&self, conversations: Vec<ConversationId>, users: Vec<UserId>) -> ReadDone {
        let heads = BTreeSet::from_iter(conversations)
            .into_iter()
            .filter_map(|conversation| {
                let row = self.conversations.get(&conversation)?;
                Some(head(conversation, row))
            });
        let versions = BTreeSet::from_iter(users).into_iter().filter_map(|user| {
            let row = &self.users.get(&user)?.row;
            row.name.as_ref().map(|_| (user, row.version))
        });
        ReadDone::Heads {
            heads: heads.collect(),
            versions: versions.collect(),
        }
    }

    fn page(&self, conversation: ConversationId, after: Seq, limit: u32, bytes: u32) -> Page {
        let entries = self
            .messages
            .range(conversation, after.next()..=Seq(u64::MAX))
            .filter_map(|(seq, row)| self.as_read(conversation, seq, row));
        Page {
            conversation,
            after,
            entries: budget(entries, limit, bytes).0,
            last: self
                .conversations
                .get(&conversation)
                .map_or(Seq(0), |row| row.last),
        }
    }

    fn changes(
        &self,
        since: Option<Timestamp>,
        conversations_after: Option<(Timestamp, ConversationId)>,
        users_after: Option<(Timestamp, UserId)>,
        limit: u32,
        now: Timestamp,
    ) -> ReadDone {
        let limit = count(limit);
        let mut conversations = Vec::new();
        let mut users = Vec::new();
        if let Some(since) = since {
            conversations.extend(self.conversations.iter().filter_map(|(id, row)| {
                let position = (row.updated_at, *id);
                (row.updated_at >= since
                    && conversations_after.is_none_or(|after| position > after))
                .then(|| (row.updated_at, head(*id, row)))
            }));
            users.extend(self.users.iter().filter_map(|(user, account)| {
                let position = (account.updated_at, *user);
                (account.updated_at >= since && users_after.is_none_or(|after| position > after))
                    .then_some((account.updated_at, *user, account.row.version))
            }));
        }
        conversations.sort_by_key(|(at, head)| (*at, head.conversation));
        conversations.truncate(limit);
        users.sort_by_key(|(at, user, _)| (*at, *user));
        users.truncate(limit);
        ReadDone::Changes {
            as_of: now,
            conversations,
            users,
        }
    }

    fn user(&self, reader: UserId, who: &UserRef) -> Result<ReadDone, RequestError> {
        let user = self.find_user(who).ok_or(ErrorCode::NoSuchUser)?;
        let row = self.users.get(&user).map(|account| &account.row);
        rights::user(user, row, self.friendship(reader, user))
    }

    fn group(&self, reader: UserId, group: GroupId) -> Result<GroupReply, RequestError> {
        let conversation = group.conversation();
        let members = self.members_of(conversation).count();
        let facts = GroupFacts {
            member: self.member(reader, group),
            invited: self.invitations.contains_key(&(group, reader)),
            members: u64::try_from(members).unwrap_or(u64::MAX),
            last: self
                .conversations
                .get(&conversation)
                .map_or(Seq(0), |row| row.last),
        };
        rights::group(group, self.groups.get(&group), facts)
    }

    fn members_page(
        &self,
        reader: UserId,
        group: GroupId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<ReadDone, RequestError> {
        rights::members(self.groups.get(&group), self.member(reader, group))?;
        let members = self
            .members_of(group.conversation())
            .filter(|(user, _)| after.is_none_or(|after| *user > after))
            .filter_map(|(user, row)| {
                Some(MemberItem {
                    user,
                    name: self.name(user)?,
                    role: row.role,
                    online: rights::member_online(
                        self.friendship(reader, user),
                        self.friendship(user, reader),
                    ),
                })
            });
        Ok(ReadDone::Members(cut(members, limit)))
    }

    fn requests_page(
        &self,
        reader: UserId,
        group: GroupId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<ReadDone, RequestError> {
        rights::requests(self.groups.get(&group), self.member(reader, group))?;
        let requests = self
            .join_requests
            .iter()
            .filter(|(to, user)| *to == group && after.is_none_or(|after| *user > after))
            .filter_map(|(_, user)| {
                let name = self.name(*user)?;
                Some(UserItem { user: *user, name })
            });
        Ok(ReadDone::Requests(cut(requests, limit)))
    }

    fn history(
        &self,
        reader: UserId,
        place: Place,
        anchor: Anchor,
        limit: u32,
        bytes: u32,
    ) -> Result<ReadDone, RequestError> {
        let (conversation, joined) = self.readable(reader, place)?;
        let (low, high) = match anchor {
            Anchor::Newest => (joined, Seq(u64::MAX)),
            Anchor::After(seq) => (joined.max(seq.next()), Seq(u64::MAX)),
            Anchor::Before(Seq(0)) => (Seq(1), Seq(0)),
            Anchor::Before(seq) => (joined, seq.previous()),
        };
        if low > high {
            return Ok(ReadDone::History {
                entries: Vec::new(),
                more: false,
            });
        }
        let found = self
            .messages
            .range(conversation, low..=high)
            .filter_map(|(seq, row)| self.as_read(conversation, seq, row));
        let (entries, more) = match anchor {
            Anchor::After(_) => budget(found, limit, bytes),
            Anchor::Newest | Anchor::Before(_) => {
                let (mut entries, more) = budget(found.rev(), limit, bytes);
                entries.reverse();
                (entries, more)
            }
        };
        Ok(ReadDone::History { entries, more })
    }

    /// The conversation of a place and the first entry that a reader may see.
    fn readable(
        &self,
        reader: UserId,
        place: Place,
    ) -> Result<(ConversationId, Seq), RequestError> {
        let conversation = self.find_place(place);
        let member = conversation.and_then(|id| self.members.get(&(id, reader)));
        let first = match place {
            Place::Direct(pair) => {
                let other = pair.other(reader).and_then(|other| self.users.get(&other));
                rights::direct_log(member, other.map(|account| &account.row))?
            }
            Place::Group(group) => rights::group_log(self.groups.get(&group), member)?,
        };
        conversation
            .map(|conversation| (conversation, first))
            .ok_or_else(|| ErrorCode::NotFriends.into())
    }

    fn friends(&self, user: UserId) -> impl Iterator<Item = FriendItem> {
        self.friendships_of(user).filter_map(|(other, state)| {
            Some(FriendItem {
                user: other,
                name: self.name(other)?,
                state,
                online: None,
            })
        })
    }

    fn groups_of(&self, user: UserId) -> impl Iterator<Item = GroupItem> {
        self.memberships_of(user).filter_map(move |conversation| {
            let row = self.members.get(&(conversation, user))?;
            match self.conversations.get(&conversation)?.place {
                Place::Group(group) => Some(GroupItem {
                    group,
                    name: self.groups.get(&group)?.name.clone(),
                    role: row.role,
                }),
                Place::Direct(_) => None,
            }
        })
    }

    fn conversations_of(&self, user: UserId) -> Vec<ConversationState> {
        let mut states: Vec<ConversationState> = self
            .memberships_of(user)
            .filter_map(|id| {
                let row = self.conversations.get(&id)?;
                let member = self.members.get(&(id, user))?;
                let conversation = row.place.seen_by(user)?;
                let peer = match conversation {
                    ConversationRef::User(other) => self
                        .members
                        .get(&(id, other))
                        .map(|peer| (peer.delivered, peer.read)),
                    ConversationRef::Group(_) => None,
                };
                Some(ConversationState {
                    id,
                    conversation,
                    last: row.last,
                    joined: member.joined,
                    delivered: member.delivered,
                    read: member.read,
                    peer,
                })
            })
            .collect();
        states.sort_by_key(|state| state.conversation);
        states
    }

    fn name(&self, user: UserId) -> Option<Name> {
        self.users.get(&user)?.row.name.clone()
    }

    fn friendship(&self, user: UserId, other: UserId) -> FriendState {
        self.friendships
            .get(&(user, other))
            .copied()
            .unwrap_or_default()
    }

    /// A user's row in a group; none where the number is that of a direct conversation.
    fn member(&self, user: UserId, group: GroupId) -> Option<&MemberRow> {
        let conversation = self.find_place(Place::Group(group))?;
        self.members.get(&(conversation, user))
    }
}

fn head(conversation: ConversationId, row: &Conversation) -> Head {
    Head {
        conversation,
        place: row.place,
        last: row.last,
    }
}

fn item(state: ConversationState) -> ConversationItem {
    ConversationItem {
        conversation: state.conversation,
        last: state.last,
        delivered: state.delivered,
        read: state.read,
        peer: state.peer,
    }
}

/// The first items behind a position, and whether more follow.
fn cut_after<T, P: Ord + Copy>(
    items: impl Iterator<Item = T>,
    after: Option<P>,
    limit: u32,
    position: impl Fn(&T) -> P,
) -> Listing<T> {
    let behind = |item: &T| after.is_none_or(|after| position(item) > after);
    cut(items.filter(behind), limit)
}

/// The first items, and whether more follow.
fn cut<T>(mut items: impl Iterator<Item = T>, limit: u32) -> Listing<T> {
    let page = items.by_ref().take(count(limit)).collect();
    Listing {
        items: page,
        more: items.next().is_some(),
    }
}

/// The first entries up to a limit in number and in bytes, but at least one, and whether more
/// follow.
fn budget(
    entries: impl Iterator<Item = Arc<Entry>>,
    limit: u32,
    bytes: u32,
) -> (Vec<Arc<Entry>>, bool) {
    let (limit, mut left) = (count(limit).max(1), count(bytes));
    let mut page = Vec::new();
    for entry in entries {
        let weight = rights::text_bytes(&entry);
        if page.len() == limit || (weight > left && !page.is_empty()) {
            return (page, true);
        }
        left = left.saturating_sub(weight);
        page.push(entry);
    }
    (page, false)
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
