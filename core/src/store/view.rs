//! The rows that a transaction has loaded, and what became of them.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use crate::identity::Identity;
use crate::log::FriendState;
use crate::name::{Key, NameKey};
use crate::sorted::{SortedMap, SortedSet};
use crate::store::rows::{
    Count, GroupRow, InvitationRow, MemberRow, MessageRow, SessionRow, StoredKey, UserRow,
};
use crate::time::Timestamp;

/// The limits that the rules keep; each leads to `limit`, but the first, which ends the oldest
/// session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions per user.
    pub sessions: u32,
    /// Friendships per user, of every state.
    pub friends: u32,
    /// Groups per user.
    pub groups: u32,
    /// Conversations per user, direct (also with former friends) and group.
    pub conversations: u32,
    /// Members per group.
    pub members: u32,
    /// Invitations per user.
    pub invitations: u32,
    /// Join requests per group.
    pub join_requests: u32,
    /// How long a session's token stands.
    pub session_lifetime: Duration,
    /// How long a message may be edited and recalled.
    pub edit_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 8,
            friends: 1000,
            groups: 500,
            conversations: 4000,
            members: 5000,
            invitations: 100,
            join_requests: 1000,
            session_lifetime: Duration::from_secs(90 * 24 * 3600),
            edit_window: Duration::from_secs(24 * 3600),
        }
    }
}

/// The rows that a change needs to see.
///
/// A store loads them in this order, which keeps two transactions from waiting for each other:
/// lock `users` in ascending order; find the conversations of `places` (which of them exist never
/// changes back) and lock them in ascending order of [`ConversationId`]; then read the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Accounts, locked.
    pub users: SortedSet<UserId>,
    /// Accounts by unique name, not locked. They enter [`View::names`] only.
    pub names: SortedSet<NameKey>,
    /// Accounts by unique identity, not locked. They enter [`View::identities`] only.
    pub identities: SortedSet<Identity>,
    /// Conversations, with their group where they are one; locked.
    pub places: SortedSet<Place>,
    /// Every session of these users.
    pub sessions_of: SortedSet<UserId>,
    /// Single friendship rows: what the second is to the first.
    pub friendships: SortedSet<(UserId, UserId)>,
    /// Every friendship row of these users, from their side and from the other.
    pub friendships_of: SortedSet<UserId>,
    /// Single members.
    pub members: SortedSet<(Place, UserId)>,
    /// Every member of these conversations.
    pub members_of: SortedSet<Place>,
    /// Every membership of these users, with the conversations' places.
    pub memberships_of: SortedSet<UserId>,
    /// Single invitations.
    pub invitations: SortedSet<(GroupId, UserId)>,
    /// Every invitation of these users.
    pub invitations_of: SortedSet<UserId>,
    /// Every invitation to these groups.
    pub invitations_to: SortedSet<GroupId>,
    /// Single join requests.
    pub join_requests: SortedSet<(GroupId, UserId)>,
    /// Every join request of these users.
    pub join_requests_of: SortedSet<UserId>,
    /// Every join request to these groups.
    pub join_requests_to: SortedSet<GroupId>,
    /// Messages by their unique (sender, key).
    pub keys: SortedSet<(UserId, Key)>,
    /// Groups by their unique (creator, key).
    pub group_keys: SortedSet<(UserId, Key)>,
    /// Single entries.
    pub messages: SortedSet<(Place, Seq)>,
    /// Numbers of rows.
    pub counts: SortedSet<Count>,
    /// How many new numbers of accounts to hold ready.
    pub new_users: usize,
    /// How many new numbers of conversations to hold ready.
    pub new_conversations: usize,
    /// How many new numbers of sessions to hold ready.
    pub new_sessions: usize,
}

