//! Makes frames of replies and events: a server's side.
//!
//! Everything is written straight into the caller's buffer, compact, in the order of
//! `core/PROTOCOL.md`, without the line ending. Lists that would make a frame exceed
//! [`MAX_SERVER_FRAME`](crate::protocol::MAX_SERVER_FRAME) are cut, and the frame's `more` says so.

mod event;
mod list;
mod session;

use crate::id::RequestId;
use crate::log::Role;
use crate::protocol::error::RequestError;
use crate::protocol::event::Event;
use crate::protocol::json::write::Object;
use crate::protocol::reply::{GroupReply, Keep, Reply};

/// Appends a reply: `{"id":N,"ok":{..}}` or `{"id":N,"error":{..}}`; without an id, `null`.
///
/// Cut are the lists of pages from their end, a history at the end that its [`Keep`] does not
/// keep, and a session's lists from their ends, the longest first. Values within the protocol's
/// limits make at least one item fit, so that a client which reads on always gets further.
///
/// [`MAX_SERVER_FRAME`]: crate::protocol::MAX_SERVER_FRAME
pub fn reply(id: Option<RequestId>, result: &Result<Reply, RequestError>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut frame = Object::begin(out);
    match id {
        Some(RequestId(id)) => frame.integer("id", id),
        None => frame.raw("id", "null"),
    };
    match result {
        Ok(reply) => ok(reply, start, frame.field("ok")),
        Err(error) => Object::begin(frame.field("error"))
            .string("code", error.code.as_str())
            .string("message", &error.message)
            .maybe_integer("retry_ms", error.retry_ms)
            .end(),
    }
    frame.end();
}

/// Appends an event: `{"event":"..",..}`.
pub fn event(event: &Event, out: &mut Vec<u8>) {
    event::write(event, out);
}

/// Writes what stands behind `ok` in a frame that began at `start`.
fn ok(reply: &Reply, start: usize, out: &mut Vec<u8>) {
    match reply {
        Reply::Session(reply) => session::write(reply, start, out),
        Reply::Friends(page) => list::page("friends", page, start, out),
        Reply::Members(page) => list::page("members", page, start, out),
        Reply::Requests(page) => list::page("requests", page, start, out),
        Reply::Groups(page) => list::page("groups", page, start, out),
        Reply::Conversations(page) => list::page("conversations", page, start, out),
        Reply::History {
            messages,
            more,
            keep: Keep::First,
        } => list::first("messages", messages, *more, start, out),
        Reply::History {
            messages,
            more,
            keep: Keep::Last,
        } => list::last("messages", messages, *more, start, out),
        Reply::Group(reply) => group(reply, out),
        _ => short(reply, Object::begin(out)),
    }
}

/// Writes the replies that hold a few values.
fn short(reply: &Reply, mut object: Object<'_>) {
    match reply {
        Reply::Registered { user } => {
            object.integer("user", user.0);
        }
        Reply::Token { token } => {
            object.string("token", token.expose());
        }
        Reply::Pong { at } => {
            object.integer("at", at.0);
        }
        Reply::User {
            user,
            name,
            state,
            online,
        } => {
            object
                .integer("user", user.0)
                .string("name", name.as_str())
                .string("state", state.as_str())
                .maybe_boolean("online", *online);
        }
        Reply::FriendRequested { user, state } => {
            object
                .integer("user", user.0)
                .string("state", state.as_str());
        }
        Reply::FriendState { state } => {
            object.string("state", state.as_str());
        }
        Reply::GroupCreated { group } => {
            object.integer("group", group.0);
        }
        Reply::GroupJoined { state } => {
            object.string("state", state.as_str());
        }
        Reply::Appended { seq, at } => {
            object.integer("seq", seq.0).integer("at", at.0);
        }
        Reply::Done
        | Reply::Session(_)
        | Reply::Friends(_)
        | Reply::Members(_)
        | Reply::Requests(_)
        | Reply::Groups(_)
        | Reply::Conversations(_)
        | Reply::History { .. }
        | Reply::Group(_) => {}
    }
    object.end();
}

fn group(reply: &GroupReply, out: &mut Vec<u8>) {
    Object::begin(out)
        .integer("group", reply.group.0)
        .string("name", reply.name.as_str())
        .string("description", &reply.description)
        .string("join", reply.join.as_str())
        .maybe_string("role", reply.role.map(Role::as_str))
        .integer("members", reply.members)
        .maybe_integer("last", reply.last.map(|last| last.0))
        .end();
}

#[cfg(test)]
mod tests;
