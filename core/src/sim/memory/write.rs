//! From a view back into the tables, with the checks that a database's keys and locks would make.

use std::sync::Arc;

use crate::id::{ConversationId, GroupId, Place, Seq, UserId};
use crate::name::Key;
use crate::store::{Change, GroupRow, Kind, MemberRow, MessageRow, UserRow, View};

use super::tables::{Account, Conversation, Tables};

impl Tables {
    /// Writes what became of a view's rows.
    ///
    /// # Panics
    /// Where the rules changed a row that they had not locked, inserted one that is there, or
    /// broke a unique key: bugs of the rules, which a database would refuse or, worse, let pass.
    pub(super) fn write(&mut self, view: &View) {
        self.use_numbers(view);
        // Names and identities that become free first, so that the same transaction may take them.
        for change in view.users.changes() {
            self.free_unique(&change);
        }
        for change in view.users.changes() {
            self.write_user(view, &change);
        }
        for change in view.conversations.changes() {
            self.write_conversation(view, &change);
        }
        for change in view.groups.changes() {
            self.write_group(view, &change);
        }
        for change in view.members.changes() {
            self.write_member(view, &change);
        }
        for change in view.messages.changes() {
            self.write_message(view, &change);
        }
        for user in &view.blanked {
            self.blank(*user);
        }
        self.write_small(view);
    }

    /// Makes sure that no number is given out twice, not even that of a session which a later
    /// change of the same batch ended.
    fn use_numbers(&mut self, view: &View) {
        self.last_user = last_used(
            self.last_user,
            view.loaded.new_users,
            view.new_users.first().map(|id| id.0),
        );
        self.last_conversation = last_used(
            self.last_conversation,
            view.loaded.new_conversations,
            view.new_conversations.first().map(|id| id.0),
        );
        self.last_session = last_used(
            self.last_session,
            view.loaded.new_sessions,
            view.new_sessions.first().map(|id| id.0),
        );
    }

    fn free_unique(&mut self, change: &Change<'_, UserId, UserRow>) {
        if let Change::Update(user, row) = change
            && let Some(before) = self.users.get(user)
        {
            if before.row.name != row.name
                && let Some(name) = &before.row.name
            {
                self.names.remove(&name.key());
            }
            if before.row.identity != row.identity
                && let Some(identity) = &before.row.identity
            {
                self.identities.remove(identity);
            }
        }
    }

    fn write_user(&mut self, view: &View, change: &Change<'_, UserId, UserRow>) {
        let (user, row) = match *change {
            Change::Insert(user, row) => {
                let known = self.users.contains_key(user);
                assert!(!known, "{user:?} is inserted twice");
                (*user, row)
            }
            Change::Update(user, row) => {
                assert!(
                    view.loaded.users.contains(user),
                    "{user:?} is changed without a lock"
                );
                (*user, row)
            }
            Change::Delete(user) => unreachable_change("user", user),
        };
        if let Some(name) = &row.name {
            let taken = self.names.insert(name.key(), user);
            assert!(
                taken.is_none_or(|owner| owner == user),
                "the name {name} is taken"
            );
        }
        if let Some(identity) = row.identity {
            let taken = self.identities.insert(identity, user);
            assert!(
                taken.is_none_or(|owner| owner == user),
                "{identity:?} is somebody else's"
            );
        }
        let updated_at = view.now;
        let row = row.clone();
        self.users.insert(user, Account { row, updated_at });
    }

    fn write_conversation(
        &mut self,
        view: &View,
        change: &Change<'_, ConversationId, (Place, Seq)>,
    ) {
        let (conversation, (place, last)) = match *change {
            Change::Insert(conversation, row) => {
                let known = self.conversations.contains_key(conversation);
                assert!(!known, "{conversation:?} is inserted twice");
                if let Place::Direct(pair) = row.0 {
                    let other = self.pairs.insert(pair, *conversation);
                    assert!(other.is_none(), "{pair:?} has a conversation");
                }
                (*conversation, *row)
            }
            Change::Update(conversation, row) => {
                assert!(
                    view.loaded.places.contains(&row.0),
                    "{conversation:?} is changed without a lock"
                );
                (*conversation, *row)
            }
            Change::Delete(conversation) => unreachable_change("conversation", conversation),
        };
        let row = Conversation {
            place,
            last,
            updated_at: view.now,
        };
        self.conversations.insert(conversation, row);
    }

    fn write_group(&mut self, view: &View, change: &Change<'_, GroupId, GroupRow>) {
        let (group, row) = match *change {
            Change::Insert(group, row) => {
                assert!(
                    !self.groups.contains_key(group),
                    "{group:?} is inserted twice"
                );
                if let Some(key) = &row.key {
                    let other = self.group_keys.insert((row.creator, key.clone()), *group);
                    assert!(other.is_none(), "the key of {group:?} is taken");
                }
                (group, row)
            }
            Change::Update(group, row) => {
                assert!(
                    view.loaded.places.contains(&Place::Group(*group)),
                    "{group:?} is changed without a lock"
                );
                (group, row)
            }
            Change::Delete(group) => unreachable_change("group", group),
        };
        self.groups.insert(*group, row.clone());
    }

