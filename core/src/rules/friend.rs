//! Friendships.

use std::collections::BTreeSet;

use crate::id::{Pair, Place, Seq, UserId};
use crate::log::{FriendState, Role};
use crate::name::Name;
use crate::protocol::request::{FriendAction, UserRef};
use crate::protocol::{ErrorCode, RequestError};
use crate::store::{Count, Done, MemberRow, ReadSet, Refusal, View};

use super::lookup::{self, Log, incomplete};
use super::plan::{Plan, Step};

pub(super) fn read_for_request(user: UserId, who: &UserRef) -> ReadSet {
    match who {
        UserRef::Id(other) => read_for_request_of(user, *other),
        UserRef::Name(name) => ReadSet {
            names: BTreeSet::from([name.key()]),
            ..ReadSet::default()
        },
    }
}

pub(super) fn request(view: &View, user: UserId, who: &UserRef) -> Result<Plan, Refusal> {
    let other = match who {
        UserRef::Id(other) => *other,
        UserRef::Name(name) => {
            let named = lookup::named(view, &name.key())?.ok_or(ErrorCode::NoSuchUser)?;
            if ![user, named].iter().all(|id| lookup::is_locked(view, *id)) {
                return Err(incomplete(read_for_request_of(user, named)));
            }
            // Names are read without a lock: the account may be gone since.
            let present = lookup::user(view, named)?.and_then(|row| row.name.as_ref());
            if present.map(Name::key) != Some(name.key()) {
                return Err(ErrorCode::NoSuchUser.into());
            }
            named
        }
    };
    let pair = pair(user, other)?;
    lookup::actor(view, user)?;
    lookup::live_user(view, other)?.ok_or(ErrorCode::NoSuchUser)?;
    match lookup::friendships(view, user, other)? {
        (FriendState::Blocked, _) | (_, FriendState::Blocked) => Err(ErrorCode::Blocked.into()),
        (state @ (FriendState::Friends | FriendState::Requested), _) => {
            Ok(Plan::new(Done::Friend { user: other, state }))
        }
        (FriendState::RequestedBy, _) => befriend(view, user, other, pair),
        (FriendState::None, _) => {
            lookup::room(view, &[Count::Friendships(user), Count::Friendships(other)])?;
            Ok(set(
                (user, FriendState::Requested),
                (other, FriendState::RequestedBy),
            ))
        }
    }
}

pub(super) fn read_for_action(user: UserId, action: FriendAction, other: UserId) -> ReadSet {
    let mut read = read_for_pair(user, other);
    match action {
        FriendAction::Accept => {
            read.counts = BTreeSet::from([Count::Conversations(user), Count::Conversations(other)]);
            read.new_conversations = 1;
        }
        FriendAction::Block => read.counts = BTreeSet::from([Count::Friendships(user)]),
        FriendAction::Reject | FriendAction::Remove | FriendAction::Unblock => {}
    }
    read
}

pub(super) fn act(
    view: &View,
    user: UserId,
    action: FriendAction,
    other: UserId,
) -> Result<Plan, Refusal> {
    let pair = pair(user, other)?;
    lookup::actor(view, user)?;
    let (state, back) = lookup::friendships(view, user, other)?;
    match action {
        FriendAction::Accept => {
            lookup::live_user(view, other)?.ok_or(ErrorCode::NoSuchUser)?;
            match (state, back) {
                (FriendState::Blocked, _) | (_, FriendState::Blocked) => {
                    Err(ErrorCode::Blocked.into())
                }
                (FriendState::Friends, _) => Ok(Plan::new(Done::Friend { user: other, state })),
                (FriendState::RequestedBy, _) => befriend(view, user, other, pair),
                (FriendState::None | FriendState::Requested, _) => Err(RequestError::new(
                    ErrorCode::NotFriends,
                    "that user has not asked you",
                )
                .into()),
            }
        }
        FriendAction::Block => block(view, (user, state), (other, back)),
        FriendAction::Reject if state == FriendState::RequestedBy => Ok(part(user, other)),
        FriendAction::Remove if matches!(state, FriendState::Friends | FriendState::Requested) => {
            Ok(part(user, other))
        }
        FriendAction::Unblock if state == FriendState::Blocked => {
            let mut plan = Plan::new(Done::Friend {
                user: other,
                state: FriendState::None,
            });
            plan.step(Step::Friendship(user, other, FriendState::None));
            plan.touch(user);
            Ok(plan)
        }
        FriendAction::Reject | FriendAction::Remove | FriendAction::Unblock => {
            Ok(Plan::new(Done::Friend { user: other, state }))
        }
    }
}

