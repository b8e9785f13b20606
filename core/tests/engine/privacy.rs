//! What ended a moment ago is shown to nobody any more, and what was heard of is not lost.

use std::time::Duration;

use parlor_core::engine::Config;
use parlor_core::id::{GroupId, Pair, Place, Seq, StoreToken, UserId};
use parlor_core::protocol::request::{Anchor, FriendAction, GroupOtherAction, UserRef};
use parlor_core::protocol::{Event, Reply, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::sim::Sent;
use parlor_core::store::{Applied, Command, StoreRequest, StoreResponse, StoreResult};

use crate::{World, config, group, send, show, user};

/// Carries a change out as another node would: this one has not heard of it.
fn elsewhere(world: &mut World, command: Command) -> Applied {
    let now = world.node.now();
    let request = StoreRequest::Command(Box::new(command));
    match world.node.store.execute(request, now) {
        Ok(StoreResponse::Applied(applied)) => applied,
        other => panic!("{other:?}"),
    }
}

fn tell_version(world: &mut World, applied: &Applied, whose: u64) {
    for (user, version) in applied.changed.iter().copied() {
        if user == UserId(whose) {
            world.relay(RelayMessage::Changed { user, version });
        }
    }
}

fn tell_entries(world: &mut World, applied: &Applied) {
    for entry in &applied.entries {
        world.relay(RelayMessage::Entry(entry.clone()));
    }
}

fn remove_friend(user: u64, other: u64) -> Command {
    Command::Friend {
        user: UserId(user),
        action: FriendAction::Remove,
        other: UserId(other),
    }
}

fn recall(seq: u64) -> Command {
    Command::Recall {
        user: UserId(1),
        place: Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap()),
        seq: Seq(seq),
    }
}

/// Has the held store carry out its only request, without saying so.
fn carry_out(world: &mut World) -> (StoreToken, StoreResult) {
    let mut held = world.node.take_held();
    assert_eq!(held.len(), 1, "{held:?}");
    let (token, request) = held.remove(0);
    let now = world.node.now();
    (token, world.node.store.execute(request, now))
}

fn ack(with: parlor_core::id::ConversationRef, seq: u64) -> Request {
    Request::Ack {
        conversation: with,
        delivered: Some(Seq(seq)),
        read: None,
    }
}

#[test]
fn a_position_heard_of_from_another_node_is_written_here_too() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    let state = |world: &World| {
        let roster = world.node.store.roster(UserId(2), world.node.now());
        roster.unwrap().conversations[0]
    };
    world.relay(RelayMessage::Receipt {
        conversation: state(&world).id,
        pair: Pair::new(UserId(1), UserId(2)),
        to: UserId(2),
        user: UserId(2),
        delivered: Seq(1),
        read: Seq(0),
        origin: 7,
    });
    world.wait(Duration::from_secs(1));
    assert_eq!(
        state(&world).delivered,
        Seq(1),
        "the other may have crashed"
    );
    assert_eq!(world.node.engine.counts().marks_written, 0);
}

#[test]
fn a_page_from_before_a_recall_does_not_show_the_text() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let said = Command::Send {
        user: UserId(1),
        place: Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap()),
        key: parlor_core::name::Key::new("key").unwrap(),
        text: "secret".into(),
        reply_to: None,
        meta: Some(r#"{"a":1}"#.into()),
    };
    elsewhere(&mut world, said);
    let edited = Command::Edit {
        user: UserId(1),
        place: Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap()),
        seq: Seq(1),
        text: "still secret".into(),
    };
    let edit = elsewhere(&mut world, edited);
    world.node.hold_store();
    tell_entries(&mut world, &edit);
    let page = carry_out(&mut world);
    let recalled = elsewhere(&mut world, recall(1));
    tell_entries(&mut world, &recalled);
    world.node.complete(page.0, page.1).unwrap();
    world.node.release_store().unwrap();
    for connection in circle {
        let shown: Vec<String> = world
            .messages(connection)
            .into_iter()
            .map(|it| it.2)
            .collect();
        assert_eq!(shown, ["recalled", "edit 1 None", "recall 1"]);
    }
}

#[test]
fn history_from_before_a_recall_does_not_show_the_text() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "secret"));
    world.node.take(circle[1]);
    world.node.hold_store();
    let request = Request::History {
        conversation: user(1),
        anchor: Anchor::Newest,
        limit: 10,
    };
    world.node.request(circle[1], 1000, request).unwrap();
    let page = carry_out(&mut world);
    let recalled = elsewhere(&mut world, recall(1));
    tell_entries(&mut world, &recalled);
    world.node.complete(page.0, page.1).unwrap();
    let sent = world.node.take(circle[1]);
    let history = sent.iter().find_map(|sent| match sent {
        Sent::Reply(_, Ok(Reply::History { messages, .. })) => Some(messages),
        _ => None,
    });
    let shown: Vec<String> = history.unwrap().iter().map(|it| show(&it.body)).collect();
    assert_eq!(shown, ["recalled"]);
}

