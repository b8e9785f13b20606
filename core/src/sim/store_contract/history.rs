//! Reading logs.

use std::sync::Arc;

use crate::id::{ConversationId, GroupId, Place, Seq, UserId};
use crate::log::{Entry, GroupChange, JoinPolicy, Role};
use crate::protocol::ErrorCode;
use crate::protocol::request::Anchor::{After, Before, Newest};
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use crate::store::Command;

use super::Subject;
use super::world::{World, ask, direct, edit, key, manage, name, own, recall, seqs};

pub(super) fn history_reads_from_either_end(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let empty = world.history(alice, place, Newest, 5, 999).unwrap();
    assert_eq!(empty, (Vec::new(), false));
    for number in 1..=7 {
        world.send(alice, place, &format!("{number}"), "x");
    }
    let all = world.log(bob, place);
    for (anchor, limit, expected, more) in [
        (Newest, 3, &[5, 6, 7][..], true),
        (Newest, 6, &[2, 3, 4, 5, 6, 7], true),
        (Newest, 7, &[1, 2, 3, 4, 5, 6, 7], false),
        (Newest, 8, &[1, 2, 3, 4, 5, 6, 7], false),
        (After(Seq(0)), 3, &[1, 2, 3], true),
        (After(Seq(3)), 3, &[4, 5, 6], true),
        (After(Seq(4)), 3, &[5, 6, 7], false),
        (After(Seq(6)), 3, &[7], false),
        (After(Seq(7)), 3, &[], false),
        (After(Seq(99)), 3, &[], false),
        (Before(Seq(0)), 3, &[], false),
        (Before(Seq(1)), 3, &[], false),
        (Before(Seq(2)), 3, &[1], false),
        (Before(Seq(4)), 3, &[1, 2, 3], false),
        (Before(Seq(5)), 3, &[2, 3, 4], true),
        (Before(Seq(8)), 1, &[7], true),
        (Before(Seq(99)), 2, &[6, 7], true),
    ] {
        let found = world.history(bob, place, anchor, limit, 999).unwrap();
        assert_eq!(seqs(&found.0), expected, "{anchor:?}, {limit}");
        assert_eq!(found.1, more, "{anchor:?}, {limit}");
        for entry in found.0 {
            assert!(all.contains(&entry));
        }
    }

    // A member sees nothing below the entry of joining, and no sign of it.
    let group = world.group_of(&[alice]);
    let place = Place::Group(group);
    world.send(alice, place, "g", "before");
    world.join(bob, group);
    world.send(alice, place, "h", "after");
    for (anchor, limit, expected, more) in [
        (Newest, 9, &[3, 4][..], false),
        (Newest, 1, &[4], true),
        (After(Seq(0)), 9, &[3, 4], false),
        (After(Seq(0)), 1, &[3], true),
        (Before(Seq(4)), 9, &[3], false),
        (Before(Seq(3)), 9, &[], false),
        (Before(Seq(2)), 9, &[], false),
    ] {
        let found = world.history(bob, place, anchor, limit, 999).unwrap();
        assert_eq!(
            (&seqs(&found.0)[..], found.1),
            (expected, more),
            "{anchor:?}"
        );
    }
}

/// How many of eight messages of 1,000 bytes fit.
fn fitting(bytes: u32) -> std::ops::RangeInclusive<usize> {
    // The limit in bytes is rough by one entry.
    let whole = usize::try_from(bytes / 1000).unwrap();
    whole.max(1)..=(whole + 1)
}

