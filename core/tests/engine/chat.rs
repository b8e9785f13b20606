use parlor_core::id::{ConversationRef, Seq, UserId};
use parlor_core::name::Key;
use parlor_core::protocol::request::{Anchor, FriendAction, Start};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};

use crate::{World, appended, group, send, show, user};

#[test]
fn a_message_reaches_every_session_of_both_sides_once() {
    let mut world = World::new();
    let circle = world.circle(2);
    let (other_device, _) = world.login("a");
    let at = world.node.now();
    assert_eq!(world.ok(circle[0], send(user(2), "hello")), appended(1, at));
    assert_eq!(world.messages(circle[0]), [(user(2), 1, "hello".into())]);
    assert_eq!(world.messages(other_device), [(user(2), 1, "hello".into())]);
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "hello".into())]);
}

#[test]
fn a_repeated_key_answers_the_same_and_pushes_nothing() {
    let mut world = World::new();
    let circle = world.circle(2);
    let first = world.ok(circle[0], send(user(2), "hello"));
    world.messages(circle[1]);
    assert_eq!(world.ok(circle[0], send(user(2), "hello")), first);
    world.ok(
        circle[1],
        Request::Friend {
            action: FriendAction::Remove,
            user: UserId(1),
        },
    );
    assert_eq!(
        world.ok(circle[0], send(user(2), "hello")),
        first,
        "even without the right"
    );
    assert_eq!(world.messages(circle[1]), []);
    let mut other = send(user(2), "hello");
    if let Request::Send { text, .. } = &mut other {
        *text = "other".into();
    }
    assert_eq!(world.ask(circle[0], other), Err(ErrorCode::KeyConflict));
    assert_eq!(
        world.ask(circle[0], send(user(2), "new")),
        Err(ErrorCode::NotFriends)
    );
}

#[test]
fn edits_and_recalls_are_entries_and_erase_what_was_said() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    let edit = |text: &str| Request::Edit {
        conversation: user(2),
        seq: Seq(1),
        text: text.into(),
    };
    let at = world.node.now();
    assert_eq!(world.ok(circle[0], edit("two")), appended(2, at));
    assert_eq!(
        world.ok(circle[0], edit("two")),
        appended(2, at),
        "the outcome holds already"
    );
    let by_other = Request::Edit {
        conversation: user(1),
        seq: Seq(1),
        text: "mine".into(),
    };
    assert_eq!(world.ask(circle[1], by_other), Err(ErrorCode::Forbidden));
    let recall = Request::Recall {
        conversation: user(2),
        seq: Seq(1),
    };
    assert_eq!(world.ok(circle[0], recall.clone()), appended(3, at));
    assert_eq!(world.ok(circle[0], recall), appended(3, at));
    assert_eq!(
        world.messages(circle[1]),
        [
            (user(1), 1, "one".into()),
            (user(1), 2, "edit 1 Some(\"two\")".into()),
            (user(1), 3, "recall 1".into())
        ]
    );
    let history = Request::History {
        conversation: user(1),
        anchor: Anchor::Newest,
        limit: 10,
    };
    let Reply::History { messages, more, .. } = world.ok(circle[1], history) else {
        panic!()
    };
    let shown: Vec<String> = messages.iter().map(|message| show(&message.body)).collect();
    assert_eq!(shown, ["recalled", "edit 1 None", "recall 1"]);
    assert!(!more);
}

#[test]
fn missed_messages_come_at_login_in_order_and_acknowledged_ones_do_not() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    for number in 1..=300 {
        world.ok(circle[0], send(user(2), &format!("message {number}")));
    }
    let (b, session) = world.login("b");
    let conversation = &session.conversations[0];
    assert_eq!(
        (conversation.last, conversation.delivered),
        (Seq(300), Seq(0))
    );
    let expected: Vec<_> = (1..=300)
        .map(|number| (user(1), number, format!("message {number}")))
        .collect();
    assert_eq!(world.messages(b), expected);
    let ack = Request::Ack {
        conversation: user(1),
        delivered: Some(Seq(299)),
        read: None,
    };
    world.ok(b, ack);
    world.node.disconnect(b).unwrap();
    let (b, session) = world.login("b");
    assert_eq!(session.conversations[0].delivered, Seq(299));
    assert_eq!(world.messages(b), [(user(1), 300, "message 300".into())]);
}

