//! Friendships.

use crate::id::{Pair, Place, Seq, UserId};
use crate::log::{FriendState, Role};
use crate::protocol::request::{FriendAction, UserRef};
use crate::protocol::{ErrorCode, RequestError};
use crate::sorted::SortedSet;
use crate::store::{Count, Done, MemberRow, ReadSet, Refusal, View};

use super::lookup::{self, Log, incomplete};
use super::plan::{Plan, Step};

pub(super) fn read_for_request(user: UserId, who: &UserRef) -> ReadSet {
    match who {
        UserRef::Id(other) => read_for_request_of(user, *other),
        UserRef::Name(name) => ReadSet {
            names: SortedSet::from([name.key()]),
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
            // Names are read without a lock, but an account only ever loses its name by being
            // deleted, which is looked for below.
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
            read.counts =
                SortedSet::from([Count::Conversations(user), Count::Conversations(other)]);
            read.new_conversations = 1;
        }
        FriendAction::Block => read.counts = SortedSet::from([Count::Friendships(user)]),
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
        counts: SortedSet::from([
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
        users: SortedSet::from([user, other]),
        places: Pair::new(user, other)
            .map(Place::Direct)
            .into_iter()
            .collect(),
        friendships: SortedSet::from([(user, other), (other, user)]),
        ..ReadSet::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        ANN, BEN, CAT, NOBODY, World, Written, direct, friend, joined, name, request,
    };
    use super::*;
    use crate::id::ConversationId;
    use crate::store::{Applied, Command, Limits};

    const NONE: FriendState = FriendState::None;
    const BLOCKED: FriendState = FriendState::Blocked;

    fn by_name(user: UserId, text: &str) -> Command {
        Command::FriendRequest {
            user,
            who: UserRef::Name(name(text)),
        }
    }

    const fn done(user: UserId, state: FriendState) -> Done {
        Done::Friend { user, state }
    }

    /// What becomes of friendship rows of Ann and Ben, whose versions rise where theirs are named.
    fn outcome(
        world: &World,
        done: Done,
        rows: &[((UserId, UserId), FriendState)],
    ) -> (Applied, Written) {
        let mut users: Vec<_> = rows.iter().map(|((of, _), _)| *of).collect();
        users.sort();
        let row = |state| (state != NONE).then_some(state);
        let applied = Applied {
            changed: users.iter().map(|user| world.next_version(*user)).collect(),
            ..Applied::unchanged(done)
        };
        let written = Written {
            users: users.iter().map(|user| world.risen(*user)).collect(),
            friendships: rows
                .iter()
                .map(|(key, state)| (*key, row(*state)))
                .collect(),
            ..Written::default()
        };
        (applied, written)
    }

    #[track_caller]
    fn check(
        world: &mut World,
        command: &Command,
        done: Done,
        rows: &[((UserId, UserId), FriendState)],
    ) {
        let (applied, written) = outcome(world, done, rows);
        world.check(command, &applied, &written);
    }

    #[test]
    fn a_request_shows_on_both_sides() {
        let mut world = World::new();
        check(
            &mut world,
            &request(ANN, BEN),
            done(BEN, FriendState::Requested),
            &[
                ((ANN, BEN), FriendState::Requested),
                ((BEN, ANN), FriendState::RequestedBy),
            ],
        );
        world.check_unchanged(&request(ANN, BEN), done(BEN, FriendState::Requested));
    }

    #[test]
    fn requests_by_name_lock_the_account_that_has_it() {
        let mut world = World::new();
        let outcome = world.transact(&[by_name(ANN, "BEN")]);
        assert_eq!(outcome.rounds, 2);
        let reply = outcome.results[0].clone().map(|applied| applied.done);
        assert_eq!(reply, Ok(done(BEN, FriendState::Requested)));
        world.check_refused(&by_name(ANN, "nobody"), ErrorCode::NoSuchUser);
        world.check_refused(&by_name(ANN, "ann"), ErrorCode::BadRequest);
    }

    #[test]
    fn requests_need_two_accounts() {
        let mut world = World::new();
        world.check_refused(&request(ANN, ANN), ErrorCode::BadRequest);
        world.check_refused(&request(ANN, NOBODY), ErrorCode::NoSuchUser);
        world.check_refused(&request(NOBODY, ANN), ErrorCode::NotLoggedIn);
    }

    #[test]
    fn friendships_are_counted_on_both_sides() {
        let mut world = World::new();
        world.limits = Limits {
            friends: 1,
            ..world.limits
        };
        world.must(&request(ANN, BEN));
        world.check_refused(&request(ANN, CAT), ErrorCode::Limit);
        world.check_refused(&request(CAT, ANN), ErrorCode::Limit);
        world.check_refused(&friend(ANN, FriendAction::Block, CAT), ErrorCode::Limit);
        // The row is there: only its state changes.
        world.must(&friend(ANN, FriendAction::Block, BEN));
    }

    #[test]
    fn accepting_makes_friends_and_a_conversation() {
        let mut world = World::new();
        world.must(&request(ANN, BEN));
        let (applied, written) = outcome(
            &world,
            done(ANN, FriendState::Friends),
            &[
                ((ANN, BEN), FriendState::Friends),
                ((BEN, ANN), FriendState::Friends),
            ],
        );
        let id = ConversationId(11);
        let written = Written {
            conversations: vec![(id, Some((direct(ANN, BEN), Seq(0))))],
            members: [ANN, BEN]
                .map(|user| ((id, user), Some(joined(Role::Member, 1))))
                .into(),
            ..written
        };
        let accept = friend(BEN, FriendAction::Accept, ANN);
        world.check(&accept, &applied, &written);
        world.check_unchanged(&accept, done(ANN, FriendState::Friends));
        world.check_unchanged(&request(ANN, BEN), done(BEN, FriendState::Friends));
    }

    #[test]
    fn two_requests_that_cross_make_friends() {
        let mut world = World::new();
        let outcome = world.transact(&[request(ANN, BEN), request(BEN, ANN)]);
        let reply = outcome.results[1].clone().map(|applied| applied.done);
        assert_eq!(reply, Ok(done(ANN, FriendState::Friends)));
        assert_eq!(outcome.written.conversations.len(), 1);
        assert_eq!(outcome.written.members.len(), 2);
    }

    #[test]
    fn friends_again_have_the_conversation_of_old() {
        let mut world = World::new();
        world.befriend(ANN, BEN);
        let gone = &[((ANN, BEN), NONE), ((BEN, ANN), NONE)];
        let remove = friend(ANN, FriendAction::Remove, BEN);
        check(&mut world, &remove, done(BEN, NONE), gone);
        world.check_unchanged(&remove, done(BEN, NONE));
        world.must(&request(ANN, BEN));
        check(
            &mut world,
            &friend(BEN, FriendAction::Accept, ANN),
            done(ANN, FriendState::Friends),
            &[
                ((ANN, BEN), FriendState::Friends),
                ((BEN, ANN), FriendState::Friends),
            ],
        );
    }

    #[test]
    fn only_what_was_asked_is_accepted() {
        let mut world = World::new();
        let accept = |user, other| friend(user, FriendAction::Accept, other);
        world.check_refused(&accept(ANN, BEN), ErrorCode::NotFriends);
        world.check_refused(&accept(ANN, ANN), ErrorCode::BadRequest);
        world.check_refused(&accept(ANN, NOBODY), ErrorCode::NoSuchUser);
        world.must(&request(ANN, BEN));
        world.check_refused(&accept(ANN, BEN), ErrorCode::NotFriends);
        world.limits = Limits {
            conversations: 0,
            ..world.limits
        };
        world.check_refused(&accept(BEN, ANN), ErrorCode::Limit);
    }

    #[test]
    fn rejecting_and_withdrawing_leave_nothing() {
        let mut world = World::new();
        let gone = &[((ANN, BEN), NONE), ((BEN, ANN), NONE)];
        let reject = |user, other| friend(user, FriendAction::Reject, other);
        world.must(&request(ANN, BEN));
        world.check_unchanged(&reject(ANN, BEN), done(BEN, FriendState::Requested));
        let remove = friend(BEN, FriendAction::Remove, ANN);
        world.check_unchanged(&remove, done(ANN, FriendState::RequestedBy));
        check(&mut world, &reject(BEN, ANN), done(ANN, NONE), gone);
        world.check_unchanged(&reject(BEN, ANN), done(ANN, NONE));
        world.must(&request(ANN, BEN));
        let withdraw = friend(ANN, FriendAction::Remove, BEN);
        check(&mut world, &withdraw, done(BEN, NONE), gone);
    }

    #[test]
    fn a_block_ends_the_friendship_and_keeps_the_others_block() {
        let mut world = World::new();
        world.befriend(ANN, BEN);
        let block = |user, other| friend(user, FriendAction::Block, other);
        let unblock = |user, other| friend(user, FriendAction::Unblock, other);
        check(
            &mut world,
            &block(ANN, BEN),
            done(BEN, BLOCKED),
            &[((ANN, BEN), BLOCKED), ((BEN, ANN), NONE)],
        );
        world.check_unchanged(&block(ANN, BEN), done(BEN, BLOCKED));
        world.check_refused(&request(ANN, BEN), ErrorCode::Blocked);
        world.check_refused(&request(BEN, ANN), ErrorCode::Blocked);
        let accept = friend(BEN, FriendAction::Accept, ANN);
        world.check_refused(&accept, ErrorCode::Blocked);
        let back = &[((BEN, ANN), BLOCKED)];
        check(&mut world, &block(BEN, ANN), done(ANN, BLOCKED), back);
        let lifted = &[((ANN, BEN), NONE)];
        check(&mut world, &unblock(ANN, BEN), done(BEN, NONE), lifted);
        world.check_unchanged(&unblock(ANN, BEN), done(BEN, NONE));
        world.check_refused(&request(ANN, BEN), ErrorCode::Blocked);
        world.check_refused(&block(ANN, ANN), ErrorCode::BadRequest);
        world.check_refused(&block(ANN, NOBODY), ErrorCode::NoSuchUser);
    }

    #[test]
    fn everything_but_a_name_is_loaded_at_once() {
        let mut world = World::new();
        for command in [
            request(ANN, BEN),
            friend(BEN, FriendAction::Accept, ANN),
            friend(BEN, FriendAction::Reject, ANN),
            friend(BEN, FriendAction::Remove, ANN),
            friend(BEN, FriendAction::Block, ANN),
            friend(BEN, FriendAction::Unblock, ANN),
        ] {
            assert_eq!(world.transact(&[command]).rounds, 1);
        }
    }
}
