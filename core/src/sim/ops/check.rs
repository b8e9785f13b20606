//! Clients that remember what they were told and hold the server to it.
#![expect(clippy::panic, reason = "a broken promise is reported by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{Config, Counts, Input, Misuse};
use crate::id::{ConnectionId, ConversationRef, RequestId, Seq, UserId};
use crate::name::{Key, Name};
use crate::protocol::request::{Start, UserRef};
use crate::protocol::{ErrorCode, Event, Message, Reply, Request};
use crate::secret::Secret;
use crate::sim::{Loopback, Sent, promises};
use crate::store::Limits;

/// How many alarms an engine may have that are nobody's: to read changes, to be heard of, and to ask
/// again after nodes that fell silent.
const OWN_ALARMS: usize = 16;

/// A node and its clients.
pub(super) struct Clients {
    pub(super) node: Loopback,
    clients: BTreeMap<ConnectionId, Client>,
    last_request: u64,
}

/// What one connection knows.
#[derive(Default)]
struct Client {
    user: Option<UserId>,
    /// How far each conversation was seen.
    seen: BTreeMap<ConversationRef, Seq>,
    /// Requests that are not answered, in order.
    asked: Vec<(RequestId, Request)>,
    /// Where cursors were to start.
    replay: bool,
}

impl Clients {
    pub(super) fn new(config: Config, limits: Limits) -> Self {
        let node = Loopback::new(config, limits);
        Self {
            node,
            clients: BTreeMap::new(),
            last_request: 0,
        }
    }

    pub(super) fn register(&mut self, name: &str) {
        let connection = self.connect();
        let password = password();
        self.ask(
            connection,
            Request::Register {
                name: valid(name),
                password,
                invite: None,
            },
        );
        self.check();
        self.disconnect(connection);
    }

    pub(super) fn login(&mut self, name: &str, start: Start) {
        let connection = self.connect();
        if let Some(client) = self.clients.get_mut(&connection) {
            client.replay = start.replay;
        }
        let (who, password) = (UserRef::Name(valid(name)), password());
        self.ask(
            connection,
            Request::Login {
                who,
                password,
                device: None,
                start,
            },
        );
    }

    pub(super) fn ask(&mut self, connection: ConnectionId, request: Request) {
        if self.node.is_paused(connection) {
            return;
        }
        self.last_request += 1;
        let id = self.last_request;
        if let Some(client) = self.clients.get_mut(&connection) {
            client.asked.push((RequestId(id), request.clone()));
        }
        self.must(|node| node.request(connection, id, request));
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.check();
        if self.clients.remove(&connection).is_some() {
            self.must(|node| node.disconnect(connection));
        }
    }

    pub(super) fn open(&self) -> Vec<ConnectionId> {
        self.clients.keys().copied().collect()
    }

    pub(super) fn user_of(&self, connection: ConnectionId) -> Option<UserId> {
        self.clients.get(&connection)?.user
    }

    pub(super) fn must(&mut self, act: impl FnOnce(&mut Loopback) -> Result<(), Misuse>) {
        if let Err(misuse) = act(&mut self.node) {
            panic!("the driver kept the contract, and the engine says: {misuse}");
        }
    }

    /// Looks at everything that was sent since the last time.
    pub(super) fn check(&mut self) {
        for connection in self.open() {
            for sent in self.node.take(connection) {
                match sent {
                    Sent::Reply(id, result) => {
                        let result = result.map_err(|error| error.code);
                        self.answered(connection, id, result);
                    }
                    Sent::Event(Event::Message(message)) => self.received(connection, &message),
                    Sent::Event(_) => {
                        let user = self.user_of(connection);
                        assert!(
                            user.is_some() || self.ends(connection),
                            "an event for nobody"
                        );
                    }
                    Sent::Closed => {
                        self.clients.remove(&connection);
                        break;
                    }
                }
            }
        }
    }

    /// Has everything work again, and checks that everyone gets everything and nothing is left.
    pub(super) fn finish(mut self) {
        self.must(Loopback::release_store);
        for connection in self.open() {
            self.must(|node| node.unstall(connection));
        }
        // Long enough for repairs (reads are repeated after a second, a commit in doubt is looked
        // for every five), short enough that nobody is idle.
        for _ in 0..20 {
            self.must(|node| node.advance(Duration::from_secs(1)));
            self.check();
        }
        for (connection, client) in &self.clients {
            assert!(
                client.asked.is_empty(),
                "{connection:?} waits for {:?}",
                client.asked
            );
            self.check_complete(*connection, client);
        }
        for connection in self.open() {
            self.disconnect(connection);
        }
        self.must(|node| node.advance(Duration::from_secs(30)));
        let counts = self.node.engine.counts();
        let others = Counts {
            alarms: 0,
            ..counts
        };
        assert_eq!(others, Counts::default(), "all have left");
        assert!(counts.alarms <= OWN_ALARMS, "{counts:?}");
        self.must(|node| node.input(Input::Drain));
        assert!(self.node.drained);
    }

