//! Requests that are submitted all at once.

use crate::id::{GroupId, Place, Seq};
use crate::log::{Body, FriendState};
use crate::protocol::ErrorCode;
use crate::protocol::request::{FriendAction, GroupSelfAction};
use crate::store::{Applied, Command, Done};

use super::Subject;
use super::world::{
    PASSWORD, World, appended, applied, ask, bodies, direct, edit, friend, name, own, recall,
    register, send, seqs, text, touched,
};

pub(super) fn bad_requests_do_not_harm_strangers(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave] = world.users();
    let place = world.befriend(alice, bob);
    let other = world.befriend(carol, dave);
    world.send(alice, place, "used", "before");
    let mut commands = Vec::new();
    let mut expected = Vec::new();
    let mut texts = vec![String::from("before")];
    for number in 0..50_u64 {
        let sender = if number % 3 == 0 { bob } else { alice };
        let words = format!("text {number}");
        commands.push(send(sender, place, &format!("k{number}"), &words));
        expected.push(Ok(Seq(number + 2)));
        texts.push(words);
        if number % 5 == 0 {
            let bad = match number % 4 {
                0 => (send(alice, place, "used", "other"), ErrorCode::KeyConflict),
                1 => (send(carol, place, "c", "let me in"), ErrorCode::NotFriends),
                2 => (edit(bob, place, Seq(1), "not mine"), ErrorCode::Forbidden),
                _ => (
                    send(alice, Place::Group(GroupId(999_999)), "g", "x"),
                    ErrorCode::NoSuchGroup,
                ),
            };
            commands.push(bad.0);
            expected.push(Err(bad.1));
        }
        if number % 10 == 0 {
            commands.push(send(dave, other, &format!("d{number}"), "elsewhere"));
            expected.push(Ok(Seq(number / 10 + 1)));
        }
    }
    let results: Vec<Result<Seq, ErrorCode>> = world
        .batch(commands)
        .into_iter()
        .map(|result| result.map(|applied| appended(&applied).0))
        .collect();
    assert_eq!(results, expected);
    assert_eq!(world.texts(alice, place), texts);
    assert_eq!(world.texts(carol, other), ["elsewhere"; 5]);
    let log = world.log(bob, place);
    assert_eq!(seqs(&log), (1..=51).collect::<Vec<u64>>());
}

pub(super) fn one_key_twice_in_a_batch_is_one_message(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let results = world.batch(vec![
        send(alice, place, "k", "one"),
        send(alice, place, "k", "one"),
        send(alice, place, "k", "two"),
        send(bob, place, "k", "two"),
        send(alice, place, "k", "one"),
    ]);
    let first = results[0].clone().unwrap();
    let (seq, at) = appended(&first);
    assert_eq!(seq, Seq(1));
    assert_eq!(
        bodies(&first.entries),
        [(1, alice, Body::Text(text("k", "one")))]
    );
    let again = Ok(Applied::unchanged(Done::Appended { seq, at }));
    assert_eq!(results[1], again);
    assert_eq!(results[2], Err(ErrorCode::KeyConflict));
    assert_eq!(appended(results[3].as_ref().unwrap()).0, Seq(2));
    assert_eq!(results[4], again);
    assert_eq!(world.texts(bob, place), ["one", "two"]);
}

