//! A store in memory and a transport of scripted connections, for tests of the node.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_channel::{Receiver, Sender};
use async_std::future::timeout;
use parlor::node::{Arrival, FrameSink, FrameSource, Frames, Link, Transport};
use parlor::{LocalConnection, Node, Sink};
use parlor_core::engine::Config;
use parlor_core::id::{StoreToken, UserId};
use parlor_core::name::Name;
use parlor_core::protocol::request::{Start, UserRef};
use parlor_core::protocol::{Reply, Request};
use parlor_core::secret::Secret;
use parlor_core::sim::MemoryStore;
use parlor_core::store::{Limits, Store, StoreRequest};
use parlor_core::time::{Timestamp, millis};

/// Far more than anything here takes: what lasts longer hangs.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// Waits for something that must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(HANG, future).await.expect("it hangs")
}

/// A store in memory that answers at once, or holds its answers back.
pub(crate) struct Memory {
    store: Mutex<MemoryStore>,
    sink: Sink,
}

impl Memory {
    pub(crate) fn new(sink: Sink) -> Self {
        Self {
            store: Mutex::new(MemoryStore::new(Limits::default())),
            sink,
        }
    }
}

impl Store for Memory {
    fn submit(&self, requests: Vec<(StoreToken, StoreRequest)>) {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let mut store = self.store.lock().unwrap();
        let answers = requests
            .into_iter()
            .map(|(token, request)| (token, store.execute(request, Timestamp(millis(now)))));
        self.sink.stored(answers.collect());
    }
}

/// A configuration for tests: no rates, and quick to notice who left.
pub(crate) fn config() -> Config {
    Config {
        rates: None,
        offline_after: Duration::from_millis(1),
        ..Config::new(Secret::new("a secret of at least 32 bytes ..."))
    }
}

/// A node over a store in memory.
pub(crate) fn node() -> Node {
    let builder = Node::builder();
    let store = Memory::new(builder.sink());
    builder.start(config(), store)
}

/// A connection of a new user, logged in.
pub(crate) async fn user(node: &Node, name: &str) -> (LocalConnection, UserId) {
    let mut connection = soon(node.connect()).await.unwrap();
    let name = Name::new(name).unwrap();
    let password = Secret::new("correct horse");
    let registered = Request::Register {
        name: name.clone(),
        password: password.clone(),
        invite: None,
    };
    let registered = soon(connection.ask(registered)).await.unwrap();
    let Reply::Registered { user } = registered else {
        panic!("{registered:?}");
    };
    soon(connection.ask(login(name))).await.unwrap();
    (connection, user)
}

pub(crate) fn login(name: Name) -> Request {
    Request::Login {
        who: UserRef::Name(name),
        password: Secret::new("correct horse"),
        device: None,
        start: Start::default(),
    }
}

/// A transport whose connections are made by the test.
pub(crate) struct Scripted(Receiver<Link<Script, Tape>>);

/// What a scripted client sends.
pub(crate) struct Script(Receiver<Piece>);

/// One read of a scripted client's bytes.
pub(crate) enum Piece {
    Frames(Vec<String>),
    TooLarge,
    End,
    Broken,
}

/// What a scripted client was sent.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Taped>>);

#[derive(Default)]
struct Taped {
    bytes: Vec<u8>,
    /// How much more the client accepts.
    room: Option<usize>,
    end: Option<End>,
}

/// How a scripted connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Aborted,
}

/// The test's side of a scripted connection.
pub(crate) struct Client {
    pub(crate) send: Sender<Piece>,
    pub(crate) tape: Tape,
}

/// Makes a transport and the way to connect through it.
pub(crate) fn scripted() -> (Scripted, impl Fn() -> Client) {
    let (links, accepted) = async_channel::unbounded();
    let connect = move || {
        let (send, pieces) = async_channel::unbounded();
        let tape = Tape::default();
        let link = Link {
            address: None,
            source: Script(pieces),
            sink: tape.clone(),
        };
        links.try_send(link).expect("the node accepts");
        Client { send, tape }
    };
    (Scripted(accepted), connect)
}

impl Transport for Scripted {
    type Source = Script;
    type Sink = Tape;

    async fn accept(&mut self) -> Link<Script, Tape> {
        match self.0.recv().await {
            Ok(link) => link,
            Err(_) => std::future::pending().await,
        }
    }
}

impl FrameSource for Script {
    async fn read(&mut self, frames: &mut Frames) -> io::Result<Arrival> {
        match self.0.recv().await {
            Ok(Piece::Frames(all)) => {
                for frame in all {
                    frames.push(frame.as_bytes());
                }
                Ok(Arrival::Frames)
            }
            Ok(Piece::TooLarge) => Ok(Arrival::TooLarge),
            Ok(Piece::End) => Ok(Arrival::End),
            Ok(Piece::Broken) | Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl FrameSink for Tape {
    async fn write(&mut self, frames: &Frames, position: usize) -> io::Result<usize> {
        let room = self.0.lock().unwrap().room;
        let rest = &frames.as_bytes()[position..];
        // Odd lengths, so that frames are cut anywhere.
        let taken = rest.len().min(1000).min(room.unwrap_or(usize::MAX));
        if taken == 0 {
            return std::future::pending().await;
        }
        let mut taped = self.0.lock().unwrap();
        taped.room = room.map(|room| room - taken);
        taped.bytes.extend_from_slice(&rest[..taken]);
        Ok(position + taken)
    }

    async fn close(self) {
        self.0.lock().unwrap().end = Some(End::Closed);
    }

    fn abort(self) {
        self.0.lock().unwrap().end = Some(End::Aborted);
    }
}

impl Tape {
    /// Lets the client accept only so many bytes.
    pub(crate) fn accept_only(&self, bytes: usize) {
        self.0.lock().unwrap().room = Some(bytes);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let taped = self.0.lock().unwrap();
        let text = std::str::from_utf8(&taped.bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) -> End {
        self.until(|tape| tape.0.lock().unwrap().end).await
    }

    /// Looks again and again until there is an answer.
    pub(crate) async fn until<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        soon(async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                async_std::task::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }
}

impl Client {
    pub(crate) fn frames(&self, frames: impl IntoIterator<Item = String>) {
        let piece = Piece::Frames(frames.into_iter().collect());
        self.send.try_send(piece).unwrap();
    }
}
