//! A store of the simplest kind for the tests of the rules: tables in memory, and a transaction
//! that loads exactly what it is asked for.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use crate::log::{Body, Entry, FriendState, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction, UserRef};
use crate::protocol::{ErrorCode, RequestError};
use crate::secret::Secret;
use crate::store::{
    Applied, Change, Command, Count, Done, GroupRow, InvitationRow, Limits, MemberRow, MessageRow,
    ReadSet, Refusal, SessionRow, Tracked, UserRow, View,
};
use crate::time::Timestamp;

use super::plan::erased;
use super::{apply, read_also};

pub(super) const ANN: UserId = UserId(1);
pub(super) const BEN: UserId = UserId(2);
pub(super) const CAT: UserId = UserId(3);
pub(super) const DAN: UserId = UserId(4);
/// A user who was never there.
pub(super) const NOBODY: UserId = UserId(99);

/// What became of every table.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) users: Vec<(UserId, Option<UserRow>)>,
    pub(super) sessions: Vec<(SessionId, Option<SessionRow>)>,
    pub(super) friendships: Vec<((UserId, UserId), Option<FriendState>)>,
    pub(super) conversations: Vec<(ConversationId, Option<(Place, Seq)>)>,
    pub(super) groups: Vec<(GroupId, Option<GroupRow>)>,
    pub(super) members: Vec<((ConversationId, UserId), Option<MemberRow>)>,
    pub(super) invitations: Vec<((GroupId, UserId), Option<InvitationRow>)>,
    pub(super) join_requests: Vec<((GroupId, UserId), Option<()>)>,
    pub(super) messages: Vec<((ConversationId, Seq), Option<MessageRow>)>,
    pub(super) blanked: Vec<UserId>,
}

impl Written {
    fn of(view: &View) -> Self {
        Self {
            users: changes(&view.users),
            sessions: changes(&view.sessions),
            friendships: changes(&view.friendships),
            conversations: changes(&view.conversations),
            groups: changes(&view.groups),
            members: changes(&view.members),
            invitations: changes(&view.invitations),
            join_requests: changes(&view.join_requests),
            messages: changes(&view.messages),
            blanked: view.blanked.iter().copied().collect(),
        }
    }
}

/// The tables.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) limits: Limits,
    /// Everything that is stored, as a view of it.
    pub(super) tables: View,
    last_user: u64,
    last_conversation: u64,
    last_session: u64,
}

/// What a transaction did.
pub(super) struct Outcome {
    pub(super) results: Vec<Result<Applied, RequestError>>,
    pub(super) written: Written,
    /// How often rows had to be loaded.
    pub(super) rounds: usize,
    /// The view at the end.
    pub(super) view: View,
}

impl World {
    /// Makes a world of four users and nothing else. Numbers of conversations begin at 11, of
    /// sessions at 21.
    pub(super) fn new() -> Self {
        let now = Timestamp(1000);
        let limits = Limits {
            session_lifetime: Duration::from_millis(100),
            edit_window: Duration::from_millis(50),
            ..Limits::default()
        };
        let mut world = Self {
            now,
            limits,
            tables: View::new(now, limits),
            last_user: 0,
            last_conversation: 10,
            last_session: 20,
        };
        for text in ["ann", "ben", "cat", "dan"] {
            let command = Command::Register {
                name: name(text),
                hash: Secret::new(text),
            };
            world.must(&command);
        }
        world
    }

    /// Carries out commands in one transaction, as a store does, and commits.
    pub(super) fn transact(&mut self, commands: &[Command]) -> Outcome {
        let mut set = ReadSet::default();
        for command in commands {
            read_also(command, &mut set);
        }
        for rounds in 1..10 {
            let mut view = self.load(&set);
            let results: Vec<_> = commands
                .iter()
                .map(|command| apply(command, &mut view))
                .collect();
            let mut missing = ReadSet::default();
            for result in &results {
                if let Err(Refusal::Incomplete(more)) = result {
                    missing.merge((**more).clone());
                }
            }
            if missing == ReadSet::default() {
                let outcome = Outcome {
                    results: results.into_iter().map(settled).collect(),
                    written: Written::of(&view),
                    rounds,
                    view,
                };
                self.commit(&outcome);
                return outcome;
            }
            if commands.len() == 1 {
                assert_eq!(Written::of(&view), Written::default());
            }
            set.merge(missing);
        }
        panic!("the rules never have enough: {set:?}");
    }

