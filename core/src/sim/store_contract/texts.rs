//! Texts that a store may mistake for something else.

use crate::id::{Place, Seq};
use crate::log::{Body, GroupChange, JoinPolicy};
use crate::protocol::request::UserRef;
use crate::protocol::{MAX_META_BYTES, MAX_TEXT_BYTES};
use crate::store::{Command, Done, Read, ReadDone};

use super::Subject;
use super::world::{PASSWORD, World, edit, key, name, send};

const TEXTS: &[&str] = &[
    "'; DROP TABLE user; --",
    "\"; DROP TABLE `message`; #",
    "Robert'); DELETE FROM message WHERE (1=1",
    "\\' OR 1=1 /*",
    "%_\\%",
    "$1 ? :name {} {0}",
    "\u{1f600}\u{1f1e9}\u{1f1ea}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{10ffff}\u{10000}\u{20bb7}",
    "nul \0 in the middle",
    "\0",
    "\u{1}\u{7f}\u{85}\u{2028}\u{feff}",
    " space around ",
    "\ttab and\r\nlines\n",
    "e\u{301} is not \u{e9}",
    "\u{202e}backwards",
    "null",
    "0",
];

pub(super) fn texts_come_back_as_they_were_sent(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    for (number, text) in (1..).zip(TEXTS) {
        assert_eq!(
            world.send(alice, place, &format!("{number}"), text),
            Seq(number)
        );
    }
    assert_eq!(world.texts(bob, place), TEXTS);
    let commands = TEXTS
        .iter()
        .zip(1..)
        .map(|(text, number)| send(bob, place, &format!("{number}"), text))
        .collect();
    for (result, text) in world.batch(commands).into_iter().zip(TEXTS) {
        let body = &result.unwrap().entries[0].body;
        assert!(matches!(body, Body::Text(sent) if *sent.text == **text));
    }
    assert_eq!(world.texts(alice, place), [TEXTS, TEXTS].concat());
    world.command(edit(alice, place, Seq(1), TEXTS[8]));
    assert_eq!(world.texts(bob, place)[0], TEXTS[8]);

    let group = world.group(alice, JoinPolicy::Open);
    for text in TEXTS {
        let change = GroupChange {
            description: Some((*text).into()),
            ..GroupChange::default()
        };
        let done = world.command(Command::GroupUpdate {
            user: alice,
            group,
            change: change.clone(),
        });
        assert_eq!(done.entries[0].body, Body::Updated(change));
        assert_eq!(
            world.log(alice, Place::Group(group)).last(),
            done.entries.last()
        );
        let reader = alice;
        let found = world.read(Read::Group { reader, group });
        assert!(matches!(found, ReadDone::Group(reply) if *reply.description == **text));
    }
}

pub(super) fn long_texts_come_back_as_they_were_sent(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let texts = [
        "x".repeat(MAX_TEXT_BYTES),
        "\u{1f600}".repeat(MAX_TEXT_BYTES / 4),
        "'".repeat(MAX_TEXT_BYTES),
        "\0".repeat(MAX_TEXT_BYTES),
    ];
    let meta = format!(r#"{{"m":"{}"}}"#, "m".repeat(MAX_META_BYTES - 8));
    let commands = (0..)
        .zip(&texts)
        .map(|(number, text)| Command::Send {
            user: alice,
            place,
            key: key(&format!("{number}")),
            text: text.as_str().into(),
            reply_to: None,
            meta: Some(meta.as_str().into()),
        })
        .collect();
    for result in world.batch(commands) {
        result.unwrap();
    }
    assert_eq!(world.texts(bob, place), texts);
    for entry in world.log(bob, place) {
        let Body::Text(text) = &entry.body else {
            panic!("a text: {entry:?}");
        };
        assert_eq!(text.meta.as_deref(), Some(meta.as_str()));
    }
}

pub(super) fn names_and_keys_come_back_as_they_were_given(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let names = [
        "'; DROP TABLE user; --",
        "\" OR \"\"=\"",
        "%",
        "_",
        "\\",
        "\u{1f600}\u{1f601}",
        "\u{10ffff}",
        "\u{dc}n\u{ef}c\u{f6}de",
        "NULL",
        "0",
    ];
    let longest = "\u{1f600}".repeat(32);
    let users: Vec<_> = names
        .iter()
        .copied()
        .chain([longest.as_str()])
        .map(|text| (world.register(text), text))
        .collect();
    for (user, text) in &users {
        assert_eq!(world.roster(*user).name, name(text));
        let found = world.try_login(UserRef::Name(name(text)), PASSWORD);
        assert_eq!(found.unwrap().roster.user, *user);
        let made = world.command(Command::GroupCreate {
            user: *user,
            name: name(text),
            description: "".into(),
            join: JoinPolicy::Open,
            key: Some(key(text.get(..32).unwrap_or(text))),
        });
        let Done::GroupCreated(group) = made.done else {
            panic!("a group is created: {made:?}");
        };
        assert_eq!(world.roster(*user).groups[0].name, name(text));
        let place = Place::Group(group);
        let sent = world.command(send(*user, place, text.get(..32).unwrap_or(text), "x"));
        assert_eq!(world.log(*user, place)[1..], sent.entries[..]);
    }
}
