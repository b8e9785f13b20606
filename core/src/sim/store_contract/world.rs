//! What the checks are written with.

use std::sync::Arc;

use crate::id::{ConversationId, GroupId, Pair, Place, Seq, SessionId, UserId};
use crate::log::{Body, Entry, FriendState, JoinPolicy, Role, Text};
use crate::name::{Key, Name};
use crate::protocol::ErrorCode;
use crate::protocol::reply::JoinState;
use crate::protocol::request::{Anchor, FriendAction, GroupOtherAction, GroupSelfAction, UserRef};
use crate::secret::Secret;
use crate::store::{
    Applied, Command, Done, Mark, Page, Read, ReadDone, Roster, Standing, StoreFailure,
    StoreRequest, StoreResponse, StoreResult,
};
use crate::time::Timestamp;

use super::Subject;

/// The password of everyone.
pub(super) const PASSWORD: &str = "correct horse";

/// A store with people in it.
pub(super) struct World<'a> {
    subject: &'a mut dyn Subject,
}

impl<'a> World<'a> {
    pub(super) fn new(subject: &'a mut dyn Subject) -> Self {
        Self { subject }
    }

    pub(super) fn execute(&mut self, request: StoreRequest) -> StoreResult {
        self.subject.execute(request)
    }

    #[track_caller]
    pub(super) fn all(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult> {
        let count = requests.len();
        let results = self.subject.execute_all(requests);
        assert_eq!(results.len(), count, "one answer to each request");
        results
    }

    #[track_caller]
    pub(super) fn batch(&mut self, commands: Vec<Command>) -> Vec<Result<Applied, ErrorCode>> {
        let requests = commands.into_iter().map(request).collect();
        self.all(requests).into_iter().map(applied).collect()
    }

    #[track_caller]
    pub(super) fn attempt(&mut self, command: Command) -> Result<Applied, ErrorCode> {
        applied(self.execute(request(command)))
    }

    #[track_caller]
    pub(super) fn command(&mut self, command: Command) -> Applied {
        let shown = format!("{command:?}");
        match self.attempt(command) {
            Ok(applied) => applied,
            Err(code) => panic!("{shown} was refused with {code}"),
        }
    }

    #[track_caller]
    pub(super) fn refused(&mut self, command: Command, code: ErrorCode) {
        let shown = format!("{command:?}");
        assert_eq!(self.attempt(command), Err(code), "{shown}");
    }

    #[track_caller]
    pub(super) fn try_register(&mut self, name: &str) -> Result<UserId, ErrorCode> {
        let request = register(name);
        applied(self.execute(request)).map(|applied| match applied.done {
            Done::Registered(user) => {
                assert_eq!(applied, Applied::unchanged(Done::Registered(user)));
                user
            }
            other => panic!("registering answers {other:?}"),
        })
    }

    #[track_caller]
    pub(super) fn register(&mut self, name: &str) -> UserId {
        self.try_register(name).unwrap()
    }

    /// Registers so many users, ascending.
    #[track_caller]
    pub(super) fn users<const N: usize>(&mut self) -> [UserId; N] {
        let mut users = std::array::from_fn(|index| self.register(&format!("user {index}")));
        users.sort();
        users
    }

    #[track_caller]
    pub(super) fn try_login(
        &mut self,
        who: UserRef,
        password: &str,
    ) -> Result<Standing, ErrorCode> {
        session(self.execute(StoreRequest::Login {
            who,
            password: Secret::new(password),
            device: Some("phone".into()),
        }))
    }

    #[track_caller]
    pub(super) fn login(&mut self, user: UserId) -> Standing {
        self.try_login(UserRef::Id(user), PASSWORD).unwrap()
    }

    pub(super) fn resume(
        &mut self,
        user: UserId,
        of: SessionId,
        expires: Timestamp,
    ) -> Result<Standing, ErrorCode> {
        session(self.execute(StoreRequest::Resume {
            user,
            session: of,
            expires,
        }))
    }

    #[track_caller]
    pub(super) fn delete(&mut self, user: UserId) -> Applied {
        applied(self.execute(StoreRequest::DeleteAccount {
            user,
            password: Secret::new(PASSWORD),
        }))
        .unwrap()
    }

    #[track_caller]
    pub(super) fn friend(
        &mut self,
        user: UserId,
        action: FriendAction,
        other: UserId,
        expected: FriendState,
    ) -> Applied {
        let applied = self.command(friend(user, action, other));
        let state = expected;
        assert_eq!(applied.done, Done::Friend { user: other, state });
        applied
    }

    /// Makes two users friends, and returns their conversation.
    #[track_caller]
    pub(super) fn befriend(&mut self, one: UserId, other: UserId) -> Place {
        self.command(ask(one, other));
        self.friend(other, FriendAction::Accept, one, FriendState::Friends);
        direct(one, other)
    }

    #[track_caller]
    pub(super) fn group(&mut self, owner: UserId, join: JoinPolicy) -> GroupId {
        let applied = self.command(Command::GroupCreate {
            user: owner,
            name: name("a group"),
            description: "what for".into(),
            join,
            key: None,
        });
        match applied.done {
            Done::GroupCreated(group) => group,
            other => panic!("making a group answers {other:?}"),
        }
    }

    /// Makes an open group with members; the first owns it.
    #[track_caller]
    pub(super) fn group_of(&mut self, users: &[UserId]) -> GroupId {
        let group = self.group(users[0], JoinPolicy::Open);
        for user in &users[1..] {
            self.join(*user, group);
        }
        group
    }

    #[track_caller]
    pub(super) fn join(&mut self, user: UserId, group: GroupId) -> Applied {
        let applied = self.command(own(user, GroupSelfAction::Join, group));
        assert_eq!(applied.done, Done::Joined(JoinState::Member));
        applied
    }

    #[track_caller]
    pub(super) fn give_role(&mut self, user: UserId, group: GroupId, other: UserId, role: Role) {
        let applied = self.command(self::role(user, group, other, role));
        assert_eq!(applied.done, Done::Nothing);
    }

    #[track_caller]
    pub(super) fn send(&mut self, user: UserId, place: Place, key: &str, text: &str) -> Seq {
        appended(&self.command(send(user, place, key, text))).0
    }

    #[track_caller]
    pub(super) fn read(&mut self, read: Read) -> ReadDone {
        self.try_read(read).unwrap()
    }

    #[track_caller]
    pub(super) fn try_read(&mut self, read: Read) -> Result<ReadDone, ErrorCode> {
        match self.execute(StoreRequest::Read(read)) {
            Ok(StoreResponse::Read(done)) => Ok(done),
            Ok(other) => panic!("a read answers {other:?}"),
            Err(failure) => Err(code(failure)),
        }
    }

    #[track_caller]
    pub(super) fn rosters(&mut self, users: &[UserId]) -> Vec<Arc<Roster>> {
        match self.read(Read::Rosters(users.to_vec())) {
            ReadDone::Rosters(mut rosters) => {
                rosters.sort_by_key(|roster| roster.user);
                rosters
            }
            other => panic!("reading rosters answers {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn roster(&mut self, user: UserId) -> Arc<Roster> {
        let mut rosters = self.rosters(&[user]);
        assert_eq!(rosters.len(), 1, "one roster of {user:?}");
        rosters.remove(0)
    }

    #[track_caller]
    pub(super) fn version(&mut self, user: UserId) -> u64 {
        self.roster(user).version
    }

    /// What a user is to another, by the first one's roster.
    #[track_caller]
    pub(super) fn state(&mut self, user: UserId, other: UserId) -> FriendState {
        let roster = self.roster(user);
        let mut items = roster.friends.iter().filter(|item| item.user == other);
        let state = items.next().map(|item| item.state).unwrap_or_default();
        assert_eq!(items.next(), None, "one item of {other:?}");
        state
    }

    /// The number of a conversation, from a reader's roster.
    #[track_caller]
    pub(super) fn conversation(&mut self, reader: UserId, place: Place) -> ConversationId {
        let roster = self.roster(reader);
        let wanted = place.seen_by(reader).unwrap();
        roster
            .conversations
            .iter()
            .find(|state| state.conversation == wanted)
            .map(|state| state.id)
            .unwrap()
    }

    #[track_caller]
    pub(super) fn history(
        &mut self,
        reader: UserId,
        place: Place,
        anchor: Anchor,
        limit: u32,
        bytes: u32,
    ) -> Result<(Vec<Arc<Entry>>, bool), ErrorCode> {
        let read = Read::History {
            reader,
            place,
            anchor,
            limit,
            bytes,
        };
        self.try_read(read).map(|done| match done {
            ReadDone::History { entries, more } => (entries, more),
            other => panic!("reading history answers {other:?}"),
        })
    }

    /// Everything that a reader may see of a conversation.
    #[track_caller]
    pub(super) fn log(&mut self, reader: UserId, place: Place) -> Vec<Arc<Entry>> {
        let (entries, more) = self
            .history(reader, place, Anchor::Newest, 200, u32::MAX)
            .unwrap();
        assert!(!more, "the whole log");
        entries
    }

    /// The texts that a reader may see of a conversation.
    #[track_caller]
    pub(super) fn texts(&mut self, reader: UserId, place: Place) -> Vec<String> {
        self.log(reader, place)
            .iter()
            .filter_map(|entry| match &entry.body {
                Body::Text(text) => Some(text.text.to_string()),
                _ => None,
            })
            .collect()
    }

    #[track_caller]
    pub(super) fn fetch(
        &mut self,
        conversation: ConversationId,
        after: Seq,
        limit: u32,
        bytes: u32,
    ) -> Page {
        let read = Read::Fetch {
            conversation,
            after,
            limit,
            bytes,
        };
        match self.read(read) {
            ReadDone::Page(page) => page,
            other => panic!("fetching answers {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn mark(&mut self, marks: Vec<Mark>) {
        let result = self.execute(StoreRequest::Mark(marks));
        assert_eq!(result, Ok(StoreResponse::Marked));
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

pub(super) fn request(command: Command) -> StoreRequest {
    StoreRequest::Command(Box::new(command))
}

pub(super) fn register(text: &str) -> StoreRequest {
    StoreRequest::Register {
        name: name(text),
        password: Secret::new(PASSWORD),
    }
}

pub(super) fn ask(user: UserId, other: UserId) -> Command {
    Command::FriendRequest {
        user,
        who: UserRef::Id(other),
    }
}

pub(super) fn friend(user: UserId, action: FriendAction, other: UserId) -> Command {
    Command::Friend {
        user,
        action,
        other,
    }
}

pub(super) fn own(user: UserId, action: GroupSelfAction, group: GroupId) -> Command {
    Command::GroupSelf {
        user,
        action,
        group,
    }
}

pub(super) fn manage(
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

pub(super) fn role(user: UserId, group: GroupId, other: UserId, role: Role) -> Command {
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
        text: text.into(),
        reply_to: None,
        meta: None,
    }
}

pub(super) fn edit(user: UserId, place: Place, seq: Seq, text: &str) -> Command {
    Command::Edit {
        user,
        place,
        seq,
        text: text.into(),
    }
}

pub(super) fn recall(user: UserId, place: Place, seq: Seq) -> Command {
    Command::Recall { user, place, seq }
}

/// A message as it was sent.
pub(super) fn text(key_text: &str, text: &str) -> Text {
    Text {
        key: key(key_text),
        text: text.into(),
        reply_to: None,
        meta: None,
        edited: false,
        recalled: false,
    }
}

/// Where and when an entry was added.
#[track_caller]
pub(super) fn appended(applied: &Applied) -> (Seq, Timestamp) {
    match applied.done {
        Done::Appended { seq, at } => (seq, at),
        ref other => panic!("an entry is added, not {other:?}"),
    }
}

/// The numbers and contents of entries.
pub(super) fn bodies(entries: &[Arc<Entry>]) -> Vec<(u64, UserId, Body)> {
    entries
        .iter()
        .map(|entry| (entry.seq.0, entry.from, entry.body.clone()))
        .collect()
}

pub(super) fn seqs(entries: &[Arc<Entry>]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

/// The users whose version rose.
pub(super) fn touched(applied: &Applied) -> Vec<UserId> {
    applied.changed.iter().map(|(user, _)| *user).collect()
}

#[track_caller]
pub(super) fn applied(result: StoreResult) -> Result<Applied, ErrorCode> {
    match result {
        Ok(StoreResponse::Applied(applied)) => Ok(applied),
        Ok(other) => panic!("a change answers {other:?}"),
        Err(failure) => Err(code(failure)),
    }
}

#[track_caller]
fn session(result: StoreResult) -> Result<Standing, ErrorCode> {
    match result {
        Ok(StoreResponse::Session(standing)) => Ok(standing),
        Ok(other) => panic!("a login answers {other:?}"),
        Err(failure) => Err(code(failure)),
    }
}

#[track_caller]
fn code(failure: StoreFailure) -> ErrorCode {
    match failure {
        StoreFailure::Refused(error) => error.code,
        StoreFailure::Failed(error) => panic!("the store failed: {error}"),
    }
}
