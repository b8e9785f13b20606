//! What a client session promises, checked at every effect and whenever it rests.
#![expect(clippy::panic, reason = "a broken promise is reported by a panic")]

use std::collections::BTreeSet;

use super::program::{Program, Source, Wire};
use super::server;
use crate::client::{Effect, Outcome, Status, Ticket};
use crate::id::{ConversationRef, MAX_INTEGER, RequestId, Seq};
use crate::protocol::client::encode_request;
use crate::protocol::reply::SessionReply;
use crate::protocol::{
    ErrorCode, Event, Frame, GroupState, MAX_CLIENT_FRAME, Message, NoticeCode, Reply, Request,
    decode,
};

impl Program {
    pub(super) fn carry_out(&mut self, effect: Effect, from: Source) {
        match effect {
            Effect::Connect => {
                assert_eq!(self.wire, Wire::None, "one connection at a time");
                assert!(
                    self.gone_at.is_none_or(|gone_at| gone_at < self.now),
                    "a server that hangs up is called again after a pause"
                );
                self.wire = Wire::Asked;
            }
            Effect::Disconnect => {
                assert_eq!(self.wire, Wire::Open, "closed once");
                self.wire = Wire::Closing;
            }
            Effect::Send { id, request } => self.sent(id, request),
            Effect::Outcome { ticket, outcome } => self.ended(ticket, outcome),
            Effect::Event(Event::Message(message)) => self.received(&message, from),
            Effect::Event(Event::Notice { code, .. }) => {
                if code == NoticeCode::Restored {
                    self.seen.clear();
                }
            }
            Effect::Event(Event::Group { group, state, .. }) => {
                if let GroupState::Removed | GroupState::Disbanded | GroupState::None = state {
                    self.seen.remove(&ConversationRef::Group(group));
                }
            }
            Effect::Event(_) | Effect::Listed(_) => {
                assert!(self.session.user().is_some(), "an event for nobody");
            }
            Effect::Resumed(reply) => {
                assert_eq!(Some(reply.user), self.user, "another user's session");
                self.begun(&reply);
            }
            Effect::Status(status) => {
                assert_ne!(self.status, status, "the status did not change");
                self.status = status;
            }
        }
    }

    /// A request leaves.
    fn sent(&mut self, id: RequestId, request: Request) {
        assert_eq!(self.wire, Wire::Open, "{request:?} without a connection");
        assert!(id > self.last_request, "a request's number is used twice");
        assert!(id.0 <= MAX_INTEGER);
        self.last_request = id;
        let mut frame = Vec::new();
        encode_request(id, &request, &mut frame);
        assert!(frame.len() <= MAX_CLIENT_FRAME, "{} bytes", frame.len());
        let sent = Frame { id, request };
        assert_eq!(decode::request(&frame).as_ref(), Ok(&sent), "unreadable");
        if let Request::Send { to, key, .. } = &sent.request {
            let sends = self.sends.entry(*to).or_default();
            let next = sends.iter_mut().find(|(_, under_way)| !*under_way);
            let Some((ticket, under_way)) = next else {
                panic!("{key:?} was sent by nobody");
            };
            assert_eq!(server::key(ticket.0), *key, "sends left out of order");
            *under_way = true;
            let count = sends.iter().filter(|(_, under_way)| *under_way).count();
            assert!(count <= self.config.sends_per_conversation);
        }
        self.asked.insert(id, sent.request);
    }

    /// A request of the program's has its outcome.
    fn ended(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(request) = self.open.remove(&ticket) else {
            panic!("{ticket:?} has two outcomes, or was never asked");
        };
        if let Request::Send { to, .. } = &request {
            let sends = self.sends.entry(*to).or_default();
            sends.retain(|(other, _)| *other != ticket);
            match &outcome {
                Outcome::Unknown => panic!("nobody knows what became of a send"),
                Outcome::Refused(error) => assert!(
                    !matches!(error.code, ErrorCode::Busy | ErrorCode::Unavailable),
                    "a send was given up for what passes"
                ),
                Outcome::Done(_) | Outcome::NotSent(_) => {}
            }
        }
        match (&request, outcome) {
            (Request::Login { .. } | Request::Resume { .. }, Outcome::Done(reply)) => {
                if let Reply::Session(reply) = reply
                    && self.begins.contains(&ticket)
                {
                    self.begun(&reply);
                }
            }
            (Request::Logout | Request::DeleteAccount { .. }, Outcome::Done(_)) => {
                self.user = None;
                self.seen.clear();
            }
            _ => {}
        }
    }

    /// The session is there: from where do its conversations go on?
    fn begun(&mut self, reply: &SessionReply) {
        if self.user.replace(reply.user) != Some(reply.user) {
            self.seen.clear();
        }
        let mut named = BTreeSet::new();
        for item in &reply.conversations {
            // Below what was handed out: the server says that its store was set back.
            if let Some(seen) = self.seen.get_mut(&item.conversation) {
                *seen = (*seen).min(item.last);
            }
            // Which of two contradicting items counts is the session's affair.
            if !named.insert(item.conversation) {
                self.skipped.insert(item.conversation);
            }
        }
    }

    /// A message is handed out.
    fn received(&mut self, message: &Message, from: Source) {
        let Message {
            conversation, seq, ..
        } = message;
        let seen = self.seen.insert(*conversation, *seq);
        assert!(
            seen < Some(*seq),
            "{conversation:?}: {seq:?} after {seen:?}"
        );
        if from == Source::Push && !self.skipped.remove(conversation) {
            let next = seen.map(Seq::next);
            let hole = next.is_some_and(|next| *seq != next);
            assert!(!hole, "{conversation:?}: {seq:?} after {seen:?}");
        }
    }

    /// Checks what holds whenever the session rests.
    pub(super) fn check(&self) {
        let (counts, config) = (self.session.counts(), &self.config);
        assert!(counts.requests <= config.requests, "{counts:?}");
        assert!(counts.sends <= config.outbox, "{counts:?}");
        assert!(counts.conversations <= config.conversations, "{counts:?}");
        assert!(counts.held <= config.conversations * config.held);
        assert!(counts.pages <= 3, "{counts:?}");
        assert_eq!(counts.tickets, self.open.len());
        assert_eq!(
            counts.sends,
            self.sends.values().map(Vec::len).sum::<usize>()
        );
        assert_eq!(self.session.user(), self.user);
        let wakes = self.session.poll_timeout();
        assert!(wakes.is_none_or(|at| at > self.now), "no pause: {wakes:?}");
        match self.wire {
            Wire::Open => {
                assert_eq!(counts.requests, self.asked.len());
                // A server that never answers is found out.
                assert!(wakes.is_some() || self.asked.is_empty());
            }
            Wire::None => {
                let waits = matches!(self.status, Status::Waiting { .. });
                assert!(waits || matches!(self.status, Status::Offline(_)));
                assert_eq!(wakes.is_some(), waits, "{:?}", self.status);
            }
            Wire::Asked => assert_eq!(self.status, Status::Connecting),
            Wire::Closing => assert_eq!(wakes, None),
        }
        assert!(self.wire == Wire::Open || !self.session.is_online());
    }
}
