//! The connection's life: made, lost, made again.

use std::time::Duration;

use super::Session;
use super::contract::{Effect, Misuse, NotSent, Offline, Outcome, Status};
use super::requests::Purpose;
use crate::id::ConversationRef;
use crate::log::Body;
use crate::protocol::{Event, GroupState, NoticeCode};
use crate::time::Timestamp;

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// There is none.
    Down,
    /// There is none until then.
    Waiting(Timestamp),
    /// The driver connects.
    Connecting,
    /// It is there, without a session.
    Anonymous,
    /// `login` or `resume` is under way.
    Beginning,
    /// The session is there, since then.
    Online(Timestamp),
    /// The driver disconnects; what arrives counts for nothing.
    Closing,
}

impl Link {
    /// Tells whether frames may arrive and count.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Anonymous | Self::Beginning | Self::Online(_))
    }

    /// Tells whether the session is there.
    pub(super) const fn is_online(self) -> bool {
        matches!(self, Self::Online(_))
    }

    /// Tells whether there is a connection and no session.
    pub(super) const fn is_anonymous(self) -> bool {
        matches!(self, Self::Anonymous)
    }

    /// Tells whether requests other than sends leave at once.
    pub(super) const fn takes_requests(self) -> bool {
        matches!(self, Self::Anonymous | Self::Online(_))
    }

    /// Returns when the next attempt comes.
    pub(super) const fn waits_until(self) -> Option<Timestamp> {
        match self {
            Self::Waiting(until) => Some(until),
            _ => None,
        }
    }
}

impl Session {
    /// The caller wants a connection.
    pub(super) fn on_connect(&mut self) {
        self.wanted = true;
        if let Link::Down | Link::Waiting(_) = self.link {
            self.connect();
        }
    }

    /// The caller wants no connection.
    pub(super) fn on_disconnect(&mut self) {
        self.go_offline(Offline::NotWanted);
    }

    /// The connection is there.
    pub(super) fn on_connected(&mut self) -> Result<(), Misuse> {
        if self.link != Link::Connecting {
            return Err(Misuse::NotConnecting);
        }
        self.link = Link::Anonymous;
        self.resume_at = self.now;
        self.last_sent = self.now;
        if !self.wanted {
            self.close();
        }
        Ok(())
    }

    /// The connection could not be made.
    pub(super) fn on_connect_failed(&mut self) -> Result<(), Misuse> {
        if self.link != Link::Connecting {
            return Err(Misuse::NotConnecting);
        }
        self.wait_or_rest();
        Ok(())
    }

    /// The connection is gone.
    pub(super) fn on_disconnected(&mut self) -> Result<(), Misuse> {
        if !self.link.is_open() && self.link != Link::Closing {
            return Err(Misuse::NotConnected);
        }
        self.note_stability();
        let ended: Vec<_> = self.requests.take_all().collect();
        for request in ended {
            if let Purpose::Caller(ticket) | Purpose::Begin(ticket, _) | Purpose::End(ticket) =
                request.purpose
            {
                self.finish(ticket, Outcome::Unknown);
            }
        }
        self.outbox.broken();
        self.positions.broken();
        self.lists.clear();
        self.acknowledge_at = None;
        self.retry.reset();
        self.wait_or_rest();
        Ok(())
    }

    /// Refuses what only a connection can bring.
    pub(super) fn check_open(&self) -> Result<(), Misuse> {
        if self.link.is_open() || self.link == Link::Closing {
            Ok(())
        } else {
            Err(Misuse::NotConnected)
        }
    }

    /// Connects, resumes and gives up a dead connection when the time has come.
    pub(super) fn advance_link(&mut self) {
        if self
            .link
            .waits_until()
            .is_some_and(|until| until <= self.now)
        {
            self.connect();
        }
        let oldest = self.requests.oldest().filter(|_| self.link.is_open());
        if oldest.is_some_and(|sent| sent + self.config.reply_timeout <= self.now) {
            self.close();
        }
        if self.may_resume()
            && self.resume_at <= self.now
            && let Some(token) = self.token.clone()
        {
            self.resume(token);
        }
    }