    /// Carries out one command that the rules allow.
    pub(super) fn must(&mut self, command: &Command) -> Applied {
        self.transact(std::slice::from_ref(command))
            .results
            .remove(0)
            .unwrap()
    }

    /// Carries out one command and compares everything that came of it.
    #[track_caller]
    pub(super) fn check(&mut self, command: &Command, applied: &Applied, written: &Written) {
        let outcome = self.transact(std::slice::from_ref(command));
        assert_eq!(outcome.results, [Ok(applied.clone())]);
        assert_eq!(outcome.written, *written);
    }

    /// Carries out one command whose outcome holds already.
    #[track_caller]
    pub(super) fn check_unchanged(&mut self, command: &Command, done: Done) {
        self.check(command, &Applied::unchanged(done), &Written::default());
    }

    /// Carries out one command that the rules refuse.
    #[track_caller]
    pub(super) fn check_refused(&mut self, command: &Command, code: ErrorCode) {
        let mut outcome = self.transact(std::slice::from_ref(command));
        let refused = outcome.results.remove(0).map_err(|error| error.code);
        assert_eq!(refused, Err(code));
        assert_eq!(outcome.written, Written::default());
    }

    /// Returns an account as the next version of it is written.
    pub(super) fn risen(&self, user: UserId) -> (UserId, Option<UserRow>) {
        let mut row = self.user(user);
        row.version += 1;
        (user, Some(row))
    }

    /// Returns a user and the version that comes after the present one.
    pub(super) fn next_version(&self, user: UserId) -> (UserId, u64) {
        (user, self.user(user).version + 1)
    }

    pub(super) fn user(&self, user: UserId) -> UserRow {
        self.tables.users.get(&user).flatten().unwrap().clone()
    }

    pub(super) fn group(&self, group: GroupId) -> GroupRow {
        self.tables.groups.get(&group).flatten().unwrap().clone()
    }

    pub(super) fn message(&self, conversation: ConversationId, seq: u64) -> MessageRow {
        let key = (conversation, Seq(seq));
        self.tables.messages.get(&key).flatten().unwrap().clone()
    }

    /// Makes two users friends; the conversation of the first two to become so is 11.
    pub(super) fn befriend(&mut self, one: UserId, other: UserId) {
        self.must(&request(one, other));
        self.must(&friend(other, FriendAction::Accept, one));
    }

    /// Makes a group of Ann's.
    pub(super) fn make_group(&mut self, join: JoinPolicy) -> GroupId {
        match self.must(&create(ANN, "group", join, None)).done {
            Done::GroupCreated(group) => group,
            done => panic!("{done:?}"),
        }
    }

    /// Adds a member to an open group.
    pub(super) fn add(&mut self, group: GroupId, user: UserId, role: Role) {
        self.must(&join(user, group));
        if role != Role::Member {
            self.must(&give(ANN, group, user, role));
        }
    }

    fn load(&self, set: &ReadSet) -> View {
        let from = &self.tables;
        let mut view = View::new(self.now, self.limits);
        view.loaded = Arc::new(set.clone());
        copy(&from.users, &mut view.users, |id| set.users.contains(id));
        copy(&from.names, &mut view.names, |name| {
            set.names.contains(name)
        });
        copy(&from.identities, &mut view.identities, |identity| {
            set.identities.contains(identity)
        });
        copy(&from.pairs, &mut view.pairs, |pair| {
            set.places.contains(&Place::Direct(*pair))
        });
        copy(&from.groups, &mut view.groups, |group| {
            set.places.contains(&Place::Group(*group))
        });
        for (id, row) in from.sessions.iter() {
            if set.sessions_of.contains(&row.user) {
                view.sessions.load(*id, Some(row.clone()));
            }
        }
        copy(&from.friendships, &mut view.friendships, |(of, to)| {
            set.friendships.contains(&(*of, *to))
                || set.friendships_of.contains(of)
                || set.friendships_of.contains(to)
        });
        self.load_conversations(set, &mut view);
        copy(&from.invitations, &mut view.invitations, |key| {
            set.invitations.contains(key)
                || set.invitations_to.contains(&key.0)
                || set.invitations_of.contains(&key.1)
        });
        copy(&from.join_requests, &mut view.join_requests, |key| {
            set.join_requests.contains(key)
                || set.join_requests_to.contains(&key.0)
                || set.join_requests_of.contains(&key.1)
        });
        copy(&from.keys, &mut view.keys, |key| set.keys.contains(key));
        copy(&from.group_keys, &mut view.group_keys, |key| {
            set.group_keys.contains(key)
        });
        for count in &set.counts {
            view.counts.insert(*count, self.count(*count));
        }
        view.new_users = (self.last_user + 1..)
            .take(set.new_users)
            .map(UserId)
            .collect();
        view.new_conversations = (self.last_conversation + 1..)
            .take(set.new_conversations)
            .map(ConversationId)
            .collect();
        view.new_sessions = (self.last_session + 1..)
            .take(set.new_sessions)
            .map(SessionId)
            .collect();
        view
    }

