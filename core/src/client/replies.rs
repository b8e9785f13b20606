//! Replies, each matched to its request.

use std::collections::VecDeque;

use super::Session;
use super::contract::{Effect, Misuse, NotSent, Offline, Outcome, Ticket};
use super::link::Link;
use super::lists::Page;
use super::requests::Purpose;
use crate::id::{ConversationRef, RequestId, Seq};
use crate::protocol::client::{Malformed, RawReply, ReplyKind, ServerFrame, decode};
use crate::protocol::reply::SessionReply;
use crate::protocol::request::Start;
use crate::protocol::{ErrorCode, Reply, RequestError};
use crate::time::Timestamp;

impl Session {
    /// Takes a frame.
    pub(super) fn on_frame(&mut self, frame: &[u8]) -> Result<(), Misuse> {
        self.check_open()?;
        match decode(frame) {
            Ok(ServerFrame::Reply { id, result }) => {
                let kind = id.and_then(|id| self.requests.kind(id));
                let typed = match (result, kind) {
                    (Err(error), _) => Some((Err(error), VecDeque::new())),
                    (Ok(raw), Some(kind)) => read(&raw, kind).ok(),
                    (Ok(_), None) => None,
                };
                match typed {
                    Some((result, pages)) => {
                        self.on_reply(id, result);
                        self.on_cut(pages);
                    }
                    None => self.close(),
                }
            }
            Ok(ServerFrame::Event(event)) => self.on_event(event),
            Ok(ServerFrame::Unknown) => {}
            Err(_) => self.close(),
        }
        Ok(())
    }

    /// Takes a reply. A server that breaks a rule of the protocol is left, and met again later.
    pub(super) fn on_reply(&mut self, id: Option<RequestId>, result: Result<Reply, RequestError>) {
        if !self.link.is_open() {
            return;
        }
        let request = id.and_then(|id| Some((id, self.requests.take(id)?)));
        let Some((id, request)) = request else {
            // Whatever it answers, it is no request of ours.
            self.close();
            return;
        };
        let lost = matches!(&result, Err(error) if error.code == ErrorCode::NotLoggedIn);
        match request.purpose {
            Purpose::Caller(ticket) => self.on_caller(ticket, result),
            Purpose::Begin(ticket, start) => self.on_begin(ticket, &start, result),
            Purpose::End(ticket) => self.on_end(ticket, result),
            Purpose::Resume(start) => self.on_resume(&start, result),
            Purpose::Send(to, ticket) => self.on_send(to, ticket, result),
            Purpose::Acknowledge(conversation) => {
                let again = result.err().and_then(|error| self.passes(&error));
                self.positions
                    .acknowledged(conversation, id, again.is_none());
                self.acknowledge_at = again.or(self.acknowledge_at);
            }
            Purpose::Fetch(conversation) => self.on_fetch(conversation, id, result),
            Purpose::List => self.on_list(id, result),
            Purpose::Ping => {}
        }
        if lost && self.link.is_online() {
            // The server has no session here: resume, or learn that the token does not stand.
            self.close();
        }
    }

    /// The answer to a request of the caller's.
    fn on_caller(&mut self, ticket: Ticket, result: Result<Reply, RequestError>) {
        if let Ok(Reply::Token { token }) = &result {
            self.token = Some(token.clone());
        }
        self.finish(ticket, outcome(result));
    }

    /// The answer to the caller's `login` or `resume`.
    fn on_begin(&mut self, ticket: Ticket, start: &Start, result: Result<Reply, RequestError>) {
        match result {
            Ok(Reply::Session(reply)) => {
                self.begin(&reply, start);
                self.finish(ticket, Outcome::Done(Reply::Session(reply)));
            }
            Ok(_) => {
                self.finish(ticket, Outcome::Unknown);
                self.close();
            }
            Err(error) => {
                self.link = Link::Anonymous;
                self.finish(ticket, Outcome::Refused(error));
            }
        }
    }

    /// The answer to `logout` or `delete_account`.
    fn on_end(&mut self, ticket: Ticket, result: Result<Reply, RequestError>) {
        if result.is_ok() {
            self.end_session(NotSent::NotLoggedIn);
            self.link = Link::Anonymous;
        }
        self.finish(ticket, outcome(result));
    }

    /// The answer to the session's own `resume`.
    fn on_resume(&mut self, start: &Start, result: Result<Reply, RequestError>) {
        match result {
            Ok(Reply::Session(reply)) if Some(reply.user) == self.user() => {
                self.begin(&reply, start);
                self.effects.push_back(Effect::Resumed(reply));
            }
            Ok(_) => self.close(),
            Err(error) => match self.passes(&error) {
                Some(until) => {
                    self.link = Link::Anonymous;
                    self.resume_at = until;
                }
                None if error.code == ErrorCode::AlreadyLoggedIn => self.close(),
                None => {
                    self.link = Link::Anonymous;
                    self.token = None;
                    self.login_needed = Some(error);
                }
            },
        }
    }