pub(super) fn history_keeps_to_its_bytes(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    for number in 1..=8_u32 {
        // `meta` counts like text.
        let command = Command::Send {
            user: alice,
            place,
            key: key(&format!("{number}")),
            text: "x".repeat(400).into(),
            reply_to: None,
            meta: Some(format!(r#"{{"m":"{}"}}"#, "m".repeat(592)).into()),
        };
        world.command(command);
    }
    let conversation = world.conversation(bob, place);
    for bytes in [0, 1, 999, 2500, 5500] {
        let found = world
            .history(bob, place, After(Seq(2)), 200, bytes)
            .unwrap();
        let count = found.0.len();
        assert!(fitting(bytes).contains(&count), "{count} in {bytes}");
        assert_eq!(seqs(&found.0), (3..).take(count).collect::<Vec<u64>>());
        assert_eq!(found.1, count < 6);

        let found = world.history(bob, place, Newest, 200, bytes).unwrap();
        let count = found.0.len();
        assert!(fitting(bytes).contains(&count), "{count} in {bytes}");
        let first = 9 - u64::try_from(count).unwrap();
        assert_eq!(seqs(&found.0), (first..9).collect::<Vec<u64>>());
        assert!(found.1);

        let found = world
            .history(bob, place, Before(Seq(3)), 200, bytes)
            .unwrap();
        assert_eq!(found.0.last().unwrap().seq, Seq(2), "the ones nearest");

        let page = world.fetch(conversation, Seq(1), 200, bytes);
        let count = page.entries.len();
        assert!(fitting(bytes).contains(&count), "{count} in {bytes}");
        assert_eq!(seqs(&page.entries), (2..).take(count).collect::<Vec<u64>>());
        assert_eq!(page.last, Seq(8));
    }
}

pub(super) fn history_is_for_those_who_may_see_it(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let place = world.befriend(alice, bob);
    world.send(alice, place, "k", "private");
    let group = Place::Group(world.group_of(&[alice, bob]));
    world.command(ask(alice, carol));
    for (reader, place, code) in [
        (alice, direct(alice, carol), ErrorCode::NotFriends),
        (carol, direct(alice, carol), ErrorCode::NotFriends),
        (alice, direct(alice, UserId(999_999)), ErrorCode::NoSuchUser),
        (carol, group, ErrorCode::NotMember),
        (
            alice,
            Place::Group(GroupId(999_999)),
            ErrorCode::NoSuchGroup,
        ),
    ] {
        for anchor in [Newest, After(Seq(0)), Before(Seq(9))] {
            let found = world.history(reader, place, anchor, 9, 999);
            assert_eq!(found, Err(code), "{reader:?} of {place:?}");
        }
    }
    assert!(world.history(carol, place, Newest, 9, 999).is_err());
    world.friend(
        bob,
        FriendAction::Block,
        alice,
        crate::log::FriendState::Blocked,
    );
    for reader in [alice, bob] {
        assert_eq!(world.texts(reader, place), ["private"]);
    }
}

pub(super) fn fetch_reads_page_after_page(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let conversation = world.conversation(alice, place);
    let page = world.fetch(conversation, Seq(0), 3, 999);
    assert_eq!((page.entries.len(), page.last), (0, Seq(0)));
    for number in 1..=8 {
        world.send(bob, place, &format!("{number}"), "text");
    }
    let all = world.log(alice, place);
    let mut read: Vec<Arc<Entry>> = Vec::new();
    let mut counts = Vec::new();
    loop {
        let after = read.last().map_or(Seq(0), |entry| entry.seq);
        let page = world.fetch(conversation, after, 3, 999);
        assert_eq!((page.conversation, page.after), (conversation, after));
        assert_eq!(page.last, Seq(8));
        counts.push(page.entries.len());
        if page.entries.is_empty() {
            break;
        }
        read.extend(page.entries);
    }
    assert_eq!(counts, [3, 3, 2, 0]);
    assert_eq!(read, all);
    let nowhere = ConversationId(999_999);
    assert_eq!(world.fetch(nowhere, Seq(0), 3, 999).entries[..], []);
}

pub(super) fn every_kind_of_entry_is_read_as_it_was_added(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let group = world.group(alice, JoinPolicy::Open);
    let place = Place::Group(group);
    let mut added = world.log(alice, place);
    let change = GroupChange {
        name: Some(name("\u{1f600}")),
        description: Some("about".into()),
        join: Some(JoinPolicy::Approval),
    };
    let sent = Command::Send {
        user: bob,
        place,
        key: key("k"),
        text: "hello".into(),
        reply_to: Some(Seq(2)),
        meta: Some("{}".into()),
    };
    let commands = [
        own(bob, GroupSelfAction::Join, group),
        own(carol, GroupSelfAction::Join, group),
        super::world::role(alice, group, bob, Role::Admin),
        sent,
        super::world::send(alice, place, "k", "first"),
        edit(alice, place, Seq(6), "second"),
        super::world::send(carol, place, "k", "gone"),
        recall(alice, place, Seq(8)),
        manage(alice, GroupOtherAction::Remove, group, carol),
        Command::GroupUpdate {
            user: bob,
            group,
            change,
        },
        own(bob, GroupSelfAction::Leave, group),
    ];
    for command in commands {
        added.extend(world.command(command).entries);
    }
    let log = world.log(alice, place);
    assert_eq!(seqs(&log), (1..=12).collect::<Vec<u64>>());
    for (read, added) in log.iter().zip(&added) {
        // Entries 6 and 8 were changed after they were added.
        if ![6, 8].contains(&read.seq.0) {
            assert_eq!(read, added);
        }
    }
    let page = world.fetch(group.conversation(), Seq(0), 200, u32::MAX);
    assert_eq!(page.entries, log);
    let disbanded = world.command(own(alice, GroupSelfAction::Disband, group));
    let page = world.fetch(group.conversation(), Seq(12), 9, 999);
    assert_eq!(page.entries, disbanded.entries[..]);
}
