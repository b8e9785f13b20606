//! The server against a model of it in the plainest code: every reply and every message agrees.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use parlor_core::engine::Config;
use parlor_core::id::{ConnectionId, ConversationRef, GroupId, UserId};
use parlor_core::log::{Body, FriendState, JoinPolicy, Role};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{
    FriendAction, GroupOtherAction, GroupSelfAction, Start, UserRef,
};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};
use parlor_core::secret::Secret;
use parlor_core::sim::{Loopback, Sent};
use parlor_core::store::Limits;
use proptest::prelude::*;

const USERS: u64 = 4;

#[derive(Clone, Debug)]
enum Op {
    Ask(u64, u64),
    Act(u64, FriendAction, u64),
    Create(u64),
    Join(u64, u64),
    Leave(u64, u64),
    Disband(u64, u64),
    Remove(u64, u64, u64),
    Role(u64, u64, u64, Role),
    SendUser(u64, u64, u8),
    SendGroup(u64, u64, u8),
}

fn operation() -> impl Strategy<Value = Op> {
    let user = || 1..=USERS;
    let group = || 0..3u64;
    let action = prop_oneof![
        4 => Just(FriendAction::Accept),
        1 => Just(FriendAction::Reject),
        1 => Just(FriendAction::Remove),
        1 => Just(FriendAction::Block),
        1 => Just(FriendAction::Unblock),
    ];
    let role = proptest::sample::select(Role::ALL.to_vec());
    prop_oneof![
        4 => (user(), user()).prop_map(|(a, b)| Op::Ask(a, b)),
        4 => (user(), action, user()).prop_map(|(a, action, b)| Op::Act(a, action, b)),
        1 => user().prop_map(Op::Create),
        3 => (user(), group()).prop_map(|(a, g)| Op::Join(a, g)),
        1 => (user(), group()).prop_map(|(a, g)| Op::Leave(a, g)),
        1 => (user(), group()).prop_map(|(a, g)| Op::Disband(a, g)),
        1 => (user(), group(), user()).prop_map(|(a, g, b)| Op::Remove(a, g, b)),
        2 => (user(), group(), user(), role).prop_map(|(a, g, b, role)| Op::Role(a, g, b, role)),
        5 => (user(), user(), 0..20u8).prop_map(|(a, b, key)| Op::SendUser(a, b, key)),
        5 => (user(), group(), 0..20u8).prop_map(|(a, g, key)| Op::SendGroup(a, g, key)),
    ]
}

/// What a request should come to: a short word for its reply, or its error.
type Outcome = Result<String, ErrorCode>;

#[derive(Default)]
struct Model {
    /// What the second is to the first.
    relation: BTreeMap<(u64, u64), FriendState>,
    /// Members and roles; absent once disbanded.
    groups: Vec<Option<BTreeMap<u64, Role>>>,
    last_owner: Vec<u64>,
    /// How long each log is: of a pair (low, high), of a group (number, 0).
    logs: BTreeMap<(u64, u64), u64>,
    /// Where each sender's keys went.
    keys: BTreeMap<(u64, u8), ((u64, u64), u64)>,
    /// What each user should have been sent since the last look.
    sent: BTreeMap<u64, Vec<(ConversationRef, u64, String)>>,
}

impl Model {
    fn is(&self, a: u64, b: u64) -> FriendState {
        self.relation.get(&(a, b)).copied().unwrap_or_default()
    }

    fn set(&mut self, a: u64, b: u64, state: FriendState) {
        if state == FriendState::None {
            self.relation.remove(&(a, b));
        } else {
            self.relation.insert((a, b), state);
        }
    }

    fn blocked(&self, a: u64, b: u64) -> bool {
        self.is(a, b) == FriendState::Blocked || self.is(b, a) == FriendState::Blocked
    }

    /// Appends to a log and tells its readers.
    fn append(&mut self, log: (u64, u64), readers: &[u64], what: &str) -> u64 {
        let seq = self.logs.entry(log).or_default();
        *seq += 1;
        let seq = *seq;
        for reader in readers {
            let with = match log {
                (group, 0) => ConversationRef::Group(GroupId(group)),
                (low, high) if *reader == low => ConversationRef::User(UserId(high)),
                (low, _) => ConversationRef::User(UserId(low)),
            };
            self.sent
                .entry(*reader)
                .or_default()
                .push((with, seq, what.to_owned()));
        }
        seq
    }

    fn befriend(&mut self, a: u64, b: u64) -> Outcome {
        self.set(a, b, FriendState::Friends);
        self.set(b, a, FriendState::Friends);
        Ok("friends".into())
    }

