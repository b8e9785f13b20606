//! Messages: sent, edited, recalled.

use std::sync::Arc;

use smallvec::smallvec;

use crate::id::{GroupId, Place, Seq, UserId};
use crate::log::{Body, Entry, FriendState, Text};
use crate::protocol::ErrorCode;
use crate::protocol::request::FriendAction::{Block, Remove};
use crate::protocol::request::GroupSelfAction;
use crate::store::{Applied, Command, Done};

use super::Subject;
use super::world::{
    World, appended, bodies, direct, edit, key, own, recall, send, seqs, text, touched,
};

pub(super) fn sends_are_numbered_without_a_gap(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let place = world.befriend(alice, bob);
    let other = world.befriend(bob, carol);
    let conversation = world.conversation(alice, place);
    let versions = [alice, bob].map(|user| world.version(user));
    let mut expected = Vec::new();
    for number in 1..=5 {
        let (user, key) = (
            if number % 2 == 0 { bob } else { alice },
            format!("{number}"),
        );
        let done = world.command(send(user, place, &key, &format!("text {number}")));
        let (seq, at) = appended(&done);
        assert_eq!(seq, Seq(number));
        let entry = Arc::new(Entry {
            conversation,
            place,
            seq,
            from: user,
            at,
            body: Body::Text(text(&key, &format!("text {number}"))),
        });
        assert_eq!(
            done,
            Applied {
                entries: smallvec![Arc::clone(&entry)],
                ..Applied::unchanged(Done::Appended { seq, at })
            }
        );
        expected.push(entry);
        // Another conversation has numbers of its own.
        assert_eq!(world.send(carol, other, &key, "elsewhere"), Seq(number));
    }
    assert_eq!(world.log(alice, place), expected);
    assert_eq!(world.log(bob, place), expected);
    assert!(expected.is_sorted_by_key(|entry| entry.at));
    assert_eq!([alice, bob].map(|user| world.version(user)), versions);
}

