//! The engine, with a store in memory: exact effects for exact inputs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    clippy::new_without_default,
    reason = "a test fails by panicking"
)]

mod chat;
mod friends;
mod groups;
mod guard;
mod lag;
mod limits;
mod memberships;
mod normal_path;
mod operators;
mod pages;
mod presence;
mod privacy;
mod races;
mod relay;
mod repairs;
mod sessions;
mod signals;
mod simulated;
mod stopping;
mod store_failures;
mod tallies;

use std::sync::Arc;
use std::time::Duration;

use parlor_core::engine::{Config, Counts, Input};
use parlor_core::id::{
    ConnectionId, ConversationRef, GroupId, Pair, Place, Seq, StoreToken, UserId,
};
use parlor_core::log::{Body, Entry, FriendState, JoinPolicy};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::reply::SessionReply;
use parlor_core::protocol::request::{FriendAction, GroupSelfAction, Start, UserRef};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::sim::{Loopback, Sent};
use parlor_core::store::{
    Command, Head, Limits, Read, ReadDone, StoreRequest, StoreResponse, StoreResult,
};

/// A node, and the shorthand that the tests speak in.
pub struct World {
    pub node: Loopback,
    next_id: u64,
}

/// What a node holds for nobody: two alarms of its own, to read what changed and to look for a store
/// that was restored, and in a cluster two more, to be heard of and to ask who is online.
pub fn nobody(alarms: usize) -> Counts {
    Counts {
        alarms,
        ..Counts::default()
    }
}

