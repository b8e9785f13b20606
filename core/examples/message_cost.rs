//! What a message costs without a network and a database.
//! `cargo run --release -p parlor-core --features sim --example message_cost -- direct 100000`
//!
//! `decode` reads a request, `encode` writes an event; `direct` decodes a message to a friend, has
//! the engine handle it and a store in memory keep it, and encodes the reply and the receiver's
//! event; `group` does the same with a group of 100 who are all online.
//!
//! Under `valgrind` two runs of different lengths give the instructions and the allocations for one
//! message: `.ci/costs` compares them with those in `core/costs.txt`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout
)] // It times itself and prints.

use std::time::Instant;

use parlor_core::engine::{Config, Effect, Engine, Input};
use parlor_core::id::{ConnectionId, RequestId};
use parlor_core::protocol::{Event, Reply, decode, encode};
use parlor_core::{secret::Secret, sim::MemoryStore, time::Timestamp};

type AnyError = Box<dyn std::error::Error>;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const MEMBERS: u64 = 100;
const FRIEND: &str = r#""user":2"#;
/// A hundred bytes.
const TEXT: &str = "As long as what people write to each other when they have something to say and \
                    the time to say it..";

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "direct".to_owned());
    let count: u64 = arguments
        .next()
        .map_or(Ok(100_000), |number| number.parse())?;
    let start;
    match what.as_str() {
        "decode" => {
            start = Instant::now();
            for number in 0..count {
                decode::request(frame(number, FRIEND).as_bytes()).map_err(|error| error.error)?;
            }
        }
        "encode" => {
            let mut node = Node::new(2)?;
            node.frame(1, &frame(0, FRIEND))?;
            let event = node.last.take().ok_or("nothing was pushed")?;
            start = Instant::now();
            for _ in 0..count {
                node.out.clear();
                encode::event(&event, &mut node.out);
            }
        }
        "direct" | "group" => {
            let direct = what == "direct";
            let mut node = Node::new(if direct { 2 } else { MEMBERS })?;
            let to = match direct {
                true => FRIEND.to_owned(),
                false => format!(r#""group":{}"#, node.group),
            };
            start = Instant::now();
            for number in 0..count {
                node.out.clear();
                node.frame(1, &frame(number, &to))?;
            }
        }
        other => return Err(format!("{other} is none of decode, encode, direct, group").into()),
    }
    let each = start.elapsed().as_nanos() / u128::from(count.max(1));
    println!("{what}: {count} times, {each} ns each");
    Ok(())
}

/// A message to a place such as `"user":2`.
fn frame(number: u64, to: &str) -> String {
    format!(r#"{{"id":{number},"op":"send","to":{{{to}}},"key":"key-{number}","text":"{TEXT}"}}"#)
}

/// An engine, its store, and what it would send.
struct Node {
    engine: Engine,
    store: MemoryStore,
    out: Vec<u8>,
    last: Option<Event>,
    group: u64,
}

impl Node {
    /// Makes users with a session each: the first two are friends, and all are members of a group.
    fn new(users: u64) -> Result<Self, AnyError> {
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
                node.frame(user, &format!(r#"{{"id":1,"op":"{op}",{fields}}}"#))?;
            }
        }
        node.frame(1, r#"{"id":2,"op":"friend_request","user":2}"#)?;
        node.frame(2, r#"{"id":2,"op":"friend_accept","user":1}"#)?;
        node.frame(1, r#"{"id":3,"op":"group_create","name":"all"}"#)?;
        for user in 2..=users {
            let fields = format!(r#""group":{}"#, node.group);
            node.frame(user, &format!(r#"{{"id":3,"op":"group_join",{fields}}}"#))?;
        }
        Ok(node)
    }

    fn frame(&mut self, from: u64, json: &str) -> Result<(), AnyError> {
        let frame = decode::request(json.as_bytes()).map_err(|error| error.error)?;
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
