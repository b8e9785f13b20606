//! Exact effects for exact inputs.

mod breaks;
mod lists;
mod messages;
mod sends;

use std::time::Duration;

use super::{Config, Effect, Input, Outcome, Session, Status, Ticket};
use crate::id::{ConversationRef, GroupId, RequestId, Seq, SessionId, UserId};
use crate::log::{Body, Text};
use crate::name::{Key, Name};
use crate::protocol::reply::{ConversationItem, Keep, SessionReply};
use crate::protocol::request::{Anchor, Start, UserRef};
use crate::protocol::{ErrorCode, Event, Message, NoticeCode, Reply, Request, RequestError};
use crate::secret::Secret;
use crate::time::Timestamp;

const ANN: UserId = UserId(1);
const BOB: ConversationRef = ConversationRef::User(UserId(2));
const CREW: ConversationRef = ConversationRef::Group(GroupId(7));

/// A session, its clock, and whoever plays the server.
struct Desk {
    session: Session,
    now: Timestamp,
}

impl Desk {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let now = Timestamp(1_000_000);
        let session = Session::new(config, now);
        Self { session, now }
    }

    /// A desk whose session is online; its next request is number 2.
    fn online(change: impl FnOnce(&mut Config), conversations: Vec<ConversationItem>) -> Self {
        let mut desk = Self::new(change);
        desk.give(Input::Connect);
        desk.give(Input::Connected);
        desk.ask(900, login("ann"));
        desk.answer(1, session_of(ANN, conversations));
        assert!(desk.session.is_online());
        desk
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.session.handle(input, self.now).unwrap();
        std::iter::from_fn(|| self.session.poll_effect()).collect()
    }

    fn ask(&mut self, ticket: u64, request: Request) -> Vec<Effect> {
        let ticket = Ticket(ticket);
        self.give(Input::Request { ticket, request })
    }

    fn answer(&mut self, id: u64, reply: Reply) -> Vec<Effect> {
        let id = Some(RequestId(id));
        let result = Ok(reply);
        self.give(Input::Reply { id, result })
    }

    fn refuse(&mut self, id: u64, error: impl Into<RequestError>) -> Vec<Effect> {
        let id = Some(RequestId(id));
        let result = Err(error.into());
        self.give(Input::Reply { id, result })
    }

    fn push(&mut self, conversation: ConversationRef, seq: u64) -> Vec<Effect> {
        self.give(Input::Event(Event::Message(message(conversation, seq))))
    }

    /// Lets the clock reach the next timeout.
    fn wait(&mut self) -> Vec<Effect> {
        self.now = self.session.poll_timeout().unwrap().max(self.now);
        self.give(Input::Timeout)
    }

    /// Breaks the connection and makes the next one.
    fn reconnect(&mut self) -> Vec<Effect> {
        self.give(Input::Disconnected);
        self.wait();
        self.give(Input::Connected)
    }
}

fn login(name: &str) -> Request {
    Request::Login {
        who: UserRef::Name(Name::new(name).unwrap()),
        password: Secret::new("correct horse"),
        device: None,
        start: Start::default(),
    }
}

fn session_of(user: UserId, conversations: Vec<ConversationItem>) -> Reply {
    Reply::Session(Box::new(SessionReply {
        user,
        name: Name::new("Ann").unwrap(),
        session: SessionId(5),
        token: Secret::new("token"),
        idle_ms: 90_000,
        friends: Vec::new(),
        requests: Vec::new(),
        groups: Vec::new(),
        invites: Vec::new(),
        conversations,
    }))
}

fn item(conversation: ConversationRef, last: u64, delivered: u64) -> ConversationItem {
    ConversationItem {
        conversation,
        last: Seq(last),
        delivered: Seq(delivered),
        read: Seq(0),
        peer: None,
    }
}

fn message(conversation: ConversationRef, seq: u64) -> Message {
    Message {
        conversation,
        seq: Seq(seq),
        from: UserId(2),
        at: Timestamp(seq),
        body: Body::Text(Text {
            key: Key::new("k").unwrap(),
            text: format!("m{seq}").into(),
            reply_to: None,
            meta: None,
            edited: false,
            recalled: false,
        }),
    }
}

fn handed(conversation: ConversationRef, seq: u64) -> Effect {
    Effect::Event(Event::Message(message(conversation, seq)))
}

fn text(to: ConversationRef, key: &str) -> Request {
    Request::Send {
        to,
        key: Key::new(key).unwrap(),
        text: "hello".into(),
        reply_to: None,
        meta: None,
    }
}

fn sent(id: u64, request: Request) -> Effect {
    let id = RequestId(id);
    Effect::Send { id, request }
}

fn done(ticket: u64, reply: Reply) -> Effect {
    let ticket = Ticket(ticket);
    let outcome = Outcome::Done(reply);
    Effect::Outcome { ticket, outcome }
}

fn ended(ticket: u64, outcome: Outcome) -> Effect {
    let ticket = Ticket(ticket);
    Effect::Outcome { ticket, outcome }
}

fn appended(seq: u64) -> Reply {
    Reply::Appended {
        seq: Seq(seq),
        at: Timestamp(seq),
    }
}

fn history(messages: Vec<Message>) -> Reply {
    Reply::History {
        messages,
        more: false,
        keep: Keep::First,
    }
}

fn history_after(conversation: ConversationRef, seq: u64) -> Request {
    Request::History {
        conversation,
        anchor: Anchor::After(Seq(seq)),
        limit: 200,
    }
}

fn resume(have: Vec<(ConversationRef, Seq)>) -> Request {
    Request::Resume {
        token: Secret::new("token"),
        start: Start { replay: true, have },
    }
}

fn ack(conversation: ConversationRef, seq: u64) -> Request {
    Request::Ack {
        conversation,
        delivered: Some(Seq(seq)),
        read: None,
    }
}

fn notice(code: NoticeCode, retry_ms: Option<u64>) -> Event {
    Event::Notice {
        code,
        message: "so it is".into(),
        retry_ms,
    }
}
