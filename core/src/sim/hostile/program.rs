//! The program and the driver around a client session, who hold it to its promises.
#![expect(clippy::panic, reason = "a broken promise is reported by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::server::{self, Numbers};
use super::{Answer, Ask, Op, Pushed};
use crate::client::{Config, Input, Session, Status, Ticket};
use crate::id::{ConversationRef, RequestId, Seq, UserId};
use crate::log::Body;
use crate::protocol::client::ReplyKind;
use crate::protocol::reply::Keep;
use crate::protocol::request::{Anchor, Start, UserRef};
use crate::protocol::{ErrorCode, Event, Reply, Request, RequestError, encode};
use crate::secret::Secret;
use crate::time::Timestamp;

/// More effects than one input may have.
const EFFECTS: usize = 1000;

/// More steps than an honest server needs to bring everything to its end.
const STEPS: usize = 1000;

/// A session, its clock, and what is known of it from outside.
pub(super) struct Program {
    pub(super) session: Session,
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) wire: Wire,
    pub(super) status: Status,
    /// The requests under way.
    pub(super) asked: BTreeMap<RequestId, Request>,
    pub(super) last_request: RequestId,
    /// The program's requests without outcome.
    pub(super) open: BTreeMap<Ticket, Request>,
    last_ticket: u64,
    /// The requests that may begin a session: those that were asked without a session.
    pub(super) begins: BTreeSet<Ticket>,
    /// The sends without outcome, in order, and which of them are under way.
    pub(super) sends: BTreeMap<ConversationRef, Vec<(Ticket, bool)>>,
    pub(super) user: Option<UserId>,
    /// The newest message that was handed out of each conversation.
    pub(super) seen: BTreeMap<ConversationRef, Seq>,
    /// Conversations in which the position may be above the newest message: a hole was not read.
    pub(super) skipped: BTreeSet<ConversationRef>,
    /// When the last connection ended, or could not be made, unless the program asked for another.
    pub(super) gone_at: Option<Timestamp>,
}

/// The connection, as the driver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    None,
    Asked,
    Open,
    Closing,
}

/// Where messages come from that the session hands out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The server pushed one: what is handed out follows what was handed out before.
    Push,
    /// Anything else.
    Other,
}

impl Program {
    pub(super) fn new() -> Self {
        let config = Config {
            outbox: 4,
            sends_per_conversation: 2,
            requests: 5,
            conversations: 6,
            held: 3,
            have: 4,
            fetch: 3,
            listed: 9,
            retry_longest: Duration::from_secs(40),
            ..Config::default()
        };
        let now = Timestamp(1_700_000_000_000);
        let session = Session::new(config.clone(), now);
        Self {
            session,
            config,
            now,
            wire: Wire::None,
            status: Status::Offline(crate::client::Offline::NotWanted),
            asked: BTreeMap::new(),
            last_request: RequestId(0),
            open: BTreeMap::new(),
            last_ticket: 0,
            begins: BTreeSet::new(),
            sends: BTreeMap::new(),
            user: None,
            seen: BTreeMap::new(),
            skipped: BTreeSet::new(),
            gone_at: None,
        }
    }

    pub(super) fn step(&mut self, op: &Op) {
        match op {
            Op::Want(true) => self.want(),
            Op::Want(false) => self.give(Input::Disconnect, Source::Other),
            Op::Ask(what) => {
                let request = self.request(what);
                self.ask(request);
            }
            Op::Made(made) => self.made(*made),
            Op::Break => self.gone(),
            Op::Answer {
                request,
                answer,
                framed,
            } => self.answer(*request, answer, *framed),
            Op::Push { event, framed } => self.push(event, *framed),
            Op::Frame(bytes) => {
                if self.has_wire() {
                    self.frame(bytes.clone(), Source::Other);
                }
            }
            Op::Wait(millis) => {
                let until = self.now + Duration::from_millis(u64::from(*millis));
                while self.session.poll_timeout().is_some_and(|at| at <= until) {
                    self.wake();
                }
                self.now = until;
            }
            Op::Wake => self.wake(),
        }
    }

    /// Has an honest server bring everything to its end, and checks that nothing is left.
    pub(super) fn finish(mut self) {
        self.gone();
        for _ in 0..STEPS {
            if self.open.is_empty() && self.session.is_settled() {
                break;
            }
            self.honest_step();
        }
        assert!(self.open.is_empty(), "no outcome: {:?}", self.open);
        assert!(self.session.is_settled(), "{:?}", self.session.counts());
        self.give(Input::Disconnect, Source::Other);
        while self.wire != Wire::None {
            self.made(false);
            self.gone();
        }
        assert_eq!(self.session.poll_timeout(), None, "nothing is wanted");
        assert!(matches!(self.status, Status::Offline(_)));
    }