    /// The answer to a send.
    fn on_send(
        &mut self,
        to: ConversationRef,
        ticket: Ticket,
        result: Result<Reply, RequestError>,
    ) {
        if let Err(error) = &result
            && let Some(until) = self.passes(error)
        {
            self.outbox.repeat(to, ticket);
            self.outbox.hold(until);
            return;
        }
        self.retry.reset();
        self.outbox.finish(to, ticket);
        self.finish(ticket, outcome(result));
    }

    /// The answer to the reading of a hole.
    fn on_fetch(
        &mut self,
        conversation: ConversationRef,
        id: RequestId,
        result: Result<Reply, RequestError>,
    ) {
        let messages = match result {
            Ok(Reply::History { messages, .. }) => {
                self.retry.reset();
                self.positions.fetched(conversation, id, messages)
            }
            Ok(_) => {
                self.close();
                return;
            }
            Err(error) => {
                let until = self.passes(&error);
                self.positions.not_fetched(conversation, id, until)
            }
        };
        self.hand_out(messages);
    }

    /// The answer to the reading of a list.
    fn on_list(&mut self, id: RequestId, result: Result<Reply, RequestError>) {
        match result {
            Ok(reply) => {
                self.retry.reset();
                let listed = self.lists.arrived(id, reply);
                self.effects.extend(listed.map(Effect::Listed));
            }
            Err(error) => {
                let again = self.passes(&error);
                self.lists.refused(id, again);
            }
        }
    }

    /// The reply that began the session had no room for these.
    fn on_cut(&mut self, pages: VecDeque<Page>) {
        if self.link.is_online() && !pages.is_empty() {
            self.lists.begin(pages, self.config.listed);
        }
    }

    /// Returns when to repeat a request whose failure passes; `None` where it does not.
    fn passes(&mut self, error: &RequestError) -> Option<Timestamp> {
        match error.code {
            ErrorCode::Busy
            | ErrorCode::Unavailable
            | ErrorCode::RateLimited
            | ErrorCode::ShuttingDown
            | ErrorCode::NotLoggedIn => Some(self.retry_at(error)),
            _ => None,
        }
    }

    /// The session is there.
    fn begin(&mut self, reply: &SessionReply, start: &Start) {
        let mut start = start;
        let anew = Start {
            replay: start.replay,
            have: Vec::new(),
        };
        let other = self.user().is_some_and(|user| user != reply.user);
        if other {
            self.end_session(NotSent::OtherUser);
        }
        // A name can be another account's by now: the positions that were named are not of its
        // conversations.
        let misled = other && !start.have.is_empty();
        if misled {
            start = &anew;
        }
        self.user = Some((reply.user, reply.name.clone()));
        self.token = Some(reply.token.clone());
        self.login_needed = None;
        self.idle = std::time::Duration::from_millis(reply.idle_ms.max(1000));
        self.retry.reset();
        self.link = Link::Online(self.now);
        if self.start_positions(reply, start).is_err() {
            self.go_offline(Offline::TooManyConversations);
        } else if misled {
            self.close();
        }
    }

    /// Sets the positions as the server does: from `have`, else from what it counts as delivered.
    fn start_positions(
        &mut self,
        reply: &SessionReply,
        start: &Start,
    ) -> Result<(), super::positions::TooMany> {
        let have: std::collections::BTreeMap<ConversationRef, Seq> =
            start.have.iter().copied().collect();
        for item in &reply.conversations {
            // A position that was left out of `have` is as good: what comes again is dropped.
            let known = have
                .get(&item.conversation)
                .copied()
                .or_else(|| self.positions.at(item.conversation));
            let (at, acknowledged) = match known {
                // Above `last`: the store was restored to an earlier state.
                Some(seq) => (seq.min(item.last), item.delivered),
                None if start.replay => (item.delivered, item.delivered),
                None => (item.last, item.last),
            };
            self.positions.start(item.conversation, at, acknowledged)?;
        }
        Ok(())
    }
}

/// Reads a reply, and where the lists go on that it had to cut.
fn read(
    raw: &RawReply,
    kind: ReplyKind,
) -> Result<(Result<Reply, RequestError>, VecDeque<Page>), Malformed> {
    let reply = raw.parse(kind)?;
    let pages = match &reply {
        Reply::Session(session) => Page::all(session, &raw.cut_lists()?),
        _ => VecDeque::new(),
    };
    Ok((Ok(reply), pages))
}

/// Returns what the caller is told.
fn outcome(result: Result<Reply, RequestError>) -> Outcome {
    match result {
        Ok(reply) => Outcome::Done(reply),
        Err(error) => Outcome::Refused(error),
    }
}
