//! Each operation's fields.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::id::{ConversationRef, GroupId, Seq};
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::protocol::decode::Fields;
use crate::protocol::error::{ErrorCode, RequestError};
use crate::protocol::json::object::{FieldError, Slot, slots};
use crate::protocol::json::value::{self, Problem};
use crate::protocol::meta::{self, MetaError};
use crate::protocol::request::{
    Anchor, FriendAction, GroupOtherAction, GroupSelfAction, Request, Start, UserRef,
};
use crate::protocol::{
    DEFAULT_LIMIT, MAX_DESCRIPTION_BYTES, MAX_DEVICE_BYTES, MAX_HAVE, MAX_JWT_BYTES, MAX_LIMIT,
    MAX_TEXT_BYTES, MAX_TOKEN_BYTES, PASSWORD_BYTES,
};
use crate::secret::Secret;

/// Reads the fields that the operation uses.
pub(super) fn build(fields: &Fields<'_>) -> Result<Request, RequestError> {
    let op = fields
        .op
        .need(|raw| value::string(raw, |op| Ok(SmolStr::new(op))))?;
    let request = match op.as_str() {
        "register" => register(fields),
        "login" => login(fields),
        "resume" => resume(fields),
        "logout" => Ok(Request::Logout),
        "password" => password(fields),
        "delete_account" => delete_account(fields),
        "ping" => Ok(Request::Ping),
        "user" => who(fields).map(|who| Request::User { who }),
        "friend_request" => who(fields).map(|who| Request::FriendRequest { who }),
        "friend_accept" => friend(fields, FriendAction::Accept),
        "friend_reject" => friend(fields, FriendAction::Reject),
        "friend_remove" => friend(fields, FriendAction::Remove),
        "block" => friend(fields, FriendAction::Block),
        "unblock" => friend(fields, FriendAction::Unblock),
        "friends" => friends(fields),
        "group_create" => group_create(fields),
        "group_join" => group_self(fields, GroupSelfAction::Join),
        "group_leave" => group_self(fields, GroupSelfAction::Leave),
        "group_disband" => group_self(fields, GroupSelfAction::Disband),
        "group_invite" => group_other(fields, GroupOtherAction::Invite),
        "group_approve" => group_other(fields, GroupOtherAction::Approve),
        "group_reject" => group_other(fields, GroupOtherAction::Reject),
        "group_remove" => group_other(fields, GroupOtherAction::Remove),
        "group_role" => group_role(fields),
        "group_update" => group_update(fields),
        "group" => group(fields).map(|group| Request::Group { group }),
        "group_members" => group_members(fields),
        "group_requests" => group_requests(fields),
        "groups" => groups(fields),
        "conversations" => conversations(fields),
        "send" => send(fields),
        "edit" => edit(fields),
        "recall" => recall(fields),
        "ack" => ack(fields),
        "typing" => conversation(&fields.to).map(|to| Request::Typing { to }),
        "history" => history(fields),
        _ => return Err(ErrorCode::UnknownOp.into()),
    };
    Ok(request?)
}

fn register(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Register {
        name: fields.name.need(value::name)?,
        password: fields.password.need(chosen_password)?,
        invite: fields.invite.read(token)?,
    })
}

fn login(fields: &Fields<'_>) -> Result<Request, FieldError> {
    if let Some(jwt) = fields.jwt.read(jwt)? {
        for other in [&fields.name, &fields.user, &fields.password] {
            if other.is_present() {
                return Err(other.error(Problem::bad("and `jwt` exclude each other")));
            }
        }
        return Ok(Request::LoginJwt {
            jwt,
            device: fields.device.read(device)?,
            start: start(fields)?,
        });
    }
    Ok(Request::Login {
        who: who(fields)?,
        password: fields.password.need(present_password)?,
        device: fields.device.read(device)?,
        start: start(fields)?,
    })
}

fn resume(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Resume {
        token: fields.token.need(token)?,
        start: start(fields)?,
    })
}

fn password(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Password {
        old: fields.old.need(present_password)?,
        new: fields.new.need(chosen_password)?,
    })
}

fn delete_account(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::DeleteAccount {
        password: fields.password.need(present_password)?,
    })
}

fn friend(fields: &Fields<'_>, action: FriendAction) -> Result<Request, FieldError> {
    Ok(Request::Friend {
        action,
        user: fields.user.need(value::user)?,
    })
}

fn friends(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Friends {
        after: fields.after.read(value::user)?,
        limit: limit(fields)?,
    })
}