    fn load_conversations(&self, set: &ReadSet, view: &mut View) {
        let from = &self.tables;
        let place = |id: &ConversationId| from.conversations.get(id).flatten().map(|row| row.0);
        copy(&from.members, &mut view.members, |(id, user)| {
            let place = place(id).unwrap();
            set.members.contains(&(place, *user))
                || set.members_of.contains(&place)
                || set.memberships_of.contains(user)
        });
        copy(&from.conversations, &mut view.conversations, |id| {
            set.places.contains(&place(id).unwrap())
                || set.places.contains(&Place::Group(GroupId(id.0)))
                || set.memberships_of.iter().any(|user| {
                    let row = from.members.get(&(*id, *user));
                    row.flatten().is_some()
                })
        });
        copy(&from.messages, &mut view.messages, |(id, seq)| {
            set.messages.contains(&(place(id).unwrap(), *seq))
        });
    }

    fn count(&self, count: Count) -> u64 {
        let from = &self.tables;
        let direct = |id: &ConversationId| {
            let row = from.conversations.get(id).flatten();
            matches!(row, Some((Place::Direct(_), _)))
        };
        let rows = match count {
            Count::Friendships(user) => from
                .friendships
                .iter()
                .filter(|row| row.0.0 == user)
                .count(),
            Count::Conversations(user) => from.members.iter().filter(|row| row.0.1 == user).count(),
            Count::Groups(user) => from
                .members
                .iter()
                .filter(|row| row.0.1 == user && !direct(&row.0.0))
                .count(),
            Count::Members(group) => from
                .members
                .iter()
                .filter(|row| row.0.0 == group.conversation())
                .count(),
            Count::Invitations(user) => from
                .invitations
                .iter()
                .filter(|row| row.0.1 == user)
                .count(),
            Count::JoinRequests(group) => from
                .join_requests
                .iter()
                .filter(|row| row.0.0 == group)
                .count(),
        };
        u64::try_from(rows).unwrap()
    }

