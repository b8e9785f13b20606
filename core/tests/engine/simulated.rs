//! What simulated worlds found, each in a small exact case.

use std::time::Duration;

use parlor_core::engine::Input;
use parlor_core::id::{
    ConnectionId, ConversationRef, GroupId, Pair, Place, Seq, StoreToken, UserId,
};
use parlor_core::name::Key;
use parlor_core::protocol::request::{GroupOtherAction, GroupSelfAction};
use parlor_core::protocol::{ErrorCode, Event, GroupState, Reply, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::store::{Applied, Command, Read, StoreRequest, StoreResponse};

use crate::{World, config, group, send, user};

/// Carries a change out as another node would: this one hears of it over the relay only.
fn elsewhere(world: &mut World, command: Command) -> Applied {
    let now = world.node.now();
    let request = StoreRequest::Command(Box::new(command));
    match world.node.store.execute(request, now) {
        Ok(StoreResponse::Applied(applied)) => applied,
        other => panic!("{other:?}"),
    }
}

fn tell_versions(world: &mut World, applied: &Applied) {
    for (user, version) in &applied.changed {
        let (user, version) = (*user, *version);
        let message = RelayMessage::Changed { user, version };
        world.node.input(Input::Relayed { message }).unwrap();
    }
}

fn tell_entries(world: &mut World, applied: &Applied) {
    for entry in &applied.entries {
        let message = RelayMessage::Entry(entry.clone());
        world.node.input(Input::Relayed { message }).unwrap();
    }
}

/// Carries out what the store keeps but pages of entries, which are carried out and not answered.
fn answer_all_but_pages(world: &mut World) -> Vec<(StoreToken, StoreResponse)> {
    let mut pages = Vec::new();
    loop {
        let held = world.node.take_held();
        if held.is_empty() {
            return pages;
        }
        for (token, request) in held {
            let page = matches!(&request, StoreRequest::Read(Read::Fetch { .. }));
            let now = world.node.now();
            let result = world.node.store.execute(request, now);
            if page {
                pages.push((token, result.unwrap()));
            } else {
                world.node.complete(token, result).unwrap();
            }
        }
    }
}

fn join_or_leave(number: u64, action: GroupSelfAction, group: GroupId) -> Command {
    Command::GroupSelf {
        user: UserId(number),
        action,
        group,
    }
}

fn seqs(world: &mut World, connection: ConnectionId) -> Vec<u64> {
    let messages = world.messages(connection);
    messages.into_iter().map(|(_, seq, _)| seq).collect()
}

fn group_states(events: &[Event]) -> Vec<GroupState> {
    let state = |event: &Event| match event {
        Event::Group { state, .. } => Some(*state),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}

#[test]
fn a_page_from_before_the_end_of_a_membership_is_not_taken_for_the_end_of_the_log() {
    let mut world = World::new();
    let circle = world.circle(2);
    let group_id = world.group_of(&circle[..1]);
    world.node.hold_store();
    let joined = elsewhere(
        &mut world,
        join_or_leave(2, GroupSelfAction::Join, group_id),
    );
    tell_versions(&mut world, &joined);
    let mut pages = answer_all_but_pages(&mut world);
    assert_eq!(pages.len(), 1);
    let left = elsewhere(
        &mut world,
        join_or_leave(2, GroupSelfAction::Leave, group_id),
    );
    tell_versions(&mut world, &left);
    answer_all_but_pages(&mut world);
    let (token, page) = pages.pop().unwrap();
    world.node.complete(token, Ok(page)).unwrap();
    world.node.release_store().unwrap();
    let shown = world.messages(circle[1]);
    let entry = |seq: u64, text: &str| (group(group_id.0), seq, text.to_owned());
    assert_eq!(shown, [entry(2, "joined 2"), entry(3, "left 2")]);
}

#[test]
fn a_page_from_before_an_entry_does_not_hide_it() {
    let mut world = World::new();
    let circle = world.circle(2);
    let place = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
    let say = |text: &str| Command::Send {
        user: UserId(1),
        place,
        key: Key::new(text).unwrap(),
        text: text.into(),
        reply_to: None,
        meta: None,
    };
    world.node.hold_store();
    elsewhere(&mut world, say("one"));
    let two = elsewhere(&mut world, say("two"));
    tell_entries(&mut world, &two);
    let mut pages = answer_all_but_pages(&mut world);
    let three = elsewhere(&mut world, say("three"));
    tell_entries(&mut world, &three);
    let (token, page) = pages.pop().unwrap();
    world.node.complete(token, Ok(page)).unwrap();
    world.node.release_store().unwrap();
    assert_eq!(seqs(&mut world, circle[1]), [1, 2, 3]);
    assert_eq!(seqs(&mut world, circle[0]), [1, 2, 3]);
}

#[test]
fn who_is_invited_again_after_leaving_knows_it_in_the_end() {
    let mut world = World::new();
    let circle = world.circle(2);
    let group_id = world.group_of(&circle);
    elsewhere(
        &mut world,
        join_or_leave(2, GroupSelfAction::Leave, group_id),
    );
    let invited = elsewhere(
        &mut world,
        Command::GroupOther {
            user: UserId(1),
            action: GroupOtherAction::Invite,
            group: group_id,
            other: UserId(2),
        },
    );
    tell_versions(&mut world, &invited);
    let states = group_states(&world.events(circle[1]));
    assert_eq!(states.last(), Some(&GroupState::Invited), "{states:?}");
    assert!(states.contains(&GroupState::None), "{states:?}");
}

#[test]
fn cursors_that_the_store_does_not_take_are_bounded() {
    let mut settings = config();
    settings.marks = 1;
    let mut world = World::with(settings);
    let circle = world.circle(4);
    for number in 2..=4 {
        world.ok(circle[0], send(user(number), &format!("to {number}")));
    }
    for connection in &circle {
        world.node.take(*connection);
    }
    world.node.hold_store();
    let ack = |with: ConversationRef| Request::Ack {
        conversation: with,
        delivered: Some(Seq(1)),
        read: None,
    };
    assert_eq!(world.ask(circle[0], ack(user(2))), Ok(Reply::Done));
    assert_eq!(world.ask(circle[0], ack(user(3))), Ok(Reply::Done));
    assert_eq!(world.ask(circle[0], ack(user(4))), Err(ErrorCode::Busy));
    assert_eq!(world.node.engine.counts().marks, 2);
    world.node.release_store().unwrap();
    world.wait(Duration::from_secs(1));
    assert_eq!(world.ask(circle[0], ack(user(4))), Ok(Reply::Done));
    world.wait(Duration::from_secs(1));
    assert_eq!(world.node.engine.counts().marks, 0);
}
