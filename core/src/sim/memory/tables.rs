//! The tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use crate::identity::Identity;
use crate::log::{Entry, FriendState};
use crate::name::{Key, NameKey};
use crate::protocol::request::UserRef;
use crate::rules::read;
use crate::store::{
    GroupRow, InvitationRow, Kind, Mark, MemberRow, MessageRow, SessionRow, UserRow,
};
use crate::time::Timestamp;

use super::logs::Logs;

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) users: BTreeMap<UserId, Account>,
    /// Unique: whose each name is.
    pub(super) names: BTreeMap<NameKey, UserId>,
    /// Unique: whose each identity is.
    pub(super) identities: BTreeMap<Identity, UserId>,
    pub(super) sessions: BTreeMap<SessionId, SessionRow>,
    pub(super) friendships: BTreeMap<(UserId, UserId), FriendState>,
    pub(super) conversations: BTreeMap<ConversationId, Conversation>,
    /// Unique: the direct conversation of each pair.
    pub(super) pairs: BTreeMap<Pair, ConversationId>,
    pub(super) groups: BTreeMap<GroupId, GroupRow>,
    /// Unique: the group that each creator's key made.
    pub(super) group_keys: BTreeMap<(UserId, Key), GroupId>,
    pub(super) members: BTreeMap<(ConversationId, UserId), MemberRow>,
    /// The keys of `members`, by user.
    pub(super) memberships: BTreeSet<(UserId, ConversationId)>,
    pub(super) invitations: BTreeMap<(GroupId, UserId), InvitationRow>,
    pub(super) join_requests: BTreeSet<(GroupId, UserId)>,
    pub(super) messages: Logs,
    /// Unique: where each sender's key was used.
    pub(super) keys: BTreeMap<(UserId, Key), (ConversationId, Seq)>,
    /// The highest numbers that were given out.
    pub(super) last_user: u64,
    pub(super) last_conversation: u64,
    pub(super) last_session: u64,
}

/// A row of `user`.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) row: UserRow,
    pub(super) updated_at: Timestamp,
}

/// A row of `conversation`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversation {
    pub(super) place: Place,
    pub(super) last: Seq,
    pub(super) updated_at: Timestamp,
}

impl Tables {
    /// Finds an account; `None` where there is none or it was deleted.
    pub(super) fn find_user(&self, who: &UserRef) -> Option<UserId> {
        let user = match who {
            UserRef::Id(user) => *user,
            UserRef::Name(name) => *self.names.get(&name.key())?,
        };
        self.users.get(&user)?.row.name.is_some().then_some(user)
    }

    /// Finds a conversation; `None` where there is none.
    pub(super) fn find_place(&self, place: Place) -> Option<ConversationId> {
        match place {
            Place::Direct(pair) => self.pairs.get(&pair).copied(),
            Place::Group(group) => self
                .groups
                .contains_key(&group)
                .then(|| group.conversation()),
        }
    }

    /// The members of a conversation, ascending.
    pub(super) fn members_of(
        &self,
        conversation: ConversationId,
    ) -> impl Iterator<Item = (UserId, &MemberRow)> {
        self.members
            .range((conversation, UserId(0))..=(conversation, UserId(u64::MAX)))
            .map(|((_, user), row)| (*user, row))
    }

    /// The conversations of a user, ascending by number.
    pub(super) fn memberships_of(&self, user: UserId) -> impl Iterator<Item = ConversationId> {
        self.memberships
            .range((user, ConversationId(0))..=(user, ConversationId(u64::MAX)))
            .map(|(_, conversation)| *conversation)
    }

    /// What others are to a user, ascending.
    pub(super) fn friendships_of(
        &self,
        user: UserId,
    ) -> impl Iterator<Item = (UserId, FriendState)> {
        self.friendships
            .range((user, UserId(0))..=(user, UserId(u64::MAX)))
            .map(|((_, other), state)| (*other, *state))
    }

    /// Raises cursors.
    pub(super) fn mark(&mut self, mark: Mark) {
        let Some(conversation) = self.conversations.get(&mark.conversation) else {
            return;
        };
        let Some(member) = self.members.get_mut(&(mark.conversation, mark.user)) else {
            return;
        };
        // What was read has arrived.
        let delivered = mark.delivered.max(mark.read);
        if let Some(raised) = read::raised(member, &Mark { delivered, ..mark }, conversation.last) {
            *member = raised;
        }
    }

    /// The whole log of a conversation.
    pub(super) fn log(&self, place: Place) -> Vec<Arc<Entry>> {
        let Some(conversation) = self.find_place(place) else {
            return Vec::new();
        };
        self.messages
            .range(conversation, Seq(1)..=Seq(u64::MAX))
            .filter_map(|(seq, row)| self.as_read(conversation, seq, row))
            .collect()
    }

    /// An entry as readers get it.
    pub(super) fn entry(&self, conversation: ConversationId, seq: Seq) -> Option<Arc<Entry>> {
        self.as_read(conversation, seq, self.messages.get(conversation, seq)?)
    }

    /// An entry as readers get it, of its row.
    pub(super) fn as_read(
        &self,
        conversation: ConversationId,
        seq: Seq,
        row: &MessageRow,
    ) -> Option<Arc<Entry>> {
        let place = self.conversations.get(&conversation)?.place;
        let target_text = match &row.kind {
            Kind::Edit { target } => self
                .messages
                .get(conversation, *target)
                .and_then(read::present_text),
            _ => None,
        };
        let entry = read::entry(conversation, place, seq, row, target_text);
        Some(Arc::new(entry))
    }
}