    fn commit(&mut self, outcome: &Outcome) {
        let (view, written) = (&outcome.view, &outcome.written);
        let tables = &mut self.tables;
        write(&mut tables.users, &written.users);
        write(&mut tables.sessions, &written.sessions);
        write(&mut tables.friendships, &written.friendships);
        write(&mut tables.conversations, &written.conversations);
        write(&mut tables.groups, &written.groups);
        write(&mut tables.members, &written.members);
        write(&mut tables.invitations, &written.invitations);
        write(&mut tables.join_requests, &written.join_requests);
        write(&mut tables.messages, &written.messages);
        for (user, row) in &written.users {
            let names = tables.names.iter().filter(|(_, of)| *of == user);
            for name in names.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                tables.names.remove(&name);
            }
            if let Some(name) = row.as_ref().and_then(|row| row.name.as_ref()) {
                tables.names.put(name.key(), *user);
            }
            let identities = tables.identities.iter().filter(|(_, of)| *of == user);
            for identity in identities
                .map(|(identity, _)| *identity)
                .collect::<Vec<_>>()
            {
                tables.identities.remove(&identity);
            }
            if let Some(identity) = row.as_ref().and_then(|row| row.identity) {
                tables.identities.put(identity, *user);
            }
        }
        write(&mut tables.pairs, &changes(&view.pairs));
        write(&mut tables.keys, &changes(&view.keys));
        write(&mut tables.group_keys, &changes(&view.group_keys));
        let mut blanked = Vec::new();
        for (key, row) in tables.messages.iter() {
            if view.blanked.contains(&row.from) {
                blanked.extend(erased(row).map(|row| (*key, Some(row))));
            }
        }
        write(&mut tables.messages, &blanked);
        for (user, _) in &written.users {
            self.last_user = self.last_user.max(user.0);
        }
        for (conversation, _) in &written.conversations {
            self.last_conversation = self.last_conversation.max(conversation.0);
        }
        for (session, _) in &written.sessions {
            self.last_session = self.last_session.max(session.0);
        }
        for (count, number) in view.counts.iter() {
            assert_eq!(*number, self.count(*count), "{count:?} was not kept true");
        }
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(super) fn direct(one: UserId, other: UserId) -> Place {
    Place::Direct(Pair::new(one, other).unwrap())
}

pub(super) fn request(user: UserId, other: UserId) -> Command {
    Command::FriendRequest {
        user,
        who: UserRef::Id(other),
    }
}

pub(super) const fn friend(user: UserId, action: FriendAction, other: UserId) -> Command {
    Command::Friend {
        user,
        action,
        other,
    }
}

pub(super) fn create(user: UserId, text: &str, join: JoinPolicy, key: Option<Key>) -> Command {
    Command::GroupCreate {
        user,
        name: name(text),
        description: Arc::from("about"),
        join,
        key,
    }
}

pub(super) const fn join(user: UserId, group: GroupId) -> Command {
    on_self(user, GroupSelfAction::Join, group)
}

pub(super) const fn on_self(user: UserId, action: GroupSelfAction, group: GroupId) -> Command {
    Command::GroupSelf {
        user,
        action,
        group,
    }
}

pub(super) const fn on_other(
    user: UserId,
    action: GroupOtherAction,
    group: GroupId,
    other: UserId,
) -> Command {
    Command::GroupOther {
        user,
        action,
        group,
        other,
    }
}

pub(super) const fn give(user: UserId, group: GroupId, other: UserId, role: Role) -> Command {
    Command::GroupRole {
        user,
        group,
        other,
        role,
    }
}

pub(super) fn send(user: UserId, place: Place, key_text: &str, text: &str) -> Command {
    Command::Send {
        user,
        place,
        key: key(key_text),
        text: Arc::from(text),
        reply_to: None,
        meta: None,
    }
}

/// Makes an entry of the present moment of a world.
pub(super) fn entry(
    world: &World,
    place: Place,
    at: (u64, u64),
    from: UserId,
    body: Body,
) -> Arc<Entry> {
    Arc::new(Entry {
        conversation: ConversationId(at.0),
        place,
        seq: Seq(at.1),
        from,
        at: world.now,
        body,
    })
}

/// Makes the row of a member who joined by an entry and has seen nothing of it.
pub(super) const fn joined(role: Role, seq: u64) -> MemberRow {
    MemberRow {
        role,
        joined: Seq(seq),
        delivered: Seq(seq - 1),
        read: Seq(seq - 1),
    }
}

fn settled(result: Result<Applied, Refusal>) -> Result<Applied, RequestError> {
    result.map_err(|refusal| match refusal {
        Refusal::Request(error) => error,
        Refusal::Incomplete(missing) => panic!("{missing:?}"),
    })
}

fn changes<K: Ord + Clone, V: Clone>(table: &Tracked<K, V>) -> Vec<(K, Option<V>)> {
    table
        .changes()
        .map(|change| match change {
            Change::Insert(key, row) | Change::Update(key, row) => (key.clone(), Some(row.clone())),
            Change::Delete(key) => (key.clone(), None),
        })
        .collect()
}

fn copy<K: Ord + Clone, V: Clone>(
    from: &Tracked<K, V>,
    to: &mut Tracked<K, V>,
    wanted: impl Fn(&K) -> bool,
) {
    for (key, row) in from.iter().filter(|(key, _)| wanted(key)) {
        to.load(key.clone(), Some(row.clone()));
    }
}

fn write<K: Ord + Clone, V: Clone>(table: &mut Tracked<K, V>, rows: &[(K, Option<V>)]) {
    for (key, row) in rows {
        match row {
            Some(row) => table.put(key.clone(), row.clone()),
            None => table.remove(key),
        }
    }
}