#[test]
fn a_session_starts_where_its_client_says() {
    let mut world = World::new();
    let circle = world.circle(2);
    for text in ["one", "two", "three"] {
        world.ok(circle[0], send(user(2), text));
    }
    let (silent, _) = world.login_with(
        "b",
        Start {
            replay: false,
            have: Vec::new(),
        },
    );
    assert_eq!(world.messages(silent), []);
    let start = Start {
        replay: false,
        have: vec![(user(1), Seq(1))],
    };
    let (b, _) = world.login_with("b", start);
    assert_eq!(
        world.messages(b),
        [(user(1), 2, "two".into()), (user(1), 3, "three".into())]
    );
    let start = Start {
        replay: true,
        have: vec![(user(1), Seq(99)), (group(7), Seq(1))],
    };
    let (b, _) = world.login_with("b", start);
    assert_eq!(world.messages(b), []);
    world.ok(circle[0], send(user(2), "four"));
    assert_eq!(world.messages(b), [(user(1), 4, "four".into())]);
}

#[test]
fn receipts_go_to_the_other_side_and_to_own_other_sessions() {
    let mut world = World::new();
    let circle = world.circle(2);
    let (other_device, _) = world.login("b");
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[0], send(user(2), "two"));
    for connection in [circle[0], circle[1], other_device] {
        world.events(connection);
    }
    let ack = |delivered, read| Request::Ack {
        conversation: user(1),
        delivered: Some(Seq(delivered)),
        read,
    };
    world.ok(circle[1], ack(9, Some(Seq(1))));
    let receipt = |conversation: ConversationRef| Event::Receipt {
        conversation,
        user: UserId(2),
        delivered: Seq(2),
        read: Seq(1),
    };
    assert_eq!(
        world.events(circle[0]),
        [receipt(user(2))],
        "clamped to the end of the log"
    );
    assert_eq!(world.events(other_device), [receipt(user(1))]);
    assert_eq!(world.events(circle[1]), []);
    world.ok(circle[1], ack(1, None));
    assert_eq!(world.events(circle[0]), [], "positions never fall");
    assert_eq!(
        world.ask(
            circle[1],
            Request::Ack {
                conversation: user(9),
                delivered: Some(Seq(1)),
                read: None
            }
        ),
        Err(ErrorCode::NotFriends)
    );
}

#[test]
fn typing_needs_the_right_to_write() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.ok(circle[0], Request::Typing { to: user(2) });
    let typing = Event::Typing {
        conversation: user(1),
        user: UserId(1),
    };
    assert_eq!(world.events(circle[1]), [typing]);
    let to_stranger = Request::Typing { to: user(3) };
    assert_eq!(
        world.ask(circle[1], to_stranger),
        Err(ErrorCode::NotFriends)
    );
    let to_group = Request::Typing { to: group(77) };
    assert_eq!(world.ask(circle[1], to_group), Err(ErrorCode::NotMember));
}

#[test]
fn pipelined_requests_take_effect_and_are_answered_in_order() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    for (id, text) in [(101, "one"), (102, "two"), (103, "three")] {
        world
            .node
            .request(circle[0], id, send(user(2), text))
            .unwrap();
    }
    let history = Request::History {
        conversation: user(2),
        anchor: Anchor::Newest,
        limit: 10,
    };
    world.node.request(circle[0], 104, history).unwrap();
    world.node.request(circle[0], 105, Request::Ping).unwrap();
    assert_eq!(
        world.node.take(circle[0]),
        [],
        "nothing before the store answered"
    );
    assert_eq!(
        world.node.engine.counts().store_requests,
        3,
        "the sends are under way together"
    );
    world.node.release_store().unwrap();
    let answers: Vec<(u64, bool)> = world
        .node
        .take(circle[0])
        .into_iter()
        .filter_map(|sent| match sent {
            parlor_core::sim::Sent::Reply(id, result) => {
                let all =
                    matches!(&result, Ok(Reply::History { messages, .. }) if messages.len() == 3);
                Some((id.unwrap().0, all))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        answers,
        [
            (101, false),
            (102, false),
            (103, false),
            (104, true),
            (105, false)
        ]
    );
}

#[test]
fn keys_are_the_senders_own() {
    let mut world = World::new();
    let circle = world.circle(2);
    let request = |to, text: &str| Request::Send {
        to,
        key: Key::new("k").unwrap(),
        text: text.into(),
        reply_to: None,
        meta: None,
    };
    let at = world.node.now();
    assert_eq!(
        world.ok(circle[0], request(user(2), "mine")),
        appended(1, at)
    );
    assert_eq!(
        world.ok(circle[1], request(user(1), "yours")),
        appended(2, at)
    );
}