    fn ask(&mut self, a: u64, b: u64) -> Outcome {
        if a == b {
            return Err(ErrorCode::BadRequest);
        }
        if self.blocked(a, b) {
            return Err(ErrorCode::Blocked);
        }
        match self.is(a, b) {
            FriendState::RequestedBy => self.befriend(a, b),
            FriendState::None => {
                self.set(a, b, FriendState::Requested);
                self.set(b, a, FriendState::RequestedBy);
                Ok("requested".into())
            }
            state => Ok(state.as_str().into()),
        }
    }

    fn act(&mut self, a: u64, action: FriendAction, b: u64) -> Outcome {
        if a == b {
            return Err(ErrorCode::BadRequest);
        }
        let state = self.is(a, b);
        let end = match action {
            FriendAction::Accept => {
                return match state {
                    _ if self.blocked(a, b) => Err(ErrorCode::Blocked),
                    FriendState::RequestedBy => self.befriend(a, b),
                    FriendState::Friends => Ok("friends".into()),
                    _ => Err(ErrorCode::NotFriends),
                };
            }
            FriendAction::Block => {
                self.set(a, b, FriendState::Blocked);
                if self.is(b, a) != FriendState::Blocked {
                    self.set(b, a, FriendState::None);
                }
                return Ok("blocked".into());
            }
            FriendAction::Reject => state == FriendState::RequestedBy,
            FriendAction::Remove => {
                matches!(state, FriendState::Friends | FriendState::Requested)
            }
            FriendAction::Unblock => {
                if state == FriendState::Blocked {
                    self.set(a, b, FriendState::None);
                }
                return Ok(self.is(a, b).as_str().into());
            }
        };
        if end {
            self.set(a, b, FriendState::None);
            self.set(b, a, FriendState::None);
        }
        Ok(self.is(a, b).as_str().into())
    }

    fn send(&mut self, a: u64, key: u8, log: Option<(u64, u64)>, rights: Outcome) -> Outcome {
        if let Some((used, seq)) = self.keys.get(&(a, key)) {
            let same = log == Some(*used);
            return if same {
                Ok(format!("seq {seq}"))
            } else {
                Err(ErrorCode::KeyConflict)
            };
        }
        rights?;
        let log = log.unwrap();
        let readers: Vec<u64> = match log {
            (group, 0) => self.member_ids(group),
            (low, high) => vec![low, high],
        };
        let seq = self.append(log, &readers, &format!("text {key}"));
        self.keys.insert((a, key), (log, seq));
        Ok(format!("seq {seq}"))
    }

    fn send_user(&mut self, a: u64, b: u64, key: u8) -> Outcome {
        let rights = if a == b {
            return Err(ErrorCode::NotFriends);
        } else if self.blocked(a, b) {
            Err(ErrorCode::Blocked)
        } else if self.is(a, b) != FriendState::Friends {
            Err(ErrorCode::NotFriends)
        } else {
            Ok(String::new())
        };
        self.send(a, key, Some((a.min(b), a.max(b))), rights)
    }
}

/// Groups, by their number among those made (the world knows the real numbers).
impl Model {
    fn member_ids(&self, group: u64) -> Vec<u64> {
        let index = REAL
            .with_borrow(|real| real.iter().position(|id| *id == group))
            .unwrap();
        self.groups[index]
            .as_ref()
            .map_or_else(Vec::new, |members| members.keys().copied().collect())
    }

    fn group(&mut self, op: &Op) -> Outcome {
        let (actor, number) = match op {
            Op::Join(a, g) | Op::Leave(a, g) | Op::Disband(a, g) => (*a, *g),
            Op::Remove(a, g, _) | Op::Role(a, g, _, _) | Op::SendGroup(a, g, _) => (*a, *g),
            _ => unreachable!(),
        };
        let index = usize::try_from(number).unwrap();
        let real = REAL.with_borrow(|real| real.get(index).copied());
        let log = real.map(|real| (real, 0)).unwrap_or((NO_GROUP, 0));
        let members = self.groups.get(index).cloned().flatten();
        let role = members
            .as_ref()
            .and_then(|members| members.get(&actor).copied());
        if let Op::SendGroup(_, _, key) = op {
            let rights = match (&members, role) {
                (None, _) => Err(ErrorCode::NoSuchGroup),
                (_, None) => Err(ErrorCode::NotMember),
                (_, Some(Role::Muted)) => Err(ErrorCode::Muted),
                _ => Ok(String::new()),
            };
            return self.send(actor, *key, Some(log), rights);
        }
        let Some(members) = members else {
            let again = matches!(op, Op::Disband(..)) && self.last_owner.get(index) == Some(&actor);
            return if again {
                Ok("done".into())
            } else {
                Err(ErrorCode::NoSuchGroup)
            };
        };
        match op {
            Op::Join(..) if role.is_some() => Ok("member".into()),
            Op::Join(..) => {
                self.groups[index]
                    .as_mut()
                    .unwrap()
                    .insert(actor, Role::Member);
                self.append(log, &self.member_ids(log.0), &format!("joined {actor}"));
                Ok("member".into())
            }
            Op::Leave(..) if role == Some(Role::Owner) => Err(ErrorCode::Forbidden),
            Op::Leave(..) => {
                if role.is_some() {
                    self.append(log, &self.member_ids(log.0), &format!("left {actor}"));
                    self.groups[index].as_mut().unwrap().remove(&actor);
                }
                Ok("done".into())
            }
            _ if role.is_none() => Err(ErrorCode::NotMember),
            Op::Disband(..) if role != Some(Role::Owner) => Err(ErrorCode::Forbidden),
            Op::Disband(..) => {
                self.append(log, &self.member_ids(log.0), "disbanded");
                self.groups[index] = None;
                self.last_owner[index] = actor;
                Ok("done".into())
            }
            Op::Remove(_, _, other) => self.remove(index, log, actor, *other, &members),
            Op::Role(_, _, other, to) => self.role(index, log, actor, *other, *to, &members),
            _ => unreachable!(),
        }
    }

