//! Accounts and sessions.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::id::{Pair, Place, SessionId, UserId};
use crate::log::{FriendState, Role};
use crate::name::Name;
use crate::protocol::{ErrorCode, RequestError};
use crate::secret::Secret;
use crate::store::{Done, Kind, ReadSet, Refusal, SessionRow, UserRow, View};

use super::lookup::{self, Log, incomplete};
use super::plan::{Plan, Step};

/// The version of an account that nothing has happened to yet.
const FIRST_VERSION: u64 = 1;

pub(super) fn read_for_register(name: &Name) -> ReadSet {
    ReadSet {
        names: BTreeSet::from([name.key()]),
        new_users: 1,
        ..ReadSet::default()
    }
}

pub(super) fn register(view: &View, name: &Name, hash: &Secret) -> Result<Plan, Refusal> {
    if lookup::named(view, &name.key())?.is_some() {
        return Err(ErrorCode::NameTaken.into());
    }
    let id = lookup::new_user(view)?;
    let mut plan = Plan::new(Done::Registered(id));
    let row = UserRow {
        name: Some(name.clone()),
        hash: hash.clone(),
        version: FIRST_VERSION,
        locked: false,
    };
    plan.step(Step::User(id, row));
    Ok(plan)
}

pub(super) fn read_for_sessions(user: UserId) -> ReadSet {
    ReadSet {
        users: BTreeSet::from([user]),
        sessions_of: BTreeSet::from([user]),
        ..ReadSet::default()
    }
}

pub(super) fn read_for_open_session(user: UserId) -> ReadSet {
    ReadSet {
        new_sessions: 1,
        ..read_for_sessions(user)
    }
}

pub(super) fn open_session(
    view: &View,
    user: UserId,
    verified: &Secret,
    device: Option<&SmolStr>,
) -> Result<Plan, Refusal> {
    check(view, user, verified)?;
    let mut present = lookup::sessions_of(view, user)?;
    let session = lookup::new_session(view)?;
    let expires = view.now + view.limits.session_lifetime;
    let mut plan = Plan::new(Done::Session { session, expires });
    present.sort_by_key(|(id, row)| (row.created, *id));
    let room = usize::try_from(view.limits.sessions)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let surplus = present.len().saturating_sub(room);
    for (oldest, _) in present.into_iter().take(surplus) {
        plan.step(Step::Session(oldest, None));
    }
    let row = SessionRow {
        user,
        device: device.cloned(),
        created: view.now,
        expires,
    };
    plan.step(Step::Session(session, Some(row)));
    plan.touch(user);
    Ok(plan)
}

pub(super) fn close_session(
    view: &View,
    user: UserId,
    session: SessionId,
) -> Result<Plan, Refusal> {
    let mut plan = Plan::new(Done::Nothing);
    let present = lookup::sessions_of(view, user)?;
    if present.iter().any(|(id, _)| *id == session) {
        plan.step(Step::Session(session, None));
        plan.touch(user);
    }
    Ok(plan)
}

pub(super) fn change_password(
    view: &View,
    user: UserId,
    session: SessionId,
    verified: &Secret,
    hash: &Secret,
) -> Result<Plan, Refusal> {
    let account = check(view, user, verified)?;
    let present = lookup::sessions_of(view, user)?;
    let (_, kept) = present
        .iter()
        .find(|(id, _)| *id == session)
        .ok_or(ErrorCode::TokenExpired)?;
    // Another expiry is what ends the token that was given out before.
    let mut expires = view.now + view.limits.session_lifetime;
    if expires <= kept.expires {
        expires.0 = kept.expires.0.saturating_add(1);
    }
    let mut plan = Plan::new(Done::Session { session, expires });
    let row = UserRow {
        hash: hash.clone(),
        ..account.clone()
    };
    plan.step(Step::User(user, row));
    for (id, row) in &present {
        let row = (*id == session).then(|| SessionRow {
            expires,
            ..(*row).clone()
        });
        plan.step(Step::Session(*id, row));
    }
    plan.touch(user);
    Ok(plan)
}