    fn connect(&mut self) -> ConnectionId {
        match self.node.connect() {
            Ok(connection) => {
                self.clients.insert(connection, Client::default());
                connection
            }
            Err(misuse) => panic!("{misuse}"),
        }
    }

    fn ends(&self, connection: ConnectionId) -> bool {
        // A notice is all that a connection without a session may get.
        self.clients
            .get(&connection)
            .is_some_and(|client| client.user.is_none())
    }

    fn answered(
        &mut self,
        connection: ConnectionId,
        id: Option<RequestId>,
        result: Result<Reply, ErrorCode>,
    ) {
        let Some(client) = self.clients.get_mut(&connection) else {
            return;
        };
        assert!(!client.asked.is_empty(), "an answer without a request");
        let (asked, request) = client.asked.remove(0);
        assert_eq!(Some(asked), id, "answers come in the order of requests");
        match (request, result) {
            (Request::Login { .. }, Ok(Reply::Session(session))) => {
                client.user = Some(session.user);
                client.seen = session
                    .conversations
                    .iter()
                    .map(|item| {
                        let at = if client.replay {
                            item.delivered
                        } else {
                            item.last
                        };
                        (item.conversation, at)
                    })
                    .collect();
            }
            (Request::Logout, Ok(Reply::Done)) => {
                client.user = None;
                client.seen.clear();
            }
            (Request::Send { to, key, text, .. }, Ok(Reply::Appended { seq, .. })) => {
                let user = client.user.unwrap_or_default();
                self.check_stored(user, to, seq, &key, &text);
            }
            _ => {}
        }
    }

    /// An acknowledged message is in the store, at its number.
    fn check_stored(&self, user: UserId, to: ConversationRef, seq: Seq, key: &Key, text: &str) {
        let place = to.place(user);
        let entry = place.and_then(|place| self.node.store.entry(place, seq));
        assert!(
            promises::is_acknowledged(entry.as_deref(), key, text),
            "{seq} of {to:?} was acknowledged as {key:?} and the store has {entry:?}"
        );
    }

    fn received(&mut self, connection: ConnectionId, message: &Message) {
        let Some(client) = self.clients.get_mut(&connection) else {
            return;
        };
        let Some(user) = client.user else {
            panic!("a message before the session: {message:?}")
        };
        let with = message.conversation;
        let seen = client.seen.get(&with).copied();
        assert!(
            promises::follows(seen, user, message),
            "{connection:?} of {user:?} has seen {seen:?} and gets {message:?}"
        );
        client.seen.insert(with, message.seq);
        if promises::ends(&message.body, user) {
            client.seen.remove(&with);
        }
        self.check_like_stored(user, message);
    }

    /// What is received is what the store has, but for texts that changed since.
    fn check_like_stored(&self, user: UserId, message: &Message) {
        let place = message.conversation.place(user);
        let entry = place.and_then(|place| self.node.store.entry(place, message.seq));
        assert!(
            entry
                .as_deref()
                .is_some_and(|entry| promises::is_stored(message, entry)),
            "{user:?} got {message:?} and the store has {entry:?}"
        );
    }

    /// A session that stands has every entry of every conversation of its user.
    fn check_complete(&self, connection: ConnectionId, client: &Client) {
        let Some(user) = client.user else { return };
        let Some(roster) = self.node.store.roster(user, self.node.now()) else {
            panic!("{user:?} is gone");
        };
        let mut expected: BTreeMap<ConversationRef, Seq> = BTreeMap::new();
        for state in &roster.conversations {
            // A direct conversation that is empty was never heard of.
            if state.last > Seq(0) {
                expected.insert(state.conversation, state.last);
            }
        }
        let empty = |with: &ConversationRef| {
            roster
                .conversations
                .iter()
                .any(|state| state.conversation == *with && state.last.0 == 0)
        };
        let seen: BTreeMap<ConversationRef, Seq> = client
            .seen
            .iter()
            .filter(|(with, _)| !empty(with))
            .map(|(with, seq)| (*with, *seq))
            .collect();
        let missing: BTreeSet<_> = expected
            .iter()
            .filter(|item| !seen.iter().any(|other| other == *item))
            .collect();
        assert!(
            missing.is_empty(),
            "{connection:?} of {user:?} saw {seen:?}, not all of {missing:?}"
        );
        assert_eq!(
            seen.len(),
            expected.len(),
            "{connection:?} of {user:?} reads what it may not"
        );
    }
}

fn password() -> Secret {
    Secret::new("password")
}

fn valid(name: &str) -> Name {
    match Name::new(name) {
        Ok(name) => name,
        Err(error) => panic!("{name}: {error}"),
    }
}
