//! What the log says of each request and message, at the levels `debug` (sessions) and `trace` (the
//! rest).
//!
//! Numbers and names of the protocol only: no password, token or text, and nothing that a client may
//! have put one into. A connection's number leads to its user, by the line that its session began
//! with, and a conversation and its `seq` name a message on every node.

use parlor_core::id::{ConnectionId, ConversationRef, Place, RequestId};
use parlor_core::log::Entry;
use parlor_core::protocol::{Event, Reply, Request, RequestError};
use parlor_core::relay::RelayMessage;
use tracing::{debug, trace};

/// A client asks for something.
pub(crate) fn asked(
    connection: ConnectionId,
    request: Option<RequestId>,
    asked: &Result<Request, RequestError>,
) {
    let (connection, request) = (connection.0, request.map(|id| id.0));
    match asked {
        Ok(asked) => trace!(connection, request, op = asked.op(), "asked"),
        Err(error) => trace!(
            connection,
            request,
            code = error.code.as_str(),
            "asked wrongly"
        ),
    }
}

/// A client is answered.
pub(crate) fn answered(
    connection: ConnectionId,
    request: Option<RequestId>,
    result: &Result<Reply, RequestError>,
) {
    let (connection, request) = (connection.0, request.map(|id| id.0));
    match result {
        Ok(Reply::Session(began)) => {
            let (user, session) = (began.user.0, began.session.0);
            debug!(connection, request, user, session, "session began");
        }
        Ok(Reply::Registered { user }) => debug!(connection, request, user = user.0, "registered"),
        Ok(Reply::Appended { seq, .. }) => trace!(connection, request, seq = seq.0, "stored"),
        Ok(_) => trace!(connection, request, "answered"),
        Err(error) => trace!(connection, request, code = error.code.as_str(), "refused"),
    }
}

/// Connections are told something unasked.
pub(crate) fn pushed(connections: &[ConnectionId], event: &Event) {
    match event {
        Event::Message(message) => {
            let (user, group) = reference(message.conversation);
            let (seq, from) = (message.seq.0, message.from.0);
            for connection in connections {
                let connection = connection.0;
                trace!(connection, user, group, seq, from, "message pushed");
            }
        }
        Event::Notice { code, .. } => {
            for connection in connections {
                debug!(connection = connection.0, code = code.as_str(), "notice");
            }
        }
        _ => {}
    }
}

/// Other nodes are told something.
pub(crate) fn published(message: &RelayMessage) {
    if let RelayMessage::Entry(entry) = message {
        entry_moves(entry, "message published");
    }
}

/// Another node has told something.
pub(crate) fn relayed(message: &RelayMessage) {
    if let RelayMessage::Entry(entry) = message {
        entry_moves(entry, "message relayed");
    }
}

fn entry_moves(entry: &Entry, what: &'static str) {
    let (users, group) = match entry.place {
        Place::Direct(pair) => (Some(pair), None),
        Place::Group(group) => (None, Some(group.0)),
    };
    let (seq, from) = (entry.seq.0, entry.from.0);
    trace!(?users, group, seq, from, "{what}");
}

fn reference(conversation: ConversationRef) -> (Option<u64>, Option<u64>) {
    match conversation {
        ConversationRef::User(user) => (Some(user.0), None),
        ConversationRef::Group(group) => (None, Some(group.0)),
    }
}