pub(super) fn read_for_delete(user: UserId) -> ReadSet {
    let one = || BTreeSet::from([user]);
    ReadSet {
        friendships_of: one(),
        memberships_of: one(),
        invitations_of: one(),
        join_requests_of: one(),
        ..read_for_sessions(user)
    }
}

pub(super) fn delete(view: &View, user: UserId, verified: &Secret) -> Result<Plan, Refusal> {
    let account = check(view, user, verified)?;
    let sessions = lookup::sessions_of(view, user)?;
    let friendships = friendships(view, user)?;
    let groups = groups(view, user, &friendships)?;
    let invitations: Vec<_> = view
        .invitations
        .iter()
        .filter(|((_, invited), _)| *invited == user)
        .map(|((group, _), _)| *group)
        .collect();
    let join_requests: Vec<_> = view
        .join_requests
        .iter()
        .filter(|((_, asking), ())| *asking == user)
        .map(|((group, _), ())| *group)
        .collect();

    let mut plan = Plan::new(Done::Nothing);
    for log in groups {
        plan.append(log, user, Kind::Left { user });
        plan.step(Step::Member(log, user, None));
    }
    for (of, to) in friendships {
        plan.step(Step::Friendship(of, to, FriendState::None));
        plan.touch(of);
    }
    for group in invitations {
        plan.step(Step::Invitation(group, user, None));
    }
    for group in join_requests {
        plan.step(Step::JoinRequest(group, user, false));
    }
    for (session, _) in sessions {
        plan.step(Step::Session(session, None));
    }
    let row = UserRow {
        name: None,
        hash: Secret::new(""),
        ..account.clone()
    };
    plan.step(Step::User(user, row));
    plan.step(Step::Blank(user));
    plan.touch(user);
    Ok(plan)
}

/// Refuses unless the account stands and has the hash that the password was verified against.
fn check<'a>(view: &'a View, user: UserId, verified: &Secret) -> Result<&'a UserRow, Refusal> {
    let row = lookup::live_user(view, user)?
        .filter(|row| row.hash == *verified)
        .ok_or(ErrorCode::BadCredentials)?;
    if row.locked {
        return Err(ErrorCode::Locked.into());
    }
    Ok(row)
}

/// Returns every friendship row of a user, from both sides, once all is loaded that deleting the
/// account depends on.
fn friendships(view: &View, user: UserId) -> Result<Vec<(UserId, UserId)>, Refusal> {
    let loaded = &view.loaded;
    let complete = loaded.friendships_of.contains(&user)
        && loaded.memberships_of.contains(&user)
        && loaded.invitations_of.contains(&user)
        && loaded.join_requests_of.contains(&user);
    if !complete {
        return Err(incomplete(read_for_delete(user)));
    }
    Ok(view
        .friendships
        .iter()
        .map(|(key, _)| *key)
        .filter(|(of, to)| *of == user || *to == user)
        .collect())
}