impl ReadSet {
    /// Adds what another read set names; numbers to hold ready add up.
    pub fn merge(&mut self, other: Self) {
        self.users.extend(other.users);
        self.names.extend(other.names);
        self.identities.extend(other.identities);
        self.places.extend(other.places);
        self.sessions_of.extend(other.sessions_of);
        self.friendships.extend(other.friendships);
        self.friendships_of.extend(other.friendships_of);
        self.members.extend(other.members);
        self.members_of.extend(other.members_of);
        self.memberships_of.extend(other.memberships_of);
        self.invitations.extend(other.invitations);
        self.invitations_of.extend(other.invitations_of);
        self.invitations_to.extend(other.invitations_to);
        self.join_requests.extend(other.join_requests);
        self.join_requests_of.extend(other.join_requests_of);
        self.join_requests_to.extend(other.join_requests_to);
        self.keys.extend(other.keys);
        self.group_keys.extend(other.group_keys);
        self.messages.extend(other.messages);
        self.counts.extend(other.counts);
        self.new_users = self.new_users.saturating_add(other.new_users);
        self.new_conversations = self
            .new_conversations
            .saturating_add(other.new_conversations);
        self.new_sessions = self.new_sessions.saturating_add(other.new_sessions);
    }

    /// Forgets everything that is named, but keeps the memory.
    pub fn clear(&mut self) {
        let Self {
            users,
            names,
            identities,
            places,
            sessions_of,
            friendships,
            friendships_of,
            members,
            members_of,
            memberships_of,
            invitations,
            invitations_of,
            invitations_to,
            join_requests,
            join_requests_of,
            join_requests_to,
            keys,
            group_keys,
            messages,
            counts,
            new_users,
            new_conversations,
            new_sessions,
        } = self;
        users.clear();
        names.clear();
        identities.clear();
        places.clear();
        sessions_of.clear();
        friendships.clear();
        friendships_of.clear();
        members.clear();
        members_of.clear();
        memberships_of.clear();
        invitations.clear();
        invitations_of.clear();
        invitations_to.clear();
        join_requests.clear();
        join_requests_of.clear();
        join_requests_to.clear();
        keys.clear();
        group_keys.clear();
        messages.clear();
        counts.clear();
        [*new_users, *new_conversations, *new_sessions] = [0; 3];
    }
}

/// Rows of one table, each with what became of it. Rows that were not loaded are unknown, which is
/// something else than absent.
#[derive(Clone, Debug)]
pub struct Tracked<K, V> {
    rows: SortedMap<K, Slot<V>>,
}

#[derive(Clone, Debug)]
struct Slot<V> {
    existed: bool,
    dirty: bool,
    value: Option<V>,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a, K, V> {
    /// It is new.
    Insert(&'a K, &'a V),
    /// It was there and has other contents now.
    Update(&'a K, &'a V),
    /// It is gone.
    Delete(&'a K),
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Self {
            rows: SortedMap::new(),
        }
    }
}

impl<K: Ord, V> Tracked<K, V> {
    /// Records what was loaded: a row, or that there is none. A row that is there already stays.
    pub fn load(&mut self, key: K, row: Option<V>) {
        self.rows.get_or_insert_with(key, || Slot {
            existed: row.is_some(),
            dirty: false,
            value: row,
        });
    }

    /// Returns a row, `Some(None)` where there is none, and `None` where that is unknown.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Option<&V>> {
        self.rows.get(key).map(|slot| slot.value.as_ref())
    }

