//! Writes requests.

use crate::id::{ConversationRef, RequestId, Seq};
use crate::log::{GroupChange, JoinPolicy};
use crate::name::{Key, Name};
use crate::protocol::DEFAULT_LIMIT;
use crate::protocol::json::write::Object;
use crate::protocol::request::{Anchor, Request, Start, UserRef};
use crate::secret::Secret;

/// Appends a request as one compact JSON object without the line ending: `id`, `op`, then its
/// fields in the order of `core/PROTOCOL.md`; what has its default is omitted.
///
/// The frame may exceed [`MAX_CLIENT_FRAME`], which is for the caller to check: a `have` of more
/// than a thousand items, or a text of ten thousand control characters, which take six bytes each.
///
/// [`MAX_CLIENT_FRAME`]: crate::protocol::MAX_CLIENT_FRAME
pub fn encode_request(id: RequestId, request: &Request, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object.integer("id", id.0).string("op", request.op());
    match request {
        Request::Register { .. }
        | Request::Login { .. }
        | Request::LoginJwt { .. }
        | Request::Resume { .. }
        | Request::Logout
        | Request::Password { .. }
        | Request::DeleteAccount { .. }
        | Request::Ping => account(request, &mut object),
        Request::User { who: of } | Request::FriendRequest { who: of } => who(of, &mut object),
        Request::Friend { user, .. } => {
            object.integer("user", user.0);
        }
        Request::Friends { after, limit } => {
            page(after.map(|user| user.0), *limit, &mut object);
        }
        Request::GroupCreate { .. }
        | Request::GroupSelf { .. }
        | Request::GroupOther { .. }
        | Request::GroupRole { .. }
        | Request::GroupUpdate { .. }
        | Request::Group { .. }
        | Request::GroupMembers { .. }
        | Request::GroupRequests { .. }
        | Request::Groups { .. } => group(request, &mut object),
        Request::Conversations { .. }
        | Request::Send { .. }
        | Request::Edit { .. }
        | Request::Recall { .. }
        | Request::Ack { .. }
        | Request::Typing { .. }
        | Request::History { .. } => chat(request, &mut object),
    }
    object.end();
}

fn account(request: &Request, object: &mut Object<'_>) {
    match request {
        Request::Register {
            name,
            password,
            invite,
        } => {
            object
                .string("name", name.as_str())
                .string("password", password.expose())
                .maybe_string("invite", invite.as_ref().map(Secret::expose));
        }
        Request::Login {
            who: of,
            password,
            device,
            start: from,
        } => {
            who(of, object);
            object
                .string("password", password.expose())
                .maybe_string("device", device.as_deref());
            start(from, object);
        }
        Request::LoginJwt {
            jwt,
            device,
            start: from,
        } => {
            object
                .string("jwt", jwt.expose())
                .maybe_string("device", device.as_deref());
            start(from, object);
        }
        Request::Resume { token, start: from } => {
            object.string("token", token.expose());
            start(from, object);
        }
        Request::Password { old, new } => {
            object
                .string("old", old.expose())
                .string("new", new.expose());
        }
        Request::DeleteAccount { password } => {
            object.string("password", password.expose());
        }
        _ => {}
    }
}

fn group(request: &Request, object: &mut Object<'_>) {
    match request {
        Request::GroupCreate {
            name,
            description,
            join,
            key,
        } => {
            let description = Some(&**description).filter(|text| !text.is_empty());
            let join = Some(*join).filter(|join| *join != JoinPolicy::default());
            object
                .string("name", name.as_str())
                .maybe_string("description", description)
                .maybe_string("join", join.map(JoinPolicy::as_str))
                .maybe_string("key", key.as_ref().map(Key::as_str));
        }
        Request::GroupSelf { group, .. } | Request::Group { group } => {
            object.integer("group", group.0);
        }
        Request::GroupOther { group, user, .. } => {
            object.integer("group", group.0).integer("user", user.0);
        }
        Request::GroupRole { group, user, role } => {
            object
                .integer("group", group.0)
                .integer("user", user.0)
                .string("role", role.as_str());
        }
        Request::GroupUpdate { group, change } => {
            object.integer("group", group.0);
            update(change, object);
        }
        Request::GroupMembers {
            group,
            after,
            limit,
        }
        | Request::GroupRequests {
            group,
            after,
            limit,
        } => {
            object.integer("group", group.0);
            page(after.map(|user| user.0), *limit, object);
        }
        Request::Groups { after, limit } => page(after.map(|group| group.0), *limit, object),
        _ => {}
    }
}

fn chat(request: &Request, object: &mut Object<'_>) {
    match request {
        Request::Conversations { after, limit } => {
            if let Some(after) = after {
                object.conversation("after", *after);
            }
            page(None, *limit, object);
        }
        Request::Send {
            to,
            key,
            text,
            reply_to,
            meta,
        } => {
            object
                .conversation("to", *to)
                .string("key", key.as_str())
                .string("text", text)
                .maybe_integer("reply_to", number(*reply_to));
            if let Some(meta) = meta {
                object.raw("meta", meta);
            }
        }
        Request::Edit {
            conversation,
            seq,
            text,
        } => {
            entry(*conversation, *seq, object);
            object.string("text", text);
        }
        Request::Recall { conversation, seq } => entry(*conversation, *seq, object),
        Request::Ack {
            conversation,
            delivered,
            read,
        } => {
            object
                .conversation("in", *conversation)
                .maybe_integer("delivered", number(*delivered))
                .maybe_integer("read", number(*read));
        }
        Request::Typing { to } => {
            object.conversation("to", *to);
        }
        Request::History {
            conversation,
            anchor,
            limit,
        } => {
            object.conversation("in", *conversation);
            match anchor {
                Anchor::Newest => {}
                Anchor::After(seq) => {
                    object.integer("after", seq.0);
                }
                Anchor::Before(seq) => {
                    object.integer("before", seq.0);
                }
            }
            page(None, *limit, object);
        }
        _ => {}
    }
}

fn who(who: &UserRef, object: &mut Object<'_>) {
    match who {
        UserRef::Id(user) => object.integer("user", user.0),
        UserRef::Name(name) => object.string("name", name.as_str()),
    };
}

fn start(start: &Start, object: &mut Object<'_>) {
    object.maybe_boolean("replay", (!start.replay).then_some(false));
    if start.have.is_empty() {
        return;
    }
    let list = object.open_list("have");
    for (index, (conversation, seq)) in start.have.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        let mut item = Object::begin(list);
        entry(*conversation, *seq, &mut item);
        item.end();
    }
    object.close_list();
}

fn update(change: &GroupChange, object: &mut Object<'_>) {
    object
        .maybe_string("name", change.name.as_ref().map(Name::as_str))
        .maybe_string("description", change.description.as_deref())
        .maybe_string("join", change.join.map(JoinPolicy::as_str));
}

fn page(after: Option<u64>, limit: u32, object: &mut Object<'_>) {
    let limit = Some(u64::from(limit)).filter(|limit| *limit != u64::from(DEFAULT_LIMIT));
    object
        .maybe_integer("after", after)
        .maybe_integer("limit", limit);
}

fn entry(conversation: ConversationRef, seq: Seq, object: &mut Object<'_>) {
    object
        .conversation("in", conversation)
        .integer("seq", seq.0);
}

fn number(seq: Option<Seq>) -> Option<u64> {
    seq.map(|seq| seq.0)
}
