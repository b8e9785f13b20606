//! The rights of reads, and the shape of what is read: what stores share beside [`apply`].
//!
//! [`apply`]: super::apply

use std::sync::Arc;

use crate::id::{ConversationId, GroupId, Place, Seq, UserId};
use crate::log::{Body, Entry, FriendState, JoinPolicy, Text};
use crate::protocol::reply::GroupReply;
use crate::protocol::{ErrorCode, RequestError};
use crate::store::{GroupRow, Kind, Mark, MemberRow, MessageRow, ReadDone, SessionRow, UserRow};
use crate::time::Timestamp;

/// Makes an entry of a row. `target_text` is the present text of an edit's target, absent when that
/// was recalled; it counts for edits only.
#[must_use]
pub fn entry(
    conversation: ConversationId,
    place: Place,
    seq: Seq,
    row: &MessageRow,
    target_text: Option<Arc<str>>,
) -> Entry {
    let body = match &row.kind {
        Kind::Text {
            key,
            digest: _,
            text,
            reply_to,
            meta,
            edited,
            recalled,
        } => Body::Text(Text {
            key: key.clone(),
            text: Arc::clone(text),
            reply_to: *reply_to,
            meta: meta.clone(),
            edited: *edited,
            recalled: *recalled,
        }),
        Kind::Edit { target } => Body::Edit {
            target: *target,
            text: target_text,
        },
        Kind::Recall { target } => Body::Recall { target: *target },
        Kind::Joined { user } => Body::Joined { user: *user },
        Kind::Left { user } => Body::Left { user: *user },
        Kind::Removed { user } => Body::Removed { user: *user },
        Kind::Role { user, role } => Body::Role {
            user: *user,
            role: *role,
        },
        Kind::Updated(change) => Body::Updated(change.clone()),
        Kind::Disbanded => Body::Disbanded,
    };
    Entry {
        conversation,
        place,
        seq,
        from: row.from,
        at: row.at,
        body,
    }
}

/// Returns the text that readers of an edit get: the target's present one, `None` when it was
/// recalled.
#[must_use]
pub fn present_text(target: &MessageRow) -> Option<Arc<str>> {
    match &target.kind {
        Kind::Text {
            text,
            recalled: false,
            ..
        } => Some(Arc::clone(text)),
        _ => None,
    }
}

/// Returns how many bytes of text and `meta` an entry holds, for the limits in bytes of
/// [`Read::Fetch`](crate::store::Read::Fetch) and [`Read::History`](crate::store::Read::History).
#[must_use]
pub fn text_bytes(entry: &Entry) -> usize {
    match &entry.body {
        Body::Text(text) => text.text.len() + text.meta.as_ref().map_or(0, |meta| meta.len()),
        Body::Edit { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        Body::Updated(change) => change.description.as_ref().map_or(0, |text| text.len()),
        _ => 0,
    }
}

/// Returns the first entry that a reader may see of a direct conversation with `other`, whose
/// account may be gone. `member` is the reader's row in it.
///
/// # Errors
/// Without a conversation, `no_such_user` where `other` is gone, else `not_friends`.
pub fn direct_log(
    member: Option<&MemberRow>,
    other: Option<&UserRow>,
) -> Result<Seq, RequestError> {
    if let Some(member) = member {
        return Ok(member.joined);
    }
    match other.and_then(|row| row.name.as_ref()) {
        Some(_) => Err(ErrorCode::NotFriends.into()),
        None => Err(ErrorCode::NoSuchUser.into()),
    }
}

/// Returns the first entry that a reader may see of a group. `member` is the reader's row in it.
///
/// # Errors
/// `no_such_group` (also of a disbanded one) and `not_member`.
pub fn group_log(
    group: Option<&GroupRow>,
    member: Option<&MemberRow>,
) -> Result<Seq, RequestError> {
    live(group)?;
    Ok(member.ok_or(ErrorCode::NotMember)?.joined)
}

/// What [`Read::Group`](crate::store::Read::Group) depends on beside the group's own row.
#[derive(Clone, Copy, Debug)]
pub struct GroupFacts<'a> {
    /// The reader's row in the group.
    pub member: Option<&'a MemberRow>,
    /// Whether the reader is invited.
    pub invited: bool,
    /// How many members there are.
    pub members: u64,
    /// The newest entry.
    pub last: Seq,
}

