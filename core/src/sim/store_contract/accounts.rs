//! Accounts.

use crate::id::{Seq, UserId};
use crate::log::{Body, FriendState, JoinPolicy};
use crate::protocol::ErrorCode;
use crate::protocol::request::{GroupSelfAction, UserRef};
use crate::secret::Secret;
use crate::store::{Applied, Command, Done, Read, ReadDone, StoreRequest};

use super::Subject;
use super::world::{World, applied, edit, key, name, own, recall, send, text, touched};

pub(super) fn names_are_unique_whatever_their_spelling(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let taken: [(&str, &[&str]); 4] = [
        ("alice", &["alice", "ALICE", "Alice", "\u{ff21}\u{ff4c}ice"]),
        // One letter, or a letter and a combining accent.
        (
            "r\u{e9}sum\u{e9}",
            &["R\u{c9}SUM\u{c9}", "re\u{301}sume\u{301}"],
        ),
        ("Stra\u{df}e", &["STRASSE", "strasse"]),
        ("\u{fb01}sh", &["fish", "FISH"]),
    ];
    for (first, others) in taken {
        world.register(first);
        for other in others {
            assert_eq!(
                world.try_register(other),
                Err(ErrorCode::NameTaken),
                "{other} after {first}"
            );
        }
    }
}

pub(super) fn names_that_differ_are_different(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let names = [
        "resume",
        "r\u{e9}sum\u{e9}",
        "r\u{e9}sume",
        "alice",
        "al ice",
        "a1ice",
        "\u{430}lice",
        "\u{1f600}",
        "\u{1f601}",
        "ss",
        "s",
    ];
    let users: Vec<UserId> = names.map(|text| world.register(text)).to_vec();
    for (user, text) in users.iter().zip(names) {
        let login = world.try_login(UserRef::Name(name(text)), super::world::PASSWORD);
        let login = login.unwrap();
        assert_eq!(login.roster.user, *user, "{text}");
        assert_eq!(login.roster.name, name(text));
    }
}

pub(super) fn deleting_an_account_frees_the_name_and_blanks_the_texts(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let place = world.befriend(alice, bob);
    world.command(Command::Send {
        user: alice,
        place,
        key: key("a"),
        text: "mine".into(),
        reply_to: None,
        meta: Some(r#"{"also":"mine"}"#.into()),
    });
    world.send(bob, place, "b", "yours");
    world.command(edit(alice, place, Seq(1), "still mine"));
    let wrong = StoreRequest::DeleteAccount {
        user: alice,
        password: Secret::new("wrong password"),
    };
    assert_eq!(
        applied(world.execute(wrong)),
        Err(ErrorCode::BadCredentials)
    );
    assert_eq!(world.texts(bob, place), ["still mine", "yours"]);

    world.delete(alice);
    let log = world.log(bob, place);
    let mut blank = text("a", "");
    blank.recalled = true;
    blank.edited = true;
    assert_eq!(log[0].body, Body::Text(blank));
    assert_eq!(log[0].from, alice);
    assert_eq!(log[1].body, Body::Text(text("b", "yours")));
    assert_eq!(
        log[2].body,
        Body::Edit {
            target: Seq(1),
            text: None
        }
    );
    let conversation = world.conversation(bob, place);
    assert_eq!(world.fetch(conversation, Seq(0), 9, 999).entries, log);

    // The name is free, the number is not used again.
    let again = world.register("ALICE");
    assert_ne!(again, alice);
    assert_eq!(world.texts(bob, place), ["", "yours"]);
    world.refused(send(bob, place, "c", "hello?"), ErrorCode::NoSuchUser);
}

pub(super) fn deleting_an_account_ends_friendships_memberships_and_sessions(
    subject: &mut dyn Subject,
) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let place = world.befriend(alice, bob);
    world.command(super::world::ask(carol, alice));
    let group = world.group_of(&[bob, alice]);
    let closed = world.group(carol, JoinPolicy::Approval);
    world.command(own(alice, GroupSelfAction::Join, closed));
    let login = world.login(alice);
    let versions = [bob, carol].map(|user| world.version(user));

    let done = world.delete(alice);
    assert_eq!(done.done, Done::Nothing);
    assert_eq!(touched(&done), [alice, bob, carol]);
    assert_eq!(done.entries.len(), 1);
    assert_eq!(done.entries[0].body, Body::Left { user: alice });
    assert_eq!(done.entries[0].seq, Seq(3));

    assert_eq!(world.rosters(&[alice]), []);
    let after = [bob, carol].map(|user| world.version(user));
    assert_eq!(after, versions.map(|version| version + 1));
    assert_eq!(world.state(bob, alice), FriendState::None);
    assert_eq!(world.state(carol, alice), FriendState::None);
    let group_log = world.log(bob, crate::id::Place::Group(group));
    assert_eq!(group_log[2], done.entries[0]);
    let requests = world.read(Read::Requests {
        reader: carol,
        group: closed,
        after: None,
        limit: 9,
    });
    assert!(matches!(requests, ReadDone::Requests(list) if list.items.is_empty()));
    let resumed = world.resume(alice, login.session, login.expires);
    assert_eq!(resumed.unwrap_err(), ErrorCode::TokenExpired);
    for who in [UserRef::Id(alice), UserRef::Name(name("user 0"))] {
        let result = world.try_login(who, super::world::PASSWORD);
        assert_eq!(result.unwrap_err(), ErrorCode::BadCredentials);
    }
    world.refused(recall(bob, place, Seq(1)), ErrorCode::NoSuchMessage);
    world.refused(super::world::ask(bob, alice), ErrorCode::NoSuchUser);
}

pub(super) fn owners_cannot_delete_their_accounts(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let group = world.group(alice, JoinPolicy::Open);
    let delete = || StoreRequest::DeleteAccount {
        user: alice,
        password: Secret::new(super::world::PASSWORD),
    };
    assert_eq!(applied(world.execute(delete())), Err(ErrorCode::Forbidden));
    assert_eq!(world.roster(alice).groups.len(), 1);
    world.command(own(alice, GroupSelfAction::Disband, group));
    let done = world.delete(alice);
    let version = done.changed[0].1;
    assert_eq!(
        done,
        Applied {
            changed: vec![(alice, version)],
            ..Applied::unchanged(Done::Nothing)
        }
    );
}

pub(super) fn users_are_found_by_number_and_name(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let (alice, bob) = (world.register("Alice"), world.register("bob"));
    let found = |who| Read::User { reader: bob, who };
    let expected = ReadDone::User {
        user: alice,
        name: name("Alice"),
        state: FriendState::None,
    };
    for who in [
        UserRef::Id(alice),
        UserRef::Name(name("Alice")),
        UserRef::Name(name("aLICE")),
    ] {
        assert_eq!(world.read(found(who)), expected);
    }
    world.command(super::world::ask(alice, bob));
    assert_eq!(
        world.read(found(UserRef::Id(alice))),
        ReadDone::User {
            user: alice,
            name: name("Alice"),
            state: FriendState::RequestedBy,
        }
    );
    world.delete(alice);
    for who in [
        UserRef::Id(alice),
        UserRef::Id(UserId(999_999)),
        UserRef::Name(name("Alice")),
        UserRef::Name(name("nobody")),
    ] {
        assert_eq!(world.try_read(found(who)), Err(ErrorCode::NoSuchUser));
    }
}