/// Returns the groups of a user who owns none of them, once these, the direct conversations with
/// friends, and the friends are locked: a message that is under way is then committed before or
/// refused.
fn groups(
    view: &View,
    user: UserId,
    friendships: &[(UserId, UserId)],
) -> Result<Vec<Log>, Refusal> {
    let mut missing = ReadSet::default();
    for (one, other) in friendships {
        let friend = if *one == user { *other } else { *one };
        if !lookup::is_locked(view, friend) {
            missing.users.insert(friend);
        }
        if let Some(pair) = Pair::new(*one, *other) {
            let place = Place::Direct(pair);
            if !view.loaded.places.contains(&place) {
                missing.places.insert(place);
            }
        }
    }
    let mut groups = Vec::new();
    for ((conversation, _), member) in view.members.iter().filter(|((_, of), _)| *of == user) {
        let Some((place, _)) = view.conversations.get(conversation).flatten() else {
            missing.memberships_of.insert(user);
            continue;
        };
        if !matches!(place, Place::Group(_)) {
            continue;
        }
        if member.role == Role::Owner {
            return Err(RequestError::new(
                ErrorCode::Forbidden,
                "pass on or disband your groups first",
            )
            .into());
        }
        if view.loaded.places.contains(place) {
            groups.extend(lookup::log(view, *place)?);
        } else {
            missing.places.insert(*place);
        }
    }
    if missing == ReadSet::default() {
        Ok(groups)
    } else {
        Err(incomplete(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        ANN, BEN, CAT, DAN, NOBODY, World, Written, create, direct, entry, friend, join, name,
        on_other, request, send,
    };
    use super::*;
    use crate::id::{ConversationId, GroupId, Seq};
    use crate::log::{Body, JoinPolicy};
    use crate::protocol::request::{FriendAction, GroupOtherAction, UserRef};
    use crate::store::{Applied, Command, Limits};
    use crate::time::Timestamp;

    fn register(text: &str) -> Command {
        Command::Register {
            name: name(text),
            hash: Secret::new("hash"),
        }
    }

    fn open(user: UserId, hash: &str) -> Command {
        Command::OpenSession {
            user,
            verified: Secret::new(hash),
            device: Some(SmolStr::new("phone")),
        }
    }

    fn change(user: UserId, session: u64, old: &str) -> Command {
        Command::ChangePassword {
            user,
            session: SessionId(session),
            verified: Secret::new(old),
            hash: Secret::new("other"),
        }
    }

    fn delete(user: UserId, hash: &str) -> Command {
        Command::DeleteAccount {
            user,
            verified: Secret::new(hash),
        }
    }

    fn row(user: UserId, created: u64, expires: u64) -> SessionRow {
        SessionRow {
            user,
            device: Some(SmolStr::new("phone")),
            created: Timestamp(created),
            expires: Timestamp(expires),
        }
    }

    fn session(session: u64, expires: u64) -> Done {
        Done::Session {
            session: SessionId(session),
            expires: Timestamp(expires),
        }
    }

    fn raised(world: &World, done: Done, user: UserId) -> Applied {
        Applied {
            changed: vec![world.next_version(user)],
            ..Applied::unchanged(done)
        }
    }

    #[test]
    fn an_account_is_made_with_the_next_number() {
        let mut world = World::new();
        let eve = UserRow {
            name: Some(name("Eve")),
            hash: Secret::new("hash"),
            version: FIRST_VERSION,
            locked: false,
        };
        world.check(
            &register("Eve"),
            &Applied::unchanged(Done::Registered(UserId(5))),
            &Written {
                users: vec![(UserId(5), Some(eve))],
                ..Written::default()
            },
        );
        world.check_refused(&register("EVE"), ErrorCode::NameTaken);
    }

    #[test]
    fn one_batch_gives_a_name_once() {
        let mut world = World::new();
        let outcome = world.transact(&[register("eve"), register("Eve"), register("fay")]);
        let done: Vec<_> = outcome
            .results
            .into_iter()
            .map(|result| result.map(|applied| applied.done).map_err(|e| e.code))
            .collect();
        let expected = [
            Ok(Done::Registered(UserId(5))),
            Err(ErrorCode::NameTaken),
            Ok(Done::Registered(UserId(6))),
        ];
        assert_eq!(done, expected);
    }

    #[test]
    fn a_session_opens_with_the_hash_that_was_verified() {
        let mut world = World::new();
        let applied = raised(&world, session(21, 1100), ANN);
        let written = Written {
            users: vec![world.risen(ANN)],
            sessions: vec![(SessionId(21), Some(row(ANN, 1000, 1100)))],
            ..Written::default()
        };
        world.check(&open(ANN, "ann"), &applied, &written);
        world.check_refused(&open(ANN, "old"), ErrorCode::BadCredentials);
        world.check_refused(&open(NOBODY, "ann"), ErrorCode::BadCredentials);
        let mut locked = world.user(ANN);
        locked.locked = true;
        world.tables.users.put(ANN, locked);
        world.check_refused(&open(ANN, "ann"), ErrorCode::Locked);
        world.check_refused(&open(ANN, "old"), ErrorCode::BadCredentials);
    }

    #[test]
    fn the_oldest_session_gives_way() {
        let mut world = World::new();
        world.limits = Limits {
            sessions: 2,
            ..world.limits
        };
        world.transact(&[open(ANN, "ann"), open(ANN, "ann"), open(BEN, "ben")]);
        world.now = Timestamp(1001);
        let applied = raised(&world, session(24, 1101), ANN);
        let written = Written {
            users: vec![world.risen(ANN)],
            sessions: vec![
                (SessionId(21), None),
                (SessionId(24), Some(row(ANN, 1001, 1101))),
            ],
            ..Written::default()
        };
        world.check(&open(ANN, "ann"), &applied, &written);
    }

    #[test]
    fn the_oldest_session_is_so_by_its_time_and_not_by_its_number() {
        let mut world = World::new();
        world.limits = Limits {
            sessions: 2,
            ..world.limits
        };
        world.must(&open(ANN, "ann"));
        world.now = Timestamp(999);
        world.must(&open(ANN, "ann"));
        let written = world.transact(&[open(ANN, "ann")]).written;
        assert_eq!(written.sessions.first(), Some(&(SessionId(22), None)));
    }

    #[test]
    fn a_session_is_closed_once_and_by_its_user_only() {
        let mut world = World::new();
        world.must(&open(ANN, "ann"));
        let close = |user| Command::CloseSession {
            user,
            session: SessionId(21),
        };
        world.check_unchanged(&close(BEN), Done::Nothing);
        let applied = raised(&world, Done::Nothing, ANN);
        let written = Written {
            users: vec![world.risen(ANN)],
            sessions: vec![(SessionId(21), None)],
            ..Written::default()
        };
        world.check(&close(ANN), &applied, &written);
        world.check_unchanged(&close(ANN), Done::Nothing);
    }

    #[test]
    fn another_password_renews_one_session_and_ends_the_others() {
        let mut world = World::new();
        world.transact(&[open(ANN, "ann"), open(ANN, "ann"), open(BEN, "ben")]);
        world.check_refused(&change(ANN, 21, "no"), ErrorCode::BadCredentials);
        world.check_refused(&change(ANN, 23, "ann"), ErrorCode::TokenExpired);
        // At the same moment: the expiry differs all the same.
        let applied = raised(&world, session(21, 1101), ANN);
        let (_, account) = world.risen(ANN);
        let account = account.map(|account| UserRow {
            hash: Secret::new("other"),
            ..account
        });
        let written = Written {
            users: vec![(ANN, account)],
            sessions: vec![
                (SessionId(21), Some(row(ANN, 1000, 1101))),
                (SessionId(22), None),
            ],
            ..Written::default()
        };
        world.check(&change(ANN, 21, "ann"), &applied, &written);
        world.now = Timestamp(1050);
        let later = world.must(&change(ANN, 21, "other"));
        assert_eq!(later.done, session(21, 1150));
    }

    #[test]
    fn an_owner_keeps_the_account() {
        let mut world = World::new();
        world.make_group(JoinPolicy::Open);
        world.check_refused(&delete(ANN, "ann"), ErrorCode::Forbidden);
        world.check_refused(&delete(BEN, "ann"), ErrorCode::BadCredentials);
    }

    /// Ann (friend of Ben, blocked by Cat, asking Dan) is a member of one group of Ben's, invited
    /// to another and waiting for a third.
    fn entangled() -> World {
        let mut world = World::new();
        world.befriend(ANN, BEN);
        world.must(&friend(CAT, FriendAction::Block, ANN));
        world.must(&request(ANN, DAN));
        world.must(&create(BEN, "in", JoinPolicy::Open, None));
        world.must(&join(ANN, GroupId(12)));
        world.must(&create(BEN, "invited", JoinPolicy::Invite, None));
        world.must(&on_other(BEN, GroupOtherAction::Invite, GroupId(13), ANN));
        world.must(&create(BEN, "waiting", JoinPolicy::Approval, None));
        world.must(&join(ANN, GroupId(14)));
        world.must(&open(ANN, "ann"));
        world
    }

    #[test]
    fn deleting_an_account_ends_everything_of_it() {
        let mut world = entangled();
        let place = Place::Group(GroupId(12));
        let left = entry(&world, place, (12, 3), ANN, Body::Left { user: ANN });
        let applied = Applied {
            entries: vec![left],
            changed: [ANN, BEN, CAT, DAN]
                .map(|user| world.next_version(user))
                .into(),
            ..Applied::unchanged(Done::Nothing)
        };
        let (_, account) = world.risen(ANN);
        let account = account.map(|account| UserRow {
            name: None,
            hash: Secret::new(""),
            ..account
        });
        let outcome = world.transact(&[delete(ANN, "ann")]);
        assert_eq!(outcome.results, [Ok(applied)]);
        assert_eq!(outcome.rounds, 2);
        let written = outcome.written;
        assert_eq!(written.users.first(), Some(&(ANN, account)));
        assert_eq!(written.users.len(), 4);
        assert_eq!(written.sessions, [(SessionId(21), None)]);
        let friendships = [(ANN, BEN), (ANN, DAN), (BEN, ANN), (CAT, ANN), (DAN, ANN)];
        assert_eq!(written.friendships, friendships.map(|key| (key, None)));
        assert_eq!(written.members, [((ConversationId(12), ANN), None)]);
        assert_eq!(written.invitations, [((GroupId(13), ANN), None)]);
        assert_eq!(written.join_requests, [((GroupId(14), ANN), None)]);
        assert_eq!(written.blanked, [ANN]);
        let last = (ConversationId(12), Some((place, Seq(3))));
        assert_eq!(written.conversations, [last]);
        assert!(outcome.view.loaded.places.contains(&direct(ANN, BEN)));
    }

    #[test]
    fn a_deleted_account_is_nobody() {
        let mut world = entangled();
        world.must(&delete(ANN, "ann"));
        world.check_refused(&open(ANN, ""), ErrorCode::BadCredentials);
        world.check_refused(&delete(ANN, ""), ErrorCode::BadCredentials);
        world.check_refused(&request(ANN, CAT), ErrorCode::NotLoggedIn);
        world.check_refused(&request(CAT, ANN), ErrorCode::NoSuchUser);
        world.check_refused(
            &Command::FriendRequest {
                user: CAT,
                who: UserRef::Name(name("ann")),
            },
            ErrorCode::NoSuchUser,
        );
        let again = world.must(&register("Ann"));
        assert_eq!(again.done, Done::Registered(UserId(5)));
    }

    #[test]
    fn what_a_batch_sends_and_then_deletes_is_blank_within_it() {
        let mut world = World::new();
        world.befriend(ANN, BEN);
        let place = direct(ANN, BEN);
        let outcome = world.transact(&[
            send(ANN, place, "key", "text"),
            delete(ANN, "ann"),
            register("ann"),
            send(BEN, place, "key", "text"),
        ]);
        let done: Vec<_> = outcome
            .results
            .into_iter()
            .map(|result| result.map(|applied| applied.done).map_err(|e| e.code))
            .collect();
        let expected = [
            Ok(Done::Appended {
                seq: Seq(1),
                at: Timestamp(1000),
            }),
            Ok(Done::Nothing),
            Ok(Done::Registered(UserId(5))),
            Err(ErrorCode::NoSuchUser),
        ];
        assert_eq!(done, expected);
        let Kind::Text { text, recalled, .. } = world.message(ConversationId(11), 1).kind else {
            panic!("it is a message");
        };
        assert_eq!((text.as_ref(), recalled), ("", true));
    }
}
