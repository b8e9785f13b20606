//! Tests of what is sent, edited and recalled.

use std::sync::Arc;

use smallvec::smallvec;

use crate::id::{ConversationId, GroupId, Place, Seq, UserId};
use crate::log::{Body, JoinPolicy, Role, Text};
use crate::protocol::ErrorCode;
use crate::protocol::request::{FriendAction, GroupSelfAction};
use crate::rules::digest;
use crate::rules::fixture::{
    ANN, BEN, CAT, NOBODY, World, Written, direct, entry, friend, give, key, on_self, send,
};
use crate::secret::Secret;
use crate::store::{Applied, Command, Done, Kind, MessageRow};
use crate::time::Timestamp;

/// The conversation of Ann and Ben.
const DIRECT: ConversationId = ConversationId(11);

/// A group of Ann's: her `joined` is entry 1, Ben's entry 2.
const GROUP: GroupId = GroupId(12);

fn world() -> World {
    let mut world = World::new();
    world.befriend(ANN, BEN);
    assert_eq!(world.make_group(JoinPolicy::Open), GROUP);
    world.add(GROUP, BEN, Role::Member);
    world
}

fn pair() -> Place {
    direct(ANN, BEN)
}

fn appended(seq: u64, at: u64) -> Done {
    Done::Appended {
        seq: Seq(seq),
        at: Timestamp(at),
    }
}

fn reply(user: UserId, place: Place, key_text: &str, to: u64) -> Command {
    Command::Send {
        user,
        place,
        key: key(key_text),
        text: Arc::from("reply"),
        reply_to: Some(Seq(to)),
        meta: Some(Arc::from("{}")),
    }
}

fn edit(user: UserId, place: Place, seq: u64, text: &str) -> Command {
    Command::Edit {
        user,
        place,
        seq: Seq(seq),
        text: Arc::from(text),
    }
}

const fn recall(user: UserId, place: Place, seq: u64) -> Command {
    Command::Recall {
        user,
        place,
        seq: Seq(seq),
    }
}

fn row(world: &World, from: UserId, kind: Kind) -> MessageRow {
    MessageRow {
        from,
        at: world.now,
        kind,
        change: None,
    }
}

fn text(place: Place, key_text: &str, text: &str) -> Kind {
    Kind::Text {
        key: key(key_text),
        digest: digest::of_message(place, text, None),
        text: Arc::from(text),
        reply_to: None,
        meta: None,
        edited: false,
        recalled: false,
    }
}

/// What comes of an entry that is added to a log: `rows` ends with its row.
fn added(
    world: &World,
    place: Place,
    at: (u64, u64),
    from: UserId,
    body: Body,
    rows: Vec<((ConversationId, Seq), Option<MessageRow>)>,
) -> (Applied, Written) {
    let applied = Applied {
        entries: smallvec![entry(world, place, at, from, body)],
        ..Applied::unchanged(appended(at.1, world.now.0))
    };
    let written = Written {
        conversations: vec![(ConversationId(at.0), Some((place, Seq(at.1))))],
        messages: rows,
        ..Written::default()
    };
    (applied, written)
}

#[test]
fn a_message_becomes_the_next_entry() {
    let mut world = world();
    let body = Body::Text(Text {
        key: key("k"),
        text: Arc::from("hi"),
        reply_to: None,
        meta: None,
        edited: false,
        recalled: false,
    });
    let stored = row(&world, ANN, text(pair(), "k", "hi"));
    let rows = vec![((DIRECT, Seq(1)), Some(stored))];
    let (applied, written) = added(&world, pair(), (11, 1), ANN, body, rows);
    world.check(&send(ANN, pair(), "k", "hi"), &applied, &written);
}

