//! What operators do and look up.

use crate::id::{GroupId, Place, Seq, SessionId, UserId};
use crate::log::JoinPolicy;
use crate::protocol::ErrorCode;
use crate::protocol::request::UserRef;
use crate::secret::Secret;
use crate::store::{
    Account, Applied, Command, Done, MessageRef, Read, ReadDone, Standing, StoreRequest,
    StoredEntry, Supervision,
};

use super::Subject;
use super::world::{PASSWORD, World, applied, direct, key, name};

fn by_id(user: UserId, action: Supervision) -> Command {
    let who = UserRef::Id(user);
    Command::Supervise { who, action }
}

fn by_name(text: &str, action: Supervision) -> Command {
    let who = UserRef::Name(name(text));
    Command::Supervise { who, action }
}

/// What a change answers that ended these sessions, and raised the version where it ended any.
fn ended(user: UserId, sessions: &[SessionId], version: u64) -> Applied {
    let mut ended = sessions.to_vec();
    ended.sort();
    let changed = ended.first().map(|_| (user, version + 1));
    Applied {
        changed: changed.into_iter().collect(),
        ..Applied::unchanged(Done::Supervised { user, ended })
    }
}

#[track_caller]
fn is_over(world: &mut World<'_>, user: UserId, login: &Standing) {
    let resumed = world.resume(user, login.session, login.expires);
    assert_eq!(resumed.unwrap_err(), ErrorCode::TokenExpired);
}

pub(super) fn operators_end_every_session(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let (first, second, bobs) = (world.login(alice), world.login(alice), world.login(bob));
    let version = world.version(alice);
    let end = || by_id(alice, Supervision::EndSessions);
    let sessions = [first.session, second.session];
    assert_eq!(world.command(end()), ended(alice, &sessions, version));
    assert_eq!(world.roster(alice).sessions, []);
    is_over(&mut world, alice, &first);
    is_over(&mut world, alice, &second);
    assert_eq!(world.command(end()), ended(alice, &[], version));
    assert_eq!(world.version(alice), version + 1);
    world.resume(bob, bobs.session, bobs.expires).unwrap();
    world.login(alice);
}

pub(super) fn a_locked_account_lets_nobody_in(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("Alice");
    let login = world.login(alice);
    let version = world.version(alice);
    let done = world.command(by_name("ALICE", Supervision::Lock));
    assert_eq!(done, ended(alice, &[login.session], version));
    let locked = world.try_login(UserRef::Id(alice), PASSWORD);
    assert_eq!(locked.unwrap_err(), ErrorCode::Locked);
    let wrong = world.try_login(UserRef::Id(alice), "wrong password");
    assert_eq!(wrong.unwrap_err(), ErrorCode::BadCredentials);
    is_over(&mut world, alice, &login);
    let again = world.command(by_id(alice, Supervision::Lock));
    assert_eq!(again, ended(alice, &[], version));
    let done = world.command(by_name("alice", Supervision::Unlock));
    assert_eq!(done, ended(alice, &[], version));
    is_over(&mut world, alice, &login);
    let login = world.login(alice);
    // Who is not locked keeps what there is.
    let done = world.command(by_id(alice, Supervision::Unlock));
    assert_eq!(done, ended(alice, &[], version));
    world.resume(alice, login.session, login.expires).unwrap();
}

pub(super) fn a_password_that_is_reset_is_the_only_one(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let login = world.login(alice);
    let version = world.version(alice);
    let reset = StoreRequest::ResetPassword {
        who: UserRef::Name(name("Alice")),
        password: Secret::new("battery staple"),
    };
    let done = applied(world.execute(reset)).unwrap();
    assert_eq!(done, ended(alice, &[login.session], version));
    is_over(&mut world, alice, &login);
    let old = world.try_login(UserRef::Id(alice), PASSWORD);
    assert_eq!(old.unwrap_err(), ErrorCode::BadCredentials);
    world
        .try_login(UserRef::Id(alice), "battery staple")
        .unwrap();
}