    /// Iterates over the rows that are there, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.value.as_ref()?)))
    }

    /// Iterates over the keys of rows that are known to be absent, ascending.
    pub fn absent(&self) -> impl Iterator<Item = &K> {
        self.rows
            .iter()
            .filter(|(_, slot)| slot.value.is_none())
            .map(|(key, _)| key)
    }

    /// Iterates over the rows that are there, from a key on.
    pub fn from(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        self.rows
            .range_from(key)
            .filter_map(|(key, slot)| Some((key, slot.value.as_ref()?)))
    }

    /// Inserts or replaces a row. A row that was never loaded counts as new.
    pub fn put(&mut self, key: K, row: V) {
        let slot = self.rows.get_or_insert_with(key, || Slot {
            existed: false,
            dirty: true,
            value: None,
        });
        slot.value = Some(row);
        slot.dirty = true;
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &K) {
        if let Some(slot) = self.rows.get_mut(key) {
            slot.value = None;
            slot.dirty = true;
        }
    }

    /// Forgets every row.
    fn clear(&mut self) {
        self.rows.clear();
    }

    /// Iterates over what a store has to write, ascending by key.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_, K, V>> {
        self.rows
            .iter()
            .filter(|(_, slot)| slot.dirty)
            .filter_map(|(key, slot)| match (slot.existed, slot.value.as_ref()) {
                (false, Some(value)) => Some(Change::Insert(key, value)),
                (true, Some(value)) => Some(Change::Update(key, value)),
                (true, None) => Some(Change::Delete(key)),
                (false, None) => None,
            })
    }
}

/// The rows that a transaction has loaded.
///
/// A store fills the public tables from a [`ReadSet`], lets
/// [`rules::apply`](crate::rules::apply) work on them, once per command of the batch, and writes
/// the [`Tracked::changes`] of each. In `members`, an update writes `role` and `joined`, and raises
/// `delivered` and `read` to `joined` − 1 where they are below: the member may have left and come
/// back within the batch.
#[derive(Clone, Debug)]
pub struct View {
    /// The database's time; every row that is inserted or changed now carries it.
    pub now: Timestamp,
    /// The limits to keep.
    pub limits: Limits,
    /// What was loaded: rows of these are known, or known to be absent.
    /// Shared, so that a store can go through it while it fills the rest.
    pub loaded: Arc<ReadSet>,
    /// Accounts.
    pub users: Tracked<UserId, UserRow>,
    /// Whose each name is. Changes of it need not be written: they follow from `users`.
    pub names: Tracked<NameKey, UserId>,
    /// Whose each identity is. Changes of it need not be written: they follow from `users`.
    pub identities: Tracked<Identity, UserId>,
    /// Sessions.
    pub sessions: Tracked<SessionId, SessionRow>,
    /// What the second user is to the first; no row for [`FriendState::None`].
    pub friendships: Tracked<(UserId, UserId), FriendState>,
    /// The direct conversations of pairs. Changes of it need not be written: they follow from
    /// `conversations`.
    pub pairs: Tracked<Pair, ConversationId>,
    /// Conversations: which one it is, and its newest entry. A change also writes `updated_at`.
    pub conversations: Tracked<ConversationId, (Place, Seq)>,
    /// Groups.
    pub groups: Tracked<GroupId, GroupRow>,
    /// Members.
    pub members: Tracked<(ConversationId, UserId), MemberRow>,
    /// Invitations.
    pub invitations: Tracked<(GroupId, UserId), InvitationRow>,
    /// Join requests.
    pub join_requests: Tracked<(GroupId, UserId), ()>,
    /// Where keys of messages were used. Changes of it need not be written: they follow from
    /// `messages`.
    pub keys: Tracked<(UserId, Key), StoredKey>,
    /// Where keys of groups were used. Changes of it need not be written: they follow from
    /// `groups`.
    pub group_keys: Tracked<(UserId, Key), GroupId>,
    /// Entries.
    pub messages: Tracked<(ConversationId, Seq), MessageRow>,
    /// Numbers of rows; the rules keep them true within the batch.
    pub counts: SortedMap<Count, u64>,
    /// Users all of whose messages are to be blanked: text empty, `meta` absent, recalled.
    pub blanked: SortedSet<UserId>,
    /// New numbers of accounts, to be used from the front; never handed out before.
    pub new_users: Vec<UserId>,
    /// New numbers of conversations, to be used from the front; never handed out before.
    pub new_conversations: Vec<ConversationId>,
    /// New numbers of sessions, to be used from the front; never handed out before.
    pub new_sessions: Vec<SessionId>,
}

