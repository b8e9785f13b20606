//! The client's own session, the same way round as the engine: inputs, effects, time as argument.
//!
//! ```text
//!    the program                 Session                     the driver
//!  ┌─────────────┐  Request   ┌───────────────┐  Connect   ┌────────────┐
//!  │ what people │ ─────────► │ request ids   │ ─────────► │ a socket,  │
//!  │ ask for     │  Outcome   │ outbox        │  Send      │ a clock    │
//!  │ and are     │ ◄───────── │ positions     │ ◄───────── │            │
//!  │ shown       │  Event     │ back-off      │  Frame     │            │
//!  └─────────────┘            └───────────────┘  Timeout   └────────────┘
//! ```
//!
//! What a program gets from it:
//!
//! - Each request has exactly one [`Outcome`]. A `send` is kept and repeated with its key, over
//!   breaks and refusals that pass, until the server acknowledges or refuses it for good. Any other
//!   request that was under way when the connection broke ends as [`Outcome::Unknown`].
//! - The messages of each conversation come in order, without hole or repeat: the session resumes
//!   by its token and names its positions, drops repeats, reads holes by `history`, and
//!   acknowledges what it handed out as delivered.
//! - Lists that the reply to `login` or `resume` had to cut are read to their end.
//! - Connecting again is its business: with back-off, jitter, and the server's `retry_ms`.
//!
//! Every table has its limit in [`Config`].

mod backoff;
pub mod config;
pub mod contract;
mod link;
mod lists;
mod outbox;
mod positions;
mod replies;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

pub use config::Config;
pub use contract::{Effect, Input, Listed, Misuse, NotSent, Offline, Outcome, Status, Ticket};

use self::backoff::Backoff;
use self::link::Link;
use self::lists::Lists;
use self::outbox::Outbox;
use self::positions::Positions;
use self::requests::{Purpose, Requests};
use crate::id::{RequestId, UserId};
use crate::name::Name;
use crate::protocol::client::encode_request;
use crate::protocol::request::{Anchor, Start, UserRef};
use crate::protocol::{MAX_CLIENT_FRAME, Request, RequestError};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The client's session.
///
/// # Call order
/// After each [`handle`](Self::handle), call [`poll_effect`](Self::poll_effect) until it returns
/// `None` and carry the effects out in order; then ask [`poll_timeout`](Self::poll_timeout) when to
/// come back with [`Input::Timeout`]. Begin with [`Input::Connect`], and log in once the status is
/// [`Status::Anonymous`].
///
/// # Asking
/// [`is_online`](Self::is_online), [`is_settled`](Self::is_settled),
/// [`is_listing`](Self::is_listing),
/// [`unacknowledged_sends`](Self::unacknowledged_sends), [`counts`](Self::counts),
/// [`user`](Self::user), [`token`](Self::token).
#[derive(Debug)]
pub struct Session {
    config: Config,
    now: Timestamp,
    wanted: bool,
    link: Link,
    offline: Offline,
    status: Status,
    user: Option<(UserId, Name)>,
    token: Option<Secret>,
    login_needed: Option<RequestError>,
    idle: Duration,
    /// Between connections.
    reconnect: Backoff,
    /// Between repeated requests.
    retry: Backoff,
    /// Until when the present one of these waits lasts.
    retry_until: Timestamp,
    /// How long the server wants us to stay away.
    stay_away: Option<Duration>,
    resume_at: Timestamp,
    acknowledge_at: Option<Timestamp>,
    last_sent: Timestamp,
    requests: Requests,
    outbox: Outbox,
    positions: Positions,
    lists: Lists,
    /// The caller's requests without outcome.
    tickets: BTreeSet<Ticket>,
    effects: VecDeque<Effect>,
}

/// How many entries of each kind a session holds: for tests of leaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests under way on the present connection.
    pub requests: usize,
    /// Sends that wait to be acknowledged.
    pub sends: usize,
    /// Requests of the caller's without outcome, sends among them.
    pub tickets: usize,
    /// Conversations whose position is kept.
    pub conversations: usize,
    /// Messages that wait for a hole before them to be read.
    pub held: usize,
    /// Pages of lists that are to be asked for.
    pub pages: usize,
}

impl Session {
    /// Makes a session that is offline.
    #[must_use]
    pub fn new(config: Config, now: Timestamp) -> Self {
        let backoff = |seed| Backoff::new(config.backoff_first, config.backoff_longest, seed);
        Self {
            now,
            wanted: false,
            link: Link::Down,
            offline: Offline::NotWanted,
            status: Status::Offline(Offline::NotWanted),
            user: None,
            token: None,
            login_needed: None,
            idle: config.ping,
            reconnect: backoff(config.seed),
            retry: backoff(config.seed ^ 1),
            retry_until: Timestamp::default(),
            stay_away: None,
            resume_at: now,
            acknowledge_at: None,
            last_sent: now,
            requests: Requests::default(),
            outbox: Outbox::new(config.outbox, config.sends_per_conversation.max(1)),
            positions: Positions::new(config.conversations, config.held),
            lists: Lists::default(),
            tickets: BTreeSet::new(),
            effects: VecDeque::new(),
            config,
        }
    }

