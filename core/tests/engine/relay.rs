//! What nodes tell each other, as the relay delivers it: late, repeated, or not at all.

use std::time::Duration;

use parlor_core::engine::Input;
use parlor_core::id::{ConnectionId, ConversationId, Pair, Seq, UserId};
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::protocol::{Event, NoticeCode, Request};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::store::{Head, Read, ReadDone, StoreRequest, StoreResponse};

use crate::{World, ack, said_elsewhere, send, user};

fn replaced(world: &mut World, connection: ConnectionId) -> bool {
    let code = |event| match event {
        Event::Notice { code, .. } => Some(code),
        _ => None,
    };
    let codes: Vec<NoticeCode> = world
        .events(connection)
        .into_iter()
        .filter_map(code)
        .collect();
    codes == [NoticeCode::Replaced]
}

fn receipts(world: &mut World, connection: ConnectionId) -> usize {
    let events = world.events(connection);
    events
        .iter()
        .filter(|event| matches!(event, Event::Receipt { .. }))
        .count()
}

impl World {
    /// Takes what was published and gives it back to the node, `change`d.
    fn echo(&mut self, change: impl Fn(RelayMessage) -> RelayMessage) {
        for (_, message) in std::mem::take(&mut self.node.published) {
            self.relay(change(message));
        }
    }
}

/// Makes a message look like another node's.
fn of_another_node(message: RelayMessage) -> RelayMessage {
    match message {
        RelayMessage::Receipt {
            conversation,
            pair,
            to,
            user,
            delivered,
            read,
            origin,
        } => RelayMessage::Receipt {
            conversation,
            pair,
            to,
            user,
            delivered,
            read,
            origin: origin ^ 1,
        },
        other => other,
    }
}

#[test]
fn a_session_resumed_elsewhere_replaces_the_connection_here_and_not_a_later_one() {
    let mut world = World::cluster();
    world.register("a");
    let (first, session) = world.login("a");
    world.echo(|message| message);
    assert!(!replaced(&mut world, first), "its own message came back");
    let resumed = |world: &World| RelayMessage::Resumed {
        user: UserId(1),
        session: session.session,
        at: world.node.now(),
    };
    let late = resumed(&world);
    world.relay(late);
    assert!(!replaced(&mut world, first), "that may have been before");
    world.wait(Duration::from_millis(5));
    let (second, _) = world.resume(&session.token).unwrap();
    assert!(replaced(&mut world, first));
    world.echo(|message| message);
    assert!(!replaced(&mut world, second));
    world.wait(Duration::from_millis(5));
    let (other, _) = world.login("a");
    let now = resumed(&world);
    world.relay(now.clone());
    assert!(replaced(&mut world, second));
    world.relay(now);
    assert!(!replaced(&mut world, other), "another session");
}

#[test]
fn the_engine_knows_whether_the_relay_is_there() {
    let mut world = World::cluster();
    assert!(world.node.engine.relay_is_up());
    world.node.input(Input::RelayLost).unwrap();
    assert!(!world.node.engine.relay_is_up());
    world.node.input(Input::RelayUp).unwrap();
    assert!(world.node.engine.relay_is_up());
}

#[test]
fn a_receipt_is_told_once_to_each_side() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let (other, _) = world.login("b");
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[0], send(user(2), "two"));
    for connection in [circle[0], circle[1], other] {
        world.events(connection);
    }
    world.node.published.clear();
    world.ok(circle[1], ack(1, 1));
    world.echo(|message| message);
    assert_eq!(receipts(&mut world, circle[0]), 1);
    assert_eq!(receipts(&mut world, other), 1);
    assert_eq!(receipts(&mut world, circle[1]), 0);
    // Another node tells the same of a later number: both copies arrive here.
    let conversation = world
        .node
        .store
        .roster(UserId(2), world.node.now())
        .unwrap()
        .conversations[0]
        .id;
    for to in [UserId(1), UserId(2)] {
        world.relay(RelayMessage::Receipt {
            conversation,
            pair: Pair::new(UserId(1), UserId(2)),
            to,
            user: UserId(2),
            delivered: Seq(2),
            read: Seq(0),
            origin: 7,
        });
    }
    for connection in [circle[0], circle[1], other] {
        assert_eq!(receipts(&mut world, connection), 1);
    }
}

#[test]
fn typing_of_ones_own_does_not_come_back() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.ok(circle[0], Request::Typing { to: user(2) });
    world.echo(|message| message);
    assert_eq!(world.events(circle[1]).len(), 1);
}

