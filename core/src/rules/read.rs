//! The rights of reads, and the shape of what is read: what stores share beside [`apply`].
//!
//! [`apply`]: super::apply

use std::sync::Arc;

use crate::id::{ConversationId, GroupId, Place, Seq, SessionId, UserId};
use crate::log::{Body, Entry, FriendState, JoinPolicy, Text};
use crate::protocol::reply::GroupReply;
use crate::protocol::{ErrorCode, RequestError};
use crate::store::{
    Account, GroupRow, Kind, Mark, MemberRow, MessageRow, ReadDone, SessionRow, UserRow,
};
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

/// Says what an operator is shown of an account that is not deleted.
///
/// # Errors
/// `no_such_user`.
pub fn account(
    user: UserId,
    row: Option<&UserRow>,
    sessions: Vec<(SessionId, SessionRow)>,
) -> Result<Account, RequestError> {
    let named = row.and_then(|row| Some((row.name.clone()?, row.locked)));
    let (name, locked) = named.ok_or(ErrorCode::NoSuchUser)?;
    Ok(Account {
        user,
        name,
        locked,
        sessions,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{GroupChange, Role};
    use crate::name::{Key, Name};
    use crate::secret::Secret;
    use crate::store::Digest;

    const ANN: UserId = UserId(1);
    const BEN: UserId = UserId(2);
    const GROUP: GroupId = GroupId(3);

    fn member_of(role: Role) -> MemberRow {
        MemberRow {
            role,
            joined: Seq(4),
            delivered: Seq(5),
            read: Seq(5),
        }
    }

    fn group_of(join: JoinPolicy) -> GroupRow {
        GroupRow {
            name: Name::new("group").unwrap(),
            description: Arc::from("about"),
            join,
            owner: ANN,
            disbanded: false,
            creator: ANN,
            key: None,
            digest: Digest([0; 16]),
        }
    }

    fn ended() -> GroupRow {
        GroupRow {
            disbanded: true,
            ..group_of(JoinPolicy::Open)
        }
    }

    fn account(name: Option<&str>) -> UserRow {
        UserRow {
            name: name.map(|name| Name::new(name).unwrap()),
            hash: Secret::new(""),
            identity: None,
            version: 1,
            locked: false,
        }
    }

    fn message(kind: Kind) -> MessageRow {
        MessageRow {
            from: ANN,
            at: Timestamp(9),
            kind,
            change: None,
        }
    }

    fn text(recalled: bool) -> Kind {
        Kind::Text {
            key: Key::new("k").unwrap(),
            digest: Digest([0; 16]),
            text: Arc::from("text"),
            reply_to: Some(Seq(1)),
            meta: Some(Arc::from("{}")),
            edited: true,
            recalled,
        }
    }

    fn code<T>(result: Result<T, RequestError>) -> Result<T, ErrorCode> {
        result.map_err(|error| error.code)
    }

    #[track_caller]
    fn check_entry(kind: Kind, target_text: Option<&str>, body: Body, bytes: usize) {
        let place = Place::Group(GROUP);
        let row = message(kind);
        let made = entry(
            GROUP.conversation(),
            place,
            Seq(7),
            &row,
            target_text.map(Arc::from),
        );
        let expected = Entry {
            conversation: ConversationId(3),
            place,
            seq: Seq(7),
            from: ANN,
            at: Timestamp(9),
            body,
        };
        assert_eq!(made, expected);
        assert_eq!(text_bytes(&made), bytes);
    }

    #[test]
    fn every_kind_of_row_makes_its_entry() {
        let shown = Text {
            key: Key::new("k").unwrap(),
            text: Arc::from("text"),
            reply_to: Some(Seq(1)),
            meta: Some(Arc::from("{}")),
            edited: true,
            recalled: false,
        };
        check_entry(text(false), None, Body::Text(shown), 6);
        let target = Seq(2);
        let edited = |text: Option<&str>| Body::Edit {
            target,
            text: text.map(Arc::from),
        };
        check_entry(Kind::Edit { target }, Some("ho"), edited(Some("ho")), 2);
        check_entry(Kind::Edit { target }, None, edited(None), 0);
        check_entry(Kind::Recall { target }, None, Body::Recall { target }, 0);
        let user = BEN;
        check_entry(Kind::Joined { user }, None, Body::Joined { user }, 0);
        check_entry(Kind::Left { user }, None, Body::Left { user }, 0);
        check_entry(Kind::Removed { user }, None, Body::Removed { user }, 0);
        let role = Role::Admin;
        check_entry(
            Kind::Role { user, role },
            None,
            Body::Role { user, role },
            0,
        );
        let change = GroupChange {
            description: Some(Arc::from("about")),
            ..GroupChange::default()
        };
        let updated = Body::Updated(change.clone());
        check_entry(Kind::Updated(change), None, updated, 5);
        check_entry(Kind::Disbanded, None, Body::Disbanded, 0);
    }

    #[test]
    fn readers_of_an_edit_get_the_present_text() {
        assert_eq!(present_text(&message(text(false))), Some(Arc::from("text")));
        assert_eq!(present_text(&message(text(true))), None);
        assert_eq!(present_text(&message(Kind::Disbanded)), None);
    }

    #[test]
    fn direct_logs_stay_readable() {
        let member = member_of(Role::Member);
        let (there, gone) = (account(Some("ben")), account(None));
        let check = |member, other, expected| {
            assert_eq!(code(direct_log(member, other)), expected);
        };
        check(Some(&member), Some(&there), Ok(Seq(4)));
        check(Some(&member), Some(&gone), Ok(Seq(4)));
        check(None, Some(&there), Err(ErrorCode::NotFriends));
        check(None, Some(&gone), Err(ErrorCode::NoSuchUser));
        check(None, None, Err(ErrorCode::NoSuchUser));
    }

    #[test]
    fn members_read_groups_and_managers_their_requests() {
        let (group, ended) = (group_of(JoinPolicy::Open), ended());
        let (plain, admin) = (member_of(Role::Muted), member_of(Role::Admin));
        for (row, member, log, list) in [
            (
                Some(&group),
                Some(&plain),
                Ok(Seq(4)),
                Err(ErrorCode::Forbidden),
            ),
            (Some(&group), Some(&admin), Ok(Seq(4)), Ok(())),
            (
                Some(&group),
                None,
                Err(ErrorCode::NotMember),
                Err(ErrorCode::NotMember),
            ),
            (
                Some(&ended),
                Some(&admin),
                Err(ErrorCode::NoSuchGroup),
                Err(ErrorCode::NoSuchGroup),
            ),
            (
                None,
                None,
                Err(ErrorCode::NoSuchGroup),
                Err(ErrorCode::NoSuchGroup),
            ),
        ] {
            assert_eq!(code(group_log(row, member)), log);
            assert_eq!(code(members(row, member)), log.map(|_| ()));
            assert_eq!(code(requests(row, member)), list);
        }
    }

    #[test]
    fn strangers_learn_little_of_a_group() {
        let member = member_of(Role::Muted);
        let facts = |member, invited| GroupFacts {
            member,
            invited,
            members: 2,
            last: Seq(8),
        };
        let reply = |join, role, last| GroupReply {
            group: GROUP,
            name: Name::new("group").unwrap(),
            description: Arc::from("about"),
            join,
            role,
            members: 2,
            last,
        };
        let check = |row: &GroupRow, facts, expected| {
            assert_eq!(code(group(GROUP, Some(row), facts)), expected);
        };
        let open = group_of(JoinPolicy::Open);
        let closed = group_of(JoinPolicy::Invite);
        let inside = reply(JoinPolicy::Invite, Some(Role::Muted), Some(Seq(8)));
        check(&closed, facts(Some(&member), false), Ok(inside));
        let invited = reply(JoinPolicy::Invite, None, None);
        check(&closed, facts(None, true), Ok(invited));
        check(&closed, facts(None, false), Err(ErrorCode::NotMember));
        let outside = reply(JoinPolicy::Open, None, None);
        check(&open, facts(None, false), Ok(outside));
        check(&ended(), facts(None, true), Err(ErrorCode::NoSuchGroup));
        let nothing = group(GROUP, None, facts(None, false));
        assert_eq!(code(nothing), Err(ErrorCode::NoSuchGroup));
    }

    #[test]
    fn a_block_on_either_side_hides_who_is_online() {
        let (none, blocked) = (FriendState::None, FriendState::Blocked);
        assert_eq!(member_online(none, none), Some(false));
        assert_eq!(member_online(blocked, none), None);
        assert_eq!(member_online(none, blocked), None);
    }

    #[test]
    fn deleted_users_are_not_found() {
        let found = ReadDone::User {
            user: BEN,
            name: Name::new("ben").unwrap(),
            state: FriendState::Friends,
        };
        let look = |row: Option<UserRow>| code(user(BEN, row.as_ref(), FriendState::Friends));
        assert_eq!(look(Some(account(Some("ben")))), Ok(found));
        assert_eq!(look(Some(account(None))), Err(ErrorCode::NoSuchUser));
        assert_eq!(look(None), Err(ErrorCode::NoSuchUser));
    }

    #[test]
    fn a_session_stands_for_its_user_until_it_expires() {
        let row = SessionRow {
            user: ANN,
            device: None,
            created: Timestamp(1),
            expires: Timestamp(9),
        };
        let check = |row, user, expires, now, stands: bool| {
            let result = resume(row, user, Timestamp(expires), Timestamp(now));
            let expected = if stands {
                Ok(())
            } else {
                Err(ErrorCode::TokenExpired)
            };
            assert_eq!(code(result), expected);
        };
        check(Some(&row), ANN, 9, 8, true);
        check(Some(&row), ANN, 9, 9, false);
        check(Some(&row), ANN, 8, 7, false);
        check(Some(&row), BEN, 9, 8, false);
        check(None, ANN, 9, 8, false);
    }

    #[test]
    fn cursors_rise_to_the_end_at_most() {
        let row = member_of(Role::Member);
        let check = |delivered, read, expected: Option<(u64, u64)>| {
            let mark = Mark {
                conversation: GROUP.conversation(),
                user: ANN,
                delivered: Seq(delivered),
                read: Seq(read),
            };
            let expected = expected.map(|(delivered, read)| MemberRow {
                delivered: Seq(delivered),
                read: Seq(read),
                ..row
            });
            assert_eq!(raised(&row, &mark, Seq(8)), expected);
        };
        check(7, 6, Some((7, 6)));
        check(99, 98, Some((8, 8)));
        check(7, 1, Some((7, 5)));
        check(5, 5, None);
        check(0, 0, None);
    }
}