    fn honest_step(&mut self) {
        let first = self.asked.first_key_value();
        if self.wire == Wire::Asked {
            self.made(true);
        } else if self.wire == Wire::Closing {
            self.gone();
        } else if let Some((id, request)) = first.map(|(id, request)| (*id, request.clone())) {
            let result = Ok(self.honest(&request));
            self.reply(Some(id), result, Source::Other, false);
        } else {
            match (&self.status, self.user) {
                (Status::Offline(_), _) => self.want(),
                (Status::Anonymous | Status::LoginNeeded(_), Some(_)) => {
                    let login = self.request(&Ask::Login(0));
                    self.ask(login);
                }
                _ => self.wake(),
            }
        }
    }

    /// Returns what an honest server answers who has nothing new to tell.
    fn honest(&self, request: &Request) -> Reply {
        let zeros = &mut Numbers([].iter());
        match (server::reply(request.reply_kind(), zeros), self.user) {
            (Reply::Session(mut session), Some(user)) => {
                session.user = user;
                Reply::Session(session)
            }
            (reply, _) => reply,
        }
    }

    fn request(&self, what: &Ask) -> Request {
        match *what {
            Ask::Login(user) => Request::Login {
                who: UserRef::Id(UserId(u64::from(user % 2) + 1)),
                password: Secret::new("correct horse"),
                device: None,
                start: Start {
                    replay: !user.is_multiple_of(3),
                    have: Vec::new(),
                },
            },
            Ask::Resume => Request::Resume {
                token: self.session.token().cloned().unwrap_or(Secret::new("none")),
                start: Start::default(),
            },
            Ask::Logout => Request::Logout,
            Ask::Send(to, size) => Request::Send {
                to: server::conversation(to),
                key: server::key(self.last_ticket + 1),
                text: "x".repeat(if size > 250 { 70_000 } else { 5 }).into(),
                reply_to: None,
                meta: None,
            },
            Ask::Other(number) => match number % 10 {
                0 => Request::Ping,
                1 => Request::Password {
                    old: Secret::new("correct horse"),
                    new: Secret::new("battery staple"),
                },
                2 => Request::Friends {
                    after: None,
                    limit: 2,
                },
                3 => Request::History {
                    conversation: server::conversation(number),
                    anchor: Anchor::Newest,
                    limit: 3,
                },
                4 => Request::Typing {
                    to: server::conversation(number),
                },
                5 => Request::Register {
                    name: server::name(),
                    password: Secret::new("correct horse"),
                    invite: None,
                },
                6 => Request::Group {
                    group: crate::id::GroupId(1),
                },
                7 => Request::DeleteAccount {
                    password: Secret::new("correct horse"),
                },
                8 => Request::Ack {
                    conversation: server::conversation(number),
                    delivered: Some(Seq(9)),
                    read: None,
                },
                _ => Request::Conversations {
                    after: None,
                    limit: 2,
                },
            },
        }
    }

    fn want(&mut self) {
        self.gone_at = None;
        self.give(Input::Connect, Source::Other);
    }