#[test]
fn typing_on_another_node_is_shown() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.relay(RelayMessage::TypingDirect {
        pair: Pair::new(UserId(1), UserId(2)).unwrap(),
        user: UserId(1),
        origin: 7,
    });
    assert_eq!(world.events(circle[0]), []);
    let typing = Event::Typing {
        conversation: user(1),
        user: UserId(1),
    };
    assert_eq!(world.events(circle[1]), [typing]);
}

#[test]
fn who_is_no_friend_hears_neither_typing_nor_receipts() {
    for action in [FriendAction::Block, FriendAction::Remove] {
        let mut world = World::cluster();
        let circle = world.circle(2);
        world.ok(circle[0], send(user(2), "one"));
        world.ok(circle[1], send(user(1), "two"));
        world.ok(
            circle[1],
            Request::Friend {
                action,
                user: UserId(1),
            },
        );
        for connection in &circle {
            world.events(*connection);
        }
        world.node.published.clear();
        world.ok(circle[0], ack(2, 2));
        world.ok(circle[1], ack(1, 1));
        world.echo(of_another_node);
        for (connection, other) in [(circle[0], 2), (circle[1], 1)] {
            let told = world.events(connection);
            let of_other =
                |event: &Event| matches!(event, Event::Receipt { user, .. } if user.0 == other);
            assert!(!told.iter().any(of_other), "{action:?}: {told:?}");
        }
        // A node that has not heard of it yet.
        for (one, other) in [(1, 2), (2, 1)] {
            let pair = Pair::new(UserId(one), UserId(other)).unwrap();
            world.relay(RelayMessage::TypingDirect {
                pair,
                user: UserId(one),
                origin: 7,
            });
        }
        assert_eq!(world.events(circle[0]), [], "{action:?}");
        assert_eq!(world.events(circle[1]), [], "{action:?}");
    }
}

#[test]
fn a_receipt_for_neither_side_is_told_to_nobody() {
    let mut world = World::cluster();
    let circle = world.circle(3);
    world.ok(circle[0], send(user(2), "one"));
    for connection in &circle {
        world.events(*connection);
    }
    let roster = world.node.store.roster(UserId(2), world.node.now());
    let conversation = roster.unwrap().conversations[0].id;
    for to in [3, 1] {
        world.relay(RelayMessage::Receipt {
            conversation,
            pair: Pair::new(UserId(1), UserId(2)),
            to: UserId(to),
            user: UserId(2),
            delivered: Seq(1),
            read: Seq(0),
            origin: 7,
        });
        let told: Vec<usize> = circle
            .iter()
            .map(|connection| world.events(*connection).len())
            .collect();
        assert_eq!(told, [usize::from(to == 1), 0, 0]);
    }
}

#[test]
fn a_relay_that_confirms_nothing_costs_one_place_for_each_user() {
    let mut world = World::cluster();
    world.register("a");
    world.node.hold_relay();
    for _ in 0..5 {
        let (connection, _) = world.login("a");
        world.node.disconnect(connection).unwrap();
    }
    let (a, _) = world.login("a");
    assert_eq!(world.node.engine.counts().subscriptions, 1);
    world.node.input(Input::RelayLost).unwrap();
    world.node.input(Input::RelayUp).unwrap();
    let (again, _) = world.login("a");
    assert_eq!(world.node.engine.counts().subscriptions, 1);
    for connection in [a, again] {
        world.node.disconnect(connection).unwrap();
    }
    world.wait(Duration::from_secs(3));
    assert_eq!(world.node.engine.counts().subscriptions, 0);
}

#[test]
fn an_entry_that_the_relay_lost_is_found_once_the_channels_are_confirmed() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.wait(Duration::from_secs(3));
    world.node.hold_relay();
    let (b, _) = world.login("b");
    said_elsewhere(&mut world, "elsewhere");
    assert_eq!(world.messages(b), []);
    world.node.release_relay().unwrap();
    assert_eq!(world.messages(b), [(user(1), 1, "elsewhere".into())]);
}

