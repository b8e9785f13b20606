//! Sessions.

use crate::id::{SessionId, UserId};
use crate::identity::Identity;
use crate::protocol::ErrorCode;
use crate::protocol::request::UserRef;
use crate::secret::Secret;
use crate::store::{Applied, Command, Done, StoreRequest};
use crate::time::Timestamp;

use super::Subject;
use super::world::{PASSWORD, World, applied, name};

pub(super) fn login_needs_the_password(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("Alice");
    let version = world.version(alice);
    for (who, password) in [
        (UserRef::Id(alice), "wrong password"),
        (UserRef::Id(alice), "correct horse "),
        (UserRef::Id(alice), "Correct horse"),
        (UserRef::Id(UserId(999_999)), PASSWORD),
        (UserRef::Name(name("nobody")), PASSWORD),
    ] {
        let refused = world.try_login(who, password).unwrap_err();
        assert_eq!(refused, ErrorCode::BadCredentials);
    }
    assert_eq!(world.version(alice), version);

    let login = world
        .try_login(UserRef::Name(name("ALICE")), PASSWORD)
        .unwrap();
    assert_eq!(login.changed, [(alice, version + 1)]);
    assert_eq!(login.roster.user, alice);
    assert_eq!(login.roster.name, name("Alice"));
    assert_eq!(login.roster.version, version + 1);
    assert_eq!(login.roster.sessions, [login.session]);
    assert!(login.expires > Timestamp(0));
}

pub(super) fn sessions_above_the_limit_end_the_oldest(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let others = world.login(bob);
    let logins: Vec<_> = (0..10).map(|_| world.login(alice)).collect();
    let sessions: Vec<SessionId> = logins.iter().map(|login| login.session).collect();
    let mut sorted = sessions.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 10, "numbers of sessions are not used again");

    let mut standing = sessions[2..].to_vec();
    standing.sort();
    let roster = world.roster(alice);
    assert_eq!(roster.sessions, standing);
    assert_eq!(*roster, *logins[9].roster);
    let versions: Vec<u64> = logins.iter().map(|login| login.changed[0].1).collect();
    let first = versions[0];
    assert_eq!(versions, (first..first + 10).collect::<Vec<_>>());
    for (index, login) in logins.iter().enumerate() {
        let resumed = world.resume(alice, login.session, login.expires);
        assert_eq!(resumed.is_ok(), index >= 2, "session {index}");
    }
    assert_eq!(world.roster(bob).sessions, [others.session]);
}

pub(super) fn resume_needs_the_very_token(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let login = world.login(alice);
    let resumed = world.resume(alice, login.session, login.expires).unwrap();
    assert_eq!(resumed.session, login.session);
    assert_eq!(resumed.expires, login.expires);
    assert_eq!(resumed.changed, []);
    assert_eq!(resumed.roster, login.roster);

    let (session, expires) = (login.session, login.expires);
    for (user, session, expires) in [
        (bob, session, expires),
        (UserId(999_999), session, expires),
        (alice, SessionId(session.0 + 1000), expires),
        (alice, session, Timestamp(expires.0 + 1)),
        (alice, session, Timestamp(expires.0 - 1)),
        (alice, session, Timestamp(0)),
        (alice, session, Timestamp(u64::MAX >> 11)),
    ] {
        let refused = world.resume(user, session, expires).unwrap_err();
        assert_eq!(refused, ErrorCode::TokenExpired);
    }
}

