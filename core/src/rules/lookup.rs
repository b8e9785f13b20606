//! What a view knows. Where a rule asks for a row that was not loaded, it is refused with
//! [`Refusal::Incomplete`].

use crate::id::{ConversationId, GroupId, Place, Seq, SessionId, UserId};
use crate::identity::Identity;
use crate::log::FriendState;
use crate::name::{Key, NameKey};
use crate::protocol::{ErrorCode, RequestError};
use crate::sorted::SortedSet;
use crate::store::{
    Count, GroupRow, InvitationRow, Limits, MemberRow, MessageRow, ReadSet, Refusal, SessionRow,
    StoredKey, UserRow, View,
};

/// A conversation that is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// Its number.
    pub(super) id: ConversationId,
    /// Which one it is.
    pub(super) place: Place,
    /// Its newest entry.
    pub(super) last: Seq,
}

/// Refuses for rows that are missing.
pub(super) fn incomplete(missing: ReadSet) -> Refusal {
    Refusal::Incomplete(Box::new(missing))
}

/// Looks an account up, deleted ones too.
pub(super) fn user(view: &View, id: UserId) -> Result<Option<&UserRow>, Refusal> {
    known(view.users.get(&id), || view.loaded.users.contains(&id)).ok_or_else(|| {
        incomplete(ReadSet {
            users: SortedSet::from([id]),
            ..ReadSet::default()
        })
    })
}

/// Tells whether a row of accounts is known, and so locked.
pub(super) fn is_locked(view: &View, id: UserId) -> bool {
    known(view.users.get(&id), || view.loaded.users.contains(&id)).is_some()
}

/// Looks an account up that is not deleted.
pub(super) fn live_user(view: &View, id: UserId) -> Result<Option<&UserRow>, Refusal> {
    Ok(user(view, id)?.filter(|row| row.name.is_some()))
}

/// Refuses what is asked for by a session whose account is gone.
pub(super) fn actor(view: &View, id: UserId) -> Result<&UserRow, Refusal> {
    Ok(live_user(view, id)?.ok_or(ErrorCode::NotLoggedIn)?)
}

/// Looks up whose a name is.
pub(super) fn named(view: &View, name: &NameKey) -> Result<Option<UserId>, Refusal> {
    known(view.names.get(name), || view.loaded.names.contains(name))
        .map(Option::<&UserId>::copied)
        .ok_or_else(|| {
            incomplete(ReadSet {
                names: SortedSet::from([name.clone()]),
                ..ReadSet::default()
            })
        })
}

/// Looks up whose an identity is.
pub(super) fn identified(view: &View, identity: Identity) -> Result<Option<UserId>, Refusal> {
    let loaded = || view.loaded.identities.contains(&identity);
    known(view.identities.get(&identity), loaded)
        .map(Option::<&UserId>::copied)
        .ok_or_else(|| {
            incomplete(ReadSet {
                identities: SortedSet::from([identity]),
                ..ReadSet::default()
            })
        })
}

/// Looks up every session of a user.
pub(super) fn sessions_of(
    view: &View,
    user: UserId,
) -> Result<Vec<(SessionId, &SessionRow)>, Refusal> {
    if !view.loaded.sessions_of.contains(&user) {
        return Err(incomplete(ReadSet {
            sessions_of: SortedSet::from([user]),
            ..ReadSet::default()
        }));
    }
    Ok(view
        .sessions
        .iter()
        .filter(|(_, row)| row.user == user)
        .map(|(id, row)| (*id, row))
        .collect())
}

/// Looks up what `to` is to `of`.
pub(super) fn friendship(view: &View, of: UserId, to: UserId) -> Result<FriendState, Refusal> {
    let loaded = || {
        view.loaded.friendships.contains(&(of, to))
            || view.loaded.friendships_of.contains(&of)
            || view.loaded.friendships_of.contains(&to)
    };
    known(view.friendships.get(&(of, to)), loaded)
        .map(|state| state.copied().unwrap_or_default())
        .ok_or_else(|| {
            incomplete(ReadSet {
                friendships: SortedSet::from([(of, to)]),
                ..ReadSet::default()
            })
        })
}

/// Looks up what two users are to each other: the other to the first, and the first to the other.
pub(super) fn friendships(
    view: &View,
    one: UserId,
    other: UserId,
) -> Result<(FriendState, FriendState), Refusal> {
    Ok((friendship(view, one, other)?, friendship(view, other, one)?))
}

