//! Reads events.

use std::borrow::Cow;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::id::{GroupId, Seq, UserId};
use crate::log::{Body, FriendState, GroupChange, JoinPolicy, Role, Text};
use crate::name::Name;
use crate::protocol::client::{Malformed, owned, word};
use crate::protocol::event::{Event, GroupState, Message, NoticeCode};
use crate::protocol::json::object::{FieldError, read_object, slots};
use crate::protocol::json::value::{self, Problem};
use crate::protocol::meta;
use crate::time::Timestamp;

slots!(
    /// Every field that some event has.
    Fields {
        event = "event",
        place = "in",
        user = "user",
        delivered = "delivered",
        read = "read",
        online = "online",
        name = "name",
        state = "state",
        group = "group",
        code = "code",
        message = "message",
        retry_ms = "retry_ms",
        seq = "seq",
        from = "from",
        at = "at",
        kind = "kind",
        key = "key",
        text = "text",
        reply_to = "reply_to",
        meta = "meta",
        edited = "edited",
        recalled = "recalled",
        target = "target",
        role = "role",
        description = "description",
        join = "join",
    }
);

/// Reads an event; `None` for one that this version does not know.
pub(super) fn read(text: &str) -> Result<Option<Event>, Malformed> {
    let mut fields = Fields::default();
    read_object(text, &mut fields)?;
    Ok(build(&fields)?)
}

/// Reads an item of a history; `None` for an entry of a kind that this version does not know.
pub(super) fn item(raw: &str) -> Result<Option<Message>, Problem> {
    let mut fields = Fields::default();
    value::object(raw, &mut fields)?;
    message(&fields).map_err(super::within)
}

fn build(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    match fields.event.need(spelling)?.as_str() {
        "message" => Ok(message(fields)?.map(Event::Message)),
        "receipt" => receipt(fields),
        "typing" => typing(fields),
        "presence" => presence(fields),
        "friend" => friend(fields),
        "group" => group(fields),
        "notice" => notice(fields),
        _ => Ok(None),
    }
}

fn receipt(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    Ok(Some(Event::Receipt {
        conversation: fields.place.need(value::conversation)?,
        user: user(fields)?,
        delivered: fields.delivered.need(value::seq)?,
        read: fields.read.need(value::seq)?,
    }))
}

fn typing(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    Ok(Some(Event::Typing {
        conversation: fields.place.need(value::conversation)?,
        user: user(fields)?,
    }))
}

fn presence(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    Ok(Some(Event::Presence {
        user: user(fields)?,
        online: fields.online.need(value::boolean)?,
    }))
}

fn friend(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    let user = user(fields)?;
    let name = name(fields)?;
    let state = word(&fields.state, FriendState::from_name)?;
    Ok(state.map(|state| Event::Friend { user, name, state }))
}

fn group(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    let group: GroupId = fields.group.need(value::group)?;
    let name = name(fields)?;
    let state = match fields.state.need(spelling)?.as_str() {
        "invited" => GroupState::Invited,
        "member" => GroupState::Member,
        "removed" => GroupState::Removed,
        "disbanded" => GroupState::Disbanded,
        "none" => GroupState::None,
        "requested" => GroupState::Requested {
            user: user(fields)?,
        },
        _ => return Ok(None),
    };
    Ok(Some(Event::Group { group, name, state }))
}

fn notice(fields: &Fields<'_>) -> Result<Option<Event>, FieldError> {
    let known = word(&fields.code, NoticeCode::from_name)?;
    let message = fields.message.read(owned)?.unwrap_or_default();
    let retry_ms = fields.retry_ms.read(value::integer)?;
    let code = known.or(retry_ms.map(|_| NoticeCode::Draining));
    Ok(code.map(|code| Event::Notice {
        code,
        message: Cow::Owned(message),
        retry_ms,
    }))
}

fn message(fields: &Fields<'_>) -> Result<Option<Message>, FieldError> {
    let conversation = fields.place.need(value::conversation)?;
    let seq = fields.seq.need(value::seq)?;
    let from = fields.from.need(value::user)?;
    let at = Timestamp(fields.at.need(value::integer)?);
    Ok(body(fields)?.map(|body| Message {
        conversation,
        seq,
        from,
        at,
        body,
    }))
}

fn body(fields: &Fields<'_>) -> Result<Option<Body>, FieldError> {
    Ok(Some(match fields.kind.need(spelling)?.as_str() {
        "text" => Body::Text(Text {
            key: fields.key.need(value::key)?,
            text: fields.text.need(value::shared)?,
            reply_to: fields.reply_to.read(value::seq)?,
            meta: fields.meta.read(compact_meta)?,
            edited: fields.edited.read(value::boolean)?.unwrap_or(false),
            recalled: fields.recalled.read(value::boolean)?.unwrap_or(false),
        }),
        "edit" => Body::Edit {
            target: target(fields)?,
            text: fields.text.read(value::shared)?,
        },
        "recall" => Body::Recall {
            target: target(fields)?,
        },
        "joined" => Body::Joined {
            user: user(fields)?,
        },
        "left" => Body::Left {
            user: user(fields)?,
        },
        "removed" => Body::Removed {
            user: user(fields)?,
        },
        "role" => {
            let user = user(fields)?;
            let Some(role) = word(&fields.role, Role::from_name)? else {
                return Ok(None);
            };
            Body::Role { user, role }
        }
        "updated" => Body::Updated(GroupChange {
            name: fields.name.read(value::name)?,
            description: fields.description.read(value::shared)?,
            join: fields
                .join
                .read(|raw| value::string(raw, |text| Ok(JoinPolicy::from_name(text))))?
                .flatten(),
        }),
        "disbanded" => Body::Disbanded,
        _ => return Ok(None),
    }))
}

/// Reads a word, whichever it is; those that are known need no memory.
fn spelling(raw: &str) -> Result<SmolStr, Problem> {
    value::string(raw, |text| Ok(SmolStr::new(text)))
}

fn compact_meta(raw: &str) -> Result<Arc<str>, Problem> {
    meta::compact(raw).map_err(|error| Problem::Bad(Cow::Owned(error.to_string())))
}

fn user(fields: &Fields<'_>) -> Result<UserId, FieldError> {
    fields.user.need(value::user)
}

fn name(fields: &Fields<'_>) -> Result<Name, FieldError> {
    fields.name.need(value::name)
}

fn target(fields: &Fields<'_>) -> Result<Seq, FieldError> {
    fields.target.need(value::seq)
}
