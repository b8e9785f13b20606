//! A chat of two users on standard input, with no async runtime and no network: the engine, a store
//! in memory, and the loop that every front-end has. A line is `alice hello` or `bob hello`.
//! `cargo run -p parlor-core --features sim --example embed`
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // It talks to the terminal.

use parlor_core::engine::{Config, Effect, Engine, Input};
use parlor_core::protocol::{decode, encode};
use parlor_core::{id::ConnectionId, secret::Secret, sim::MemoryStore, time::Timestamp};

type AnyError = Box<dyn std::error::Error>;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn main() -> Result<(), AnyError> {
    let config = Config::new(Secret::new("a secret of at least 32 bytes ..."));
    let mut chat = Chat(
        Engine::new(config, NOW),
        MemoryStore::new(Default::default()),
    );
    for (number, name) in [(1, "alice"), (2, "bob")] {
        let (connection, address) = (ConnectionId(number), None);
        #[rustfmt::skip]
        chat.input(Input::Connected { connection, address })?;
        for op in ["register", "login"] {
            let fields = format!(r#""name":"{name}","password":"correct horse""#);
            chat.frame(number, &format!(r#"{{"id":1,"op":"{op}",{fields}}}"#))?;
        }
    }
    chat.frame(1, r#"{"id":2,"op":"friend_request","user":2}"#)?;
    chat.frame(2, r#"{"id":2,"op":"friend_accept","user":1}"#)?;
    for (key, line) in std::io::stdin().lines().enumerate() {
        let line = line?;
        let (name, text) = line.split_once(' ').unwrap_or_default();
        let (from, to) = if name == "alice" { (1, 2) } else { (2, 1) };
        let text = serde_json::to_string(text)?;
        let fields = format!(r#""to":{{"user":{to}}},"key":"{key}","text":{text}"#);
        chat.frame(from, &format!(r#"{{"id":3,"op":"send",{fields}}}"#))?;
    }
    Ok(())
}

struct Chat(Engine, MemoryStore);

#[rustfmt::skip]
impl Chat {
    fn frame(&mut self, from: u64, json: &str) -> Result<(), AnyError> {
        let frame = decode::request(json.as_bytes()).map_err(|error| error.error)?;
        let (connection, id) = (ConnectionId(from), Some(frame.id));
        self.input(Input::Request { connection, id, request: Ok(frame.request) })
    }

    /// The loop: pass an input, carry out the effects, pass on what comes of them.
    fn input(&mut self, input: Input) -> Result<(), AnyError> {
        self.0.handle(input, NOW)?;
        while let Some(effect) = self.0.poll_effect() {
            let mut json = Vec::new();
            let (targets, weight) = match effect {
                Effect::Store { token, request } => {
                    let result = self.1.execute(request, NOW);
                    return self.input(Input::Stored { token, result });
                }
                Effect::Subscribe { token, .. } => return self.input(Input::Subscribed { token }),
                Effect::Push { connections, event, weight } => {
                    encode::event(&event, &mut json);
                    (connections.to_vec(), weight)
                }
                Effect::Reply { connection, id, result, weight } => {
                    encode::reply(id, &result, &mut json);
                    (vec![connection], weight)
                }
                _ => continue,
            };
            for connection in targets {
                println!("{connection:?} < {}", String::from_utf8_lossy(&json));
                self.0.handle(Input::Written { connection, weight }, NOW)?;
            }
        }
        Ok(())
    }
}