pub(super) fn nobody_is_nobody_to_operators_too(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    world.delete(alice);
    for who in [
        UserRef::Id(alice),
        UserRef::Id(UserId(999_999)),
        UserRef::Name(name("alice")),
    ] {
        for action in [
            Supervision::EndSessions,
            Supervision::Lock,
            Supervision::Unlock,
        ] {
            let who = who.clone();
            let command = Command::Supervise { who, action };
            world.refused(command, ErrorCode::NoSuchUser);
        }
        let reset = StoreRequest::ResetPassword {
            who: who.clone(),
            password: Secret::new("battery staple"),
        };
        assert_eq!(applied(world.execute(reset)), Err(ErrorCode::NoSuchUser));
        let account = world.try_read(Read::Account(who.clone()));
        assert_eq!(account, Err(ErrorCode::NoSuchUser));
        let key = key("k");
        let entry = Read::Entry(MessageRef::Key { from: who, key });
        assert_eq!(world.try_read(entry), Err(ErrorCode::NoSuchUser));
    }
}

pub(super) fn operators_look_accounts_up(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    world.login(bob);
    let (first, second) = (world.login(alice), world.login(alice));
    let mut look = |who| match world.read(Read::Account(who)) {
        ReadDone::Account(account) => *account,
        other => panic!("an account is looked up with {other:?}"),
    };
    let found = look(UserRef::Id(alice));
    let Account {
        user,
        locked,
        sessions,
        ..
    } = found.clone();
    assert_eq!((user, locked), (alice, false));
    assert_eq!(found.name, first.roster.name);
    let mut expected = [first, second].map(|login| (login.session, login.expires));
    expected.sort();
    let standing: Vec<_> = sessions
        .iter()
        .map(|(id, row)| (*id, row.expires))
        .collect();
    assert_eq!(standing, expected);
    for (_, row) in sessions {
        assert_eq!((row.user, row.device.as_deref()), (alice, Some("phone")));
        assert!(row.created < row.expires);
    }
    assert_eq!(look(UserRef::Name(found.name.clone())), found);
    world.command(by_id(alice, Supervision::Lock));
    let locked = Account {
        locked: true,
        sessions: Vec::new(),
        ..found
    };
    let read = world.read(Read::Account(UserRef::Id(alice)));
    assert_eq!(read, ReadDone::Account(Box::new(locked)));
}

pub(super) fn operators_look_entries_up(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let group = world.group(alice, JoinPolicy::Open);
    world.send(alice, place, "one", "text");
    world.send(alice, place, "two", "text");
    world.send(alice, Place::Group(group), "three", "text");
    for (key_text, place, seq) in [
        ("two", place, Seq(2)),
        ("three", Place::Group(group), Seq(2)),
    ] {
        let entry = world.log(alice, place)[1].clone();
        let expected = ReadDone::Entry(StoredEntry {
            conversation: entry.conversation,
            place,
            seq,
            from: alice,
            at: entry.at,
        });
        let of_key = MessageRef::Key {
            from: UserRef::Id(alice),
            key: key(key_text),
        };
        for message in [of_key, MessageRef::Entry { place, seq }] {
            assert_eq!(world.read(Read::Entry(message)), expected);
        }
    }
    let direct_number = GroupId(world.conversation(alice, place).0);
    let of_key = |from, text| MessageRef::Key {
        from: UserRef::Id(from),
        key: key(text),
    };
    let entry = |place, seq| MessageRef::Entry { place, seq };
    for message in [
        of_key(bob, "one"),
        of_key(alice, "ONE"),
        entry(place, Seq(0)),
        entry(place, Seq(3)),
        entry(direct(alice, UserId(999_999)), Seq(1)),
        // The number of a direct conversation is no group's.
        entry(Place::Group(direct_number), Seq(1)),
    ] {
        let shown = format!("{message:?}");
        let read = world.try_read(Read::Entry(message));
        assert_eq!(read, Err(ErrorCode::NoSuchMessage), "{shown}");
    }
}
