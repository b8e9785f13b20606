//! Tests of the rules of accounts and sessions.

use smallvec::smallvec;

use super::*;
use crate::id::{ConversationId, GroupId, Seq};
use crate::log::{Body, JoinPolicy};
use crate::protocol::request::{FriendAction, GroupOtherAction, UserRef};
use crate::rules::fixture::{
    ANN, BEN, CAT, DAN, NOBODY, World, Written, create, direct, entry, friend, join, name,
    on_other, request, send,
};
use crate::store::{Applied, Limits};
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
        renewed: None,
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
        identity: None,
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

/// A hash of a password that was set once, at a cost.
fn hashed_at(cost: u32) -> String {
    format!("$argon2id$v=19$m={cost},t=1,p=1$c2FsdHNhbHQ$b2YgY29zdCA{cost}")
}

fn open_renewing(user: UserId, verified: &str, renewed: &str) -> Command {
    Command::OpenSession {
        user,
        verified: Secret::new(verified),
        renewed: Some(Secret::new(renewed)),
        device: None,
    }
}

#[test]
fn a_login_replaces_a_hash_of_another_cost_and_refuses_no_other_login() {
    let mut world = World::new();
    let (old, new) = (hashed_at(8), hashed_at(16));
    let mut ann = world.user(ANN);
    ann.hash = Secret::new(old.as_str());
    world.tables.users.put(ANN, ann.clone());
    // Both have verified the old one; the second comes to a row that has the new one.
    let outcome = world.transact(&[
        open_renewing(ANN, &old, &new),
        open_renewing(ANN, &old, &hashed_at(32)),
        open(ANN, &old),
        delete(ANN, &hashed_at(8).replace("c2FsdHNhbHQ", "b3RoZXJzYWx0")),
    ]);
    let done: Vec<_> = outcome
        .results
        .into_iter()
        .map(|result| result.map(|applied| applied.changed).map_err(|e| e.code))
        .collect();
    let version = ann.version;
    let expected = [
        Ok(vec![(ANN, version + 1)]),
        Ok(vec![(ANN, version + 2)]),
        Ok(vec![(ANN, version + 3)]),
        Err(ErrorCode::BadCredentials),
    ];
    assert_eq!(done, expected);
    assert_eq!(world.user(ANN).hash, Secret::new(new));
    let sessions = world.tables.sessions.iter();
    let hers = sessions.filter(|(_, row)| row.user == ANN);
    assert_eq!(hers.count(), 3, "no session has ended");
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
        entries: smallvec![left],
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

fn vouch(subject: &str, name: Option<&str>) -> Command {
    Command::OpenSessionOf {
        identity: Identity::new("issuer", subject),
        name: name.map(|text| Name::new(text).unwrap()),
        device: None,
    }
}

#[test]
fn the_first_session_of_an_identity_makes_its_account() {
    let mut world = World::new();
    let identity = Identity::new("issuer", "17");
    let eve = UserRow {
        name: Some(name("Eve")),
        hash: Secret::new(""),
        identity: Some(identity),
        version: FIRST_VERSION + 1,
        locked: false,
    };
    let opened = |number| Applied {
        changed: vec![(UserId(5), number)],
        ..Applied::unchanged(session(number + 19, 1100))
    };
    let open_row = |number| SessionRow {
        device: None,
        ..row(UserId(5), 1000, number)
    };
    world.check(
        &vouch("17", Some("Eve")),
        &opened(2),
        &Written {
            users: vec![(UserId(5), Some(eve.clone()))],
            sessions: vec![(SessionId(21), Some(open_row(1100)))],
            ..Written::default()
        },
    );
    // From then on the name that is wished for says nothing.
    let risen = UserRow {
        version: FIRST_VERSION + 2,
        ..eve
    };
    world.check(
        &vouch("17", Some("ann")),
        &opened(3),
        &Written {
            users: vec![(UserId(5), Some(risen))],
            sessions: vec![(SessionId(22), Some(open_row(1100)))],
            ..Written::default()
        },
    );
    // Nobody has its password.
    for hash in ["ann", "x"] {
        world.check_refused(&open(UserId(5), hash), ErrorCode::BadCredentials);
    }
}

#[test]
fn no_identity_is_taken_for_an_account_of_that_name() {
    let mut world = World::new();
    let digits =
        |subject: &str, count| Identity::new("issuer", subject).to_string()[..count].to_owned();
    let mut named = |subject: &str, wished: Option<&str>| {
        let applied = world.must(&vouch(subject, wished));
        let user = applied.changed[0].0;
        assert!(user > DAN, "{user:?}");
        world.user(user).name.unwrap().as_str().to_owned()
    };
    let marked = |name: &str, subject: &str| format!("{name}-{}", digits(subject, 8));
    assert_eq!(named("1", Some("ANN")), marked("ANN", "1"), "Ann has it");
    assert_eq!(named("2", Some("eve")), "eve");
    assert_eq!(named("3", Some("Eve")), marked("Eve", "3"));
    let plain = |subject| format!("user-{}", digits(subject, 24));
    assert_eq!(named("4", None), plain("4"));
    let long = "x".repeat(32);
    assert_eq!(named("5", Some(&long)), long);
    assert_eq!(named("6", Some(&long)), marked(&"x".repeat(23), "6"));
    // Somebody who knows what is coming has taken all of them.
    for taken in [
        "fay".to_owned(),
        marked("fay", "7"),
        plain("8"),
        marked("gil", "9"),
    ] {
        world.must(&register(&taken));
    }
    let mut named = |subject: &str, wished: Option<&str>| {
        let user = world.must(&vouch(subject, wished)).changed[0].0;
        world.user(user).name.unwrap().as_str().to_owned()
    };
    assert_eq!(named("7", Some("fay")), plain("7"));
    assert_eq!(named("9", Some("gil")), "gil");
    world.check_refused(&vouch("8", None), ErrorCode::NameTaken);
}

#[test]
fn an_identity_is_locked_and_deleted_with_its_account() {
    let mut world = World::new();
    let user = world.must(&vouch("17", None)).changed[0].0;
    let mut row = world.user(user);
    row.locked = true;
    world.tables.users.put(user, row.clone());
    world.check_refused(&vouch("17", None), ErrorCode::Locked);
    row.locked = false;
    row.hash = Secret::new("set by an operator");
    world.tables.users.put(user, row);
    world.must(&delete(user, "set by an operator"));
    let again = world.must(&vouch("17", None)).changed[0].0;
    assert!(again > user, "whoever comes back is somebody new");
}

#[test]
fn two_first_sessions_of_a_batch_make_one_account() {
    let mut world = World::new();
    let outcome = world.transact(&[vouch("17", None), vouch("17", None), vouch("18", None)]);
    let changed: Vec<_> = outcome
        .results
        .into_iter()
        .map(|result| result.unwrap().changed)
        .collect();
    let (first, second) = (UserId(5), UserId(6));
    assert_eq!(changed, [[(first, 2)], [(first, 3)], [(second, 2)]]);
}