#[test]
fn no_more_recalls_are_remembered_than_may_be() {
    let mut world = World::with(Config {
        recalls: 2,
        ..config()
    });
    let circle = world.circle(2);
    for text in ["one", "two", "three"] {
        world.ok(circle[0], send(user(2), text));
    }
    for seq in 1..=3 {
        let request = Request::Recall {
            conversation: user(2),
            seq: Seq(seq),
        };
        world.ok(circle[0], request);
    }
    assert_eq!(world.node.engine.counts().recalls, 2);
    for connection in circle {
        world.node.disconnect(connection).unwrap();
    }
    world.wait(Duration::from_secs(5));
    assert_eq!(world.node.engine.counts().recalls, 0);
}

#[test]
fn a_session_that_was_sent_its_removal_hears_nothing_of_the_group() {
    let mut world = World::cluster();
    let circle = world.circle(3);
    let GroupId(number) = world.group_of(&circle);
    let removed = elsewhere(
        &mut world,
        Command::GroupOther {
            user: UserId(1),
            action: GroupOtherAction::Remove,
            group: GroupId(number),
            other: UserId(2),
        },
    );
    tell_entries(&mut world, &removed);
    world.events(circle[1]);
    world.ok(circle[0], Request::Typing { to: group(number) });
    world.relay(RelayMessage::Receipt {
        conversation: GroupId(number).conversation(),
        pair: None,
        to: UserId(2),
        user: UserId(2),
        delivered: Seq(3),
        read: Seq(0),
        origin: 7,
    });
    assert_eq!(world.events(circle[1]), []);
    let typing = |event: &Event| matches!(event, Event::Typing { .. });
    assert!(world.events(circle[2]).iter().any(typing));
}

#[test]
fn who_ended_a_friendship_is_not_noticed_by_the_other_side() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    let removed = elsewhere(&mut world, remove_friend(2, 1));
    tell_version(&mut world, &removed, 2);
    for connection in &circle {
        world.events(*connection);
    }
    world.node.published.clear();
    world.ok(circle[1], ack(user(1), 1));
    let typing = RelayMessage::TypingDirect {
        pair: Pair::new(UserId(1), UserId(2)).unwrap(),
        user: UserId(2),
        origin: 7,
    };
    world.relay(typing);
    assert_eq!(world.events(circle[0]), []);
    let to_the_other = |(channel, _): &(parlor_core::relay::Channel, RelayMessage)| {
        *channel == parlor_core::relay::Channel::User(UserId(1))
    };
    assert!(!world.node.published.iter().any(to_the_other));
}

#[test]
fn who_ended_a_friendship_is_not_told_of_the_other_side() {
    for mut world in [World::new(), World::cluster()] {
        let circle = world.circle(2);
        let removed = elsewhere(&mut world, remove_friend(1, 2));
        tell_version(&mut world, &removed, 1);
        world.events(circle[0]);
        world.node.disconnect(circle[1]).unwrap();
        world.wait(Duration::from_secs(10));
        assert_eq!(world.events(circle[0]), []);
    }
}

#[test]
fn a_look_up_from_before_the_end_of_a_friendship_does_not_show_who_is_online() {
    let mut world = World::new();
    let circle = world.circle(2);
    let requests = [
        Request::User {
            who: UserRef::Id(UserId(2)),
        },
        Request::Friends {
            after: None,
            limit: 10,
        },
    ];
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, requests[0].clone())
        .unwrap();
    let first = carry_out(&mut world);
    let (other, _) = {
        world.node.release_store().unwrap();
        world.login("a")
    };
    world.node.hold_store();
    world
        .node
        .request(other, 1001, requests[1].clone())
        .unwrap();
    let second = carry_out(&mut world);
    world.node.release_store().unwrap();
    let removed = elsewhere(&mut world, remove_friend(2, 1));
    tell_version(&mut world, &removed, 1);
    for (token, result) in [first, second] {
        world.node.complete(token, result).unwrap();
    }
    let mut shown = Vec::new();
    for connection in [circle[0], other] {
        for sent in world.node.take(connection) {
            match sent {
                Sent::Reply(_, Ok(Reply::User { online, .. })) => shown.push(online),
                Sent::Reply(_, Ok(Reply::Friends(list))) => shown.push(list.items[0].online),
                _ => {}
            }
        }
    }
    assert_eq!(shown, [None, None]);
}

#[test]
fn who_waited_long_for_an_answer_was_not_silent() {
    let mut world = World::with(Config {
        idle: Duration::from_secs(10),
        ..config()
    });
    let circle = world.circle(1);
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "one"))
        .unwrap();
    world.wait(Duration::from_secs(20));
    world.node.release_store().unwrap();
    world.wait(Duration::from_secs(9));
    let sent = world.node.take(circle[0]);
    assert!(!sent.contains(&Sent::Closed), "{sent:?}");
    world.wait(Duration::from_secs(2));
    let sent = world.node.take(circle[0]);
    assert!(sent.contains(&Sent::Closed), "{sent:?}");
}
