//! Connections: their requests in, their replies and events out, their end.

use std::borrow::Cow;
use std::net::IpAddr;

use smallvec::{SmallVec, smallvec};

use crate::engine::connection::{Connection, Overdue};
use crate::engine::contract::{Effect, Misuse};
use crate::engine::guard::Network;
use crate::engine::pipeline::Answered;
use crate::engine::requests::rate_limited;
use crate::engine::timers::Alarm;
use crate::engine::{Engine, weight};
use crate::id::{ConnectionId, RequestId};
use crate::protocol::{ErrorCode, Event, NoticeCode, Reply, Request, RequestError};

impl Engine {
    pub(super) fn connected(
        &mut self,
        id: ConnectionId,
        address: Option<IpAddr>,
    ) -> Result<(), Misuse> {
        if self.last_connection.is_some_and(|last| id <= last) {
            return Err(Misuse::ConnectionUsed(id));
        }
        self.last_connection = Some(id);
        self.tally.connections += 1;
        let network = address.map(Network::of);
        let from_there = network.map(|network| self.addresses.entry(network).or_default());
        let crowded = from_there.is_some_and(|count| {
            *count += 1;
            *count > self.config.connections_per_address
        });
        let full = crowded || self.connections.len() >= self.config.connections;
        self.connections
            .insert(id, Box::new(Connection::new(network, self.now)));
        if self.stopping.draining() {
            self.close_draining(id);
        } else if full {
            let wait = 1000 + self.jitter(4000);
            self.close(
                id,
                NoticeCode::Full,
                if crowded {
                    "too many connections come from this address"
                } else {
                    "the server has no room for more"
                },
                Some(wait),
            );
        } else {
            self.set_alarm(id);
        }
        Ok(())
    }

    pub(super) fn requested(
        &mut self,
        id: ConnectionId,
        request_id: Option<RequestId>,
        request: Result<Request, RequestError>,
    ) -> Result<(), Misuse> {
        let now = self.now;
        let connection = self
            .connections
            .get_mut(id)
            .ok_or(Misuse::NoConnection(id))?;
        if connection.closing || connection.input_ended {
            return Ok(());
        }
        connection.heard_at = now;
        let op = request.as_ref().ok().map(Request::op);
        let mut request = request;
        if let Err(error) = &request {
            connection.input_ended |= error.code == ErrorCode::FrameTooLarge;
        }
        if self.stopping.draining() {
            request = Err(ErrorCode::ShuttingDown.into());
        } else if let Some(rates) = self.config.rates {
            let mut allowed = connection.requests.take(rates.requests, now);
            if allowed.is_ok() && request.as_ref().is_ok_and(costs_a_login) {
                allowed = connection.logins.take(rates.logins, now);
            }
            if let (Err(wait), Ok(_)) = (allowed, &request) {
                request = Err(rate_limited(wait));
            }
        }
        connection.pipeline.push(request_id, op, request, now);
        self.advance(id);
        Ok(())
    }

    pub(super) fn input_ended(&mut self, id: ConnectionId) -> Result<(), Misuse> {
        let connection = self
            .connections
            .get_mut(id)
            .ok_or(Misuse::NoConnection(id))?;
        connection.input_ended = true;
        self.advance(id);
        Ok(())
    }