fn group_create(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::GroupCreate {
        name: fields.name.need(value::name)?,
        description: fields
            .description
            .read(description)?
            .unwrap_or_else(|| Arc::from("")),
        join: fields.join.read(join)?.unwrap_or_default(),
        key: fields.key.read(value::key)?,
    })
}

fn group_self(fields: &Fields<'_>, action: GroupSelfAction) -> Result<Request, FieldError> {
    Ok(Request::GroupSelf {
        action,
        group: group(fields)?,
    })
}

fn group_other(fields: &Fields<'_>, action: GroupOtherAction) -> Result<Request, FieldError> {
    Ok(Request::GroupOther {
        action,
        group: group(fields)?,
        user: fields.user.need(value::user)?,
    })
}

fn group_role(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::GroupRole {
        group: group(fields)?,
        user: fields.user.need(value::user)?,
        role: fields.role.need(role)?,
    })
}

fn group_update(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::GroupUpdate {
        group: group(fields)?,
        change: GroupChange {
            name: fields.name.read(value::name)?,
            description: fields.description.read(description)?,
            join: fields.join.read(join)?,
        },
    })
}

fn group_members(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::GroupMembers {
        group: group(fields)?,
        after: fields.after.read(value::user)?,
        limit: limit(fields)?,
    })
}

fn group_requests(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::GroupRequests {
        group: group(fields)?,
        after: fields.after.read(value::user)?,
        limit: limit(fields)?,
    })
}

fn groups(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Groups {
        after: fields.after.read(value::group)?,
        limit: limit(fields)?,
    })
}

fn conversations(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Conversations {
        after: fields.after.read(value::conversation)?,
        limit: limit(fields)?,
    })
}

fn send(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Send {
        to: conversation(&fields.to)?,
        key: fields.key.need(value::key)?,
        text: fields.text.need(text)?,
        reply_to: fields.reply_to.read(value::seq)?,
        meta: fields.meta.read(compact_meta)?,
    })
}

fn edit(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Edit {
        conversation: conversation(&fields.place)?,
        seq: fields.seq.need(entry)?,
        text: fields.text.need(text)?,
    })
}

fn recall(fields: &Fields<'_>) -> Result<Request, FieldError> {
    Ok(Request::Recall {
        conversation: conversation(&fields.place)?,
        seq: fields.seq.need(entry)?,
    })
}

fn ack(fields: &Fields<'_>) -> Result<Request, FieldError> {
    let conversation = conversation(&fields.place)?;
    let delivered = fields.delivered.read(value::seq)?;
    let read = fields.read.read(value::seq)?;
    if delivered.is_none() && read.is_none() {
        let rule = Problem::bad("is missing, and so is `read`");
        return Err(fields.delivered.error(rule));
    }
    Ok(Request::Ack {
        conversation,
        delivered,
        read,
    })
}

fn history(fields: &Fields<'_>) -> Result<Request, FieldError> {
    if fields.after.is_present() && fields.before.is_present() {
        let rule = Problem::bad("and `before` exclude each other");
        return Err(fields.after.error(rule));
    }
    let after = fields.after.read(value::seq)?.map(Anchor::After);
    let before = fields.before.read(value::seq)?.map(Anchor::Before);
    Ok(Request::History {
        conversation: conversation(&fields.place)?,
        anchor: after.or(before).unwrap_or(Anchor::Newest),
        limit: limit(fields)?,
    })
}

fn who(fields: &Fields<'_>) -> Result<UserRef, FieldError> {
    if fields.user.is_present() && fields.name.is_present() {
        return Err(fields
            .user
            .error(Problem::bad("and `name` exclude each other")));
    }
    let user = fields.user.read(value::user)?.map(UserRef::Id);
    let name = fields.name.read(value::name)?.map(UserRef::Name);
    user.or(name).ok_or_else(|| {
        fields
            .user
            .error(Problem::bad("is missing, and so is `name`"))
    })
}

fn start(fields: &Fields<'_>) -> Result<Start, FieldError> {
    Ok(Start {
        replay: fields.replay.read(value::boolean)?.unwrap_or(true),
        have: fields
            .have
            .read(|raw| value::list(raw, MAX_HAVE, position))?
            .unwrap_or_default(),
    })
}

slots!(
    /// The fields of an item of `have`.
    Position {
        place = "in",
        seq = "seq",
    }
);

