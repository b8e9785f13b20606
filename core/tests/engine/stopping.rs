use std::collections::BTreeSet;
use std::time::Duration;

use parlor_core::engine::{Effect, Engine, Input};
use parlor_core::id::{ConnectionId, Seq};
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply, Request};
use parlor_core::sim::Sent;
use parlor_core::store::StoreError;
use parlor_core::time::Timestamp;

use crate::{World, config, send, user};

#[test]
fn a_drain_spreads_the_return_of_its_clients() {
    let mut world = World::new();
    let connections: Vec<ConnectionId> = (0..40).map(|_| world.connect()).collect();
    assert!(!world.node.engine.is_draining());
    world.node.input(Input::Drain).unwrap();
    assert!(world.node.engine.is_draining());
    let waits: BTreeSet<u64> = connections
        .into_iter()
        .flat_map(|connection| world.node.take(connection))
        .filter_map(|sent| match sent {
            Sent::Event(Event::Notice { retry_ms, .. }) => retry_ms,
            _ => None,
        })
        .collect();
    assert!(waits.len() > 20, "{waits:?}");
}

#[test]
fn a_drain_finishes_what_is_under_way_and_writes_the_cursors() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(
        circle[1],
        Request::Ack {
            conversation: user(1),
            delivered: Some(Seq(1)),
            read: Some(Seq(1)),
        },
    );
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "two"))
        .unwrap();
    world.node.input(Input::Drain).unwrap();
    assert!(!world.node.drained);
    let waiting = world.node.take(circle[0]);
    assert!(!waiting.contains(&Sent::Closed), "its request is under way");
    world.node.request(circle[0], 1001, Request::Ping).unwrap();
    world.node.release_store().unwrap();
    let sent = world.node.take(circle[0]);
    let answers: Vec<bool> = sent
        .iter()
        .filter_map(|sent| match sent {
            Sent::Reply(_, Ok(Reply::Appended { seq: Seq(2), .. })) => Some(true),
            Sent::Reply(_, Err(error)) if error.code == ErrorCode::ShuttingDown => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [true, false]);
    let draining = |sent: &Sent| {
        matches!(
            sent,
            Sent::Event(Event::Notice {
                code: NoticeCode::Draining,
                retry_ms: Some(_),
                ..
            })
        )
    };
    assert!(sent.iter().any(draining));
    assert_eq!(sent.last(), Some(&Sent::Closed));
    assert!(world.node.drained);
    let now = world.node.now();
    let roster = world
        .node
        .store
        .roster(parlor_core::id::UserId(2), now)
        .unwrap();
    assert_eq!(roster.conversations[0].read, Seq(1));
    let late = world.connect();
    assert!(world.node.take(late).iter().any(draining));
}

#[test]
fn a_drain_waits_no_longer_than_it_may() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "two"))
        .unwrap();
    world.node.input(Input::Drain).unwrap();
    world.wait(Duration::from_secs(9));
    assert!(!world.node.drained);
    world.wait(Duration::from_secs(2));
    assert!(world.node.drained);
}

#[test]
fn a_drain_is_over_when_every_connection_is_gone() {
    let now = Timestamp(1_000_000);
    let mut engine = Engine::new(config(), now);
    let connection = ConnectionId(1);
    let address = None;
    let mut give = |input| {
        engine.handle(input, now).unwrap();
        std::iter::from_fn(|| engine.poll_effect()).collect::<Vec<Effect>>()
    };
    give(Input::Connected {
        connection,
        address,
    });
    let effects = give(Input::Drain);
    assert_eq!(effects.last(), Some(&Effect::Close { connection }));
    assert_eq!(give(Input::Disconnected { connection }), [Effect::Drained]);
}

#[test]
fn a_drain_waits_for_what_those_who_left_had_asked() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.node.hold_store();
    world
        .node
        .request(circle[0], 1000, send(user(2), "one"))
        .unwrap();
    for connection in circle {
        world.node.disconnect(connection).unwrap();
    }
    world.node.input(Input::Drain).unwrap();
    assert!(!world.node.drained);
    world.node.release_store().unwrap();
    assert!(world.node.drained);
}

#[test]
fn a_drain_waits_for_cursors_that_the_store_did_not_take() {
    let mut world = World::new();
    let circle = world.circle(2);
    world.ok(circle[0], send(user(2), "one"));
    world.ok(
        circle[1],
        Request::Ack {
            conversation: user(1),
            delivered: Some(Seq(1)),
            read: None,
        },
    );
    world.node.hold_store();
    for connection in circle {
        world.node.disconnect(connection).unwrap();
    }
    world.node.input(Input::Drain).unwrap();
    let (token, _) = world.node.take_held().pop().unwrap();
    let failed = Err(StoreError::Unavailable.into());
    world.node.complete(token, failed).unwrap();
    assert!(!world.node.drained);
    world.wait(Duration::from_secs(1));
    world.node.release_store().unwrap();
    assert!(world.node.drained);
}