/// Returns what a reader is told of a group; strangers learn neither a role nor the newest entry.
///
/// # Errors
/// `no_such_group` (also of a disbanded one), and `not_member` where one joins by invitation only
/// and the reader has none.
pub fn group(
    id: GroupId,
    row: Option<&GroupRow>,
    facts: GroupFacts<'_>,
) -> Result<GroupReply, RequestError> {
    let row = live(row)?;
    if row.join == JoinPolicy::Invite && facts.member.is_none() && !facts.invited {
        return Err(ErrorCode::NotMember.into());
    }
    Ok(GroupReply {
        group: id,
        name: row.name.clone(),
        description: Arc::clone(&row.description),
        join: row.join,
        role: facts.member.map(|member| member.role),
        members: facts.members,
        last: facts.member.map(|_| facts.last),
    })
}

/// Tells whether a reader may list a group's members. `member` is the reader's row in it.
///
/// # Errors
/// `no_such_group` (also of a disbanded one) and `not_member`.
pub fn members(group: Option<&GroupRow>, member: Option<&MemberRow>) -> Result<(), RequestError> {
    group_log(group, member).map(|_| ())
}

/// Tells whether a reader may list a group's join requests. `member` is the reader's row in it.
///
/// # Errors
/// `no_such_group` (also of a disbanded one), `not_member`, and `forbidden` for those who do not
/// manage the group.
pub fn requests(group: Option<&GroupRow>, member: Option<&MemberRow>) -> Result<(), RequestError> {
    live(group)?;
    if member.ok_or(ErrorCode::NotMember)?.role.manages() {
        Ok(())
    } else {
        Err(ErrorCode::Forbidden.into())
    }
}

/// Returns `online` of a fellow member as [`ReadDone::Members`] has it: `Some(false)` where the
/// reader may know, absent where one of the two has blocked the other.
#[must_use]
pub fn member_online(reader_to_member: FriendState, member_to_reader: FriendState) -> Option<bool> {
    let blocked = [reader_to_member, member_to_reader].contains(&FriendState::Blocked);
    (!blocked).then_some(false)
}

/// Returns what a reader is told of a user. `state` is what that user is to the reader.
///
/// # Errors
/// `no_such_user`, also of a deleted account.
pub fn user(
    id: UserId,
    row: Option<&UserRow>,
    state: FriendState,
) -> Result<ReadDone, RequestError> {
    let name = row
        .and_then(|row| row.name.clone())
        .ok_or(ErrorCode::NoSuchUser)?;
    Ok(ReadDone::User {
        user: id,
        name,
        state,
    })
}

/// Tells whether a session stands for a token that says `user` and `expires`, at `now` by the
/// database's clock.
///
/// # Errors
/// `token_expired`.
pub fn resume(
    row: Option<&SessionRow>,
    user: UserId,
    expires: Timestamp,
    now: Timestamp,
) -> Result<(), RequestError> {
    match row {
        Some(row) if row.user == user && row.expires == expires && now < expires => Ok(()),
        _ => Err(ErrorCode::TokenExpired.into()),
    }
}

/// Returns a member's row with its cursors raised, clamped to the log's end; `None` where nothing
/// rises.
#[must_use]
pub fn raised(row: &MemberRow, mark: &Mark, last: Seq) -> Option<MemberRow> {
    let raised = MemberRow {
        delivered: row.delivered.max(mark.delivered.min(last)),
        read: row.read.max(mark.read.min(last)),
        ..*row
    };
    (raised != *row).then_some(raised)
}

/// Returns a group that has not ended.
fn live(group: Option<&GroupRow>) -> Result<&GroupRow, ErrorCode> {
    group
        .filter(|row| !row.disbanded)
        .ok_or(ErrorCode::NoSuchGroup)
}