/// Makes two users friends, and their conversation where they never had one.
fn befriend(view: &View, user: UserId, other: UserId, pair: Pair) -> Result<Plan, Refusal> {
    let place = Place::Direct(pair);
    let mut plan = set((user, FriendState::Friends), (other, FriendState::Friends));
    if lookup::log(view, place)?.is_none() {
        lookup::room(
            view,
            &[Count::Conversations(user), Count::Conversations(other)],
        )?;
        let id = lookup::new_conversation(view)?;
        let log = Log {
            id,
            place,
            last: Seq(0),
        };
        let row = MemberRow {
            role: Role::Member,
            joined: Seq(1),
            delivered: Seq(0),
            read: Seq(0),
        };
        plan.step(Step::Conversation(id, place));
        plan.step(Step::Member(log, pair.low(), Some(row)));
        plan.step(Step::Member(log, pair.high(), Some(row)));
    }
    Ok(plan)
}

fn block(
    view: &View,
    (user, state): (UserId, FriendState),
    (other, back): (UserId, FriendState),
) -> Result<Plan, Refusal> {
    lookup::live_user(view, other)?.ok_or(ErrorCode::NoSuchUser)?;
    let mut plan = Plan::new(Done::Friend {
        user: other,
        state: FriendState::Blocked,
    });
    if state == FriendState::Blocked {
        return Ok(plan);
    }
    if state == FriendState::None {
        lookup::room(view, &[Count::Friendships(user)])?;
    }
    plan.step(Step::Friendship(user, other, FriendState::Blocked));
    plan.touch(user);
    if !matches!(back, FriendState::None | FriendState::Blocked) {
        plan.step(Step::Friendship(other, user, FriendState::None));
        plan.touch(other);
    }
    Ok(plan)
}

/// Ends what two users are to each other.
fn part(user: UserId, other: UserId) -> Plan {
    set((user, FriendState::None), (other, FriendState::None))
}

/// Sets what two users are to each other: to each the state beside it.
fn set((user, state): (UserId, FriendState), (other, back): (UserId, FriendState)) -> Plan {
    let mut plan = Plan::new(Done::Friend { user: other, state });
    plan.step(Step::Friendship(user, other, state));
    plan.step(Step::Friendship(other, user, back));
    plan.touch(user);
    plan.touch(other);
    plan
}

fn pair(user: UserId, other: UserId) -> Result<Pair, RequestError> {
    Pair::new(user, other)
        .ok_or_else(|| RequestError::bad_request("`user` must be someone other than yourself"))
}

fn read_for_request_of(user: UserId, other: UserId) -> ReadSet {
    ReadSet {
        counts: BTreeSet::from([
            Count::Friendships(user),
            Count::Friendships(other),
            Count::Conversations(user),
            Count::Conversations(other),
        ]),
        ..read_for_pair(user, other)
    }
}

/// Everything that friendships of two users depend on. Their conversation is among it: a message
/// that is under way is committed before, or sees what became of them.
fn read_for_pair(user: UserId, other: UserId) -> ReadSet {
    ReadSet {
        users: BTreeSet::from([user, other]),
        places: Pair::new(user, other)
            .map(Place::Direct)
            .into_iter()
            .collect(),
        friendships: BTreeSet::from([(user, other), (other, user)]),
        ..ReadSet::default()
    }
}