/// Looks a conversation up. One that was loaded otherwise than by its place is not locked, and
/// counts as unknown.
pub(super) fn log(view: &View, place: Place) -> Result<Option<Log>, Refusal> {
    if !view.loaded.places.contains(&place) {
        return Err(incomplete(places([place])));
    }
    let id = match place {
        Place::Direct(pair) => view.pairs.get(&pair).flatten().copied(),
        Place::Group(group) => Some(group.conversation()),
    };
    Ok(id.and_then(|id| {
        let (found, last) = *view.conversations.get(&id).flatten()?;
        // A client may take the number of a direct conversation for that of a group.
        (found == place).then_some(Log { id, place, last })
    }))
}

/// Looks a group up, disbanded ones too.
pub(super) fn group(view: &View, id: GroupId) -> Result<Option<(Log, &GroupRow)>, Refusal> {
    let log = log(view, Place::Group(id))?;
    Ok(log.and_then(|log| Some((log, view.groups.get(&id).flatten()?))))
}

/// Looks up a user's place in a conversation.
pub(super) fn member(view: &View, log: Log, user: UserId) -> Result<Option<&MemberRow>, Refusal> {
    let loaded = || {
        view.loaded.members.contains(&(log.place, user))
            || view.loaded.members_of.contains(&log.place)
            || view.loaded.memberships_of.contains(&user)
    };
    known(view.members.get(&(log.id, user)), loaded).ok_or_else(|| {
        incomplete(ReadSet {
            members: SortedSet::from([(log.place, user)]),
            ..ReadSet::default()
        })
    })
}

/// Looks up whether a user is invited to a group, and by whom.
pub(super) fn invitation(
    view: &View,
    group: GroupId,
    user: UserId,
) -> Result<Option<&InvitationRow>, Refusal> {
    let loaded = || {
        view.loaded.invitations.contains(&(group, user))
            || view.loaded.invitations_of.contains(&user)
            || view.loaded.invitations_to.contains(&group)
    };
    known(view.invitations.get(&(group, user)), loaded).ok_or_else(|| {
        incomplete(ReadSet {
            invitations: SortedSet::from([(group, user)]),
            ..ReadSet::default()
        })
    })
}

/// Looks up whether a user asks to join a group.
pub(super) fn join_request(view: &View, group: GroupId, user: UserId) -> Result<bool, Refusal> {
    let loaded = || {
        view.loaded.join_requests.contains(&(group, user))
            || view.loaded.join_requests_of.contains(&user)
            || view.loaded.join_requests_to.contains(&group)
    };
    known(view.join_requests.get(&(group, user)), loaded)
        .map(|row| row.is_some())
        .ok_or_else(|| {
            incomplete(ReadSet {
                join_requests: SortedSet::from([(group, user)]),
                ..ReadSet::default()
            })
        })
}

/// Looks up where a sender used a key.
pub(super) fn key<'a>(
    view: &'a View,
    user: UserId,
    key: &Key,
) -> Result<Option<&'a StoredKey>, Refusal> {
    let key = (user, key.clone());
    match known(view.keys.get(&key), || view.loaded.keys.contains(&key)) {
        Some(known) => Ok(known),
        None => Err(incomplete(ReadSet {
            keys: SortedSet::from([key]),
            ..ReadSet::default()
        })),
    }
}

/// Looks up which group a user made with a key.
pub(super) fn group_key(view: &View, user: UserId, key: &Key) -> Result<Option<GroupId>, Refusal> {
    let key = (user, key.clone());
    let loaded = || view.loaded.group_keys.contains(&key);
    match known(view.group_keys.get(&key), loaded) {
        Some(known) => Ok(known.copied()),
        None => Err(incomplete(ReadSet {
            group_keys: SortedSet::from([key]),
            ..ReadSet::default()
        })),
    }
}

/// Looks an entry up.
pub(super) fn message(view: &View, log: Log, seq: Seq) -> Result<Option<&MessageRow>, Refusal> {
    let loaded = || view.loaded.messages.contains(&(log.place, seq));
    known(view.messages.get(&(log.id, seq)), loaded).ok_or_else(|| {
        incomplete(ReadSet {
            messages: SortedSet::from([(log.place, seq)]),
            ..ReadSet::default()
        })
    })
}