    fn remove(
        &mut self,
        index: usize,
        log: (u64, u64),
        actor: u64,
        other: u64,
        members: &BTreeMap<u64, Role>,
    ) -> Outcome {
        let mine = members[&actor];
        if !mine.manages() || actor == other {
            return Err(ErrorCode::Forbidden);
        }
        match members.get(&other) {
            None => Ok("done".into()),
            Some(Role::Owner) => Err(ErrorCode::Forbidden),
            Some(Role::Admin) if mine == Role::Admin => Err(ErrorCode::Forbidden),
            Some(_) => {
                self.append(log, &self.member_ids(log.0), &format!("removed {other}"));
                self.groups[index].as_mut().unwrap().remove(&other);
                Ok("done".into())
            }
        }
    }

    fn role(
        &mut self,
        index: usize,
        log: (u64, u64),
        actor: u64,
        other: u64,
        to: Role,
        members: &BTreeMap<u64, Role>,
    ) -> Outcome {
        let mine = members[&actor];
        if !mine.manages() {
            return Err(ErrorCode::Forbidden);
        }
        let Some(theirs) = members.get(&other).copied() else {
            return Err(ErrorCode::NotMember);
        };
        if theirs == to {
            return Ok("done".into());
        }
        let plain = |role| matches!(role, Role::Member | Role::Muted);
        if mine == Role::Owner && other == actor {
            return Err(ErrorCode::Forbidden);
        }
        if mine == Role::Admin && !(plain(theirs) && plain(to)) {
            return Err(ErrorCode::Forbidden);
        }
        let readers = self.member_ids(log.0);
        self.append(log, &readers, &format!("role {other} {}", to.as_str()));
        self.groups[index].as_mut().unwrap().insert(other, to);
        if to == Role::Owner {
            self.append(log, &readers, &format!("role {actor} admin"));
            self.groups[index]
                .as_mut()
                .unwrap()
                .insert(actor, Role::Admin);
        }
        Ok("done".into())
    }
}

const NO_GROUP: u64 = 9999;