    pub(super) fn disconnected(&mut self, id: ConnectionId) -> Result<(), Misuse> {
        self.leave_session(id);
        let connection = self
            .connections
            .remove(id)
            .ok_or(Misuse::NoConnection(id))?;
        self.timers
            .clear(connection.alarm_at, Alarm::Connection(id));
        if let Some(network) = connection.network
            && let Some(count) = self.addresses.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&network);
            }
        }
        Ok(())
    }

    pub(super) fn written(&mut self, id: ConnectionId, weight: u32) -> Result<(), Misuse> {
        let connection = self
            .connections
            .get_mut(id)
            .ok_or(Misuse::NoConnection(id))?;
        connection.outstanding = connection
            .outstanding
            .checked_sub(weight)
            .ok_or(Misuse::TooMuchWritten(id))?;
        connection.accepted_at = self.now;
        if connection.outstanding <= self.config.outgoing / 2 {
            let paused = connection.paused;
            if std::mem::take(&mut connection.starved) {
                self.repairs.starved += 1;
                self.catch_up(id);
            }
            if paused {
                self.pause_or_resume(id);
                self.set_alarm(id);
            }
        }
        Ok(())
    }

    /// Answers what is answered and starts what may start, in order.
    pub(super) fn advance(&mut self, id: ConnectionId) {
        loop {
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            if connection.closing {
                return;
            }
            if let Some(answered) = connection.pipeline.pop() {
                // Who waited for us was not silent.
                connection.heard_at = self.now;
                self.reply(id, answered);
            } else if let Some((serial, request)) = connection.pipeline.start_next() {
                if let Some(result) = self.start(id, serial, request) {
                    self.answer(id, serial, result);
                }
            } else {
                break;
            }
        }
        self.finish_or_go_on(id);
    }

    /// Records the answer to a request; [`advance`](Self::advance) sends it when its turn comes.
    pub(super) fn answer(
        &mut self,
        id: ConnectionId,
        serial: u64,
        result: Result<Reply, RequestError>,
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.pipeline.answer(serial, result);
        }
    }

    /// Sends an event that has no place in a log to one connection. Losing it would mislead the
    /// client, so it is sent without credit too; a connection that lets very many pile up is closed.
    pub(super) fn push_one(&mut self, id: ConnectionId, event: Event) {
        let weight = weight::of_event(&event);
        let limit = self.config.outgoing.saturating_mul(4);
        let Some(connection) = self.connections.get(id).filter(|c| !c.closing) else {
            return;
        };
        if connection.outstanding >= limit {
            self.close_slow(id);
            return;
        }
        self.charge(id, weight);
        self.effects.push_back(Effect::Push {
            connections: smallvec![id],
            event,
            weight,
        });
    }

    /// Sends an event that may be lost to those of some connections that have credit.
    pub(super) fn push_hint(&mut self, connections: &[ConnectionId], event: Event) {
        let weight = weight::of_event(&event);
        let mut targets: SmallVec<[ConnectionId; 2]> = SmallVec::new();
        for id in connections {
            let config = &self.config;
            if self
                .connections
                .get(*id)
                .is_some_and(|connection| connection.has_credit(config))
            {
                self.charge(*id, weight);
                targets.push(*id);
            }
        }
        if !targets.is_empty() {
            self.effects.push_back(Effect::Push {
                connections: targets,
                event,
                weight,
            });
        }
    }

    /// Counts what is about to be sent.
    pub(super) fn charge(&mut self, id: ConnectionId, weight: u32) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let is_first = connection.outstanding == 0;
        if is_first {
            connection.accepted_at = now;
        }
        connection.outstanding = connection.outstanding.saturating_add(weight);
        // Nothing else becomes overdue by this, and the alarm is mostly early enough.
        if is_first && now + self.config.write_timeout < connection.alarm_at {
            self.set_alarm(id);
        }
    }

    /// Says why, ends the session on this connection and closes it once that is written.
    pub(super) fn close(
        &mut self,
        id: ConnectionId,
        code: NoticeCode,
        message: impl Into<Cow<'static, str>>,
        retry_ms: Option<u64>,
    ) {
        if self
            .connections
            .get(id)
            .is_none_or(|connection| connection.closing)
        {
            return;
        }
        let event = Event::Notice {
            code,
            message: message.into(),
            retry_ms,
        };
        let weight = weight::of_event(&event);
        self.charge(id, weight);
        self.effects.push_back(Effect::Push {
            connections: smallvec![id],
            event,
            weight,
        });
        self.close_silently(id);
    }

    pub(super) fn close_slow(&mut self, id: ConnectionId) {
        self.close(
            id,
            NoticeCode::Slow,
            "the connection accepts too little",
            None,
        );
    }

    /// Looks whether a connection was silent, or has accepted nothing, for too long.
    pub(super) fn check_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.alarm_at = crate::time::Timestamp(u64::MAX);
        if connection.closing {
            return;
        }
        match connection.deadline(&self.config) {
            (at, _) if at > self.now => self.set_alarm(id),
            (_, Overdue::Idle) => {
                self.close(
                    id,
                    NoticeCode::Idle,
                    "the connection was silent for too long",
                    None,
                );
            }
            (_, Overdue::Slow) => self.close_slow(id),
        }
    }

    fn reply(&mut self, connection: ConnectionId, answered: Answered) {
        let Answered { id, op, at, result } = answered;
        self.tally.answered(op, &result, self.now.since(at));
        let weight = weight::of_reply(&result);
        self.charge(connection, weight);
        self.effects.push_back(Effect::Reply {
            connection,
            id,
            result,
            weight,
        });
    }

    /// Closes a connection that has nothing more to ask, or sees to its reading.
    fn finish_or_go_on(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if connection.pipeline.is_empty() {
            if connection.input_ended {
                self.close_silently(id);
                return;
            }
            if self.stopping.draining() {
                self.close_draining(id);
                return;
            }
        }
        self.pause_or_resume(id);
        self.set_alarm(id);
    }

    fn close_silently(&mut self, id: ConnectionId) {
        self.leave_session(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.closing = true;
        self.effects.push_back(Effect::Close { connection: id });
    }

    fn pause_or_resume(&mut self, id: ConnectionId) {
        let config = &self.config;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.closing || connection.input_ended {
            return;
        }
        let waiting = connection.pipeline.len();
        let bytes = u32::try_from(connection.pipeline.bytes()).unwrap_or(u32::MAX);
        let full = waiting >= config.pipeline
            || bytes >= config.outgoing
            || connection.outstanding >= config.outgoing;
        let roomy = waiting <= config.pipeline / 2
            && bytes <= config.outgoing / 2
            && connection.outstanding <= config.outgoing / 2;
        if full && !connection.paused {
            connection.paused = true;
            self.effects
                .push_back(Effect::PauseReads { connection: id });
        } else if roomy && connection.paused {
            connection.paused = false;
            // Who could not speak was not silent.
            connection.heard_at = self.now;
            self.effects
                .push_back(Effect::ResumeReads { connection: id });
        }
    }

    /// Makes sure that the connection is looked at no later than when something is overdue.
    fn set_alarm(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let (at, _) = connection.deadline(&self.config);
        if !connection.closing && at < connection.alarm_at {
            self.timers
                .clear(connection.alarm_at, Alarm::Connection(id));
            connection.alarm_at = at;
            self.timers.set(at, Alarm::Connection(id));
        }
    }
}

/// Tells whether a request makes the server hash a password or read a whole roster.
const fn costs_a_login(request: &Request) -> bool {
    matches!(
        request,
        Request::Register { .. }
            | Request::Login { .. }
            | Request::LoginJwt { .. }
            | Request::Resume { .. }
            | Request::Password { .. }
            | Request::DeleteAccount { .. }
    )
}