fn position(raw: &str) -> Result<(ConversationRef, Seq), Problem> {
    let wrong = |error: FieldError| match error.problem {
        Problem::Bad(rule) | Problem::TooLarge(rule) => Problem::Bad(Cow::Owned(format!(
            "has an item whose `{}` {rule}",
            error.field
        ))),
        Problem::Unreadable => Problem::Unreadable,
    };
    let mut position = Position::default();
    value::object(raw, &mut position)?;
    Ok((
        conversation(&position.place).map_err(wrong)?,
        position.seq.need(value::seq).map_err(wrong)?,
    ))
}

fn group(fields: &Fields<'_>) -> Result<GroupId, FieldError> {
    fields.group.need(value::group)
}

fn conversation(slot: &Slot<'_>) -> Result<ConversationRef, FieldError> {
    slot.need(value::conversation)
}

fn limit(fields: &Fields<'_>) -> Result<u32, FieldError> {
    let limit = fields.limit.read(|raw| {
        value::integer(raw)
            .ok()
            .and_then(|limit| u32::try_from(limit).ok())
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Problem::Bad(Cow::Owned(format!("must be from 1 to {MAX_LIMIT}"))))
    })?;
    Ok(limit.unwrap_or(DEFAULT_LIMIT))
}

/// Reads the number of an entry: they begin at 1.
fn entry(raw: &str) -> Result<Seq, Problem> {
    match value::seq(raw)? {
        Seq(0) => Err(Problem::bad("must be at least 1")),
        seq => Ok(seq),
    }
}

fn text(raw: &str) -> Result<Arc<str>, Problem> {
    value::string(raw, |text| {
        if text.is_empty() {
            return Err(Problem::bad("must not be empty"));
        }
        if text.len() > MAX_TEXT_BYTES {
            let rule = format!("must have at most {MAX_TEXT_BYTES} bytes");
            return Err(Problem::TooLarge(Cow::Owned(rule)));
        }
        Ok(Arc::from(text))
    })
}

fn compact_meta(raw: &str) -> Result<Arc<str>, Problem> {
    meta::compact(raw).map_err(|error| match error {
        MetaError::Unreadable => Problem::Unreadable,
        MetaError::NotObject => Problem::Bad(Cow::Owned(error.to_string())),
        MetaError::TooLarge => Problem::TooLarge(Cow::Owned(error.to_string())),
    })
}

/// Reads a password that becomes an account's.
fn chosen_password(raw: &str) -> Result<Secret, Problem> {
    secret(raw, PASSWORD_BYTES)
}

/// Reads a password that is compared with an account's: a short one is merely wrong.
fn present_password(raw: &str) -> Result<Secret, Problem> {
    secret(raw, 0..=*PASSWORD_BYTES.end())
}

fn token(raw: &str) -> Result<Secret, Problem> {
    secret(raw, 0..=MAX_TOKEN_BYTES)
}

fn jwt(raw: &str) -> Result<Secret, Problem> {
    secret(raw, 1..=MAX_JWT_BYTES)
}

fn secret(raw: &str, length: RangeInclusive<usize>) -> Result<Secret, Problem> {
    value::string(raw, |text| {
        if length.contains(&text.len()) {
            return Ok(Secret::new(text));
        }
        let rule = format!("must have {} to {} bytes", length.start(), length.end());
        Err(Problem::Bad(Cow::Owned(rule)))
    })
}

fn device(raw: &str) -> Result<SmolStr, Problem> {
    value::string(raw, |text| {
        if !(1..=MAX_DEVICE_BYTES).contains(&text.len()) {
            let rule = format!("must have 1 to {MAX_DEVICE_BYTES} bytes");
            return Err(Problem::Bad(Cow::Owned(rule)));
        }
        if text.chars().any(char::is_control) {
            return Err(Problem::bad("must not have control characters"));
        }
        Ok(SmolStr::new(text))
    })
}

fn description(raw: &str) -> Result<Arc<str>, Problem> {
    value::string(raw, |text| {
        if text.len() > MAX_DESCRIPTION_BYTES {
            let rule = format!("must have at most {MAX_DESCRIPTION_BYTES} bytes");
            return Err(Problem::Bad(Cow::Owned(rule)));
        }
        Ok(Arc::from(text))
    })
}

fn join(raw: &str) -> Result<JoinPolicy, Problem> {
    value::word(
        raw,
        JoinPolicy::from_name,
        "must be open, approval or invite",
    )
}

fn role(raw: &str) -> Result<Role, Problem> {
    value::word(
        raw,
        Role::from_name,
        "must be owner, admin, member or muted",
    )
}