#[test]
fn a_subscription_under_way_while_the_relay_comes_back_is_confirmed_later() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.node.disconnect(circle[1]).unwrap();
    world.wait(Duration::from_secs(3));
    world.node.hold_relay();
    let (b, _) = world.login("b");
    for input in [Input::RelayLost, Input::RelayUp] {
        world.node.input(input).unwrap();
    }
    said_elsewhere(&mut world, "elsewhere");
    assert_eq!(world.messages(b), []);
    world.node.release_relay().unwrap();
    assert_eq!(world.messages(b), [(user(1), 1, "elsewhere".into())]);
}

#[test]
fn a_relay_that_comes_and_goes_does_not_multiply_the_reads() {
    let mut world = World::cluster();
    for _ in 0..20 {
        world.node.input(Input::RelayLost).unwrap();
        world.wait(Duration::from_millis(10));
        world.node.input(Input::RelayUp).unwrap();
    }
    world.wait(Duration::from_secs(10));
    world.node.hold_store();
    let mut reads = 0;
    for _ in 0..1000 {
        world.wait(Duration::from_millis(20));
        for (token, request) in world.node.take_held() {
            let changes = matches!(request, StoreRequest::Read(Read::Changes { .. }));
            reads += usize::from(changes);
            let now = world.node.now();
            let result = world.node.store.execute(request, now);
            world.node.complete(token, result).unwrap();
        }
    }
    assert!(reads <= 5, "{reads} in 20 s, not one every 5 s");
}

#[test]
fn pages_of_changes_go_on_where_the_one_before_ended() {
    let mut world = World::cluster();
    world.wait(Duration::from_secs(1));
    world.node.hold_store();
    world.wait(Duration::from_secs(5));
    let now = world.node.now();
    let page = |conversations: std::ops::Range<u64>, users: &[u64]| ReadDone::Changes {
        as_of: now,
        conversations: conversations
            .map(|number| {
                let head = Head {
                    conversation: ConversationId(number),
                    place: parlor_core::id::Place::Group(parlor_core::id::GroupId(number)),
                    last: Seq(1),
                };
                (now, head)
            })
            .collect(),
        users: users.iter().map(|user| (now, UserId(*user), 1)).collect(),
    };
    let pages = [
        page(1..1001, &[7]),
        page(1001..2001, &[]),
        page(2001..2002, &[]),
    ];
    let mut asked = Vec::new();
    for page in pages {
        let mut held = world.node.take_held();
        let (token, request) = held.remove(0);
        let StoreRequest::Read(Read::Changes {
            conversations_after,
            users_after,
            ..
        }) = request
        else {
            panic!("{request:?}")
        };
        asked.push((
            conversations_after.map(|(_, id)| id.0),
            users_after.map(|(_, id)| id.0),
        ));
        world
            .node
            .complete(token, Ok(StoreResponse::Read(page)))
            .unwrap();
    }
    assert_eq!(
        asked,
        [(None, None), (Some(1000), Some(7)), (Some(2000), Some(7))]
    );
    assert_eq!(world.node.take_held(), []);
}

#[test]
fn a_repeated_entry_costs_nothing() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(circle[0], send(user(2), "two"));
    assert_eq!(world.messages(circle[1]).len(), 2);
    world.node.hold_store();
    world.echo(|message| message);
    assert_eq!(world.messages(circle[1]), []);
    assert_eq!(world.node.take_held(), []);
}

#[test]
fn entries_in_any_order_are_pushed_in_theirs() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let entries: Vec<RelayMessage> = ["one", "two", "three"]
        .into_iter()
        .map(|text| {
            world.ok(circle[0], send(user(2), text));
            let published = std::mem::take(&mut world.node.published);
            let entry = |(_, message)| match message {
                RelayMessage::Entry(_) => Some(message),
                _ => None,
            };
            published.into_iter().find_map(entry).unwrap()
        })
        .collect();
    // A session that begins anew from the first on, and the relay turns everything round.
    world.node.hold_store();
    let b = world.connect();
    let login = Request::Login {
        who: UserRef::Id(UserId(2)),
        password: Secret::new("password"),
        device: None,
        start: Default::default(),
    };
    world.node.request(b, 1, login).unwrap();
    let (token, request) = world.node.take_held().pop().unwrap();
    let result = world.node.store.execute(request, world.node.now());
    world.node.complete(token, result).unwrap();
    for message in entries.iter().rev().chain(&entries) {
        world.relay(message.clone());
    }
    world.node.release_store().unwrap();
    for message in entries {
        world.relay(message);
    }
    let numbers: Vec<u64> = world
        .messages(b)
        .into_iter()
        .map(|(_, seq, _)| seq)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
}
