//! One node without a network, for what measures it: an engine with its store in memory.

use parlor_core::engine::{Config, Effect, Engine, Input};
use parlor_core::id::{ConnectionId, RequestId};
use parlor_core::protocol::{Event, Reply, decode, encode};
use parlor_core::{secret::Secret, sim::MemoryStore, time::Timestamp};

pub(crate) type AnyError = Box<dyn std::error::Error>;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// How many are in a group.
pub(crate) const MEMBERS: u64 = 100;
/// The friend of the first user, as a place to write to.
pub(crate) const FRIEND: &str = r#""user":2"#;
/// A hundred bytes.
const TEXT: &str = "As long as what people write to each other when they have something to say and \
                    the time to say it..";

/// Messages to one place, one after the other in the same buffer, as in a connection's.
pub(crate) struct Sends {
    json: Vec<u8>,
    /// Where each message's number stands.
    places: Vec<usize>,
    number: u64,
}

/// How many digits a message's number has.
const DIGITS: usize = 10;

impl Sends {
    /// Makes messages to a place such as `"user":2`.
    pub(crate) fn to(to: &str) -> Self {
        let number = 1_000_000_000;
        let json = format!(
            r#"{{"id":{number},"op":"send","to":{{{to}}},"key":"key-{number}","text":"{TEXT}"}}"#
        );
        let text = number.to_string();
        Self {
            places: json.match_indices(&text).map(|it| it.0).collect(),
            json: json.into_bytes(),
            number,
        }
    }

    /// Returns the next message.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.number += 1;
        let mut rest = self.number;
        for digit in (0..DIGITS).rev() {
            let byte = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            for place in &self.places {
                if let Some(to) = self.json.get_mut(place + digit) {
                    *to = byte;
                }
            }
            rest /= 10;
        }
        &self.json
    }
}

/// An engine, its store, and what it would send.
pub(crate) struct Node {
    engine: Engine,
    store: MemoryStore,
    pub(crate) out: Vec<u8>,
    /// What was pushed last.
    pub(crate) last: Option<Event>,
    group: u64,
}

impl Node {
    /// Makes users with a session each: the first two are friends, and all are members of a group.
    pub(crate) fn new(users: u64) -> Result<Self, AnyError> {
        let mut config = Config::new(Secret::new("a secret of at least 32 bytes ..."));
        config.rates = None;
        let mut node = Self {
            engine: Engine::new(config, NOW),
            store: MemoryStore::new(Default::default()),
            out: Vec::new(),
            last: None,
            group: 0,
        };
        for user in 1..=users {
            node.input(Input::Connected {
                connection: ConnectionId(user),
                address: None,
            })?;
            for op in ["register", "login"] {
                let fields = format!(r#""name":"user {user}","password":"correct horse""#);
                let json = format!(r#"{{"id":1,"op":"{op}",{fields}}}"#);
                node.frame(user, json.as_bytes())?;
            }
        }
        node.frame(1, br#"{"id":2,"op":"friend_request","user":2}"#)?;
        node.frame(2, br#"{"id":2,"op":"friend_accept","user":1}"#)?;
        node.frame(1, br#"{"id":3,"op":"group_create","name":"all"}"#)?;
        for user in 2..=users {
            let fields = node.group();
            let json = format!(r#"{{"id":3,"op":"group_join",{fields}}}"#);
            node.frame(user, json.as_bytes())?;
        }
        Ok(node)
    }

    /// The group of all, as a place to write to.
    pub(crate) fn group(&self) -> String {
        format!(r#""group":{}"#, self.group)
    }

    /// Takes a request from a user, and does all that comes of it.
    pub(crate) fn frame(&mut self, from: u64, json: &[u8]) -> Result<(), AnyError> {
        let frame = decode::request(json).map_err(|error| error.error)?;
        self.input(Input::Request {
            connection: ConnectionId(from),
            id: Some(frame.id),
            request: Ok(frame.request),
        })
    }

    /// Passes an input, carries out the effects, and passes on what comes of them.
    fn input(&mut self, input: Input) -> Result<(), AnyError> {
        self.engine.handle(input, NOW)?;
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Store { token, request } => {
                    let result = self.store.execute(request, NOW);
                    self.engine.handle(Input::Stored { token, result }, NOW)?;
                }
                Effect::Reply {
                    connection,
                    id,
                    result,
                    weight,
                } => {
                    if let Err(error) = &result {
                        return Err(
                            format!("request {:?}: {error}", id.map(|RequestId(id)| id)).into()
                        );
                    }
                    if let Ok(Reply::GroupCreated { group }) = &result {
                        self.group = group.0;
                    }
                    encode::reply(id, &result, &mut self.out);
                    self.written(connection, weight)?;
                }
                Effect::Push {
                    connections,
                    event,
                    weight,
                } => {
                    encode::event(&event, &mut self.out);
                    for connection in connections {
                        self.written(connection, weight)?;
                    }
                    self.last = Some(event);
                }
                Effect::Subscribe { token, .. } => {
                    self.engine.handle(Input::Subscribed { token }, NOW)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn written(&mut self, connection: ConnectionId, weight: u32) -> Result<(), AnyError> {
        let written = Input::Written { connection, weight };
        Ok(self.engine.handle(written, NOW)?)
    }
}