#[test]
fn one_batch_numbers_messages_in_order_and_knows_its_keys() {
    let mut world = world();
    let outcome = world.transact(&[
        send(ANN, pair(), "a", "one"),
        send(BEN, pair(), "a", "two"),
        send(ANN, pair(), "a", "one"),
        send(ANN, pair(), "a", "other"),
        send(ANN, Place::Group(GROUP), "b", "three"),
        send(ANN, pair(), "c", "four"),
    ]);
    let done: Vec<_> = outcome
        .results
        .iter()
        .map(|result| {
            result
                .clone()
                .map(|applied| (applied.done, applied.entries.len()))
        })
        .map(|result| result.map_err(|error| error.code))
        .collect();
    let expected = [
        Ok((appended(1, 1000), 1)),
        Ok((appended(2, 1000), 1)),
        Ok((appended(1, 1000), 0)),
        Err(ErrorCode::KeyConflict),
        Ok((appended(3, 1000), 1)),
        Ok((appended(3, 1000), 1)),
    ];
    assert_eq!(done, expected);
    assert_eq!(outcome.rounds, 1);
    assert_eq!(outcome.written.messages.len(), 4);
}

#[test]
fn a_key_is_answered_alike_for_ever() {
    let mut world = world();
    world.must(&send(ANN, pair(), "k", "hi"));
    world.must(&friend(BEN, FriendAction::Block, ANN));
    world.now = Timestamp(9000);
    world.check_unchanged(&send(ANN, pair(), "k", "hi"), appended(1, 1000));
    world.check_refused(&send(ANN, pair(), "k", "ho"), ErrorCode::KeyConflict);
    let elsewhere = send(ANN, Place::Group(GROUP), "k", "hi");
    world.check_refused(&elsewhere, ErrorCode::KeyConflict);
    world.check_refused(&reply(ANN, pair(), "k", 1), ErrorCode::KeyConflict);
    world.check_refused(&send(ANN, pair(), "l", "hi"), ErrorCode::Blocked);
}

#[test]
fn meta_is_no_part_of_what_a_key_stands_for() {
    let mut world = world();
    world.must(&send(ANN, pair(), "a", "hi"));
    world.must(&reply(ANN, pair(), "k", 1));
    let Command::Send {
        user,
        place,
        key,
        text,
        reply_to,
        ..
    } = reply(ANN, pair(), "k", 1)
    else {
        panic!("it sends");
    };
    let other = Command::Send {
        user,
        place,
        key,
        text,
        reply_to,
        meta: None,
    };
    world.check_unchanged(&other, appended(2, 1000));
}

#[test]
fn direct_messages_need_friendship() {
    let mut world = world();
    world.check_refused(
        &send(ANN, direct(ANN, CAT), "k", "hi"),
        ErrorCode::NotFriends,
    );
    world.check_refused(
        &send(ANN, direct(ANN, NOBODY), "k", "hi"),
        ErrorCode::NoSuchUser,
    );
    world.check_refused(&send(CAT, pair(), "k", "hi"), ErrorCode::NotFriends);
    world.must(&send(ANN, pair(), "a", "hi"));
    world.must(&friend(BEN, FriendAction::Remove, ANN));
    world.check_refused(&send(ANN, pair(), "k", "hi"), ErrorCode::NotFriends);
    world.check_refused(&edit(ANN, pair(), 1, "ho"), ErrorCode::NotFriends);
    world.must(&friend(ANN, FriendAction::Block, BEN));
    world.check_refused(&send(ANN, pair(), "k", "hi"), ErrorCode::Blocked);
    world.check_refused(&send(BEN, pair(), "k", "hi"), ErrorCode::Blocked);
    world.check_refused(&edit(ANN, pair(), 1, "ho"), ErrorCode::Blocked);
    world.must(&recall(ANN, pair(), 1));
}