    /// Takes an event.
    pub(super) fn on_event(&mut self, event: Event) {
        if let Event::Notice { code, retry_ms, .. } = &event {
            if self.link.is_open() {
                let (code, retry_ms) = (*code, *retry_ms);
                self.effects.push_back(Effect::Event(event));
                self.on_notice(code, retry_ms);
            }
            return;
        }
        if !self.link.is_online() {
            return;
        }
        match event {
            Event::Message(message) => {
                let user = self.user();
                let begins =
                    matches!(message.body, Body::Joined { user: who } if Some(who) == user);
                match self.positions.pushed(message, begins) {
                    Ok(messages) => self.hand_out(messages),
                    Err(_) => self.go_offline(Offline::TooManyConversations),
                }
            }
            Event::Group { group, state, .. } => {
                if let GroupState::Removed | GroupState::Disbanded | GroupState::None = state {
                    let last = self.positions.forget(ConversationRef::Group(group));
                    self.hand_out(last);
                }
                self.effects.push_back(Effect::Event(event));
            }
            other => self.effects.push_back(Effect::Event(other)),
        }
    }

    /// Hands messages to the caller.
    pub(super) fn hand_out(&mut self, messages: Vec<crate::protocol::Message>) {
        let events = messages.into_iter().map(Event::Message).map(Effect::Event);
        self.effects.extend(events);
    }

    /// Closes the connection; what comes next is decided when it is gone.
    pub(super) fn close(&mut self) {
        if self.link.is_open() {
            self.note_stability();
            self.link = Link::Closing;
            self.effects.push_back(Effect::Disconnect);
        }
    }

    /// Wants no connection from now on.
    pub(super) fn go_offline(&mut self, reason: Offline) {
        self.wanted = false;
        self.offline = reason;
        match self.link {
            Link::Waiting(_) => self.link = Link::Down,
            Link::Online(_) => {
                self.acknowledge();
                self.close();
            }
            _ => self.close(),
        }
    }

    /// Returns the state as the caller sees it.
    pub(super) fn present_status(&self) -> Status {
        match self.link {
            Link::Down => Status::Offline(self.offline),
            Link::Waiting(until) => Status::Waiting { until },
            Link::Connecting => Status::Connecting,
            Link::Online(_) => Status::Online,
            Link::Beginning => Status::Resuming,
            Link::Anonymous if self.token.is_some() => Status::Resuming,
            Link::Anonymous => match &self.login_needed {
                Some(error) => Status::LoginNeeded(error.clone()),
                None => Status::Anonymous,
            },
            // The connection is as good as gone; the next state follows.
            Link::Closing => self.status.clone(),
        }
    }

    /// The session is over for good: nothing of it is kept.
    pub(super) fn end_session(&mut self, reason: NotSent) {
        self.user = None;
        self.token = None;
        self.login_needed = None;
        self.acknowledge_at = None;
        self.positions.clear();
        self.lists.clear();
        for ticket in self.outbox.clear() {
            self.finish(ticket, Outcome::NotSent(reason));
        }
    }

    /// Does what a notice asks for.
    fn on_notice(&mut self, code: NoticeCode, retry_ms: Option<u64>) {
        match code {
            NoticeCode::Replaced | NoticeCode::Ended => self.go_offline(Offline::Ended(code)),
            NoticeCode::Restored => {
                self.positions.clear();
                self.close();
            }
            NoticeCode::Draining | NoticeCode::Full | NoticeCode::Slow | NoticeCode::Idle => {}
            // It says nothing about the connection.
            NoticeCode::Announcement => return,
        }
        if retry_ms.is_some() {
            self.stay_away = Some(self.bounded_wait(retry_ms));
        }
    }

    /// Forgets failed attempts once a session has held for long: a server that takes logins and
    /// drops them at once is not called upon twice a second.
    fn note_stability(&mut self) {
        if let Link::Online(since) = self.link
            && self.now.since(since) >= self.config.backoff_longest
        {
            self.reconnect.reset();
        }
    }

    /// Starts an attempt.
    fn connect(&mut self) {
        self.link = Link::Connecting;
        self.stay_away = None;
        self.effects.push_back(Effect::Connect);
    }

    /// Waits for the next attempt, if one is wanted.
    fn wait_or_rest(&mut self) {
        let asked: Option<Duration> = self.stay_away.take();
        self.link = match (self.wanted, asked) {
            (false, _) => Link::Down,
            // Who asks for no wait at all is not called without a pause either.
            (true, Some(wait)) => Link::Waiting(self.now + wait.max(self.config.backoff_first)),
            (true, None) => Link::Waiting(self.reconnect.next(self.now)),
        };
    }
}
