//! From the tables into a view: what a read set names, and nothing else.

use std::ops::Range;
use std::sync::Arc;

use crate::id::{ConversationId, Place, SessionId, UserId};
use crate::name::Key;
use crate::store::{Count, Kind, ReadSet, StoredKey, View};

use super::tables::Tables;

impl Tables {
    /// Loads the rows that a view says are loaded.
    pub(super) fn load(&self, view: &mut View) {
        let loaded = Arc::clone(&view.loaded);
        self.load_set(&loaded, view);
    }

    fn load_set(&self, set: &ReadSet, view: &mut View) {
        for user in &set.users {
            let row = self.users.get(user).map(|account| account.row.clone());
            view.users.load(*user, row);
        }
        for name in &set.names {
            view.names.load(name.clone(), self.names.get(name).copied());
        }
        for identity in &set.identities {
            let owner = self.identities.get(identity).copied();
            view.identities.load(*identity, owner);
        }
        for place in &set.places {
            self.load_place(*place, view);
        }
        if !set.sessions_of.is_empty() {
            let sessions = self.sessions.iter();
            for (session, row) in sessions.filter(|it| set.sessions_of.contains(&it.1.user)) {
                view.sessions.load(*session, Some(row.clone()));
            }
        }
        self.load_friendships(set, view);
        self.load_members(set, view);
        self.load_invitations(set, view);
        self.load_join_requests(set, view);
        self.load_messages(set, view);
        for count in &set.counts {
            view.counts.insert(*count, self.count(*count));
        }
        let users = numbers(self.last_user, set.new_users);
        view.new_users.extend(users.map(UserId));
        let conversations = numbers(self.last_conversation, set.new_conversations);
        view.new_conversations
            .extend(conversations.map(ConversationId));
        let sessions = numbers(self.last_session, set.new_sessions);
        view.new_sessions.extend(sessions.map(SessionId));
    }

    fn load_place(&self, place: Place, view: &mut View) {
        let conversation = match place {
            Place::Direct(pair) => {
                let conversation = self.pairs.get(&pair).copied();
                view.pairs.load(pair, conversation);
                conversation
            }
            Place::Group(group) => {
                view.groups.load(group, self.groups.get(&group).cloned());
                // The number may be that of a direct conversation: loaded as what it is, since
                // another change of the batch may be about that one.
                Some(group.conversation())
            }
        };
        if let Some(conversation) = conversation {
            self.load_conversation(conversation, view);
        }
    }

    fn load_conversation(&self, conversation: ConversationId, view: &mut View) {
        let row = self
            .conversations
            .get(&conversation)
            .map(|row| (row.place, row.last));
        view.conversations.load(conversation, row);
    }

    fn load_friendships(&self, set: &ReadSet, view: &mut View) {
        for key in &set.friendships {
            view.friendships
                .load(*key, self.friendships.get(key).copied());
        }
        if set.friendships_of.is_empty() {
            return;
        }
        for (key, state) in &self.friendships {
            if set.friendships_of.contains(&key.0) || set.friendships_of.contains(&key.1) {
                view.friendships.load(*key, Some(*state));
            }
        }
    }

    fn load_members(&self, set: &ReadSet, view: &mut View) {
        for (place, user) in &set.members {
            if let Some(conversation) = self.find_place(*place) {
                let key = (conversation, *user);
                view.members.load(key, self.members.get(&key).copied());
            }
        }
        for place in &set.members_of {
            if let Some(conversation) = self.find_place(*place) {
                for (user, row) in self.members_of(conversation) {
                    view.members.load((conversation, user), Some(*row));
                }
            }
        }
        for user in &set.memberships_of {
            for conversation in self.memberships_of(*user) {
                let key = (conversation, *user);
                view.members.load(key, self.members.get(&key).copied());
                self.load_conversation(conversation, view);
            }
        }
    }

    fn load_invitations(&self, set: &ReadSet, view: &mut View) {
        for key in &set.invitations {
            view.invitations
                .load(*key, self.invitations.get(key).copied());
        }
        for (key, row) in &self.invitations {
            if set.invitations_to.contains(&key.0) || set.invitations_of.contains(&key.1) {
                view.invitations.load(*key, Some(*row));
            }
        }
    }

    fn load_join_requests(&self, set: &ReadSet, view: &mut View) {
        for key in &set.join_requests {
            let row = self.join_requests.contains(key).then_some(());
            view.join_requests.load(*key, row);
        }
        for key in &self.join_requests {
            if set.join_requests_to.contains(&key.0) || set.join_requests_of.contains(&key.1) {
                view.join_requests.load(*key, Some(()));
            }
        }
    }

    fn load_messages(&self, set: &ReadSet, view: &mut View) {
        for key in &set.keys {
            view.keys.load(key.clone(), self.stored_key(key));
        }
        for key in &set.group_keys {
            view.group_keys
                .load(key.clone(), self.group_keys.get(key).copied());
        }
        for (place, seq) in &set.messages {
            if let Some(conversation) = self.find_place(*place) {
                let key = (conversation, *seq);
                let row = self.messages.get(conversation, *seq);
                view.messages.load(key, row.cloned());
            }
        }
    }

    fn stored_key(&self, key: &(UserId, Key)) -> Option<StoredKey> {
        let (conversation, seq) = *self.keys.get(key)?;
        let row = self.messages.get(conversation, seq)?;
        match &row.kind {
            Kind::Text { digest, .. } => Some(StoredKey {
                conversation,
                seq,
                at: row.at,
                digest: *digest,
            }),
            _ => None,
        }
    }

    fn count(&self, count: Count) -> u64 {
        let rows = match count {
            Count::Friendships(user) => self.friendships_of(user).count(),
            Count::Conversations(user) => self.memberships_of(user).count(),
            Count::Groups(user) => self
                .memberships_of(user)
                .filter_map(|conversation| self.conversations.get(&conversation))
                .filter(|row| matches!(row.place, Place::Group(_)))
                .count(),
            Count::Members(group) => self.members_of(group.conversation()).count(),
            Count::Invitations(user) => self.invitations.keys().filter(|key| key.1 == user).count(),
            Count::JoinRequests(group) => self
                .join_requests
                .iter()
                .filter(|key| key.0 == group)
                .count(),
        };
        u64::try_from(rows).unwrap_or(u64::MAX)
    }
}

/// So many numbers above the last one.
fn numbers(last: u64, count: usize) -> Range<u64> {
    let first = last.saturating_add(1);
    first..first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
}