#[test]
fn group_messages_need_a_voice() {
    let mut world = world();
    let place = Place::Group(GROUP);
    world.check_refused(&send(CAT, place, "k", "hi"), ErrorCode::NotMember);
    let nowhere = Place::Group(GroupId(40));
    world.check_refused(&send(CAT, nowhere, "k", "hi"), ErrorCode::NoSuchGroup);
    // The number of a direct conversation is no group's.
    let direct = Place::Group(GroupId(DIRECT.0));
    world.check_refused(&send(ANN, direct, "k", "hi"), ErrorCode::NoSuchGroup);
    world.must(&send(BEN, place, "a", "hi"));
    world.must(&give(ANN, GROUP, BEN, Role::Muted));
    world.check_refused(&send(BEN, place, "k", "hi"), ErrorCode::Muted);
    world.check_refused(&edit(BEN, place, 3, "ho"), ErrorCode::Muted);
    world.must(&recall(BEN, place, 3));
    world.must(&on_self(ANN, GroupSelfAction::Disband, GROUP));
    world.check_refused(&send(ANN, place, "k", "hi"), ErrorCode::NoSuchGroup);
    world.check_refused(&recall(BEN, place, 3), ErrorCode::NoSuchGroup);
}

#[test]
fn replies_answer_what_their_sender_may_see() {
    let mut world = world();
    let place = Place::Group(GROUP);
    world.check_refused(&reply(BEN, place, "k", 0), ErrorCode::NoSuchMessage);
    world.check_refused(&reply(BEN, place, "k", 1), ErrorCode::NoSuchMessage);
    world.check_refused(&reply(BEN, place, "k", 3), ErrorCode::NoSuchMessage);
    world.check_refused(&reply(BEN, pair(), "k", 1), ErrorCode::NoSuchMessage);
    assert_eq!(
        world.must(&reply(BEN, place, "k", 2)).done,
        appended(3, 1000)
    );
    assert_eq!(
        world.must(&reply(ANN, place, "k", 1)).done,
        appended(4, 1000)
    );
}

#[test]
fn an_edit_replaces_the_text_and_says_so() {
    let mut world = world();
    world.must(&send(ANN, pair(), "k", "hi"));
    world.now = Timestamp(1050);
    let mut target = world.message(DIRECT, 1);
    target.change = Some((Seq(2), world.now));
    if let Kind::Text { text, edited, .. } = &mut target.kind {
        *text = Arc::from("ho");
        *edited = true;
    }
    let body = Body::Edit {
        target: Seq(1),
        text: Some(Arc::from("ho")),
    };
    let stored = row(&world, ANN, Kind::Edit { target: Seq(1) });
    let rows = vec![
        ((DIRECT, Seq(1)), Some(target)),
        ((DIRECT, Seq(2)), Some(stored)),
    ];
    let (applied, written) = added(&world, pair(), (11, 2), ANN, body, rows);
    world.check(&edit(ANN, pair(), 1, "ho"), &applied, &written);
    // Repeating answers alike, however late.
    world.now = Timestamp(9000);
    world.check_unchanged(&edit(ANN, pair(), 1, "ho"), appended(2, 1050));
    world.check_refused(&edit(ANN, pair(), 1, "hi"), ErrorCode::Forbidden);
    // The key still stands for the first text.
    world.check_unchanged(&send(ANN, pair(), "k", "hi"), appended(1, 1000));
}

#[test]
fn editing_to_the_first_text_names_the_message() {
    let mut world = world();
    world.must(&send(ANN, pair(), "k", "hi"));
    world.check_unchanged(&edit(ANN, pair(), 1, "hi"), appended(1, 1000));
}

#[test]
fn one_edits_ones_own_messages_only() {
    let mut world = world();
    let place = Place::Group(GROUP);
    world.must(&send(BEN, place, "k", "hi"));
    world.check_refused(&edit(ANN, place, 3, "ho"), ErrorCode::Forbidden);
    world.check_refused(&edit(CAT, place, 3, "ho"), ErrorCode::NotMember);
    world.check_refused(&edit(BEN, place, 2, "ho"), ErrorCode::NoSuchMessage);
    world.check_refused(&edit(BEN, place, 1, "ho"), ErrorCode::NoSuchMessage);
    world.check_refused(&edit(BEN, place, 4, "ho"), ErrorCode::NoSuchMessage);
    world.check_refused(&edit(BEN, place, 0, "ho"), ErrorCode::NoSuchMessage);
    world.must(&recall(BEN, place, 3));
    world.check_refused(&edit(BEN, place, 3, "ho"), ErrorCode::NoSuchMessage);
}