    /// Takes one input.
    ///
    /// # Errors
    /// A bug of the driver; the input was ignored.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<(), Misuse> {
        if now < self.now {
            return Err(Misuse::TimeWentBack);
        }
        self.now = now;
        match input {
            Input::Connect => self.on_connect(),
            Input::Disconnect => self.on_disconnect(),
            Input::Connected => self.on_connected()?,
            Input::ConnectFailed => self.on_connect_failed()?,
            Input::Disconnected => self.on_disconnected()?,
            Input::Frame(frame) => self.on_frame(&frame)?,
            Input::Reply { id, result } => {
                self.check_open()?;
                self.on_reply(id, result);
            }
            Input::Event(event) => {
                self.check_open()?;
                self.on_event(event);
            }
            Input::Request { ticket, request } => self.on_request(ticket, request)?,
            Input::Timeout => {}
        }
        self.advance();
        Ok(())
    }

    /// Returns the next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns when to call again with [`Input::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let room = self.requests.len() < self.config.requests;
        let online = self.link.is_online() && room;
        let replies = self.requests.oldest().filter(|_| self.link.is_open());
        [
            self.link.waits_until(),
            replies.map(|sent| sent + self.config.reply_timeout),
            self.may_resume().then_some(self.resume_at),
            self.outbox.timeout().filter(|_| online),
            self.positions.timeout().filter(|_| online),
            self.lists.timeout().filter(|_| online),
            self.acknowledge_at.filter(|_| online),
            online.then(|| self.ping_at()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Tells whether there is a connection with the session on it.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.link.is_online()
    }

    /// Tells whether nothing is left to do: every send has its outcome, every request its answer,
    /// the lists are complete, and what was handed out is acknowledged.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // Every ticket is of one of the first two.
        self.outbox.len() == 0
            && self.requests.len() == 0
            && self.positions.is_settled()
            && self.lists.is_complete()
    }

    /// Tells whether more of the session's lists is to come.
    #[must_use]
    pub fn is_listing(&self) -> bool {
        !self.lists.is_complete()
    }

    /// Returns how many sends wait to be acknowledged.
    #[must_use]
    pub const fn unacknowledged_sends(&self) -> usize {
        self.outbox.len()
    }

    /// Counts what the session holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.len(),
            sends: self.outbox.len(),
            tickets: self.tickets.len(),
            conversations: self.positions.len(),
            held: self.positions.held(),
            pages: self.lists.len(),
        }
    }

    /// Returns whose session it is, since the first login.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.user.as_ref().map(|(user, _)| *user)
    }

    /// Returns the token that a later program may `resume` with.
    #[must_use]
    pub const fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Takes a request of the caller's.
    fn on_request(&mut self, ticket: Ticket, request: Request) -> Result<(), Misuse> {
        if !self.tickets.insert(ticket) {
            return Err(Misuse::TicketUsed(ticket));
        }
        if let Err(reason) = self.try_request(ticket, request) {
            self.finish(ticket, Outcome::NotSent(reason));
        }
        Ok(())
    }

    /// Sends a request of the caller's or puts it into the outbox.
    fn try_request(&mut self, ticket: Ticket, mut request: Request) -> Result<(), NotSent> {
        if let Request::Login { .. } | Request::LoginJwt { .. } | Request::Resume { .. } = request {
            self.name_positions(&mut request);
        }
        let mut frame = Vec::new();
        encode_request(RequestId(crate::id::MAX_INTEGER), &request, &mut frame);
        if frame.len() > MAX_CLIENT_FRAME {
            return Err(NotSent::TooLarge);
        }
        if let Request::Send { to, .. } = request {
            if self.user.is_none() {
                return Err(NotSent::NotLoggedIn);
            }
            return self.outbox.push(to, ticket, request);
        }
        if !self.link.takes_requests() || self.may_resume() {
            return Err(NotSent::NotConnected);
        }
        if self.requests.len() >= self.config.requests {
            return Err(NotSent::TooManyRequests);
        }
        let purpose = match &request {
            Request::Login { start, .. }
            | Request::LoginJwt { start, .. }
            | Request::Resume { start, .. }
                if !self.link.is_online() =>
            {
                self.link = Link::Beginning;
                Purpose::Begin(ticket, start.clone())
            }
            Request::Logout | Request::DeleteAccount { .. } => Purpose::End(ticket),
            _ => Purpose::Caller(ticket),
        };
        self.send(purpose, request);
        Ok(())
    }

    /// Puts the positions that are known of this user into a `login` or `resume`.
    fn name_positions(&self, request: &mut Request) {
        let (same, start) = match request {
            Request::Login { who, start, .. } => {
                let same = self.user.as_ref().is_some_and(|(id, name)| match who {
                    UserRef::Id(user) => user == id,
                    UserRef::Name(login) => login.key() == name.key(),
                });
                (same, start)
            }
            // Whose it is, only the server can tell.
            Request::LoginJwt { start, .. } => (false, start),
            Request::Resume { token, start } => (self.token.as_ref() == Some(token), start),
            _ => return,
        };
        if same {
            start.have = self.positions.have(self.config.have);
        }
        start.have.truncate(self.config.have);
    }

    /// Does whatever may be done.
    fn advance(&mut self) {
        self.advance_link();
        if self.link.is_online() {
            self.advance_requests();
        }
        let status = self.present_status();
        if self.status != status {
            self.status = status.clone();
            self.effects.push_back(Effect::Status(status));
        }
    }

    /// Sends what the session itself has to send.
    fn advance_requests(&mut self) {
        while self.has_room() {
            let Some((to, ticket, request)) = self.outbox.next(self.now) else {
                break;
            };
            self.send(Purpose::Send(to, ticket), request);
        }
        while self.has_room() {
            let Some((conversation, after)) = self.positions.next_hole(self.now) else {
                break;
            };
            let request = Request::History {
                conversation,
                anchor: Anchor::After(after),
                limit: self.config.fetch,
            };
            let id = self.send(Purpose::Fetch(conversation), request);
            self.positions.fetching(conversation, id);
        }
        if self.has_room()
            && let Some(page) = self.lists.next(self.now)
        {
            let id = self.send(Purpose::List, page.request(self.config.fetch));
            self.lists.asked(id);
        }
        if self.positions.next_unacknowledged().is_none() {
            self.acknowledge_at = None;
        } else if self.acknowledge_at.is_none() {
            self.acknowledge_at = Some(self.now + self.config.ack_delay);
        }
        if self.acknowledge_at.is_some_and(|at| at <= self.now) {
            self.acknowledge();
        }
        if self.has_room() && self.ping_at() <= self.now {
            self.send(Purpose::Ping, Request::Ping);
        }
    }

    /// Acknowledges what was handed out.
    fn acknowledge(&mut self) {
        while self.has_room() {
            let Some((conversation, seq)) = self.positions.next_unacknowledged() else {
                self.acknowledge_at = None;
                break;
            };
            let request = Request::Ack {
                conversation,
                delivered: Some(seq),
                read: None,
            };
            let id = self.send(Purpose::Acknowledge(conversation), request);
            self.positions.acknowledging(conversation, id, seq);
        }
    }

    /// Tells whether one more request may be under way.
    fn has_room(&self) -> bool {
        self.requests.len() < self.config.requests
    }

    /// Tells whether the session is to be resumed on the present connection.
    fn may_resume(&self) -> bool {
        self.link.is_anonymous() && self.token.is_some()
    }

    /// Returns when the connection wants a sign of life.
    fn ping_at(&self) -> Timestamp {
        self.last_sent + self.config.ping.min(self.idle / 3)
    }

    /// Goes on with the session on the present connection.
    fn resume(&mut self, token: Secret) {
        let start = Start {
            replay: true,
            have: self.positions.have(self.config.have),
        };
        self.link = Link::Beginning;
        let request = Request::Resume {
            token,
            start: start.clone(),
        };
        self.send(Purpose::Resume(start), request);
    }

    /// Sends a request.
    fn send(&mut self, purpose: Purpose, request: Request) -> RequestId {
        let id = self.requests.add(purpose, request.reply_kind(), self.now);
        self.last_sent = self.now;
        self.effects.push_back(Effect::Send { id, request });
        id
    }

    /// Gives a request's outcome.
    fn finish(&mut self, ticket: Ticket, outcome: Outcome) {
        if self.tickets.remove(&ticket) {
            self.effects.push_back(Effect::Outcome { ticket, outcome });
        }
    }

    /// Returns when to repeat what the server could not do for the moment.
    fn retry_at(&mut self, error: &RequestError) -> Timestamp {
        // Refusals that come together are one: only the first of them makes the wait grow.
        if self.retry_until <= self.now {
            self.retry_until = self.retry.next(self.now);
        }
        self.retry_until
            .max(self.now + self.bounded_wait(error.retry_ms))
    }

    /// Returns how long the server asks us to wait, within reason.
    fn bounded_wait(&self, retry_ms: Option<u64>) -> Duration {
        Duration::from_millis(retry_ms.unwrap_or(0)).min(self.config.retry_longest)
    }
}