pub(super) fn changing_the_password_ends_the_other_sessions(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let (other, stays) = (world.login(alice), world.login(alice));
    let change = |old: &str| StoreRequest::ChangePassword {
        user: alice,
        session: stays.session,
        old: Secret::new(old),
        new: Secret::new("battery staple"),
    };
    let refused = applied(world.execute(change("wrong password")));
    assert_eq!(refused, Err(ErrorCode::BadCredentials));
    assert_eq!(world.roster(alice), stays.roster);

    let version = world.version(alice);
    let done = applied(world.execute(change(PASSWORD))).unwrap();
    let Done::Session { session, expires } = done.done else {
        panic!("changing the password answers {:?}", done.done);
    };
    assert_eq!(session, stays.session);
    assert!(expires > stays.expires, "the old token no longer stands");
    assert_eq!(
        done,
        Applied {
            changed: vec![(alice, version + 1)],
            ..Applied::unchanged(Done::Session { session, expires })
        }
    );
    assert_eq!(world.roster(alice).sessions, [stays.session]);
    for (session, expires) in [
        (other.session, other.expires),
        (stays.session, stays.expires),
    ] {
        let refused = world.resume(alice, session, expires).unwrap_err();
        assert_eq!(refused, ErrorCode::TokenExpired);
    }
    world.resume(alice, session, expires).unwrap();
    let refused = world.try_login(UserRef::Id(alice), PASSWORD).unwrap_err();
    assert_eq!(refused, ErrorCode::BadCredentials);
    world
        .try_login(UserRef::Id(alice), "battery staple")
        .unwrap();
    let refused = applied(world.execute(change(PASSWORD)));
    assert_eq!(refused, Err(ErrorCode::BadCredentials));
}

pub(super) fn closing_a_session_ends_it_once(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let (first, second) = (world.login(alice), world.login(alice));
    let version = world.version(alice);
    let close = |user| Command::CloseSession {
        user,
        session: first.session,
    };
    // Somebody else's session is none of one's own.
    let done = world.command(close(bob));
    assert_eq!(done, Applied::unchanged(Done::Nothing));
    let done = world.command(close(alice));
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(done.changed, [(alice, version + 1)]);
    assert_eq!(world.roster(alice).sessions, [second.session]);
    let done = world.command(close(alice));
    assert_eq!(done, Applied::unchanged(Done::Nothing));
    let refused = world.resume(alice, first.session, first.expires);
    assert_eq!(refused.unwrap_err(), ErrorCode::TokenExpired);
    world.resume(alice, second.session, second.expires).unwrap();

    // The number of a session that has ended is not used again.
    world.command(Command::CloseSession {
        user: alice,
        session: second.session,
    });
    let third = world.login(alice);
    assert!(![first.session, second.session].contains(&third.session));
    assert_eq!(world.roster(alice).sessions, [third.session]);
}

fn vouch(subject: &str, wished: &str) -> Command {
    Command::OpenSessionOf {
        identity: Identity::new("https://accounts.example", subject),
        name: Some(name(wished)),
        device: Some("phone".into()),
    }
}

pub(super) fn an_identity_has_one_account_whatever_its_name(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let before = world.version(alice);
    let mut opened = |command: Command| {
        let applied = world.command(command);
        let Done::Session { session, expires } = applied.done else {
            panic!("opening a session answers {:?}", applied.done);
        };
        let [(user, _)] = applied.changed[..] else {
            panic!("one user's version rises: {:?}", applied.changed);
        };
        let resumed = world.resume(user, session, expires).unwrap();
        assert_eq!(resumed.roster.user, user);
        (user, resumed.roster.name.clone())
    };
    let (first, own) = opened(vouch("17", "ALICE"));
    assert_ne!(first, alice);
    assert!(own.as_str().starts_with("ALICE-"), "{own}");
    assert_eq!(opened(vouch("17", "alice")), (first, own.clone()));
    let (second, other) = opened(vouch("18", "bob"));
    assert_ne!(second, first);
    assert_eq!(other, name("bob"));
    assert_eq!(world.version(alice), before, "nobody was alice");
    for user in [first, second] {
        for password in ["", PASSWORD] {
            let refused = world.try_login(UserRef::Id(user), password).unwrap_err();
            assert_eq!(refused, ErrorCode::BadCredentials);
        }
    }
    assert!(world.try_login(UserRef::Id(alice), PASSWORD).is_ok());
}

pub(super) fn first_sessions_at_once_make_one_account(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let command = |_| StoreRequest::Command(Box::new(vouch("17", "carol")));
    let results = world.all((0..6).map(command).collect());
    let users: Vec<UserId> = results
        .into_iter()
        .map(|result| applied(result).unwrap().changed[0].0)
        .collect();
    assert_eq!(users, vec![users[0]; 6]);
}