/// Refuses with `limit` unless there is room for one more row of each kind.
pub(super) fn room(view: &View, counts: &[Count]) -> Result<(), Refusal> {
    let missing: SortedSet<Count> = counts
        .iter()
        .filter(|count| !view.counts.contains_key(count))
        .copied()
        .collect();
    if !missing.is_empty() {
        return Err(incomplete(ReadSet {
            counts: missing,
            ..ReadSet::default()
        }));
    }
    for count in counts {
        let (limit, sentence) = limit(&view.limits, *count);
        if view.counts.get(count).copied().unwrap_or_default() >= u64::from(limit) {
            return Err(RequestError::new(ErrorCode::Limit, sentence).into());
        }
    }
    Ok(())
}

/// Takes the next number for an account.
pub(super) fn new_user(view: &View) -> Result<UserId, Refusal> {
    view.new_users.first().copied().ok_or_else(|| {
        incomplete(ReadSet {
            new_users: 1,
            ..ReadSet::default()
        })
    })
}

/// Takes the next number for a conversation.
pub(super) fn new_conversation(view: &View) -> Result<ConversationId, Refusal> {
    view.new_conversations.first().copied().ok_or_else(|| {
        incomplete(ReadSet {
            new_conversations: 1,
            ..ReadSet::default()
        })
    })
}

/// Takes the next number for a session.
pub(super) fn new_session(view: &View) -> Result<SessionId, Refusal> {
    view.new_sessions.first().copied().ok_or_else(|| {
        incomplete(ReadSet {
            new_sessions: 1,
            ..ReadSet::default()
        })
    })
}

/// Makes the read set of conversations.
pub(super) fn places(places: impl IntoIterator<Item = Place>) -> ReadSet {
    ReadSet {
        places: places.into_iter().collect(),
        ..ReadSet::default()
    }
}

/// Joins what a table knows of a row with what was loaded: a row that was looked for and not found
/// is absent.
fn known<T>(row: Option<Option<&T>>, loaded: impl FnOnce() -> bool) -> Option<Option<&T>> {
    row.or_else(|| loaded().then_some(None))
}

/// Returns the limit of a number of rows, and what is said at it.
const fn limit(limits: &Limits, count: Count) -> (u32, &'static str) {
    match count {
        Count::Friendships(_) => (limits.friends, "one of you has too many friendships"),
        Count::Conversations(_) => (
            limits.conversations,
            "a user has as many conversations as one may have",
        ),
        Count::Groups(_) => (
            limits.groups,
            "a user is in as many groups as one may be in",
        ),
        Count::Members(_) => (
            limits.members,
            "the group has as many members as it may have",
        ),
        Count::Invitations(_) => (
            limits.invitations,
            "the user has as many invitations as one may have",
        ),
        Count::JoinRequests(_) => (
            limits.join_requests,
            "the group has as many join requests as it may have",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::id::Pair;
    use crate::store::Limits;
    use crate::time::Timestamp;

    fn view() -> (View, Place, ConversationId) {
        let mut view = View::new(Timestamp(1), Limits::default());
        let pair = Pair::new(UserId(1), UserId(2)).unwrap();
        let (place, id) = (Place::Direct(pair), ConversationId(7));
        view.pairs.load(pair, Some(id));
        view.conversations.load(id, Some((place, Seq(3))));
        (view, place, id)
    }

    #[test]
    fn a_conversation_that_is_not_locked_is_unknown() {
        let (mut view, place, id) = view();
        assert_eq!(log(&view, place), Err(incomplete(places([place]))));
        Arc::make_mut(&mut view.loaded).places.insert(place);
        let last = Seq(3);
        assert_eq!(log(&view, place), Ok(Some(Log { id, place, last })));
    }

    #[test]
    fn the_number_of_a_direct_conversation_names_no_group() {
        let (mut view, _, id) = view();
        let group = Place::Group(GroupId(id.0));
        Arc::make_mut(&mut view.loaded).places.insert(group);
        assert_eq!(log(&view, group), Ok(None));
    }

    #[test]
    fn every_count_that_is_missing_is_asked_for_at_once() {
        let (mut view, ..) = view();
        let user = UserId(1);
        let counts = [
            Count::Groups(user),
            Count::Friendships(user),
            Count::Conversations(user),
        ];
        view.counts.insert(Count::Friendships(user), 0);
        let missing = ReadSet {
            counts: SortedSet::from([Count::Groups(user), Count::Conversations(user)]),
            ..ReadSet::default()
        };
        assert_eq!(room(&view, &counts), Err(incomplete(missing)));
    }
}
