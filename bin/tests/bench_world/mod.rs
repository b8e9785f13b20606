//! A server that speaks just enough of the protocol for pairs, and goes wrong once.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Which message goes wrong: every pair has sent some by then.
const WRONG: u64 = 20;

/// How it goes wrong, in each conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The receiver gets it twice.
    Double,
    /// The receiver does not get it.
    Lose,
    /// The receiver gets it behind the next one.
    Swap,
    /// The receiver gets another text.
    Change,
    /// The sender is told that it must not.
    Refuse,
    /// The sender is told, once, to repeat it.
    Delay,
    /// The receiver's connection ends.
    Close,
}

/// The server; its threads end with the test's process.
pub(crate) struct Fake {
    pub(crate) port: u16,
}

/// What its connections share.
struct World {
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: Vec<String>,
    connections: HashMap<u64, TcpStream>,
    /// The last entry of each conversation, by its lower user.
    last: HashMap<u64, u64>,
    held: HashMap<u64, Value>,
    /// Who was told to repeat a message.
    delayed: HashSet<u64>,
}

impl Fake {
    pub(crate) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = Arc::new(World {
            fault,
            state: Mutex::default(),
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let world = world.clone();
                thread::spawn(move || world.serve(&stream.unwrap()));
            }
        });
        Self { port }
    }
}

impl World {
    /// Answers one connection's requests until it ends.
    fn serve(&self, stream: &TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut me = 0;
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else {
                return;
            };
            let request: Value = serde_json::from_str(&line).unwrap();
            let mut state = self.state.lock().unwrap();
            let ok = match request["op"].as_str().unwrap() {
                "register" => {
                    state
                        .users
                        .push(request["name"].as_str().unwrap().to_owned());
                    json!({"user": state.users.len()})
                }
                "login" => {
                    let name = request["name"].as_str().unwrap();
                    let place = state.users.iter().position(|it| it == name).unwrap();
                    me = u64::try_from(place + 1).unwrap();
                    state.connections.insert(me, stream.try_clone().unwrap());
                    json!({
                        "version": 1, "user": me, "name": name, "session": me, "token": "t",
                        "idle_ms": 90000, "friends": [], "requests": [], "groups": [],
                        "invites": [], "conversations": [], "more": [],
                    })
                }
                "friend_request" => json!({"user": request["user"], "state": "friends"}),
                "send" => {
                    self.send(&mut state, me, &request);
                    continue;
                }
                op => panic!("{op} was not expected"),
            };
            drop(state);
            write(stream, &json!({"id": request["id"], "ok": ok}));
        }
    }

    fn send(&self, state: &mut State, me: u64, request: &Value) {
        let other = request["to"]["user"].as_u64().unwrap();
        let last = state.last.entry(me.min(other)).or_default();
        let is_wrong = *last + 1 == WRONG;
        let error = match self.fault {
            Fault::Refuse if is_wrong => json!({"code": "muted", "message": "never"}),
            Fault::Delay if is_wrong && state.delayed.insert(me) => {
                json!({"code": "busy", "message": "later", "retry_ms": 1})
            }
            _ => Value::Null,
        };
        if !error.is_null() {
            let reply = json!({"id": request["id"], "error": error});
            return write(&state.connections[&me], &reply);
        }
        *last += 1;
        let seq = *last;
        let event = |reader: u64, text: &Value| {
            let place = json!({"user": if reader == me { other } else { me }});
            json!({
                "event": "message", "in": place, "seq": seq, "from": me, "at": 1, "kind": "text",
                "key": request["key"], "text": text,
            })
        };
        let ok = json!({"seq": seq, "at": 1});
        write(
            &state.connections[&me],
            &json!({"id": request["id"], "ok": ok}),
        );
        write(&state.connections[&me], &event(me, &request["text"]));
        let told = event(other, &request["text"]);
        let receiver = &state.connections[&other];
        match self.fault {
            Fault::Double if is_wrong => {
                write(receiver, &told);
                write(receiver, &told);
            }
            Fault::Lose if is_wrong => {}
            Fault::Swap if is_wrong => {
                state.held.insert(other, told);
            }
            Fault::Change if is_wrong => write(receiver, &event(other, &json!("surprise"))),
            Fault::Close if is_wrong => receiver.shutdown(Shutdown::Both).unwrap(),
            _ => {
                write(receiver, &told);
                if let Some(held) = state.held.remove(&other) {
                    write(receiver, &held);
                }
            }
        }
    }
}

fn write(mut stream: &TcpStream, frame: &Value) {
    // Who was cut off hears nothing.
    let _gone = stream.write_all(format!("{frame}\n").as_bytes());
}
