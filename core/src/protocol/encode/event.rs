//! Events.

use crate::log::{Body, JoinPolicy, Text};
use crate::name::Name;
use crate::protocol::event::{Event, GroupState, Message};
use crate::protocol::json::write::Object;

/// Appends an event.
pub(super) fn write(event: &Event, out: &mut Vec<u8>) {
    if let Event::Message(event) = event {
        return message(event, out);
    }
    let mut object = Object::begin(out);
    match event {
        Event::Message(_) => {}
        Event::Receipt {
            conversation,
            user,
            delivered,
            read,
        } => {
            object
                .string("event", "receipt")
                .conversation("in", *conversation)
                .integer("user", user.0)
                .integer("delivered", delivered.0)
                .integer("read", read.0);
        }
        Event::Typing { conversation, user } => {
            object
                .string("event", "typing")
                .conversation("in", *conversation)
                .integer("user", user.0);
        }
        Event::Presence { user, online } => {
            object
                .string("event", "presence")
                .integer("user", user.0)
                .boolean("online", *online);
        }
        Event::Friend { user, name, state } => {
            object
                .string("event", "friend")
                .integer("user", user.0)
                .string("name", name.as_str())
                .string("state", state.as_str());
        }
        Event::Group { group, name, state } => {
            let user = match state {
                GroupState::Requested { user } => Some(user.0),
                _ => None,
            };
            object
                .string("event", "group")
                .integer("group", group.0)
                .string("name", name.as_str())
                .string("state", state.as_str())
                .maybe_integer("user", user);
        }
        Event::Notice {
            code,
            message,
            retry_ms,
        } => {
            object
                .string("event", "notice")
                .string("code", code.as_str())
                .string("message", message)
                .maybe_integer("retry_ms", *retry_ms);
        }
    }
    object.end();
}

/// Appends an entry of a log.
pub(super) fn message(message: &Message, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object
        .string("event", "message")
        .conversation("in", message.conversation)
        .integer("seq", message.seq.0)
        .integer("from", message.from.0)
        .integer("at", message.at.0)
        .string("kind", kind(&message.body));
    match &message.body {
        Body::Text(body) => text(body, &mut object),
        Body::Edit { target, text } => {
            object
                .integer("target", target.0)
                .maybe_string("text", text.as_deref());
        }
        Body::Recall { target } => {
            object.integer("target", target.0);
        }
        Body::Joined { user } | Body::Left { user } | Body::Removed { user } => {
            object.integer("user", user.0);
        }
        Body::Role { user, role } => {
            object.integer("user", user.0).string("role", role.as_str());
        }
        Body::Updated(change) => {
            object
                .maybe_string("name", change.name.as_ref().map(Name::as_str))
                .maybe_string("description", change.description.as_deref())
                .maybe_string("join", change.join.map(JoinPolicy::as_str));
        }
        Body::Disbanded => {}
    }
    object.end();
}

fn text(text: &Text, object: &mut Object<'_>) {
    object
        .string("key", text.key.as_str())
        .string("text", &text.text)
        .maybe_integer("reply_to", text.reply_to.map(|seq| seq.0));
    if let Some(meta) = &text.meta {
        object.raw("meta", meta);
    }
    object
        .maybe_boolean("edited", text.edited.then_some(true))
        .maybe_boolean("recalled", text.recalled.then_some(true));
}

/// Returns the wire name of an entry's kind.
const fn kind(body: &Body) -> &'static str {
    match body {
        Body::Text(_) => "text",
        Body::Edit { .. } => "edit",
        Body::Recall { .. } => "recall",
        Body::Joined { .. } => "joined",
        Body::Left { .. } => "left",
        Body::Removed { .. } => "removed",
        Body::Role { .. } => "role",
        Body::Updated(_) => "updated",
        Body::Disbanded => "disbanded",
    }
}