thread_local! {
    /// The numbers of the groups that were made, in order.
    static REAL: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The server, with one session of each user.
struct World {
    node: Loopback,
    connections: Vec<ConnectionId>,
}

impl World {
    fn new() -> Self {
        let secret = Secret::new("a secret of at least thirty-two bytes");
        let config = Config {
            rates: None,
            ..Config::new(secret)
        };
        let mut world = Self {
            node: Loopback::new(config, Limits::default()),
            connections: Vec::new(),
        };
        for number in 1..=USERS {
            let connection = world.node.connect().unwrap();
            world.connections.push(connection);
            let name = Name::new(&format!("user {number}")).unwrap();
            let password = Secret::new("password");
            let register = Request::Register {
                name: name.clone(),
                password: password.clone(),
                invite: None,
            };
            let who = UserRef::Name(name);
            let start = Start::default();
            let login = Request::Login {
                who,
                password,
                device: None,
                start,
            };
            for request in [register, login] {
                world.node.request(connection, 1, request).unwrap();
            }
            world.node.take(connection);
        }
        world
    }

    fn ask(&mut self, user: u64, request: Request) -> Result<Reply, ErrorCode> {
        let connection = self.connections[usize::try_from(user).unwrap() - 1];
        self.node.request(connection, 1, request).unwrap();
        let sent = self.node.take(connection);
        let mut answer = None;
        for sent in sent {
            match sent {
                Sent::Reply(_, result) => answer = Some(result.map_err(|error| error.code)),
                other => self.node.put_back(connection, other),
            }
        }
        answer.unwrap()
    }

    fn messages(&mut self, user: u64) -> Vec<(ConversationRef, u64, String)> {
        let connection = self.connections[usize::try_from(user).unwrap() - 1];
        let sent = self.node.take(connection);
        sent.into_iter()
            .filter_map(|sent| match sent {
                Sent::Event(Event::Message(message)) => {
                    Some((message.conversation, message.seq.0, show(&message.body)))
                }
                _ => None,
            })
            .collect()
    }
}

fn show(body: &Body) -> String {
    match body {
        Body::Text(text) => text.text.to_string(),
        Body::Joined { user } => format!("joined {user}"),
        Body::Left { user } => format!("left {user}"),
        Body::Removed { user } => format!("removed {user}"),
        Body::Role { user, role } => format!("role {user} {}", role.as_str()),
        Body::Disbanded => "disbanded".into(),
        other => format!("{other:?}"),
    }
}

fn brief(reply: Reply) -> String {
    match reply {
        Reply::Done => "done".into(),
        Reply::FriendRequested { state, .. } | Reply::FriendState { state } => {
            state.as_str().into()
        }
        Reply::GroupJoined { state } => state.as_str().into(),
        Reply::Appended { seq, .. } => format!("seq {seq}"),
        other => format!("{other:?}"),
    }
}

fn request_of(op: &Op) -> (u64, Request) {
    let group = |number: &u64| {
        let index = usize::try_from(*number).unwrap();
        GroupId(
            REAL.with_borrow(|real| real.get(index).copied())
                .unwrap_or(NO_GROUP),
        )
    };
    let send = |to, key: &u8| Request::Send {
        to,
        key: Key::new(&format!("key {key}")).unwrap(),
        text: format!("text {key}").as_str().into(),
        reply_to: None,
        meta: None,
    };
    let by_self = |action, g| Request::GroupSelf {
        action,
        group: group(g),
    };
    match op {
        Op::Ask(a, b) => (
            *a,
            Request::FriendRequest {
                who: UserRef::Id(UserId(*b)),
            },
        ),
        Op::Act(a, action, b) => (
            *a,
            Request::Friend {
                action: *action,
                user: UserId(*b),
            },
        ),
        Op::Create(a) => {
            let (name, description) = (Name::new("group").unwrap(), "".into());
            (
                *a,
                Request::GroupCreate {
                    name,
                    description,
                    join: JoinPolicy::Open,
                    key: None,
                },
            )
        }
        Op::Join(a, g) => (*a, by_self(GroupSelfAction::Join, g)),
        Op::Leave(a, g) => (*a, by_self(GroupSelfAction::Leave, g)),
        Op::Disband(a, g) => (*a, by_self(GroupSelfAction::Disband, g)),
        Op::Remove(a, g, b) => {
            let (action, user) = (GroupOtherAction::Remove, UserId(*b));
            (
                *a,
                Request::GroupOther {
                    action,
                    group: group(g),
                    user,
                },
            )
        }
        Op::Role(a, g, b, role) => (
            *a,
            Request::GroupRole {
                group: group(g),
                user: UserId(*b),
                role: *role,
            },
        ),
        Op::SendUser(a, b, key) => (*a, send(ConversationRef::User(UserId(*b)), key)),
        Op::SendGroup(a, g, key) => (*a, send(ConversationRef::Group(group(g)), key)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_server_does_what_the_model_does(ops in proptest::collection::vec(operation(), 1..120)) {
        REAL.with_borrow_mut(Vec::clear);
        let mut model = Model::default();
        let mut world = World::new();
        for op in &ops {
            let (actor, request) = request_of(op);
            let answer = world.ask(actor, request);
            if let (Op::Create(owner), Ok(Reply::GroupCreated { group })) = (op, &answer) {
                REAL.with_borrow_mut(|real| real.push(group.0));
                model.groups.push(Some(BTreeMap::from([(*owner, Role::Owner)])));
                model.last_owner.push(0);
                model.append((group.0, 0), &[*owner], &format!("joined {owner}"));
            } else {
                let expected = match op {
                    Op::Ask(a, b) => model.ask(*a, *b),
                    Op::Act(a, action, b) => model.act(*a, *action, *b),
                    Op::SendUser(a, b, key) => model.send_user(*a, *b, *key),
                    op => model.group(op),
                };
                prop_assert_eq!(answer.map(brief), expected, "{:?}", op);
            }
            for user in 1..=USERS {
                let expected = model.sent.remove(&user).unwrap_or_default();
                prop_assert_eq!(world.messages(user), expected, "user {} after {:?}", user, op);
            }
        }
    }
}