impl View {
    /// Makes a view of nothing.
    #[must_use]
    pub fn new(now: Timestamp, limits: Limits) -> Self {
        Self {
            now,
            limits,
            loaded: Arc::default(),
            users: Tracked::default(),
            names: Tracked::default(),
            identities: Tracked::default(),
            sessions: Tracked::default(),
            friendships: Tracked::default(),
            pairs: Tracked::default(),
            conversations: Tracked::default(),
            groups: Tracked::default(),
            members: Tracked::default(),
            invitations: Tracked::default(),
            join_requests: Tracked::default(),
            keys: Tracked::default(),
            group_keys: Tracked::default(),
            messages: Tracked::default(),
            counts: SortedMap::new(),
            blanked: SortedSet::new(),
            new_users: Vec::new(),
            new_conversations: Vec::new(),
            new_sessions: Vec::new(),
        }
    }

    /// Forgets every row, but keeps the memory.
    pub fn clear(&mut self, at: Timestamp) {
        let Self {
            now,
            limits: _,
            loaded,
            users,
            names,
            identities,
            sessions,
            friendships,
            pairs,
            conversations,
            groups,
            members,
            invitations,
            join_requests,
            keys,
            group_keys,
            messages,
            counts,
            blanked,
            new_users,
            new_conversations,
            new_sessions,
        } = self;
        *now = at;
        Arc::make_mut(loaded).clear();
        users.clear();
        names.clear();
        identities.clear();
        sessions.clear();
        friendships.clear();
        pairs.clear();
        conversations.clear();
        groups.clear();
        members.clear();
        invitations.clear();
        join_requests.clear();
        keys.clear();
        group_keys.clear();
        messages.clear();
        counts.clear();
        blanked.clear();
        new_users.clear();
        new_conversations.clear();
        new_sessions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::GroupChange;
    use crate::name::Name;
    use crate::store::{Digest, Kind};

    /// A view with something of everything that a transaction may leave in it.
    fn used() -> View {
        let mut view = View::new(Timestamp(1), Limits::default());
        let (user, group, conversation) = (UserId(1), GroupId(2), ConversationId(3));
        let place = Place::Group(group);
        let key = Key::new("key").unwrap();
        let set = Arc::make_mut(&mut view.loaded);
        set.places.insert(place);
        set.keys.insert((user, key.clone()));
        set.new_sessions = 1;
        view.users.load(user, None);
        view.names.load(Name::new("name").unwrap().key(), None);
        view.identities
            .load(Identity::new("issuer", "subject"), None);
        view.sessions.load(SessionId(4), None);
        view.groups.load(group, None);
        view.members.load((conversation, user), None);
        view.friendships
            .put((user, UserId(5)), FriendState::Blocked);
        view.pairs.load(Pair::new(user, UserId(5)).unwrap(), None);
        view.conversations.put(conversation, (place, Seq(1)));
        view.group_keys.load((user, key.clone()), Some(group));
        view.join_requests.put((group, user), ());
        view.invitations
            .put((group, user), InvitationRow { by: user });
        let stored = StoredKey {
            conversation,
            seq: Seq(1),
            at: Timestamp(1),
            digest: Digest([0; 16]),
        };
        view.keys.put((user, key), stored);
        let row = MessageRow {
            from: user,
            at: Timestamp(1),
            kind: Kind::Updated(GroupChange::default()),
            change: None,
        };
        view.messages.put((conversation, Seq(1)), row);
        view.counts.insert(Count::Members(group), 1);
        view.blanked.insert(user);
        view.new_users.push(user);
        view.new_conversations.push(conversation);
        view.new_sessions.push(SessionId(4));
        view
    }

    #[test]
    fn a_view_that_is_cleared_is_like_a_new_one() {
        let mut view = used();
        let new = View::new(Timestamp(2), Limits::default());
        assert_ne!(format!("{view:?}"), format!("{new:?}"));
        view.clear(Timestamp(2));
        assert_eq!(format!("{view:?}"), format!("{new:?}"));
    }
}