    fn write_member(
        &mut self,
        view: &View,
        change: &Change<'_, (ConversationId, UserId), MemberRow>,
    ) {
        let key = match *change {
            Change::Insert(key, _) | Change::Update(key, _) | Change::Delete(key) => *key,
        };
        let place = self.conversations.get(&key.0).map(|row| row.place);
        let inserted = view
            .conversations
            .changes()
            .any(|change| matches!(change, Change::Insert(id, _) if *id == key.0));
        assert!(
            inserted || place.is_some_and(|place| view.loaded.places.contains(&place)),
            "{key:?} is changed without a lock"
        );
        match *change {
            Change::Insert(_, row) => {
                let before = self.members.insert(key, *row);
                assert!(before.is_none(), "{key:?} is inserted twice");
                self.memberships.insert((key.1, key.0));
            }
            Change::Update(_, row) => {
                if let Some(stored) = self.members.get_mut(&key) {
                    stored.role = row.role;
                    stored.joined = row.joined;
                    stored.delivered = stored.delivered.max(row.joined.previous());
                    stored.read = stored.read.max(row.joined.previous());
                }
            }
            Change::Delete(_) => {
                self.members.remove(&key);
                self.memberships.remove(&(key.1, key.0));
            }
        }
    }

    fn write_message(
        &mut self,
        view: &View,
        change: &Change<'_, (ConversationId, Seq), MessageRow>,
    ) {
        match *change {
            Change::Insert(key, row) => {
                let last = self.conversations.get(&key.0).map(|row| row.last);
                assert!(last >= Some(key.1), "{key:?} is above the log's end");
                let is_next = self.messages.append(key.0, key.1, row.clone());
                assert!(is_next, "{key:?} is not the next one of its log");
                if let Kind::Text { key: sent, .. } = &row.kind {
                    self.take_key(row.from, sent, *key);
                }
            }
            Change::Update(key, row) => {
                let place = self.conversations.get(&key.0).map(|row| row.place);
                assert!(
                    place.is_some_and(|place| view.loaded.places.contains(&place)),
                    "{key:?} is changed without a lock"
                );
                if let Some(stored) = self.messages.get_mut(key.0, key.1) {
                    row.clone_into(stored);
                }
            }
            Change::Delete(key) => unreachable_change("message", key),
        }
    }

    fn take_key(&mut self, sender: UserId, key: &Key, at: (ConversationId, Seq)) {
        let other = self.keys.insert((sender, key.clone()), at);
        assert!(other.is_none(), "the key of {at:?} is taken");
    }

    /// Erases every text of a user.
    fn blank(&mut self, user: UserId) {
        for row in self.messages.all_mut() {
            if row.from == user
                && let Kind::Text {
                    text,
                    meta,
                    recalled,
                    ..
                } = &mut row.kind
            {
                *text = Arc::from("");
                *meta = None;
                *recalled = true;
            }
        }
    }

    fn write_small(&mut self, view: &View) {
        for change in view.sessions.changes() {
            match change {
                Change::Insert(session, row) | Change::Update(session, row) => {
                    self.sessions.insert(*session, row.clone());
                }
                Change::Delete(session) => {
                    self.sessions.remove(session);
                }
            }
        }
        for change in view.friendships.changes() {
            match change {
                Change::Insert(key, state) | Change::Update(key, state) => {
                    self.friendships.insert(*key, *state);
                }
                Change::Delete(key) => {
                    self.friendships.remove(key);
                }
            }
        }
        for change in view.invitations.changes() {
            match change {
                Change::Insert(key, row) | Change::Update(key, row) => {
                    self.invitations.insert(*key, *row);
                }
                Change::Delete(key) => {
                    self.invitations.remove(key);
                }
            }
        }
        for change in view.join_requests.changes() {
            match change {
                Change::Insert(key, ()) | Change::Update(key, ()) => {
                    self.join_requests.insert(*key);
                }
                Change::Delete(key) => {
                    self.join_requests.remove(key);
                }
            }
        }
    }
}

/// The highest number that was used, of so many above `last`, where `next` is the first that was
/// not.
fn last_used(last: u64, ready: usize, next: Option<u64>) -> u64 {
    match next {
        Some(next) => next.saturating_sub(1),
        None => last.saturating_add(u64::try_from(ready).unwrap_or(u64::MAX)),
    }
}

/// Stops at a change that the rules never make.
#[expect(clippy::panic, reason = "a bug of the rules")]
fn unreachable_change(table: &str, key: &impl std::fmt::Debug) -> ! {
    panic!("a row of {table} is deleted: {key:?}")
}
