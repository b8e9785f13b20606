//! Requests under way on the present connection.

use std::collections::BTreeMap;

use super::contract::Ticket;
use crate::id::{ConversationRef, RequestId};
use crate::protocol::client::ReplyKind;
use crate::protocol::request::Start;
use crate::time::Timestamp;

/// What a request is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The caller asked for it.
    Caller(Ticket),
    /// The caller logs in or resumes, from there.
    Begin(Ticket, Start),
    /// The caller ends the session.
    End(Ticket),
    /// The session goes on after a break, from there.
    Resume(Start),
    /// A send from the outbox.
    Send(ConversationRef, Ticket),
    /// Deliveries are acknowledged.
    Acknowledge(ConversationRef),
    /// A hole is read.
    Fetch(ConversationRef),
    /// More of a list is read.
    List,
    /// The connection is kept alive.
    Ping,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// What it is for.
    pub(super) purpose: Purpose,
    /// Which answer fits.
    pub(super) kind: ReplyKind,
    /// When it was sent.
    sent: Timestamp,
}

/// The requests under way, by number. Numbers rise over all connections of a session, so that a
/// reply can never meet the wrong request.
#[derive(Debug, Default)]
pub(super) struct Requests {
    table: BTreeMap<RequestId, UnderWay>,
    last: u64,
}

impl Requests {
    /// Returns how many are under way.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds a request; returns its number.
    pub(super) fn add(&mut self, purpose: Purpose, kind: ReplyKind, now: Timestamp) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        let sent = now;
        self.table.insert(
            id,
            UnderWay {
                purpose,
                kind,
                sent,
            },
        );
        id
    }

    /// Returns which answer fits a request.
    pub(super) fn kind(&self, id: RequestId) -> Option<ReplyKind> {
        self.table.get(&id).map(|request| request.kind)
    }

    /// Takes a request whose answer came.
    pub(super) fn take(&mut self, id: RequestId) -> Option<UnderWay> {
        self.table.remove(&id)
    }

    /// Takes every request: the connection broke.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = UnderWay> {
        std::mem::take(&mut self.table).into_values()
    }

    /// Returns when the oldest request was sent.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.table
            .first_key_value()
            .map(|(_, request)| request.sent)
    }
}