pub(super) fn changes_of_a_batch_see_one_another(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = direct(alice, bob);
    let versions = [alice, bob].map(|user| world.version(user));
    let results = world.batch(vec![
        send(alice, place, "a", "too early"),
        ask(alice, bob),
        friend(bob, FriendAction::Accept, alice),
        send(alice, place, "b", "hello"),
        edit(alice, place, Seq(1), "hello!"),
        recall(bob, place, Seq(1)),
        friend(bob, FriendAction::Block, alice),
        send(alice, place, "c", "too late"),
        send(alice, place, "b", "hello"),
        recall(alice, place, Seq(1)),
    ]);
    let outcomes: Vec<Result<(), ErrorCode>> = results
        .iter()
        .map(|result| result.as_ref().map(|_| ()).map_err(|code| *code))
        .collect();
    assert_eq!(
        outcomes,
        [
            Err(ErrorCode::NotFriends),
            Ok(()),
            Ok(()),
            Ok(()),
            Ok(()),
            Err(ErrorCode::Forbidden),
            Ok(()),
            Err(ErrorCode::Blocked),
            Ok(()),
            Ok(()),
        ]
    );
    assert_eq!(seqs(&world.log(bob, place)), [1, 2, 3]);
    assert_eq!(world.texts(bob, place), [""]);
    // Each change raised the versions once.
    assert_eq!(world.version(alice), versions[0] + 3);
    assert_eq!(world.version(bob), versions[1] + 3);
    let blocked = results[6].as_ref().unwrap();
    assert_eq!(
        blocked.changed,
        [(alice, versions[0] + 3), (bob, versions[1] + 3)]
    );
    assert_eq!(world.state(bob, alice), FriendState::Blocked);
}

pub(super) fn registrations_of_one_name_in_a_batch(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let results = world.all(["alice", "ALICE", "bob", "alice"].map(register).to_vec());
    let results: Vec<_> = results.into_iter().map(applied).collect();
    let Ok(Done::Registered(bob)) = results[2].as_ref().map(|applied| applied.done.clone()) else {
        panic!("bob is registered: {results:?}");
    };
    // Registrations may run side by side: which of them wins is open.
    let alices: Vec<_> = [0, 1, 3].into_iter().map(|index| &results[index]).collect();
    let won: Vec<_> = alices
        .iter()
        .filter_map(|result| result.as_ref().ok())
        .collect();
    assert_eq!(won.len(), 1, "{alices:?}");
    let lost = alices
        .iter()
        .filter(|result| **result == &Err(ErrorCode::NameTaken));
    assert_eq!(lost.count(), 2, "{alices:?}");
    let who = crate::protocol::request::UserRef::Name(name("Alice"));
    let alice = world.try_login(who, PASSWORD).unwrap().roster.user;
    assert_eq!(won[0].done, Done::Registered(alice));
    assert_ne!(alice, bob);
}

pub(super) fn rejoining_in_a_batch_starts_anew(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let group = world.group_of(&[alice, bob]);
    let place = Place::Group(group);
    world.send(alice, place, "k", "before");
    let results = world.batch(vec![
        own(bob, GroupSelfAction::Leave, group),
        send(alice, place, "l", "between"),
        own(bob, GroupSelfAction::Join, group),
    ]);
    let results: Vec<Applied> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        bodies(&results[0].entries),
        [(4, bob, Body::Left { user: bob })]
    );
    assert_eq!(
        bodies(&results[2].entries),
        [(6, bob, Body::Joined { user: bob })]
    );
    assert_eq!(touched(&results[2]), [bob]);
    assert_eq!(world.log(bob, place), results[2].entries[..]);
    let state = world.roster(bob).conversations[0];
    assert_eq!(
        (state.last, state.joined, state.delivered, state.read),
        (Seq(6), Seq(6), Seq(5), Seq(5))
    );
}

pub(super) fn a_group_that_is_none_does_not_hide_a_direct_conversation(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    // A group's number is its conversation's: this one is that of a direct conversation.
    let none = Place::Group(GroupId(world.conversation(alice, place).0));
    let write = |place, key: &str| -> Command { send(alice, place, key, "text") };
    let results = world.batch(vec![
        write(none, "a"),
        write(place, "b"),
        write(none, "c"),
        write(place, "d"),
    ]);
    let results: Vec<Result<Seq, ErrorCode>> = results
        .into_iter()
        .map(|result| result.map(|applied| appended(&applied).0))
        .collect();
    let refused = Err(ErrorCode::NoSuchGroup);
    assert_eq!(results, [refused, Ok(Seq(1)), refused, Ok(Seq(2))]);
}