#[test]
fn a_recall_erases_text_and_meta() {
    let mut world = world();
    world.must(&send(ANN, pair(), "a", "hi"));
    world.must(&reply(ANN, pair(), "k", 1));
    world.now = Timestamp(1050);
    let mut target = world.message(DIRECT, 2);
    target.change = Some((Seq(3), world.now));
    if let Kind::Text {
        text,
        meta,
        recalled,
        ..
    } = &mut target.kind
    {
        *text = Arc::from("");
        *meta = None;
        *recalled = true;
    }
    let stored = row(&world, ANN, Kind::Recall { target: Seq(2) });
    let rows = vec![
        ((DIRECT, Seq(2)), Some(target)),
        ((DIRECT, Seq(3)), Some(stored)),
    ];
    let body = Body::Recall { target: Seq(2) };
    let (applied, written) = added(&world, pair(), (11, 3), ANN, body, rows);
    world.check(&recall(ANN, pair(), 2), &applied, &written);
    world.now = Timestamp(9000);
    world.check_unchanged(&recall(ANN, pair(), 2), appended(3, 1050));
    world.check_refused(&recall(ANN, pair(), 1), ErrorCode::Forbidden);
}

#[test]
fn managers_recall_anyones_messages() {
    let mut world = world();
    let place = Place::Group(GROUP);
    world.must(&send(BEN, place, "a", "hi"));
    world.must(&send(ANN, place, "a", "hi"));
    world.check_refused(&recall(BEN, place, 4), ErrorCode::Forbidden);
    world.check_refused(&recall(CAT, place, 4), ErrorCode::NotMember);
    world.check_refused(&recall(ANN, place, 1), ErrorCode::NoSuchMessage);
    let applied = world.must(&recall(ANN, place, 3));
    assert_eq!(applied.done, appended(5, 1000));
    assert_eq!(applied.entries[0].from, ANN);
    world.check_unchanged(&recall(BEN, place, 3), appended(5, 1000));
    world.must(&send(BEN, pair(), "b", "hi"));
    world.check_refused(&recall(ANN, pair(), 1), ErrorCode::Forbidden);
    world.check_refused(&recall(ANN, direct(ANN, CAT), 1), ErrorCode::NotFriends);
    world.check_refused(&recall(CAT, pair(), 1), ErrorCode::NotFriends);
}

#[test]
fn a_batch_edits_and_recalls_what_it_sent() {
    let mut world = world();
    let outcome = world.transact(&[
        send(ANN, pair(), "k", "hi"),
        edit(ANN, pair(), 1, "ho"),
        recall(ANN, pair(), 1),
        edit(ANN, pair(), 1, "hu"),
    ]);
    let done: Vec<_> = outcome
        .results
        .into_iter()
        .map(|result| result.map(|applied| applied.done).map_err(|e| e.code))
        .collect();
    let expected = [
        Ok(appended(1, 1000)),
        Ok(appended(2, 1000)),
        Ok(appended(3, 1000)),
        Err(ErrorCode::NoSuchMessage),
    ];
    assert_eq!(done, expected);
}

#[test]
fn what_a_deleted_account_sent_in_the_batch_is_recalled_already() {
    let mut world = world();
    let place = Place::Group(GROUP);
    let delete = Command::DeleteAccount {
        user: BEN,
        verified: Secret::new("ben"),
    };
    let outcome = world.transact(&[send(BEN, place, "k", "hi"), delete, recall(ANN, place, 3)]);
    let unchanged = Applied::unchanged(appended(3, 1000));
    assert_eq!(outcome.results[2], Ok(unchanged));
}

#[test]
fn unfriending_in_a_batch_stops_what_follows() {
    let mut world = world();
    let outcome = world.transact(&[
        send(ANN, pair(), "a", "hi"),
        friend(BEN, FriendAction::Remove, ANN),
        send(ANN, pair(), "b", "hi"),
    ]);
    assert!(outcome.results[0].is_ok());
    let refused = outcome.results[2].clone().map_err(|error| error.code);
    assert_eq!(refused, Err(ErrorCode::NotFriends));
}