pub fn config() -> Config {
    let mut config = Config::new(Secret::new("a secret of at least thirty-two bytes"));
    config.rates = None;
    config
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn user(number: u64) -> ConversationRef {
    ConversationRef::User(UserId(number))
}

pub fn group(number: u64) -> ConversationRef {
    ConversationRef::Group(GroupId(number))
}

pub fn send(to: ConversationRef, text: &str) -> Request {
    let start: String = text.chars().take(16).collect();
    let key = Key::new(&format!("key of {start}")).unwrap();
    Request::Send {
        to,
        key,
        text: text.into(),
        reply_to: None,
        meta: None,
    }
}

pub fn login_of(text: &str) -> Request {
    Request::Login {
        who: UserRef::Name(name(text)),
        password: Secret::new("password"),
        device: None,
        start: Default::default(),
    }
}

pub fn ack(with: u64, seq: u64) -> Request {
    Request::Ack {
        conversation: user(with),
        delivered: Some(Seq(seq)),
        read: None,
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        Self {
            node: Loopback::new(config, Limits::default()),
            next_id: 0,
        }
    }

    /// Makes a node of a cluster.
    pub fn cluster() -> Self {
        Self::with(Config {
            clustered: true,
            ..config()
        })
    }

    /// Hands over what another node told.
    pub fn relay(&mut self, message: RelayMessage) {
        self.node.input(Input::Relayed { message }).unwrap();
    }

    pub fn connect(&mut self) -> ConnectionId {
        self.node.connect().unwrap()
    }

    /// Sends a request and returns its answer; what came before and after stays to be taken.
    pub fn ask(&mut self, connection: ConnectionId, request: Request) -> Result<Reply, ErrorCode> {
        let sent = self.node.take(connection);
        assert!(
            !sent.iter().any(|sent| matches!(sent, Sent::Reply(..))),
            "{connection:?} has an answer that nobody took: {sent:?}"
        );
        self.next_id += 1;
        let id = self.next_id;
        self.node.request(connection, id, request).unwrap();
        let after = self.node.take(connection);
        let mut answer = None;
        for sent in sent.into_iter().chain(after) {
            match sent {
                Sent::Reply(got, result) => {
                    assert_eq!(got.map(|got| got.0), Some(id));
                    assert!(answer.is_none(), "two answers");
                    answer = Some(result.map_err(|error| error.code));
                }
                other => self.node.put_back(connection, other),
            }
        }
        answer.unwrap_or_else(|| panic!("no answer"))
    }

    pub fn ok(&mut self, connection: ConnectionId, request: Request) -> Reply {
        let shown = format!("{request:?}");
        self.ask(connection, request)
            .unwrap_or_else(|code| panic!("{shown}: {code}"))
    }

    pub fn register(&mut self, text: &str) -> UserId {
        let connection = self.connect();
        let password = Secret::new("password");
        let request = Request::Register {
            name: name(text),
            password,
            invite: None,
        };
        let Reply::Registered { user } = self.ok(connection, request) else {
            panic!()
        };
        self.node.disconnect(connection).unwrap();
        user
    }

    pub fn login(&mut self, text: &str) -> (ConnectionId, SessionReply) {
        self.login_with(text, Start::default())
    }

    pub fn login_with(&mut self, text: &str, start: Start) -> (ConnectionId, SessionReply) {
        let connection = self.connect();
        let request = Request::Login {
            who: UserRef::Name(name(text)),
            password: Secret::new("password"),
            device: None,
            start,
        };
        let Reply::Session(session) = self.ok(connection, request) else {
            panic!()
        };
        (connection, *session)
    }

    pub fn resume(&mut self, token: &Secret) -> Result<(ConnectionId, SessionReply), ErrorCode> {
        let connection = self.connect();
        let request = Request::Resume {
            token: token.clone(),
            start: Start::default(),
        };
        match self.ask(connection, request)? {
            Reply::Session(session) => Ok((connection, *session)),
            other => panic!("{other:?}"),
        }
    }

    /// Registers users 1, 2, .. named a, b, .., logs each in, and makes each a friend of user 1.
    pub fn circle(&mut self, count: u64) -> Vec<ConnectionId> {
        let mut connections = Vec::new();
        for letter in ('a'..='z').take(usize::try_from(count).unwrap()) {
            self.register(&letter.to_string());
            connections.push(self.login(&letter.to_string()).0);
        }
        for number in 2..=count {
            let index = usize::try_from(number).unwrap() - 1;
            let request = Request::FriendRequest {
                who: UserRef::Id(UserId(number)),
            };
            self.ok(connections[0], request);
            let request = Request::Friend {
                action: FriendAction::Accept,
                user: UserId(1),
            };
            let state = FriendState::Friends;
            assert_eq!(
                self.ok(connections[index], request),
                Reply::FriendState { state }
            );
        }
        for connection in &connections {
            self.node.take(*connection);
        }
        connections
    }

    /// Makes an open group of the first connection's user that all the others join.
    pub fn group_of(&mut self, connections: &[ConnectionId]) -> GroupId {
        let request = Request::GroupCreate {
            name: name("group"),
            description: "".into(),
            join: JoinPolicy::Open,
            key: None,
        };
        let Reply::GroupCreated { group } = self.ok(connections[0], request) else {
            panic!()
        };
        for connection in &connections[1..] {
            self.ok(
                *connection,
                Request::GroupSelf {
                    action: GroupSelfAction::Join,
                    group,
                },
            );
        }
        for connection in connections {
            self.node.take(*connection);
        }
        group
    }

    pub fn events(&mut self, connection: ConnectionId) -> Vec<Event> {
        let sent = self.node.take(connection);
        sent.into_iter()
            .filter_map(|sent| match sent {
                Sent::Event(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// Takes the messages that a connection got, as (where, number, text or kind).
    pub fn messages(&mut self, connection: ConnectionId) -> Vec<(ConversationRef, u64, String)> {
        self.events(connection)
            .into_iter()
            .filter_map(|event| match event {
                Event::Message(message) => {
                    Some((message.conversation, message.seq.0, show(&message.body)))
                }
                _ => None,
            })
            .collect()
    }

    /// Lets time pass until held conversations are verified, and answers with what the store says of
    /// them, changed.
    pub fn verify_with(&mut self, change: impl FnOnce(&mut [Head])) {
        self.node.hold_store();
        self.wait(Duration::from_secs(61));
        let mut held = self.node.take_held();
        let verify = |(_, request): &(_, StoreRequest)| {
            matches!(request, StoreRequest::Read(Read::Heads { .. }))
        };
        let (token, request) = held.remove(held.iter().position(verify).unwrap());
        let mut result = self.node.store.execute(request, self.node.now());
        let Ok(StoreResponse::Read(ReadDone::Heads { heads, .. })) = &mut result else {
            panic!("{result:?}")
        };
        change(heads);
        self.node.complete(token, result).unwrap();
    }

    /// Has the held store answer everything but the pages that sessions lag in; carries these out
    /// without saying so.
    pub fn pages_read(&mut self) -> Vec<(StoreToken, StoreResult)> {
        let mut pages = Vec::new();
        loop {
            let held = self.node.take_held();
            if held.is_empty() {
                return pages;
            }
            for (token, request) in held {
                let page = matches!(request, StoreRequest::Read(Read::Fetch { .. }));
                let result = self.node.store.execute(request, self.node.now());
                if page {
                    pages.push((token, result));
                } else {
                    self.node.complete(token, result).unwrap();
                }
            }
        }
    }

    pub fn wait(&mut self, duration: Duration) {
        self.node.advance(duration).unwrap();
    }
}

/// Has the store carry out a message from `a` to `b`, as another node would: this one is not told.
pub fn said_elsewhere(world: &mut World, text: &str) -> Arc<Entry> {
    let place = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
    let command = Command::Send {
        user: UserId(1),
        place,
        key: Key::new(text).unwrap(),
        text: text.into(),
        reply_to: None,
        meta: None,
    };
    let request = StoreRequest::Command(Box::new(command));
    match world.node.store.execute(request, world.node.now()) {
        Ok(StoreResponse::Applied(applied)) => applied.entries[0].clone(),
        other => panic!("{other:?}"),
    }
}

pub fn show(body: &Body) -> String {
    match body {
        Body::Text(text) if text.recalled => "recalled".into(),
        Body::Text(text) => text.text.to_string(),
        Body::Edit { target, text } => format!("edit {target} {text:?}"),
        Body::Recall { target } => format!("recall {target}"),
        Body::Joined { user } => format!("joined {user}"),
        Body::Left { user } => format!("left {user}"),
        Body::Removed { user } => format!("removed {user}"),
        Body::Role { user, role } => format!("role {user} {}", role.as_str()),
        Body::Updated(_) => "updated".into(),
        Body::Disbanded => "disbanded".into(),
    }
}

pub const fn appended(seq: u64, at: parlor_core::time::Timestamp) -> Reply {
    Reply::Appended { seq: Seq(seq), at }
}