pub(super) fn one_key_is_one_message(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let place = world.befriend(alice, bob);
    let elsewhere = world.befriend(alice, carol);
    let first = world.command(send(alice, place, "k", "hello"));
    world.send(alice, place, "l", "and");
    let (seq, at) = appended(&first);
    // The same again: the same number and time, nothing added.
    let again = Applied::unchanged(Done::Appended { seq, at });
    assert_eq!(world.command(send(alice, place, "k", "hello")), again);
    let with = |place, text: &str, reply_to, meta: Option<&str>| Command::Send {
        user: alice,
        place,
        key: key("k"),
        text: text.into(),
        reply_to,
        meta: meta.map(Into::into),
    };
    // `meta` is not compared.
    let meta = with(place, "hello", None, Some(r#"{"a":1}"#));
    assert_eq!(world.command(meta), again);
    for conflict in [
        with(place, "hello!", None, None),
        with(place, "hello", Some(Seq(1)), None),
        with(elsewhere, "hello", None, None),
    ] {
        world.refused(conflict, ErrorCode::KeyConflict);
    }
    // Keys are each sender's own.
    assert_eq!(world.send(bob, place, "k", "other"), Seq(3));
    // The key stands for what was sent, also after an edit and a recall.
    world.command(edit(alice, place, seq, "changed"));
    assert_eq!(world.command(send(alice, place, "k", "hello")), again);
    world.refused(send(alice, place, "k", "changed"), ErrorCode::KeyConflict);
    world.command(recall(alice, place, seq));
    assert_eq!(world.command(send(alice, place, "k", "hello")), again);
    assert_eq!(world.texts(bob, place), ["", "and", "other"]);
    assert_eq!(world.texts(carol, elsewhere), [""; 0]);
}

pub(super) fn keys_are_compared_byte_by_byte(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let long = "k".repeat(64);
    let keys = [
        "k",
        "K",
        "k ",
        " k",
        "k\u{301}",
        "\u{1e31}",
        "\u{ff4b}",
        "e",
        "\u{e9}",
        "e\u{301}",
        "ss",
        "\u{df}",
        "\0",
        "k\0",
        "\u{1f600}",
        "\u{1f601}",
        "'",
        "\\",
        "%",
        "k\n",
        &long,
        &long[1..],
    ];
    for outcome in ["is a key of its own", "is known"] {
        for (number, key) in (1..).zip(&keys) {
            let seq = world.send(alice, place, key, &format!("{number}"));
            assert_eq!(seq, Seq(number), "{key:?} {outcome}");
        }
    }
    let log = world.log(bob, place);
    let stored: Vec<&str> = log
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::Text(text) => Some(text.key.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(stored, keys);
}

pub(super) fn sending_needs_the_right(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let place = world.befriend(alice, bob);
    let group = world.group_of(&[alice, bob]);
    let nobody = UserId(999_999);
    for (user, place, code) in [
        (alice, direct(alice, carol), ErrorCode::NotFriends),
        (alice, direct(alice, nobody), ErrorCode::NoSuchUser),
        (carol, place, ErrorCode::NotFriends),
        (carol, Place::Group(group), ErrorCode::NotMember),
        (
            alice,
            Place::Group(GroupId(999_999)),
            ErrorCode::NoSuchGroup,
        ),
    ] {
        world.refused(send(user, place, "k", "text"), code);
    }
    world.command(super::world::ask(alice, carol));
    world.refused(
        send(alice, direct(alice, carol), "k", "x"),
        ErrorCode::NotFriends,
    );
    world.refused(
        send(carol, direct(alice, carol), "k", "x"),
        ErrorCode::NotFriends,
    );
    assert_eq!(world.log(alice, place), []);
    // A refused key is not used up.
    assert_eq!(world.send(alice, place, "k", "text"), Seq(1));
}

pub(super) fn a_known_key_outlives_the_right(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let group = Place::Group(world.group_of(&[alice, bob]));
    let cases = [(place, "in direct"), (group, "in group")];
    let known = cases.map(|(place, key)| {
        let done = world.command(send(bob, place, key, "hello"));
        Applied::unchanged(done.done)
    });
    let Place::Group(number) = group else {
        panic!("a group");
    };
    world.friend(alice, Remove, bob, FriendState::None);
    world.command(own(bob, GroupSelfAction::Leave, number));
    let again = cases.map(|(place, key)| world.command(send(bob, place, key, "hello")));
    assert_eq!(again, known);
    world.friend(alice, Block, bob, FriendState::Blocked);
    world.command(own(alice, GroupSelfAction::Disband, number));
    let again = cases.map(|(place, key)| world.command(send(bob, place, key, "hello")));
    assert_eq!(again, known);
    world.refused(send(bob, place, "n", "new"), ErrorCode::Blocked);
    world.refused(send(bob, group, "n", "new"), ErrorCode::NoSuchGroup);
}

pub(super) fn replies_name_an_entry(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let reply = |key_text: &str, target| Command::Send {
        user: bob,
        place,
        key: key(key_text),
        text: "indeed".into(),
        reply_to: Some(Seq(target)),
        meta: Some(r#"{"b":[1,2],"a":"\u00e9"}"#.into()),
    };
    world.refused(reply("k", 1), ErrorCode::NoSuchMessage);
    world.send(alice, place, "a", "hello");
    world.refused(reply("k", 2), ErrorCode::NoSuchMessage);
    world.refused(reply("k", 0), ErrorCode::NoSuchMessage);
    let done = world.command(reply("k", 1));
    let expected = Text {
        reply_to: Some(Seq(1)),
        meta: Some(r#"{"b":[1,2],"a":"\u00e9"}"#.into()),
        ..text("k", "indeed")
    };
    assert_eq!(done.entries[0].body, Body::Text(expected));
    assert_eq!(world.log(alice, place)[1..], done.entries[..]);
}

pub(super) fn edits_replace_the_text_everywhere(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let meta = Command::Send {
        user: alice,
        place,
        key: key("k"),
        text: "first".into(),
        reply_to: None,
        meta: Some(r#"{"m":1}"#.into()),
    };
    world.command(meta);
    let same = world.command(edit(alice, place, Seq(1), "first"));
    assert_eq!(appended(&same).0, Seq(1), "the text is that already");
    assert_eq!(same.entries[..], []);

    let done = world.command(edit(alice, place, Seq(1), "second"));
    let (seq, at) = appended(&done);
    assert_eq!(seq, Seq(2));
    let body = |text: &str| Body::Edit {
        target: Seq(1),
        text: Some(text.into()),
    };
    assert_eq!(bodies(&done.entries), [(2, alice, body("second"))]);
    assert_eq!(done.entries[0].at, at);
    // Repeating it answers with the entry that says so.
    let again = world.command(edit(alice, place, Seq(1), "second"));
    assert_eq!(again, Applied::unchanged(Done::Appended { seq, at }));
    world.command(edit(alice, place, Seq(1), "third"));

    let present = Text {
        meta: Some(r#"{"m":1}"#.into()),
        edited: true,
        ..text("k", "third")
    };
    let log = world.log(bob, place);
    assert_eq!(
        bodies(&log),
        [
            (1, alice, Body::Text(present)),
            (2, alice, body("third")),
            (3, alice, body("third")),
        ]
    );
    let conversation = world.conversation(bob, place);
    assert_eq!(world.fetch(conversation, Seq(0), 9, 999).entries, log);
}

pub(super) fn recalls_erase_the_text_everywhere(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let sent = Command::Send {
        user: alice,
        place,
        key: key("k"),
        text: "secret".into(),
        reply_to: None,
        meta: Some(r#"{"also":"secret"}"#.into()),
    };
    world.command(sent);
    world.command(edit(alice, place, Seq(1), "secret too"));
    let done = world.command(recall(alice, place, Seq(1)));
    let (seq, at) = appended(&done);
    assert_eq!(seq, Seq(3));
    let body = Body::Recall { target: Seq(1) };
    assert_eq!(bodies(&done.entries), [(3, alice, body.clone())]);
    let again = world.command(recall(alice, place, Seq(1)));
    assert_eq!(again, Applied::unchanged(Done::Appended { seq, at }));

    let erased = Text {
        edited: true,
        recalled: true,
        ..text("k", "")
    };
    let edit_entry = Body::Edit {
        target: Seq(1),
        text: None,
    };
    let log = world.log(bob, place);
    assert_eq!(
        bodies(&log),
        [
            (1, alice, Body::Text(erased)),
            (2, alice, edit_entry),
            (3, alice, body),
        ]
    );
    let conversation = world.conversation(bob, place);
    assert_eq!(world.fetch(conversation, Seq(0), 9, 999).entries, log);
    world.refused(edit(alice, place, Seq(1), "x"), ErrorCode::NoSuchMessage);
}

pub(super) fn edits_and_recalls_need_the_right(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave] = world.users();
    let place = world.befriend(alice, bob);
    world.send(alice, place, "k", "mine");
    for (user, seq, code) in [
        (bob, 1, ErrorCode::Forbidden),
        (alice, 2, ErrorCode::NoSuchMessage),
        (alice, 0, ErrorCode::NoSuchMessage),
    ] {
        world.refused(edit(user, place, Seq(seq), "x"), code);
        world.refused(recall(user, place, Seq(seq)), code);
    }
    world.refused(edit(carol, place, Seq(1), "x"), ErrorCode::NotFriends);
    world.refused(recall(carol, place, Seq(1)), ErrorCode::NotFriends);
    // Editing needs today's right to send, recalling does not.
    world.friend(bob, Block, alice, FriendState::Blocked);
    world.refused(edit(alice, place, Seq(1), "x"), ErrorCode::Blocked);
    let done = world.command(recall(alice, place, Seq(1)));
    assert_eq!(appended(&done).0, Seq(2));
    assert_eq!(touched(&done), []);
    world.refused(edit(alice, place, Seq(2), "x"), ErrorCode::NoSuchMessage);

    // Those who manage a group recall anyone's; members only their own.
    let number = world.group_of(&[alice, bob, carol]);
    let group = Place::Group(number);
    let by_alice = world.send(alice, group, "g", "by alice");
    let by_bob = world.send(bob, group, "g", "by bob");
    world.refused(recall(carol, group, by_bob), ErrorCode::Forbidden);
    world.refused(recall(bob, group, by_alice), ErrorCode::Forbidden);
    world.refused(edit(alice, group, by_bob, "x"), ErrorCode::Forbidden);
    world.refused(recall(dave, group, by_bob), ErrorCode::NotMember);
    world.refused(edit(bob, group, Seq(1), "x"), ErrorCode::NoSuchMessage);
    world.command(recall(alice, group, by_bob));
    assert_eq!(world.texts(carol, group), ["by alice", ""]);
    assert_eq!(seqs(&world.log(bob, group)), [2, 3, 4, 5, 6]);
}