    fn ask(&mut self, request: Request) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        if let Request::Send { to, .. } = &request {
            self.sends.entry(*to).or_default().push((ticket, false));
        }
        self.open.insert(ticket, request.clone());
        let begins = matches!(request, Request::Login { .. } | Request::Resume { .. })
            && !self.session.is_online();
        self.give(Input::Request { ticket, request }, Source::Other);
        if begins && self.open.contains_key(&ticket) {
            self.begins.insert(ticket);
        }
    }

    fn made(&mut self, made: bool) {
        if self.wire != Wire::Asked {
            return;
        }
        if made {
            self.wire = Wire::Open;
            self.give(Input::Connected, Source::Other);
        } else {
            self.wire = Wire::None;
            self.gone_at = Some(self.now);
            self.give(Input::ConnectFailed, Source::Other);
        }
    }

    fn gone(&mut self) {
        if !self.has_wire() {
            return;
        }
        self.wire = Wire::None;
        self.asked.clear();
        self.gone_at = Some(self.now);
        for (_, under_way) in self.sends.values_mut().flatten() {
            *under_way = false;
        }
        self.give(Input::Disconnected, Source::Other);
        let send = |request: &Request| matches!(request, Request::Send { .. });
        assert!(self.open.values().all(send), "no outcome: {:?}", self.open);
    }

    fn wake(&mut self) {
        if let Some(at) = self.session.poll_timeout() {
            self.now = self.now.max(at);
            self.give(Input::Timeout, Source::Other);
        }
    }

    fn answer(&mut self, number: u8, answer: &Answer, framed: bool) {
        let index = usize::from(number).checked_rem(self.asked.len());
        let asked = index.and_then(|index| self.asked.iter().nth(index));
        let Some((id, kind)) = asked.map(|(id, request)| (*id, request.reply_kind())) else {
            return;
        };
        let (id, result) = match answer {
            Answer::Fit(numbers) => (Some(id), Ok(fit(kind, numbers, framed))),
            Answer::Refuse(code, retry) => (Some(id), Err(server::error(*code, *retry))),
            Answer::Misfit(kind, numbers) => (Some(id), Ok(fit(any_kind(*kind), numbers, framed))),
            Answer::Unasked(0) => (None, Err(ErrorCode::BadFrame.into())),
            Answer::Unasked(number) => {
                let id = RequestId(self.last_request.0 + u64::from(*number));
                (Some(id), Err(ErrorCode::Busy.into()))
            }
        };
        self.reply(id, result, Source::Other, framed);
    }

    fn reply(
        &mut self,
        id: Option<RequestId>,
        result: Result<Reply, RequestError>,
        from: Source,
        framed: bool,
    ) {
        if !self.has_wire() {
            return;
        }
        if self.wire == Wire::Open
            && let Some(request) = id.and_then(|id| self.asked.remove(&id))
        {
            match request {
                Request::History { conversation, .. } => {
                    self.skipped.insert(conversation);
                }
                Request::Send { to, key, .. } => self.answered(to, key.as_str()),
                _ => {}
            }
        }
        if framed {
            let mut frame = Vec::new();
            encode::reply(id, &result, &mut frame);
            self.frame(cut(frame), from);
        } else {
            self.give(Input::Reply { id, result }, from);
        }
    }

    /// A send is under way no more.
    fn answered(&mut self, to: ConversationRef, key: &str) {
        for (ticket, under_way) in self.sends.entry(to).or_default() {
            if server::key(ticket.0).as_str() == key {
                *under_way = false;
            }
        }
    }

    fn push(&mut self, pushed: &Pushed, framed: bool) {
        if !self.has_wire() {
            return;
        }
        let event = server::event(pushed);
        let from = match &event {
            Event::Message(message) => match message.body {
                // There is nothing before it that the session's user may read.
                Body::Joined { user } if Some(user) == self.user => Source::Other,
                _ => Source::Push,
            },
            _ => Source::Other,
        };
        if framed {
            let mut frame = Vec::new();
            encode::event(&event, &mut frame);
            self.frame(frame, from);
        } else {
            self.give(Input::Event(event), from);
        }
    }

    fn frame(&mut self, frame: Vec<u8>, from: Source) {
        self.give(Input::Frame(frame), from);
    }

    fn has_wire(&self) -> bool {
        matches!(self.wire, Wire::Open | Wire::Closing)
    }

    /// Passes an input and looks at everything that follows.
    fn give(&mut self, input: Input, from: Source) {
        if let Err(misuse) = self.session.handle(input, self.now) {
            panic!("the driver kept the contract, and the session says: {misuse}");
        }
        for _ in 0..EFFECTS {
            let Some(effect) = self.session.poll_effect() else {
                self.check();
                return;
            };
            self.carry_out(effect, from);
        }
        panic!("the effects have no end");
    }
}

/// Makes a reply of a kind; a reply without a frame keeps the limits of the protocol.
fn fit(kind: ReplyKind, numbers: &[u8], framed: bool) -> Reply {
    let mut reply = server::reply(kind, &mut Numbers(numbers.iter()));
    let long = |token: &Secret| token.expose().len() > 1000 && !framed;
    match &mut reply {
        Reply::Token { token } if long(token) => *token = Secret::new("token"),
        Reply::Session(session) if long(&session.token) => session.token = Secret::new("token"),
        _ => {}
    }
    reply
}

fn any_kind(number: u8) -> ReplyKind {
    match number % 6 {
        0 => ReplyKind::Done,
        1 => ReplyKind::Session,
        2 => ReplyKind::Appended,
        3 => ReplyKind::Friends,
        4 => ReplyKind::Token,
        _ => ReplyKind::History(Keep::First),
    }
}

/// Has the reply that begins a session say that its lists were cut, where it has groups.
fn cut(frame: Vec<u8>) -> Vec<u8> {
    let whole = r#""more":[]"#;
    match String::from_utf8(frame) {
        Ok(text) if text.contains(r#""role":"owner""#) => text
            .replace(whole, r#""more":["friends","groups","conversations"]"#)
            .into_bytes(),
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    }
}
